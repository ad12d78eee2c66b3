//! Timeline histories: those in pg_wal and in the archives that recovery asks. Do their lines make sense, and do they
//! tell the same past?

use super::{Examination, Foretold, counted, unreadable};
use crate::check::timelines::check_histories;
use crate::finding::{Coverage, Findings};
use crate::scan::wal_picture::read_histories;
use crate::source::archive::Archive;

pub(super) fn check(examination: &Examination, findings: &mut Findings, coverage: &mut Coverage) -> String {
    let mut archive = Archive::default();
    let mut errors = Vec::new();
    if let Foretold::Known(foresight) = &examination.foretold {
        for place in &foresight.start.archives {
            errors.extend(place.list(&mut archive).err());
        }
    }
    // The check of the directories tells what a missing pg_wal means.
    let root = examination.cluster().directory.root();
    if root.join("pg_wal").is_dir() {
        errors.extend(archive.add_pg_wal(root).err());
    }
    unreadable(&errors, coverage);
    let mut failed = Vec::new();
    let histories = read_histories(&archive, &mut failed);
    for (path, why) in failed {
        coverage.fail(&path, why);
    }
    check_histories(&histories, findings);
    coverage.files += histories.len() as u64;
    counted(histories.len() as u64, "history file", "history files")
}
