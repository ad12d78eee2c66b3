//! Moments as PostgreSQL's tools print them.
//!
//! pg_control holds seconds since 1970 (`pg_time_t`), WAL records microseconds since 2000
//! (`TimestampTz`). The zone is the one of the `TZ` environment variable, as for the stock tools.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::digits::{last_digits, push_decimal};

/// The zone that `TZ` names; UTC if it names none that exists, which is what the C library does.
pub fn local_zone() -> TimeZone {
    TimeZone::try_system().unwrap_or(TimeZone::UTC)
}

/// Seconds in 400 Gregorian years, after which the calendar repeats itself, weekdays included.
const CYCLE: i64 = 146_097 * DAY;
const DAY: i64 = 86_400;

/// A moment that the calendar library reaches, and the cycles from there to the one that is meant.
///
/// Damaged data can hold any moment. The last whole cycle before year 10000 has the time zone rules of all
/// cycles after it, the first one behind year -10000 those of all before it.
fn within_calendar(seconds: i64) -> (Timestamp, i64) {
    if let Ok(moment) = Timestamp::from_second(seconds) {
        return (moment, 0);
    }
    let reached = if seconds > 0 {
        Timestamp::MAX.as_second().div_euclid(CYCLE) - 1
    } else {
        Timestamp::MIN.as_second().div_euclid(CYCLE) + 1
    };
    let cycles = seconds.div_euclid(CYCLE) - reached;
    (Timestamp::from_second(seconds - cycles * CYCLE).unwrap_or_default(), cycles)
}

/// `%c` of the C locale: `Fri Nov 20 22:58:19 2026`, as pg_controldata prints a time.
///
/// Beyond the C library's 32-bit years 19 prints `???`, where the tools before it crash.
pub fn ctime(seconds: i64, zone: &TimeZone) -> String {
    let (moment, cycles) = within_calendar(seconds);
    let zoned = moment.to_zoned(zone.clone());
    match i32::try_from(i64::from(zoned.year()) + cycles * 400) {
        Ok(year) => format!("{} {year}", zoned.strftime("%a %b %e %H:%M:%S")),
        Err(_) => "???".to_owned(),
    }
}

/// RFC 3339 in UTC, for JSON and for comparison; `None` outside the calendar.
pub fn rfc3339(seconds: i64) -> Option<String> {
    Timestamp::from_second(seconds).ok().map(|moment| moment.to_string())
}

/// Seconds from 1970 to 2000, where PostgreSQL's timestamps begin.
pub const POSTGRES_EPOCH: i64 = 946_684_800;

/// `timestamptz_to_str` of the front-end tools: `2026-11-20 22:58:19.123456 UTC`.
///
/// With its corners: C divides towards zero, so a moment before 2000 has a negative fraction (`.-00500`), and a year
/// has the digits that it needs. Source: bin/pg_waldump/compat.c.
pub fn push_timestamptz(out: &mut Vec<u8>, micros: i64, zone: &TimeZone) {
    let seconds = micros / 1_000_000 + POSTGRES_EPOCH;
    let fraction = micros % 1_000_000;
    let local = zone.to_offset_info(within_calendar(seconds).0);
    let (year, rest) = civil(seconds + i64::from(local.offset().seconds()), b' ');
    if year < 0 {
        out.push(b'-');
    }
    push_decimal(out, year.unsigned_abs());
    out.extend_from_slice(&rest);
    out.push(b'.');
    match fraction.unsigned_abs() as u32 {
        digits if fraction >= 0 => out.extend_from_slice(&last_digits::<6>(digits)),
        // The sign takes one of the six places.
        digits => {
            out.push(b'-');
            if digits > 99_999 {
                out.extend_from_slice(&last_digits::<6>(digits));
            } else {
                out.extend_from_slice(&last_digits::<5>(digits));
            }
        }
    }
    out.push(b' ');
    out.extend_from_slice(local.abbreviation().as_bytes());
}

/// Microseconds since 2000 as RFC 3339 in UTC; years that it does not know as ISO 8601 writes them: `+010000`.
pub fn push_rfc3339_micros(out: &mut Vec<u8>, micros: i64) {
    let (year, rest) = civil(micros.div_euclid(1_000_000) + POSTGRES_EPOCH, b'T');
    if (0..=9999).contains(&year) {
        out.extend_from_slice(&last_digits::<4>(year as u32));
    } else {
        out.push(if year < 0 { b'-' } else { b'+' });
        out.extend_from_slice(&last_digits::<6>(year.unsigned_abs() as u32));
    }
    out.extend_from_slice(&rest);
    out.push(b'.');
    out.extend_from_slice(&last_digits::<6>(micros.rem_euclid(1_000_000) as u32));
    out.push(b'Z');
}

/// As the server writes a moment into its log (`timestamptz_to_str`): the offset in hours where that is enough, no
/// zeros at the end of the fraction.
pub fn timestamptz(micros: i64, zone: &TimeZone) -> String {
    let text = with_offset(micros, zone);
    let (moment, offset) = text.split_at(text.rfind(['+', '-']).unwrap_or(text.len()));
    let moment = match moment.split_once('.') {
        Some((_, fraction)) if fraction.bytes().any(|byte| byte != b'0') => moment.trim_end_matches('0'),
        Some((whole, _)) => whole,
        None => moment,
    };
    format!("{moment}{}", offset.strip_suffix(":00").unwrap_or(offset))
}

/// A `pg_time_t` as a `TimestampTz`.
pub fn from_pg_time(seconds: i64) -> Option<i64> {
    seconds.checked_sub(POSTGRES_EPOCH)?.checked_mul(1_000_000)
}

/// Microseconds since 2000 in a zone, with the offset from UTC in numbers: what every server reads as the same moment.
pub fn with_offset(micros: i64, zone: &TimeZone) -> String {
    let seconds = micros.div_euclid(1_000_000).saturating_add(POSTGRES_EPOCH);
    let offset = i64::from(zone.to_offset(within_calendar(seconds).0).seconds());
    let (year, rest) = civil(seconds.saturating_add(offset), b' ');
    let mut out = format!("{year:04}").into_bytes();
    out.extend_from_slice(&rest);
    out.push(b'.');
    out.extend_from_slice(&last_digits::<6>(micros.rem_euclid(1_000_000) as u32));
    out.push(if offset < 0 { b'-' } else { b'+' });
    let offset = offset.unsigned_abs() as u32;
    out.extend_from_slice(&last_digits::<2>(offset / 3600));
    out.push(b':');
    out.extend_from_slice(&last_digits::<2>(offset / 60 % 60));
    // Before about 1920 zones were not whole minutes.
    if !offset.is_multiple_of(60) {
        out.push(b':');
        out.extend_from_slice(&last_digits::<2>(offset % 60));
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A moment as a person writes it, in microseconds since 2000: `2026-11-21 14:02`, with seconds and a fraction if
/// there are any, with an offset (`+01`, `Z`) or else in `zone`.
pub fn parse_moment(text: &str, zone: &TimeZone) -> Result<i64, String> {
    let moment = match text.parse::<Timestamp>() {
        Ok(moment) => moment,
        Err(_) => {
            let local: DateTime = text.parse().map_err(|_| {
                "not a time such as \"2026-11-21 14:02:03.5\" or \"2026-11-21 14:02:03+01\"".to_owned()
            })?;
            let moment = zone.to_ambiguous_timestamp(local);
            if moment.is_ambiguous() {
                return Err("that hour came twice, or not at all, when the clocks were changed: give the \
                            offset, such as +01"
                    .to_owned());
            }
            moment.compatible().map_err(|error| error.to_string())?
        }
    };
    Ok(moment.as_microsecond().saturating_sub(POSTGRES_EPOCH * 1_000_000))
}

/// The Gregorian year of a moment without zone, and the rest of it: `-11-20 22:58:19`.
///
/// Counts in 400 years that begin in March, so that the leap day is the last one.
fn civil(seconds: i64, separator: u8) -> (i64, [u8; 15]) {
    // 0000-03-01 is 719468 days before 1970.
    let days = seconds.div_euclid(DAY) + 719_468;
    let cycle = days.div_euclid(146_097);
    // Both fit, and small numbers divide faster.
    let time = seconds.rem_euclid(DAY) as u32;
    let day = days.rem_euclid(146_097) as u32;
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Five months from March on have 153 days.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };

    let ([m, o], [d, a], [h, u]) = (last_digits(month), last_digits(day), last_digits(time / 3600));
    let ([i, n], [s, e]) = (last_digits(time / 60 % 60), last_digits(time % 60));
    let rest = [b'-', m, o, b'-', d, a, separator, h, u, b':', i, n, b':', s, e];
    (cycle * 400 + i64::from(year + next), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_pg_controldata_prints_it() {
        assert_eq!(ctime(1_795_215_499, &TimeZone::UTC), "Fri Nov 20 22:58:19 2026");
        assert_eq!(ctime(0, &TimeZone::UTC), "Thu Jan  1 00:00:00 1970");
        // What pg_controldata 15 prints for these.
        assert_eq!(ctime(4_399_841_726_604, &TimeZone::UTC), "Mon Jun  8 01:23:24 141395");
        assert_eq!(ctime(i64::MAX, &TimeZone::UTC), "???");
    }

    fn timestamptz(micros: i64, zone: &TimeZone) -> String {
        let mut out = Vec::new();
        push_timestamptz(&mut out, micros, zone);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn as_pg_waldump_prints_it() {
        let paris = TimeZone::get("Europe/Paris").unwrap();
        assert_eq!(timestamptz(848_529_219_000_042, &TimeZone::UTC), "2026-11-20 22:33:39.000042 UTC");
        assert_eq!(timestamptz(848_529_219_000_042, &paris), "2026-11-20 23:33:39.000042 CET");
        assert_eq!(timestamptz(836_000_000_000_000, &paris), "2026-06-29 00:13:20.000000 CEST");
        // What pg_waldump 11 to 19 print for commits at these moments.
        assert_eq!(timestamptz(-1, &TimeZone::UTC), "2000-01-01 00:00:00.-00001 UTC");
        assert_eq!(timestamptz(-123_456, &paris), "2000-01-01 01:00:00.-123456 CET");
        assert_eq!(timestamptz(i64::MIN, &TimeZone::UTC), "-290278-12-22 19:59:06.-775808 UTC");
        assert_eq!(timestamptz(i64::MIN, &paris), "-290278-12-22 20:08:27.-775808 LMT");
        assert_eq!(timestamptz(i64::MAX, &TimeZone::UTC), "294277-01-09 04:00:54.775807 UTC");
        assert_eq!(timestamptz(i64::MAX, &paris), "294277-01-09 05:00:54.775807 CET");
    }

    #[test]
    fn rfc3339_of_any_moment() {
        let text = |micros| {
            let mut out = Vec::new();
            push_rfc3339_micros(&mut out, micros);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(text(0), "2000-01-01T00:00:00.000000Z");
        assert_eq!(text(-1), "1999-12-31T23:59:59.999999Z");
        assert_eq!(text(i64::MIN), "-290278-12-22T19:59:05.224192Z");
        assert_eq!(text(i64::MAX), "+294277-01-09T04:00:54.775807Z");
    }

    #[test]
    fn moments_with_their_offset() {
        let paris = TimeZone::get("Europe/Paris").unwrap();
        assert_eq!(with_offset(848_529_219_000_042, &paris), "2026-11-20 23:33:39.000042+01:00");
        assert_eq!(with_offset(848_529_219_000_042, &TimeZone::UTC), "2026-11-20 22:33:39.000042+00:00");
        let texts = [
            "2026-11-20 23:33:39.000042",
            "2026-11-20T22:33:39.000042Z",
            "2026-11-20 23:33:39.000042+01",
            "2026-11-20 17:33:39.000042-05:00",
        ];
        for text in texts {
            assert_eq!(parse_moment(text, &paris), Ok(848_529_219_000_042), "{text}");
        }
        assert_eq!(parse_moment("2026-11-20 23:33", &paris), Ok(848_529_180_000_000));
        assert!(parse_moment("2026-10-25 02:30", &paris).unwrap_err().contains("twice"));
        for bad in ["", "14:02", "yesterday", "2026-13-01 00:00"] {
            assert!(parse_moment(bad, &paris).is_err(), "{bad}");
        }
        with_offset(i64::MAX, &paris);
        with_offset(i64::MIN, &paris);
    }

    /// Each day of more than 400 years, against the calendar library.
    #[test]
    fn days_of_the_calendar() {
        let first = Timestamp::from_second(-2_203_977_600).unwrap();
        let mut moment = first.to_zoned(TimeZone::UTC).datetime();
        for day in 0..150_000 {
            let (year, rest) = civil(first.as_second() + day * DAY + 3661, b' ');
            let ours = format!("{year}{}", String::from_utf8_lossy(&rest));
            assert_eq!(ours, format!("{} 01:01:01", moment.date()));
            moment = moment.tomorrow().unwrap();
        }
    }
}
