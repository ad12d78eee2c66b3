//! `XLogRecPtr`: a position in the write-ahead log, in bytes.

use std::fmt;
use std::str::FromStr;

use super::Major;

/// A byte position in the WAL. Zero means "none" (`InvalidXLogRecPtr`).
///
/// `Display` gives `%X/%X`, as the server and its tools print it up to 18; [`Lsn::text`] gives the
/// notation of a given major.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// `InvalidXLogRecPtr`.
    pub const INVALID: Lsn = Lsn(0);

    /// Is this a position at all?
    pub fn is_valid(self) -> bool {
        self.0 != 0
    }

    /// As a tool of `major` prints it: 19 pads the low half to eight digits.
    pub fn text(self, major: Major) -> String {
        if major >= Major::V19 {
            format!("{:X}/{:08X}", self.0 >> 32, self.0 as u32)
        } else {
            self.to_string()
        }
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 as u32)
    }
}

/// A text that is not an LSN.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not an LSN: expected two hexadecimal numbers of up to 8 digits, such as 16/B374D848")]
pub struct BadLsn(String);

impl FromStr for Lsn {
    type Err = BadLsn;

    fn from_str(text: &str) -> Result<Self, BadLsn> {
        let half = |s: &str| {
            let digits = (1..=8).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_hexdigit());
            digits.then(|| u64::from_str_radix(s, 16).ok()).flatten()
        };
        text.split_once('/')
            .and_then(|(high, low)| Some(Lsn(half(high)? << 32 | half(low)?)))
            .ok_or_else(|| BadLsn(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notation_of_each_major() {
        let lsn: Lsn = "1/2B04E88".parse().unwrap();
        assert_eq!(lsn.0, 0x1_02B0_4E88);
        assert_eq!(lsn.to_string(), "1/2B04E88");
        assert_eq!(lsn.text(Major::V18), "1/2B04E88");
        assert_eq!(lsn.text(Major::V19), "1/02B04E88");
        assert_eq!("1/02B04E88".parse(), Ok(lsn));
    }

    #[test]
    fn refuses_what_is_no_lsn() {
        for bad in ["", "/", "1", "1/", "/1", "1/123456789", "+1/2", "g/0", "1/2/3", " 1/2"] {
            assert!(bad.parse::<Lsn>().is_err(), "{bad:?}");
        }
    }
}
