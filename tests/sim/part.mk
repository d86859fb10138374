# ckpt-sim, the simulator: whole clusters of engines in one thread, decided by a
# seed (tests/sim/sim.h); and that its oracle notices when a safeguard is left
# out (planted.c), with the objects that tests/crash builds for that.
SIM := $(filter-out tests/sim/planted.c,$(call src,tests/sim))
SIM_PLANTED := $(filter-out tests/sim/main.c,$(SIM)) tests/sim/planted.c
PROGS += $(B)/bin/ckpt-sim $(B)/tests/sim_planted
$(B)/bin/ckpt-sim: $(call obj,$(SIM)) $(TEST_LIBS)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lm
$(B)/tests/sim_planted: $(call obj,$(SIM_PLANTED)) \
		$(filter-out $(B)/planted/tools/%,$(CRASH_PLANTED_OBJ)) \
		$(TEST_LIBS)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lm
