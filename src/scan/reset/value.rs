//! One value that pg_resetwal takes, how sure it is, and what it rests on.

/// What is given to pg_resetwal. Names are pg_controldata's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// `NextXID`, without its epoch.
    NextXid,
    /// The epoch of `NextXID`.
    NextXidEpoch,
    /// `oldestXID`.
    OldestXid,
    /// `NextMultiXactId`.
    NextMulti,
    /// `oldestMultiXid`.
    OldestMulti,
    /// `NextMultiOffset`.
    NextMultiOffset,
    /// `NextOID`.
    NextOid,
    /// `oldestCommitTsXid`.
    OldestCommitTsXid,
    /// `newestCommitTsXid`.
    NewestCommitTsXid,
    /// Number of the first WAL segment.
    NextWalSegment,
    /// `Bytes per WAL segment`.
    WalSegSize,
    /// `Default char data signedness`: 1 signed, 0 unsigned.
    CharSignedness,
}

/// A row for each field: the option, pg_controldata's name, and how to find the value where nothing here proves it.
struct Row {
    field: Field,
    key: &'static str,
    option: &'static str,
    name: &'static str,
    how: &'static str,
}

const ROWS: &[Row] = &[
    Row {
        field: Field::NextXid,
        key: "next_xid",
        option: "-x",
        name: "NextXID",
        how: "--relations (newest xmin and xmax in the relation files), or the WAL",
    },
    Row {
        field: Field::NextXidEpoch,
        key: "next_xid_epoch",
        option: "-e",
        name: "NextXID epoch",
        how: "pg_controldata of a standby or backup; no row holds it",
    },
    Row {
        field: Field::OldestXid,
        key: "oldest_xid",
        option: "-u",
        name: "oldestXID",
        how: "pg_controldata of a standby or backup: an older value is safe, a newer one is not",
    },
    Row {
        field: Field::NextMulti,
        key: "next_multixact_id",
        option: "-m",
        name: "NextMultiXactId",
        how: "--relations (newest multixact in the relation files), or the WAL",
    },
    Row {
        field: Field::OldestMulti,
        key: "oldest_multixact_id",
        option: "-m",
        name: "oldestMultiXid",
        how: "pg_controldata of a standby or backup: an older value is safe, a newer one is not",
    },
    Row {
        field: Field::NextMultiOffset,
        key: "next_multi_offset",
        option: "-O",
        name: "NextMultiOffset",
        how: "the WAL, or pg_controldata of a standby of the same moment",
    },
    Row {
        field: Field::NextOid,
        key: "next_oid",
        option: "-o",
        name: "NextOID",
        how: "not critical: the server skips OIDs that are taken",
    },
    Row {
        field: Field::OldestCommitTsXid,
        key: "oldest_commit_ts_xid",
        option: "-c",
        name: "oldestCommitTsXid",
        how: "not critical: commit timestamps are not shown without it",
    },
    Row {
        field: Field::NewestCommitTsXid,
        key: "newest_commit_ts_xid",
        option: "-c",
        name: "newestCommitTsXid",
        how: "not critical: commit timestamps are not shown without it",
    },
    Row {
        field: Field::NextWalSegment,
        key: "next_wal_segment",
        option: "-l",
        name: "First log segment after reset",
        how: "--relations (newest page LSN in the relation files), or the names in the archive: it must be behind both",
    },
    Row {
        field: Field::WalSegSize,
        key: "wal_segment_size",
        option: "--wal-segsize",
        name: "Bytes per WAL segment",
        how: "not critical: the new WAL can have segments of any size",
    },
    Row {
        field: Field::CharSignedness,
        key: "char_signedness",
        option: "--char-signedness",
        name: "Default char data signedness",
        how: "initdb takes that of the machine: signed on x86-64, unsigned on ARM; pg_upgrade keeps the old cluster's",
    },
];

impl Field {
    fn row(self) -> Option<&'static Row> {
        ROWS.iter().find(|row| row.field == self)
    }

    /// For programs.
    pub fn key(self) -> &'static str {
        self.row().map_or("", |row| row.key)
    }

    /// pg_resetwal's option.
    pub fn option(self) -> &'static str {
        self.row().map_or("", |row| row.option)
    }

    /// As pg_controldata and pg_resetwal print it.
    pub fn name(self) -> &'static str {
        self.row().map_or("", |row| row.name)
    }

    /// How somebody can find out what nothing here says.
    pub fn how_to_find(self) -> &'static str {
        self.row().map_or("", |row| row.how)
    }

    /// Is it the start of what is used, where an earlier value is the safe one?
    pub fn is_oldest(self) -> bool {
        matches!(self, Field::OldestXid | Field::OldestMulti | Field::OldestCommitTsXid)
    }
}

/// How sure a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Certainty {
    /// Nothing says it: not given to pg_resetwal.
    Unknown,
    /// Only how far the counter had got at some time; it may have got further.
    Bound,
    /// By the names of the files, as pg_resetwal's manual page derives it.
    FileNames,
    /// Nothing in the relation files is beyond it.
    Safe,
    /// What recovery would have found, or a clean shutdown left.
    Exact,
}

impl Certainty {
    /// As printed.
    pub fn name(self, field: Field) -> &'static str {
        match self {
            Certainty::Unknown => "unknown",
            Certainty::Bound if field.is_oldest() => "at most",
            Certainty::Bound => "at least",
            Certainty::FileNames => "by file names",
            Certainty::Safe => "safe",
            Certainty::Exact => "exact",
        }
    }
}

/// Something that says how far a counter had got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// The counter was at this value, or beyond; of an oldest one, at this value or before it.
    pub value: u64,
    /// What says so.
    pub source: String,
}

/// A value for pg_resetwal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Which.
    pub field: Field,
    /// What to give.
    pub value: Option<u64>,
    /// How sure that is.
    pub certainty: Certainty,
    /// What it rests on: the one that decides first.
    pub witnesses: Vec<Witness>,
}

impl Value {
    /// Nothing is known.
    pub fn unknown(field: Field) -> Value {
        Value { field, value: None, certainty: Certainty::Unknown, witnesses: Vec::new() }
    }

    /// The furthest of all witnesses, in the order that `is_after` gives, with the one that decides in front.
    pub fn furthest(
        field: Field,
        mut witnesses: Vec<Witness>,
        certainty: Certainty,
        is_after: impl Fn(u64, u64) -> bool,
    ) -> Value {
        let mut best = 0;
        for (index, witness) in witnesses.iter().enumerate() {
            if witnesses.get(best).is_some_and(|known| is_after(witness.value, known.value)) {
                best = index;
            }
        }
        if best < witnesses.len() {
            let decides = witnesses.remove(best);
            witnesses.insert(0, decides);
        }
        let value = witnesses.first().map(|witness| witness.value);
        Value { field, value, certainty: value.map_or(Certainty::Unknown, |_| certainty), witnesses }
    }

    /// One witness that decides alone.
    pub fn by(field: Field, value: u64, certainty: Certainty, source: impl Into<String>) -> Value {
        let witness = Witness { value, source: source.into() };
        Value { field, value: Some(value), certainty, witnesses: vec![witness] }
    }
}
