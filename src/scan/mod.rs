//! Streams over many files that survive damage: a bad piece is an item, not the end.
pub mod cluster;
pub mod control;
pub mod control_files;
pub mod control_wal;
pub mod pages;
pub mod timeline;
pub mod wal_archive;
pub mod wal_at;
pub mod wal_chains;
pub mod wal_end;
pub mod wal_find;
mod wal_pages;
pub mod wal_picture;
pub mod wal_stats;
pub mod wal_units;
pub mod wal_walk;
