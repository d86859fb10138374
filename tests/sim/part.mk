# ckpt-sim, the simulator: whole clusters of engines in one thread, decided by a
# seed (tests/sim/sim.h).
SIM := $(call src,tests/sim)
PROGS += $(B)/bin/ckpt-sim
$(B)/bin/ckpt-sim: $(call obj,$(SIM)) $(TEST_LIBS)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lm
