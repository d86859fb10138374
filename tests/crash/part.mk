# tests/crash - what a crash leaves (crash.c), and that each safeguard's absence
# is noticed (planted.c).

CRASH_MAINS := $(B)/tests/crash $(B)/tests/planted
CRASH_OBJ := $(call obj,$(filter-out tests/crash/crash.c tests/crash/planted.c,\
	$(call src,tests/crash)))
# The tool, but for its main(): heal.c.
CRASH_TOOL := $(filter-out tools/ckpt/main.c,$(CKPT))
# What disk_calls.c stands in for, scenes_fence.c, and heal.c.
CRASH_CALLS := open openat mkdir mkdirat close fcntl fstat fstatfs statx fsync \
	fdatasync flock fallocate ftruncate linkat renameat unlinkat pread pwrite \
	getrandom syscall fdopendir readdir rewinddir closedir LZ4_compress_default \
	store_file_open
CRASH_WRAP := $(addprefix -Wl$(comma)--wrap=,$(CRASH_CALLS))
# Whatever asks common/plant.h, with the one of tests/crash/planted in its
# place. The archives give what is not here.
CRASH_PLANTED := $(shell grep -ls '"common/plant.h"' $(COMMON) $(STORAGE) \
	$(FORMATS) $(ENGINE) $(DAEMON_PARTS) $(CRASH_TOOL))
CRASH_PLANTED_OBJ := $(CRASH_PLANTED:%.c=$(B)/planted/%.o)

PROGS += $(CRASH_MAINS)

$(B)/planted/%.o: %.c $(B)/flags | check-deps
	@mkdir -p $(@D)
	$(call say,CC,$< (planted))$(CC) -Itests/crash/planted $(CFLAGS_ALL) -c -o $@ $<
-include $(CRASH_PLANTED_OBJ:.o=.d)

$(B)/tests/planted: $(CRASH_PLANTED_OBJ) \
	$(call obj,$(filter-out $(CRASH_PLANTED),$(CRASH_TOOL)))
$(B)/tests/crash: $(call obj,$(CRASH_TOOL))
$(CRASH_MAINS): $(B)/tests/%: $(B)/obj/tests/crash/%.o $(CRASH_OBJ) $(TEST_LIBS)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(LDFLAGS_ALL) $(CRASH_WRAP) -o $@ \
	  $(filter %.o,$^) $(filter %.a,$^) $(PKG_LIBS) -lm

.PHONY: crash
# All states of all recordings, and the table of safeguards.
crash: $(CRASH_MAINS)
	$(Q)$(B)/tests/crash -j 2
	$(Q)$(B)/tests/planted
