#!/usr/bin/env python3
"""vectors.py DIR: testdata/pgNN/vector/ from the golden files DIR/NN.files.tsv and DIR/NN.controldata.txt
(pg_control of a real cluster: its first 320 bytes; the other 7872 are zero)."""
import os, sys
out = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
for nn in range(10, 20):
    d = f"{out}/pg{nn}/vector"
    os.makedirs(d, exist_ok=True)
    for line in open(f"{sys.argv[1]}/{nn}.files.tsv"):
        path, n, hexa = line.rstrip("\n").split("\t")
        if path == "global/pg_control":
            assert int(n) == len(hexa) // 2 == 320
            open(d + "/pg_control", "wb").write(bytes.fromhex(hexa).ljust(8192, b"\0"))
    with open(f"{sys.argv[1]}/{nn}.controldata.txt") as f:
        open(d + "/controldata.txt", "w").write(f.read())
