//! Timeline histories: those in pg_wal and in the archives that recovery asks. Do their lines make sense, and do they
//! tell the same past?

use super::{Examination, Foretold, counted, unreadable};
use crate::check::timelines::check_histories;
use crate::finding::{Coverage, Findings};
use crate::scan::wal_picture::read_histories;
use crate::source::archive::Archive;

pub(super) fn check(examination: &Examination, findings: &mut Findings, coverage: &mut Coverage) -> String {
    let own;
    let archive = match &examination.foretold {
        Foretold::Known(foresight) => {
            unreadable(&foresight.unlisted, coverage);
            &foresight.listed
        }
        Foretold::Unknown { .. } => {
            own = own_names(examination, coverage);
            &own
        }
    };
    let mut failed = Vec::new();
    let histories = read_histories(archive, &mut failed);
    for (path, why) in failed {
        coverage.fail(&path, why);
    }
    check_histories(&histories, findings);
    coverage.files += histories.len() as u64;
    counted(histories.len() as u64, "history file", "history files")
}

/// Of a start that is not known only pg_wal counts.
fn own_names(examination: &Examination, coverage: &mut Coverage) -> Archive {
    let mut archive = Archive::default();
    // The check of the directories tells what a missing pg_wal means.
    let root = examination.cluster().directory.root();
    if root.join("pg_wal").is_dir()
        && let Err(error) = archive.add_pg_wal(root)
    {
        unreadable(&[error], coverage);
    }
    archive
}
