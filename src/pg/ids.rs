//! Identifiers that are plain numbers in PostgreSQL, with the notation its tools print them in.

use std::fmt;

/// Number of an 8 kB block within a fork of a relation, counted over all of its segment files.
pub type BlockNumber = u32;

/// Object identifier.
pub type Oid = u32;

/// OIDs below this one were given out by initdb; catalogs keep such a file name until rewritten.
/// Source: `FirstNormalObjectId`, access/transam.h.
pub const FIRST_NORMAL_OBJECT_ID: Oid = 16384;

/// First transaction id that an ordinary transaction can have (0, 1, 2 are special).
/// Source: `FirstNormalTransactionId`, access/transam.h.
pub const FIRST_NORMAL_TRANSACTION_ID: u32 = 3;

/// Number of a timeline: decimal in logs and pg_controldata, eight hex digits in file names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimelineId(pub u32);

impl fmt::Display for TimelineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl TimelineId {
    /// Name of the history file that describes how this timeline came to be.
    /// Source: `TLHistoryFileName`, access/xlog_internal.h.
    pub fn history_file_name(self) -> String {
        format!("{:08X}.history", self.0)
    }
}

/// `system_identifier`: made once by initdb and shared by every copy of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SystemId(pub u64);

impl fmt::Display for SystemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl SystemId {
    /// The moment at which initdb made the identifier, in seconds since 1970: its high half.
    pub fn initdb_time(self) -> i64 {
        i64::from((self.0 >> 32) as u32)
    }
}

/// `ItemPointerData`: a tuple's place, its block and its item number from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemPointer {
    /// Block of the relation.
    pub block: BlockNumber,
    /// `ip_posid`.
    pub offset: u16,
}

impl fmt::Display for ItemPointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({},{})", self.block, self.offset)
    }
}
