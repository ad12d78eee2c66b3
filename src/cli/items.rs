//! `pgforensic items`: the rows of pageinspect's functions, as COPY writes them, without a server.

mod index;

use std::cell::OnceCell;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::Failure;
use super::page::{Blocks, Relation, blocks, file_name};
use crate::format::page::pageinspect::{
    FUNCTIONS, Function, PageInput, Row, function, push_copy_text, usual,
};
use crate::format::page::{PageHeaderData, PageKind};
use crate::pg::BlockNumber;
use crate::report::{Status, escape};
use crate::scan::page_rules::Rules;
use crate::source::Error;
use crate::source::file::{DataFile, ReadAt};

/// Messages that are printed; the others are a number.
const NAMED: u64 = 20;

/// Print the rows that pageinspect's functions return, as COPY ... TO STDOUT prints them
///
/// Reads one block, some, or the whole relation over all of its segment files. With more than one block the first
/// column is the block number. Functions that need the types of columns are not here.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  pgforensic items data/base/5/16384 7                              heap_page_items(get_raw_page('t', 7)), if it is a table
  pgforensic items data/base/5/16384 --function page_header         of every page
  pgforensic items data --relation base/5/16390 0-9 --format json   one object a line
  pgforensic items data --relation base/5/16391 --function gist_page_items --header")]
pub(super) struct Arguments {
    /// A file of pages, or with --relation the data directory
    #[arg(value_name = "FILE|PGDATA")]
    path: PathBuf,
    /// A block or a range of blocks, such as 7 or 0-3; default: all
    #[arg(value_name = "BLOCKS", value_parser = blocks)]
    blocks: Option<Blocks>,
    #[command(flatten)]
    relation: Relation,
    /// The function; default: the usual one for the first page's kind
    #[arg(short, long, value_name = "NAME", value_parser = clap::builder::PossibleValuesParser::new(FUNCTIONS.iter().map(|f| f.name)))]
    function: Option<String>,
    /// The first line is the names of the columns
    #[arg(long)]
    header: bool,
    /// Lines as COPY prints them, or JSON Lines
    #[arg(long, value_enum, default_value_t = Format::Copy)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Copy,
    Json,
}

impl Arguments {
    pub(super) fn run(self) -> Result<Status, Failure> {
        let named = self.relation.file(&self.path)?;
        let rules = Rules::of(&named);
        let (page_size, per_file) = (rules.geometry.page_size, rules.geometry.relseg_size);
        let (_, segment) = file_name(&named);
        // The file that was named and, where that is a fork's first one, all that follow.
        let first = segment.saturating_mul(per_file);
        let wanted = self.blocks.as_ref().map(|Blocks(range)| range.clone());
        let function = self.function.as_deref().and_then(function);
        let takes_range = function.is_some_and(|function| function.takes_range);
        let several = !takes_range && wanted.as_ref().is_none_or(|range| range.start() < range.end());
        // Functions that take a range refuse the meta page.
        let wanted = wanted.unwrap_or(first.max(takes_range.into())..=BlockNumber::MAX);
        let mut printer = Printer {
            function,
            major: rules.major,
            several,
            header: self.header,
            format: self.format,
            out: BufWriter::new(io::stdout().lock()),
            line: Vec::new(),
        };
        let mut problems = Problems::default();
        let mut block = *wanted.start();
        let mut open: Option<(u32, DataFile, PathBuf)> = None;
        let mut read = 0u64;
        let relation = |block: BlockNumber| {
            let path = segment_file(&named, segment, block / per_file);
            let file = DataFile::open(&path).map_err(|error| error.to_string())?;
            let mut page = vec![0; page_size];
            let offset = u64::from(block % per_file) * page_size as u64;
            let count = file.read_full_at(&mut page, offset).map_err(|error| error.to_string())?;
            if count == page_size { Ok(page) } else { Err(format!("block {block} is not there")) }
        };
        let known = OnceCell::new();
        let index = || known.get_or_init(|| index::index_columns(&named, &rules)).clone();
        loop {
            let holder = block / per_file;
            if open.as_ref().is_none_or(|(number, ..)| *number != holder) {
                let path = segment_file(&named, segment, holder);
                open = match DataFile::open(&path) {
                    Ok(file) => Some((holder, file, path)),
                    // Behind the last file of a whole relation.
                    Err(error) if error.is_not_found() && read > 0 && self.blocks.is_none() => break,
                    Err(error) => return Err(error.into()),
                };
            }
            let Some((_, file, path)) = &open else { break };
            let mut page = vec![0; page_size];
            let offset = u64::from(block % per_file) * page_size as u64;
            let count = match file.read_full_at(&mut page, offset) {
                Ok(count) => count,
                Err(error) => {
                    problems.add(format!("block {block}: {}", Error::at(path, "read file")(error)));
                    page_size
                }
            };
            if count == 0 && self.blocks.is_none() {
                break;
            }
            if count < page_size {
                problems.add(format!("block {block}: {count} of {page_size} bytes are there"));
            } else {
                read += 1;
                let (abi, major) = (rules.abi, rules.major);
                let input = PageInput { page: &page, block, abi, major, relation: &relation, index: &index };
                if let Err(message) = printer.page(&input)? {
                    problems.add(format!("block {block}: {message}"));
                }
            }
            let Some(next) = block.checked_add(1).filter(|next| wanted.contains(next)) else { break };
            // A whole relation ends with a file that is not full; one named segment is all that was asked for.
            if self.blocks.is_none() && segment != 0 && next / per_file != holder {
                break;
            }
            block = next;
        }
        printer.out.flush()?;
        Ok(problems.finish())
    }
}

fn segment_file(named: &Path, segment: u32, holder: u32) -> PathBuf {
    if segment == holder || holder == 0 {
        return named.to_owned();
    }
    let mut path = named.as_os_str().to_owned();
    path.push(format!(".{holder}"));
    path.into()
}

struct Printer<'o> {
    function: Option<&'static Function>,
    major: crate::pg::Major,
    several: bool,
    header: bool,
    format: Format,
    out: BufWriter<io::StdoutLock<'o>>,
    line: Vec<u8>,
}

impl Printer<'_> {
    /// Prints one page's rows. The inner error is what the server would say of the page.
    fn page(&mut self, input: &PageInput) -> Result<Result<(), String>, Failure> {
        if self.function.is_none() {
            if input.page.iter().all(|byte| *byte == 0) {
                return Ok(Ok(()));
            }
            let header = PageHeaderData::read(input.page, input.abi).ok();
            let kind = header.and_then(|header| PageKind::of(input.page, &header, input.abi));
            self.function = kind.and_then(usual);
        }
        let Some(function) = self.function else {
            let message = "no known kind of page; --function says which function is meant";
            return Ok(Err(message.to_owned()));
        };
        if function.since > self.major {
            let message = format!("{} is there from {} on", function.name, function.since);
            return Err(Failure::Usage(message));
        }
        let columns = (function.columns)(self.major);
        if std::mem::take(&mut self.header) && self.format == Format::Copy {
            let names = columns.iter().map(|name| Some((*name).to_owned()));
            let block = self.several.then(|| Some("blkno".to_owned()));
            self.print_copy(&block.into_iter().chain(names).collect())?;
        }
        let rows = match (function.rows)(input) {
            Ok(rows) => rows,
            Err(message) => return Ok(Err(message)),
        };
        for mut row in rows {
            match self.format {
                Format::Json => {
                    let mut object = serde_json::Map::new();
                    object.insert("block".to_owned(), input.block.into());
                    object.extend(
                        columns.iter().zip(row).map(|(name, value)| ((*name).to_owned(), value.into())),
                    );
                    writeln!(self.out, "{}", serde_json::Value::Object(object))?;
                }
                Format::Copy => {
                    if self.several {
                        row.insert(0, Some(input.block.to_string()));
                    }
                    self.print_copy(&row)?;
                }
            }
        }
        Ok(Ok(()))
    }

    fn print_copy(&mut self, row: &Row) -> io::Result<()> {
        self.line.clear();
        push_copy_text(&mut self.line, row);
        self.out.write_all(&self.line)
    }
}

/// What could not be printed: some of it in words, all of it in the exit status.
#[derive(Default)]
struct Problems {
    count: u64,
}

impl Problems {
    fn add(&mut self, message: String) {
        self.count += 1;
        if self.count <= NAMED {
            // Nobody may be listening; the status still tells.
            let _ = writeln!(io::stderr(), "pgforensic: error: {}", escape(&message));
        }
    }

    fn finish(self) -> Status {
        if self.count > NAMED {
            let _ = writeln!(io::stderr(), "pgforensic: error: … and {} more blocks", self.count - NAMED);
        }
        if self.count == 0 { Status::CLEAN } else { Status::INCOMPLETE }
    }
}
