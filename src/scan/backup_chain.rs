//! Chains of incremental backups, judged without combining them: who builds on whom, and is everything there?
//!
//! ```text
//! full          incr1                      incr2                     oldest first
//! base/5/1259   base/5/INCREMENTAL.1259    base/5/INCREMENTAL.1259   every incremental file of the last one needs the
//!               base/5/2619                base/5/INCREMENTAL.2619   one before it, until one has the file whole
//! ```
//!
//! Source: bin/pg_combinebackup/pg_combinebackup.c, reconstruct.c.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::Path;

use crate::format::incremental::INCREMENTAL_PREFIX;
use crate::pg::{Lsn, SystemId, TimelineId};
use crate::scan::backup::{BackupFacts, Effort};
use crate::scan::backup_pages::{is_incremental, relation_of};
use crate::source::backup::{BackupSource, Form, FormHint, MemberKind, directory};

/// Directories beside a backup that are looked at for the one on which it builds.
const NEIGHBOURS: usize = 1000;

/// One backup of a chain.
#[derive(Debug)]
pub struct Link {
    /// What it says of itself.
    pub facts: BackupFacts,
    /// Its files of relations; `None`: only unpacking all of it would tell.
    pub names: Option<HashSet<Vec<u8>>>,
}

impl Link {
    /// Looks at names and small files.
    pub fn scan(source: BackupSource) -> Link {
        let facts = BackupFacts::scan(source, Effort::Quick);
        let names = names(&facts);
        Link { facts, names }
    }

    /// The label's start and timeline, if both can be read.
    pub fn start(&self) -> Option<(Lsn, TimelineId)> {
        let lines = &self.facts.label.as_ref()?.lines;
        Some((lines.start?, lines.start_timeline?))
    }
}

fn names(facts: &BackupFacts) -> Option<HashSet<Vec<u8>>> {
    let keep = |path: &[u8]| relation_of(path).is_some();
    match &facts.source.form {
        Form::Plain => {
            let members = directory::list(&facts.source.path).0.into_iter();
            let files = members.filter(|member| member.kind == MemberKind::File && keep(&member.path));
            Some(files.map(|member| member.path).collect())
        }
        Form::Tar { parts, .. } if parts.iter().all(|part| part.is_packed().is_ok_and(|packed| !packed)) => {
            let mut names = HashSet::new();
            let errors = facts.source.members(&mut |member, _| {
                if member.kind == MemberKind::File && keep(&member.path) {
                    names.insert(member.path.clone());
                }
                Ok(ControlFlow::Continue(()))
            });
            errors.is_empty().then_some(names)
        }
        Form::Tar { .. } => {
            let file = facts.manifest.as_ref().filter(|file| file.problem.is_none())?;
            let paths = file.manifest.files.iter().map(|file| file.path.to_vec());
            Some(paths.filter(|path| keep(path)).collect())
        }
    }
}

/// The backups on which this one builds, oldest first, as far as they lie beside it or each other.
pub fn find_parents(facts: &BackupFacts) -> Vec<Link> {
    let mut found: Vec<Link> = Vec::new();
    let mut wanted = facts.parent();
    let system_id = facts.system_id();
    let Some(above) =
        facts.source.path.canonicalize().ok().and_then(|path| path.parent().map(Path::to_owned))
    else {
        return found;
    };
    let Ok(entries) = std::fs::read_dir(&above) else { return found };
    let mut neighbours: Vec<_> = entries.flatten().map(|entry| entry.path()).take(NEIGHBOURS).collect();
    neighbours.retain(|path| BackupSource::looks_like_one(path));
    neighbours.sort();
    // As the user named the backup itself.
    let named = facts.source.path.parent().filter(|parent| parent.is_dir()).map(Path::to_owned);
    while let Some((lsn, timeline)) = wanted {
        let fits = |link: &Link| {
            let own = link.facts.system_id();
            link.facts.label.as_ref().and_then(|label| label.lines.start) == Some(lsn)
                && timeline.is_none_or(|timeline| link.facts.start_timeline() == Some(timeline))
                && same_cluster(own, system_id)
        };
        let link = neighbours.iter().find_map(|path| {
            let path = match (&named, path.file_name()) {
                (Some(named), Some(name)) => named.join(name),
                _ => path.clone(),
            };
            let source = BackupSource::open(&path, FormHint::Detect).ok()?;
            let link = Link { facts: BackupFacts::scan(source, Effort::Quick), names: None };
            fits(&link).then_some(link)
        });
        let Some(mut link) = link else { break };
        link.names = names(&link.facts);
        // Locations only become smaller: a backup that builds on itself or on a later one ends the chain.
        wanted = link.facts.parent().filter(|(before, _)| *before < lsn);
        found.push(link);
    }
    found.reverse();
    found
}

fn same_cluster(a: Option<SystemId>, b: Option<SystemId>) -> bool {
    a.is_none() || b.is_none() || a == b
}

/// Incremental files of the last backup for which an older one has neither the file nor a part of it: index of that
/// backup, and the file as it would be named there. In the order of names.
pub fn missing_parts(chain: &[&Link]) -> Vec<(usize, Vec<u8>)> {
    let Some((last, before)) = chain.split_last() else { return Vec::new() };
    let mut missing = Vec::new();
    for path in last.names.iter().flatten().filter(|path| is_incremental(path)) {
        let whole = without_prefix(path);
        for (index, link) in before.iter().enumerate().rev() {
            let Some(names) = &link.names else { break };
            if names.contains(&whole) {
                break;
            }
            if !names.contains(path) {
                missing.push((index, path.clone()));
                break;
            }
        }
    }
    missing.sort();
    missing
}

fn without_prefix(path: &[u8]) -> Vec<u8> {
    let at = path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    let (directory, name) = path.split_at(at);
    [directory, name.strip_prefix(INCREMENTAL_PREFIX.as_bytes()).unwrap_or(name)].concat()
}
