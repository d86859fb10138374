# The kill storm: real ranks and a real daemon, both killed at named places,
# which the linker puts into them (tests/storm/place.h).
STORM_COMMON := $(call obj,$(addprefix tests/storm/,place.c proc.c))
STORM_RANK := $(STORM_COMMON) \
	$(call obj,$(addprefix tests/storm/,crew.c rank.c rank_places.c))
PROGS += $(B)/tests/storm $(B)/tests/storm_ckptd $(B)/tests/soak

$(B)/tests/storm: $(call obj,$(addprefix tests/storm/,storm.c home.c))
$(B)/tests/soak: $(call obj,$(addprefix tests/storm/,soak.c space.c))
$(B)/tests/storm $(B)/tests/soak: $(STORM_RANK) $(TEST_LIBS)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(LDFLAGS_ALL) -Wl,--wrap=frame_begin \
	  -Wl,--wrap=conn_next -o $@ \
	  $(filter %.o,$^) $(filter %.a,$^) $(PKG_LIBS) -lm
$(B)/tests/storm_ckptd: $(call obj,ckptd/daemon/main.c) $(STORM_COMMON) \
		$(call obj,tests/storm/daemon_places.c) $(LIB_ENGINE)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(LDFLAGS_ALL) -Wl,--wrap=store_submit \
	  -Wl,--wrap=peers_send -Wl,--wrap=engine_close -o $@ $^ $(PKG_LIBS)
