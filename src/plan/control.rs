//! pg_control is lost or damaged and the WAL is whole: a new one is made of what the WAL proves, and the server replays
//! the WAL as after any crash. What comes of it is played with the bytes of that file.

use std::path::{Path, PathBuf};

use super::Step;
use super::loss::{KnownWal, Loss};
use super::restore::{beside, prepare_steps, safe_steps, start_and_check};
use super::shell::path as quoted_path;
use super::ways::{Ground, Kind, Way, missing_empty_directories, works};
use crate::check::control::{Evidence, Proof, rebuild};
use crate::scan::recovery::{Prediction, Start};

/// Where pg_control cannot be used and the WAL says all that it said.
pub fn ways(ground: &Ground, known: &KnownWal) -> Vec<Way> {
    way(ground, known).into_iter().collect()
}

fn way(ground: &Ground, known: &KnownWal) -> Option<Way> {
    let (cluster, lies) = ground.cluster().zip(ground.start.as_ref())?;
    if cluster.trusted().is_some() {
        return None;
    }
    let control = cluster.control.as_ref().ok();
    let archives = &ground.archives;
    let evidence =
        Evidence::gather(Some((&cluster.directory, &cluster.facts)), archives, control, ground.threads);
    let judgement = evidence.judge();
    let major = evidence.major()?;
    let proof = Proof::of(&evidence, &judgement, major, evidence.abi())?;
    let rebuilt = rebuild(&evidence, &judgement, &proof, [0; 32]).ok()?;
    let root = cluster.directory.root();
    let disk = rebuilt.bytes.len() as u64;
    let start = Start {
        pg_wal: lies.pg_wal.iter().cloned().chain(ground.brings()).collect(),
        made: missing_empty_directories(root, major),
        control: Some(rebuilt.bytes),
        ..lies.clone()
    };
    let prediction = ground.predict(&start);
    let mut loss = prediction.end_of_recovery.map_or_else(Loss::default, |end| known.behind(end));
    let normal = evidence.wal.main().and_then(|chain| chain.normal);
    loss.open_end = loss.open_end.or(normal.filter(|end| end.is_end_of_files()).map(|end| end.to_string()));
    let title = format!("make a new pg_control for {} from its WAL, and start it", root.display());
    Some(Way {
        loss,
        works: works(&prediction, &start),
        disk,
        risk: "the cold copy is what you return to if it fails",
        steps: steps(root, archives, &start, &prediction, ground),
        prediction: Some(prediction),
        ..Way::new(Kind::RebuildControl, title, Vec::new())
    })
}

/// The steps.
fn steps(
    root: &Path,
    archives: &[PathBuf],
    start: &Start,
    prediction: &Prediction,
    ground: &Ground,
) -> Vec<Step> {
    let shown = quoted_path(root);
    let written = quoted_path(&beside(root, ".pg_control"));
    let archives: String = archives.iter().map(|path| format!(" --archive {}", quoted_path(path))).collect();
    let own = quoted_path(&root.join("global/pg_control"));
    let version = quoted_path(&root.join("PG_VERSION"));
    let mut steps = safe_steps(ground);
    steps.extend(prepare_steps(root, start, prediction));
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
    steps.extend(start_and_check(root, prediction));
    steps
}
