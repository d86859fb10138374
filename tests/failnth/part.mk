# Fail-Nth (tests/failnth/failnth.h): the project's objects once more, with
# their calls of what may fail led through the sites of this folder. The tests,
# the store wrappers and the store in memory are only counted: these stand for a
# drive, which has memory enough.
FAILNTH_DRIVES := store_fault store_memory store_record
FAILNTH_PROJECT := $(COMMON) $(FORMATS) $(CLIENT) $(TRAINER) $(ENGINE) \
	$(DAEMON_PARTS) \
	$(filter-out $(FAILNTH_DRIVES:%=storage/%.c),$(STORAGE))
FAILNTH_LIB := $(B)/failnth/libckpt.a
FAILNTH_TESTS := $(B)/failnth/libtest.a
FAILNTH_OWN := $(call obj,$(call src,tests/failnth))

$(B)/failnth/sites/%.o: $(B)/obj/%.o tests/failnth/sites.syms
	@mkdir -p $(@D)
	$(call say,SITES,$@)objcopy --redefine-syms=tests/failnth/sites.syms $< $@
$(B)/failnth/counted/%.o: $(B)/obj/%.o tests/failnth/counted.syms
	@mkdir -p $(@D)
	$(call say,COUNT,$@)objcopy --redefine-syms=tests/failnth/counted.syms $< $@
$(FAILNTH_LIB): $(FAILNTH_PROJECT:%.c=$(B)/failnth/sites/%.o) $(B)/sources
	@mkdir -p $(@D)
	$(call say,AR,$@)rm -f $@; $(AR) rcs $@ $(filter %.o,$^)
$(FAILNTH_TESTS): $(TESTLIB:%.c=$(B)/failnth/counted/%.o) \
		$(FAILNTH_DRIVES:%=$(B)/failnth/counted/storage/%.o) $(B)/sources
	@mkdir -p $(@D)
	$(call say,AR,$@)rm -f $@; $(AR) rcs $@ $(filter %.o,$^)

FAILNTH_SUITES := $(patsubst tests/unit/%.c,$(B)/tests/%,\
	$(wildcard tests/unit/test_failnth_*.c))

$(FAILNTH_SUITES): $(B)/tests/%: $(B)/failnth/counted/tests/unit/%.o \
		$(FAILNTH_OWN) $(FAILNTH_TESTS) $(FAILNTH_LIB)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(LDFLAGS_ALL) -o $@ \
	  $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group \
	  $(PKG_LIBS) -lcmocka -lseccomp -lm

# The same of the programs, for tests with real processes.
FAILNTH_BIN := $(B)/failnth/bin
$(FAILNTH_BIN)/ckptd: $(B)/failnth/sites/ckptd/daemon/main.o
$(FAILNTH_BIN)/ckpt: $(CKPT:%.c=$(B)/failnth/sites/%.o)
$(FAILNTH_BIN)/%: $(FAILNTH_OWN) $(FAILNTH_LIB)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) \
	  $(filter %.a,$^) $(PKG_LIBS) -lm
$(B)/tests/test_failnth_process: | $(FAILNTH_BIN)/ckptd $(FAILNTH_BIN)/ckpt
