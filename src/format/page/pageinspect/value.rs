//! Values as the server's output functions write them.

use std::fmt::Display;

use crate::format::datum;
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

/// A `double precision`.
pub(super) fn float8(value: f64, major: Major) -> Option<String> {
    Some(datum::float8(value, major))
}

/// A `real`.
pub(super) fn float4(value: f64, major: Major) -> Option<String> {
    Some(datum::float4(value as f32, major))
}
