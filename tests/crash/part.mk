# tests/crash - what a crash leaves (crash.c).

CRASH_OBJ := $(call obj,$(filter-out tests/crash/crash.c,$(call src,tests/crash)))
# What disk_calls.c stands in for.
CRASH_CALLS := open openat mkdir mkdirat close fcntl fstat fstatfs statx fsync \
	fdatasync flock fallocate ftruncate linkat unlinkat pread pwrite \
	getrandom syscall fdopendir readdir rewinddir closedir
CRASH_WRAP := $(addprefix -Wl$(comma)--wrap=,$(CRASH_CALLS))

PROGS += $(B)/tests/crash

$(B)/tests/crash: $(B)/obj/tests/crash/crash.o $(CRASH_OBJ) $(TEST_LIBS)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(LDFLAGS_ALL) $(CRASH_WRAP) -o $@ $^ $(PKG_LIBS) -lm

.PHONY: crash
# All states of all recordings, with the figures.
crash: $(B)/tests/crash
	$(Q)$(B)/tests/crash -j 2
