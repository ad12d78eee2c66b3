#!/usr/bin/env python3
"""repositories.py: testdata/archives/built-repositories.tar.zst: the WAL of archives/promoted.tar.zst as the repositories of
tools that cannot be run here keep it, built from the tools' documented formats (see testdata/README.md). The WAL is a real
server's; names, packing and metadata are this script's. Needs lz4, zstd, bzip2."""
import gzip, json, lzma, os, re, shutil, struct, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ARCHIVES = os.path.join(HERE, "..", "archives")


def brotli(data):
    """Blocks that are stored as they are: a whole, if long, brotli stream."""
    out = bytearray()
    blocks = [data[i:i + 65536] for i in range(0, len(data), 65536)]
    for index, block in enumerate(blocks):
        shift = 4 if index == 0 else 3
        out += struct.pack("<I", (len(block) - 1) << shift | 1 << (16 + shift))[:3] + block
    return bytes(out + b"\x03")


def tool(*command):
    return lambda data: subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout


PACK = {
    "": lambda data: data,
    "gz": lambda data: gzip.compress(data, 9, mtime=0),
    "bz2": tool("bzip2", "-9", "-c"),
    "lz4": tool("lz4", "-q", "-9", "-c"),
    "zst": tool("zstd", "-q", "-19", "-c"),
    "zstd": tool("zstd", "-q", "-19", "-c"),
    "br": brotli,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "xz": lambda data: lzma.compress(data, lzma.FORMAT_XZ),
}


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data if isinstance(data, bytes) else data.encode())


def is_segment(name):
    return re.fullmatch("[0-9A-F]{24}", name)


work = tempfile.mkdtemp()
os.chdir(work)
subprocess.run(["tar", "--zstd", "-xf", os.path.join(ARCHIVES, "promoted.tar.zst")], check=True)
files = {name: open("promoted/" + name, "rb").read() for name in sorted(os.listdir("promoted"))}
(system_id,) = struct.unpack_from("<Q", files["000000010000000000000008"], 24)
label = next(name for name in files if name.endswith(".backup"))
start_lsn, stop_lsn = (
    int(hi, 16) << 32 | int(lo, 16)
    for hi, lo in re.findall(r"WAL LOCATION: ([0-9A-F]+)/([0-9A-F]+)", files[label].decode())
)
start_wal, text_lsn = label[:24], lambda lsn: "%X/%X" % (lsn >> 32, lsn & 0xFFFFFFFF)

# WAL-G with one compression after the other, as after changes of WALG_COMPRESSION_METHOD.
extensions = ["lz4", "zst", "br", "lzma", "gz", "lz4", "zst", "lz4", "lz4"]
for (name, data), ext in zip(files.items(), extensions + ["lz4"] * 9):
    if not name.endswith(".partial"):
        write("wal-g/wal_005/%s.%s" % (name, ext), PACK[ext](data))
write("wal-g/wal_005/000000010000000000000000_delta.lz4", PACK["lz4"](b"\0" * 64))
write("wal-g/wal_005/000000010000000000000008.json", json.dumps({"created_time": "2026-11-20T22:58:19Z", "date_fmt": "%Y-%m-%dT%H:%M:%S.%fZ"}))
base = "base_" + start_wal
write("wal-g/basebackups_005/%s_backup_stop_sentinel.json" % base, json.dumps({
    "LSN": start_lsn, "DeltaFrom": None, "DeltaFullName": None, "DeltaCount": None, "PgVersion": 150018, "FinishLSN": stop_lsn,
    "SystemIdentifier": system_id, "UncompressedSize": 23000000, "CompressedSize": 3000000, "UserData": None}))
write("wal-g/basebackups_005/%s/metadata.json" % base, json.dumps({
    "start_time": "2026-11-20T22:58:19.123456Z", "finish_time": "2026-11-20T22:58:21.5Z", "date_fmt": "%Y-%m-%dT%H:%M:%S.%fZ",
    "hostname": "db1", "data_dir": "/var/lib/postgresql/15/main", "pg_version": 150018, "start_lsn": start_lsn,
    "finish_lsn": stop_lsn, "is_permanent": False, "system_identifier": system_id}))
write("wal-g/basebackups_005/%s/tar_partitions/part_001.tar.lz4" % base, PACK["lz4"](b"\0" * 10240))

# barman-cloud, as CloudNativePG uses it.
for name, data in files.items():
    if name.endswith(".partial"):
        continue
    folder = "" if name.endswith(".history") else name[:16] + "/"
    write("cnpg/cluster-example/wals/%s%s%s" % (folder, name, ".gz" if is_segment(name) else ""), PACK["gz" if is_segment(name) else ""](data))
info = {
    "backup_label": None, "begin_offset": 40, "begin_time": "2026-11-20 22:58:19.123456+00:00", "begin_wal": start_wal,
    "begin_xlog": text_lsn(start_lsn), "compression": "gzip", "end_time": "2026-11-20 22:58:21.500000+00:00",
    "end_wal": start_wal, "end_xlog": text_lsn(stop_lsn), "error": None, "mode": "concurrent", "server_name": "cloud",
    "size": 23000000, "status": "DONE", "systemid": system_id, "tablespaces": None, "timeline": 1, "version": 150018,
    "xlog_segment_size": 1048576}
write("cnpg/cluster-example/base/20261120T225819/backup.info", "".join("%s=%s\n" % item for item in info.items()))
write("cnpg/cluster-example/base/20261120T225819/data.tar.gz", PACK["gz"](b"\0" * 10240))

# pg_probackup: segments with and without gz, one with a plain twin.
for index, (name, data) in enumerate(files.items()):
    packed = is_segment(name) and index % 2
    write("probackup/wal/main/%s%s" % (name, ".gz" if packed else ""), PACK["gz" if packed else ""](data))
write("probackup/wal/main/000000020000000000000099.part", b"")
write("probackup/backups/main/pg_probackup.conf", "# Backup instance information\npgdata = /var/lib/postgresql/15/main\nsystem-identifier = %d\nxlog-seg-size = 1048576\n" % system_id)
write("probackup/backups/main/T3Q1XK/backup.control", """#Configuration
backup-mode = FULL
stream = false
compress-alg = zlib
compress-level = 1
from-replica = false

#Compatibility
block-size = 8192
xlog-block-size = 8192
checksum-version = 1
program-version = 2.5.12
server-version = 15

#Result backup info
timelineid = 1
start-lsn = %s
stop-lsn = %s
start-time = '2026-11-20 22:58:19+00'
end-time = '2026-11-20 22:58:21+00'
recovery-xid = 730
recovery-time = '2026-11-20 22:58:21+00'
data-bytes = 3000000
wal-bytes = 16777216
pgdata-bytes = 23000000
status = OK
content-crc = 123
""" % (text_lsn(start_lsn), text_lsn(stop_lsn)))

# pitrery: everything is packed.
for name, data in files.items():
    write("pitrery/main/archived_wal/%s.gz" % name, PACK["gz"](data))
write("pitrery/main/2026.11.20_22.58.19/backup_label", files[label])
write("pitrery/main/2026.11.20_22.58.19/pgdata.tar.gz", PACK["gz"](b"\0" * 10240))

# pgmoneta.
for name, data in files.items():
    ext = "" if name.endswith(".history") else ".zstd"
    write("pgmoneta/primary/wal/%s%s" % (name, ext), PACK[ext[1:]](data))
write("pgmoneta/primary/backup/20261120225819/backup.info", """STATUS=1
LABEL=20261120225819
WAL=%s
ELAPSED=2
VERSION=15
MINOR_VERSION=18
MAJOR_VERSION=15
KEEP=0
BACKUP=3000000
RESTORE=23000000
TABLESPACES=0
START_LSN_HI32=%d
START_LSN_LO32=%d
END_LSN_HI32=%d
END_LSN_LO32=%d
START_TIMELINE=1
""" % (start_wal, start_lsn >> 32, start_lsn & 0xFFFFFFFF, stop_lsn >> 32, stop_lsn & 0xFFFFFFFF))

# pghoard: packed under the plain name, with metadata beside it.
for name, data in files.items():
    if name.endswith(".partial") or name.endswith(".backup"):
        continue
    folder = "timeline" if name.endswith(".history") else "xlog"
    write("pghoard/main/%s/%s" % (folder, name), PACK["xz"](data))
    write("pghoard/main/%s/%s.metadata" % (folder, name), json.dumps({"compression-algorithm": "lzma", "original-file-size": len(data), "pg-version": 150018}))
write("pghoard/main/basebackup/2026-11-20_22-58_0", PACK["xz"](b"\0" * 10240))
write("pghoard/main/basebackup/2026-11-20_22-58_0.metadata", json.dumps({"format": "pghoard-bb-v2", "start-wal-segment": start_wal, "pg-version": 150018, "start-time": "2026-11-20T22:58:19+00:00", "total-size-plain": 23000000, "total-size-enc": 3000000}))

# Plain copies in sub-directories: by the day, and by the first 16 digits.
for index, (name, data) in enumerate(files.items()):
    write("by-date/2026/11/%02d/%s" % (18 + index // 4, name), data)
    write("by-log/%s%s" % ("" if name.endswith(".history") else name[:16] + "/", name), data)

shutil.rmtree("promoted")
out = os.path.join(ARCHIVES, "built-repositories.tar.zst")
subprocess.run("tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --format=gnu -cf - * | zstd -19 --long=27 -q -f -o " + out, shell=True, check=True)
shutil.rmtree(work)
print(os.path.getsize(out), "bytes")
