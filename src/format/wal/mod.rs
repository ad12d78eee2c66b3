//! The write-ahead log on disk: pages, and what is in them.

pub mod page_header;
