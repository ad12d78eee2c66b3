//! Entries to messages: what is reported, and about which place.

use super::line::{Entry, EntryReader};
use super::patterns::{DETAILS, FILES, PATTERNS, Topic};
use super::template::{Captures, match_anywhere, match_start};
use crate::format::slru::Slru;
use crate::pg::relation::RelPath;
use crate::pg::{BlockNumber, Lsn, WalFileName};

/// The thing that a message names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// Blocks of a fork of a relation, from the first to the last one.
    Blocks {
        /// The relation; its segment is that of the message, if it names a segment's file.
        relation: RelPath,
        /// First block of the fork.
        first: BlockNumber,
        /// Last block of the fork.
        last: BlockNumber,
    },
    /// A block of one segment file, counted from the start of this file, as pg_checksums does.
    BlockOfFile {
        /// The file.
        relation: RelPath,
        /// Block in the file.
        block: BlockNumber,
    },
    /// A relation's file as a whole.
    RelationFile(RelPath),
    /// Any other file, below the data directory.
    File(String),
    /// An entry of an SLRU.
    Slru {
        /// The cache.
        slru: Slru,
        /// The number of the entry, if the message says it.
        number: Option<u64>,
        /// The file that the message names, and the offset in it.
        file: Option<(String, Option<u64>)>,
    },
    /// A value in a TOAST table.
    Toast {
        /// `pg_toast_` and the OID of the table that it belongs to.
        table: String,
        /// `chunk_id`.
        value: u64,
        /// `chunk_seq`, if the message names one.
        chunk: Option<u64>,
    },
    /// A place in a table that is known by name only.
    Tuple {
        /// The name.
        table: String,
        /// The block.
        block: BlockNumber,
        /// Number of the line pointer.
        item: Option<u16>,
        /// Number of the column.
        attribute: Option<u16>,
    },
    /// A place in an index that is known by name only.
    Index {
        /// The name.
        index: String,
        /// The block.
        block: Option<BlockNumber>,
        /// Another block of the index that plays a part.
        other: Option<BlockNumber>,
        /// The tuple of the table that it is about.
        tid: Option<(BlockNumber, u16)>,
    },
    /// A position in the WAL.
    Wal {
        /// The position.
        lsn: Option<Lsn>,
        /// The segment that the message names.
        segment: Option<WalFileName>,
        /// Offset in the segment.
        offset: Option<u64>,
    },
    /// A transaction without a place, for example the `xmin` of a tuple nobody names.
    Transaction(u64),
    /// Nothing that could be looked at.
    Nothing,
}

/// A message that reports damage, and what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The kind of trouble.
    pub topic: Topic,
    /// The thing.
    pub subject: Subject,
    /// `FATAL`, `PANIC`, …, if the line says it.
    pub severity: Option<String>,
    /// The message's words, without prefix.
    pub text: String,
    /// The DETAIL's.
    pub detail: Option<String>,
    /// Checksums calculated and stored in the page.
    pub checksums: Option<(u16, u16)>,
    /// The line of the input that it begins in, from 1; 0: it was not read from lines.
    pub line: u64,
}

/// Takes a log's lines and joins those that belong together: DETAIL to its message, and
/// "page verification failed" to the message about the block, which follows it.
#[derive(Debug, Default)]
pub struct MessageReader {
    entries: EntryReader,
    lines: u64,
    /// The last entry, to which a DETAIL may still come, and its line.
    pending: Option<(u64, Entry)>,
    checksums: Option<Message>,
    /// The last entry that is FATAL or PANIC and none of the known messages, with its line.
    unknown: Option<(u64, Entry)>,
}

impl MessageReader {
    /// Takes a line; gives the messages that are complete with it.
    pub fn line(&mut self, line: &[u8]) -> Vec<Message> {
        self.lines += 1;
        let Some(entry) = self.entries.line(line) else { return Vec::new() };
        if entry.is_detail()
            && let Some((_, pending)) = self.pending.as_mut().filter(|(_, pending)| pending.detail.is_none())
        {
            pending.detail = Some(entry.text);
            return Vec::new();
        }
        let complete = self.pending.replace((self.lines, entry));
        self.complete(complete)
    }

    /// The last messages.
    pub fn finish(&mut self) -> Vec<Message> {
        let last = self.pending.take();
        let mut messages = self.complete(last);
        messages.extend(self.checksums.take());
        messages
    }

    /// What the last line completed, if it ended a session or the server with words that are not known.
    pub fn take_unknown(&mut self) -> Option<(u64, Entry)> {
        self.unknown.take()
    }

    fn complete(&mut self, entry: Option<(u64, Entry)>) -> Vec<Message> {
        let message = entry.and_then(|(line, entry)| match Message::of(&entry) {
            Some(message) => Some(Message { line, ..message }),
            None => {
                let ends = matches!(entry.severity.as_deref(), Some("FATAL" | "PANIC"));
                self.unknown = ends.then_some((line, entry));
                None
            }
        });
        message.map_or_else(Vec::new, |message| self.join(message))
    }

    fn join(&mut self, mut message: Message) -> Vec<Message> {
        let before = self.checksums.take();
        if message.checksums.is_some() && message.subject == Subject::Nothing {
            self.checksums = Some(message);
            return before.into_iter().collect();
        }
        let about_a_page = matches!(message.topic, Topic::InvalidPage | Topic::Zeroed | Topic::Checksum);
        match before {
            Some(before) if about_a_page && message.checksums.is_none() => {
                message.checksums = before.checksums;
                vec![message]
            }
            before => before.into_iter().chain([message]).collect(),
        }
    }
}

impl Message {
    /// What an entry reports; `None` if it is none of the known messages.
    pub fn of(entry: &Entry) -> Option<Message> {
        // With a severity the message begins behind it; a bare text may have anything before.
        let fit = |template| match entry.severity {
            Some(_) => match_start(template, &entry.text),
            None => match_anywhere(template, &entry.text),
        };
        let known = PATTERNS.iter().find_map(|row| Some((Some(row.topic), fit(row.template)?)));
        let (topic, mut captures) =
            known.or_else(|| FILES.iter().find_map(|template| Some((None, fit(template)?))))?;
        let detail = entry.detail.as_deref().or_else(|| entry.is_detail().then_some(entry.text.as_str()));
        let details = detail.and_then(|text| DETAILS.iter().find_map(|template| match_start(template, text)));
        captures.extend(details.unwrap_or_default());
        let subject = subject(&captures);
        // A message about a file alone is known by what the file is.
        let topic = match (&subject, topic) {
            (Subject::Slru { slru, .. }, None | Some(Topic::Transaction)) => match slru {
                Slru::MultiXactOffset | Slru::MultiXactMember => Topic::MultiXact,
                _ => Topic::Transaction,
            },
            (_, Some(topic)) => topic,
            (Subject::RelationFile(_), None) => Topic::RelationFile,
            (Subject::Wal { .. }, None) => Topic::WalRemoved,
            _ => return None,
        };
        let sum = |decimal, hexadecimal| {
            let number = captures.number(decimal).or_else(|| captures.number(hexadecimal))?;
            u16::try_from(number).ok()
        };
        Some(Message {
            topic,
            subject,
            severity: entry.severity.clone(),
            text: entry.text.clone(),
            detail: entry.detail.clone(),
            checksums: sum("calculated", "hex").zip(sum("expected", "hex2")),
            line: 0,
        })
    }
}

fn subject(captures: &Captures) -> Subject {
    let block = captures.number32("block");
    let item = captures.number("item").and_then(|item| u16::try_from(item).ok());
    let range = captures.number32("first").zip(captures.number32("last"));
    let relation = captures.text("relation").or_else(|| captures.text("file")).and_then(RelPath::parse);
    if let Some(relation) = relation {
        return match range.or(block.zip(block)) {
            Some((first, last)) if first <= last => blocks(relation, first, last),
            _ => Subject::RelationFile(relation),
        };
    }
    if let Some(subject) = slru(captures) {
        return subject;
    }
    if let Some(table) = captures.text("toast").map(str::to_owned) {
        let value = captures.number("value").unwrap_or_default();
        return Subject::Toast { table, value, chunk: captures.number("chunk") };
    }
    if let Some(index) = captures.text("index").map(str::to_owned) {
        let tid = captures.number32("tid_block").zip(item);
        return Subject::Index { index, block, other: captures.number32("other"), tid };
    }
    if let Some((table, block)) = captures.text("table").map(str::to_owned).zip(block) {
        let attribute = captures.number("attribute").and_then(|number| u16::try_from(number).ok());
        return Subject::Tuple { table, block, item, attribute };
    }
    let (lsn, segment) = (captures.lsn("lsn"), captures.wal("segment"));
    if lsn.is_some() || segment.is_some() {
        return Subject::Wal { lsn, segment, offset: captures.number("offset") };
    }
    if let Some(path) = captures.text("file") {
        let name = path.rsplit('/').next().unwrap_or(path);
        return match WalFileName::parse(name.as_bytes()) {
            Some(segment) => {
                Subject::Wal { lsn: None, segment: Some(segment), offset: captures.number("offset") }
            }
            None => Subject::File(path.to_owned()),
        };
    }
    captures.number("xid").map_or(Subject::Nothing, Subject::Transaction)
}

/// A block behind the name of a segment file is one of the fork, but for pg_checksums and, up to 15, the server's
/// base backup, which count from the start of the file. Both cannot be true of a later segment.
fn blocks(relation: RelPath, first: BlockNumber, last: BlockNumber) -> Subject {
    match relation.name.block(0) {
        Some(start) if first < start => Subject::BlockOfFile { relation, block: first },
        _ => Subject::Blocks { relation, first, last },
    }
}

fn slru(captures: &Captures) -> Option<Subject> {
    let (xid, multi, member) = (captures.number("xid"), captures.number("multi"), captures.number("member"));
    if let Some((slru, file)) = captures.text("file").and_then(Slru::of_file) {
        let number = match slru {
            Slru::MultiXactMember => member,
            // Up to 18 the server calls a multixact a transaction here.
            Slru::MultiXactOffset => multi.or(xid),
            _ => xid,
        };
        return Some(Subject::Slru { slru, number, file: Some((file, captures.number("offset"))) });
    }
    match (member, multi, xid) {
        (_, Some(multi), None) => {
            Some(Subject::Slru { slru: Slru::MultiXactOffset, number: Some(multi), file: None })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(lines: &str) -> Vec<Message> {
        let mut reader = MessageReader::default();
        let mut messages: Vec<_> = lines.lines().flat_map(|line| reader.line(line.as_bytes())).collect();
        messages.extend(reader.finish());
        messages
    }

    fn one(lines: &str) -> Message {
        let mut found = messages(lines);
        assert_eq!(found.len(), 1, "{lines}: {found:?}");
        found.pop().unwrap()
    }

    /// Every pattern reads a line that is written as itself.
    #[test]
    fn every_pattern_fits_a_line_of_its_own() {
        for row in PATTERNS {
            let line = sample(row.template);
            let message = one(&format!("2026-11-21 UTC [1] LOG:  {line}"));
            assert_eq!(message.topic, row.topic, "{line}");
            assert_eq!(one(&line).topic, row.topic, "{line}");
            assert_eq!(message.text, line);
            let place = !matches!(message.subject, Subject::Nothing);
            assert_eq!(
                place,
                row.template.contains("block}") || sample_has_place(row.template),
                "{line}: {message:?}"
            );
        }
    }

    fn sample_has_place(template: &str) -> bool {
        ["{relation}", "{file}", "{lsn}", "{segment}", "{toast}", "{index}", "{xid}", "{multi}"]
            .iter()
            .any(|hole| template.contains(hole))
    }

    fn sample(template: &str) -> String {
        let mut text = template.to_owned();
        for (hole, value) in [
            ("{relation}", "base/5/16384"),
            ("{file}", "base/5/16384"),
            ("{lsn}", "0/3000060"),
            ("{lsn2}", "0/2000000"),
            ("{segment}", "000000010000000000000003"),
            ("{hex}", "8E12"),
            ("{hex2}", "301"),
            ("{toast}", "pg_toast_16391"),
            ("{index}", "t_pkey"),
            ("{table}", "public.t"),
            ("{why}", "Input/output error"),
            ("{first}", "7"),
            ("{last}", "9"),
        ] {
            text = text.replace(hole, value);
        }
        while let Some((start, rest)) = text.split_once('{') {
            text = format!("{start}12{}", rest.split_once('}').unwrap().1);
        }
        text
    }

    #[test]
    fn a_page_and_its_checksums_are_one() {
        let message =
            one("WARNING:  page verification failed, calculated checksum 14734 but expected 1423\n\
             ERROR:  invalid page in block 3 of relation base/5/16384");
        assert_eq!(message.checksums, Some((14734, 1423)));
        assert!(matches!(message.subject, Subject::Blocks { first: 3, last: 3, .. }));
        assert_eq!(
            messages("WARNING:  page verification failed, calculated checksum 1 but expected 2\nLOG:  x")
                .len(),
            1
        );
    }

    #[test]
    fn a_detail_says_what_a_transaction_is() {
        let up_to_18 = "ERROR:  could not access status of transaction 730\nDETAIL:  ";
        let message = one(&format!(
            "{up_to_18}Could not read from file \"pg_xact/0000\" at offset 245760: read too few bytes."
        ));
        let Subject::Slru { slru, number, file } = message.subject else { panic!() };
        assert_eq!(
            (slru, number, file),
            (Slru::Xact, Some(730), Some(("pg_xact/0000".into(), Some(245_760))))
        );
        let message = one(&format!(
            "{up_to_18}Could not open file \"pg_multixact/offsets/0000\": No such file or directory."
        ));
        assert_eq!(message.topic, Topic::MultiXact);
        let message = one("ERROR:  could not open file \"pg_xact/0000\": No such file or directory\n\
             DETAIL:  Could not access commit status of transaction 730.");
        assert!(matches!(message.subject, Subject::Slru { slru: Slru::Xact, number: Some(730), .. }));
        assert_eq!(message.topic, Topic::Transaction);
    }

    #[test]
    fn blocks_of_files_and_of_forks() {
        let message = one(
            "pg_checksums: error: checksum verification failed in file \"data/base/5/16384.1\", block 3: calculated checksum 8E12 but block contains 301",
        );
        assert!(matches!(message.subject, Subject::BlockOfFile { block: 3, .. }));
        assert_eq!(message.checksums, Some((0x8E12, 0x301)));
        let message =
            one("ERROR:  could not read block 131075 in file \"base/5/16384.1\": read only 0 of 8192 bytes");
        assert!(matches!(message.subject, Subject::Blocks { first: 131_075, .. }));
        assert_eq!(message.topic, Topic::BehindEnd);
    }

    #[test]
    fn other_files_and_other_messages_are_left_alone() {
        assert_eq!(messages("LOG:  could not open file \"postmaster.pid\": No such file or directory"), []);
        assert_eq!(messages("LOG:  statement: select 'invalid page in block 1 of relation base/5/6'"), []);
        assert_eq!(
            one("ERROR:  could not open file \"base/5/16384\": No such file or directory").topic,
            Topic::RelationFile
        );
    }
}
