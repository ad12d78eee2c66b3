//! Values that are made of others: arrays, ranges, summaries of BRIN.
//!
//! ```text
//! array     ndim, dataoffset (0: no nulls), elemtype, ndim lengths, ndim lower bounds, bits of nulls, elements
//! range     rangetypid, lower bound, upper bound, a byte of flags at the end
//! minmax    typid, nranges, nvalues, maxvalues, then 2 * nranges + nvalues values side by side
//! ```
//!
//! Positions count from behind the varlena's header; elements are aligned from where they begin. Source:
//! utils/array.h, utils/rangetypes.h, access/brin/brin_minmax_multi.c.

use super::output::{Output, Unshown};
use super::{Column, column, varlena};
use crate::format::reader::Data;
use crate::pg::Oid;

/// `MAXDIM`.
const MAX_DIMENSIONS: usize = 6;

const RANGE_EMPTY: u8 = 0x01;
const RANGE_LB_INC: u8 = 0x02;
const RANGE_UB_INC: u8 = 0x04;
/// `RANGE_LB_INF` and `RANGE_LB_NULL`.
const RANGE_NO_LOWER: u8 = 0x08 | 0x20;
/// `RANGE_UB_INF` and `RANGE_UB_NULL`.
const RANGE_NO_UPPER: u8 = 0x10 | 0x40;

struct Array<'a> {
    element: Oid,
    /// Length and lower bound.
    dimensions: Vec<(usize, i32)>,
    values: Vec<Option<&'a [u8]>>,
}

impl Output<'_> {
    fn parse_array<'a>(&self, data: Data<'a>) -> Option<Array<'a>> {
        let number = |at: usize| usize::try_from(data.i32(at)?).ok();
        let count = number(0).filter(|count| *count <= MAX_DIMENSIONS)?;
        let (offset, element) = (number(4)?, data.u32(8)?);
        let lower = |index: usize| data.i32(12 + 4 * (count + index));
        let dimensions = (0..count).map(|index| Some((number(12 + 4 * index)?, lower(index)?)));
        let dimensions: Vec<(usize, i32)> = dimensions.collect::<Option<_>>()?;
        let mut items = usize::from(count > 0);
        for (length, _) in &dimensions {
            items = items.checked_mul(*length)?;
        }
        if items == 0 {
            return Some(Array { element, dimensions: Vec::new(), values: Vec::new() });
        }
        let head = 12 + 8 * count;
        // Offsets count from the varlena's header of four bytes.
        let start = if offset == 0 { self.abi.max_align(head + 4) } else { offset }.checked_sub(4)?;
        let bits =
            if offset == 0 { None } else { data.bytes.get(head..head.checked_add(items.div_ceil(8))?) };
        if offset != 0 && bits.is_none() {
            return None;
        }
        let layout = self.types.layout(element)?;
        let body = data.from(start);
        let (mut at, mut values) = (0, Vec::new());
        // Every item takes a bit or a byte at least, so that a number of items that cannot be ends here.
        for index in 0..items {
            if bits.is_some_and(|bits| bits.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 0)) {
                values.push(None);
                continue;
            }
            let (Column::Value(bytes), next) = column(body, at, layout, self.abi)? else { return None };
            values.push(Some(bytes));
            at = next;
        }
        Some(Array { element, dimensions, values })
    }

    pub(super) fn array(&self, type_oid: Oid, data: Data, depth: u8) -> Result<String, Unshown> {
        let array = self.parse_array(data).ok_or_else(|| self.invalid(type_oid))?;
        if array.values.is_empty() {
            return Ok("{}".to_owned());
        }
        let delimiter = self.types.get(array.element).map_or(',', |row| char::from(row.typdelim));
        let texts = array.values.iter().map(|value| match value {
            Some(bytes) => Ok(quoted_element(self.nested(array.element, bytes, depth + 1)?, delimiter)),
            None => Ok("NULL".to_owned()),
        });
        let texts: Vec<String> = texts.collect::<Result<_, Unshown>>()?;
        let mut text = String::new();
        if array.dimensions.iter().any(|(_, lower)| *lower != 1) {
            for (length, lower) in &array.dimensions {
                text.push_str(&format!("[{lower}:{}]", i64::from(*lower) + *length as i64 - 1));
            }
            text.push('=');
        }
        let lengths: Vec<usize> = array.dimensions.iter().map(|(length, _)| *length).collect();
        braces(&lengths, &mut texts.into_iter(), delimiter, &mut text);
        Ok(text)
    }

    pub(super) fn range(&self, type_oid: Oid, data: Data, depth: u8) -> Result<String, Unshown> {
        let invalid = || self.invalid(type_oid);
        let (range, flags) = data.u32(0).zip(data.bytes.last().copied()).ok_or_else(invalid)?;
        if flags & RANGE_EMPTY != 0 {
            return Ok("empty".to_owned());
        }
        let subtype = self.types.range_subtype(range).ok_or_else(invalid)?;
        let layout = self.types.layout(subtype).ok_or_else(invalid)?;
        let bounds = data.slice(4..data.len() - 1);
        let mut text = if flags & RANGE_LB_INC != 0 { "[" } else { "(" }.to_owned();
        let mut at = 0;
        for (missing, behind) in [(RANGE_NO_LOWER, ","), (RANGE_NO_UPPER, "")] {
            if flags & missing == 0 {
                let bound = column(bounds, at, layout, self.abi);
                let Some((Column::Value(bytes), next)) = bound else { return Err(invalid()) };
                text.push_str(&quoted_bound(&self.nested(subtype, bytes, depth + 1)?));
                at = next;
            }
            text.push_str(behind);
        }
        text.push(if flags & RANGE_UB_INC != 0 { ']' } else { ')' });
        Ok(text)
    }

    /// `brin_minmax_multi_summary_out`
    pub(super) fn minmax_multi_summary(
        &self,
        type_oid: Oid,
        data: Data,
        depth: u8,
    ) -> Result<String, Unshown> {
        let invalid = || self.invalid(type_oid);
        let numbers = || Some((data.u32(0)?, data.i32(4)?, data.i32(8)?, data.i32(12)?));
        let (element, ranges, values, maximum) = numbers().ok_or_else(invalid)?;
        let layout = self.types.layout(element).ok_or_else(invalid)?;
        let mut at = 16;
        let mut next = || {
            let (bytes, end) = packed(data, at, layout).ok_or_else(invalid)?;
            at = end;
            self.nested(element, bytes, depth + 1)
        };
        let mut text = format!("{{nranges: {ranges}  nvalues: {values}  maxvalues: {maximum}");
        // A value takes a byte at least: numbers that cannot be end with the bytes.
        let mut found = Vec::new();
        for _ in 0..ranges {
            found.push(format!("{} ... {}", next()?, next()?));
        }
        push_texts(&mut text, " ranges: ", found);
        let mut found = Vec::new();
        for _ in 0..values {
            found.push(next()?);
        }
        push_texts(&mut text, " values: ", found);
        text.push('}');
        Ok(text)
    }
}

/// A `text[]`, unless it is empty.
fn push_texts(text: &mut String, title: &str, found: Vec<String>) {
    if !found.is_empty() {
        text.push_str(title);
        let count = found.len();
        braces(&[count], &mut found.into_iter().map(|text| quoted_element(text, ',')), ',', text);
    }
}

/// A value without alignment.
fn packed(data: Data<'_>, at: usize, (length, _): (i16, u8)) -> Option<(&[u8], usize)> {
    match usize::try_from(length) {
        Ok(length) => Some((data.bytes.get(at..at + length)?, at + length)),
        Err(_) => match varlena(data, at)? {
            (Column::Value(bytes), end) => Some((bytes, end)),
            _ => None,
        },
    }
}

/// One dimension within the other.
fn braces(lengths: &[usize], texts: &mut dyn Iterator<Item = String>, delimiter: char, text: &mut String) {
    let Some((length, inner)) = lengths.split_first() else {
        text.push_str(&texts.next().unwrap_or_default());
        return;
    };
    text.push('{');
    for index in 0..*length {
        if index > 0 {
            text.push(delimiter);
        }
        braces(inner, texts, delimiter, text);
    }
    text.push('}');
}

/// `isspace` of the C locale.
fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t'..='\r')
}

fn quoted_element(value: String, delimiter: char) -> String {
    let special = |c: char| matches!(c, '"' | '\\' | '{' | '}') || c == delimiter || is_space(c);
    if !value.is_empty() && !value.eq_ignore_ascii_case("null") && !value.contains(special) {
        return value;
    }
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// In ranges and rows quotes and backslashes are doubled.
fn quoted_bound(value: &str) -> String {
    let special = |c: char| matches!(c, '"' | '\\' | '(' | ')' | '[' | ']' | ',') || is_space(c);
    if value.is_empty() || value.contains(special) { doubled(value) } else { value.to_owned() }
}

/// A column of a row as `record_out` quotes it.
pub(in crate::format) fn quoted_column(value: &str) -> String {
    let special = |c: char| matches!(c, '"' | '\\' | '(' | ')' | ',') || is_space(c);
    if value.is_empty() || value.contains(special) { doubled(value) } else { value.to_owned() }
}

fn doubled(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\"\""))
}
