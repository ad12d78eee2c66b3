//! Facts to findings: one file per topic. Nothing here prints or decides what to do.
pub mod archive;
pub mod block;
pub mod cluster;
pub mod control;
pub mod directory;
pub mod log_place;
pub mod page_checksum;
pub mod page_damage;
pub mod recovery_target;
pub mod repository;
pub mod slru;
pub mod slru_cluster;
pub mod structure;
pub mod timelines;
pub mod wal_find;
pub mod wal_reach;
pub mod wal_records;
