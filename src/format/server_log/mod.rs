//! The server's log: which of its lines report damage, and the place that they name.
//!
//! ```text
//! lines ──► line.rs ──► entries: severity, text, detail ──► message.rs ──► messages: topic, subject
//!           log_line_prefix of any kind, csvlog,            one table of patterns, in the
//!           jsonlog, syslog, colours                        server's own words
//! ```
//!
//! Only English messages are understood (`lc_messages = C` or `en_…`): a translated message has no fixed words
//! to look for. Lines of pg_checksums, pg_basebackup, pg_verifybackup, pg_amcheck and pg_waldump are too.

mod line;
mod message;
mod patterns;
mod template;

pub use line::{Entry, EntryReader};
pub use message::{Message, MessageReader, Subject};
pub use patterns::{PATTERNS, Pattern, Topic};
