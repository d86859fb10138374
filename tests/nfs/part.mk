# tests/nfs - a file system that misbehaves as NFS does (double.h), by FUSE.
# Without libfuse3 it is not built, and what needs it is skipped, saying so.

NFS_DOUBLE := $(B)/tests/nfs_double
HAVE_FUSE := $(shell pkg-config --exists fuse3 2>/dev/null && echo yes)

ifeq ($(HAVE_FUSE),yes)
PROGS += $(NFS_DOUBLE)
# Suites that mount it can be run by themselves.
$(B)/tests/test_store_records $(B)/tests/test_store_segments \
	$(B)/tests/test_store_nfs: | $(NFS_DOUBLE)
endif

$(NFS_DOUBLE): $(call obj,$(call src,tests/nfs))
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(shell pkg-config --libs fuse3)

.PHONY: test-nfs
# On a real NFS of a kernel that runs as a process (see uml.sh).
test-nfs: tests
	$(Q)B=$(B) sh tests/nfs/uml.sh
