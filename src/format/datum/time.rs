//! Dates, times and intervals in the ISO style; times with time zone in UTC. Source: utils/adt/datetime.c.

use super::output::Value;

const SECOND: u64 = 1_000_000;
const DAY: i64 = 86_400_000_000;

/// Year (0: 1 BC), month and day of days since 2000 in the Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    // Counted in eras of 400 years from the 1st of March of the year 0, so that leap days come last.
    let days = days + 730_425;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + 400 * era + i64::from(month <= 2), month, day)
}

/// Days since 2000, then what follows a date, and BC.
fn with_date(days: i64, rest: &str) -> String {
    let (year, month, day) = civil(days);
    let (year, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    format!("{year:04}-{month:02}-{day:02}{rest}{era}")
}

/// Of seconds and microseconds: no more digits than it has.
fn fraction(micros: u64) -> String {
    match micros % SECOND {
        0 => String::new(),
        rest => format!(".{rest:06}").trim_end_matches('0').to_owned(),
    }
}

fn clock(micros: u64) -> String {
    let seconds = micros / SECOND;
    format!("{:02}:{:02}:{:02}{}", seconds / 3600, seconds / 60 % 60, seconds % 60, fraction(micros))
}

pub(super) fn date(value: &Value) -> Option<String> {
    Some(match value.data.i32(0)? {
        i32::MAX => "infinity".to_owned(),
        i32::MIN => "-infinity".to_owned(),
        days => with_date(days.into(), ""),
    })
}

fn moment(value: &Value, zone: &str) -> Option<String> {
    Some(match value.data.i64(0)? {
        i64::MAX => "infinity".to_owned(),
        i64::MIN => "-infinity".to_owned(),
        micros => {
            let time = clock(micros.rem_euclid(DAY).unsigned_abs());
            with_date(micros.div_euclid(DAY), &format!(" {time}{zone}"))
        }
    })
}

pub(super) fn timestamp(value: &Value) -> Option<String> {
    moment(value, "")
}

pub(super) fn timestamptz(value: &Value) -> Option<String> {
    moment(value, "+00")
}

pub(super) fn time(value: &Value) -> Option<String> {
    u64::try_from(value.data.i64(0)?).ok().map(clock)
}

/// The zone is in seconds to the west.
pub(super) fn timetz(value: &Value) -> Option<String> {
    let mut text = time(value)?;
    let zone = value.data.i32(8)?;
    let seconds = zone.unsigned_abs();
    text.push(if zone <= 0 { '+' } else { '-' });
    text.push_str(&format!("{:02}", seconds / 3600));
    if seconds % 3600 != 0 {
        text.push_str(&format!(":{:02}", seconds / 60 % 60));
    }
    if seconds % 60 != 0 {
        text.push_str(&format!(":{:02}", seconds % 60));
    }
    Some(text)
}

pub(super) fn interval(value: &Value) -> Option<String> {
    let (micros, days, months) = (value.data.i64(0)?, value.data.i32(8)?, value.data.i32(12)?);
    match (micros, days, months) {
        (i64::MAX, i32::MAX, i32::MAX) => return Some("infinity".to_owned()),
        (i64::MIN, i32::MIN, i32::MIN) => return Some("-infinity".to_owned()),
        _ => {}
    }
    let mut text = String::new();
    // A part behind a negative one says its sign.
    let mut behind_negative = false;
    for (part, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if part == 0 {
            continue;
        }
        let space = if text.is_empty() { "" } else { " " };
        let sign = if behind_negative && part > 0 { "+" } else { "" };
        let plural = if part == 1 { "" } else { "s" };
        text.push_str(&format!("{space}{sign}{part} {unit}{plural}"));
        behind_negative = part < 0;
    }
    if micros != 0 || text.is_empty() {
        let space = if text.is_empty() { "" } else { " " };
        let sign = match micros < 0 {
            true => "-",
            false if behind_negative => "+",
            false => "",
        };
        text.push_str(&format!("{space}{sign}{}", clock(micros.unsigned_abs())));
    }
    Some(text)
}
