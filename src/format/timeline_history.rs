//! A timeline history file, `0000000N.history`: the ancestors of timeline N and where it left them.
//!
//! ```text
//! 1<TAB>0/A139C0<TAB>at restore point "x42"       timeline 1 is this one's past up to 0/A139C0
//!                                                 (empty: the server writes one before each further line)
//! 2<TAB>0/A22118<TAB>no recovery target specified then timeline 2 up to 0/A22118; then N itself
//! ```
//!
//! The reader here takes exactly what the server takes: `fgets` into 1024 bytes (a longer line is read as
//! several), leading white space and lines that begin with `#` skipped, `sscanf("%u\t%X/%X")`, in which the
//! tab stands for any white space or none, the rest of the line ignored. Where the server gives up with
//! FATAL this reader notes the line and goes on. LSNs that go backwards are accepted by the server; they
//! arise when `latest` is combined with a target before an older branch.
//!
//! Source: `readTimeLineHistory`, `writeTimeLineHistory`, `tliOfPointInHistory` in access/transam/timeline.c.

use std::fmt;

use crate::pg::{Lsn, TimelineId};

/// `MAXPGPATH`, the size of the server's line buffer.
const LINE_BUFFER: usize = 1024;

/// A history file taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelineHistory {
    /// The timeline whose past this is: the file's name, not in its content.
    pub timeline: TimelineId,
    /// The ancestors, oldest first, as far as they could be read.
    pub entries: Vec<Ancestor>,
    /// Lines that a server refuses with FATAL.
    pub bad: Vec<BadLine>,
}

/// One ancestor: `TimeLineHistoryEntry`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ancestor {
    /// The ancestor.
    pub timeline: TimelineId,
    /// Where the ancestor itself began: the line before's switch point, 0 for the first.
    pub begin: Lsn,
    /// The switch point: the ancestor's WAL counts up to here.
    pub end: Lsn,
    /// Why the switch was made, as written.
    pub reason: String,
}

/// A line that no server accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Counted from 1, as an editor counts.
    pub line: usize,
    /// What is there, without the line's end.
    pub text: String,
    /// Why it is refused.
    pub fault: LineFault,
}

/// Why a line is refused: the server's message and hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineFault {
    /// No number at the start.
    NoTimeline,
    /// No LSN after the number.
    NoSwitchPoint,
    /// Not above the line before.
    NotIncreasing,
    /// Not below the timeline whose history it is.
    NotBelowChild,
}

impl fmt::Display for LineFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LineFault::NoTimeline => "syntax error in history file: Expected a numeric timeline ID.",
            LineFault::NoSwitchPoint => {
                "syntax error in history file: Expected a write-ahead log switchpoint location."
            }
            LineFault::NotIncreasing => {
                "invalid data in history file: Timeline IDs must be in increasing sequence."
            }
            LineFault::NotBelowChild => {
                "invalid data in history file: Timeline IDs must be less than child timeline's ID."
            }
        })
    }
}

/// A part of a timeline's past that really counts: see [`TimelineHistory::lineage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The timeline whose WAL it is.
    pub timeline: TimelineId,
    /// First position.
    pub begin: Lsn,
    /// End, exclusive; none for the timeline itself, which has no end yet.
    pub end: Option<Lsn>,
}

impl TimelineHistory {
    /// The past of a timeline without a history file: none, says the server.
    pub fn without_file(timeline: TimelineId) -> TimelineHistory {
        TimelineHistory { timeline, entries: Vec::new(), bad: Vec::new() }
    }

    /// Reads a file's content; `timeline` is its name.
    pub fn parse(timeline: TimelineId, content: &[u8]) -> TimelineHistory {
        let mut history = TimelineHistory::without_file(timeline);
        let mut begin = Lsn::INVALID;
        // Also of a line that is refused at the end only, because it is not below the child.
        let mut last = None;
        for (index, line) in content.split_inclusive(|byte| *byte == b'\n').enumerate() {
            // fgets takes one byte less than its buffer has, and never looks at what a NUL hides.
            for piece in line.chunks(LINE_BUFFER - 1) {
                let piece = piece.split(|byte| *byte == 0).next().unwrap_or_default();
                let visible = skip_space(piece);
                if visible.is_empty() || visible.first() == Some(&b'#') {
                    continue;
                }
                let text = || String::from_utf8_lossy(piece.trim_ascii_end()).into_owned();
                let mut refuse = |fault| history.bad.push(BadLine { line: index + 1, text: text(), fault });
                let Some((parent, rest)) = scan_number(piece, 10) else {
                    refuse(LineFault::NoTimeline);
                    continue;
                };
                let Some((end, rest)) = scan_lsn(rest) else {
                    refuse(LineFault::NoSwitchPoint);
                    continue;
                };
                let parent = TimelineId(parent);
                if last.is_some_and(|last| parent <= last) {
                    refuse(LineFault::NotIncreasing);
                    continue;
                }
                last = Some(parent);
                if parent >= timeline {
                    refuse(LineFault::NotBelowChild);
                    continue;
                }
                let reason = String::from_utf8_lossy(rest.trim_ascii()).into_owned();
                history.entries.push(Ancestor { timeline: parent, begin, end, reason });
                begin = end;
            }
        }
        history
    }

    /// The last ancestor: the timeline from which this one branched off, as the file tells it.
    pub fn parent(&self) -> Option<&Ancestor> {
        self.entries.last()
    }

    /// Pairs of neighbours whose switch points go backwards.
    pub fn backwards(&self) -> impl Iterator<Item = (&Ancestor, &Ancestor)> {
        self.entries.iter().zip(self.entries.iter().skip(1)).filter(|(before, after)| after.end < before.end)
    }

    /// Which timeline's WAL counts where, oldest first, this timeline last.
    ///
    /// A position belongs to the newest timeline that had begun by then. With switch points that go
    /// backwards the ancestors in between own nothing any more and are left out.
    pub fn lineage(&self) -> Vec<Span> {
        let own_begin = self.entries.last().map_or(Lsn::INVALID, |last| last.end);
        let mut spans = vec![Span { timeline: self.timeline, begin: own_begin, end: None }];
        let mut cut = own_begin;
        for ancestor in self.entries.iter().rev() {
            let end = ancestor.end.min(cut);
            if ancestor.begin < end {
                spans.push(Span { timeline: ancestor.timeline, begin: ancestor.begin, end: Some(end) });
                cut = ancestor.begin;
            }
        }
        spans.reverse();
        spans
    }
}

/// What `isspace` is in the C locale.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0B | 0x0C)
}

fn skip_space(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| !is_space(*byte)).unwrap_or(text.len());
    text.get(start..).unwrap_or_default()
}

/// `%X/%X`.
fn scan_lsn(text: &[u8]) -> Option<(Lsn, &[u8])> {
    let (high, rest) = scan_number(text, 16)?;
    let (low, rest) = scan_number(rest.strip_prefix(b"/")?, 16)?;
    Some((Lsn(u64::from(high) << 32 | u64::from(low)), rest))
}

/// `%u` (radix 10) or `%X` (radix 16) as the C library scans it: white space, a sign, for 16 an optional
/// 0x, digits; a number too large for 64 bits becomes the largest one, then only 32 bits are kept.
fn scan_number(text: &[u8], radix: u32) -> Option<(u32, &[u8])> {
    let mut rest = skip_space(text);
    let negative = rest.first() == Some(&b'-');
    if let Some(b'-' | b'+') = rest.first() {
        rest = rest.get(1..)?;
    }
    if radix == 16
        && let Some(digits) = rest.strip_prefix(b"0x").or_else(|| rest.strip_prefix(b"0X"))
    {
        rest = digits;
    }
    let digit = |byte: &u8| char::from(*byte).to_digit(radix);
    let count = rest.iter().take_while(|byte| digit(byte).is_some()).count();
    let (digits, rest) = rest.split_at_checked(count).filter(|(digits, _)| !digits.is_empty())?;
    let value = digits
        .iter()
        .filter_map(digit)
        .try_fold(0u64, |value, digit| value.checked_mul(u64::from(radix))?.checked_add(u64::from(digit)));
    let value = match value {
        Some(value) if negative => value.wrapping_neg(),
        Some(value) => value,
        None => u64::MAX,
    };
    Some((value as u32, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(timeline: u32, content: &str) -> TimelineHistory {
        TimelineHistory::parse(TimelineId(timeline), content.as_bytes())
    }

    fn lsn(text: &str) -> Lsn {
        text.parse().unwrap()
    }

    /// Written by a server 15 whose fourth timeline left the first one before the others did.
    const FOUR: &str = "1\t0/A04D28\tat restore point \"x42\"\n\
                        \n2\t0/A0E5C8\tat restore point \"x55\"\n\
                        \n3\t0/A02110\tat restore point \"x20\"\n";

    #[test]
    fn a_file_of_the_server() {
        assert_eq!(FOUR.len(), 104);
        let history = parse(4, FOUR);
        assert_eq!(history.bad, []);
        assert_eq!(history.entries.len(), 3);
        assert_eq!(history.entries[1].begin, lsn("0/A04D28"));
        assert_eq!(history.entries[1].end, lsn("0/A0E5C8"));
        assert_eq!(history.parent().unwrap().reason, "at restore point \"x20\"");
    }

    #[test]
    fn a_lineage_that_goes_backwards_skips_what_was_undone() {
        let history = parse(4, FOUR);
        assert_eq!(history.backwards().count(), 1);
        let expected = [(1, "0/0", Some("0/A02110")), (4, "0/A02110", None)];
        let found: Vec<_> =
            history.lineage().iter().map(|span| (span.timeline.0, span.begin, span.end)).collect();
        let expected: Vec<_> = expected.iter().map(|(t, b, e)| (*t, lsn(b), e.map(lsn))).collect();
        assert_eq!(found, expected);
        assert_eq!(parse(3, "1\t0/9765A80\tx\n\n2\t0/105AF7D0\ty\n").lineage().len(), 3);
    }

    #[test]
    fn what_the_server_accepts() {
        for accepted in [
            "1\t0/5000000\tno recovery target specified\n",
            "  1 0/5000000",
            "# a comment\n\n\t\n1\t\t 0/5000000 # rest\r\n",
            "1 0x0/0x5000000 notes",
            "+1 0/05000000",
            "4294967297\t0/5000000\t2^32 + 1, of which 32 bits are kept\n",
        ] {
            let history = parse(2, accepted);
            assert_eq!(history.bad, [], "{accepted:?}");
            assert_eq!(history.entries[0].timeline, TimelineId(1), "{accepted:?}");
            assert_eq!(history.entries[0].end, lsn("0/5000000"), "{accepted:?}");
        }
        for empty in ["", "\n \n", "# 1 0/5\n", "\0 1\t0/5\n"] {
            assert_eq!(parse(2, empty), TimelineHistory::without_file(TimelineId(2)), "{empty:?}");
        }
    }

    #[test]
    fn what_the_server_refuses() {
        for (text, fault) in [
            ("one 0/5", LineFault::NoTimeline),
            ("garbage", LineFault::NoTimeline),
            ("1", LineFault::NoSwitchPoint),
            ("1 0", LineFault::NoSwitchPoint),
            ("1 0/", LineFault::NoSwitchPoint),
            ("1 /5", LineFault::NoSwitchPoint),
            ("1 0 /5", LineFault::NoSwitchPoint),
            ("0/5000000", LineFault::NoSwitchPoint),
            ("3 0/5", LineFault::NotBelowChild),
            ("-1 0/5", LineFault::NotBelowChild),
        ] {
            let history = parse(3, text);
            assert_eq!(history.bad.len(), 1, "{text:?}");
            assert_eq!(history.bad[0].fault, fault, "{text:?}");
            assert_eq!(history.entries, [], "{text:?}");
        }
        let history = parse(5, "2 0/5 x\n1 0/6 y\nz\n3 0/7 w\n");
        assert_eq!(history.entries.len(), 2);
        let bad: Vec<_> = history.bad.iter().map(|bad| (bad.line, bad.text.as_str(), bad.fault)).collect();
        assert_eq!(bad, [(2, "1 0/6 y", LineFault::NotIncreasing), (3, "z", LineFault::NoTimeline)]);
    }

    #[test]
    fn a_long_line_is_read_in_pieces() {
        let line = format!("1\t0/5\t{}\n", "x".repeat(1100));
        let history = parse(2, &line);
        assert_eq!(history.entries.len(), 1);
        assert_eq!(history.bad.len(), 1, "the second piece is no line of its own");
    }

    #[test]
    fn random_bytes_are_only_bad_lines() {
        let mut seed = 1u64;
        for _ in 0..200 {
            let bytes: Vec<u8> = (0..3000)
                .map(|_| {
                    seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    b"0123456789ABCDEFx/\t\n #-+\xFF\0"[(seed >> 40) as usize % 26]
                })
                .collect();
            let history = TimelineHistory::parse(TimelineId(7), &bytes);
            assert!(history.entries.iter().all(|entry| entry.timeline < TimelineId(7)));
            assert!(history.lineage().iter().all(|span| span.end.is_none_or(|end| span.begin < end)));
        }
    }
}
