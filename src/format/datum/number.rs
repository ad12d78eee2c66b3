//! `numeric`. Source: utils/adt/numeric.c.

use super::output::Value;

/// Digits that a number is printed with at most; a damaged header can ask for any count.
const MAX_DIGITS: usize = 1000;

/// `NumericData`: base 10000, a header of one or two words.
pub(super) fn numeric(value: &Value) -> Option<String> {
    let data = value.data;
    let header = data.u16(0)?;
    let (negative, scale, weight, start) = match header & 0xC000 {
        0xC000 => {
            return Some(match header & 0xF000 {
                0xD000 => "Infinity".to_owned(),
                0xF000 => "-Infinity".to_owned(),
                _ => "NaN".to_owned(),
            });
        }
        0x8000 => {
            let weight = i32::from(header & 0x3F) - if header & 0x40 != 0 { 64 } else { 0 };
            (header & 0x2000 != 0, (header & 0x1F80) >> 7, weight, 2)
        }
        sign => (sign == 0x4000, header & 0x3FFF, i32::from(data.u16(2)? as i16), 4),
    };
    let digit =
        |index: i32| usize::try_from(index).ok().and_then(|index| data.u16(start + 2 * index)).unwrap_or(0);
    if weight.unsigned_abs() as usize * 4 > MAX_DIGITS || usize::from(scale) > MAX_DIGITS {
        return None;
    }
    let mut text = if negative { "-" } else { "" }.to_owned();
    let mut whole = String::new();
    for index in 0..=weight {
        whole.push_str(&format!("{:04}", digit(index)));
    }
    let whole = whole.trim_start_matches('0');
    text.push_str(if whole.is_empty() { "0" } else { whole });
    if scale > 0 {
        // Before the first digit that is stored there are zeros only.
        let groups = 1..=i32::from(scale.div_ceil(4));
        let fraction: String = groups.map(|group| format!("{:04}", digit(weight + group))).collect();
        text.push('.');
        text.push_str(fraction.get(..usize::from(scale))?);
    }
    Some(text)
}
