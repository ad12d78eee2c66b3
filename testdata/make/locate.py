#!/usr/bin/env python3
"""Damage for locate.sh, done to files of a stopped cluster.

locate.py tuple FILE BLOCK ITEM         prints the offset in the file of the tuple behind a line pointer
locate.py poke FILE OFFSET HEX          writes bytes
locate.py flip FILE OFFSET              flips the lowest bit of a byte
locate.py sparse FILE LENGTH            makes a file that long, without writing
"""
import struct
import sys


def item(path, block, number):
    with open(path, "rb") as f:
        f.seek(block * 8192)
        page = f.read(8192)
    word, = struct.unpack_from("<I", page, 24 + 4 * (number - 1))
    return block * 8192 + (word & 0x7FFF)


what, path, *rest = sys.argv[1:]
if what == "tuple":
    print(item(path, int(rest[0]), int(rest[1])))
elif what == "sparse":
    with open(path, "ab") as f:
        f.truncate(int(rest[0]))
else:
    with open(path, "r+b") as f:
        at = int(rest[0])
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 1]) if what == "flip" else bytes.fromhex(rest[1]))
