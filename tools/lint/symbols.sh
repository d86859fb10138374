#!/bin/sh
# tools/lint/symbols.sh - what compiled code may ask for.
#
# The engine runs in the daemon and in a simulator alike, so it and all that
# stands below it (common without its operating-system part, formats) may use
# memory, strings, arithmetic and the codecs' libraries, and nothing that
# tells time, starts threads, does I/O or draws random numbers. Of storage the
# engine may only call the interface, and never its blocking store_run(), and
# read a home's name in RADOS, which is held to the same.
# libckpt.so exports ckpt_* alone.
set -u

# Of libc: everything here is a pure function of its arguments, or the heap.
pure='mem(cpy|move|set|cmp|chr|rchr|mem|pcpy)|raw?memchr|explicit_bzero
str(len|nlen|cmp|ncmp|chr|rchr|chrnul|str|spn|cspn|dup|ndup|casecmp|ncasecmp)
stp(cpy|ncpy)|str(errordesc_np|errorname_np|sep|pbrk|tok_r|verscmp)
v?s(n)?printf|(__isoc99_)?v?sscanf|__(sn|vsn|s|vs)printf_chk
strto(l|ll|ul|ull|d|umax|imax)|(__isoc23_)?strtou?ll?|__ctype_(b|tolower|toupper)_loc
malloc|calloc|realloc|reallocarray|free|aligned_alloc|posix_memalign
qsort|qsort_r|bsearch|abs|labs|llabs|ffs|ffsl|ffsll
(ceil|floor|log2?|exp2?|pow|sqrt|round|l?lround|fabs|fmin|fmax|ldexp|frexp)f?
__assert_fail|__stack_chk_fail|__errno_location|_GLOBAL_OFFSET_TABLE_
__mem(cpy|move|set)_chk|__str(cpy|cat)_chk|__fortify_fail
LZ4_[a-zA-Z_]+|XXH[0-9A-Za-z_]+'
pure=$(printf '%s' "$pure" | tr '\n' '|')
# Of common: what touches the operating system, which only the daemon, the
# libraries and the tools use.
os_part='log|huge|own_folder'

bad=0
objects=$(ls "$B"/obj/ckptd/engine/*.o "$B"/obj/formats/*.o "$B"/obj/common/*.o \
    "$B"/obj/storage/rados_url.o 2>/dev/null | grep -vE "/common/($os_part)\.o$")
case $objects in
*ckptd/engine/*) ;;
*)
    echo "no engine objects in $B/obj (make lint builds them)"
    exit 1
    ;;
esac
# What the objects define among themselves, and the store interface.
# shellcheck disable=SC2086 # names without blanks
own=$(nm --defined-only -g -f posix $objects "$B/obj/storage/store.o" \
    "$B/obj/storage/store_names.o" |
    awk 'NF >= 3 && $1 !~ /^store_run$/ { print $1 }' | sort -u)
# shellcheck disable=SC2086
unknown=$(nm -u -A -f posix $objects | sed 's/: / /' |
    awk -v pure="^($pure)\$" '
        NR == FNR { own[$1] = 1; next }
        !($2 in own) && $2 !~ pure { print $1 " uses " $2 }
    ' /dev/fd/3 - 3<<EOF
$own
EOF
)
if [ -n "$unknown" ]; then
    printf '%s\n' "$unknown"
    echo "the engine and what is below it get time, I/O, threads and random" \
        "numbers through the environment they are given"
    bad=1
fi

exported=$(nm -D --defined-only -f posix "$B/lib/libckpt.so" |
    awk '$1 !~ /^ckpt_/ { print "libckpt.so exports " $1 }')
if [ -n "$exported" ]; then
    printf '%s\n' "$exported"
    bad=1
fi
exit $bad
