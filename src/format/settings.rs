//! A configuration file: postgresql.conf, what it includes, postgresql.auto.conf, recovery.conf (up to 11).
//!
//! ```text
//! name = value        # comment             the sign may be missing; names in any case of letters
//! name 'va''l\nue'                          '' is a quote, a backslash escapes as in C, \ooo is octal
//! include 'file'                            include_if_exists, include_dir: by the names of settings
//! ```
//!
//! One bad line and the server takes nothing of the file: a start is refused. Source: utils/misc/guc-file.l.

use crate::pg::Major;

/// One line with a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// From 1.
    pub number: usize,
    /// In lower case.
    pub name: String,
    /// Without quotes.
    pub value: String,
}

/// A line that the server does not understand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// From 1.
    pub number: usize,
    /// The token at which it gives up; `None`: the end of the line.
    pub near: Option<String>,
}

impl SyntaxError {
    /// As the server logs it.
    pub fn message(&self, path: &str) -> String {
        let number = self.number;
        match &self.near {
            Some(token) => format!("syntax error in file \"{path}\" line {number}, near token \"{token}\""),
            None => format!("syntax error in file \"{path}\" line {number}, near end of line"),
        }
    }
}

/// Takes a file apart.
pub fn parse(content: &[u8]) -> (Vec<Line>, Vec<SyntaxError>) {
    let text = String::from_utf8_lossy(content);
    let (mut lines, mut errors) = (Vec::new(), Vec::new());
    for (index, line) in text.split('\n').enumerate() {
        match setting(line) {
            Ok(Some((name, value))) => lines.push(Line { number: index + 1, name, value }),
            Ok(None) => {}
            Err(near) => errors.push(SyntaxError { number: index + 1, near }),
        }
    }
    (lines, errors)
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token<'a> {
    Name(&'a str),
    /// Two names with a dot, of an extension's setting: never a value.
    Qualified(&'a str),
    /// A word or number that can only be a value.
    Word(&'a str),
    Quoted(&'a str),
    Equals,
    Other(&'a str),
}

impl<'a> Token<'a> {
    fn text(&self) -> &'a str {
        match self {
            Token::Name(text)
            | Token::Qualified(text)
            | Token::Word(text)
            | Token::Quoted(text)
            | Token::Other(text) => text,
            Token::Equals => "=",
        }
    }
}

/// The error is the token that does not belong there.
fn setting(line: &str) -> Result<Option<(String, String)>, Option<String>> {
    let mut rest = line;
    let Some(name) = next(&mut rest) else { return Ok(None) };
    let (Token::Name(name) | Token::Qualified(name)) = name else {
        return Err(Some(name.text().to_owned()));
    };
    let value = match next(&mut rest) {
        Some(Token::Equals) => next(&mut rest),
        other => other,
    };
    let value = match value {
        Some(Token::Name(text) | Token::Word(text)) => text.to_owned(),
        Some(Token::Quoted(text)) => unquoted(text),
        Some(other) => return Err(Some(other.text().to_owned())),
        None => return Err(None),
    };
    match next(&mut rest) {
        Some(token) => Err(Some(token.text().to_owned())),
        None => Ok(Some((name.to_ascii_lowercase(), value))),
    }
}

/// The longest token that fits.
fn next<'a>(rest: &mut &'a str) -> Option<Token<'a>> {
    let text = rest.trim_start_matches([' ', '\t', '\r']);
    let first = text.chars().next().filter(|first| *first != '#')?;
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii();
    let length_while =
        |text: &str, belongs: &dyn Fn(char) -> bool| text.find(|c| !belongs(c)).unwrap_or(text.len());
    let (length, make): (usize, fn(&'a str) -> Token<'a>) = match first {
        '\'' => match quoted(text) {
            Some(length) => (length, Token::Quoted),
            None => (1, Token::Other),
        },
        '=' => (1, |_| Token::Equals),
        _ if letter(first) => {
            let word = length_while(text, &|c| letter(c) || c.is_ascii_digit() || "-._:/".contains(c));
            let name = |text: &str| length_while(text, &|c| letter(c) || c.is_ascii_digit());
            let second = text.get(name(text)..).and_then(|rest| rest.strip_prefix('.'));
            let second = second.filter(|second| second.starts_with(letter));
            match word {
                word if word == name(text) => (word, Token::Name),
                word if second.is_some_and(|second| word == name(text) + 1 + name(second)) => {
                    (word, Token::Qualified)
                }
                word => (word, Token::Word),
            }
        }
        '+' | '-' | '.' | '0'..='9' => match number(text) {
            0 => (1, Token::Other),
            length => (length, Token::Word),
        },
        other => (other.len_utf8(), Token::Other),
    };
    let (token, behind) = text.split_at_checked(length)?;
    *rest = behind;
    Some(make(token))
}

/// Bytes up to the closing quote; a quote that is doubled goes on. `None`: there is none on the line.
fn quoted(text: &str) -> Option<usize> {
    let mut bytes = text.bytes().enumerate().skip(1).peekable();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => _ = bytes.next()?,
            b'\'' if bytes.peek().is_some_and(|(_, next)| *next == b'\'') => _ = bytes.next(),
            b'\'' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// An integer in decimal or hexadecimal with a unit, or a number with a point or an exponent.
fn number(text: &str) -> usize {
    let bytes = text.as_bytes();
    let while_at = |from: usize, belongs: fn(&u8) -> bool| {
        from + bytes.get(from..).unwrap_or_default().iter().take_while(|byte| belongs(byte)).count()
    };
    let sign = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    let hexadecimal = bytes.get(sign) == Some(&b'0') && bytes.get(sign + 1) == Some(&b'x');
    if hexadecimal {
        let end = while_at(sign + 2, u8::is_ascii_hexdigit);
        if end > sign + 2 {
            return while_at(end, u8::is_ascii_alphabetic);
        }
    }
    let digits = while_at(sign, u8::is_ascii_digit);
    if bytes.get(digits) != Some(&b'.') {
        return if digits > sign { while_at(digits, u8::is_ascii_alphabetic) } else { 0 };
    }
    // Only behind a point can there be an exponent, and a point is a number by itself.
    let end = while_at(digits + 1, u8::is_ascii_digit);
    let exponent = usize::from(matches!(bytes.get(end), Some(b'e' | b'E')));
    let power = end + exponent + usize::from(matches!(bytes.get(end + exponent), Some(b'+' | b'-')));
    match while_at(power, u8::is_ascii_digit) {
        behind if exponent == 1 && behind > power => behind,
        _ => end,
    }
}

/// `DeescapeQuotedString`.
fn unquoted(text: &str) -> String {
    let inner = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')).unwrap_or(text);
    let mut value = Vec::with_capacity(inner.len());
    let mut bytes = inner.bytes().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\'' => {
                bytes.next_if_eq(&b'\'');
                value.push(b'\'');
            }
            b'\\' => match bytes.next() {
                Some(b'b') => value.push(8),
                Some(b'f') => value.push(12),
                Some(b'n') => value.push(b'\n'),
                Some(b'r') => value.push(b'\r'),
                Some(b't') => value.push(b'\t'),
                Some(digit @ b'0'..=b'7') => {
                    let mut code = u32::from(digit - b'0');
                    for _ in 0..2 {
                        let Some(digit) = bytes.next_if(|byte| (b'0'..=b'7').contains(byte)) else { break };
                        code = code * 8 + u32::from(digit - b'0');
                    }
                    value.push(code as u8);
                }
                Some(other) => value.push(other),
                None => {}
            },
            other => value.push(other),
        }
    }
    String::from_utf8_lossy(&value).into_owned()
}

/// `parse_bool`: whole words or their beginnings, in any case of letters.
pub fn boolean(value: &str) -> Option<bool> {
    let value = value.to_ascii_lowercase();
    let begins = |word: &str, least: usize| value.len() >= least && word.starts_with(&value);
    if begins("true", 1) || begins("yes", 1) || value == "on" || value == "1" {
        Some(true)
    } else if begins("false", 1) || begins("no", 1) || begins("off", 2) || value == "0" {
        Some(false)
    } else {
        None
    }
}

/// How `recovery_target_timeline` is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetTimeline {
    /// `current`: that of pg_control.
    Current,
    /// `latest`.
    Latest,
    /// A number.
    Number(u32),
}

/// As the server reads `recovery_target_timeline`: a number as in C, so that a leading 0 means octal and 0x
/// hexadecimal. Up to 18 whatever follows it is passed over; 19 refuses that. `None`: refused.
pub fn target_timeline(value: &str, major: Major) -> Option<TargetTimeline> {
    match value {
        "" | "current" => return Some(TargetTimeline::Current),
        "latest" => return Some(TargetTimeline::Latest),
        _ => {}
    }
    let strict = major >= Major::V19;
    let text = value.trim_start();
    let (negative, text) = match text.strip_prefix('-') {
        Some(text) => (true, text),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at_checked(end)?;
    // strtoul says 0 and no error where there is no digit.
    let number = if digits.is_empty() { 0 } else { u64::from_str_radix(digits, radix).ok()? };
    if strict && (negative || !rest.is_empty() || number == 0 || number > u32::MAX.into()) {
        return None;
    }
    let number = number as u32;
    Some(TargetTimeline::Number(if negative { number.wrapping_neg() } else { number }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<(String, String)> {
        let (lines, errors) = parse(text.as_bytes());
        assert_eq!(errors, [], "{text}");
        lines.into_iter().map(|line| (line.name, line.value)).collect()
    }

    #[test]
    fn lines_as_the_server_reads_them() {
        let text = "# nothing\n\nFsync = off # why\nport 5433\r\nwork_mem=4MB\nshared_buffers = 0x10\n\
            restore_command = 'cp \"/a b/%f\" %p'\nx.y 'it''s \\'so\\' \\101\\n'\na = -1\nb = 1.\nc = .5\nd = 1.5e3\n\
            search = $user\n";
        let (lines, errors) = parse(text.as_bytes());
        let pairs: Vec<_> = lines.iter().map(|line| (line.name.as_str(), line.value.as_str())).collect();
        assert_eq!(
            pairs,
            [
                ("fsync", "off"),
                ("port", "5433"),
                ("work_mem", "4MB"),
                ("shared_buffers", "0x10"),
                ("restore_command", "cp \"/a b/%f\" %p"),
                ("x.y", "it's 'so' A\n"),
                ("a", "-1"),
                ("b", "1."),
                ("c", ".5"),
                ("d", "1.5e3"),
            ]
        );
        assert_eq!(lines[4].number, 7);
        assert_eq!(errors, [SyntaxError { number: 13, near: Some("$".to_owned()) }]);
        assert_eq!(values("a = b-c/d:e"), [("a".to_owned(), "b-c/d:e".to_owned())]);
    }

    #[test]
    fn lines_that_are_refused() {
        for (line, near) in [
            ("fsync", None),
            ("fsync =", None),
            ("= on", Some("=")),
            ("a = b c", Some("c")),
            ("a = 'open", Some("'")),
            ("5 = 6", Some("5")),
            ("a == b", Some("=")),
            ("a = b.c", Some("b.c")),
            ("a = 1e5", Some("5")),
        ] {
            let (lines, errors) = parse(line.as_bytes());
            assert_eq!((lines.len(), errors.len()), (0, 1), "{line}");
            assert_eq!(errors[0].near.as_deref(), near, "{line}");
        }
        assert_eq!(
            SyntaxError { number: 3, near: None }.message("f"),
            "syntax error in file \"f\" line 3, near end of line"
        );
    }

    #[test]
    fn booleans_and_timelines() {
        assert_eq!(["on", "T", "ye", "1"].map(boolean), [Some(true); 4]);
        assert_eq!(["of", "F", "n", "0", "OFF"].map(boolean), [Some(false); 5]);
        assert_eq!(["o", "", "maybe", "onn"].map(boolean), [None; 4]);
        use TargetTimeline::*;
        for (value, expected) in [
            ("latest", Latest),
            ("current", Current),
            ("20", Number(20)),
            ("00000014", Number(12)),
            ("010", Number(8)),
            ("0x14", Number(20)),
            ("14h", Number(14)),
        ] {
            assert_eq!(target_timeline(value, Major::V18), Some(expected), "{value}");
        }
        for value in ["14h", "abc", "5000000000", "7 ", "-1", "0"] {
            assert_eq!(target_timeline(value, Major::V19), None, "{value}");
        }
        assert_eq!(target_timeline("010", Major::V19), Some(Number(8)));
    }
}
