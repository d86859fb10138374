# tests/lib/netns.bash - for suites that make namespaces.

# holders SPACES: who is in one of these namespaces, or holds one; SPACES is a
# line for each, as readlink(1) prints what is in /proc/PID/ns.
holders() {
    find /proc/[0-9]*/ns /proc/[0-9]*/fd -lname '*:\[*' \
        -printf '%p %l\n' 2>/dev/null | grep -F "$1" || true
}
