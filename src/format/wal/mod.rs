//! The write-ahead log on disk: pages, and what is in them.

pub mod image;
pub mod page_header;
pub mod record;
pub mod rmgr;
pub mod waldump;
