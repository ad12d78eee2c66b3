//! What is damaged in the data directory: the checks that read names and small files, and with `--pages` every page.

use std::path::PathBuf;

use super::{Arguments, Found};
use crate::check::block::Source;
use crate::check::cluster::check_data;
use crate::check::missing_files::check_missing_files;
use crate::cli::{Failure, explain_block, scan_pages};
use crate::finding::{Coverage, Findings, Severity};
use crate::format::control::{ControlFile, DbState};
use crate::plan::damage::{Damage, DamagedFork, Namer, What};
use crate::plan::ways::Ground;

/// Findings of each kind that a plan can have things to repair of.
const MOST_FINDINGS: usize = 2_000;
/// Blocks for which the WAL is searched: each is a walk through all of it.
const MOST_BLOCKS: usize = 32;

impl Arguments {
    /// Looks for damage, and from where each damaged block is to be had. False: nothing was looked at.
    pub(super) fn look_at_data(&self, found: &mut Found) -> Result<bool, Failure> {
        let Some(examination) = &found.ground.examination else { return Ok(false) };
        let cluster = examination.cluster();
        let root = cluster.directory.root();
        let skipped = match examination.control() {
            _ if cluster.facts.is_live() => Some("a server runs on it"),
            None => Some("without pg_control nobody knows what belongs to its data"),
            Some(_) => None,
        };
        if let Some(why) = skipped {
            if self.pages {
                found.coverage.fail(root, format!("the data were not examined: {why}"));
            }
            return Ok(false);
        }
        let is_backup = cluster.facts.backup_label;
        let keep = if self.common.all { usize::MAX } else { MOST_FINDINGS };
        let mut findings = Findings::keeping(keep);
        let mut coverage = Coverage::default();
        check_data(examination, &mut findings, &mut coverage);
        let control = examination.control();
        if !is_backup {
            check_missing_files(&examination.slru, &examination.metadata, &mut findings, &mut coverage);
        }
        if self.pages && is_backup {
            coverage.skip(
                root,
                "pages: backup_label is there, and recovery writes again what a backup copied in pieces",
            );
        } else if self.pages {
            let (report, _) = scan_pages::Arguments::for_plan(root, keep, self.common).examine()?;
            findings.append(report.findings);
            coverage.append(report.coverage);
        }
        let recovers = control.and_then(ControlFile::db_state) != Some(DbState::ShutDown);
        let namer = Namer::new(&examination.slru, &examination.metadata.rules);
        let mut damage = Damage::gather(&findings, root, recovers, Some(&namer));
        ask_for_blocks(&found.ground, &mut damage, &mut coverage)?;
        for thing in &damage.things {
            if let What::Fork(fork) = &thing.what
                && fork.owner.is_none()
            {
                let why =
                    "whose file it is cannot be read from the catalogs: repair these first, then plan again";
                coverage.fail(&root.join(fork.file()), why);
            }
        }
        // Recovery writes these again.
        damage.things.retain(|thing| !matches!(&thing.what, What::Fork(fork) if is_replayed(fork)));
        for kind in findings.kinds().filter(|kind| kind.severity > Severity::Note) {
            if kind.count > kind.kept.len() as u64 {
                let why = format!(
                    "of {} findings {} the first {keep} are planned for; --all takes all of them",
                    kind.count, kind.code.id
                );
                coverage.fail(root, why);
            }
        }
        found.findings.append(findings);
        found.coverage.append(coverage);
        found.ground.damage = damage;
        Ok(true)
    }
}

/// What is lost with each bad block, and who has it.
fn ask_for_blocks(ground: &Ground, damage: &mut Damage, coverage: &mut Coverage) -> Result<(), Failure> {
    let backups: Vec<PathBuf> = ground.plain_backups().cloned().collect();
    let mut left = MOST_BLOCKS;
    for thing in &mut damage.things {
        let What::Fork(fork) = &mut thing.what else { continue };
        let is_derived = fork.owner.as_ref().is_some_and(|owner| owner.kind == b'i' && !owner.is_catalog());
        if is_derived || fork.path.base.ends_with("_fsm") || fork.path.base.ends_with("_vm") {
            continue;
        }
        let file = PathBuf::from(format!("{}{}", fork.path.prefix, fork.path.fork_path()));
        for block in &fork.blocks {
            let Some(rest) = left.checked_sub(1) else {
                let why = format!("the WAL is searched for {MOST_BLOCKS} bad blocks, and there are more");
                coverage.fail(&file, why);
                return Ok(());
            };
            left = rest;
            let answer = explain_block::answer(&file, *block, &ground.archives, &backups, coverage)?;
            fork.answers.insert(*block, answer);
        }
    }
    Ok(())
}

/// All that is bad about it are blocks that the next start writes again.
fn is_replayed(fork: &DamagedFork) -> bool {
    let by_recovery = |block| fork.answers.get(block).is_some_and(|answer| answer.source == Source::Recovery);
    !fork.contradicts && !fork.is_missing && !fork.blocks.is_empty() && fork.blocks.iter().all(by_recovery)
}
