# tests/bench: programs of the benchmark that need the engine's parts.
$(B)/bench/objects: $(B)/obj/tests/bench/objects.o $(LIB_ENGINE)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lm
