#!/usr/bin/env python3
"""One attack on a ckptd: attack.py VERB ARGUMENT...

What the attacked side answers is printed, one line each: `refused CODE WORDS`
for a typed refusal, `greeted`, `joined`, `closed` for an end without a word.
tests/e2e/attacks.bats runs these, also as another user, and says what each must
be answered. Only Python's standard library; the wire is that of
formats/wire.h, the records that of formats/FORMAT.md.
"""
import array
import errno
import fcntl
import os
import pty
import resource
import socket
import struct
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))

ERROR, HELLO, OPEN, ARENA, TABLE, SAVE, SLOTS, CHUNKS = 1, 2, 4, 6, 8, 10, 12, 13
STATE, CANCEL, CONSUMED, LOAD_VOTE, LIST = 14, 15, 21, 23, 27
MAGIC = 0x31574B43
OWN_CODES = ["CKPT_ECORRUPT", "CKPT_EVERSION", "CKPT_ESHAPE", "CKPT_EPARTIAL",
             "CKPT_ECONFLICT", "CKPT_EUNCOMMITTED", "CKPT_EABORTED"]
OWN_FIRST = 4001


def code_name(code):
    if OWN_FIRST <= -code < OWN_FIRST + len(OWN_CODES):
        return OWN_CODES[-code - OWN_FIRST]
    return errno.errorcode.get(-code, str(code))


def frame(kind, payload=b"", number=1, length=None):
    return struct.pack("<IHHQ", len(payload) if length is None else length,
                       kind, 0, number) + payload


def text(words):
    raw = words.encode("utf-8", "surrogateescape")
    return struct.pack("<H", len(raw)) + raw


def hello(low=1, high=1, magic=MAGIC):
    return frame(HELLO, struct.pack("<IHHQ", magic, low, high, 0))


def opening(home, run="hostile", token="hostile", rank=0, world=1):
    return frame(OPEN, text(home) + text(run) + text(token) + text("host") +
                 struct.pack("<IIIQIIIIIIII", rank, world, 0, 0, 0, 0, 0,
                             2000, 2000, 2000, 0, 0) +
                 struct.pack("<I16sII", 1, b"dp", world, rank), 2)


def connect(path, seconds=20):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(seconds)
    s.connect(path)
    return s


def hurl(s, data):
    """A daemon that has hung up is fine."""
    try:
        s.sendall(data)
    except OSError:
        pass


def exactly(s, count):
    data = b""
    while len(data) < count:
        more = s.recv(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def answer(s):
    """(type, payload) of the next frame, or None at the end."""
    try:
        length, kind, _, _ = struct.unpack("<IHHQ", exactly(s, 16))
        return kind, exactly(s, length)
    except (EOFError, ConnectionError):
        return None


def tell(got):
    if got is None:
        print("closed")
    elif got[0] == ERROR:
        code, size = struct.unpack_from("<iH", got[1])
        print("refused", code_name(code),
              got[1][6:6 + size].decode("utf-8", "replace"))
    elif got[0] == HELLO + 1:
        print("greeted")
    elif got[0] == OPEN + 1:
        print("joined")
    else:
        print("frame", got[0])


def tell_end(s):
    """The refusal, and that the connection ends with it."""
    got = answer(s)
    tell(got)
    if got is not None and answer(s) is not None:
        print("goes on")


def greeted(path):
    s = connect(path)
    s.sendall(hello())
    got = answer(s)
    if got is None or got[0] != HELLO + 1:
        tell(got)
        sys.exit(1)
    return s


def joined(path, home):
    s = greeted(path)
    s.sendall(opening(home, token="hostile-%d" % os.getpid()))
    got = answer(s)
    if got is None or got[0] != OPEN + 1:
        tell(got)
        sys.exit(1)
    s.sendall(frame(ARENA, struct.pack("<Q", 1 << 20), 3))
    got = answer(s)
    if got is None or got[0] != ARENA + 1:
        tell(got)
        sys.exit(1)
    return s


# --- Of the socket -----------------------------------------------------------

def attack_knock(path):
    """Connect, wait for what comes."""
    try:
        s = connect(path, 5)
    except OSError as error:
        print("refused", errno.errorcode[error.errno])
        return
    hurl(s, hello())
    tell_end(s)


def attack_greet(path):
    greeted(path)
    print("greeted")


def attack_bytes(path, what):
    bytes_of = {
        "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "oversized": frame(HELLO, length=0xFFFFFFFF),
        "unknown": frame(777),
        "magic": hello(magic=1),
        "future": hello(low=7, high=9),
        "order": frame(SAVE, bytes(20)),
        "reply": frame(HELLO + 1, bytes(40)),
    }
    s = connect(path)
    hurl(s, bytes_of[what])
    tell_end(s)


def attack_open(path, home, run, token="hostile", rank="0", world="1"):
    s = greeted(path)
    s.sendall(opening(home, run, token, int(rank), int(world)))
    tell(answer(s))


def entry(name=b"t", ndim=1, boxes=0, rest=b""):
    return (struct.pack("<H", len(name)) + name +
            struct.pack("<BBHII", 18, ndim, 0, 0, 1) + struct.pack("<Q", 4) *
            min(ndim, 8) + struct.pack("<II", boxes, 0) + rest)


def attack_frame(path, home, what):
    """A rank that has joined sends what it must not."""
    huge = 0xFFFFFFFF
    frames = {
        "table-count": frame(TABLE, struct.pack("<II", 1, huge), 4),
        "box-count": frame(TABLE, struct.pack("<II", 1, 1) +
                           entry(boxes=huge), 4),
        "dimensions": frame(TABLE, struct.pack("<II", 1, 1) +
                            entry(ndim=255), 4),
        "values-count": frame(SAVE, struct.pack("<QIII", 1, 1, 0, 3) +
                              struct.pack("<II", 4, huge), 4),
        "chunks-count": frame(CHUNKS, struct.pack("<QI", 1, huge), 4),
        "chunks-save": frame(CHUNKS, struct.pack("<QIII", 999, 1, 0, 0), 4),
        "consumed-load": frame(CONSUMED, struct.pack("<QII", 999, 1, 0), 4),
        "vote-load": frame(LOAD_VOTE, struct.pack("<QIi", 999, 1, 0) +
                           text(""), 4),
        "name": frame(TABLE, struct.pack("<II", 1, 1) +
                      entry(name=b"\x1b[2J"), 4),
        "table-absent": frame(SAVE, struct.pack("<QIII", 1, 7, 0, 3) +
                              struct.pack("<II", 4, 0), 4),
    }
    s = joined(path, home)
    if what == "values-count":
        hurl(s, frame(TABLE, struct.pack("<II", 1, 1) + entry(), 4))
        answer(s)
    hurl(s, frames[what])
    if what == "vote-load":
        hurl(s, frame(LIST, b"", 5))
    tell(answer(s))


def saving(path, home):
    """A session whose save has been granted slots, and the save's number."""
    s = joined(path, home)
    hurl(s, frame(TABLE, struct.pack("<II", 1, 1) + entry(), 4))
    got = answer(s)
    hurl(s, frame(SAVE, struct.pack("<QIIIII", 1, 1, 0, 3, 4, 0), 5))
    save = 0
    while got is not None and got[0] not in (ERROR, SLOTS):
        if got[0] == SAVE + 1:
            save = struct.unpack_from("<Q", got[1])[0]
        got = answer(s)
    if got is None or got[0] == ERROR:
        tell(got)
        sys.exit(1)
    return s, save


def attack_slot(path, home, slot):
    """CHUNKS that claim a slot that was not granted."""
    s, save = saving(path, home)
    hurl(s, frame(CHUNKS, struct.pack("<QIII", save, 1, 0, int(slot)), 6))
    got = answer(s)
    while got is not None and got[0] != ERROR:
        got = answer(s)
    tell(got)


def attack_cancel(path, home, words):
    """An abort whose reason is more than words."""
    s, save = saving(path, home)
    hurl(s, frame(CANCEL, struct.pack("<Qi", save, -errno.EIO) + text(words),
                  6))
    got = answer(s)
    while got is not None and not (got[0] == STATE and struct.unpack_from(
            "<I", got[1], 24)[0] == 100):
        got = answer(s)
    print("aborted" if got else "closed")


def attack_trickle(path, what, seconds="1"):
    """Bytes one by one, or half a frame and silence."""
    s = connect(path, 40)
    started = time.monotonic()
    whole = hello()
    if what == "half":
        s.sendall(whole[:20])
    else:
        for i in range(len(whole) - 1):
            try:
                s.sendall(whole[i:i + 1])
            except OSError:
                break
            time.sleep(float(seconds))
            s.setblocking(False)
            try:
                if s.recv(1, socket.MSG_PEEK):
                    break
            except BlockingIOError:
                pass
            s.settimeout(40)
    s.settimeout(40)
    tell_end(s)
    print("after", int(time.monotonic() - started), "s")


def attack_flood(path, count, ready, go):
    """So many connections; held until the file `go` is there."""
    wanted = int(count)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted + 64, wanted + 64))
    held = []
    for _ in range(wanted):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(5)
        while True:
            try:
                s.connect(path)
                break
            except BlockingIOError:  # its queue is full for the moment
                time.sleep(0.01)
        held.append(s)
    last = held[-1]
    tell_end(last)
    open(ready, "w").close()
    while not os.path.exists(go):
        time.sleep(0.02)


def kinds_of_descriptors(count):
    made = [os.open("/dev/null", os.O_RDWR), os.open("/", os.O_RDONLY),
            os.memfd_create("hostile"), socket.socket(socket.AF_UNIX).detach(),
            os.pidfd_open(1) if hasattr(os, "pidfd_open") else
            os.open("/dev/zero", os.O_RDONLY)]
    made += list(os.pipe())
    while len(made) < count:
        made.append(os.dup(made[len(made) % 7]))
    return made[:count]


def attack_descriptors(path, count, times):
    """HELLO, byte by byte, with many descriptors beside each byte."""
    fds = kinds_of_descriptors(int(count))
    s = connect(path)
    whole = hello()
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
    for i in range(int(times)):
        s.sendmsg([whole[i:i + 1]], rights)
    s.sendall(whole[int(times):])
    tell(answer(s))
    print("connection", os.getpid())
    sys.stdout.flush()
    sys.stdin.readline()


def attack_listen(path, ready):
    """A forged daemon: listens first, and says whatever it likes."""
    if os.path.exists(path):
        os.unlink(path)
    s = socket.socket(socket.AF_UNIX)
    s.bind(path)
    os.chmod(path, 0o777)
    s.listen(8)
    s.settimeout(20)
    open(ready, "w").close()
    c, _ = s.accept()
    c.settimeout(3)
    try:
        heard = len(c.recv(100))
    except OSError:
        heard = 0
    print("heard", heard, "bytes")


# --- Of shared memory --------------------------------------------------------

def memfds(pid):
    folder = "/proc/%s/fd" % pid
    for name in sorted(os.listdir(folder), key=int):
        try:
            if os.readlink(folder + "/" + name).startswith("/memfd:"):
                yield os.open(folder + "/" + name, os.O_RDWR)
        except OSError:
            pass


def outcome(call):
    try:
        call()
        return "done"
    except OSError as error:
        return errno.errorcode[error.errno]


def attack_resize(pid):
    add_seals = 1033
    for fd in memfds(pid):
        size = os.fstat(fd).st_size
        print("shrink", outcome(lambda: os.ftruncate(fd, 0)),
              "grow", outcome(lambda: os.ftruncate(fd, size + 4096)),
              "seal", outcome(lambda: fcntl.fcntl(fd, add_seals, 8)))


def attack_scribble(pid, seconds):
    """Noise over everything that ranks and daemon share."""
    noise = os.urandom(1 << 16)
    until = time.monotonic() + float(seconds)
    count = 0
    while True:
        for fd in memfds(pid):
            for at in range(0, os.fstat(fd).st_size, len(noise)):
                count += os.pwrite(fd, noise, at)
            os.close(fd)
        if time.monotonic() >= until:
            break
    print("scribbled" if count else "nothing there")


def attack_punch(pid):
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    for fd in memfds(pid):
        rc = libc.fallocate(fd, 3, ctypes.c_long(0),
                            ctypes.c_long(os.fstat(fd).st_size))
        print("punched" if rc == 0 else errno.errorcode[ctypes.get_errno()])


# --- Of files ----------------------------------------------------------------

def digest(data):
    sys.path.insert(0, os.path.join(HERE, "..", "golden"))
    import read_ckpt
    return read_ckpt.digest(bytes(data))


def seal_record(data):
    data[-16:] = digest(data[:-16])


def reseal(data):
    """A decision's digests made right again, from the inside out."""
    at = data.find(b"CKPTMANI")
    if at >= 0:
        total, end = struct.unpack_from("<QQ", data, at + 32)
        old = bytes(data[at + total - 16:at + total])
        for i in range((end + 65535) // 65536):
            page = data[at + i * 65536:at + min((i + 1) * 65536, end)]
            data[at + end + 16 * i:at + end + 16 * i + 16] = digest(page)
        root = digest(data[at + end:at + total - 16])
        data[at + total - 16:at + total] = root
        where = data.find(old)
        data[where:where + 16] = root
    seal_record(data)


def attack_forge(path, old, new):
    """Replaces bytes of a record by as many others, with right digests."""
    with open(path, "rb") as f:
        data = bytearray(f.read())
    was = old.encode().decode("unicode_escape").encode("latin-1")
    now = new.encode().decode("unicode_escape").encode("latin-1")
    if len(was) != len(now) or was not in data:
        sys.exit("forge: '%s' is not there" % old)
    data = bytearray(bytes(data).replace(was, now))
    reseal(data)
    os.unlink(path)
    with open(path, "wb") as f:
        f.write(data)


def attack_count(path, table, field, value):
    """Sets the count (or offset) of a table of the manifest in a decision."""
    with open(path, "rb") as f:
        data = bytearray(f.read())
    at = data.find(b"CKPTMANI")
    struct.pack_into("<Q", data, at + 256 + 32 * int(table) +
                     {"offset": 8, "count": 16}[field], int(value, 0))
    reseal(data)
    os.unlink(path)
    with open(path, "wb") as f:
        f.write(data)


def attack_swap(path, other, seconds):
    """A race: path is now the folder that it was, now a link to another."""
    aside = path + ".aside"
    until = time.monotonic() + float(seconds)
    count = 0
    while time.monotonic() < until:
        try:
            os.rename(path, aside)
            os.symlink(other, path)
            os.unlink(path)
            os.rename(aside, path)
        except OSError:
            pass
        count += 1
    if os.path.exists(aside):  # another was made meanwhile
        if os.path.lexists(path):
            os.rename(path, path + ".made")
        os.rename(aside, path)
    print("swapped" if count else "nothing done")


def attack_terminal(*command):
    """What the command writes to a terminal, escaped."""
    data = b""

    def read(fd):
        nonlocal data
        chunk = os.read(fd, 4096)
        data += chunk
        return chunk

    ours = os.dup(1)
    os.dup2(os.open("/dev/null", os.O_WRONLY), 1)  # where spawn() copies it
    pty.spawn(list(command), read)
    os.dup2(ours, 1)
    print(data.replace(b"\r\n", b"\n").decode("latin-1").encode(
        "unicode_escape").decode().replace("\\n", "\n"))


def main():
    verbs = {name[7:]: call for name, call in globals().items()
             if name.startswith("attack_")}
    if len(sys.argv) < 2 or sys.argv[1] not in verbs:
        sys.exit("usage: attack.py %s ..." % "|".join(sorted(verbs)))
    verbs[sys.argv[1]](*sys.argv[2:])


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # it is read while we go on
    main()
