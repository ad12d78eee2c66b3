//! Ready files: the recovery settings, a script with the steps, a template for the log of what was done.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::Found;
use crate::cli::Failure;
use crate::source::Error;

/// Writes them into a directory that does not exist yet.
pub(super) fn write(target: &Path, found: &Found) -> Result<(), Failure> {
    fs::create_dir(target).map_err(Error::at(target, "create directory"))?;
    let put = |name: &str, text: &str| {
        let path = target.join(name);
        fs::write(&path, text).map_err(Error::at(&path, "write file"))
    };
    let Some((_, way)) = super::tables::chosen(&found.ways) else { return Ok(()) };
    put("restore.sh", &script(way))?;
    put("action-log.md", &log(way))?;
    if let Some(settings) = &way.settings {
        put("recovery-settings.conf", settings)?;
    }
    Ok(())
}

/// Every command is a comment: somebody decides about each.
fn script(way: &crate::plan::ways::Way) -> String {
    let mut out = format!(
        "#!/bin/sh\n# {}\n# Every command is a comment. Take the # away from one step, run it, compare with what must be seen.\nset -eu\n",
        way.title
    );
    for (index, step) in way.steps.iter().enumerate() {
        let _ = writeln!(out, "\n# Step {}: {}", index + 1, step.does);
        for line in step.command.lines() {
            let _ = writeln!(out, "#{line}");
        }
        for (heading, text) in [("expect", &step.expect), ("stop if", &step.stop_if)] {
            for line in text.lines() {
                let _ = writeln!(out, "#   {heading}: {line}");
            }
        }
    }
    out
}

fn log(way: &crate::plan::ways::Way) -> String {
    let mut out = format!("# Action log\n\nPlan: {}\n\nHost:\nWho:\n\n", way.title);
    out.push_str(
        "| step | what | begun at | command as run | what was seen | ended at |\n|---|---|---|---|---|---|\n",
    );
    for (index, step) in way.steps.iter().enumerate() {
        let _ = writeln!(out, "| {} | {} | | | | |", index + 1, step.does.replace('|', "/"));
    }
    out
}
