# tests/fuzz: a libFuzzer program for each family of parsers, under ASan and
# UBSan, whatever the rest is built with. They need clang and libFuzzer's
# runtime (Debian: clang, libclang-rt-dev); without them tests/fuzz/run_one.sh
# says so and the suites are skipped.
#
#   make fuzz           builds them into build/fuzz
#   make fuzz-corpus    writes seeds through the encoders (make_corpus.c), and
#                       keeps of them and of tests/fuzz/corpus what covers all
#
# Their objects are the project's, compiled once more.
FUZZ := build/fuzz
FUZZ_CC ?= clang
FUZZ_SAN := -fsanitize=address,undefined -fno-sanitize-recover=all
FUZZ_CFLAGS := $(CFLAGS_LANG) -O1 -g -fno-omit-frame-pointer -MMD -MP \
	$(FUZZ_SAN)
HAVE_FUZZER := $(wildcard $(addsuffix /lib/*/libclang_rt.fuzzer*.a,\
	$(shell $(FUZZ_CC) -print-resource-dir 2>/dev/null)))

FUZZERS := $(patsubst tests/fuzz/%.c,$(FUZZ)/%,\
	$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_PARTS := $(COMMON) $(FORMATS) $(STORAGE) $(ENGINE) $(DAEMON_PARTS) \
	$(CLIENT) $(TRAINER) tools/ckpt/tool.c tests/lib/test_env.c \
	tests/lib/test_door.c
FUZZ_OBJ = $(patsubst %.c,$(FUZZ)/obj/%.o,$(1))

ifneq ($(MAKECMDGOALS),clean)
$(call keep_text,$(FUZZ)/flags,$(FUZZ_CC) $(FUZZ_CFLAGS))
$(call keep_text,$(FUZZ)/sources,$(FUZZ_PARTS))
endif

.PHONY: fuzz fuzz-corpus
fuzz: $(FUZZERS)
fuzz-corpus: $(FUZZERS) $(FUZZ)/make_corpus
	@sh tests/fuzz/make_corpus.sh

ifneq ($(HAVE_FUZZER),)
PROGS += $(FUZZERS)
endif

$(FUZZ)/obj/%.o: %.c $(FUZZ)/flags | check-deps
	@mkdir -p $(@D)
	$(call say,FUZZCC,$<)$(FUZZ_CC) $(FUZZ_CFLAGS) \
	  -fsanitize=fuzzer-no-link $(FUZZ_$(subst /,_,$*)) -c -o $@ $<
$(FUZZ)/libparts.a: $(call FUZZ_OBJ,$(FUZZ_PARTS)) $(FUZZ)/sources
	$(call say,AR,$@)rm -f $@; $(AR) rcs $@ $(filter %.o,$^)
$(FUZZ)/fuzz_%: $(FUZZ)/obj/tests/fuzz/fuzz_%.o \
		$(FUZZ)/obj/tests/fuzz/fuzz.o $(FUZZ)/libparts.a
	$(call say,FUZZLD,$@)$(FUZZ_CC) $(FUZZ_SAN) -fsanitize=fuzzer -pthread \
	  -o $@ $(filter %.o,$^) $(filter %.a,$^) $(PKG_LIBS) -lm
# Programs as functions, for fuzz_text.
FUZZ_ckptd_daemon_main := -Dmain=ckptd_main -Wno-missing-prototypes
FUZZ_tools_ckpt_main := -Dmain=ckpt_main -Wno-missing-prototypes
$(FUZZ)/fuzz_text: $(call FUZZ_OBJ,ckptd/daemon/main.c tools/ckpt/main.c \
	tests/fuzz/text_train_lm.c trainer/examples/train_lm/options.c)
$(FUZZ)/make_corpus: $(call FUZZ_OBJ,$(wildcard tests/fuzz/make_corpus*.c)) \
		$(FUZZ)/libparts.a
	$(call say,FUZZLD,$@)$(FUZZ_CC) $(FUZZ_SAN) -pthread -o $@ $^ \
	  $(PKG_LIBS) -lm

-include $(shell find $(FUZZ)/obj -name '*.d' -type f 2>/dev/null)
