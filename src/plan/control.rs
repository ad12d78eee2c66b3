//! pg_control is lost or damaged and the WAL is whole: a new one is made of what the WAL proves, and the server replays
//! the WAL as after any crash. Nothing is lost.

use std::path::{Path, PathBuf};

use super::Step;
use super::loss::KnownWal;
use super::restore::{beside, read_everything, safe_steps};
use super::shell::path as quoted_path;
use super::ways::{Ground, Kind, Way};
use crate::check::control::{Evidence, Proof, rebuild};

/// What recovery will do with the new file.
#[derive(Clone, Debug)]
struct Replay {
    /// The line that the server will log about it.
    log: String,
    /// Where the WAL ends.
    end: String,
    /// Segments that are in archives only, and that a crash recovery does not ask for.
    bring: Vec<PathBuf>,
}

/// Where pg_control cannot be used and the WAL says all that it said.
pub fn ways(ground: &Ground, known: &KnownWal) -> Vec<Way> {
    way(ground, known).into_iter().collect()
}

fn way(ground: &Ground, known: &KnownWal) -> Option<Way> {
    let cluster = ground.cluster.as_ref()?;
    let archives = &ground.archives;
    if cluster.trusted().is_some() {
        return None;
    }
    let control = cluster.control.as_ref().ok();
    let evidence =
        Evidence::gather(Some((&cluster.directory, &cluster.facts)), archives, control, ground.threads);
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
    let title = format!("make a new pg_control for {} from its WAL, and start it", root.display());
    Some(Way {
        loss,
        works: true,
        disk: rebuilt.bytes.len() as u64,
        risk: "the cold copy is what you return to if it fails",
        ..Way::new(Kind::RebuildControl, title, steps(root, archives, &replay, ground))
    })
}

/// The steps.
fn steps(root: &Path, archives: &[PathBuf], replay: &Replay, ground: &Ground) -> Vec<Step> {
    let shown = quoted_path(root);
    let written = quoted_path(&beside(root, ".pg_control"));
    let archives: String = archives.iter().map(|path| format!(" --archive {}", quoted_path(path))).collect();
    let own = quoted_path(&root.join("global/pg_control"));
    let version = quoted_path(&root.join("PG_VERSION"));
    let mut steps = safe_steps(ground);
    if !replay.bring.is_empty() {
        let lines: Vec<_> =
            replay.bring.iter().map(|path| format!("cp -n {} {shown}/pg_wal/", quoted_path(path))).collect();
        steps.push(Step::new(
            "Put back the WAL that recovery needs and that is not in pg_wal",
            lines.join("\n"),
            "pg_wal has these files more; none is replaced",
            "exit status 0",
            "a file is already there: then it is another one than expected",
        ));
    }
    steps.push(Step::new(
        "Write a pg_control of what the WAL proves",
        format!("pgforensic controldata {shown}{archives} --write-to {written} || true"),
        "a new file outside of the data directory",
        format!(
            "a pg_control that starts recovery there was written to {}",
            beside(root, ".pg_control").display()
        ),
        "no pg_control was written",
    ));
    steps.push(Step::new(
        "Put it in its place",
        format!("cp {written} {own}\nchown --reference={version} {own} && chmod 600 {own}"),
        "the data directory has a pg_control; the damaged one, if there was one, is in the cold copy",
        "exit status 0",
        "there is no cold copy",
    ));
    steps.push(Step::new(
        "Start the server and read its log",
        format!("pg_ctl -D {shown} -l {} -w start", quoted_path(&beside(root, ".log"))),
        "the files of this directory: recovery replays the WAL",
        format!("{}\ndatabase system is ready to accept connections", replay.log),
        "FATAL or PANIC in the log: stop, and return to the cold copy",
    ));
    steps.push(read_everything());
    steps.push(Step::new(
        "Make a new base backup, then let the applications in",
        "",
        "the next accident has a backup to begin with",
        format!("a backup of this state, which has the WAL up to {}", replay.end),
        "archive_command fails: two servers may be writing into one archive",
    ));
    steps
}
