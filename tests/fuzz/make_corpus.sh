#!/bin/sh
# tests/fuzz/make_corpus.sh - called by `make fuzz-corpus`: seeds through the
# encoders; of them, of what is in tests/fuzz/corpus and of CORPUS (a folder with
# more, by kind) a few inputs that cover all branches replace the corpus.
# Inputs named crash-*, timeout-*, oom-*, leak-* and slow-* were findings and
# stay.
set -eu

seeds=$(mktemp -d)
trap 'rm -rf "$seeds"' EXIT
build/fuzz/make_corpus "$seeds" tests/golden/v1/home
for fuzzer in tests/fuzz/fuzz_*.c; do
    kind=$(basename "$fuzzer" .c)
    kind=${kind#fuzz_}
    corpus=tests/fuzz/corpus/$kind
    mkdir -p "$corpus" "$seeds/$kind" "$seeds/new/$kind"
    set -- "$seeds/$kind" "$corpus"
    [ -d "${CORPUS:-}/$kind" ] && set -- "$@" "$CORPUS/$kind"
    "build/fuzz/fuzz_$kind" -set_cover_merge=1 -use_counters=0 -timeout=10 -rss_limit_mb=1024 \
        -close_fd_mask=3 "$seeds/new/$kind" "$@" 2>"$seeds/log" ||
        { tail -n 30 "$seeds/log" >&2; exit 1; }
    find "$corpus" -type f ! -name 'crash-*' ! -name 'timeout-*' \
        ! -name 'oom-*' ! -name 'leak-*' ! -name 'slow-*' -delete
    cp "$seeds/new/$kind"/* "$corpus/"
    echo "$kind: $(find "$corpus" -type f | wc -l) inputs," \
        "$(cat "$corpus"/* | wc -c) bytes"
done
