#!/usr/bin/env bats
# tests/e2e/readme.bats - what README.md shows of the sources is what they say,
# and the files that the documents name are there.

@test "the README's trainer is minimal.c without its includes" {
    cd "$BATS_TEST_DIRNAME/../.."
    awk '/^```c$/ { on = 1; next } /^```$/ { on = 0 } on' README.md \
        >"$BATS_TEST_TMPDIR/shown"
    sed '1,/^$/d' trainer/examples/minimal/minimal.c \
        >"$BATS_TEST_TMPDIR/source"
    [ -s "$BATS_TEST_TMPDIR/shown" ]
    diff "$BATS_TEST_TMPDIR/shown" "$BATS_TEST_TMPDIR/source"
}

# Links count from the document's folder; paths of files below a folder of the
# sources, which stand between backquotes, from the root.
@test "files that the documents name are there" {
    cd "$BATS_TEST_DIRNAME/../.."
    for document in README.md ARCHITECTURE.md formats/FORMAT.md; do
        grep -oE '\]\([^):#]+' $document |
            sed "s,^..,$(dirname $document)/," || true
        grep -oE '`(common|formats|storage|ckptd|client|trainer|tools|tests)/[a-zA-Z0-9_./@-]+`' \
            $document | tr -d '`' || true
    done | sort -u >"$BATS_TEST_TMPDIR/named"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/named")" -gt 20 ]
    while read -r path; do
        [ -e "$path" ] || { echo "not there: $path"; false; }
    done <"$BATS_TEST_TMPDIR/named"
}
