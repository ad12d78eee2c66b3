#!/usr/bin/env python3
"""verify_pages.py PGDATA page_header.tsv: the pages of the stopped files are those that page_header() showed."""
import struct, sys, os
pgdata, tsv = sys.argv[1:]
rows = 0
seen = {}
for line in open(tsv):
    path, blk, lsn, checksum, flags, lower, upper, special, size, version, prune = line.rstrip("\n").split("\t")
    f = seen.setdefault(path, open(os.path.join(pgdata, path), "rb").read())
    hi, lo, ck, fl, pl, pu, ps, pv, px = struct.unpack_from("<IIHHHHHHI", f, int(blk) * 8192)
    want = (tuple(int(x, 16) for x in lsn.split("/")), int(checksum), int(flags), int(lower), int(upper), int(special), int(size), int(version), int(prune))
    got = ((hi, lo), ck, fl, pl, pu, ps, pv & 0xFF00, pv & 0xFF, px)
    if want != got:
        sys.exit(f"{path} block {blk}: page_header {want}, file {got}")
    rows += 1
blocks = sum(len(f) // 8192 for f in seen.values())
if rows != blocks:
    sys.exit(f"{rows} rows, {blocks} blocks")
print(f"{rows} pages of {len(seen)} files agree")
