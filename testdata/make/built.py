#!/usr/bin/env python3
"""Control files that no server here can write, built from the real ones in testdata/pgNN/vector.

Other machines (big-endian, 32-bit x86) get the same values in the layout that the C compiler gives there
(ctypes follows its rules); the others have a changed field and a CRC that fits. Deterministic.
Usage: testdata/make/built.py        writes testdata/built/NAME.pg_control
"""
import ctypes as c
import pathlib

TESTDATA = pathlib.Path(__file__).resolve().parent.parent


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def fields(major):
    """ControlFileData of catalog/pg_control.h, with CheckPoint written out in place."""
    u8, u32, i32, u64, i64 = c.c_uint8, c.c_uint32, c.c_int32, c.c_uint64, c.c_int64
    checkpoint = [("redo", u64), ("ThisTimeLineID", u32), ("PrevTimeLineID", u32), ("fullPageWrites", u8)]
    if major >= 17:
        checkpoint += [("cp_wal_level", i32)]
    if major >= 19:
        checkpoint += [("logicalDecodingEnabled", u8)]
    checkpoint += [("nextXid", u64)] if major >= 12 else [("nextXidEpoch", u32), ("nextXid", u32)]
    checkpoint += [("nextOid", u32), ("nextMulti", u32), ("nextMultiOffset", u64 if major >= 19 else u32),
                   ("oldestXid", u32), ("oldestXidDB", u32), ("oldestMulti", u32), ("oldestMultiDB", u32),
                   ("cp_time", i64), ("oldestCommitTsXid", u32), ("newestCommitTsXid", u32),
                   ("oldestActiveXid", u32)]
    all_fields = [("system_identifier", u64), ("pg_control_version", u32), ("catalog_version_no", u32),
                  ("state", i32), ("time", i64), ("checkPoint", u64)]
    if major <= 10:
        all_fields += [("prevCheckPoint", u64)]
    all_fields += [("checkPointCopy", checkpoint), ("unloggedLSN", u64), ("minRecoveryPoint", u64),
                   ("minRecoveryPointTLI", u32), ("backupStartPoint", u64), ("backupEndPoint", u64),
                   ("backupEndRequired", u8), ("wal_level", i32), ("wal_log_hints", u8), ("MaxConnections", i32),
                   ("max_worker_processes", i32)]
    if major >= 12:
        all_fields += [("max_wal_senders", i32)]
    all_fields += [("max_prepared_xacts", i32), ("max_locks_per_xact", i32), ("track_commit_timestamp", u8),
                   ("maxAlign", u32), ("floatFormat", c.c_double), ("blcksz", u32), ("relseg_size", u32)]
    if major >= 19:
        all_fields += [("slru_pages_per_segment", u32)]
    all_fields += [(name, u32) for name in ("xlog_blcksz", "xlog_seg_size", "nameDataLen", "indexMaxKeys",
                                            "toast_max_chunk_size", "loblksize")]
    if major <= 12:
        all_fields += [("float4ByVal", u8)]
    all_fields += [("float8ByVal", u8)]
    if major >= 19:
        all_fields += [("data_checksum_version_init", u32)]
    all_fields += [("data_checksum_version", u32)]
    if major >= 18:
        all_fields += [("default_char_signedness", u8)]
    return all_fields + [("mock_authentication_nonce", u8 * 32), ("crc", u32)]


def structure(major, big_endian=False, pack=8):
    base = c.BigEndianStructure if big_endian else c.LittleEndianStructure

    def make(name, members):
        made = [(n, make(n, t) if isinstance(t, list) else t) for n, t in members]
        return type(name, (base,), {"_pack_": pack, "_fields_": made} if pack < 8 else {"_fields_": made})

    return make("ControlFileData", fields(major))


def copy(source, target):
    for name, kind in source._fields_:
        value = getattr(source, name)
        if isinstance(value, c.Structure):
            copy(value, getattr(target, name))
        elif isinstance(value, c.Array):
            target_array = getattr(target, name)
            target_array[:] = value[:]
        else:
            setattr(target, name, value)


def write(name, control):
    kind = type(control)
    crc = crc32c(bytes(control)[:kind.crc.offset])
    control.crc = crc
    out = TESTDATA / "built" / f"{name}.pg_control"
    out.parent.mkdir(exist_ok=True)
    out.write_bytes(bytes(control).ljust(8192, b"\0"))


def read(major):
    return structure(major).from_buffer_copy((TESTDATA / f"pg{major}/vector/pg_control").read_bytes())


def changed(name, major, **values):
    control = read(major)
    for path, value in values.items():
        part = control
        *parents, field = path.split("__")
        for parent in parents:
            part = getattr(part, parent)
        setattr(part, field, value)
    write(name, control)


for major in range(10, 20):
    real = read(major)
    for name, options in [("big_endian", {"big_endian": True}), ("i386", {"pack": 4})]:
        foreign = structure(major, **options)()
        copy(real, foreign)
        if name == "i386":
            foreign.maxAlign = 4
        write(f"{name}_{major}", foreign)

changed("starting_up", 15, state=0)
changed("shutting_down", 15, state=3)
changed("in_crash_recovery", 15, state=4)
changed("pgbackrest_dead", 16, checkPoint=0xDEAD)
changed("beta_catalog", 18, catalog_version_no=202505071)
changed("unknown_version", 18, pg_control_version=1799, catalog_version_no=202503011)
changed("blocks_of_16_kb", 17, blcksz=16384, toast_max_chunk_size=4044)
changed("checksum_state_3", 19, data_checksum_version=3)
changed("timeline_2", 15, checkPointCopy__ThisTimeLineID=2, checkPointCopy__PrevTimeLineID=2)
