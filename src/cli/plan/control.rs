//! The way out with a pg_control that is made of what the WAL proves.

use std::path::PathBuf;

use crate::check::control::{Evidence, Proof, rebuild};
use crate::plan::control::{Replay, steps};
use crate::plan::loss::KnownWal;
use crate::plan::ways::{Ground, Kind, Way};
use crate::scan::page_rules::Cluster;

/// Where pg_control cannot be used and the WAL says all that it said.
pub(super) fn way(
    cluster: &Cluster,
    archives: &[PathBuf],
    known: &KnownWal,
    ground: &Ground,
    threads: usize,
) -> Option<Way> {
    if cluster.trusted().is_some() {
        return None;
    }
    let control = cluster.control.as_ref().ok();
    let evidence = Evidence::gather(Some((&cluster.directory, &cluster.facts)), archives, control, threads);
    let judgement = evidence.judge();
    let major = evidence.major()?;
    let proof = Proof::of(&evidence, &judgement, major, evidence.abi())?;
    let rebuilt = rebuild(&evidence, &judgement, &proof, [0; 32]).ok()?;
    let (chain, newest) = evidence.wal.main().zip(evidence.newest())?;
    let pg_wal = cluster.directory.join("pg_wal");
    let first = chain.files.kind.size.segno(newest.body.redo);
    let elsewhere =
        chain.files.segments.range(first..).filter(|(_, source)| source.path.parent() != Some(&pg_wal));
    let mut bring = Vec::new();
    for (_, source) in elsewhere {
        // A packed one would have to be unpacked first, which is the archive tool's business.
        if source.path.file_name()?.to_str()? != source.name.to_string() {
            return None;
        }
        bring.push(source.path.clone());
    }
    let root = cluster.directory.root();
    // Behind a shutdown checkpoint redo begins with the next record, if there is one.
    let log = match (newest.shutdown, chain.found.newest == Some(newest.lsn)) {
        (true, true) => "redo is not required".to_owned(),
        (true, false) => format!("redo starts at {}", newest.end.text(major)),
        (false, _) => format!("redo starts at {}", newest.body.redo.text(major)),
    };
    let replay = Replay { log, end: chain.behind.text(major), bring };
    let mut loss = known.behind(chain.behind);
    loss.open_end =
        loss.open_end.or(chain.normal.filter(|end| end.is_end_of_files()).map(|end| end.to_string()));
    Some(Way {
        kind: Kind::RebuildControl,
        title: format!("make a new pg_control for {} from its WAL, and start it", root.display()),
        prediction: None,
        loss,
        works: true,
        disk: rebuilt.bytes.len() as u64,
        risk: "the cold copy is what you return to if it fails",
        reversible: true,
        settings: None,
        misses_target: false,
        steps: steps(root, archives, &replay, ground),
    })
}
