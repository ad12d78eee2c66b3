//! `backup_label`, as a start reads it.
//!
//! ```text
//! START WAL LOCATION: 0/900028 (file 000000010000000000000009)     where replay begins, and its timeline
//! CHECKPOINT LOCATION: 0/900080                                    the record to begin with, instead of pg_control's
//! BACKUP METHOD: streamed                                          the backup's end record has to come
//! BACKUP FROM: primary                                             standby: pg_control says where it ends
//! START TIME, LABEL, START TIMELINE (11+), INCREMENTAL FROM LSN (17+)
//! ```
//!
//! The server scans it with `fscanf`, line by line in this order. The first two lines must be exactly so; a later one
//! that is not as expected is passed over without a word, *and hides all that follow*: the scan stands still where it
//! failed. A label whose BACKUP METHOD was edited away so loses the end that recovery has to reach.
//!
//! Source: `read_backup_label` in access/transam/xlogrecovery.c (≤ 14 xlog.c). For reports see
//! [`BackupHistory`](super::backup_history::BackupHistory), which takes the lines in any order.

use crate::pg::{Lsn, Major, TimelineId};

/// What a start takes from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupLabel {
    /// Where replay begins.
    pub start: Lsn,
    /// Timeline of the segment named there.
    pub timeline: TimelineId,
    /// The checkpoint record to begin with.
    pub checkpoint: Lsn,
    /// Recovery must come to the record of the backup's end.
    pub end_required: bool,
    /// Taken from a standby.
    pub from_standby: bool,
}

/// Why a server refuses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// `invalid data in file "backup_label"`.
    InvalidData,
    /// Its START TIMELINE is another one than that of the segment's name.
    Timeline,
    /// `this is an incremental backup, not a data directory`.
    Incremental,
}

impl BackupLabel {
    /// Scans its content as a server of `major` does.
    pub fn scan(content: &[u8], major: Major) -> Result<BackupLabel, Refused> {
        let mut scan = Scan(content);
        let first = (|| {
            scan.literal("START WAL LOCATION: ")?;
            let start = scan.lsn()?;
            scan.literal(" (file ")?;
            let timeline = TimelineId(scan.number(16, 8)?);
            scan.word(16)?;
            scan.literal(")")?;
            scan.line_end()?;
            scan.literal("CHECKPOINT LOCATION: ")?;
            let checkpoint = scan.lsn()?;
            scan.line_end()?;
            Some((start, timeline, checkpoint))
        })();
        let (start, timeline, checkpoint) = first.ok_or(Refused::InvalidData)?;
        let is = |word: Option<&[u8]>, expected: &str| word == Some(expected.as_bytes());
        let end_required = is(scan.named("BACKUP METHOD: ", 19), "streamed");
        let from_standby = is(scan.named("BACKUP FROM: ", 19), "standby");
        scan.rest_of_line("START TIME: ", 127);
        scan.rest_of_line("LABEL: ", 1023);
        if major >= Major::V11
            && scan.literal("START TIMELINE: ").is_some()
            && let Some(named) = scan.number(10, usize::MAX)
        {
            scan.literal("\n");
            if named != timeline.0 {
                return Err(Refused::Timeline);
            }
        }
        if major >= Major::V17 && scan.literal("INCREMENTAL FROM LSN: ").is_some() && scan.lsn().is_some() {
            return Err(Refused::Incremental);
        }
        Ok(BackupLabel { start, timeline, checkpoint, end_required, from_standby })
    }
}

/// `fscanf`'s position: what a failed match has taken is gone.
struct Scan<'c>(&'c [u8]);

impl<'c> Scan<'c> {
    /// Text as it stands; white space in it stands for any amount, none included.
    fn literal(&mut self, text: &str) -> Option<()> {
        for wanted in text.bytes() {
            if wanted.is_ascii_whitespace() {
                self.skip_space();
            } else {
                self.0 = self.0.strip_prefix(&[wanted])?;
            }
        }
        Some(())
    }

    fn skip_space(&mut self) {
        self.0 = self.0.trim_ascii_start();
    }

    fn take_while(&mut self, most: usize, wanted: impl Fn(u8) -> bool) -> &'c [u8] {
        let count = self.0.iter().take(most).take_while(|byte| wanted(**byte)).count();
        let (taken, rest) = self.0.split_at_checked(count).unwrap_or_default();
        self.0 = rest;
        taken
    }

    /// `%X` or `%u` of at most this width; of more than 32 bits the low ones.
    fn number(&mut self, radix: u32, most: usize) -> Option<u32> {
        self.skip_space();
        let digits = self.take_while(most, |byte| char::from(byte).is_digit(radix));
        let value = |value: u64, digit: u8| {
            let digit = char::from(digit).to_digit(radix).unwrap_or(0);
            value.saturating_mul(radix.into()).saturating_add(digit.into())
        };
        (!digits.is_empty()).then(|| digits.iter().fold(0, |sum, digit| value(sum, *digit)) as u32)
    }

    /// `%X/%X`.
    fn lsn(&mut self) -> Option<Lsn> {
        let high = self.number(16, usize::MAX)?;
        self.literal("/")?;
        let low = self.number(16, usize::MAX)?;
        Some(Lsn(u64::from(high) << 32 | u64::from(low)))
    }

    /// `%16s`.
    fn word(&mut self, most: usize) -> Option<&'c [u8]> {
        self.skip_space();
        let word = self.take_while(most, |byte| !byte.is_ascii_whitespace());
        (!word.is_empty()).then_some(word)
    }

    /// `%c`, which has to be the end of the line.
    fn line_end(&mut self) -> Option<()> {
        self.0 = self.0.strip_prefix(b"\n")?;
        Some(())
    }

    fn named(&mut self, name: &str, most: usize) -> Option<&'c [u8]> {
        self.literal(name)?;
        let word = self.word(most)?;
        self.literal("\n");
        Some(word)
    }

    fn rest_of_line(&mut self, name: &str, most: usize) {
        if self.literal(name).is_some() && !self.take_while(most, |byte| byte != b'\n').is_empty() {
            self.literal("\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by pg_basebackup 15.
    const LABEL: &str = "START WAL LOCATION: 0/900028 (file 000000020000000000000009)\n\
        CHECKPOINT LOCATION: 0/900080\nBACKUP METHOD: streamed\nBACKUP FROM: standby\n\
        START TIME: 2026-11-21 10:00:00 UTC\nLABEL: pg_basebackup base backup\nSTART TIMELINE: 2\n";

    fn scan(text: &str) -> Result<BackupLabel, Refused> {
        BackupLabel::scan(text.as_bytes(), Major::V17)
    }

    #[test]
    fn a_label_of_the_server() {
        let label = scan(LABEL).unwrap();
        assert_eq!((label.start, label.checkpoint), (Lsn(0x90_0028), Lsn(0x90_0080)));
        assert_eq!(label.timeline, TimelineId(2));
        assert!(label.end_required && label.from_standby);
    }

    #[test]
    fn what_a_server_refuses() {
        for (from, to) in
            [("START WAL", "START"), ("(file 0", "(file x"), ("9)\n", "9) \n"), ("CHECKPOINT", "C")]
        {
            assert_eq!(scan(&LABEL.replace(from, to)), Err(Refused::InvalidData), "{from}");
        }
        assert_eq!(scan(""), Err(Refused::InvalidData));
        let other = LABEL.replace("TIMELINE: 2", "TIMELINE: 1");
        assert_eq!(scan(&other), Err(Refused::Timeline));
        assert!(BackupLabel::scan(other.as_bytes(), Major::V10).is_ok());
        let incremental = format!("{LABEL}INCREMENTAL FROM LSN: 0/800028\nINCREMENTAL FROM TLI: 1\n");
        assert_eq!(scan(&incremental), Err(Refused::Incremental));
        assert!(BackupLabel::scan(incremental.as_bytes(), Major::V16).is_ok());
    }

    #[test]
    fn a_line_that_is_not_as_expected_hides_the_others() {
        let label = scan(&LABEL.replace("BACKUP METHOD: streamed\n", "")).unwrap();
        assert!(!label.end_required && !label.from_standby);
        let label =
            scan(&LABEL.replace("BACKUP METHOD: streamed\n", "").replace("TIMELINE: 2", "TIMELINE: 7"));
        assert!(label.is_ok());
        let label = scan(&LABEL.replace("streamed", "pg_rewind")).unwrap();
        assert!(!label.end_required && label.from_standby);
    }
}
