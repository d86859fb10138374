# Suites of the tool's code, which gets its stores from the test.
TOOL_SUITES := test_cp test_wait
$(TOOL_SUITES:%=$(B)/tests/%): $(B)/tests/%: $(B)/obj/tests/unit/%.o \
		$(call obj,$(filter-out tools/ckpt/main.c,$(CKPT))) $(TEST_LIBS)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(LDFLAGS_ALL) -Wl,--wrap=store_file_open \
	  -Wl,--wrap=store_home_open -Wl,--wrap=store_close -o $@ \
	  $(filter %.o,$^) $(filter %.a,$^) $(PKG_LIBS) -lcmocka -lm
