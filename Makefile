# ckptd: one Makefile, no configure step.
#
#   make            build/bin/ckptd, build/bin/ckpt, build/bin/train_lm, the library
#   make demo       the demo (under two minutes)
#   make test       everything that takes under ten minutes
#   make test-long  the same under ASan+UBSan, the in-process part under TSan, and
#                   kills, flips and a soak in full
#   make test-nfs   homes on a real NFS, of a kernel that runs as a process
#   make test-ceph  a real Ceph cluster, its faults, rot, three hosts (half an hour)
#   make coverage   branches of commit, manifests, retention that no test takes
#   make fuzz       the fuzzers (tests/fuzz), which make test runs briefly
#   make bench      ratios against limits measured in the same run
#   make lint       format, static analysis, layers, sizes
#   make install    DESTDIR=, PREFIX=/usr/local; make uninstall takes it back
#
# V=1 shows the commands. SAN=address,undefined (or thread) builds into a
# folder of its own. CC=clang works as well as gcc.

# The order of the layers: each includes only those to its left, and formats
# and storage never include each other. tools/lint/layers.sh enforces it.
LAYERS := common formats storage ckptd client trainer tools

SAN ?=
empty :=
space := $(empty) $(empty)
comma := ,
B := build$(if $(SAN),-$(subst $(comma),-,$(SAN)))
PREFIX ?= /usr/local
V ?= 0
Q := $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@printf '  %-6s %s\n' '$(1)' '$(2)';)

CC ?= cc
MPICC ?= mpicc
PKGS := liburing liblz4 libxxhash libcrypto jansson
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS := $(shell pkg-config --libs $(PKGS) 2>/dev/null)
VERSION := 0.1.0

WARN := -Wall -Wextra -Wshadow -Wvla -Wundef -Wcast-qual -Wstrict-prototypes \
	-Wmissing-prototypes -Wformat=2 -Wswitch-enum -Werror
OPT ?= -O2
# What the language needs, which is what static analysis sees too.
CFLAGS_LANG := -std=c17 -D_GNU_SOURCE -DCKPT_VERSION='"$(VERSION)"' -I. \
	$(WARN) $(PKG_CFLAGS)
CFLAGS_ALL := $(CFLAGS_LANG) $(OPT) -g -fPIC -fvisibility=hidden \
	-fno-omit-frame-pointer -MMD -MP \
	$(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all) $(CFLAGS)
LDFLAGS_ALL := -pthread $(if $(SAN),-fsanitize=$(SAN)) $(LDFLAGS)

src = $(wildcard $(addsuffix /*.c,$(1)))
obj = $(patsubst %.c,$(B)/obj/%.o,$(1))

COMMON := $(call src,common)
FORMATS := $(call src,formats)
STORAGE := $(call src,storage)
ENGINE := $(call src,ckptd/engine)
DAEMON := $(call src,ckptd/daemon)
CLIENT := $(call src,client)
TRAINER := $(call src,trainer)
CKPT := $(call src,tools/ckpt)
TRAIN_LM := $(call src,trainer/examples/train_lm)
TESTLIB := $(call src,tests/lib)
# The daemon's parts without its main(), for tests.
DAEMON_PARTS := $(filter-out ckptd/daemon/main.c,$(DAEMON))

LIB_TRAINER := $(B)/libckpt.a
LIB_ENGINE := $(B)/libckptd.a
LIB_SO := $(B)/lib/libckpt.so
LIB_TEST := $(B)/libtest.a
TEST_LIBS := $(LIB_TEST) $(LIB_ENGINE) $(LIB_TRAINER)
HAVE_MPI := $(shell command -v $(MPICC) 2>/dev/null)

BINS := $(B)/bin/ckptd $(B)/bin/ckpt $(B)/bin/minimal $(if $(HAVE_MPI),$(B)/bin/train_lm)
UNIT := $(patsubst tests/unit/%.c,$(B)/tests/%,$(wildcard tests/unit/test_*.c))
PROGS := $(patsubst tests/progs/%.c,$(B)/tests/%,$(wildcard tests/progs/*.c))
BENCH := $(patsubst tests/bench/%.c,$(B)/bench/%,$(wildcard tests/bench/*.c))

# Objects depend on the flags and archives on the list of all sources: a
# changed flag or a removed file leaves nothing stale.
keep_text = $(if $(call differ,$(file <$(1)),$(2)),$(shell mkdir -p $(dir \
	$(1)))$(file >$(1),$(2)))
differ = $(subst x$(1)x,,x$(2)x)$(subst x$(2)x,,x$(1)x)
ifneq ($(MAKECMDGOALS),clean)
$(call keep_text,$(B)/flags,$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL))
$(call keep_text,$(B)/sources,$(COMMON) $(FORMATS) $(STORAGE) $(ENGINE) \
	$(DAEMON) $(CLIENT) $(TRAINER) $(CKPT) $(TRAIN_LM) $(TESTLIB))
endif

# Parts of the tests with rules of their own; they may add to BINS and PROGS.
.DEFAULT_GOAL := all
include $(wildcard tests/*/part.mk)

.PHONY: all demo test test-long test-gpu test-ceph bench lint clean \
	install uninstall check-deps report tests format print-cflags
.SECONDARY:
.DELETE_ON_ERROR:

all: report

check-deps:
	@pkg-config --exists $(PKGS) || { \
	  echo "ckptd needs: $(PKGS) (run: sh tools/bootstrap.sh build)" >&2; \
	  exit 1; }

# What this build leaves out, said once per make.
report: $(BINS) $(LIB_SO)
	@$(if $(HAVE_MPI),:,echo "left out: train_lm (no mpicc on this machine)")
	@echo "left out: CUDA and NCCL (not part of this version)"

$(B)/obj/%.o: %.c $(B)/flags | check-deps
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(CFLAGS_ALL) $(EXTRA_$(subst /,_,$*)) -c -o $@ $<

$(LIB_TRAINER): $(call obj,$(COMMON) $(FORMATS) $(CLIENT) $(TRAINER)) \
		$(B)/sources
	$(call say,AR,$@)rm -f $@; $(AR) rcs $@ $(filter %.o,$^)
$(LIB_ENGINE): $(call obj,$(COMMON) $(FORMATS) $(STORAGE) $(ENGINE) \
		$(DAEMON_PARTS)) $(B)/sources
	$(call say,AR,$@)rm -f $@; $(AR) rcs $@ $(filter %.o,$^)
$(LIB_SO): $(call obj,$(COMMON) $(FORMATS) $(CLIENT) $(TRAINER)) \
		trainer/ckpt.map
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(LDFLAGS_ALL) -shared -Wl,-soname,libckpt.so.0 \
	  $(if $(SAN),,-Wl,-z,defs) \
	  -Wl,--version-script=trainer/ckpt.map -o $@ $(filter %.o,$^) $(PKG_LIBS) -lm

$(B)/bin/ckptd: $(call obj,ckptd/daemon/main.c) $(LIB_ENGINE)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS)
$(B)/bin/ckpt: $(call obj,$(CKPT) $(CLIENT)) $(LIB_ENGINE)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lm

# The smallest example, which the README shows; it includes <ckpt.h> as a
# program outside the tree does.
EXTRA_trainer_examples_minimal_minimal := -Itrainer
$(B)/bin/minimal: $(B)/obj/trainer/examples/minimal/minimal.o $(LIB_TRAINER)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lm

# The example needs Open MPI, and nothing else of the project does.
$(call obj,$(TRAIN_LM)): CC = $(MPICC)
$(B)/bin/train_lm: $(call obj,$(TRAIN_LM)) $(LIB_TRAINER)
	@mkdir -p $(@D)
	$(call say,MPICC,$@)$(MPICC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lm

# What tests share; a test takes of it what it uses.
$(LIB_TEST): $(call obj,$(TESTLIB)) $(B)/sources
	$(call say,AR,$@)rm -f $@; $(AR) rcs $@ $(filter %.o,$^)
$(B)/tests/%: $(B)/obj/tests/unit/%.o $(TEST_LIBS)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lcmocka \
	  -lseccomp -lm
$(B)/tests/%: $(B)/obj/tests/progs/%.o $(TEST_LIBS)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lcmocka \
	  -lseccomp -lm
$(B)/bench/%: $(B)/obj/tests/bench/%.o $(LIB_TRAINER)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lm

tests: all $(UNIT) $(PROGS)

demo: all
	@B=$(B) sh tools/demo.sh
test: tests
	@B=$(B) sh tests/run.sh
test-long:
	@sh tests/run_long.sh "$(MAKE)"
test-gpu:
	@echo "no GPU tests in this version: CUDA comes later"; \
	  echo "0 passed, 0 failed, 0 skipped"
bench: all $(BENCH)
	@B=$(B) python3 tests/bench/run.py $(if $(ID),--id $(ID))
# The engine's objects and the library are built because their symbols are
# checked too.
lint: $(call obj,$(COMMON) $(FORMATS) $(STORAGE) $(ENGINE)) $(LIB_SO)
	@B=$(B) sh tools/lint/lint.sh
# For lint.sh, which lints single files as well.
print-cflags:
	$(info $(CFLAGS_LANG))@:
format:
	$(Q)git ls-files '*.c' '*.h' | xargs clang-format -i
clean:
	$(Q)rm -rf build build-*

# What a program needs to build against the library: cc app.c $(pkg-config
# --cflags --libs ckpt). libckpt.a needs Libs.private as well (--static).
define PC_TEXT
prefix=$(PREFIX)
libdir=$${prefix}/lib
includedir=$${prefix}/include

Name: ckpt
Description: Checkpoints of training state through ckptd
Version: $(VERSION)
Libs: -L$${libdir} -lckpt
Libs.private: -llz4 -lxxhash -pthread
Cflags: -I$${includedir}
endef

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/pkgconfig \
	  $(DESTDIR)$(PREFIX)/include
	install -m 755 $(B)/bin/ckptd $(B)/bin/ckpt $(DESTDIR)$(PREFIX)/bin/
	install -m 755 $(LIB_SO) $(DESTDIR)$(PREFIX)/lib/libckpt.so.0
	ln -sf libckpt.so.0 $(DESTDIR)$(PREFIX)/lib/libckpt.so
	install -m 644 $(LIB_TRAINER) $(DESTDIR)$(PREFIX)/lib/
	$(file >$(B)/ckpt.pc,$(PC_TEXT))install -m 644 $(B)/ckpt.pc $(DESTDIR)$(PREFIX)/lib/pkgconfig/
	install -m 644 trainer/ckpt.h $(DESTDIR)$(PREFIX)/include/
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	install -d $(DESTDIR)$(PREFIX)/share/ckptd
	sed 's,@PREFIX@,$(PREFIX),' tools/packaging/ckptd@.service.in >$(B)/ckptd@.service
	install -m 644 $(B)/ckptd@.service $(DESTDIR)$(PREFIX)/lib/systemd/system/
	sed 's,@PREFIX@,$(PREFIX),' tools/packaging/rados.conf.in >$(B)/rados.conf
	install -m 644 $(B)/rados.conf $(DESTDIR)$(PREFIX)/share/ckptd/

# The files of install and nothing else; folders stay.
uninstall:
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/,bin/ckptd bin/ckpt \
	  lib/libckpt.so.0 lib/libckpt.so lib/libckpt.a lib/pkgconfig/ckpt.pc \
	  include/ckpt.h lib/systemd/system/ckptd@.service share/ckptd/rados.conf)

-include $(shell find $(B)/obj -name '*.d' -type f 2>/dev/null)
