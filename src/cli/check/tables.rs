//! What was found, as facts and tables.

use std::path::Path;

use crate::check::cluster::{Examination, Outcome, slot_wal};
use crate::finding::Severity;
use crate::pg::time::push_rfc3339_micros;
use crate::report::{Cell, Fact, Section};
use crate::scan::metadata::tablespaces::EntryKind;

/// Where and what it is: the wrong host has been worked on before.
pub(super) fn cluster(examination: &Examination) -> Section {
    let cluster = examination.cluster();
    let root = cluster.directory.root();
    let fact = |key, heading: &str, value: Cell| Fact { key, heading: heading.to_owned(), value };
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let path = std::fs::canonicalize(root).unwrap_or(root.to_owned());
    let mut facts = vec![
        fact("host", "Host:", host.into()),
        fact("path", "Data directory:", Cell::Path(path)),
        fact("major", "PostgreSQL:", cluster.major().map(|major| major.version().number).into()),
    ];
    let control = examination.control();
    facts.push(fact(
        "system_identifier",
        "System identifier:",
        control.map_or(Cell::None, |control| Cell::BigNumber(control.system_identifier.0)),
    ));
    facts.push(fact("timeline", "Timeline:", control.map(|control| control.reached_timeline().0).into()));
    let state = control.map(|control| control.db_state().map_or("unknown", |state| state.name()));
    facts.push(fact("state", "State:", state.into()));
    facts.push(fact("running", "A server runs:", Cell::Flag(cluster.facts.is_live())));
    facts.push(fact("recovers", "A start recovers:", Cell::Flag(examination.recovers())));
    Section::Facts { key: "cluster", heading: "Cluster", facts }
}

/// In the place of a prediction.
pub(super) fn not_foretold(why: &str) -> Section {
    let fact = |key, heading: &str, value: Cell| Fact { key, heading: heading.to_owned(), value };
    let facts = vec![fact("outcome", "Outcome:", Cell::None), fact("unknown", "Not known:", why.into())];
    Section::Facts { key: "prediction", heading: "What the server will do", facts }
}

/// What was examined.
pub(super) fn checks(outcomes: Vec<Outcome>) -> Section {
    let columns =
        vec![("check", "Check"), ("examined", "Examined"), ("findings", "Findings"), ("worst", "Worst")];
    let rows = outcomes
        .into_iter()
        .map(|outcome| {
            vec![
                outcome.name.into(),
                outcome.examined.into(),
                outcome.findings.into(),
                outcome.worst.map(Severity::name).into(),
            ]
        })
        .collect();
    Section::Table { key: "checks", heading: "What was examined", columns, rows }
}

pub(super) fn tablespaces(examination: &Examination) -> Option<Section> {
    let links = &examination.metadata.tablespaces;
    let columns = vec![
        ("tablespace", "Tablespace"),
        ("kind", "Kind"),
        ("target", "Leads to"),
        ("directories", "Directories"),
    ];
    let rows = links.iter().map(|link| {
        let (kind, target) = match &link.kind {
            EntryKind::Link(target) => ("link", Cell::Path(target.clone())),
            EntryKind::Directory => ("directory", Cell::None),
            EntryKind::Other => ("other", Cell::None),
        };
        let directories = match &link.version_directories {
            Ok(names) => names.join(", ").into(),
            Err(_) => Cell::None,
        };
        vec![name(&link.path).into(), kind.into(), target, directories]
    });
    let rows = rows.collect();
    (!links.is_empty()).then_some(Section::Table {
        key: "tablespaces",
        heading: "Tablespaces",
        columns,
        rows,
    })
}

pub(super) fn prepared(examination: &Examination) -> Option<Section> {
    let files = &examination.metadata.prepared.files;
    let columns = vec![
        ("file", "File"),
        ("xid", "Transaction"),
        ("gid", "Name"),
        ("database", "Database"),
        ("owner", "Owner"),
        ("prepared_at", "Prepared at"),
        ("locks", "Locks"),
        ("subtransactions", "Subtransactions"),
    ];
    let rows = files
        .iter()
        .map(|file| {
            let state = file.state.as_ref().ok();
            let time = state.map(|state| {
                let mut text = Vec::new();
                push_rfc3339_micros(&mut text, state.prepared_at);
                String::from_utf8_lossy(&text).into_owned()
            });
            vec![
                file.name.clone().into(),
                state.map(|state| state.xid).into(),
                state.map(|state| state.gid.clone()).into(),
                state.map(|state| state.database).into(),
                state.map(|state| state.owner).into(),
                time.into(),
                state.map(|state| state.locks).into(),
                state.map(|state| state.subtransactions).into(),
            ]
        })
        .collect();
    (!files.is_empty()).then_some(Section::Table {
        key: "prepared_transactions",
        heading: "Prepared transactions",
        columns,
        rows,
    })
}

pub(super) fn slots(examination: &Examination) -> Option<Section> {
    let slots = &examination.metadata.slots.slots;
    let major = examination.metadata.major;
    let fields = vec![
        ("slot", "Slot"),
        ("kind", "Kind"),
        ("database", "Database"),
        ("plugin", "Plugin"),
        ("persistency", "Persistency"),
        ("xmin", "xmin"),
        ("catalog_xmin", "catalog_xmin"),
        ("restart_lsn", "restart_lsn"),
        ("confirmed_flush", "confirmed_flush_lsn"),
        ("two_phase", "two_phase"),
        ("two_phase_at", "two_phase_at"),
        ("synced", "synced"),
        ("failover", "failover"),
        ("invalidated", "Invalidated"),
        ("first_segment", "First segment needed"),
        ("in_pg_wal", "It is in pg_wal"),
        ("wal_bytes", "WAL since then"),
        ("spill_files", "Spill files"),
        ("spill_bytes", "Their bytes"),
    ];
    let records = slots
        .iter()
        .map(|slot| {
            let data = slot.data();
            let lsn = |lsn: crate::pg::Lsn| if lsn.is_valid() { Cell::Lsn(lsn, major) } else { Cell::None };
            let xid = |xid: u32| (xid != 0).then_some(xid).into();
            let wal = data.and_then(|data| slot_wal(examination, data));
            let flag = |value: Option<bool>| value.map_or(Cell::None, Cell::Flag);
            let with =
                |cell: &dyn Fn(&crate::format::replslot::SlotData) -> Cell| data.map_or(Cell::None, cell);
            vec![
                slot.name.clone().into(),
                with(&|data| if data.is_logical() { "logical" } else { "physical" }.into()),
                with(&|data| xid(data.database)),
                with(&|data| (!data.plugin.is_empty()).then(|| data.plugin.clone()).into()),
                with(&|data| data.persistency_name().into()),
                with(&|data| xid(data.xmin)),
                with(&|data| xid(data.catalog_xmin)),
                with(&|data| lsn(data.restart_lsn)),
                with(&|data| lsn(data.confirmed_flush)),
                with(&|data| flag(data.two_phase)),
                with(&|data| data.two_phase_at.map_or(Cell::None, lsn)),
                with(&|data| flag(data.synced)),
                with(&|data| flag(data.failover)),
                with(&|data| data.cause(major).into()),
                wal.map(|wal| wal.segment.to_string()).into(),
                wal.map_or(Cell::None, |wal| Cell::Flag(wal.there)),
                wal.map_or(Cell::None, |wal| Cell::Bytes(wal.bytes)),
                slot.spill_files.into(),
                Cell::Bytes(slot.spill_bytes),
            ]
        })
        .collect();
    (!slots.is_empty()).then_some(Section::Records {
        key: "replication_slots",
        heading: "Replication slots",
        fields,
        records,
    })
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
