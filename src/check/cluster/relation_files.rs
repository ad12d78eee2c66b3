//! The files of relations by name and size: broken chains of segments, what a start will remove, what does not belong.

use super::access::named;
use super::{Examination, unreadable};
use crate::check::page_checksum::chain_finding;
use crate::finding::{Coverage, Finding, Findings, Place, Severity, dir};

pub(super) fn check(examination: &Examination, findings: &mut Findings, coverage: &mut Coverage) -> String {
    let files = &examination.metadata.relations;
    unreadable(&files.unreadable, coverage);
    for fault in &files.chains {
        findings.push(chain_finding(fault, examination.metadata.rules.geometry));
    }
    let live = examination.is_live();
    if let Some(first) = files.replaced.first.first() {
        let headline = format!(
            "{} files of relations were packed or renamed: could not open file",
            files.replaced.count
        );
        findings.push(named(Finding::new(dir::REPLACED_FILE, Place::path(first), headline), &files.replaced));
    }
    if let Some(first) = files.foreign.first.first() {
        let headline = format!("{} files have no name of PostgreSQL's", files.foreign.count);
        findings.push(named(Finding::new(dir::FOREIGN_FILE, Place::path(first), headline), &files.foreign));
    }
    let (temporary, spilled) = (&files.temporary, &files.spilled);
    if let Some(first) = temporary.first.first().or(spilled.first.first())
        && !live
    {
        let bytes = files.temporary_bytes + files.spilled_bytes;
        let headline = format!("{} temporary files, {bytes} bytes", temporary.count + spilled.count);
        let finding = Finding::new(dir::LEFTOVER_TEMPORARY, Place::path(first), headline)
            .measured("files of temporary relations", temporary.count)
            .measured("files in pgsql_tmp", spilled.count);
        findings.push(finding);
    }
    if let Some(first) = files.unlogged.first.first()
        && examination.recovers()
        && !live
    {
        let count = files.unlogged.count;
        let headline = format!("a start empties {count} unlogged relations: {} bytes", files.unlogged_bytes);
        let finding = Finding::new(dir::UNLOGGED_RESET, Place::path(first), headline);
        findings.push(named(finding, &files.unlogged));
    }
    if let Some(first) = files.init_without_main.first.first()
        && !live
    {
        let headline = format!(
            "{} unlogged relations have an init fork only: could not open file",
            files.init_without_main.count
        );
        let finding = Finding::new(dir::INIT_WITHOUT_MAIN, Place::path(first), headline);
        // Recovery makes them; base backups leave them out for that reason.
        let finding = if examination.recovers() { finding.with_severity(Severity::Note) } else { finding };
        findings.push(named(finding, &files.init_without_main));
    }
    format!("{} files, {} bytes, none of them read", files.files, files.bytes)
}
