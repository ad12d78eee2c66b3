//! Bytes to structs. No files, no judgement, no printing.
//!
//! A fixed structure fails to read in one way only, [`reader::Truncated`]; whether its content makes
//! sense is for `check` to say, so that a broken structure is still shown field by field.

pub mod backup_history;
pub mod backup_label;
pub mod backup_manifest;
pub mod catalog;
pub mod checkpoint;
pub mod checksum;
pub mod compress;
pub mod control;
pub mod control_write;
pub mod crc32c;
pub mod datum;
pub mod file_checksum;
pub mod incremental;
pub mod json_events;
pub mod page;
pub mod pg_type;
pub mod postmaster_pid;
pub mod reader;
pub mod relmap;
pub mod replslot;
pub mod restore_command;
pub mod server_log;
pub mod settings;
pub mod slru;
pub mod slru_page;
pub mod timeline_history;
pub mod tool_backup;
pub mod twophase;
pub mod wal;
pub mod wal_summary;
