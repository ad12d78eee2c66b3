//! Moments as PostgreSQL's tools print them.
//!
//! pg_control holds seconds since 1970 (`pg_time_t`), WAL records microseconds since 2000
//! (`TimestampTz`). The zone is the one of the `TZ` environment variable, as for the stock tools.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The zone that `TZ` names; UTC if it names none that exists, which is what the C library does.
pub fn local_zone() -> TimeZone {
    TimeZone::try_system().unwrap_or(TimeZone::UTC)
}

/// Seconds in 400 Gregorian years, after which the calendar repeats itself, weekdays included.
const CYCLE: i64 = 146_097 * 86_400;

/// `%c` of the C locale: `Fri Nov 20 22:58:19 2026`, as pg_controldata prints a time.
///
/// A damaged file can hold any moment. Years that the calendar library does not reach are computed in a
/// cycle that it reaches; beyond the C library's 32-bit years 19 prints `???`, where the tools before it crash.
pub fn ctime(seconds: i64, zone: &TimeZone) -> String {
    let cycles = if Timestamp::from_second(seconds).is_ok() { 0 } else { seconds.div_euclid(CYCLE) };
    let within = seconds - cycles * CYCLE;
    let zoned = Timestamp::from_second(within).ok().map(|moment| moment.to_zoned(zone.clone()));
    let year = zoned.as_ref().and_then(|z| i32::try_from(i64::from(z.year()) + cycles * 400).ok());
    match (zoned, year) {
        (Some(zoned), Some(year)) => format!("{} {year}", zoned.strftime("%a %b %e %H:%M:%S")),
        _ => "???".to_owned(),
    }
}

/// RFC 3339 in UTC, for JSON and for comparison; `None` outside the calendar.
pub fn rfc3339(seconds: i64) -> Option<String> {
    Timestamp::from_second(seconds).ok().map(|moment| moment.to_string())
}

/// Seconds from 1970 to 2000, where PostgreSQL's timestamps begin.
const POSTGRES_EPOCH: i64 = 946_684_800;

/// `timestamptz_to_str` of the front-end tools: `2026-11-20 22:58:19.123456 UTC`.
pub fn push_timestamptz(out: &mut Vec<u8>, micros: i64, zone: &TimeZone) {
    let seconds = micros.div_euclid(1_000_000).saturating_add(POSTGRES_EPOCH);
    let fraction = micros.rem_euclid(1_000_000);
    let text = match Timestamp::from_second(seconds) {
        Ok(moment) => {
            let zoned = moment.to_zoned(zone.clone());
            format!("{}.{fraction:06} {}", zoned.strftime("%Y-%m-%d %H:%M:%S"), zoned.strftime("%Z"))
        }
        Err(_) => format!("{micros} microseconds since 2000"),
    };
    out.extend_from_slice(text.as_bytes());
}

/// Microseconds since 2000 as RFC 3339 in UTC.
pub fn push_rfc3339_micros(out: &mut Vec<u8>, micros: i64) {
    let seconds = micros.div_euclid(1_000_000).saturating_add(POSTGRES_EPOCH);
    let fraction = micros.rem_euclid(1_000_000);
    let text = match Timestamp::from_second(seconds) {
        Ok(moment) => format!("{}.{fraction:06}Z", moment.strftime("%Y-%m-%dT%H:%M:%S")),
        Err(_) => format!("{micros} microseconds since 2000"),
    };
    out.extend_from_slice(text.as_bytes());
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
}
