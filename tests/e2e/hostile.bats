#!/usr/bin/env bats
# tests/e2e/hostile.bats - noise on the daemon's socket: it lives on, serves
# others meanwhile, and loses nothing. What aims at something is in attacks.bats.

load ../lib/e2e

count_sockets() {
    find "/proc/$daemon/fd" -lname 'socket:*' | wc -l
}

@test "hostile frames: the daemon lives on and serves others" {
    count=400
    [ -z "${CKPT_TEST_LONG:-}" ] || count=10000
    start_daemon
    job --ranks 2 open fill:1 save:1 wait:committed close
    sockets=$(count_sockets)
    start_job --ranks 2 open load storm:2:60 close
    "$BUILD_DIR/tests/hostile" "$LOCAL/ckptd.sock" "$HOME_DIR" 7 $count \
        >"$OUT.hostile" 2>&1 3>&- || complain "$(cat "$OUT.hostile")"
    end_job
    is "$status" 0 "exit status of the job"
    out_count "saved:[0-9]* ok" 120
    kill -0 "$daemon" || complain "the daemon is gone"
    is "$(daemon_pid)" "$daemon" "the daemon"
    job --ranks 3 open load close
    out_count "load ok id=61/2 version=61" 3
    # Nothing of the attackers stays behind.
    few_sockets() {
        [ "$(count_sockets)" -le "$sockets" ]
    }
    eventually few_sockets
    stop_daemon
    tool_is 0 verify run
    tool_is 0 ls
}

@test "attacks of other seeds" {
    seeds="1 2 3"
    [ -z "${CKPT_TEST_LONG:-}" ] || seeds=$(seq 50)
    start_daemon
    for seed in $seeds; do
        "$BUILD_DIR/tests/hostile" "$LOCAL/ckptd.sock" "$HOME_DIR" "$seed" 150 \
            >"$OUT" 2>&1 3>&- || complain "seed $seed"
        kill -0 "$daemon" || complain "the daemon died of seed $seed"
    done
    job --ranks 2 open fill:1 save:1 wait:committed close
    stop_daemon
}

@test "connections without end: the daemon serves those who came first" {
    start_daemon
    start_job open fill:1 save:1 wait:committed hold:"$BATS_TEST_TMPDIR/go" \
        fill:2 save:2 wait:committed close
    eventually grep -q "wait:committed ok" "$OUT"
    python3 - "$LOCAL/ckptd.sock" <<'P' 3>&-
import resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (1500, 1500))
held = []
try:
    for _ in range(1400):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(0.2)
        s.connect(sys.argv[1])
        held.append(s)
except OSError:
    pass
open(sys.argv[1].rsplit("/", 2)[0] + "/../go", "w").close()
import time
time.sleep(1.5)
P
    end_job
    is "$status" 0 "exit status of the job"
    out_count "save:2 ok" 1
    job --ranks 2 open load close
    out_count "load ok id=2/1" 2
    stop_daemon
}
