#!/usr/bin/env bats
# tests/e2e/hosts.bats - a job on three hosts (tests/hosts/hosts.py), each with
# its own processes, daemon and local store, and one home in a folder that all
# of them reach: saved and loaded by all, decided without a host that hangs,
# nothing undone by it when it comes back, and nothing lost with one that does
# not. tests/ceph/ceph_hosts.bats has a home in Ceph.

load ../lib/e2e
load ../lib/netns
load ../hosts/scenarios

setup_file() {
    start_hosts
}

teardown_file() {
    kill -TERM "$(cat "$HOSTS_DIR.pid")" 2>/dev/null || true
}

setup() {
    if ! [ -s "$HOSTS_DIR.up" ]; then
        why=$(tail -n 1 "$HOSTS_DIR.log")
        case $why in
        *"no network namespaces"*) skip "${why#hosts.py: }" ;;
        esac
        echo "no hosts: $why" >&2
        return 1
    fi
    e2e_setup
    hosts_setup
}

teardown() {
    hosts_teardown
    e2e_teardown
}

@test "what three hosts save, three hosts load, and two in another layout" {
    three_save_three_and_two_load
}

@test "hosts are destroyed: the rest goes on in other layouts, from drives and home" {
    lost_hosts_leave_the_rest
}

@test "a save whose third host hangs is aborted at its deadline, by its name" {
    hung_host_aborts
}

@test "hosts that are away and come back late change no decision" {
    late_hosts_change_nothing 100
}

@test "a host that is away while the rest start anew resumes from nothing else" {
    away_while_the_rest_starts_anew
}

@test "nothing of hosts whose maker is killed remains" {
    nothing_remains "$(cat "$HOSTS_DIR.pid")"
}
