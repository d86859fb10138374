# Damage of every kind to a small checkpoint, read in four ways. The tool's code
# gets its stores from the test (tests/rot/by_verify.c).
PROGS += $(B)/tests/rot

$(B)/tests/rot: $(call obj,$(call src,tests/rot)) \
		$(call obj,tests/storm/proc.c) \
		$(call obj,$(filter-out tools/ckpt/main.c,$(CKPT))) $(TEST_LIBS)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(LDFLAGS_ALL) -Wl,--wrap=store_file_open -o $@ \
	  $(filter %.o,$^) $(filter %.a,$^) $(PKG_LIBS) -lm
