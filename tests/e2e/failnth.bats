#!/usr/bin/env bats
# tests/e2e/failnth.bats - Fail-Nth reaches every call: what the project's
# objects call is led through a site of tests/failnth, or tests/failnth/
# passed.syms says why not. (The injections are in tests/unit/test_failnth_*.)

load ../lib/e2e

# Names that are called and not defined; sites and what compilers add aside.
called() {
    nm "$BUILD_DIR/failnth/libckpt.a" "$BUILD_DIR"/failnth/sites/tools/ckpt/*.o \
        "$BUILD_DIR/failnth/sites/ckptd/daemon/main.o" 2>/dev/null |
        awk 'NF == 2 && $1 == "U" { called[$2] = 1 }
            NF == 3 && $2 ~ /[A-Z]/ { defined[$3] = 1 }
            END { for (name in called) if (!(name in defined)) print name }' |
        grep -vE '^(failnth_|counted_|_GLOBAL_OFFSET_TABLE_|__stack_chk|__tls)'
}

@test "every call has a site, or a reason to have none" {
    [ -z "$SANITIZED" ] || return 0 # they call for themselves
    called | sort >"$OUT.called"
    at_least "$(wc -l <"$OUT.called")" 50 "calls without a site"
    grep -v '^#' "$ROOT/tests/failnth/passed.syms" | tr ' ' '\n' |
        grep . | sed 's/^\(.*\)$/\1\n__\1_chk/' | sort >"$OUT.passed"
    comm -23 "$OUT.called" "$OUT.passed" >"$OUT"
    [ ! -s "$OUT" ] || complain "neither in sites.syms nor in passed.syms"
    echo "# figure: $(wc -l <"$ROOT/tests/failnth/sites.syms") calls have sites," \
        "$(wc -l <"$OUT.called") need none" >&3
}
