//! The table of codes, one file per area.
//!
//! A code is never renumbered and never given another meaning; a retired one leaves a hole. Adding one:
//! a row here and a case in `testdata/cases/` that raises it (a test fails without the case).

use super::Code;

/// Declares the codes of one area, in the order of their numbers, and the list of them.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $severity:ident, $title:literal,
        means $meaning:literal, next $advice:literal;)*) => {
        $(
            #[doc = $title]
            pub static $name: &crate::finding::Code = &crate::finding::Code {
                id: $id,
                severity: crate::finding::Severity::$severity,
                title: $title,
                meaning: $meaning,
                advice: $advice,
            };
        )*
        pub(super) static ALL: &[&crate::finding::Code] = &[$($name),*];
    };
}

pub mod arc;
pub mod bak;
pub mod blk;
pub mod btr;
pub mod cfg;
pub mod ctl;
pub mod dir;
pub mod fsm;
pub mod hea;
pub mod idx;
pub mod log;
pub mod map;
pub mod pag;
pub mod rec;
pub mod rsl;
pub mod rst;
pub mod slr;
pub mod tli;
pub mod toa;
pub mod two;
pub mod wal;

/// A group of codes about one thing.
#[derive(Debug)]
pub struct Area {
    /// First part of the codes' identifiers.
    pub name: &'static str,
    /// What it is about.
    pub title: &'static str,
    /// Its codes by number.
    pub codes: &'static [&'static Code],
}

/// Every area, by name.
pub static AREAS: &[Area] = &[
    Area { name: "ARC", title: "WAL segments and archives", codes: arc::ALL },
    Area { name: "BAK", title: "base backups", codes: bak::ALL },
    Area { name: "BLK", title: "one block", codes: blk::ALL },
    Area { name: "BTR", title: "B-tree indexes", codes: btr::ALL },
    Area { name: "CFG", title: "settings", codes: cfg::ALL },
    Area { name: "CTL", title: "pg_control", codes: ctl::ALL },
    Area { name: "DIR", title: "the data directory", codes: dir::ALL },
    Area { name: "FSM", title: "maps beside a relation", codes: fsm::ALL },
    Area { name: "HEA", title: "the inside of tables", codes: hea::ALL },
    Area { name: "IDX", title: "the inside of other indexes", codes: idx::ALL },
    Area { name: "LOG", title: "what the server's log reports", codes: log::ALL },
    Area { name: "MAP", title: "relation maps", codes: map::ALL },
    Area { name: "PAG", title: "data pages", codes: pag::ALL },
    Area { name: "REC", title: "what a start comes to", codes: rec::ALL },
    Area { name: "RSL", title: "replication slots", codes: rsl::ALL },
    Area { name: "RST", title: "what backups can be restored to", codes: rst::ALL },
    Area { name: "SLR", title: "commit status and multixacts (SLRUs)", codes: slr::ALL },
    Area { name: "TLI", title: "timelines", codes: tli::ALL },
    Area { name: "TOA", title: "TOAST tables", codes: toa::ALL },
    Area { name: "TWO", title: "prepared transactions", codes: two::ALL },
    Area { name: "WAL", title: "records of the WAL", codes: wal::ALL },
];

/// The code with this identifier, in any case of letters.
pub fn find_code(id: &str) -> Option<&'static Code> {
    AREAS.iter().flat_map(|area| area.codes).copied().find(|code| code.id.eq_ignore_ascii_case(id))
}
