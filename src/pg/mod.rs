//! PostgreSQL's words as types. No bytes, no files, no judgement.
//!
//! Everything here is arithmetic and notation that the server and its tools share: what an LSN
//! looks like, which WAL segment holds it, which numbers identify a major version.

pub mod digits;
pub mod directories;
pub mod identifier;
pub mod ids;
pub mod lsn;
pub mod mapped;
pub mod relation;
pub mod time;
pub mod version;
pub mod wal_file;

pub use ids::{BlockNumber, ItemPointer, Oid, SystemId, TimelineId};
pub use lsn::Lsn;
pub use version::Major;
pub use wal_file::{SegNo, WalFileName, WalSegSize};
