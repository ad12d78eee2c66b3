#!/usr/bin/env python3
"""Records that are not in every WAL, for wal_more.sh. Knows the resource managers with few blocks and many lists:
Transaction, Storage, CLOG, Database, Tablespace, MultiXact, RelMap, Standby, Sequence, SPGist, BRIN, CommitTs,
ReplicationOrigin, LogicalMessage.

wal_more.py change MAJOR WALDIR OUTDIR
    copies timeline 1 of WALDIR (segments of 1 MB) and changes bytes of the main data, or the kind, of about half of
    these records, with a right CRC. Counts and lengths stay: pg_waldump reads past the end where they are wrong.
wal_more.py pick MAJOR WALDIR DUMP real|changed
    prints, as in testdata/wal/pgNN.tsv, the shortest record of WALDIR for each of the patterns below; DUMP is what
    pg_waldump printed."""
import os, random, re, struct, sys

SEG, PAGE = 1 << 20, 8192
NAMES = {1: 'Transaction', 2: 'Storage', 3: 'CLOG', 4: 'Database', 5: 'Tablespace', 6: 'MultiXact', 7: 'RelMap', 8: 'Standby',
         15: 'Sequence', 16: 'SPGist', 17: 'BRIN', 18: 'CommitTs', 19: 'ReplicationOrigin', 21: 'LogicalMessage'}
REAL = [
    r' COMMIT .*; rels:.*inval msgs', r' COMMIT .*; subxacts:', r' COMMIT .*; dropped stats:', r' COMMIT .*relcache init file',
    r' COMMIT .*apply_feedback', r' COMMIT .*; sync', r' COMMIT .*; origin: node', r'COMMIT_PREPARED.*(rels|inval|subxacts)',
    r'COMMIT_PREPARED.*origin', r' ABORT .*; rels:', r' ABORT .*origin', r'ABORT_PREPARED.*(rels|origin)', r'PREPARE .*subxacts',
    r'PREPARE .*rels\(commit\)', r'PREPARE .*rels\(abort\)', r'PREPARE .*origin', r'rels:.*pg_tblspc', r'ASSIGNMENT.*subxacts: \d+ \d+',
    r'INVALIDATIONS .*relcache init', r'INVALIDATIONS?.*snapshot', r'RUNNING_XACTS.*; [2-9] xacts', r'RUNNING_XACTS.*subxid ov',
    r'LOCK xid.*xid', r'Storage.*CREATE.*(_fsm|_init|_vm)', r'Storage.*CREATE.*global', r'Storage.*pg_tblspc', r'SPGist.*nulls',
    r'SPGist.*newpage', r'SPGist.*isRootSplit', r'SPGist.*innerIsParent', r'SPGist.*\(same\)', r'MESSAGE trans', r'MESSAGE non']
CHANGED = [
    r'INVALIDATIONS? .* smgr', r'INVALIDATIONS? .* relmap db', r'INVALIDATIONS? .* relsync', r'INVALIDATIONS? .* unrecognized',
    r'RUNNING_XACTS.*; \d+ xacts:.*subxacts:', r'MultiXact.*\(unk\)', r'COMMIT -\d', r'COMMIT \d{5,}-', r'COMMIT .*\.-\d',
    r'ZEROPAGE.* -\d', r'replacedead', r'parentBlk: -'] + [name + r' .*UNKNOWN' for name in NAMES.values()]


def crc_table():
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        yield byte


TABLE = list(crc_table())


def crc(data):
    c = 0xFFFFFFFF
    for byte in data:
        c = TABLE[(c ^ byte) & 255] ^ c >> 8
    return c ^ 0xFFFFFFFF


def u32(b, at):
    return struct.unpack_from('<I', b, at)[0]


def records(segment):
    """Offset and length of the records that lie in one page."""
    at = 0
    while at + 24 <= len(segment):
        if at % PAGE == 0:
            if segment[at:at + 2] == b'\0\0':
                return
            rest, room = u32(segment, at + 16), PAGE - (40 if at == 0 else 24)
            if rest > room:
                at += PAGE
            else:
                at += PAGE - room + (rest + 7 & ~7)
            continue
        length, room = u32(segment, at), PAGE - at % PAGE
        if length < 24:
            return
        if length <= room:
            yield at, length
            at += length + 7 & ~7
        else:
            at += room


def main_length(v, record):
    at, announced = 24, 0
    while len(record) - at > announced:
        block = record[at]
        at += 1
        if block == 255:
            return record[at]
        if block == 254:
            return u32(record, at)
        if block >= 252:
            at += 2 if block == 253 else 4
            continue
        flags = record[at]
        announced += struct.unpack_from('<H', record, at + 1)[0]
        at += 3
        if flags & 0x10:
            announced += struct.unpack_from('<H', record, at)[0]
            info = record[at + 4]
            at += 7 if info & (0x1C if v >= 15 else 0x02) and info & 1 else 5
        at += 4 if flags & 0x80 else 16
    return 0


def fixed(v, rm, info, d):
    """Ranges that must stay: counts, lengths, and what says which parts there are."""
    kind = info & (0x70 if rm == 1 else 0xF0)
    if rm == 1 and kind in (0x00, 0x20, 0x30, 0x40) and info & 0x80:
        x, at = u32(d, 8), 12
        yield 8, 12
        if x & 1:
            at += 8
        lists = [(2, 4), (4, 12)]
        if v >= 15:
            lists.append((0x100, 16 if v >= 18 else 12))
        if kind in (0x00, 0x30):
            lists.append((8, 16))
        for bit, size in lists:
            if x & bit:
                yield at, at + 4
                at += 4 + size * u32(d, at)
        if x & 0x90 == 0x90:
            yield at + 4, d.index(b'\0', at + 4) + 1
    elif rm == 1 and kind == 0x10:
        size, counts, gid = (72, 52, 54) if v >= 15 else (64 if v >= 11 else 48, 44, 46)
        end = size + struct.unpack_from('<H', d, gid)[0]
        yield from [(0, 12), (28, counts), (gid, gid + 2), (end - 1, end)]
    elif (rm, kind) == (1, 0x50):
        yield 4, 8
    elif (rm, kind) in ((1, 0x60), (8, 0x00)):
        yield 0, 4
    elif (rm, kind) in ((2, 0x10), (8, 0x20)):
        yield 12, 16
    elif rm == 4 and v >= 13 and kind == (0x20 if v >= 15 else 0x10):
        yield 4, 8
    elif rm == 5:
        yield len(d) - 1, len(d)
    elif (rm, kind) == (6, 0x20):
        yield (16, 20) if v >= 19 else (8, 12)
    elif (rm, kind) == (8, 0x10):
        yield from [(0, 8), (9, 12)]
    elif (rm, kind) == (16, 0x40):
        yield 4, 6   # bools that ≤ 13 prints as numbers
    elif (rm, kind) == (19, 0x00):
        yield 10, 11
    elif rm == 21:
        end = 24 + struct.unpack_from('<Q', d, 8)[0]
        yield from [(8, 24), (end - 1, end)]


def unknown(v, rm):
    """Kinds that there are not."""
    known = {1: 7 if v >= 14 else 6, 2: 3, 3: 2, 4: 3 if v >= 15 else 2, 5: 2, 6: 4, 7: 1, 8: 3, 15: 1, 16: 9, 17: 6, 18: 3, 19: 2, 21: 1}[rm]
    if rm in (1, 17):
        return [0x70, 0xF0]
    return [kind << 4 for kind in range(known, 16)]


def change(v, rm, info, d):
    kind = info & (0x70 if rm == 1 else 0xF0)
    free = set(range(len(d)))
    for a, b in fixed(v, rm, info, d):
        free -= set(range(a, b))
    if rm == 1 and kind in (0x00, 0x20, 0x30, 0x40) and random.random() < 0.3:
        d[0:8] = struct.pack('<q', random.choice([-2**63, 2**63 - 1, -1, -500, -123456, random.randrange(-2**63, 2**63)]))
    if rm == 1 and kind in (0x00, 0x30) and info & 0x80:
        d[11] ^= random.choice([0, 0x20, 0x40, 0x80, 0xE0])
    if rm == 8 and kind == 0x10:
        a, b = struct.unpack_from('<ii', d)
        first = random.randint(0, a + b)
        struct.pack_into('<iiB', d, 0, first, a + b - first, random.randint(0, 1))
    if (rm, kind) in ((8, 0x20), (1, 0x60)):
        for message in range(16 if rm == 8 else 4, len(d), 16):
            if random.random() < 0.3:
                d[message] = random.choice([0xFF, 0xFE, 0xFD, 0xFC, 0xFB, 0xFA, 0xF9, 0x80, 0x7F])
    for _ in range(random.randint(1, 4)):
        if free:
            d[random.choice(sorted(free))] = random.choice([0, 1, 2, 3, 0x7F, 0x80, 0xFF, random.randrange(256)])


def change_all(v, source, target):
    random.seed(v)
    os.makedirs(target, exist_ok=True)
    for name in sorted(os.listdir(source)):
        if not re.fullmatch('00000001[0-9A-F]{16}', name):
            continue
        segment = bytearray(open(f'{source}/{name}', 'rb').read())
        for at, length in records(segment):
            record = segment[at:at + length]
            info, rm = record[16], record[17]
            if rm not in NAMES or crc(record[24:] + record[:20]) != u32(record, 20):
                continue
            chance, main = random.random(), main_length(v, record)
            if chance < 0.02:
                record[16] = info & 0x0F | random.choice(unknown(v, rm))
            elif chance < 0.5 and main:
                d = record[length - main:]
                change(v, rm, info, d)
                record[length - main:] = d
            struct.pack_into('<I', record, 20, crc(record[24:] + record[:20]))
            segment[at:at + length] = record
        open(f'{target}/{name}', 'wb').write(segment)


def pick(wal, dump, patterns):
    shortest = {}
    for line in open(dump, errors='surrogateescape', newline='\n'):
        found = re.match(r'rmgr: (\S+) +len \(rec/tot\): +\d+/ *(\d+), tx: +\d+, lsn: ([0-9A-F]+)/([0-9A-F]+), prev \S+ desc: (\S+) ', line)
        if not found or found[1] not in NAMES.values():
            continue
        length, lsn = int(found[2]), int(found[3], 16) << 32 | int(found[4], 16)
        if length > 1600 or lsn % PAGE + length > PAGE:
            continue
        for pattern in patterns:
            if (pattern not in shortest or shortest[pattern][0] > length) and re.search(pattern, line):
                shortest[pattern] = length, lsn, f'{found[1]} {found[5]}', line
    for length, lsn, kind, line in sorted(set(shortest.values()), key=lambda row: row[1]):
        with open(f'{wal}/{1:08X}{lsn // SEG // 4096:08X}{lsn // SEG % 4096:08X}', 'rb') as segment:
            segment.seek(lsn % SEG)
            bytes_ = segment.read(length)
        sys.stdout.write(f'{kind}\t{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}\t{bytes_.hex()}\t{line}')


if sys.argv[1] == 'change':
    change_all(int(sys.argv[2]), sys.argv[3], sys.argv[4])
else:
    pick(sys.argv[3], sys.argv[4], REAL if sys.argv[5] == 'real' else CHANGED)
