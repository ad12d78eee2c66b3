//! Which `recovery_target_*` settings stop just before and just after an event.
//!
//! | target | inclusive | recovery ends | tested at |
//! |---|---|---|---|
//! | lsn | on | behind the first record that starts at or behind it | every record |
//! | lsn | off | before that record | every record |
//! | xid | on, off | behind, before the commit or abort of exactly this transaction | commits, aborts |
//! | time | on | before the first one that is later | commits, aborts |
//! | time | off | before the first one that is as late or later | commits, aborts |
//! | name | | behind the first restore point of that name | restore points |
//!
//! So a position always works, and a time only if no earlier end has that time or a later one. What does not wait
//! for a commit, such as the removal of a database's directory, is only left out by a position. A subtransaction's xid
//! matches nothing. A target that is never met is FATAL from 13 on; 12 and older promote without a word. Source:
//! `recoveryStopsBefore`, `recoveryStopsAfter` in access/transam/xlogrecovery.c (≤ 14 xlog.c).

use jiff::tz::TimeZone;

use crate::pg::time::with_offset;
use crate::pg::{Major, TimelineId};
use crate::scan::wal_find::{Ending, Event, What};

/// Which side of the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Nothing of it is there.
    Before,
    /// It is there, and nothing behind it that changes data.
    After,
}

/// One way to stop there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Where.
    pub stop: Stop,
    /// Name of the setting.
    pub parameter: &'static str,
    /// Its value; `None` if no value stops there, and the note says why.
    pub value: Option<String>,
    /// `recovery_target_inclusive`, where the server looks at it.
    pub inclusive: Option<bool>,
    /// `recovery_target_timeline`.
    pub timeline: TimelineId,
    /// Why there is none, or what to know.
    pub note: Option<String>,
}

/// The settings for an event on the way to `target`. Empty for what is not an event of one place.
pub fn settings(event: &Event, target: TimelineId, major: Major, zone: &TimeZone) -> Vec<Setting> {
    let timeline = match event.what {
        What::Switch { timeline, .. } => timeline,
        _ => target,
    };
    if matches!(event.what, What::Unfinished | What::Prepared { .. }) {
        return Vec::new();
    }
    let plan = Plan { event, timeline, major, zone };
    let mut settings = vec![plan.position(Stop::Before)];
    if let Some(ending) = event.ending {
        settings.extend([plan.xid(Stop::Before, ending), plan.time_before(ending)]);
    }
    // Behind a switch point there is another record on each timeline.
    if matches!(event.what, What::Switch { .. }) {
        return settings;
    }
    settings.push(plan.position(Stop::After));
    match (&event.what, event.ending) {
        (_, Some(ending)) => settings.extend([plan.xid(Stop::After, ending), plan.time_after(ending)]),
        (What::RestorePoint { name, first_of_name }, None) => {
            let note = first_of_name.map(|lsn| {
                format!("there is one of this name before it, at {}: the first one wins", lsn.text(major))
            });
            let value = note.is_none().then(|| String::from_utf8_lossy(name).into_owned());
            settings.push(plan.setting(Stop::After, "recovery_target_name", value, None, note));
        }
        _ => {}
    }
    settings
}

struct Plan<'e> {
    event: &'e Event,
    timeline: TimelineId,
    major: Major,
    zone: &'e TimeZone,
}

impl Plan<'_> {
    fn setting(
        &self,
        stop: Stop,
        parameter: &'static str,
        value: Option<String>,
        inclusive: Option<bool>,
        note: Option<String>,
    ) -> Setting {
        let inclusive = inclusive.filter(|_| value.is_some());
        let note = note.or_else(|| self.in_doubt(stop));
        Setting { stop, parameter, value, inclusive, timeline: self.timeline, note }
    }

    /// What is prepared by then stays so.
    fn in_doubt(&self, stop: Stop) -> Option<String> {
        let own = self.event.ending.filter(|_| stop == Stop::After).map(|ending| ending.xid);
        let left = self.event.in_doubt.iter().filter(|xid| Some(**xid) != own);
        let left: Vec<String> = left.map(u32::to_string).collect();
        (!left.is_empty()).then(|| format!("still prepared there: {}", left.join(", ")))
    }

    fn position(&self, stop: Stop) -> Setting {
        let lsn = match (stop, self.event.ending) {
            (Stop::Before, _) => self.event.stop_before,
            (Stop::After, Some(ending)) => ending.lsn,
            (Stop::After, None) => self.event.lsn,
        };
        let value = Some(lsn.text(self.major));
        self.setting(stop, "recovery_target_lsn", value, Some(stop == Stop::After), None)
    }

    /// Does something of the event happen before the transaction's end?
    fn too_late(&self, ending: Ending) -> Option<String> {
        (self.event.stop_before < ending.lsn).then(|| {
            let (end, done) = (ending.lsn.text(self.major), self.event.stop_before.text(self.major));
            format!("would stop before the commit at {end}: at {done} it is already happening")
        })
    }

    fn xid(&self, stop: Stop, ending: Ending) -> Setting {
        let note = if stop == Stop::Before { self.too_late(ending) } else { None };
        let value = note.is_none().then(|| ending.xid.to_string());
        self.setting(stop, "recovery_target_xid", value, Some(stop == Stop::After), note)
    }

    fn time_before(&self, ending: Ending) -> Setting {
        let earlier = |latest: i64| {
            format!("would stop earlier: a transaction before it has the time {}", self.time(latest))
        };
        let latest = self.event.latest_before.filter(|latest| *latest >= ending.time);
        let note = self.too_late(ending).or_else(|| latest.map(earlier));
        let value = note.is_none().then(|| self.time(ending.time));
        self.setting(Stop::Before, "recovery_target_time", value, Some(false), note)
    }

    fn time_after(&self, ending: Ending) -> Setting {
        let latest = self.event.latest_before.filter(|latest| *latest > ending.time);
        let note = match (latest, self.event.next) {
            (Some(latest), _) => {
                let latest = self.time(latest);
                Some(format!("would stop earlier: a transaction before it has the time {latest}"))
            }
            (None, Some(next)) if next.time <= ending.time => {
                let lsn = next.lsn.text(self.major);
                Some(format!("would go on: transaction {} at {lsn} is not later", next.xid))
            }
            (None, None) if self.major >= Major::V13 => Some(
                "no later commit or abort is known: the server would end with \"recovery ended before configured \
                 recovery target was reached\""
                    .to_owned(),
            ),
            (None, None) => Some("no later commit or abort is known: the server would not stop".to_owned()),
            (None, Some(_)) => None,
        };
        let value = note.is_none().then(|| self.time(ending.time));
        self.setting(Stop::After, "recovery_target_time", value, Some(true), note)
    }

    fn time(&self, micros: i64) -> String {
        with_offset(micros, self.zone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::Lsn;

    fn ending(lsn: u64, xid: u32, time: i64) -> Ending {
        Ending { lsn: Lsn(lsn), xid, time, committed: true, prepared: false }
    }

    fn event(what: What, ending: Option<Ending>) -> Event {
        let lsn = ending.map_or(Lsn(0x100), |ending| ending.lsn);
        Event {
            what,
            lsn,
            stop_before: lsn,
            ending,
            xid: ending.map(|ending| ending.xid),
            first: None,
            time: None,
            gid: None,
            latest_before: Some(999),
            next: Some(self::ending(0x900, 9, 2000)),
            in_doubt: Vec::new(),
            behind: None,
        }
    }

    fn texts(event: &Event) -> Vec<String> {
        let settings = settings(event, TimelineId(3), Major::V15, &TimeZone::UTC);
        let text = |setting: &Setting| {
            let stop = if setting.stop == Stop::Before { "before" } else { "after" };
            let inclusive = setting.inclusive.map_or("", |on| if on { " on" } else { " off" });
            let name = setting.parameter.trim_start_matches("recovery_target_");
            format!("{stop} {name} {}{inclusive}", setting.value.as_deref().unwrap_or("-"))
        };
        settings.iter().map(text).collect()
    }

    #[test]
    fn a_commit_can_be_named_in_three_ways() {
        let event = event(What::Ended { subtransaction: None }, Some(ending(0x500, 7, 1000)));
        let time = "2000-01-01 00:00:00.001000+00:00";
        assert_eq!(
            texts(&event),
            [
                "before lsn 0/500 off".to_owned(),
                "before xid 7 off".to_owned(),
                format!("before time {time} off"),
                "after lsn 0/500 on".to_owned(),
                "after xid 7 on".to_owned(),
                format!("after time {time} on"),
            ]
        );
    }

    #[test]
    fn a_time_that_others_have_is_none() {
        let mut event = event(What::Ended { subtransaction: None }, Some(ending(0x500, 7, 1000)));
        event.latest_before = Some(1000);
        assert!(texts(&event).contains(&"before time -".to_owned()));
        event.next = Some(ending(0x900, 9, 1000));
        assert!(texts(&event).contains(&"after time -".to_owned()));
        event.latest_before = None;
        event.next = None;
        assert!(texts(&event).contains(&"after time -".to_owned()));
    }

    /// The directory goes before the commit.
    #[test]
    fn only_a_position_saves_a_database() {
        let what = What::DatabaseDropped { database: 5, tablespaces: vec![1663] };
        let mut event = event(what, Some(ending(0x500, 7, 1000)));
        event.stop_before = Lsn(0x300);
        assert_eq!(texts(&event)[..3], ["before lsn 0/300 off", "before xid -", "before time -"]);
    }

    #[test]
    fn of_restore_points_with_one_name_the_first_wins() {
        let point = |first_of_name| What::RestorePoint { name: b"x".to_vec(), first_of_name };
        let all = ["before lsn 0/100 off", "after lsn 0/100 on", "after name x"];
        assert_eq!(texts(&event(point(None), None)), all);
        assert_eq!(texts(&event(point(Some(Lsn(1))), None))[2], "after name -");
    }
}
