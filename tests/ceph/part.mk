# tests/ceph: a real Ceph cluster (cluster.py), load on it with an exact oracle
# (ceph_load.c), and faults meanwhile (storm.py). tests/e2e/ceph.bats is the
# suite, ceph_homes.bats that of daemons and trainers on homes there: short in
# `make test`, all of it in `make test-ceph`, which has ceph_hosts.bats as well:
# jobs on three hosts, and load from them.
CEPH_CLAIMS := $(B)/tests/ceph_load $(B)/tests/ceph_ghost
CEPH_PROGS := $(CEPH_CLAIMS) $(B)/tests/ceph_one
PROGS += $(CEPH_PROGS)

$(CEPH_PROGS): $(B)/tests/%: $(B)/obj/tests/ceph/%.o $(LIB_ENGINE)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) \
	  $(LIB_ENGINE) $(PKG_LIBS) -lm

$(CEPH_CLAIMS): $(B)/obj/tests/ceph/claims.o

.PHONY: test-ceph
test-ceph: tests
	@B=$(B) CKPT_TEST_CEPH=1 CKPT_TEST_LONG=1 sh tests/run.sh ceph ceph_homes ceph_hosts
