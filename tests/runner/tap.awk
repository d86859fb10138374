# tests/runner/tap.awk - counts one suite's TAP output.
#
# In: the output; -v kind, suite, status (of the process), limit (seconds),
# skips (the file for reasons). Out: "passed failed skipped", then one line for
# each failure that the output itself does not show.
#
# cmocka writes a skip as `not ok N # SKIP name` and has no place for a reason:
# the test prints it as its last line before skip(). bats and the Python
# suites write `ok N name # skip reason`, the latter also `skip name: reason`.

function skipped_one(reason) {
    sub(/^[# ]+/, "", reason)
    if (reason ~ /[^ ]/) {
        skipped++
        print "  " suite ": " reason >skips
    } else {
        failed++
        note("a skip without a reason: " $0)
    }
}

function note(text) {
    notes = notes text "\n"
}

/^1\.\.[0-9]+/ {
    planned += substr($1, 4)
    next
}

/^not ok [0-9]+ # SKIP/ {
    seen++
    test = $0
    sub(/^not ok [0-9]+ # SKIP */, "", test)
    skipped_one(chatter == "" ? "" : test ": " chatter)
    chatter = ""
    next
}

/^not ok/ {
    seen++
    failed++
    chatter = ""
    next
}

/^ok/ {
    seen++
    if (match($0, /# *[Ss][Kk][Ii][Pp]/)) {
        reason = substr($0, RSTART + RLENGTH)
        test = substr($0, 1, RSTART - 1)
        sub(/^ok [0-9]+ *-? */, "", test)
        sub(/ +$/, "", test)
        skipped_one(reason ~ /[^ ]/ ? test ":" reason : "")
    } else {
        passed++
    }
    chatter = ""
    next
}

kind == "golden" && /^skip/ {
    seen++
    sub(/^skip *[0-9]* *-? */, "")
    skipped_one($0)
    next
}

/^(left behind|sanitizer report):|: runtime error: / {
    failed++
    note($0)
    next
}

/[^ ]/ {
    chatter = $0
}

END {
    if (planned > seen) {
        failed += planned - seen
        note(planned - seen " planned tests gave no result")
    }
    if (status == 124 || status == 137)
        note("killed: it ran longer than " limit " s")
    else if (status > 128)
        note("died of signal " status - 128)
    else if (status != 0 && failed == 0)
        note("exit status " status)
    if (status != 0 && failed == 0)
        failed++
    if (seen == 0 && failed == 0) {
        failed++
        note("ran no test")
    }
    printf "%d %d %d\n%s", passed, failed, skipped, notes
}
