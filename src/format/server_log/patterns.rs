//! The table of messages, in the server's words, and the majors that have them.
//!
//! The first pattern that fits counts: a longer one of the same beginning stands before the shorter one. Numbers are
//! decimal but for `hex`; 19 writes LSNs as `0/00000000`, which reads the same.

/// What a message is about: one kind of trouble, with one meaning and one advice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// A page that the server refuses.
    InvalidPage,
    /// A page that the server has replaced by zeros.
    Zeroed,
    /// A bad checksum that was passed over, or found by a tool.
    Checksum,
    /// The system reported an error, or fewer bytes than asked for inside the file.
    Read,
    /// A block behind the end of the file.
    BehindEnd,
    /// A file of a relation that cannot be opened.
    RelationFile,
    /// A file could not be written or extended.
    Write,
    /// The file is longer than the server thinks.
    BeyondEof,
    /// The status of a transaction.
    Transaction,
    /// A multixact.
    MultiXact,
    /// A value in a TOAST table.
    Toast,
    /// A tuple that is older than its table.
    Freeze,
    /// The structure of a heap page.
    Heap,
    /// The structure of an index.
    Index,
    /// Where the WAL ends: normal, if it ends where it should.
    WalEnd,
    /// A record or page of WAL that is not what it should be.
    WalDamaged,
    /// WAL that is not there any more.
    WalRemoved,
    /// No checkpoint to start from.
    Checkpoint,
    /// A page from the future.
    Flush,
    /// WAL about pages that are not there.
    MissingPages,
    /// A file that is not as the backup's manifest says.
    Manifest,
    /// pg_control cannot be used.
    Control,
    /// The WAL ends before the data are of one moment.
    Consistency,
    /// The recovery target.
    Target,
    /// A restored file has another size than a segment.
    WrongSize,
    /// Timelines and their history files.
    Timeline,
    /// A relation map, or a catalog.
    Catalog,
    /// A directory that the server needs, or its permissions.
    Directory,
    /// Settings, and files that steer a start.
    Setting,
    /// A slot or a prepared transaction.
    StateFile,
    /// Another server uses the directory.
    OtherServer,
}

/// One message.
#[derive(Debug)]
pub struct Pattern {
    /// What it is about.
    pub topic: Topic,
    /// Its words; names in braces are values.
    pub template: &'static str,
    /// First and last major that print it, `u32::MAX` for "still".
    pub majors: (u32, u32),
}

const NOW: u32 = u32::MAX;

const fn row(topic: Topic, first: u32, last: u32, template: &'static str) -> Pattern {
    Pattern { topic, template, majors: (first, last) }
}

/// Every message, most urgent topics first.
#[rustfmt::skip]
pub const PATTERNS: &[Pattern] = &[
    row(Topic::Zeroed, 10, NOW, "invalid page in block {block} of relation {relation}; zeroing out page"),
    row(Topic::Zeroed, 18, NOW, "zeroing out {count} invalid pages among blocks {first}..{last} of relation {relation}"),
    row(Topic::Zeroed, 18, NOW, "zeroing {count} page(s) and ignoring {count2} checksum failure(s) among blocks {first}..{last} of relation {relation}"),
    row(Topic::InvalidPage, 10, NOW, "invalid page in block {block} of relation {relation}"),
    row(Topic::InvalidPage, 18, NOW, "{count} invalid pages among blocks {first}..{last} of relation {relation}"),
    row(Topic::InvalidPage, 10, NOW, "page verification failed, calculated checksum {calculated} but expected {expected}"),
    row(Topic::Checksum, 18, NOW, "ignoring checksum failure in block {block} of relation {relation}"),
    row(Topic::Checksum, 18, NOW, "ignoring {count} checksum failures among blocks {first}..{last} of relation {relation}"),
    row(Topic::Checksum, 11, NOW, "checksum verification failed in file \"{file}\", block {block}: calculated checksum {hex} but block contains {hex2}"),
    row(Topic::Checksum, 11, NOW, "checksum verification failed in file \"{file}\", block {block}: calculated {hex} but expected {hex2}"),
    row(Topic::Checksum, 11, NOW, "file \"{file}\" has a total of {count} checksum verification failure"),
    row(Topic::Checksum, 12, NOW, "could not verify checksum in file \"{file}\", block {block}: {why}"),
    row(Topic::BehindEnd, 10, 16, "could not read block {block} in file \"{file}\": read only 0 of {size} bytes"),
    row(Topic::BehindEnd, 17, NOW, "could not read blocks {first}..{last} in file \"{file}\": read only 0 of {size} bytes"),
    row(Topic::BehindEnd, 10, NOW, "could not open file \"{file}\" (target block {block}): previous segment is only {count} blocks"),
    row(Topic::Read, 10, NOW, "could not read block {block} in file \"{file}\": {why}"),
    row(Topic::Read, 17, NOW, "could not read blocks {first}..{last} in file \"{file}\": {why}"),
    row(Topic::Read, 18, NOW, "could not start reading blocks {first}..{last} in file \"{file}\": {why}"),
    row(Topic::Read, 10, 11, "could not seek to block {block} in file \"{file}\": {why}"),
    row(Topic::RelationFile, 10, NOW, "could not open file \"{file}\" (target block {block}): {why}"),
    row(Topic::BeyondEof, 10, NOW, "unexpected data beyond EOF in block {block} of relation {relation}"),
    row(Topic::Write, 10, NOW, "could not extend file \"{file}\": wrote only {size} of {count} bytes at block {block}"),
    row(Topic::Write, 16, NOW, "could not extend file \"{file}\" with FileFallocate(): {why}"),
    row(Topic::Write, 10, NOW, "could not extend file \"{file}\": {why}"),
    row(Topic::Write, 10, NOW, "could not write block {block} in file \"{file}\": {why}"),
    row(Topic::Write, 17, NOW, "could not write blocks {first}..{last} in file \"{file}\": {why}"),
    row(Topic::Write, 10, NOW, "could not fsync file \"{file}\": {why}"),
    row(Topic::Write, 10, NOW, "could not write to file \"{archive}\": {why}"),
    row(Topic::Write, 10, NOW, "could not create file \"{archive}\": {why}"),
    row(Topic::Transaction, 10, 18, "could not access status of transaction {xid}"),
    row(Topic::MultiXact, 10, NOW, "MultiXactId {multi} has not been created yet -- apparent wraparound"),
    row(Topic::MultiXact, 10, NOW, "MultiXactId {multi} does no longer exist -- apparent wraparound"),
    row(Topic::MultiXact, 14, NOW, "MultiXact {multi} has invalid next offset"),
    row(Topic::MultiXact, 19, NOW, "MultiXact {multi} has invalid offset"),
    row(Topic::MultiXact, 19, NOW, "MultiXact {multi} has offset ({member}) greater than its next offset ({count})"),
    row(Topic::MultiXact, 19, NOW, "MultiXact {multi} with offset ({member}) has zero members"),
    row(Topic::MultiXact, 10, NOW, "cannot truncate up to MultiXact {multi} because it does not exist on disk"),
    row(Topic::Toast, 10, NOW, "missing chunk number {chunk} for toast value {value} in {toast}"),
    row(Topic::Toast, 10, NOW, "unexpected chunk number {chunk} (expected {count}) for toast value {value} in {toast}"),
    row(Topic::Toast, 10, NOW, "unexpected chunk number {chunk} (out of range {first}..{last}) for toast value {value} in {toast}"),
    row(Topic::Toast, 10, NOW, "unexpected chunk size {size} (expected {count}) in chunk {chunk} of {count2} for toast value {value} in {toast}"),
    row(Topic::Toast, 10, 12, "unexpected chunk size {size} (expected {count}) in final chunk {chunk} for toast value {value} in {toast}"),
    row(Topic::Toast, 10, NOW, "found toasted toast chunk for toast value {value} in {toast}"),
    row(Topic::Freeze, 10, NOW, "found xmin {xid} from before relfrozenxid {count}"),
    row(Topic::Freeze, 10, NOW, "found xmax {xid} from before relfrozenxid {count}"),
    row(Topic::Freeze, 10, 15, "found update xid {xid} from before relfrozenxid {count}"),
    row(Topic::Freeze, 10, NOW, "found multixact {multi} from before relminmxid {count}"),
    row(Topic::Freeze, 10, 15, "uncommitted xmin {xid} from before xid cutoff {count} needs to be frozen"),
    row(Topic::Freeze, 16, NOW, "multixact {multi} contains update XID {xid} from before relfrozenxid {count}"),
    row(Topic::Freeze, 10, NOW, "cannot freeze committed xmax {xid}"),
    row(Topic::Heap, 10, NOW, "tuple concurrently updated"),
    row(Topic::Heap, 12, NOW, "tuple concurrently deleted"),
    row(Topic::Heap, 14, NOW, "heap table \"{table}\", block {block}, offset {item}, attribute {attribute}:"),
    row(Topic::Heap, 14, NOW, "heap table \"{table}\", block {block}, offset {item}:"),
    row(Topic::Heap, 14, NOW, "heap table \"{table}\", block {block}:"),
    row(Topic::Heap, 10, NOW, "corrupted page pointers: lower = {size}, upper = {count}, special = {count2}"),
    row(Topic::Heap, 12, 18, "corrupted line pointer: offset = {size}, size = {count}"),
    row(Topic::Heap, 12, NOW, "tid ({block}, {item}) is not valid for relation \"{table}\""),
    row(Topic::Index, 10, NOW, "index \"{index}\" contains corrupted page at block {block}"),
    row(Topic::Index, 10, NOW, "index \"{index}\" contains unexpected zero page at block {block}"),
    row(Topic::Index, 10, NOW, "right sibling's left-link doesn't match: block {other} links to {count} instead of expected {block} in index \"{index}\""),
    row(Topic::Index, 11, NOW, "right sibling's left-link doesn't match: right sibling {other} of target {block} with leafblkno {count} and scanblkno {count2} spuriously links to non-target {size} on level {level} of index \"{index}\""),
    row(Topic::Index, 10, 13, "left link changed unexpectedly in block {block} of index \"{index}\""),
    row(Topic::Index, 14, NOW, "target page left link unexpectedly changed from {count} to {count2} in block {block} of index \"{index}\""),
    row(Topic::Index, 10, NOW, "failed to re-find parent key in index \"{index}\" for deletion target page {block}"),
    row(Topic::Index, 10, NOW, "failed to re-find parent key in index \"{index}\" for split pages {block}/{other}"),
    row(Topic::Index, 10, NOW, "failed to re-find parent of a page in index \"{index}\", block {block}"),
    row(Topic::Index, 10, NOW, "failed to re-find tuple within index \"{index}\""),
    row(Topic::Index, 13, NOW, "table tid from new index tuple ({tid_block},{item}) cannot find insert offset between offsets {count} and {count2} of block {block} in index \"{index}\""),
    row(Topic::Index, 13, NOW, "table tid from new index tuple ({tid_block},{item}) overlaps with invalid duplicate tuple at offset {count} of block {block} in index \"{index}\""),
    row(Topic::Index, 15, NOW, "heap tid from index tuple ({tid_block},{item}) points past end of heap page line pointer array at offset {count} of block {block} in index \"{index}\""),
    row(Topic::Index, 15, NOW, "heap tid from index tuple ({tid_block},{item}) points to heap-only tuple at offset {count} of block {block} in index \"{index}\""),
    row(Topic::Index, 15, NOW, "heap tid from index tuple ({tid_block},{item}) points to unused heap page item at offset {count} of block {block} in index \"{index}\""),
    row(Topic::Index, 11, NOW, "heap tuple ({tid_block},{item}) from table \"{table}\" lacks matching index tuple within index \"{index}\""),
    row(Topic::Index, 10, NOW, "item order invariant violated for index \"{index}\""),
    row(Topic::Index, 10, NOW, "cross page item order invariant violated for index \"{index}\""),
    row(Topic::Index, 10, NOW, "high key invariant violated for index \"{index}\""),
    row(Topic::Index, 10, NOW, "down-link lower bound invariant violated for index \"{index}\""),
    row(Topic::Index, 11, NOW, "downlink to deleted page found in index \"{index}\""),
    row(Topic::Index, 10, NOW, "circular link chain found in block {block} of index \"{index}\""),
    row(Topic::Index, 10, NOW, "left link/right link pair in index \"{index}\" not in agreement"),
    row(Topic::Index, 10, NOW, "invalid meta page found at block {block} in index \"{index}\""),
    row(Topic::Index, 10, NOW, "index \"{index}\" meta page is corrupt"),
    row(Topic::Index, 11, NOW, "index tuple size does not equal lp_len in index \"{index}\""),
    row(Topic::Index, 12, NOW, "line pointer points past end of tuple space in index \"{index}\""),
    row(Topic::WalEnd, 10, 15, "invalid record length at {lsn}: wanted {count}, got 0"),
    row(Topic::WalEnd, 16, NOW, "invalid record length at {lsn}: expected at least {count}, got 0"),
    row(Topic::WalDamaged, 10, NOW, "invalid record length at {lsn}: {why}"),
    row(Topic::WalDamaged, 10, NOW, "record with incorrect prev-link {lsn2} at {lsn}"),
    row(Topic::WalDamaged, 10, NOW, "incorrect resource manager data checksum in record at {lsn}"),
    row(Topic::WalDamaged, 10, NOW, "invalid resource manager ID {count} at {lsn}"),
    row(Topic::WalDamaged, 16, NOW, "unexpected pageaddr {lsn2} in WAL segment {segment}, LSN {lsn}, offset {offset}"),
    row(Topic::WalDamaged, 10, 15, "unexpected pageaddr {lsn2} in log segment {segment}, offset {offset}"),
    row(Topic::WalDamaged, 16, NOW, "invalid magic number {hex} in WAL segment {segment}, LSN {lsn}, offset {offset}"),
    row(Topic::WalDamaged, 10, 15, "invalid magic number {hex} in log segment {segment}, offset {offset}"),
    row(Topic::WalDamaged, 16, NOW, "invalid info bits {hex} in WAL segment {segment}, LSN {lsn}, offset {offset}"),
    row(Topic::WalDamaged, 10, 15, "invalid info bits {hex} in log segment {segment}, offset {offset}"),
    row(Topic::WalDamaged, 16, NOW, "out-of-sequence timeline ID {count} (after {count2}) in WAL segment {segment}, LSN {lsn}, offset {offset}"),
    row(Topic::WalDamaged, 10, 15, "out-of-sequence timeline ID {count} (after {count2}) in log segment {segment}, offset {offset}"),
    row(Topic::WalDamaged, 16, NOW, "could not read from WAL segment {segment}, LSN {lsn}, offset {offset}: {why}"),
    row(Topic::WalDamaged, 16, NOW, "could not read from WAL segment {segment}, offset {offset}: {why}"),
    row(Topic::WalDamaged, 10, 15, "could not read from log segment {segment}, offset {offset}: {why}"),
    row(Topic::WalDamaged, 10, 13, "invalid contrecord length {count} at {lsn}"),
    row(Topic::WalDamaged, 14, NOW, "invalid contrecord length {count} (expected {count2}) at {lsn}"),
    row(Topic::WalDamaged, 10, NOW, "there is no contrecord flag at {lsn}"),
    row(Topic::WalDamaged, 10, NOW, "contrecord is requested by {lsn}"),
    row(Topic::WalDamaged, 10, NOW, "record with invalid length at {lsn}"),
    row(Topic::WalDamaged, 10, NOW, "invalid record offset at {lsn}"),
    row(Topic::WalDamaged, 10, 11, "record length {count} at {lsn} too long"),
    row(Topic::WalDamaged, 11, NOW, "could not find a valid record after {lsn}"),
    row(Topic::WalDamaged, 11, NOW, "error in WAL record at {lsn}"),
    row(Topic::WalRemoved, 10, NOW, "requested WAL segment {segment} has already been removed"),
    row(Topic::Checkpoint, 17, NOW, "could not locate a valid checkpoint record at {lsn}"),
    row(Topic::Checkpoint, 10, 16, "could not locate a valid checkpoint record"),
    row(Topic::Checkpoint, 17, NOW, "could not locate required checkpoint record at {lsn}"),
    row(Topic::Checkpoint, 10, 16, "could not locate required checkpoint record"),
    row(Topic::Checkpoint, 14, NOW, "could not find redo location {lsn} referenced by checkpoint record at {lsn2}"),
    row(Topic::Checkpoint, 10, 16, "could not find redo location referenced by checkpoint record"),
    row(Topic::Checkpoint, 10, 10, "using previous checkpoint record at {lsn}"),
    row(Topic::Checkpoint, 10, NOW, "invalid redo in checkpoint record"),
    row(Topic::Checkpoint, 10, 15, "invalid primary checkpoint record"),
    row(Topic::Checkpoint, 10, NOW, "invalid checkpoint record"),
    row(Topic::Flush, 10, NOW, "xlog flush request {lsn} is not satisfied --- flushed only to {lsn2}"),
    row(Topic::Flush, 10, NOW, "request to flush past end of generated WAL; request {lsn}"),
    row(Topic::WalDamaged, 10, NOW, "WAL file is from different database system: {why}"),
    row(Topic::WalDamaged, 10, NOW, "could not find previous WAL record at {lsn}"),
    row(Topic::MissingPages, 10, NOW, "WAL contains references to invalid pages"),
    row(Topic::MissingPages, 10, NOW, "page {block} of relation {relation} does not exist"),
    row(Topic::MissingPages, 10, NOW, "page {block} of relation {relation} is uninitialized"),
    row(Topic::MissingPages, 10, NOW, "page {block} of relation {relation} has been dropped"),
    row(Topic::Manifest, 13, NOW, "checksum mismatch for file \"{file}\""),
    row(Topic::Manifest, 13, NOW, "\"{file}\" is present in the manifest but not on disk"),
    row(Topic::Manifest, 13, NOW, "\"{file}\" has size {size} on disk but size {count} in the manifest"),
    row(Topic::Control, 10, NOW, "could not find the database system"),
    row(Topic::Control, 10, NOW, "incorrect checksum in control file"),
    row(Topic::Control, 10, NOW, "database files are incompatible with server"),
    row(Topic::Control, 13, NOW, "control file contains invalid checkpoint location"),
    row(Topic::Control, 13, NOW, "control file contains invalid database cluster state"),
    row(Topic::Control, 10, 12, "control file contains invalid data"),
    row(Topic::Control, 10, NOW, "could not read file \"global/pg_control\": {why}"),
    row(Topic::Control, 10, 11, "could not read from control file: {why}"),
    row(Topic::Control, 10, NOW, "could not open file \"global/pg_control\": {why}"),
    row(Topic::Control, 10, NOW, "could not open control file \"global/pg_control\": {why}"),
    row(Topic::Consistency, 10, NOW, "WAL ends before end of online backup"),
    row(Topic::Consistency, 10, NOW, "WAL ends before consistent recovery point"),
    row(Topic::Consistency, 10, NOW, "online backup was canceled, recovery cannot continue"),
    row(Topic::Consistency, 14, NOW, "WAL was generated with wal_level=minimal, cannot continue recovering"),
    row(Topic::Consistency, 17, NOW, "WAL was generated with \"wal_level=minimal\", cannot continue recovering"),
    row(Topic::Consistency, 10, 13, "WAL was generated with wal_level=minimal, data may be missing"),
    row(Topic::Consistency, 10, 13, "hot standby is not possible because {why}"),
    row(Topic::Consistency, 14, NOW, "recovery aborted because of insufficient parameter settings"),
    row(Topic::Target, 13, NOW, "recovery ended before configured recovery target was reached"),
    row(Topic::Target, 10, NOW, "requested recovery stop point is before consistent recovery point"),
    row(Topic::WrongSize, 10, NOW, "archive file \"{archive}\" has wrong size: {size} instead of {count}"),
    row(Topic::Timeline, 10, NOW, "requested timeline {count} is not a child of this server's history"),
    row(Topic::Timeline, 13, NOW, "requested timeline {count} is not in this server's history"),
    row(Topic::Timeline, 10, NOW, "requested timeline {count} does not contain minimum recovery point {why}"),
    row(Topic::Timeline, 10, NOW, "recovery target timeline {count} does not exist"),
    row(Topic::Timeline, 10, NOW, "highest timeline {count} of the primary is behind recovery timeline {count2}"),
    row(Topic::Timeline, 10, NOW, "syntax error in history file: {why}"),
    row(Topic::Timeline, 10, NOW, "invalid data in history file"),
    row(Topic::Timeline, 10, NOW, "unexpected timeline ID {count}"),
    row(Topic::Timeline, 10, NOW, "unexpected previous timeline ID {count}"),
    row(Topic::Catalog, 10, NOW, "relation mapping file \"{archive}\" contains {why}"),
    row(Topic::Catalog, 10, 11, "could not open relation mapping file \"{archive}\": {why}"),
    row(Topic::Catalog, 14, NOW, "pg_attribute catalog is missing {count} attribute(s) for relation OID {count2}"),
    row(Topic::Catalog, 10, 13, "catalog is missing {count} attribute(s) for relid {count2}"),
    row(Topic::Catalog, 10, NOW, "\"{archive}\" is not a valid data directory"),
    row(Topic::Directory, 10, NOW, "could not open directory \"{archive}\": {why}"),
    row(Topic::Directory, 10, NOW, "required WAL directory \"{archive}\" does not exist"),
    row(Topic::Directory, 10, NOW, "data directory \"{archive}\" does not exist"),
    row(Topic::Directory, 10, NOW, "data directory \"{archive}\" has {why}"),
    row(Topic::Setting, 10, NOW, "configuration file \"{archive}\" contains errors"),
    row(Topic::Setting, 10, NOW, "could not load {archive} because of configuration errors"),
    row(Topic::Setting, 12, 16, "must specify restore_command when standby mode is not enabled"),
    row(Topic::Setting, 17, NOW, "must specify \"restore_command\" when standby mode is not enabled"),
    row(Topic::Setting, 10, 11, "recovery command file \"{archive}\" must specify restore_command when standby mode is not enabled"),
    row(Topic::Setting, 12, NOW, "multiple recovery targets specified"),
    row(Topic::Setting, 12, NOW, "using recovery command file \"{archive}\" is not supported"),
    row(Topic::Setting, 10, NOW, "invalid data in file \"{archive}\""),
    row(Topic::Setting, 10, NOW, "backup_label contains data inconsistent with control file"),
    row(Topic::Setting, 17, NOW, "this is an incremental backup, not a data directory"),
    row(Topic::StateFile, 10, NOW, "replication slot file \"{archive}\" has {why}"),
    row(Topic::StateFile, 10, NOW, "checksum mismatch for replication slot file \"{archive}\": {why}"),
    row(Topic::StateFile, 10, NOW, "logical replication slot \"{archive}\" exists, but {why}"),
    row(Topic::StateFile, 12, NOW, "calculated CRC checksum does not match value stored in file \"{archive}\""),
    row(Topic::StateFile, 10, 10, "removing corrupt two-phase state file for transaction {xid}"),
    row(Topic::StateFile, 12, NOW, "corrupted two-phase state {why}"),
    row(Topic::OtherServer, 10, NOW, "lock file \"{archive}\" already exists"),
    row(Topic::OtherServer, 10, NOW, "pre-existing shared memory block (key {count}, ID {count2}) is still in use"),
];

/// Messages of many meanings: the file's path decides which it is.
#[rustfmt::skip]
pub(super) const FILES: &[&str] = &[
    "could not open file \"{file}\": {why}",
    "could not read from file \"{file}\" at offset {offset}: {why}",
    "could not seek in file \"{file}\" to offset {offset}: {why}",
    "could not access file \"{file}\": {why}",
    "could not stat file \"{file}\": {why}",
];

/// What a DETAIL adds. Up to 18 it names the file, from 19 on the transaction.
#[rustfmt::skip]
pub(super) const DETAILS: &[&str] = &[
    "Could not open file \"{file}\": {why}",
    "Could not open file \"{file}\"",
    "Could not read from file \"{file}\" at offset {offset}: {why}",
    "Could not seek in file \"{file}\" to offset {offset}: {why}",
    "Could not access commit status of transaction {xid}",
    "Could not access subtransaction status of transaction {xid}",
    "Could not access commit timestamp of transaction {xid}",
    "Could not access offset of multixact {multi}",
    "Could not access member of multixact {multi} at offset {member}",
    "Could not access multixact member at offset {member}",
    "Block {block} held the first invalid page",
];
