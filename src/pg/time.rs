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

/// `%c` of the C locale: `Fri Nov 20 22:58:19 2026`, as pg_controldata prints a time.
///
/// A moment outside the years that a calendar library covers is damage; it is shown as a number.
pub fn ctime(seconds: i64, zone: &TimeZone) -> String {
    match Timestamp::from_second(seconds) {
        Ok(moment) => moment.to_zoned(zone.clone()).strftime("%a %b %e %H:%M:%S %Y").to_string(),
        Err(_) => format!("{seconds} seconds since 1970"),
    }
}

/// RFC 3339 in UTC, for JSON and for comparison; `None` outside the calendar.
pub fn rfc3339(seconds: i64) -> Option<String> {
    Timestamp::from_second(seconds).ok().map(|moment| moment.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_pg_controldata_prints_it() {
        assert_eq!(ctime(1_795_215_499, &TimeZone::UTC), "Fri Nov 20 22:58:19 2026");
        assert_eq!(ctime(0, &TimeZone::UTC), "Thu Jan  1 00:00:00 1970");
        assert_eq!(ctime(i64::MAX, &TimeZone::UTC), "9223372036854775807 seconds since 1970");
    }
}
