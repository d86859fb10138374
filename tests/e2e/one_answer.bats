#!/usr/bin/env bats
# tests/e2e/one_answer.bats - all ranks of a start load the same save, whatever
# is being committed meanwhile; going back and saving on makes a branch.

load ../lib/e2e

@test "ranks started while others commit all load the same save" {
    rounds=8
    [ -z "${CKPT_TEST_LONG:-}" ] || rounds=80
    RANDOM_SEED=21
    step=1000
    start_job --ranks 2 open "?load" storm:$step:1000:20000
    eventually grep -q "saved:" "$OUT"
    for round in $(seq $rounds); do
        before=$job_pid
        mv "$OUT" "$OUT.before"
        step=$((step + 1000))
        random 40
        start_job --ranks 4 0:sleep:$random 3:sleep:$((random / 2)) \
            open load storm:$step:1000:20000
        eventually eval '[ "$(grep -c "load " "$OUT")" -eq 4 ]'
        out_count "load ok" 4
        ids=$(sed -n 's/.*load ok \(id=[^ ]*\) .*/\1/p' "$OUT" | sort -u)
        is "$(echo "$ids" | wc -l)" 1 "different saves that were loaded: $ids"
        # What the start before was promised is an ancestor, or is this.
        loaded=${ids#id=}
        promised=$(sed -n 's/.*saved:\([0-9]*\) ok$/\1/p' "$OUT.before" |
            sort -n | tail -1)
        [ -z "$promised" ] || at_least "${loaded%/*}" "$promised" "loaded"
        # The older generation is told so, and does not hang.
        eventually grep -qE "saved:[0-9]+ error ESTALE" "$OUT.before"
        kill "$before" 2>/dev/null || true
        wait "$before" || true
    done
    kill "$job_pid" 2>/dev/null || true
    end_job
    job --ranks 2 open load
    out_count "load ok" 2
    wait_quiet
    tool_is 0 verify run
}

@test "going back to an older step makes a branch, which latest follows" {
    job --ranks 2 open fill:10 save:10 wait:committed fill:20 save:20 \
        wait:committed fill:30 save:30 wait:committed close
    job --ranks 2 --resume 10 open load fill:15 save:15 wait:committed close
    out_count "open ok parent=10/1" 2
    out_count "load ok id=10/1 version=10" 2
    is "$(saves)" "10/1 20/1 30/1 15/2" "what is committed"
    tool_is 0 ls --json run
    is "$(jq -r '"\(.step)/\(.generation)"' "$OUT" | paste -sd' ')" "10/1 15/2" \
        "the branch that ls shows"
    is "$(jq -r 'select(.latest) | .step' "$OUT")" 15 "latest"
    tool_is 0 show --json run@latest
    job --ranks 3 open load list close
    out_count "load ok id=15/2 version=15" 3
    # A step that another branch has is no conflict.
    job --ranks 2 open load fill:21 save:20 wait:committed close
    job --ranks 2 open load close
    out_count "load ok id=20/4 version=21" 2
    # And back on the first branch.
    job --ranks 1 --resume 30/1 open load fill:40 save:40 wait:committed close
    out_has "load ok id=30/1 version=30"
    tool_is 0 ls --json run
    is "$(jq -r '"\(.step)/\(.generation)"' "$OUT" | paste -sd' ')" \
        "10/1 20/1 30/1 40/6" "the branch that ls shows"
    job --ranks 2 --resume 20/4 open load close
    out_count "load ok id=20/4 version=21" 2
}

@test "a start that saved nothing goes on from what it loaded" {
    job --ranks 2 open fill:10 save:10 wait:committed fill:20 save:20 \
        wait:committed close
    job --ranks 2 --resume 10 open load close
    job --ranks 2 open load close
    out_count "load ok id=10/1 version=10" 2
}

@test "resume none starts afresh, and latest follows once it has saved" {
    job --ranks 2 open fill:10 save:10 wait:committed close
    job --ranks 2 --resume none open "?load" fill:5 save:5 wait:committed close
    out_count "open ok parent=0/0" 2
    out_count "load error ENODATA" 2
    job --ranks 2 open load close
    out_count "load ok id=5/2 version=5" 2
}

@test "a step that is not there is refused by name on all ranks" {
    job --ranks 2 open fill:10 save:10 wait:committed close
    job_fails --ranks 2 --resume 11 open
    out_count "open error E[A-Z]+ .*step 11" 2
    job_fails --ranks 2 --resume 10/9 open
    out_count "open error E[A-Z]+ .*10" 2
    job --ranks 2 open load
    out_count "load ok id=10/1" 2
}

@test "loads into other layouts and subsets agree, and so does a reader" {
    job --ranks 3 open fill:10 save:10 wait:committed close
    for layout in rows columns flat fused replica owner mixed; do
        job --ranks 2 --layout $layout open load read:10/1 close
        out_count "load ok id=10/1 version=10" 2
        out_count "read:10/1 ok id=10/1 version=10" 2
    done
    # Ranks that want nothing take part.
    job --ranks 4 --tensors 1 --layout owner open load close
    out_count "load ok id=10/1" 4
    out_count "bytes=0 " 3
}
