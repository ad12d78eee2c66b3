//! What every byte of a page is: named fields in parts, and named gaps between them.
//!
//! ```text
//! decoder ──► Mapper: part "page header": fields; part "tuple 1": fields; …  ──► finish(): gaps get names ──► PageMap
//! ```
//!
//! A decoder reads its structures through [`Mapper::structure`], so that the fields' names and places come from the
//! one declaration that every other use of the structure has. What does not lie in the page is a problem, not an
//! error: all the rest is still mapped. Fields may overlap where a damaged page says so; gaps never do.

use std::borrow::Cow;
use std::ops::Range;

use crate::format::page::PageHeaderData;
use crate::format::reader::{Abi, Field, Form, Reader, Truncated};
use crate::pg::{BlockNumber, Major};

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    /// As PostgreSQL writes it: a position, an item pointer, words.
    Text(String),
    /// Bytes without a meaning of their own here.
    Bytes(Vec<u8>),
}

/// A stretch of bytes with a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// Its bytes in the page.
    pub bytes: Range<usize>,
    /// PostgreSQL's name of the member; of a gap, what it is.
    pub name: Cow<'static, str>,
    /// Its value.
    pub value: Value,
    /// What the value means; flags by their names.
    pub note: String,
    /// Not a field but what lies between fields.
    pub is_gap: bool,
}

/// Pieces that belong together: a header, one tuple.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// What it is.
    pub title: String,
    /// In the order of the bytes.
    pub pieces: Vec<Piece>,
}

/// A page, explained.
#[derive(Clone, Debug, PartialEq)]
pub struct PageMap {
    /// What kind of page, and of which state: one phrase.
    pub title: String,
    /// In the order in which they make sense.
    pub parts: Vec<Part>,
    /// What contradicts the page.
    pub problems: Vec<String>,
}

impl PageMap {
    /// All pieces with their part's title, by place.
    pub fn by_place(&self) -> Vec<(&str, &Piece)> {
        let mut all: Vec<(&str, &Piece)> = (self.parts.iter())
            .flat_map(|part| part.pieces.iter().map(|piece| (part.title.as_str(), piece)))
            .collect();
        all.sort_by_key(|(_, piece)| (piece.bytes.start, piece.bytes.end));
        all
    }
}

/// Names of the bits of a flag word, the lowest first.
pub type FlagNames = [(u16, &'static str)];

/// The names of the bits that are set; bits without a name as a number.
pub fn flag_names(value: u16, names: &FlagNames) -> String {
    let mut words: Vec<Cow<str>> = Vec::new();
    let mut rest = value;
    for (mask, name) in names {
        if value & mask == *mask {
            words.push(Cow::Borrowed(name));
            rest &= !mask;
        }
    }
    if rest != 0 {
        words.push(Cow::Owned(format!("0x{rest:04X} unknown")));
    }
    words.join(" ")
}

/// Collects what the bytes of one page are.
pub struct Mapper<'p> {
    /// The page.
    pub page: &'p [u8],
    /// Its block number in the fork.
    pub block: BlockNumber,
    /// How its writer lays out data.
    pub abi: Abi,
    /// The server's major version.
    pub major: Major,
    title: String,
    parts: Vec<Part>,
    /// The part that is being filled.
    part: Part,
    problems: Vec<String>,
}

impl<'p> Mapper<'p> {
    /// Nothing is known yet.
    pub fn new(page: &'p [u8], block: BlockNumber, abi: Abi, major: Major) -> Mapper<'p> {
        let part = Part { title: "page".to_owned(), pieces: Vec::new() };
        Mapper {
            page,
            block,
            abi,
            major,
            title: String::new(),
            parts: Vec::new(),
            part,
            problems: Vec::new(),
        }
    }

    /// Says what kind of page it is.
    pub fn title(&mut self, title: impl Into<String>) {
        self.title = title.into();
    }

    /// Adds to that.
    pub fn title_more(&mut self, more: String) {
        self.title.push_str(&more);
    }

    /// What follows belongs to this part.
    pub fn part(&mut self, title: impl Into<String>) {
        let part = std::mem::replace(&mut self.part, Part { title: title.into(), pieces: Vec::new() });
        if !part.pieces.is_empty() {
            self.parts.push(part);
        }
    }

    /// Something contradicts the page.
    pub fn problem(&mut self, what: impl Into<String>) {
        self.problems.push(what.into());
    }

    /// Reads a structure that starts at `at` and ends at or before `end`; its fields become pieces.
    pub fn structure<T>(
        &mut self,
        range: Range<usize>,
        read: impl FnOnce(&mut Reader) -> Result<T, Truncated>,
    ) -> Option<T> {
        let Some(bytes) = self.page.get(range.clone()) else {
            self.problem(format!("bytes {}..{} are not within the page", range.start, range.end));
            return None;
        };
        let mut reader = Reader::new(bytes, self.abi);
        let result = read(&mut reader);
        let pieces: Vec<Piece> = reader
            .into_fields()
            .into_iter()
            .map(|field| piece(bytes, range.start, field, self.abi))
            .collect();
        self.part.pieces.extend(pieces);
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.problem(format!("at byte {}: {error}", range.start));
                None
            }
        }
    }

    /// Bytes that are one thing, with a value of the caller's words.
    pub fn field(
        &mut self,
        bytes: Range<usize>,
        name: impl Into<Cow<'static, str>>,
        value: Value,
        note: String,
    ) {
        if self.page.get(bytes.clone()).is_none() {
            self.problem(format!("bytes {}..{} are not within the page", bytes.start, bytes.end));
        } else if !bytes.is_empty() {
            self.part.pieces.push(Piece { bytes, name: name.into(), value, note, is_gap: false });
        }
    }

    /// Zeros that say that nothing was entered there: no field, but with a name of their own.
    pub fn empty(&mut self, bytes: Range<usize>, name: String, note: &str) {
        let (value, note) = (Value::Text(String::new()), note.to_owned());
        self.part.pieces.push(Piece { bytes, name: name.into(), value, note, is_gap: true });
    }

    /// Bytes as they are.
    pub fn bytes(&mut self, bytes: Range<usize>, name: impl Into<Cow<'static, str>>) {
        let value = Value::Bytes(self.page.get(bytes.clone()).unwrap_or_default().to_vec());
        self.field(bytes, name, value, String::new());
    }

    /// Explains the last piece of that name in the current part.
    pub fn note(&mut self, name: &str, note: impl Into<String>) {
        if let Some(piece) = self.part.pieces.iter_mut().rfind(|piece| piece.name == name) {
            piece.note = note.into();
        }
    }

    /// Explains a piece of an earlier part.
    pub fn note_in(&mut self, part: &str, name: &str, note: impl Into<String>) {
        let part = self.parts.iter_mut().find(|known| known.title == part);
        if let Some(piece) = part.and_then(|part| part.pieces.iter_mut().find(|piece| piece.name == name)) {
            piece.note = note.into();
        }
    }

    /// Gives every byte that is in no field to a gap with a name.
    pub fn finish(mut self, header: Option<&PageHeaderData>) -> PageMap {
        self.part("between");
        let mut covered: Vec<Range<usize>> = (self.parts.iter())
            .flat_map(|part| part.pieces.iter().map(|piece| piece.bytes.clone()))
            .collect();
        covered.sort_by_key(|range| range.start);
        let mut gaps = Vec::new();
        let mut at = 0;
        let mut overlap = None;
        let end = self.page.len()..self.page.len();
        for range in covered.into_iter().chain(std::iter::once(end)) {
            if range.start > at {
                gaps.extend(self.gap(at..range.start, header));
            } else if range.start < at {
                overlap = overlap.or(Some(range.start));
            }
            at = at.max(range.end);
        }
        self.part.pieces = gaps;
        self.part("");
        if let Some(at) = overlap {
            self.problem(format!("byte {at} is part of two things"));
        }
        PageMap { title: self.title, parts: self.parts, problems: self.problems }
    }

    /// One gap, cut where the header draws borders.
    fn gap(&self, range: Range<usize>, header: Option<&PageHeaderData>) -> Vec<Piece> {
        let (lower, upper, special) = header.map_or((0, 0, self.page.len()), |header| {
            (header.pd_lower.into(), header.pd_upper.into(), header.pd_special.into())
        });
        let mut borders = vec![range.start, range.end];
        borders.extend([lower, upper, special].into_iter().filter(|at| range.contains(at)));
        borders.sort_unstable();
        borders.dedup();
        let mut pieces = Vec::new();
        for pair in borders.windows(2) {
            let &[start, end] = pair else { continue };
            let bytes = self.page.get(start..end).unwrap_or_default();
            let used = bytes.iter().filter(|byte| **byte != 0).count();
            let name = if (lower..upper).contains(&start) {
                "free space"
            } else if end - start < self.abi.align8 && end.is_multiple_of(self.abi.align8) {
                "alignment"
            } else if (upper..special).contains(&start) {
                "tuple space that no line pointer names"
            } else {
                "unused"
            };
            let note = match used {
                0 => "zeros".to_owned(),
                _ => format!("{used} bytes are not zero: remnants"),
            };
            let value = if used == 0 { Value::Text(String::new()) } else { Value::Bytes(bytes.to_vec()) };
            pieces.push(Piece { bytes: start..end, name: name.into(), value, note, is_gap: true });
        }
        pieces
    }
}

/// A field of a structure whose bytes these are, and which starts at `start` in the page.
fn piece(bytes: &[u8], start: usize, field: Field, abi: Abi) -> Piece {
    let own = bytes.get(field.bytes.clone()).unwrap_or_default();
    let mut reader = Reader::quick(own, abi);
    let number = own.iter().enumerate().fold(0u64, |sum, (index, byte)| {
        let place = if abi.big_endian { own.len() - 1 - index } else { index };
        sum | u64::from(*byte).checked_shl(8 * place as u32).unwrap_or(0)
    });
    let value = match (field.form, own.len()) {
        (Form::Unsigned, _) => Value::Unsigned(number),
        (Form::Signed, 4) => Value::Signed((number as u32 as i32).into()),
        (Form::Signed, _) => Value::Signed(number as i64),
        (Form::Float, _) => Value::Float(f64::from_bits(number)),
        (Form::PageLsn, _) => {
            reader.page_lsn("").map_or(Value::Bytes(own.to_vec()), |lsn| Value::Text(lsn.to_string()))
        }
        (Form::ItemPointer, _) => {
            reader.item_pointer("").map_or(Value::Bytes(own.to_vec()), |tid| Value::Text(tid.to_string()))
        }
        (Form::BlockId, _) => {
            reader.block_id("").map_or(Value::Bytes(own.to_vec()), |block| Value::Unsigned(block.into()))
        }
        (Form::Words, length) => Value::Text(words(&reader.u32_array("", length / 4).unwrap_or_default())),
        (Form::Bytes, _) => Value::Bytes(own.to_vec()),
    };
    Piece {
        bytes: start + field.bytes.start..start + field.bytes.end,
        name: field.name.into(),
        value,
        note: String::new(),
        is_gap: false,
    }
}

/// An array of numbers, without the zeros at its end.
fn words(all: &[u32]) -> String {
    let used = all.iter().rposition(|word| *word != 0).map_or(0, |last| last + 1);
    let mut words: Vec<String> = all.iter().take(used).map(ToString::to_string).collect();
    match all.len() - used {
        0 => {}
        zeros if used == 0 => words.push(format!("{zeros} zeros")),
        zeros => words.push(format!("and {zeros} zeros")),
    }
    words.join(" ")
}
