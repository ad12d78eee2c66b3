//! `pgforensic page`: every byte of a page, by its name.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::{Common, Failure, scan_pages};
use crate::check::slru_cluster::SlruCluster;
use crate::finding::{Coverage, Findings};
use crate::format::page::explain::explain_page;
use crate::format::page::map::{PageMap, Piece, Value};
use crate::format::reader::Abi;
use crate::format::slru::Slru;
use crate::format::slru_page::explain_slru_page;
use crate::pg::relation::{ForkNumber, RelFileName};
use crate::pg::{BlockNumber, Major};
use crate::report::{Cell, Format, Report, Section, Status};
use crate::scan::page_rules::{Cluster, Rules};
use crate::scan::slru_lookup::Layouts;
use crate::source::Error;
use crate::source::file::{DataFile, ReadAt};
use crate::source::pgdata::DataDirectory;

/// Pages of one call: more are more than anybody reads.
const MAX_BLOCKS: u32 = 256;

/// Bytes of one line of the dump, and of a value that people are shown.
const LINE: usize = 16;
const SHOWN: usize = 24;

/// Explain pages: every field, every flag, every byte
///
/// The kind of page is recognised from its bytes. Block numbers are those of the fork, as the server's messages have them:
/// file 16384.1 begins with block 131072. Pages of SLRUs (pg_xact, pg_multixact, pg_subtrans, pg_commit_ts) are known by
/// their directory and numbered within their file.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  pgforensic page data/base/5/16384 7                      block 7 of a table or an index
  pgforensic page data --relation base/5/16384 --block 7   the same, as in \"invalid page in block 7 of relation base/5/16384\"
  pgforensic page data/base/5/16384 0-3 --hex              a dump in which every byte has a name
  pgforensic page data/base/5/16384_vm
  pgforensic page data/pg_xact/0000 0-1                    status of every transaction on these pages")]
pub(super) struct Arguments {
    /// A file of pages, or with --relation the data directory
    #[arg(value_name = "FILE|PGDATA")]
    path: PathBuf,
    /// A block or a range of blocks, such as 7 or 0-3; default: the file's first one
    #[arg(value_name = "BLOCKS", value_parser = blocks)]
    blocks: Option<Blocks>,
    /// The same
    #[arg(long = "block", value_name = "BLOCKS", value_parser = blocks, conflicts_with = "blocks")]
    block: Option<Blocks>,
    #[command(flatten)]
    relation: Relation,
    /// Dump the bytes, each with its name
    #[arg(long)]
    hex: bool,
    #[command(flatten)]
    common: Common,
}

/// A relation of a data directory.
#[derive(clap::Args, Debug, Default)]
pub(super) struct Relation {
    /// A relation as the server's messages name it, base/5/16384, or database/filenode
    #[arg(short, long, value_name = "RELATION")]
    pub(super) relation: Option<String>,
    /// Which fork of the relation
    #[arg(long, value_name = "FORK", default_value = "main", value_parser = ["main", "fsm", "vm", "init"], requires = "relation")]
    fork: String,
}

impl Relation {
    /// Its first file, if one is named; else `path` is the file.
    pub(super) fn file(&self, path: &Path) -> Result<PathBuf, Failure> {
        let Some(relation) = &self.relation else {
            if DataDirectory::looks_like_pgdata(path) {
                let message =
                    "which relation? --relation base/DATABASE/FILENODE names one of this data directory";
                return Err(Failure::Usage(message.to_owned()));
            }
            return Ok(path.to_owned());
        };
        let mut file = path.join(relation_path(relation)).into_os_string();
        if self.fork != "main" {
            file.push("_");
            file.push(&self.fork);
        }
        Ok(file.into())
    }
}

/// First and last block.
#[derive(Clone, Debug)]
pub(super) struct Blocks(pub(super) RangeInclusive<BlockNumber>);

pub(super) fn blocks(text: &str) -> Result<Blocks, String> {
    let number = |text: &str| text.parse::<BlockNumber>().map_err(|error| format!("{text:?}: {error}"));
    let (first, last) = match text.split_once("..").or_else(|| text.split_once('-')) {
        Some((first, last)) => (number(first)?, number(last.trim_start_matches('='))?),
        None => (number(text)?, number(text)?),
    };
    if last < first {
        return Err(format!("{first} is behind {last}"));
    }
    Ok(Blocks(first..=last))
}

/// A relation's path below the data directory.
fn relation_path(relation: &str) -> PathBuf {
    let parts: Vec<&str> = relation.trim_matches('/').split('/').collect();
    match parts.as_slice() {
        [database, filenode] if database.parse::<u32>().is_ok() => {
            Path::new("base").join(database).join(filenode)
        }
        _ => PathBuf::from(relation.trim_start_matches('/')),
    }
}

impl Arguments {
    pub(super) fn run(self) -> Result<Status, Failure> {
        if let Some(slru) = self.slru() {
            return self.run_slru(slru);
        }
        let wanted = self.blocks.clone().or(self.block.clone()).map(|Blocks(range)| range);
        let first_file = self.relation.file(&self.path)?;
        let Self { common, hex, .. } = self;
        let (file, blocks) = place(&first_file, wanted)?;
        let arguments = scan_pages::Arguments::of_blocks(&file, blocks.clone(), common);
        let (mut report, rules) = arguments.examine()?;
        let (fork, segment) = file_name(&file);
        let page_size = rules.geometry.page_size;
        let start = segment.saturating_mul(rules.geometry.relseg_size);
        let data = DataFile::open(&file)?;
        let mut pages = Vec::new();
        for block in blocks {
            let Some(index) = block.checked_sub(start).filter(|index| *index < rules.geometry.relseg_size)
            else {
                let text = format!("block {block} is not in this file, which begins with block {start}");
                report.coverage.fail(&file, text);
                continue;
            };
            let mut page = vec![0; page_size];
            let count = data.read_full_at(&mut page, u64::from(index) * page_size as u64);
            let count = count.map_err(Error::at(&file, "read file"))?;
            page.truncate(count);
            if page.len() < page_size {
                let text = format!("block {block}: {count} of {page_size} bytes are there");
                report.coverage.fail(&file, text);
            }
            if !page.is_empty() {
                pages.push((block, explain_page(&page, block, fork, rules.abi, rules.major), page));
            }
        }
        // For people a dump says it all; programs get the fields.
        let hex = hex && arguments.common.format == Format::Text;
        finish(&mut report, &file, &pages, hex);
        arguments.common.print(&report)
    }
}

impl Arguments {
    /// The array that the file belongs to, by its directory, and its name there.
    fn slru(&self) -> Option<(Slru, String)> {
        let parse = |path: &Path| Slru::of_file(path.to_str()?);
        parse(&self.path).or_else(|| parse(&std::fs::canonicalize(&self.path).ok()?))
    }

    /// Pages of a file of pg_xact and its like; they are numbered within the file.
    fn run_slru(self, (slru, path): (Slru, String)) -> Result<Status, Failure> {
        let cluster = Cluster::above(&self.path).map(SlruCluster::new);
        let layouts =
            cluster.map_or_else(|| Layouts::new(Major::V18, Abi::LITTLE_64, None), |cluster| cluster.layouts);
        let layout = layouts.of(slru);
        let name = path.rsplit('/').next().unwrap_or(&path);
        let Some(segment) = layout.parse_name(name) else {
            let message = format!("\"{name}\" is not the name of a file of {}", slru.directory());
            return Err(Failure::Usage(message));
        };
        let data = DataFile::open(&self.path)?;
        let wanted = self.blocks.or(self.block).map_or(0..=0, |Blocks(range)| range);
        if wanted.end() - wanted.start() >= MAX_BLOCKS {
            return Err(Failure::Usage(format!("at most {MAX_BLOCKS} blocks at a time")));
        }
        let mut coverage = Coverage { files: 1, ..Coverage::default() };
        let mut pages = Vec::new();
        for index in wanted {
            let size = layout.page_size as usize;
            let mut page = vec![0; size];
            let count = data.read_full_at(&mut page, u64::from(index) * size as u64);
            let count = count.map_err(Error::at(&self.path, "read file"))?;
            page.truncate(count);
            if count < size || index >= layout.pages_per_segment {
                coverage.fail(&self.path, format!("page {index}: {count} of {size} bytes are there"));
            }
            coverage.bytes += count as u64;
            if !page.is_empty() {
                let number = segment * u64::from(layout.pages_per_segment) + u64::from(index);
                pages.push((index, explain_slru_page(&page, number, index, &layout), page));
            }
        }
        let mut report = Report {
            command: "page",
            subject: vec![self.path.clone()],
            verdict: String::new(),
            findings: Findings::default(),
            coverage,
            sections: Vec::new(),
        };
        let hex = self.hex && self.common.format == Format::Text;
        finish(&mut report, &self.path, &pages, hex);
        self.common.print(&report)
    }
}

/// The segment file that holds the blocks: the one that was named, or a later one of the same fork.
pub(super) fn place(
    file: &Path,
    wanted: Option<RangeInclusive<BlockNumber>>,
) -> Result<(PathBuf, RangeInclusive<BlockNumber>), Failure> {
    let size = Rules::of(file).geometry.relseg_size;
    let (_, segment) = file_name(file);
    if wanted.as_ref().is_some_and(|wanted| wanted.end() - wanted.start() >= MAX_BLOCKS) {
        return Err(Failure::Usage(format!("at most {MAX_BLOCKS} blocks at a time")));
    }
    let Some(wanted) = wanted else {
        let first = segment.saturating_mul(size);
        return Ok((file.to_owned(), first..=first));
    };
    let holder = *wanted.start() / size;
    if *wanted.end() / size != holder {
        return Err(Failure::Usage(format!(
            "a segment file ends before block {}",
            (holder + 1).saturating_mul(size)
        )));
    }
    if segment != 0 || holder == 0 {
        return Ok((file.to_owned(), wanted));
    }
    let mut path = file.as_os_str().to_owned();
    path.push(format!(".{holder}"));
    Ok((path.into(), wanted))
}

/// Fork and segment by the file's name.
pub(super) fn file_name(file: &Path) -> (Option<ForkNumber>, u32) {
    let name = file.file_name().and_then(|name| RelFileName::parse(name.to_str()?));
    (name.map(|name| name.fork), name.map_or(0, |name| name.segment))
}

/// Verdict and tables.
fn finish(report: &mut Report, file: &Path, pages: &[(BlockNumber, PageMap, Vec<u8>)], hex: bool) {
    report.command = "page";
    let titles: Vec<String> =
        pages.iter().map(|(block, map, _)| format!("block {block}: {}", map.title)).collect();
    let mut checks = std::mem::take(&mut report.verdict);
    if !checks.is_empty() {
        checks.insert_str(0, "; ");
    }
    report.verdict = match titles.as_slice() {
        [] => format!("no such block in {}", file.display()),
        [one] => format!("{one}{checks}"),
        [first, ..] => format!("{} pages, {first}{checks}", titles.len()),
    };
    report.sections.clear();
    let problems = pages.iter().flat_map(|(block, map, _)| {
        map.problems.iter().map(|problem| vec![Cell::from(*block), Cell::from(problem.clone())])
    });
    report.sections.push(Section::Table {
        key: "problems",
        heading: "What contradicts the page",
        columns: vec![("block", "BLOCK"), ("problem", "PROBLEM")],
        rows: problems.collect(),
    });
    if hex {
        let lines = pages.iter().flat_map(|(block, map, page)| dump(*block, map, page)).collect();
        report.sections.push(Section::Drawing { heading: "Bytes", lines });
        return;
    }
    let rows = pages.iter().flat_map(|(block, map, _)| {
        map.parts.iter().flat_map(|part| part.pieces.iter().map(|piece| row(*block, &part.title, piece)))
    });
    report.sections.push(Section::Table {
        key: "fields",
        heading: "Fields",
        columns: vec![
            ("block", "BLOCK"),
            ("part", "PART"),
            ("offset", "OFFSET"),
            ("length", "LENGTH"),
            ("name", "FIELD"),
            ("value", "VALUE"),
            ("note", "MEANS"),
            ("is_gap", "GAP"),
        ],
        rows: rows.collect(),
    });
}

fn row(block: BlockNumber, part: &str, piece: &Piece) -> Vec<Cell> {
    vec![
        Cell::from(block),
        Cell::from(part),
        Cell::from(piece.bytes.start as u64),
        Cell::from(piece.bytes.len() as u64),
        Cell::from(piece.name.as_ref()),
        value(&piece.value),
        if piece.note.is_empty() { Cell::None } else { Cell::from(piece.note.clone()) },
        Cell::Flag(piece.is_gap),
    ]
}

fn value(value: &Value) -> Cell {
    match value {
        Value::Unsigned(number) if *number > 1 << 53 => Cell::BigNumber(*number),
        Value::Unsigned(number) => Cell::from(*number),
        Value::Signed(number) => Cell::Number((*number).into()),
        Value::Float(number) => Cell::Text(number.to_string()),
        Value::Text(text) if text.is_empty() => Cell::None,
        Value::Text(text) => Cell::from(text.clone()),
        Value::Bytes(bytes) => {
            let all = hex::encode(bytes);
            let few = match bytes.get(..SHOWN).filter(|_| bytes.len() > SHOWN) {
                Some(first) => format!("{}… {} bytes", hex::encode(first), bytes.len()),
                None => all.clone(),
            };
            Cell::Spelled(Box::new(Cell::Text(all)), few)
        }
    }
}

/// The bytes in order, each line the bytes of one piece, with its name.
fn dump(block: BlockNumber, map: &PageMap, page: &[u8]) -> Vec<String> {
    let mut lines = vec![format!("block {block}: {}", map.title)];
    for (part, piece) in map.by_place() {
        let bytes = page.get(piece.bytes.clone()).unwrap_or_default();
        let value = cell_text(piece);
        let mut label = format!("{part}: {}{value}", piece.name);
        // Zeros that go on and on are said once.
        let zeros = piece.is_gap && bytes.iter().all(|byte| *byte == 0);
        let shown = if zeros { LINE.min(bytes.len()) } else { bytes.len() };
        for (index, line) in bytes.get(..shown).unwrap_or_default().chunks(LINE).enumerate() {
            let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            let text: String = line
                .iter()
                .map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' })
                .collect();
            let at = piece.bytes.start + index * LINE;
            lines.push(
                format!("{at:>5} {at:04x}  {:47}  {text:16}  {label}", hex.join(" ")).trim_end().to_owned(),
            );
            label.clear();
        }
        if shown < bytes.len() {
            lines.push(format!(
                "{:>5} {:04x}  … zeros up to byte {}",
                piece.bytes.start + shown,
                piece.bytes.start + shown,
                piece.bytes.end
            ));
        }
    }
    lines
}

fn cell_text(piece: &Piece) -> String {
    let mut text = match &piece.value {
        Value::Bytes(_) => String::new(),
        other => match crate::report::cell_text(&value(other)) {
            text if text == "-" => String::new(),
            text => format!(" = {text}"),
        },
    };
    if !piece.note.is_empty() {
        text.push_str(&format!(" ({})", piece.note));
    }
    text
}
