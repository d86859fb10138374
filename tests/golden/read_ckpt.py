#!/usr/bin/env python3
"""Reads ckptd homes without ckptd.

A single file in Python's standard library, written from formats/FORMAT.md
alone: if ckptd is gone, this recovers the tensors. It verifies every digest
and refuses what does not match. It is exact, not fast.

    read_ckpt.py HOME                      runs, saves, and which is the latest
    read_ckpt.py HOME --json               everything, with SHA-256 of tensors
    read_ckpt.py HOME RUN[@SAVE]           verify one save, list its tensors
    read_ckpt.py HOME RUN[@SAVE] --out DIR ... and write them as raw files

SAVE is a name such as 00000001-00000000000000000100-0000, or "latest" (the
default). --store DIR names a further local store; HOME/local is looked at
anyway; chunks that are bad or missing there are read from the home's remote
tier, where they were copied. Exit status: 0 fine, 1 error, 2 usage, 4 corrupt, 10 absent.
"""
import argparse
import hashlib
import itertools
import json
import os
import re
import struct
import sys
from collections import namedtuple


class Corrupt(Exception):
    """Bytes that do not match their digest or the format."""


class Refused(Exception):
    """A version or feature that this reader does not know."""


class Absent(Exception):
    """What was asked for is not there."""


def must(condition, words):
    if not condition:
        raise Corrupt(words)


# --- XXH3, seed 0, from its public specification -----------------------------

M32 = (1 << 32) - 1
M64 = (1 << 64) - 1
P32_1, P32_2, P32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
P64_1, P64_2, P64_3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
P64_4, P64_5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
MX1, MX2 = 0x165667919E3779F9, 0x9FB21C651E98DF25
SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e"
    "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e")


def r32(b, i):
    return int.from_bytes(b[i:i + 4], "little")


def r64(b, i):
    return int.from_bytes(b[i:i + 8], "little")


def s64(i):
    return r64(SECRET, i)


def rotl(x, n, bits=64):
    return (x << n | x >> (bits - n)) & ((1 << bits) - 1)


def swap(x, size):
    return int.from_bytes(x.to_bytes(size, "little"), "big")


def fold(a, b):
    product = a * b
    return (product ^ product >> 64) & M64


def avalanche(h):
    h = (h ^ h >> 37) * MX1 & M64
    return h ^ h >> 32


def avalanche64(h):
    h = (h ^ h >> 33) * P64_2 & M64
    h = (h ^ h >> 29) * P64_3 & M64
    return h ^ h >> 32


def mix16(b, i, s):
    return fold(r64(b, i) ^ s64(s), r64(b, i + 8) ^ s64(s + 8))


def tiny(b):
    """One to three bytes, spread over 32 bits."""
    return b[0] << 16 | b[len(b) >> 1] << 24 | b[-1] | len(b) << 8


def long_lanes(b):
    """The eight accumulators of an input of more than 240 bytes."""
    acc = [P32_3, P64_1, P64_2, P64_3, P64_4, P32_2, P64_5, P32_1]
    keys = [struct.unpack_from("<8Q", SECRET, 8 * i) for i in range(16)]
    scramble = struct.unpack_from("<8Q", SECRET, 192 - 64)
    stripe = struct.Struct("<8Q")

    def accumulate(at, key):
        lanes = stripe.unpack_from(b, at)
        for i in range(8):
            keyed = lanes[i] ^ key[i]
            acc[i] += (keyed & M32) * (keyed >> 32) + lanes[i ^ 1]
        for i in range(8):
            acc[i] &= M64

    blocks = (len(b) - 1) // 1024
    for block in range(blocks):
        for n in range(16):
            accumulate(block * 1024 + n * 64, keys[n])
        for i in range(8):
            acc[i] = (acc[i] ^ acc[i] >> 47 ^ scramble[i]) * P32_1 & M64
    for n in range((len(b) - 1 - blocks * 1024) // 64):
        accumulate(blocks * 1024 + n * 64, keys[n])
    accumulate(len(b) - 64, struct.unpack_from("<8Q", SECRET, 192 - 64 - 7))
    return acc


def merge_lanes(acc, s, start):
    for i in range(4):
        start += fold(acc[2 * i] ^ s64(s + 16 * i),
                      acc[2 * i + 1] ^ s64(s + 16 * i + 8))
    return avalanche(start & M64)


def xxh3_64(b):
    n = len(b)
    if n == 0:
        return avalanche64(s64(56) ^ s64(64))
    if n <= 3:
        return avalanche64(tiny(b) ^ r32(SECRET, 0) ^ r32(SECRET, 4))
    if n <= 8:
        h = (r32(b, n - 4) + (r32(b, 0) << 32)) ^ s64(8) ^ s64(16)
        h ^= rotl(h, 49) ^ rotl(h, 24)
        h = h * MX2 & M64
        h = (h ^ (h >> 35) + n) * MX2 & M64
        return h ^ h >> 28
    if n <= 16:
        low = r64(b, 0) ^ s64(24) ^ s64(32)
        high = r64(b, n - 8) ^ s64(40) ^ s64(48)
        return avalanche(n + swap(low, 8) + high + fold(low, high) & M64)
    if n <= 128:
        acc = n * P64_1
        for i in range((n - 1) // 32 + 1):
            acc += mix16(b, 16 * i, 32 * i)
            acc += mix16(b, n - 16 * (i + 1), 32 * i + 16)
        return avalanche(acc & M64)
    if n <= 240:
        acc = n * P64_1 + sum(mix16(b, 16 * i, 16 * i) for i in range(8))
        acc = avalanche(acc & M64)
        acc += sum(mix16(b, 16 * i, 16 * (i - 8) + 3) for i in range(8, n // 16))
        return avalanche(acc + mix16(b, n - 16, 136 - 17) & M64)
    return merge_lanes(long_lanes(b), 11, n * P64_1 & M64)


def mix32(low, high, b, i, k, s):
    low = (low + mix16(b, i, s) & M64) ^ (r64(b, k) + r64(b, k + 8) & M64)
    high = (high + mix16(b, k, s + 16) & M64) ^ (r64(b, i) + r64(b, i + 8) & M64)
    return low, high


def finish32(low, high, n):
    one = avalanche(low + high & M64)
    two = avalanche(low * P64_1 + high * P64_4 + n * P64_2 & M64)
    return one, -two & M64


def xxh3_128_parts(b):
    """(low, high)"""
    n = len(b)
    if n == 0:
        return avalanche64(s64(64) ^ s64(72)), avalanche64(s64(80) ^ s64(88))
    if n <= 3:
        low = tiny(b)
        high = rotl(swap(low, 4), 13, 32)
        return (avalanche64(low ^ r32(SECRET, 0) ^ r32(SECRET, 4)),
                avalanche64(high ^ r32(SECRET, 8) ^ r32(SECRET, 12)))
    if n <= 8:
        keyed = (r32(b, 0) + (r32(b, n - 4) << 32)) ^ s64(16) ^ s64(24)
        product = keyed * (P64_1 + (n << 2) & M64)
        low, high = product & M64, product >> 64
        high = high + (low << 1) & M64
        low ^= high >> 3
        low = (low ^ low >> 35) * MX2 & M64
        return low ^ low >> 28, avalanche(high)
    if n <= 16:
        first, last = r64(b, 0), r64(b, n - 8)
        product = (first ^ last ^ s64(32) ^ s64(40)) * P64_1
        low, high = product + ((n - 1) << 54) & M64, product >> 64
        last ^= s64(48) ^ s64(56)
        high = high + last + (last & M32) * (P32_2 - 1) & M64
        low ^= swap(high, 8)
        product = low * P64_2
        return (avalanche(product & M64),
                avalanche((product >> 64) + high * P64_2 & M64))
    if n <= 128:
        low, high = n * P64_1 & M64, 0
        for i in reversed(range((n - 1) // 32 + 1)):
            low, high = mix32(low, high, b, 16 * i, n - 16 * (i + 1), 32 * i)
        return finish32(low, high, n)
    if n <= 240:
        low, high = n * P64_1 & M64, 0
        for i in range(0, 128, 32):
            low, high = mix32(low, high, b, i, i + 16, i)
        low, high = avalanche(low), avalanche(high)
        for i in range(128, n - 31, 32):
            low, high = mix32(low, high, b, i, i + 16, i - 128 + 3)
        low, high = mix32(low, high, b, n - 16, n - 32, 136 - 17 - 16)
        return finish32(low, high, n)
    acc = long_lanes(b)
    return (merge_lanes(acc, 11, n * P64_1 & M64),
            merge_lanes(acc, 192 - 64 - 11, ~(n * P64_2) & M64))


def digest(b):
    low, high = xxh3_128_parts(b)
    return high.to_bytes(8, "big") + low.to_bytes(8, "big")


# --- LZ4 block and byte planes (section 7) -----------------------------------

def lz4_block(b, size):
    out = bytearray()
    at = 0

    def length(low):
        nonlocal at
        total = low
        while low == 15:
            must(at < len(b), "lz4: a length is cut short")
            total += b[at]
            at += 1
            if b[at - 1] != 255:
                break
        return total

    while at < len(b):
        token = b[at]
        at += 1
        literals = length(token >> 4)
        must(literals <= len(b) - at and len(out) + literals <= size,
             "lz4: literals beyond the end")
        out += b[at:at + literals]
        at += literals
        if at == len(b):
            break
        must(at + 2 <= len(b), "lz4: an offset is cut short")
        offset = b[at] | b[at + 1] << 8
        at += 2
        count = length(token & 15) + 4
        must(0 < offset <= len(out) and len(out) + count <= size,
             "lz4: a match beyond the ends")
        while count:
            step = min(count, offset)
            start = len(out) - offset
            out += out[start:start + step]
            count -= step
    must(len(out) == size, "lz4: another length than told")
    return bytes(out)


def decode(codec, unit, payload, raw_bytes):
    if codec == 0:
        must(len(payload) == raw_bytes, "raw chunk of another length")
        return payload
    if codec != 1:
        raise Refused("codec %d" % codec)
    must(unit in (1, 2, 4, 8), "planes of units of %d bytes" % unit)
    plane = raw_bytes // unit
    at = 4 * unit
    must(plane and len(payload) >= at, "planes are cut short")
    out = bytearray(raw_bytes)
    for k in range(unit):
        stored = r32(payload, 4 * k)
        must(0 < stored <= plane and at + stored <= len(payload),
             "a plane beyond the end")
        data = payload[at:at + stored]
        out[k:plane * unit:unit] = (data if stored == plane
                                    else lz4_block(data, plane))
        at += stored
    tail = payload[at:]
    must(len(tail) == raw_bytes - plane * unit, "tail of another length")
    out[plane * unit:] = tail
    return bytes(out)


# --- Records (sections 2 and 3) ----------------------------------------------

KINDS = {1: "STORE", 2: "RUN", 3: "gen", 7: "decision", 8: "tomb", 9: "load",
         13: "parts"}


class Reader:
    """Bounded reading of a record's body."""

    def __init__(self, data, name):
        self.data, self.at, self.name = data, 0, name

    def take(self, n):
        must(self.at + n <= len(self.data), self.name + ": cut short")
        self.at += n
        return self.data[self.at - n:self.at]

    def num(self, size, signed=False):
        return int.from_bytes(self.take(size), "little", signed=signed)

    def text(self):
        raw = self.take(self.num(2))
        must(b"\0" not in raw, self.name + ": NUL in a text")
        return raw.decode("utf-8", "replace")

    def save(self):
        generation, attempt, step = struct.unpack("<IIQ", self.take(16))
        return "%08d-%020d-%04d" % (generation, step, attempt)

    def layout(self):
        axes = []
        for _ in range(self.num(4)):
            axes.append((axis_name(self.take(16)), self.num(4)))
        must(len(axes) <= 8, self.name + ": too many axes")
        return axes

    def end(self):
        must(self.at == len(self.data), self.name + ": bytes left over")


NONE = "%08d-%020d-%04d" % (0, 0, 0)
SAVE_NAME = re.compile(r"\d{8}-\d{20}-\d{4}\Z")


def save_key(name):
    """Order by generation, step, attempt."""
    return tuple(int(part) for part in name.split("-"))


def axis_name(raw):
    name = raw.rstrip(b"\0")
    must(re.fullmatch(rb"[A-Za-z0-9_]{1,15}", name), "name of an axis")
    return name.decode()


def read_file(path):
    try:
        with open(path, "rb") as f:
            return f.read()
    except FileNotFoundError as error:
        raise Absent(path) from error


def open_record(path, kind):
    """A reader over the body of a record that was verified."""
    data = read_file(path)
    must(48 <= len(data) <= 65536 and data[:8] == b"CKPTRECD",
         path + ": no record")
    found, version, length, reserved = struct.unpack_from("<IIQQ", data, 8)
    must(length == len(data), path + ": another length than told")
    must(digest(data[:-16]) == data[-16:], path + ": digest mismatch")
    must(found == kind, "%s: of kind %d, not %s" % (path, found, KINDS[kind]))
    if not 1 <= version <= (2 if kind == 3 else 1):
        raise Refused("%s: %s of version %d" % (path, KINDS[kind], version))
    must(reserved == 0, path + ": reserved bytes")
    return Reader(data[32:-16], path)


def names_in(folder):
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []


# --- The container (section 5) -----------------------------------------------

DTYPES = {}
for number, entry in enumerate(
        "BOOL:8 F4:4 F6_E2M3:6 F6_E3M2:6 U8:8 I8:8 F8_E5M2:8 F8_E4M3:8 "
        "F8_E8M0:8 F8_E4M3FNUZ:8 F8_E5M2FNUZ:8 I16:16 U16:16 F16:16 BF16:16 "
        "I32:32 U32:32 F32:32 C64:64 F64:64 I64:64 U64:64".split()):
    DTYPES[number + 1] = (entry.split(":")[0], int(entry.split(":")[1]))

Axis = namedtuple("Axis", "name degree reserved")
Tensor = namedtuple("Tensor", "name name_bytes dtype ndim flags shape0 shape1 "
                    "shape2 shape3 shape4 shape5 shape6 shape7 first_region "
                    "region_count logical_bytes")
Region = namedtuple("Region", "tensor rank first_dim box_count is_cut cut_start "
                    "cut_count packed_bytes slice_start slice_bytes "
                    "first_piece piece_count replica_index replica_count "
                    "reserved")
Piece = namedtuple("Piece", "region_start region chunk chunk_start bytes")
Chunk = namedtuple("Chunk", "segment number raw_bytes rank content")
Segment = namedtuple("Segment", "segment store")
File = namedtuple("File", "name name_bytes reserved store segment")
Location = namedtuple("Location", "file codec offset payload_bytes codec_param "
                      "stored_digest")
Rank = namedtuple("Rank", "rank coordinate reserved daemon table first_chunk "
                  "chunk_count logical_bytes")
Value = namedtuple("Value", "name data bytes name_bytes type axes coordinate "
                   "reserved")
Note = namedtuple("Note", "key text key_bytes text_bytes")
Slot = namedtuple("Slot", "hash tensor_plus_1")

TABLES = [
    ("axis", "<16sII", Axis), ("tensor", "<QIBBH8QQQQ", Tensor),
    ("region", "<IIQIIQQQQQQIIII", Region), ("dim", "<Q", None),
    ("piece", "<QIIII", Piece), ("chunk", "<IIII16s", Chunk),
    ("segment", "<16s16s", Segment), ("file", "<QII16s16s", File),
    ("location", "<IIQIIQ", Location), ("rank", "<I32sI16s16sQQQ", Rank),
    ("value", "<QQQIII32sI", Value), ("note", "<QQII", Note),
    ("slot", "<QQ", Slot), ("blob", None, None),
]


def align(n, to):
    return (n + to - 1) // to * to


class Manifest:
    """A container, all of it checked."""

    def __init__(self, data, root, name):
        self.data, self.path = data, name
        self.check_digests(root)
        self.check_version()
        self.read_tables()
        self.check_tables()

    def must(self, condition, words):
        must(condition, "%s: %s" % (self.path, words))

    def check_digests(self, root):
        data = self.data
        self.must(len(data) >= 288 and data[:8] == b"CKPTMANI", "no magic")
        total, self.end = struct.unpack_from("<QQ", data, 32)
        self.must(total == len(data) and self.end % 64 == 0 and
                  256 <= self.end <= total, "lengths")
        pages = (self.end + 65535) // 65536
        self.must(total == self.end + 16 * pages + 32, "page digests")
        tail_total, magic = struct.unpack_from("<Q8s", data, total - 32)
        self.must(tail_total == total and magic == b"CKPTMEND", "trailer")
        self.must(digest(data[self.end:-16]) == data[-16:] == root,
                  "root digest mismatch")
        for i in range(pages):
            page = data[i * 65536:min((i + 1) * 65536, self.end)]
            at = self.end + 16 * i
            self.must(digest(page) == data[at:at + 16],
                      "page %d: digest mismatch" % i)

    def check_version(self):
        major, minor, incompatible = struct.unpack_from("<IIQ", self.data, 8)
        if major != 1:
            raise Refused("%s: version %d.%d" % (self.path, major, minor))
        unknown = incompatible & ~1
        if unknown:
            raise Refused("%s: feature %d" % (
                self.path, (unknown & -unknown).bit_length() - 1))
        self.is_repacked = bool(incompatible & 1)
        (self.table_count, self.kind, self.world_size,
         self.chunk_bytes) = struct.unpack_from("<4I", self.data, 48)
        self.run, self.daemon = self.data[64:80], self.data[80:96]
        generation, attempt, step = struct.unpack_from("<IIQ", self.data, 96)
        self.save = "%08d-%020d-%04d" % (generation, step, attempt)
        self.must(self.kind == 3 or not self.is_repacked, "repacked")
        self.must(self.kind in (1, 2, 3) and 14 <= self.table_count <= 64 and
                  not any(self.data[160:256]), "header")
        self.must(self.chunk_bytes in [2 ** i for i in range(16, 23)],
                  "chunk size")

    def read_tables(self):
        end = 256 + 32 * self.table_count
        last = -1
        for i in range(self.table_count):
            number, size, at, count, reserved = struct.unpack_from(
                "<IIQQQ", self.data, 256 + 32 * i)
            name, layout, kind = (TABLES[i] if i < len(TABLES)
                                  else ("later", None, None))
            self.must(number == i if i < 14 else number > last, "directory")
            self.must(at == align(end, 64) and reserved == 0 and
                      at + count * size <= self.end and
                      not any(self.data[end:at]), "table " + name)
            last, end = number, at + count * size
            body = self.data[at:end]
            if layout:
                self.must(size == struct.calcsize(layout), "table " + name)
                rows = list(struct.iter_unpack(layout, body))
                body = [kind(*row) if kind else row[0] for row in rows]
            elif name == "blob":
                self.must(size == 1, "table blob")
            setattr(self, name, body)
        self.must(align(end, 64) == self.end and
                  not any(self.data[end:self.end]), "bytes of no table")

    def text(self, at, size):
        self.must(at + size <= len(self.blob), "outside the blob")
        return self.blob[at:at + size]

    def clean(self, at, size):
        name = self.text(at, size)
        try:
            text = name.decode("utf-8")
        except UnicodeDecodeError:
            text = "\0"
        body = text[7:] if text.startswith("\x01extra/") else text
        self.must(0 < size <= 1024 and not re.search("[\0-\x1f\x7f-\x9f]", body),
                  "a name is malformed")
        return text

    def check_tables(self):
        for t in self.tensor:
            self.must(t.dtype in DTYPES and t.ndim <= 8, "geometry")
        self.layout = [(axis_name(a.name), a.degree) for a in self.axis]
        self.must(len(self.location) == len(self.chunk), "locations")
        self.check_chains()
        self.check_regions()
        self.check_chunks()
        self.check_names()

    def chain(self, rows, first, count, total, what):
        at = 0
        for row in rows:
            self.must(getattr(row, first) == at, what)
            at += count(row)
        self.must(at == total, what)

    def check_chains(self):
        self.chain(self.tensor, "first_region", lambda t: t.region_count,
                   len(self.region), "regions do not chain")
        for i, t in enumerate(self.tensor):
            rows = self.region[t.first_region:t.first_region + t.region_count]
            self.must(all(r.tensor == i for r in rows), "region of another")
            ranks = [r.rank for r in rows]
            self.must(ranks == sorted(ranks), "ranks descend")
        self.chain(self.region, "first_dim", lambda r: 2 * r.box_count *
                   self.tensor[r.tensor].ndim, len(self.dim), "dims")
        self.chain(self.region, "first_piece", lambda r: r.piece_count,
                   len(self.piece), "pieces do not chain")
        self.chain(self.rank, "first_chunk", lambda r: r.chunk_count,
                   len(self.chunk), "chunks do not chain")
        numbers = [r.rank for r in self.rank]
        self.must(numbers == sorted(set(numbers)) and
                  all(n < self.world_size for n in numbers), "ranks")
        for r in self.rank:
            for c in self.chunk[r.first_chunk:r.first_chunk + r.chunk_count]:
                self.must(c.rank == r.rank, "chunk of another rank")

    def check_regions(self):
        ranks = {r.rank for r in self.rank}
        for i, r in enumerate(self.region):
            at, end = r.slice_start, r.slice_start + r.slice_bytes
            self.must(r.rank in ranks and end <= r.packed_bytes and
                      r.reserved == 0 and r.is_cut <= 1 and
                      r.replica_index < r.replica_count, "region %d" % i)
            for p in self.piece[r.first_piece:r.first_piece + r.piece_count]:
                self.must(p.region == i and p.chunk < len(self.chunk) and
                          p.region_start == at and p.bytes, "piece")
                chunk = self.chunk[p.chunk]
                self.must(chunk.rank == r.rank and
                          p.chunk_start + p.bytes <= chunk.raw_bytes,
                          "piece outside its chunk")
                at += p.bytes
            self.must(at == end, "pieces of region %d are missing" % i)

    def check_chunks(self):
        for c, at in zip(self.chunk, self.location):
            self.must(c.segment < len(self.segment) and
                      0 < c.raw_bytes <= self.chunk_bytes, "chunk")
            self.must(at.file < len(self.file) and at.offset >= 4096 and
                      at.offset % 4096 == 0 and
                      0 < at.payload_bytes <= c.raw_bytes, "location")
        for f in self.file:
            parts = self.clean(f.name, f.name_bytes).split("/")
            self.must(f.name_bytes <= 255 and
                      not {"", ".", ".."} & set(parts), "path of a file")

    def check_names(self):
        names = []
        for t in self.tensor:
            name = self.clean(t.name, t.name_bytes)
            self.must(t.flags == name.startswith("\x01"), "flags of a tensor")
            names.append(name.encode())
        self.must(names == sorted(set(names)), "tensors are out of order")
        slots = 2
        while slots < 2 * len(names):
            slots *= 2
        table = [Slot(0, 0)] * (slots if names else 0)
        for i, name in enumerate(names):
            at = xxh3_64(name) % slots
            while table[at].tensor_plus_1:
                at = (at + 1) % slots
            table[at] = Slot(xxh3_64(name), i + 1)
        self.must(table == self.slot, "the index does not match")
        keys = []
        for v in self.value:
            where = struct.unpack("<8I", v.coordinate)
            keys.append((self.text(v.name, v.name_bytes), v.axes, where))
            self.must(v.axes < 1 << len(self.axis) and v.bytes <= 65536 and
                      1 <= v.type <= 5 and (v.type > 3 or v.bytes == 8),
                      "value")
        self.must(keys == sorted(set(keys)), "values are out of order")


# --- Chunks and tensors (sections 6 and 8) -----------------------------------

class Stores:
    """Local stores by uuid, and their open segments."""

    def __init__(self, folders):
        self.folders, self.headers = {}, {}
        for folder in folders:
            if os.path.exists(os.path.join(folder, "STORE")):
                body = open_record(os.path.join(folder, "STORE"), 1)
                self.folders[body.take(16)] = folder
                body.end()

    def path(self, manifest, file):
        if file.store not in self.folders:
            raise Absent("local store " + file.store.hex())
        name = manifest.text(file.name, file.name_bytes).decode()
        path = os.path.join(self.folders[file.store], name)
        if path not in self.headers:
            with open(path, "rb") as f:
                self.headers[path] = self.segment(f.read(4096), path)
        must(self.headers[path] == file.segment,
             path + ": it has been recycled: another segment")
        return path

    @staticmethod
    def segment(page, path):
        must(len(page) == 4096 and page[:8] == b"CKPTSEGM" and
             digest(page[:4080]) == page[4080:], path + ": segment header")
        version, flags = struct.unpack_from("<II", page, 8)
        if version != 1 or flags:
            raise Refused("%s: version %d, features %x" % (path, version, flags))
        must(not any(page[1384:4080]), path + ": padding of its header")
        return page[16:32]

    def chunk(self, manifest, i):
        """The verified raw bytes of chunk i."""
        at = manifest.location[i]
        path = self.path(manifest, manifest.file[at.file])
        return self.chunk_in(path, manifest, i)

    @staticmethod
    def chunk_in(path, manifest, i):
        c, at = manifest.chunk[i], manifest.location[i]
        what = "%s: chunk at %d" % (path, at.offset)
        with open(path, "rb") as f:
            f.seek(at.offset)
            extent = f.read(4096 + align(at.payload_bytes, 4096))
        must(len(extent) == 4096 + align(at.payload_bytes, 4096),
             what + " is cut short")
        page, payload = extent[:4096], extent[4096:4096 + at.payload_bytes]
        birth = manifest.segment[c.segment].segment
        want = struct.pack("<8sII16sIIIIIIQ16s", b"CKPTCHNK", 1, 0, birth,
                           c.number, c.raw_bytes, at.payload_bytes, at.codec,
                           at.codec_param, c.rank, at.stored_digest, c.content)
        must(digest(page[:4080]) == page[4080:], what + ": header digest")
        must(page[:80] == want and not any(page[80:4080]),
             what + ": its header tells another chunk")
        must(not any(extent[4096 + at.payload_bytes:]), what + ": padding")
        seed = birth + struct.pack("<II", c.number, at.payload_bytes)
        must(xxh3_64(seed + digest(payload)) == at.stored_digest,
             what + ": stored digest mismatch")
        raw = decode(at.codec, at.codec_param, payload, c.raw_bytes)
        must(digest(raw) == c.content, what + ": content digest mismatch")
        return raw


def runs_of(manifest, tensor, region):
    """(packed byte, tensor byte, bytes) of a region, in packed order."""
    bits = DTYPES[tensor.dtype][1]
    unit, scale = max(bits // 8, 1), min(bits, 8)

    def units(elements):
        must(elements * scale % 8 == 0, "not whole bytes")
        return elements * scale // 8

    ndim = tensor.ndim
    shape = [tensor[5 + d] for d in range(ndim)] or [1]
    shape[-1] = units(shape[-1])
    boxes = []
    for k in range(region.box_count):
        at = region.first_dim + 2 * ndim * k
        offset = manifest.dim[at:at + ndim] or [0]
        size = manifest.dim[at + ndim:at + 2 * ndim] or [1]
        boxes.append((offset[:-1] + [units(offset[-1])],
                      size[:-1] + [units(size[-1])]))
    if not boxes:
        boxes = [([0] * len(shape), shape)]
    start, end = 0, sum_units(boxes)
    if region.is_cut:
        start = units(region.cut_start)
        must(start + units(region.cut_count) <= end, "cut beyond its boxes")
        end = start + units(region.cut_count)
    local = packed = 0
    for offset, size in boxes:
        for index in itertools.product(*map(range, size[:-1])):
            first = max(start, local) - local
            last = min(end, local + size[-1], local + max(
                shape[-1] - offset[-1], 0)) - local
            local += size[-1]
            place = [o + i for o, i in zip(offset, index)]
            if last <= first or any(p >= s for p, s in zip(place, shape)):
                continue
            at = 0
            for p, s in zip(place, shape):
                at = at * s + p
            at = at * shape[-1] + offset[-1] + first
            yield packed * unit, at * unit, (last - first) * unit
            packed += last - first
    must(packed * unit == region.packed_bytes, "packed bytes")


def sum_units(boxes):
    total = 0
    for _, size in boxes:
        product = 1
        for n in size:
            product *= n
        total += product
    return total


def read_tensor(manifest, tensor, chunks):
    """The whole tensor; every byte must be written exactly once."""
    out = bytearray(tensor.logical_bytes)
    seen = bytearray(tensor.logical_bytes)
    shape = [tensor[5 + d] for d in range(tensor.ndim)]
    bits = sum_units([(None, shape)]) * DTYPES[tensor.dtype][1]
    must(bits == tensor.logical_bytes * 8, "logical bytes of a tensor")
    for r in manifest.region[tensor.first_region:tensor.first_region +
                             tensor.region_count]:
        data = b"".join(
            chunks(p.chunk)[p.chunk_start:p.chunk_start + p.bytes]
            for p in manifest.piece[r.first_piece:r.first_piece + r.piece_count])
        for packed, at, size in runs_of(manifest, tensor, r):
            first = max(packed, r.slice_start)
            last = min(packed + size, r.slice_start + r.slice_bytes)
            if last <= first:
                continue
            at += first - packed
            must(not any(seen[at:at + last - first]), "written twice")
            seen[at:at + last - first] = b"\1" * (last - first)
            out[at:at + last - first] = data[first - r.slice_start:
                                             last - r.slice_start]
    must(all(seen), "elements that nobody saved")
    return bytes(out)


# --- Homes (section 2) -------------------------------------------------------

class Run:
    def __init__(self, home, name, stores):
        self.name, self.stores, self.tables = name, stores, {}
        self.folder = os.path.join(home, "runs", name)
        body = open_record(self.path("RUN"), 2)
        self.uuid = body.take(16)
        body.num(8)
        body.end()
        self.generations = [int(g) for g in names_in(self.path("gen"))
                            if re.fullmatch(r"\d{8}", g)]
        self.saves = {}
        for save in names_in(self.path("decision")):
            if SAVE_NAME.match(save):
                self.saves[save] = self.state(save)

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def state(self, save):
        if os.path.exists(self.path("tomb", save)):
            body = open_record(self.path("tomb", save), 8)
            must(body.save() == save, "a tomb under another name")
            return "removed"
        return self.decision(save)["state"]

    def decision(self, save):
        body = open_record(self.path("decision", save), 7)
        decision, code = body.num(4), body.num(4, signed=True)
        must(body.save() == save, "a decision under another name")
        for size in (8, 8, 8, 8, 4, 4):
            body.num(size)
        out = {"committer": body.take(16).hex(), "bytes": body.num(8),
               "root": body.take(16), "parts": body.num(4)}
        body.layout()
        out["reason"] = body.text()
        must(not any(body.take(-body.at % 8)), "padding of a decision")
        must(decision in (1, 2) and (code == 0) == (decision == 1), "decision")
        out["state"] = "committed" if decision == 1 else "aborted"
        out["inline"] = b""
        if decision == 1 and out["parts"] == 0:
            out["inline"] = body.take(out["bytes"])
        body.end()
        return out

    def origin(self, generation):
        loads = {}
        for name in names_in(self.path("load")):
            match = re.fullmatch(r"(\d{8})\.(\d+)", name)
            if match and int(match[1]) == generation:
                body = open_record(self.path("load", name), 9)
                save, outcome = body.save(), body.num(4)
                if outcome == 1 and 0 < save_key(save)[0] < generation:
                    loads[int(match[2])] = save
        if loads:
            return loads[max(loads)]
        body = open_record(self.path("gen", "%08d" % generation), 3)
        must(body.num(4) == generation, "a generation under another name")
        body.num(4)
        return body.save()

    def latest(self):
        if not self.generations:
            return None
        generation, below = max(self.generations), None
        while generation:
            here = [s for s, state in self.saves.items()
                    if state == "committed" and save_key(s)[0] == generation
                    and (below is None or save_key(s) < save_key(below))]
            if here:
                return max(here, key=save_key)
            origin = self.origin(generation)
            if self.saves.get(origin) == "committed":
                return origin
            must(origin == NONE or save_key(origin)[0] < generation,
                 "a generation that descends from itself")
            generation, below = save_key(origin)[0], origin
        return None

    def manifest(self, save):
        if self.saves.get(save) != "committed":
            raise Absent("%s@%s: %s" % (self.name, save,
                                        self.saves.get(save, "no such save")))
        d = self.decision(save)
        data = d["inline"] + b"".join(
            read_file(self.path("manifest", "%s.%s.%d" % (
                save, d["committer"], n))) for n in range(d["parts"]))
        must(len(data) == d["bytes"], "manifest of another length")
        m = Manifest(data, d["root"], "%s@%s" % (self.name, save))
        must(m.kind == 1 and m.save == save and m.run == self.uuid,
             "manifest of another save")
        return m

    def remote_table(self, m, daemon):
        """Where that daemon's share of m is in the remote tier."""
        path = self.path("remote", "%s.%s" % (m.save, daemon.hex()))
        if path not in self.tables:
            data = read_file(path)
            root = data[-16:]
            if data[:8] == b"CKPTRECD":
                body = open_record(path, 13)
                total, root, parts = body.num(8), body.take(16), body.num(4)
                body.end()
                data = b"".join(read_file("%s.%d" % (path, n))
                                for n in range(parts))
                must(len(data) == total, path + ": of another length")
            t = Manifest(data, root, path)
            t.must(t.kind == 3 and t.run == m.run and t.save == m.save and
                   t.daemon == daemon and not t.tensor, "of something else")
            self.tables[path] = t
        return self.tables[path]

    def remote_chunk(self, m, i):
        rank = next(r for r in m.rank if r.rank == m.chunk[i].rank)
        t = self.remote_table(m, rank.daemon)
        rows = [r for r in t.rank if r.rank == rank.rank]
        t.must(rows and rows[0].chunk_count == rank.chunk_count, "its ranks")
        k = rows[0].first_chunk + i - rank.first_chunk
        t.must(t.chunk[k][1:] == m.chunk[i][1:] and
               t.segment[t.chunk[k].segment].segment ==
               m.segment[m.chunk[i].segment].segment and
               (t.location[k]._replace(file=0, offset=0) ==
                m.location[i]._replace(file=0, offset=0) or
                t.is_repacked and t.location[k].codec != 0 and
                m.location[i].codec == 0),
               "chunk %d is not the manifest's" % k)
        file = t.file[t.location[k].file]
        name = t.text(file.name, file.name_bytes).decode()
        t.must(name.startswith("data/"), "a file elsewhere")
        path = self.path(name)
        must(Stores.segment(read_file(path)[:4096], path) == file.segment,
             path + ": another file")
        return Stores.chunk_in(path, t, k)

    def chunk(self, m, i):
        """From the local store, else from the remote tier."""
        try:
            return self.stores.chunk(m, i)
        except (Corrupt, Absent, FileNotFoundError) as error:
            try:
                return self.remote_chunk(m, i)
            except Absent:
                raise error from None

    def read(self, save):
        """({name: (dtype, shape, bytes)}, {value: bytes})"""
        m = self.manifest(save)
        cache = {}

        def chunk(i):
            if i not in cache:
                cache[i] = self.chunk(m, i)
            return cache[i]

        for i in range(len(m.chunk)):
            chunk(i)
        tensors, values = {}, {}
        for t in m.tensor:
            name = m.text(t.name, t.name_bytes).decode()
            data = read_tensor(m, t, chunk)
            if t.flags & 1:
                axes, coordinates, rest = name[7:].split("/", 2)
                pairs = zip(axes.split(","), coordinates.split(","))
                where = ",".join("%s=%s" % p for p in pairs) if axes else "-"
                values["%s at %s" % (rest, where)] = data
            else:
                shape = [t[5 + d] for d in range(t.ndim)]
                tensors[name] = (DTYPES[t.dtype][0], shape, data)
        for v in m.value:
            coordinate = struct.unpack("<8I", v.coordinate)
            where = ",".join("%s=%d" % (name, coordinate[i]) for i, (name, _)
                             in enumerate(m.layout) if v.axes >> i & 1)
            key = "%s at %s" % (m.text(v.name, v.name_bytes).decode(),
                                where or "-")
            values[key] = m.text(v.data, v.bytes)
        return tensors, values


def runs_in(home, folders):
    body = open_record(os.path.join(home, "STORE"), 1)
    body.take(16)
    body.end()
    stores = Stores([os.path.join(home, "local")] + folders)
    return {name: Run(home, name, stores)
            for name in names_in(os.path.join(home, "runs"))
            if os.path.exists(os.path.join(home, "runs", name, "RUN"))}


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def summary(run):
    """What --json prints of a run: as in tests/golden/v1/expected.json."""
    out = {"run": run.name, "saves": run.saves, "latest": run.latest(),
           "checkpoints": {}}
    for save, state in run.saves.items():
        if state != "committed":
            continue
        tensors, values = run.read(save)
        out["checkpoints"][save] = {
            "tensors": {name: [dtype, shape, sha256(data)]
                        for name, (dtype, shape, data) in tensors.items()},
            "values": {name: data.hex() if len(data) <= 65536
                       else "sha256:" + sha256(data)
                       for name, data in values.items()}}
    return out


def show(run):
    latest = run.latest()
    for save, state in run.saves.items():
        print("%s@%s\t%s%s" % (run.name, save, state,
                               "\tlatest" if save == latest else ""))


def extract(run, save, folder):
    tensors, values = run.read(save)
    for name, (dtype, shape, data) in tensors.items():
        print("%s\t%s\t%s\t%s" % (name, dtype, shape, sha256(data)))
        if folder:
            os.makedirs(folder, exist_ok=True)
            file = name.replace("%", "%25").replace("/", "%2F") + ".raw"
            with open(os.path.join(folder, file), "wb") as f:
                f.write(data)
    for name, data in values.items():
        print("%s\tvalue\t%d bytes" % (name, len(data)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("home")
    parser.add_argument("save", nargs="?", metavar="RUN[@SAVE]")
    parser.add_argument("--out", metavar="DIR")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--store", action="append", default=[], metavar="DIR")
    args = parser.parse_args()
    runs = runs_in(args.home, args.store)
    if args.save:
        name, _, save = args.save.partition("@")
        if name not in runs:
            raise Absent("run " + name)
        if save in ("", "latest"):
            save = runs[name].latest()
            if save is None:
                raise Absent(name + "@latest")
        extract(runs[name], save, args.out)
    elif args.json:
        for run in runs.values():
            print(json.dumps(summary(run)))
    else:
        for run in runs.values():
            show(run)


if __name__ == "__main__":
    try:
        main()
    except Corrupt as error:
        sys.exit((print("corrupt: %s" % error, file=sys.stderr), 4)[1])
    except Refused as error:
        sys.exit((print("cannot read: %s" % error, file=sys.stderr), 1)[1])
    except Absent as error:
        sys.exit((print("absent: %s" % error, file=sys.stderr), 10)[1])
    except OSError as error:
        sys.exit((print("error: %s" % error, file=sys.stderr), 1)[1])
