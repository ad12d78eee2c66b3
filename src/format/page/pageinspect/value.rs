//! Values as the server's output functions write them.

use std::fmt::Display;

use crate::pg::Major;

/// A value whose `Display` is that of the server.
pub(super) fn some(value: impl Display) -> Option<String> {
    Some(value.to_string())
}

/// A `boolean`.
pub(super) fn truth(value: bool) -> Option<String> {
    some(if value { 't' } else { 'f' })
}

/// A `bytea` in hex.
pub(super) fn bytea(bytes: &[u8]) -> Option<String> {
    Some(format!("\\x{}", hex::encode(bytes)))
}

/// An array of values without quotes, backslashes or spaces in them.
pub(super) fn array<T: Display>(values: &[T]) -> Option<String> {
    let quoted = values.iter().map(|value| {
        let text = value.to_string();
        if text.contains(',') { format!("\"{text}\"") } else { text }
    });
    Some(format!("{{{}}}", quoted.collect::<Vec<_>>().join(",")))
}

/// Flags by name; those without one as a number in hex.
pub(super) fn flags_array(flags: u16, names: &[(u16, &str)]) -> Option<String> {
    let set = names.iter().filter(|(bit, _)| flags & bit != 0);
    let mut words: Vec<String> = set.map(|(_, name)| (*name).to_owned()).collect();
    let rest = names.iter().fold(flags, |rest, (bit, _)| rest & !bit);
    if rest != 0 {
        words.push(format!("{rest:x}"));
    }
    array(&words)
}

/// A `double precision`: from 12 on as few digits as tell it from others, before that 15.
pub(super) fn float8(value: f64, major: Major) -> Option<String> {
    let digits = if major >= Major::V12 { format!("{value:e}") } else { format!("{value:.14e}") };
    Some(float(&digits, 15).unwrap_or_else(|| special(value)))
}

/// A `real`: from 12 on as few digits as tell it from others, before that 6.
pub(super) fn float4(value: f64, major: Major) -> Option<String> {
    let value = value as f32;
    let digits = if major >= Major::V12 { format!("{value:e}") } else { format!("{value:.5e}") };
    Some(float(&digits, 6).unwrap_or_else(|| special(value.into())))
}

fn special(value: f64) -> String {
    let word = match (value.is_nan(), value > 0.0) {
        (true, _) => "NaN",
        (_, true) => "Infinity",
        _ => "-Infinity",
    };
    word.to_owned()
}

/// As `%g` prints it, from digits with an exponent: with that if it is below -4, or as large as `precision`.
fn float(scientific: &str, precision: i32) -> Option<String> {
    let (mantissa, exponent) = scientific.split_once('e')?;
    let exponent: i32 = exponent.parse().ok()?;
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let all: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let digits = match all.trim_end_matches('0') {
        "" => "0",
        digits => digits,
    };
    let point = |whole: &str, rest: &str| match rest {
        "" => format!("{sign}{whole}"),
        rest => format!("{sign}{whole}.{rest}"),
    };
    Some(if exponent < -4 || exponent >= precision {
        let (first, rest) = digits.split_at_checked(1)?;
        let mark = if exponent < 0 { '-' } else { '+' };
        format!("{}e{mark}{:02}", point(first, rest), exponent.abs())
    } else if let Ok(places) = usize::try_from(exponent) {
        let digits = format!("{digits:0<width$}", width = places + 1);
        let (whole, rest) = digits.split_at_checked(places + 1)?;
        point(whole, rest)
    } else {
        let zeros = "0".repeat((-exponent - 1) as usize);
        point("0", &format!("{zeros}{digits}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_as_the_server_prints_them() {
        let eight = |value, major| float8(value, major).unwrap();
        let four = |value, major| float4(value, major).unwrap();
        for major in [Major::V11, Major::V12] {
            assert_eq!(eight(-1.0, major), "-1");
            assert_eq!(eight(0.0, major), "0");
            assert_eq!(eight(20000.0, major), "20000");
            assert_eq!(eight(1e15, major), "1e+15");
            assert_eq!(eight(0.00025, major), "0.00025");
            assert_eq!(eight(2.5e-7, major), "2.5e-07");
            assert_eq!(four(123456.0, major), "123456");
            assert_eq!(four(1e6, major), "1e+06");
            assert_eq!(eight(f64::NEG_INFINITY, major), "-Infinity");
        }
        assert_eq!(
            (eight(0.1 + 0.2, Major::V11), eight(0.1 + 0.2, Major::V12)),
            ("0.3".into(), "0.30000000000000004".into())
        );
        assert_eq!(
            (four(1234567.0, Major::V11), four(1234567.0, Major::V12)),
            ("1.23457e+06".into(), "1.234567e+06".into())
        );
    }
}
