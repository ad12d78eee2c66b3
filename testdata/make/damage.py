#!/usr/bin/env python3
"""damage.py make DIR OLD damage.tsv kinds.tsv: choose edits for DIR/cluster (older pages of the same relations in OLD/)
damage.py apply DIR damage.tsv: do them.
A line of damage.tsv: path in cluster/ <TAB> offset <TAB> bytes in hex. The seed is fixed."""
import os, random, struct, sys
P = 8192

def apply(d, tsv):
    for line in open(tsv):
        path, off, hexa = line.rstrip("\n").split("\t")
        with open(os.path.join(d, "cluster", path), "r+b") as f:
            f.seek(int(off)); f.write(bytes.fromhex(hexa))

def make(d, old, tsv, kinds):
    rnd = random.Random(20200101)
    out, said, used = [], [], set()
    def data(path, base=os.path.join(d, "cluster")):
        return open(os.path.join(base, path), "rb").read()
    def page(path, b, **kw):
        return data(path, **kw)[b * P:(b + 1) * P]
    def put(path, b, off, new, kind):
        assert (path, b) not in used, (path, b)
        used.add((path, b))
        assert page(path, b)[off:off + len(new)] != new, (path, b, kind)
        out.append(f"{path}\t{b * P + off}\t{new.hex()}\n")
        said.append(f"{path}\t{b}\t{kind}\n")
    rel = {}
    for line in open(os.path.join(os.path.dirname(tsv), "oracle/relations.tsv")):
        name, path = line.rstrip("\n").split("\t")
        rel[name] = path
    def flip(path, b, off=None):
        p = page(path, b)
        off = rnd.randrange(24, P) if off is None else off
        bit = rnd.randrange(8)
        put(path, b, off, bytes([p[off] ^ 1 << bit]), f"one flipped bit: byte {off} bit {bit}")
    def torn(path, b, at, new_first):
        """first half of one version and second half of the other, differing on both sides of the border"""
        now, was = page(path, b), page(path, b, base=old)
        assert len(was) == P and now[:at] != was[:at] and now[at:] != was[at:], (path, b, at)
        if new_first: put(path, b, at, was[at:], f"torn at {at}: this version before, the previous one after")
        else: put(path, b, 0, was[:at], f"torn at {at}: the previous version before, this one after")
    def tearable(path, at):
        n = min(len(data(path)), len(data(path, base=old))) // P
        for b in range(n):
            now, was = page(path, b), page(path, b, base=old)
            if (path, b) not in used and now[:at] != was[:at] and now[at:] != was[at:] and any(was): return b
        raise SystemExit(f"no page of {path} to tear at {at}")
    ev, pk = rel["events"], rel["events_pkey"]
    flip(ev, 3)
    torn(ev, tearable(ev, 4096), 4096, True)
    torn(ev, tearable(ev, 512), 512, False)
    torn(ev, tearable(ev, 6144), 6144, True)
    put(ev, 20, 0, page(ev, 11), "page of block 11 of the same file")
    put(ev, 25, 0, page(rel["archived"], 1), f"page of {rel['archived']} block 1")
    put(ev, 30, 0, b"Dear colleague, this text has nothing to do in a page header...", "text over the header")
    put(ev, 35, 4096, bytes(4096), "second half zeros")
    put(ev, 40, 0, bytes(512), "first 512 bytes zeros")
    flip(pk, 1)
    put(pk, 2, 1024, rnd.randbytes(3072), "random bytes from 1024 to 4095")
    put(rel["events_tags_gin"], 1, 7680, bytes(512), "last 512 bytes zeros")
    flip(rel["toast"], 4)
    put(rel["toast"], 6, 0, page(rel["toast"], 5), "page of block 5 of the same file")
    flip(ev + "_fsm", 2, 4100)
    flip(ev + "_vm", 0, 30)
    flip(rel["pg_class"], 0, 5000)
    put(rel["pg_class"], 2, 8, struct.pack("<H", struct.unpack_from("<H", page(rel["pg_class"], 2), 8)[0] ^ 0x5A5A), "stored checksum overwritten")
    flip(rel["pg_authid"], 0, 8000)
    torn(rel["archived"], tearable(rel["archived"], 4096), 4096, False)
    flip(rel["archived_note"], 2)
    flip(rel["visits"], 1)
    open(tsv, "w").writelines(out)
    open(kinds, "w").writelines(said)

if sys.argv[1] == "make": make(*sys.argv[2:])
else: apply(*sys.argv[2:])
