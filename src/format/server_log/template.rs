//! Patterns of messages, written as the messages are: `invalid page in block {block} of relation {relation}`.
//!
//! A name in braces says what stands there and how it is spelled. Literals are found from left to right and nothing
//! is tried twice, so that no line takes long.

use crate::pg::{Lsn, WalFileName};

/// What stands in one place of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A decimal or hexadecimal number.
    Number(u64),
    /// A name or the system's words.
    Text(String),
    /// A position in the WAL.
    Lsn(Lsn),
    /// A WAL segment.
    Wal(WalFileName),
}

/// The values of a message by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captures(Vec<(&'static str, Value)>);

impl Captures {
    /// Adds what another message, such as its DETAIL, says.
    pub fn extend(&mut self, other: Captures) {
        self.0.extend(other.0);
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// A number.
    pub fn number(&self, name: &str) -> Option<u64> {
        match self.get(name)? {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// A number that is one of 32 bits, such as a block; no other one is a real value of it.
    pub fn number32(&self, name: &str) -> Option<u32> {
        self.number(name)?.try_into().ok()
    }

    /// A text.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A position in the WAL.
    pub fn lsn(&self, name: &str) -> Option<Lsn> {
        match self.get(name)? {
            Value::Lsn(lsn) => Some(*lsn),
            _ => None,
        }
    }

    /// A WAL segment.
    pub fn wal(&self, name: &str) -> Option<WalFileName> {
        match self.get(name)? {
            Value::Wal(name) => Some(*name),
            _ => None,
        }
    }
}

/// The parts of a template in order.
fn parts(template: &'static str) -> impl Iterator<Item = Part> {
    let mut rest = template;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some((name, after)) = rest.strip_prefix('{').and_then(|inside| inside.split_once('}')) {
            rest = after;
            return Some(Part::Hole(name));
        }
        let end = rest.find('{').unwrap_or(rest.len());
        let (literal, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        rest = after;
        Some(Part::Literal(literal))
    })
}

#[derive(Clone, Copy, Debug)]
enum Part {
    Literal(&'static str),
    Hole(&'static str),
}

/// Does the text begin as the template says? More may follow.
pub fn match_start(template: &'static str, text: &str) -> Option<Captures> {
    let mut captures = Captures::default();
    let mut rest = text;
    let mut parts = parts(template).peekable();
    while let Some(part) = parts.next() {
        match part {
            Part::Literal(literal) => rest = rest.strip_prefix(literal)?,
            Part::Hole(name) => {
                let next = match parts.peek() {
                    Some(Part::Literal(literal)) => Some(*literal),
                    _ => None,
                };
                let (value, after) = take(name, rest, next)?;
                captures.0.push((name, value));
                rest = after;
            }
        }
    }
    Some(captures)
}

/// Does the template fit anywhere in the text, from the start of a word on?
pub fn match_anywhere(template: &'static str, text: &str) -> Option<Captures> {
    // A message that begins with a number is found by the words behind it.
    let anchor = parts(template).find_map(|part| match part {
        Part::Literal(literal) => Some(literal),
        Part::Hole(_) => None,
    })?;
    let digits_first = template.starts_with('{');
    for (at, _) in text.match_indices(anchor) {
        let before = text.get(..at)?;
        let start = match digits_first {
            true => before.trim_end_matches(|c: char| c.is_ascii_digit()).len(),
            false => at,
        };
        let is_word = text.get(..start)?.chars().next_back().is_none_or(|c| !c.is_alphanumeric());
        if let Some(captures) = is_word.then(|| match_start(template, text.get(start..)?)).flatten() {
            return Some(captures);
        }
    }
    None
}

/// The value at the start of a text, by its name, and what follows it.
fn take<'a>(name: &str, text: &'a str, next: Option<&str>) -> Option<(Value, &'a str)> {
    match name {
        "relation" => {
            let (quoted, inner) = match text.strip_prefix('"') {
                Some(inner) => (true, inner),
                None => (false, text),
            };
            let in_path = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '.' | '-');
            let (path, rest) = split_while(inner, in_path);
            let rest = if quoted { rest.strip_prefix('"')? } else { rest };
            // A sentence may end behind the path.
            let path = path.trim_end_matches('.');
            (!path.is_empty()).then(|| (Value::Text(path.to_owned()), rest))
        }
        "file" | "index" | "table" | "toast" | "archive" | "why" => {
            let end = match next {
                Some(next) => text.find(next)?,
                None => text.len(),
            };
            let (value, rest) = text.split_at_checked(end)?;
            let value = if name == "why" { value.trim_end() } else { value };
            (!value.is_empty()).then(|| (Value::Text(value.to_owned()), rest))
        }
        "lsn" | "lsn2" => {
            let (lsn, rest) = split_while(text, |c| c.is_ascii_hexdigit() || c == '/');
            Some((Value::Lsn(lsn.parse().ok()?), rest))
        }
        "segment" => {
            let (name, rest) = split_while(text, |c| c.is_ascii_hexdigit());
            Some((Value::Wal(WalFileName::parse(name.as_bytes())?), rest))
        }
        "hex" | "hex2" => {
            let (digits, rest) = split_while(text, |c| c.is_ascii_hexdigit());
            Some((Value::Number(u64::from_str_radix(digits, 16).ok()?), rest))
        }
        _ => {
            let (digits, rest) = split_while(text, |c| c.is_ascii_digit());
            Some((Value::Number(digits.parse().ok()?), rest))
        }
    }
}

fn split_while(text: &str, mut keep: impl FnMut(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !keep(c)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_each_kind() {
        let found = match_start(
            "page {block} of relation {relation} at {lsn}: {why}",
            "page 7 of relation \"base/5/1\" at 1/2B: x y ",
        );
        let found = found.unwrap();
        assert_eq!((found.number32("block"), found.text("relation")), (Some(7), Some("base/5/1")));
        assert_eq!((found.lsn("lsn"), found.text("why")), (Some(Lsn(0x1_0000_002B)), Some("x y")));
        let found = match_anywhere("{count} invalid pages in {hex}", "x=9 12 invalid pages in FFE.").unwrap();
        assert_eq!((found.number("count"), found.number("hex")), (Some(12), Some(0xFFE)));
        let found = match_start("segment {segment} gone", "segment 000000010000000000000003 gone").unwrap();
        assert_eq!(found.wal("segment").unwrap().to_string(), "000000010000000000000003");
    }

    #[test]
    fn what_is_no_value_does_not_fit() {
        assert_eq!(match_start("block {block}", "block x"), None);
        assert_eq!(match_start("block {block}", "block 99999999999999999999999"), None);
        assert_eq!(match_start("at {lsn}", "at 1/2/3"), None);
        assert_eq!(match_start("\"{file}\"", "\"no end"), None);
        assert_eq!(match_anywhere("block {block}", "superblock 7"), None);
        // A block has 32 bits.
        assert_eq!(match_start("block {block}", "block 4294967296").unwrap().number32("block"), None);
    }
}
