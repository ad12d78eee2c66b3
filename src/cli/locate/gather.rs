//! The input: lines of logs, LSNs and names of WAL segments, the same ones counted together.

use std::collections::HashMap;
use std::io::{self, BufRead};

use crate::format::server_log::{EntryReader, Message, MessageReader, Subject, Topic};
use crate::pg::{Lsn, WalFileName};

/// Different places that are kept; a log with more is answered incompletely.
const KEPT: usize = 10_000;
/// Different words that are not known, of which so many are kept.
const KEPT_UNKNOWN: usize = 100;
/// Bytes of a line that are kept; messages are far shorter.
const LONGEST_LINE: usize = 64 << 10;

/// One thing that the input names.
#[derive(Debug)]
pub(in crate::cli) struct Reported {
    /// `None`: the user asked for a place.
    pub topic: Option<Topic>,
    pub subject: Subject,
    /// Line pointer within the block.
    pub item: Option<u16>,
    pub text: String,
    pub detail: Option<String>,
    pub checksums: Option<(u16, u16)>,
    /// The worst of the log's words that was seen.
    pub severity: Option<String>,
    pub count: u64,
    /// Of the input, from 1.
    pub line: u64,
    /// The last one of the same.
    pub last_line: u64,
}

impl Reported {
    /// What the user asks for without a message.
    pub(super) fn asked(text: String, subject: Subject, item: Option<u16>) -> Reported {
        Reported {
            topic: None,
            subject,
            item,
            text,
            detail: None,
            checksums: None,
            severity: None,
            count: 1,
            line: 0,
            last_line: 0,
        }
    }

    /// The thing in a few words.
    pub(super) fn name(&self) -> String {
        match &self.subject {
            _ if self.topic.is_none() => self.text.clone(),
            Subject::Blocks { relation, first, last } if first == last => {
                format!("block {first} of {}", relation.fork_path())
            }
            Subject::Blocks { relation, first, .. } => format!("block {first} of {}", relation.fork_path()),
            Subject::Index { index, block: Some(block), .. } => format!("block {block} of index \"{index}\""),
            Subject::Tuple { table, block, item: Some(item), .. } => {
                format!("tid ({block},{item}) of \"{table}\"")
            }
            Subject::Tuple { table, block, .. } => format!("block {block} of \"{table}\""),
            Subject::Slru { slru, number: Some(number), .. } => {
                format!("entry {number} of {}", slru.directory())
            }
            Subject::Transaction(xid) => format!("the status of transaction {xid}"),
            Subject::Wal { lsn: Some(lsn), .. } => lsn.to_string(),
            _ => format!("\"{}\"", self.text),
        }
    }
}

/// An end of a session or of the server, in words that are not known.
#[derive(Debug)]
pub(in crate::cli) struct Unknown {
    pub severity: String,
    pub text: String,
    pub count: u64,
    pub line: u64,
    pub last_line: u64,
}

/// How every server talks to clients that come at the wrong time, or are sent away: nothing is wrong with the data.
const USUAL: &[&str] = &[
    "the database system is ",
    "terminating ",
    "canceling ",
    "sorry, too many clients already",
    "remaining connection slots are reserved",
    "too many connections for ",
    "password authentication failed",
    "no pg_hba.conf entry",
    "pg_hba.conf rejects",
    "connection to client lost",
    "connection to client is not secure",
    "could not connect to the primary server",
    "could not receive data from WAL stream",
    "could not start WAL streaming",
    "unsupported frontend protocol",
    "invalid length of startup packet",
    "peer authentication failed",
    "role \"",
    "database \"",
];

/// What was understood, and what not.
#[derive(Debug, Default)]
pub(in crate::cli) struct Gathered {
    pub reported: Vec<Reported>,
    known: HashMap<(Option<Topic>, Subject), usize>,
    reader: MessageReader,
    /// FATAL and PANIC in words that are not known, by the words: the first line, how often, the severity.
    pub unknown: Vec<Unknown>,
    /// Input lines.
    pub lines: u64,
    /// Messages among them.
    pub understood: u64,
    too_many: u64,
    /// Of those in words that are not known, how many were not kept.
    pub too_many_unknown: u64,
    pub not_understood: Vec<(String, String)>,
}

const NOT_UNDERSTOOD: &str =
    "no message that pgforensic knows; only English ones can be understood (lc_messages = C)";

impl Gathered {
    pub(super) fn add(&mut self, reported: Reported) {
        // Without a place, only the same words are the same thing.
        let key = (
            reported.topic,
            match &reported.subject {
                Subject::Nothing => Subject::File(reported.text.clone()),
                subject => subject.clone(),
            },
        );
        if let Some(known) = self.known.get(&key).and_then(|index| self.reported.get_mut(*index)) {
            known.count += reported.count;
            known.last_line = reported.last_line;
            known.checksums = known.checksums.or(reported.checksums);
            return;
        }
        if self.reported.len() >= KEPT {
            self.too_many += 1;
            return;
        }
        self.known.insert(key, self.reported.len());
        self.reported.push(reported);
    }

    fn message(&mut self, message: Message) {
        self.understood += 1;
        let Message { topic, subject, severity, text, detail, checksums, line } = message;
        self.add(Reported {
            topic: Some(topic),
            subject,
            item: None,
            text,
            detail,
            checksums,
            severity,
            count: 1,
            line,
            last_line: line,
        });
    }

    fn line(&mut self, line: &[u8]) {
        self.lines += 1;
        for message in self.reader.line(line) {
            self.message(message);
        }
        self.note_unknown();
    }

    fn note_unknown(&mut self) {
        let Some((line, entry)) = self.reader.take_unknown() else { return };
        if USUAL.iter().any(|usual| entry.text.starts_with(usual)) {
            return;
        }
        if let Some(known) = self.unknown.iter_mut().find(|known| known.text == entry.text) {
            known.count += 1;
            known.last_line = line;
        } else if self.unknown.len() < KEPT_UNKNOWN {
            let severity = entry.severity.unwrap_or_default();
            self.unknown.push(Unknown { severity, text: entry.text, count: 1, line, last_line: line });
        } else {
            self.too_many_unknown += 1;
        }
    }

    /// One argument: an LSN, a segment's name, or lines of a log.
    pub(super) fn argument(&mut self, argument: &str) {
        let name = argument.trim();
        let lsn = name.parse::<Lsn>().ok();
        let segment = WalFileName::parse(name.as_bytes());
        if lsn.is_some() || segment.is_some() {
            self.lines += 1;
            self.understood += 1;
            let subject = Subject::Wal { lsn, segment, offset: None };
            return self.add(Reported::asked(name.to_owned(), subject, None));
        }
        for line in argument.lines() {
            self.line(line.as_bytes());
        }
        if !says_something(argument) {
            self.not_understood.push((argument.to_owned(), NOT_UNDERSTOOD.to_owned()));
        }
    }

    /// A whole log.
    pub(in crate::cli) fn log(&mut self, input: &mut impl BufRead) -> io::Result<()> {
        let before = self.understood;
        let mut line = Vec::new();
        while next_line(input, &mut line)? {
            self.line(&line);
        }
        self.flush();
        if self.understood == before {
            self.not_understood.push(("-".to_owned(), NOT_UNDERSTOOD.to_owned()));
        }
        Ok(())
    }

    fn flush(&mut self) {
        for message in self.reader.finish() {
            self.message(message);
        }
        self.note_unknown();
    }

    pub(in crate::cli) fn finish(&mut self) {
        self.flush();
        if self.too_many > 0 {
            let why = format!(
                "{} more messages about other places: only the first {KEPT} are told apart",
                self.too_many
            );
            self.not_understood.push(("-".to_owned(), why));
        }
    }

    pub(super) fn totals(&self) -> [(&'static str, &'static str, u64); 2] {
        [("lines", "Lines read:", self.lines), ("messages", "Messages understood:", self.understood)]
    }
}

/// Does an argument report something by itself, or add to the one before it?
fn says_something(argument: &str) -> bool {
    let (mut messages, mut entries) = (MessageReader::default(), EntryReader::default());
    let mut lines = argument.lines();
    lines.any(|line| {
        !messages.line(line.as_bytes()).is_empty()
            || entries.line(line.as_bytes()).is_some_and(|entry| entry.is_detail())
    }) || !messages.finish().is_empty()
}

/// Reads up to the end of a line and keeps its first bytes; false at the end of the input.
fn next_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut any = false;
    loop {
        let bytes = match input.fill_buf() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if bytes.is_empty() {
            return Ok(any);
        }
        any = true;
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let count = end.map_or(bytes.len(), |end| end + 1);
        let room = LONGEST_LINE.saturating_sub(line.len());
        line.extend(bytes.iter().take(count).take(room));
        input.consume(count);
        if end.is_some() {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_counted() {
        let mut gathered = Gathered::default();
        let log = "ERROR:  invalid page in block 7 of relation base/5/16384\nLOG:  x\n".repeat(3)
            + "ERROR:  invalid page in block 8 of relation base/5/16384";
        gathered.log(&mut log.as_bytes()).unwrap();
        gathered.finish();
        assert_eq!((gathered.lines, gathered.understood, gathered.reported.len()), (7, 4, 2));
        assert_eq!(gathered.reported[0].count, 3);
    }

    #[test]
    fn a_line_without_end_does_not_fill_the_memory() {
        let mut line = Vec::new();
        let long = vec![b'x'; 1 << 20];
        assert!(next_line(&mut long.as_slice(), &mut line).unwrap());
        assert_eq!(line.len(), LONGEST_LINE);
        assert!(!next_line(&mut &b""[..], &mut line).unwrap());
    }

    #[test]
    fn arguments_of_every_kind() {
        let mut gathered = Gathered::default();
        gathered.argument("16/B374D848");
        gathered.argument("000000010000000000000003");
        gathered.argument("ERROR:  could not access status of transaction 730");
        gathered.argument("DETAIL:  Could not open file \"pg_xact/0000\": No such file or directory.");
        gathered.argument("FEHLER:  ungültige Seite in Block 3 von Relation base/5/16384");
        gathered.finish();
        assert_eq!(gathered.reported.len(), 3, "{:?}", gathered.reported);
        assert!(gathered.reported[2].detail.is_some());
        assert_eq!(gathered.not_understood.len(), 1);
    }
}
