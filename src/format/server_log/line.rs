//! Lines of a log to entries: severity, text and detail, whatever stands around them.
//!
//! | destination | recognised by |
//! |---|---|
//! | stderr, any `log_line_prefix` | the severity before `:  `, in any place of the line |
//! | csvlog | a time, then at least fourteen columns; a record ends where its quotes are closed |
//! | jsonlog | an object with `message`, also inside `record` |
//! | syslog | as stderr; tabs are written `#011` |
//! | a line from anywhere else | as it is |

use serde_json::Value;

/// Longest line that is looked at; the rest of a longer one is left alone.
const LONGEST: usize = 64 << 10;
/// Lines that one csvlog record may have before it is given up as broken.
const LONGEST_RECORD: usize = 10_000;

/// The severities of a log, and the other parts of an entry that have a line of their own.
const LABELS: &[&str] = &[
    "DEBUG1",
    "DEBUG2",
    "DEBUG3",
    "DEBUG4",
    "DEBUG5",
    "INFO",
    "NOTICE",
    "WARNING",
    "ERROR",
    "LOG",
    "FATAL",
    "PANIC",
    "DETAIL",
    "HINT",
    "CONTEXT",
    "STATEMENT",
    "QUERY",
    "LOCATION",
    "BACKTRACE",
];
/// Parts that report nothing by themselves; a statement may quote any message.
const NO_MESSAGE: &[&str] = &["HINT", "CONTEXT", "STATEMENT", "QUERY", "LOCATION", "BACKTRACE"];

/// One entry of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// `ERROR`, `LOG`, …; `None`: the line does not say.
    pub severity: Option<String>,
    /// The primary message.
    pub text: String,
    /// The DETAIL, if it is in the same record.
    pub detail: Option<String>,
}

impl Entry {
    /// Is it the DETAIL of the entry before it?
    pub fn is_detail(&self) -> bool {
        self.severity.as_deref() == Some("DETAIL")
    }
}

/// Takes lines one after the other.
#[derive(Debug, Default)]
pub struct EntryReader {
    /// Lines read of a csvlog record whose quotes are still open.
    open_record: usize,
}

impl EntryReader {
    /// The entry of a line; `None` if it has no message, or goes on with the record before it.
    pub fn line(&mut self, line: &[u8]) -> Option<Entry> {
        let line = line.get(..LONGEST).unwrap_or(line);
        let text = plain(&String::from_utf8_lossy(line));
        let starts_record = csv_start(&text);
        if self.open_record > 0 && !starts_record && self.open_record < LONGEST_RECORD {
            self.open_record = if odd_quotes(&text) { 0 } else { self.open_record + 1 };
            return None;
        }
        self.open_record = usize::from(starts_record && odd_quotes(&text));
        if starts_record && let Some(entry) = csv_entry(&text) {
            return Some(entry);
        }
        if let Some(entry) = json_entry(&text) {
            return Some(entry);
        }
        let (severity, text) = match label(&text) {
            Some((label, text)) => (Some(label.to_owned()), text),
            None => (None, text.trim()),
        };
        if text.is_empty() || severity.as_deref().is_some_and(|label| NO_MESSAGE.contains(&label)) {
            return None;
        }
        // Pasted into one line.
        let split = text.split_once(" DETAIL: ").filter(|_| severity.as_deref() != Some("DETAIL"));
        let (text, detail) = match split {
            Some((text, detail)) => (text.trim_end(), Some(detail.trim().to_owned())),
            None => (text, None),
        };
        Some(Entry { severity, text: without_sqlstate(text).to_owned(), detail })
    }
}

/// Without colours, syslog's spelling of tabs, and the end of the line.
fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line.trim_end_matches(['\n', '\r']);
    while let Some(at) = rest.find('\u{1b}') {
        text.push_str(rest.get(..at).unwrap_or_default());
        let after = rest.get(at + 1..).unwrap_or_default();
        // CSI: parameters, then one letter.
        rest = match after.strip_prefix('[') {
            Some(inside) => inside.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';'),
            None => after,
        };
        rest = rest.strip_prefix(|c: char| c.is_ascii_alphabetic()).unwrap_or(rest);
    }
    text.push_str(rest);
    if text.contains("#011") { text.replace("#011", "\t") } else { text }
}

/// The first label that stands before `: `, and the text behind it.
fn label(text: &str) -> Option<(&'static str, &str)> {
    let mut from = 0;
    while let Some(found) = text.get(from..)?.find(": ") {
        let at = from + found;
        let word = text.get(..at)?.rsplit(|c: char| !c.is_ascii_alphanumeric()).next()?;
        if let Some(label) = LABELS.iter().find(|label| **label == word) {
            return Some((*label, text.get(at + 2..)?.trim()));
        }
        from = at + 2;
    }
    None
}

/// With `log_error_verbosity = verbose` the code stands before the message: `XX001: invalid page …`.
fn without_sqlstate(text: &str) -> &str {
    match text.split_once(": ") {
        Some((code, rest)) if is_sqlstate(code) => rest,
        _ => text,
    }
}

fn is_sqlstate(code: &str) -> bool {
    code.len() == 5 && code.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
}

/// A csvlog record begins with its time: `2026-11-21 04:16:10.123 UTC,`.
fn csv_start(text: &str) -> bool {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let is = |at: usize, byte: u8| bytes.get(at) == Some(&byte);
    let date = digit(0) && digit(3) && is(4, b'-') && is(7, b'-') && is(10, b' ') && is(13, b':');
    let in_time = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | ':' | '.' | ' ');
    date && text.split(',').next().is_some_and(|time| time.len() < text.len() && time.chars().all(in_time))
}

fn odd_quotes(text: &str) -> bool {
    text.bytes().filter(|byte| *byte == b'"').count() % 2 == 1
}

/// Columns 12 to 15 of csvlog: error_severity, sql_state_code, message, detail.
fn csv_entry(text: &str) -> Option<Entry> {
    let columns: Vec<String> = csv_columns(text, 15);
    let [.., severity, state, message, detail] = columns.as_slice() else { return None };
    if columns.len() != 15 || !is_sqlstate(state) {
        return None;
    }
    let detail = (!detail.is_empty()).then(|| detail.clone());
    Some(Entry { severity: Some(severity.clone()), text: message.clone(), detail })
}

fn csv_columns(text: &str, count: usize) -> Vec<String> {
    let mut columns = vec![String::new()];
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let Some(column) = columns.last_mut() else { break };
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                column.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => {
                if columns.len() == count {
                    break;
                }
                columns.push(String::new());
            }
            c => column.push(c),
        }
    }
    columns
}

fn json_entry(text: &str) -> Option<Entry> {
    let start = text.find('{').filter(|_| text.trim_end().ends_with('}'))?;
    let value: Value = serde_json::from_str(text.get(start..)?).ok()?;
    // Some operators wrap the server's object in one of their own.
    let object = value.get("record").filter(|record| record.is_object()).unwrap_or(&value);
    let string = |key: &str| object.get(key).and_then(Value::as_str).map(str::to_owned);
    Some(Entry { severity: string("error_severity"), text: string("message")?, detail: string("detail") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(line: &str) -> Option<(Option<String>, String, Option<String>)> {
        let entry = EntryReader::default().line(line.as_bytes())?;
        Some((entry.severity, entry.text, entry.detail))
    }

    const PAGE: &str = "invalid page in block 7 of relation base/5/16384";

    #[test]
    fn every_destination_gives_the_same_entry() {
        let expected = Some((Some("ERROR".to_owned()), PAGE.to_owned(), None));
        for line in [
            "ERROR:  invalid page in block 7 of relation base/5/16384",
            "2026-11-21 04:16:10.123 UTC [4711] ERROR:  invalid page in block 7 of relation base/5/16384\r\n",
            "2026-11-21 04:16:10 UTC:10.0.0.1(5000):app@shop:[4711]: ERROR:  invalid page in block 7 of relation base/5/16384",
            "2026-11-21 04:16:10.123 UTC [4711] ERROR:  XX001: invalid page in block 7 of relation base/5/16384",
            "Nov 21 04:16:10 db postgres[4711]: [5-1] 2026-11-21 UTC [4711] ERROR:  invalid page in block 7 of relation base/5/16384",
            "\u{1b}[31mERROR\u{1b}[0m:  invalid page in block 7 of relation base/5/16384\u{1b}[0m",
            "psql:x.sql:1: ERROR:  invalid page in block 7 of relation base/5/16384",
            "2026-11-21 04:16:10.123 UTC,\"postgres\",\"shop\",4711,\"[local]\",6560.1,3,\"SELECT\",2026-11-21 04:16:09 UTC,3/2,0,ERROR,XX001,\"invalid page in block 7 of relation base/5/16384\",,,,,,\"select 1\",,,\"psql\",\"client backend\",,0",
            "{\"timestamp\":\"2026-11-21\",\"pid\":1,\"error_severity\":\"ERROR\",\"state_code\":\"XX001\",\"message\":\"invalid page in block 7 of relation base/5/16384\"}",
            "{\"level\":\"info\",\"record\":{\"error_severity\":\"ERROR\",\"message\":\"invalid page in block 7 of relation base/5/16384\"}}",
        ] {
            assert_eq!(entry(line), expected, "{line}");
        }
        assert_eq!(entry(PAGE), Some((None, PAGE.to_owned(), None)));
    }

    #[test]
    fn details_and_what_is_no_message() {
        let detail =
            entry("Nov 21 db postgres[1]: [5-2] #011DETAIL:  Could not open file \"pg_xact/0000\": x.");
        assert_eq!(detail.unwrap().0.as_deref(), Some("DETAIL"));
        let pasted = entry(
            "ERROR:  could not access status of transaction 7 DETAIL:  Could not open file \"pg_xact/0000\"",
        );
        let (_, text, detail) = pasted.unwrap();
        assert_eq!(text, "could not access status of transaction 7");
        assert_eq!(detail.as_deref(), Some("Could not open file \"pg_xact/0000\""));
        assert_eq!(entry("STATEMENT:  select 'invalid page in block 7 of relation base/5/16384'"), None);
        assert_eq!(entry(""), None);
    }

    #[test]
    fn a_csv_record_may_have_many_lines() {
        let mut reader = EntryReader::default();
        let start = "2026-11-21 04:16:10.123 UTC,\"postgres\",\"shop\",1,\"[local]\",6.1,3,\"SELECT\",2026-11-21 04:16:09 UTC,3/2,0,ERROR,XX001,\"say \"\"hi\"\"\",\"more\",,,,,\"select";
        let entry = reader.line(start.as_bytes()).unwrap();
        assert_eq!((entry.text.as_str(), entry.detail.as_deref()), ("say \"hi\"", Some("more")));
        assert_eq!(reader.line(format!("ERROR:  {PAGE}").as_bytes()), None);
        assert_eq!(reader.line(b"end\",,,\"psql\",\"client backend\",,0"), None);
        assert_eq!(reader.line(format!("ERROR:  {PAGE}").as_bytes()).unwrap().text, PAGE);
    }

    #[test]
    fn any_bytes_are_survived() {
        let mut reader = EntryReader::default();
        for line in [&b"\xff\xfe\x00"[..], b"\x1b", b"\x1b[", b"{", b"{}", b": ", b"ERROR: ", &[b'"'; 70_000]]
        {
            let _ = reader.line(line);
        }
    }
}
