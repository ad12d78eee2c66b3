//! pgforensic: offline forensics and disaster recovery for PostgreSQL 10 to 19.
//!
//! Data flow one way, and so do the modules' dependencies:
//!
//! ```text
//! bytes ──► source ──► format ──► scan ──► check ──► report ──► text / JSON / one line
//!          (files)    (structs)  (streams) └► plan ──┘
//! ```
//!
//! | module | what is in it | uses |
//! |---|---|---|
//! | [`pg`] | PostgreSQL's words as types: versions, LSNs, names | std |
//! | [`finding`] | what is wrong, where, by which measurement; the table of codes | pg |
//! | [`format`](mod@format) | bytes to structs, no files, no judgement | pg |
//! | [`source`] | where bytes come from, read-only | pg |
//! | [`scan`] | streams over many files that survive damage | format, source, pg |
//! | [`check`] | facts to findings, one file per topic | scan, format, source, finding, pg |
//! | [`plan`] | facts to ordered steps, shown and never run | check, scan, format, source, finding, pg |
//! | [`report`] | text, JSON and monitoring output of the same report | finding, pg |
//! | [`cli`] | arguments in, exit status out; one file per command | everything |
//!
//! Where a new thing goes is listed in `docs/architecture.md`.

pub mod check;
pub mod cli;
pub mod finding;
pub mod format;
pub mod pg;
pub mod plan;
pub mod report;
pub mod scan;
pub mod source;
