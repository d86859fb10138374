# tests/coverage: which branches of the commit, of opening manifests and of
# retention the unit suites take. `make coverage` builds with gcov into
# build-coverage, runs the suites that are about those files, prints a table,
# and lists every branch that none took, and then fails; report.py says what is
# left out.
COVERAGE_FLAGS := --coverage -fprofile-update=atomic -iquote tests/coverage/plain
COVERAGE_FILES := $(wildcard ckptd/engine/commit*.c ckptd/engine/retain*.c \
	formats/manifest_check*.c) formats/manifest.c formats/manifest_open.c
COVERAGE_SUITES := commit commit_odd commit_recover commit_removed \
	drain failnth_commit failnth_drain failnth_judged failnth_lost \
	failnth_retain manifest manifest_crafted manifest_forged \
	manifest_refused rados_engine retain retain_choose retain_damage \
	retain_release retain_tombs

.PHONY: coverage
coverage:
	@sh tests/coverage/run.sh "$(MAKE)" "$(COVERAGE_FLAGS)" \
	  "$(COVERAGE_SUITES)" "$(COVERAGE_FILES)"
