//! `pgforensic scan-pages --explain-block N`: everything about one block in one place.

mod tables;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::page::{Relation, place};
use super::wal_fullpage::refuse_inside;
use super::wal_gaps::{MAX_JOBS, default_jobs};
use super::{Common, Failure, scan_pages};
use crate::check::block::{BlockFacts, CopyOfBlock, WalOfBlock};
use crate::check::page_checksum::Role;
use crate::check::slru_cluster::SlruCluster;
use crate::check::wal_records::check_lost;
use crate::finding::{Coverage, Findings, Place};
use crate::format::checksum::PageChecksum;
use crate::format::page::{PageHeaderData, PageKind};
use crate::pg::relation::{ForkNumber, RelFileLocator, RelPath};
use crate::pg::time::local_zone;
use crate::pg::{BlockNumber, Lsn};
use crate::plan::damage::Answer;
use crate::plan::loss::Count;
use crate::report::{Report, Status};
use crate::scan::block_copy::{BlockCopy, Differences, PageState};
use crate::scan::block_rows::{PageRows, Row, RowReader};
use crate::scan::block_wal::{BlockAddress, block_wal};
use crate::scan::catalog::{Catalogs, Database};
use crate::scan::cluster::{ClusterWalk, Target};
use crate::scan::page_rules::{Cluster, Rules};
use crate::scan::pages::{PageTester, ScanOptions};
use crate::scan::wal_archive::{Depth, scan};
use crate::scan::wal_find::files_to;
use crate::scan::wal_picture::picture;
use crate::source::archive::Archive;
use crate::source::file::{DataFile, ReadAt};
use crate::source::{Error, system_message};

/// One block, and where to look for it.
#[derive(clap::Args, Debug, Default)]
pub(super) struct Options {
    /// Explain one block of the relation: what is wrong, what is lost with it, and where it is to be had
    #[arg(long, value_name = "BLOCK", help_heading = "One block", conflicts_with_all = ["filenode", "from_block", "to_block"])]
    explain_block: Option<BlockNumber>,
    #[command(flatten, next_help_heading = "One block")]
    relation: Relation,
    /// Look for images of the block here: an archive, a pg_wal, a data directory; several are read as one. That of the data directory is read without being named
    #[arg(long, value_name = "PATH", help_heading = "One block", requires = "explain_block")]
    wal: Vec<PathBuf>,
    /// A copy of the data directory: an unpacked base backup, or a standby's; several are possible
    #[arg(long, value_name = "PATH", help_heading = "One block", requires = "explain_block")]
    backup: Vec<PathBuf>,
    /// Write the newest full-page image of the block to FILE, as replay of its record leaves the page; FILE must be new
    #[arg(long, value_name = "FILE", help_heading = "One block", requires = "explain_block")]
    save_image: Option<PathBuf>,
}

/// The block, and what surrounds it.
struct Subject {
    file: PathBuf,
    block: BlockNumber,
    /// Its first byte in the file.
    offset: u64,
    rules: Rules,
    /// Its file below PGDATA.
    path: Option<RelPath>,
    cluster: Option<SlruCluster>,
    page: Option<Vec<u8>>,
    state: Option<PageState>,
    is_missing: bool,
    header: Option<PageHeaderData>,
    kind: Option<PageKind>,
    role: Role,
}

/// What is lost with a block, and where it is to be had: for a plan.
pub(super) fn answer(
    file: &Path,
    block: BlockNumber,
    wal: &[PathBuf],
    backup: &[PathBuf],
    coverage: &mut Coverage,
) -> Result<Answer, Failure> {
    let options = Options { wal: wal.to_vec(), backup: backup.to_vec(), ..Options::default() };
    let (segment, _) = place(file, Some(block..=block))?;
    let mut own = Coverage::default();
    let subject = Subject::read(&segment, block, Rules::of(&segment), &mut own);
    let mut report = Report {
        command: "plan",
        subject: Vec::new(),
        verdict: String::new(),
        findings: Findings::default(),
        coverage: own,
        sections: Vec::new(),
    };
    let answer = options.explain(&subject, &mut report)?;
    coverage.unreadable.extend(report.coverage.unreadable);
    Ok(answer)
}

/// Exactly, or in between.
fn count(facts: &BlockFacts, page_size: usize) -> Count {
    match facts.visible_rows() {
        Some(count) => Count::exactly(count),
        None => {
            let (least, most) = facts.row_bounds(page_size);
            Count { least, most: Some(most) }
        }
    }
}

impl Options {
    /// The block, if one is to be explained.
    pub(super) fn block(&self) -> Result<Option<BlockNumber>, Failure> {
        if self.explain_block.is_none() && self.relation.relation.is_some() {
            return Err(Failure::Usage("--relation is for --explain-block".to_owned()));
        }
        Ok(self.explain_block)
    }

    pub(super) fn run(
        self,
        path: Option<&PathBuf>,
        block: BlockNumber,
        common: Common,
    ) -> Result<Status, Failure> {
        let Some(path) = path else {
            return Err(Failure::Usage(
                "a block of what? Name a file, or a data directory and --relation".to_owned(),
            ));
        };
        let (file, blocks) = place(&self.relation.file(path)?, Some(block..=block))?;
        let arguments = scan_pages::Arguments::of_blocks(&file, blocks, common);
        let (mut report, rules) = arguments.examine()?;
        let subject = Subject::read(&file, block, rules, &mut report.coverage);
        self.explain(&subject, &mut report)?;
        arguments.common.print(&report)
    }

    fn explain(&self, subject: &Subject, report: &mut Report) -> Result<Answer, Failure> {
        let coverage = &mut report.coverage;
        let cluster = subject.cluster.as_ref();
        let control = cluster.and_then(SlruCluster::control);
        let catalogs = cluster.map(|cluster| {
            let Rules { major, abi, geometry, .. } = subject.rules;
            Catalogs::new(&cluster.cluster.directory, (major, abi), geometry, &cluster.lookup, control)
        });
        let database = catalogs.as_ref().zip(subject.file.parent()).map(|(c, parent)| c.of_directory(parent));
        let relation = subject.relation(database.as_deref());
        let rows = catalogs.as_ref().zip(database.as_deref()).map_or_else(
            || subject.rows(None),
            |(catalogs, database)| subject.rows(Some((catalogs, database))),
        );
        let mut copies = self.copies(subject, coverage);
        let mut positions: Vec<Lsn> = vec![subject.state.as_ref().map_or(Lsn::INVALID, |state| state.lsn)];
        for copy in &mut copies {
            if let Ok((_, state)) = &copy.copy.page {
                copy.position = Some(positions.len());
                positions.push(state.lsn);
            }
        }
        let wal = self.wal(subject, &positions, &mut report.findings, coverage);
        let table = relation.map(|relation| tables::name(relation, database.as_deref()));
        let facts = BlockFacts {
            place: subject.place(),
            title: subject.title(table.as_deref()),
            is_missing: subject.is_missing,
            state: subject.state.clone(),
            role: subject.role,
            control,
            is_live: cluster.is_some_and(|cluster| cluster.cluster.facts.is_live()),
            is_backup: cluster.is_some_and(|cluster| cluster.cluster.facts.backup_label),
            rows: rows.as_ref(),
            wal: wal.as_ref(),
            copies: &copies,
        };
        facts.check(&mut report.findings);
        if let Some(target) = &self.save_image {
            self.save(target, subject, wal.as_ref(), coverage)?;
        }
        report.verdict = facts.verdict();
        report.sections = tables::sections(subject, &facts, relation, database.as_deref(), table);
        let source = facts.source();
        Ok(Answer {
            source_text: facts.source_text(&source),
            source,
            copies: self.backup.clone(),
            rows: count(&facts, subject.rules.geometry.page_size),
            toast_values: facts.rows.map(toast_values).unwrap_or_default(),
        })
    }

    /// Writes the image, with the checksum that it has on disk.
    fn save(
        &self,
        target: &Path,
        subject: &Subject,
        wal: Option<&WalOfBlock>,
        coverage: &mut Coverage,
    ) -> Result<(), Failure> {
        let root = subject.cluster.as_ref().map(|cluster| cluster.cluster.directory.root().to_owned());
        let parent = subject.file.parent().map(Path::to_owned);
        let examined: Vec<PathBuf> =
            self.wal.iter().chain(&self.backup).cloned().chain(root).chain(parent).collect();
        refuse_inside(target, &examined)?;
        let base = wal.and_then(|wal| wal.found.base.as_ref()?.page.as_ref()?.as_ref().ok());
        let Some(mut page) = base.map(|page| page.to_vec()) else {
            coverage.fail(
                target,
                "not written: there is no full-page image of the block that could be the newest state of it",
            );
            return Ok(());
        };
        let abi = subject.rules.abi;
        if subject.rules.verify && PageHeaderData::read(&page, abi).is_ok_and(|header| !header.is_new()) {
            let sum = PageChecksum::new(abi.big_endian).of(&page, subject.block);
            if let Some(field) = page.get_mut(8..10) {
                field.copy_from_slice(&if abi.big_endian { sum.to_be_bytes() } else { sum.to_le_bytes() });
            }
        }
        let written = File::create_new(target).and_then(|mut file| file.write_all(&page));
        written.map_err(|error| {
            let text = format!("file \"{}\": {}", target.display(), system_message(&error));
            Failure::Output(std::io::Error::new(error.kind(), text))
        })
    }

    fn copies(&self, subject: &Subject, coverage: &mut Coverage) -> Vec<CopyOfBlock> {
        let Some(path) = &subject.path else {
            if let Some(backup) = self.backup.first() {
                coverage.fail(backup, "where the file is in a data directory is not known from its path");
            }
            return Vec::new();
        };
        let relative = PathBuf::from(path.segment(path.name.segment));
        let copies = self.backup.iter().map(|root| {
            let copy = BlockCopy::read(root, &relative, subject.block);
            match &copy.page {
                Ok(_) => {
                    coverage.files += 1;
                    coverage.bytes += subject.rules.geometry.page_size as u64;
                }
                // Not there is an answer; not to be listed is none.
                Err(_) if root.is_dir() => {}
                Err(why) => coverage.fail(root, why.clone()),
            }
            let differences = subject.differences(copy.page.as_ref().ok().map(|(page, _)| page.as_slice()));
            CopyOfBlock { copy, differences, position: None }
        });
        copies.collect()
    }

    fn wal(
        &self,
        subject: &Subject,
        positions: &[Lsn],
        findings: &mut Findings,
        coverage: &mut Coverage,
    ) -> Option<WalOfBlock> {
        let own = subject.cluster.as_ref().map(|cluster| cluster.cluster.directory.root().to_owned());
        let own_pg_wal = own.as_ref().map(|root| root.join("pg_wal"));
        let address = subject.address()?;
        let mut archive = Archive::default();
        let mut listed = None;
        for path in &self.wal {
            match archive.add(path) {
                Ok(()) => listed = listed.or(Some(path.clone())),
                Err(error) => coverage.fail(&error.path, error.to_string()),
            }
        }
        if let Some(root) = own
            && root.join("pg_wal").is_dir()
            && !self.wal.iter().any(|path| path == &root || path == &root.join("pg_wal"))
        {
            match archive.add_pg_wal(&root) {
                Ok(()) => listed = listed.or(Some(root.join("pg_wal"))),
                Err(error) => coverage.fail(&error.path, error.to_string()),
            }
        }
        let fallback = listed?;
        let threads = default_jobs().clamp(1, MAX_JOBS);
        let picture = picture(scan(archive, Depth::Headers, threads, None), threads);
        for (path, why) in &picture.unreadable {
            coverage.fail(path, why.clone());
        }
        let control = subject.cluster.as_ref().and_then(SlruCluster::control);
        let timelines = &picture.with_pg_wal;
        let of_control = control.map(|control| control.check_point_copy.this_timeline);
        let known = of_control.filter(|timeline| timelines.by_id.contains_key(timeline));
        let target = known.or_else(|| timelines.oldest().map(|oldest| timelines.latest_from(oldest)));
        let found = target.and_then(|target| files_to(picture, target));
        let Some((files, _)) = found else {
            if !self.wal.is_empty() {
                coverage.fail(&fallback, "there is no WAL of a known major here");
            }
            return None;
        };
        if let (Some(control), Some(system_id)) = (control, files.kind.system_id)
            && control.system_identifier != system_id
        {
            let why = format!(
                "the WAL is of another cluster: its system identifier is {system_id}, that of pg_control {}",
                control.system_identifier
            );
            coverage.fail(&fallback, why);
            return None;
        }
        let size = files.kind.size;
        let first = files.segments.keys().next().map_or(Lsn::INVALID, |first| size.start(*first));
        let limit =
            files.segments.keys().next_back().map_or(first, |last| size.start(last.saturating_add(1)));
        let found = block_wal(&files, address, positions, (first, limit), threads, &local_zone());
        coverage.files += files.segments.len() as u64;
        coverage.bytes += found.bytes;
        check_lost(&files, &found.losses, (found.walk_end.as_ref(), false), &fallback, findings, coverage);
        for error in &found.unreadable {
            coverage.fail(&error.path, error.to_string());
        }
        let base = found.base.as_ref();
        let base_segment = base.and_then(|base| files.segments.get(&size.segno(base.touch.lsn)));
        let image = base.and_then(|base| base.page.as_ref()?.as_ref().ok());
        Some(WalOfBlock {
            major: files.kind.major,
            end: found.walk_end.as_ref().map_or(first, |end| files.behind_last(end)),
            base_segment: base_segment.map(|source| source.path.display().to_string()),
            base_is_own: base_segment.is_some_and(|source| source.path.parent() == own_pg_wal.as_deref()),
            differences: subject.differences(image.map(|page| page.as_slice())),
            found,
        })
    }
}

impl Subject {
    fn read(file: &Path, block: BlockNumber, rules: Rules, coverage: &mut Coverage) -> Subject {
        let cluster = Cluster::above(file).map(SlruCluster::new);
        let size = rules.geometry.page_size;
        let offset = u64::from(block % rules.geometry.relseg_size) * size as u64;
        let (page, is_missing) = match read_page(file, offset, size) {
            Ok(page) => {
                if page.is_none() {
                    coverage.fail(file, format!("the file ends before block {block}"));
                }
                let is_missing = page.is_none();
                (page, is_missing)
            }
            // The scan told it.
            Err(_) => (None, false),
        };
        let state = page.as_deref().and_then(|page| PageState::of(page, block, rules.abi, rules.verify));
        let header = page.as_deref().and_then(|page| PageHeaderData::read(page, rules.abi).ok());
        let sane = header.filter(|header| header.is_sane(size, rules.abi));
        let own = sane.zip(page.as_deref()).and_then(|(header, page)| PageKind::of(page, &header, rules.abi));
        // What the relation is, its sound pages say; a damaged one may lie.
        let (role, usual) = nature(file, &rules);
        let kind =
            if state.as_ref().is_some_and(PageState::is_sound) { own.or(usual) } else { usual.or(own) };
        let path = rel_path(file);
        Subject {
            file: file.to_owned(),
            block,
            offset,
            rules,
            path,
            cluster,
            page,
            state,
            is_missing,
            header: sane,
            kind,
            role,
        }
    }

    fn fork(&self) -> ForkNumber {
        super::page::file_name(&self.file).0.unwrap_or(ForkNumber::Main)
    }

    fn address(&self) -> Option<BlockAddress> {
        let path = self.path.as_ref().filter(|path| !path.name.temporary)?;
        let locator = RelFileLocator {
            tablespace: path.tablespace,
            database: path.database,
            relnumber: path.name.relnumber,
        };
        let fork = match self.fork() {
            ForkNumber::Main => 0,
            ForkNumber::Fsm => 1,
            ForkNumber::Vm => 2,
            ForkNumber::Init => 3,
        };
        Some(BlockAddress { locator, fork, block: self.block })
    }

    fn place(&self) -> Place {
        let size = self.rules.geometry.page_size as u64;
        Place { block: Some(self.block), ..Place::bytes(&self.file, self.offset, size) }
    }

    fn title(&self, table: Option<&str>) -> String {
        let file = match &self.path {
            Some(path) => path.fork_path(),
            None => self.file.display().to_string(),
        };
        let table = table.map(|table| format!(" ({table})")).unwrap_or_default();
        format!("block {} of {file}{table}", self.block)
    }

    fn relation<'d>(&self, database: Option<&'d Database>) -> Option<&'d crate::scan::catalog::Relation> {
        database?.of_file(self.file.parent()?, self.path.as_ref()?.name.relnumber)
    }

    /// The rows of a table's page.
    fn rows(&self, catalogs: Option<(&Catalogs, &Database)>) -> Option<PageRows> {
        let is_heap = self.kind == Some(PageKind::Heap) && matches!(self.fork(), ForkNumber::Main);
        let has_content = self.state.as_ref().is_some_and(|state| !state.empty);
        let page = self.page.as_deref().filter(|_| is_heap && has_content)?;
        let cluster = self.cluster.as_ref();
        let mut reader = RowReader {
            major: self.rules.major,
            abi: self.rules.abi,
            lookup: cluster.map(|cluster| &cluster.lookup),
            control: cluster.and_then(SlruCluster::control),
            table: None,
        };
        if let Some((catalogs, database)) = catalogs {
            reader = reader.with_names(self.relation(Some(database)), catalogs, database);
        }
        Some(match &self.header {
            Some(header) => reader.page(page, header, self.block),
            None => reader.without_header(page, self.block),
        })
    }

    fn differences(&self, other: Option<&[u8]>) -> Option<Differences> {
        let (other, own) = other.zip(self.page.as_deref())?;
        (other.len() == own.len()).then(|| Differences::between(other, own, self.rules.abi))
    }
}

/// The values of which a page of a TOAST table has parts.
fn toast_values(rows: &PageRows) -> BTreeSet<String> {
    let chunk_id =
        |row: &Row| row.values.first().filter(|(name, _)| name == "chunk_id").map(|(_, value)| value.clone());
    rows.visible().filter_map(chunk_id).collect()
}

/// A whole page; `None` if the file ends before.
fn read_page(file: &Path, offset: u64, size: usize) -> Result<Option<Vec<u8>>, Error> {
    let mut page = vec![0; size];
    let count =
        DataFile::open(file)?.read_full_at(&mut page, offset).map_err(Error::at(file, "read file"))?;
    Ok((count == size).then_some(page))
}

/// What the file's sound pages say of it.
fn nature(file: &Path, rules: &Rules) -> (Role, Option<PageKind>) {
    let options = ScanOptions {
        geometry: rules.geometry,
        abi: rules.abi,
        verify: rules.verify,
        jobs: 1,
        from_block: 0,
        to_block: BlockNumber::MAX,
        pause: None,
    };
    let target = Target::File(file.to_owned());
    let listed = ClusterWalk::new(&target, rules.selection(None)).flat_map(|listing| listing.files).next();
    let Some(listed) = listed else { return (Role::Foreign, None) };
    let nature = PageTester::new(options).nature(&listed);
    (Role::of_kind(&listed, nature.kind), nature.kind)
}

/// The file's place below PGDATA, by its path as given or as the system resolves it.
fn rel_path(file: &Path) -> Option<RelPath> {
    let parse = |path: &Path| RelPath::parse(path.to_str()?);
    parse(file).or_else(|| parse(&std::fs::canonicalize(file).ok()?))
}
