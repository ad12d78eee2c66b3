//! pg_wal by its names: whose is it, what does not belong there, what was to be archived and is gone?

use super::access::named;
use super::{Examination, unreadable};
use crate::check::wal_room::no_room;
use crate::finding::{Coverage, Finding, Findings, Place, dir};
use crate::scan::wal_room::WalRoom;

pub(super) fn check(examination: &Examination, findings: &mut Findings, coverage: &mut Coverage) -> String {
    let wal = &examination.metadata.wal;
    unreadable(&wal.unreadable, coverage);
    if let (Some(inside), Some(Ok(place))) = (&wal.inside, &wal.place) {
        let headline = "pg_wal leads into another data directory";
        let at = Place::path(examination.cluster().directory.join("pg_wal"));
        findings.push(
            Finding::new(dir::PG_WAL_ELSEWHERE, at, headline)
                .measured("leads to", place.display())
                .measured("data directory", inside.display()),
        );
    }
    if let Some(first) = wal.foreign.first.first() {
        let headline = format!("{} files in pg_wal have no name of PostgreSQL's", wal.foreign.count);
        findings.push(named(Finding::new(dir::FOREIGN_IN_WAL, Place::path(first), headline), &wal.foreign));
    }
    if let Some(first) = wal.ready_without_file.first.first()
        && !examination.is_live()
    {
        let headline =
            format!("{} files wait to be archived and are not in pg_wal", wal.ready_without_file.count);
        let finding = Finding::new(dir::READY_WITHOUT_FILE, Place::path(first), headline);
        findings.push(named(finding, &wal.ready_without_file));
    }
    let room = WalRoom::scan(examination.cluster(), &examination.metadata.settings, &[]);
    room.iter().filter(|room| room.is_full()).for_each(|room| findings.push(no_room(room)));
    format!("{} segments by name", wal.segments.len())
}
