//! Gaps that are known and accepted: ranges of segments whose loss is no news.
//!
//! ```text
//! # a baseline file: one range or one segment a line; what follows a # is said again as the reason
//! 00000001000000000000000A..00000001000000000000000C   # disk failure of 2026-03-01
//! 000000020000000000000011
//! ```

use crate::pg::{SegNo, TimelineId, WalFileName, WalSegSize};

/// One range that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedGap {
    /// First segment.
    pub first: WalFileName,
    /// Last segment, of the same timeline.
    pub last: WalFileName,
    /// Why, in the user's words.
    pub reason: Option<String>,
}

impl AcceptedGap {
    /// `NAME..NAME` or `NAME`.
    pub fn parse(text: &str) -> Result<AcceptedGap, String> {
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let name = |text: &str| {
            let parsed = WalFileName::parse(text.trim().as_bytes());
            parsed.ok_or_else(|| format!("\"{}\" is not the name of a WAL segment", text.trim()))
        };
        let (first, last) = (name(first)?, name(last)?);
        if first.timeline != last.timeline {
            return Err("both segments must be of one timeline".to_owned());
        }
        if last < first {
            return Err(format!("{last} is before {first}"));
        }
        Ok(AcceptedGap { first, last, reason: None })
    }

    /// The numbers of its segments.
    fn numbers(&self, size: WalSegSize) -> Option<(SegNo, SegNo)> {
        Some((self.first.segno(size)?, self.last.segno(size)?))
    }
}

/// Reads a baseline file. The error names the line.
pub fn parse_baseline(content: &[u8]) -> Result<Vec<AcceptedGap>, String> {
    let text = String::from_utf8_lossy(content);
    let mut gaps = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let (range, reason) =
            line.split_once('#').map_or((line, ""), |(range, reason)| (range, reason.trim()));
        if range.trim().is_empty() {
            continue;
        }
        let mut gap = AcceptedGap::parse(range).map_err(|error| format!("line {}: {error}", number + 1))?;
        gap.reason = Some(reason.to_owned()).filter(|reason| !reason.is_empty());
        gaps.push(gap);
    }
    Ok(gaps)
}

/// All that were accepted.
#[derive(Clone, Debug, Default)]
pub struct Accepted {
    /// In the order in which they were given.
    pub gaps: Vec<AcceptedGap>,
}

impl Accepted {
    /// Is every segment from `first` to `last` of a timeline accepted?
    pub fn covers(&self, timeline: TimelineId, first: SegNo, last: SegNo, size: WalSegSize) -> bool {
        let mut from = first;
        // Each pass goes on behind at least one range, or ends.
        while let Some(end) = self.end_of(timeline, from, size) {
            match end.checked_add(1) {
                Some(next) if end < last => from = next,
                _ => return true,
            }
        }
        false
    }

    /// The last segment of the ranges that hold one.
    fn end_of(&self, timeline: TimelineId, segno: SegNo, size: WalSegSize) -> Option<SegNo> {
        let own = self.gaps.iter().filter(|gap| gap.first.timeline == timeline);
        let around =
            own.filter_map(|gap| gap.numbers(size)).filter(|(first, last)| (first..=last).contains(&&segno));
        around.map(|(_, last)| last).max()
    }

    /// The ranges that have a segment in common with one.
    pub fn touching(
        &self,
        timeline: TimelineId,
        first: SegNo,
        last: SegNo,
        size: WalSegSize,
    ) -> impl Iterator<Item = &AcceptedGap> {
        self.gaps.iter().filter(move |gap| {
            gap.first.timeline == timeline
                && gap.numbers(size).is_some_and(|(begin, end)| begin <= last && first <= end)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_baselines() {
        let gap = |text| AcceptedGap::parse(text);
        assert_eq!(gap("00000001000000000000000A").unwrap().last.seg, 10);
        assert_eq!(gap("00000001000000000000000A..00000001000000000000000C").unwrap().last.seg, 12);
        for bad in [
            "",
            "..",
            "0A",
            "00000001000000000000000A..",
            "00000001000000000000000A..000000010000000000000009",
        ] {
            assert!(gap(bad).is_err(), "{bad}");
        }
        assert!(
            gap("00000001000000000000000A..00000002000000000000000A").unwrap_err().contains("one timeline")
        );
        let text = "# known\n\n00000001000000000000000A..00000001000000000000000B # the disk\n  00000001000000000000000C\n";
        let gaps = parse_baseline(text.as_bytes()).unwrap();
        assert_eq!(gaps[0].reason.as_deref(), Some("the disk"));
        assert!(parse_baseline(b"\nx\n").unwrap_err().starts_with("line 2: "));
        let accepted = Accepted { gaps };
        let covers = |first, last| accepted.covers(TimelineId(1), first, last, WalSegSize::DEFAULT);
        assert!(covers(10, 12) && covers(11, 11) && !covers(9, 12) && !covers(10, 13) && !covers(13, 13));
        assert!(!accepted.covers(TimelineId(2), 10, 10, WalSegSize::DEFAULT));
        assert_eq!(accepted.touching(TimelineId(1), 12, 20, WalSegSize::DEFAULT).count(), 1);
    }
}
