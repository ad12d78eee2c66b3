//! A lost file made again: `slru --rebuild pg_xact/0000 --write-to FILE`.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::check::slru_cluster::SlruCluster;
use crate::cli::Failure;
use crate::cli::output_place::refuse_inside;
use crate::finding::Coverage;
use crate::format::slru::Slru;
use crate::report::{Fact, Section};
use crate::scan::slru_rebuild::{RebuildInput, Rebuilt, rebuild};
use crate::scan::wal_archive::{Depth, scan};
use crate::scan::wal_find::files_to;
use crate::scan::wal_picture::picture;
use crate::scan::wal_units::WalFiles;
use crate::source::archive::Archive;
use crate::source::system_message;

/// What is to be made, and of what.
#[derive(clap::Args, Debug)]
pub(super) struct Options {
    /// Make this file again, such as pg_xact/0000, of what is left of it, copies, the WAL and hint bits of rows
    #[arg(long, value_name = "FILE", requires = "write_to", help_heading = "A lost file", conflicts_with_all = ["xid", "multi", "histogram", "relations"])]
    rebuild: Option<String>,
    /// Write it here; the file must be new
    #[arg(long, value_name = "FILE", requires = "rebuild", help_heading = "A lost file")]
    write_to: Option<PathBuf>,
    /// WAL: an archive, a pg_wal, a data directory; several are read as one. That of the data directory is read without being named
    #[arg(long, value_name = "PATH", requires = "rebuild", help_heading = "A lost file")]
    wal: Vec<PathBuf>,
    /// A copy of the data directory: an unpacked base backup, or a standby's; several are possible
    #[arg(long, value_name = "PATH", requires = "rebuild", help_heading = "A lost file")]
    backup: Vec<PathBuf>,
}

impl Options {
    /// Makes the file, if one is wanted.
    pub(super) fn run(
        &self,
        cluster: &SlruCluster,
        coverage: &mut Coverage,
    ) -> Result<Option<(Section, String)>, Failure> {
        let (Some(name), Some(target)) = (&self.rebuild, &self.write_to) else { return Ok(None) };
        let root = cluster.cluster.directory.root();
        refuse_inside(target, self.wal.iter().chain(&self.backup).chain([&root.to_owned()]))?;
        let named = Slru::of_file(name).and_then(|(slru, path)| {
            let number = cluster.lookup.layout(slru).parse_name(path.rsplit('/').next()?)?;
            Some((slru, number))
        });
        let Some((slru, segment)) = named else {
            return Err(Failure::Usage(format!(
                "\"{name}\" is no file of pg_xact, pg_multixact or pg_commit_ts"
            )));
        };
        if slru == Slru::Subtrans {
            return Err(Failure::Usage(format!("{} is made anew by a start", slru.directory())));
        }
        let Some((control, range)) = cluster.control().zip(cluster.range(slru)) else {
            let why = match cluster.control() {
                Some(_) => "pg_control names no numbers that it must have",
                None => "without pg_control nobody knows which numbers it must have",
            };
            coverage.fail(root, why);
            return Ok(Some((section(&Rebuilt::default()), why.to_owned())));
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let wal = self.files(cluster, threads, coverage);
        let input = RebuildInput {
            cluster: &cluster.cluster,
            control,
            lookup: &cluster.lookup,
            slru,
            segment,
            range,
            wal: wal.as_ref(),
            copies: &self.backup,
            threads,
        };
        let rebuilt = rebuild(&input);
        for (path, why) in &rebuilt.unreadable {
            coverage.fail(path, why.clone());
        }
        if rebuilt.bad_pages > 0 {
            coverage
                .fail(root, format!("{} damaged pages of tables say nothing: scan-pages", rebuilt.bad_pages));
        }
        let written = std::fs::File::create_new(target).and_then(|mut file| file.write_all(&rebuilt.bytes));
        written.map_err(|error| {
            let text = format!("file \"{}\": {}", target.display(), system_message(&error));
            Failure::Output(std::io::Error::new(error.kind(), text))
        })?;
        let verdict = verdict(name, target, &rebuilt);
        Ok(Some((section(&rebuilt), verdict)))
    }

    /// On the timeline of pg_control.
    fn files(&self, cluster: &SlruCluster, threads: usize, coverage: &mut Coverage) -> Option<WalFiles> {
        let mut archive = Archive::default();
        let root = cluster.cluster.directory.root().to_owned();
        for path in &self.wal {
            if let Err(error) = archive.add(path) {
                coverage.fail(&error.path, error.to_string());
            }
        }
        if let Err(error) = archive.add_pg_wal(&root) {
            coverage.fail(&error.path, error.to_string());
        }
        let picture = picture(scan(archive, Depth::Headers, threads, None), threads);
        let timeline = cluster.control()?.check_point_copy.this_timeline;
        files_to(picture, timeline).map(|(files, _)| files)
    }
}

fn verdict(name: &str, target: &Path, rebuilt: &Rebuilt) -> String {
    let shown = target.display();
    if rebuilt.lost_timestamps > 0 {
        return format!(
            "{name} was written to {shown} as far as it is known: pg_xact_commit_timestamp will be NULL for {} committed transactions",
            rebuilt.lost_timestamps
        );
    }
    match rebuilt.is_enough() {
        true => {
            let why = match name.starts_with(Slru::CommitTs.directory()) {
                true => "the time of every transaction that committed is known",
                false => "no row hangs on anything that is not known",
            };
            format!("{name} was made again and written to {shown}: {why}")
        }
        false => format!(
            "{name} was written to {shown} as far as it is known: {} row versions will not be seen, {} deleted or updated ones will be seen again",
            rebuilt.unsure().not_seen,
            rebuilt.unsure().seen_again
        ),
    }
}

fn section(rebuilt: &Rebuilt) -> Section {
    let fact =
        |key, heading: &str, value: u64| Fact { key, heading: heading.to_owned(), value: value.into() };
    let facts = vec![
        fact("bytes", "Bytes written:", rebuilt.bytes.len() as u64),
        fact("from_file", "Entries of what is left of the file:", rebuilt.from_file),
        fact("from_copies", "Entries of copies:", rebuilt.from_copies),
        fact("from_wal", "Entries of the WAL:", rebuilt.from_wal),
        fact("from_rows", "Entries by hint bits of rows:", rebuilt.from_rows),
        fact("unknown", "Entries that are not known:", rebuilt.unknown),
        fact("not_seen", "Row versions not seen for that:", rebuilt.unsure().not_seen),
        fact("seen_again", "Row versions seen again for that:", rebuilt.unsure().seen_again),
    ];
    Section::Facts { key: "rebuilt", heading: "What it is made of", facts }
}
