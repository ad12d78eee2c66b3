//! A scenario in words: one line, which says everything by the names of the world's marks.
//!
//! ```text
//! major=17 world=1 base=b2 archive=one do=remove:one:x3 target=name:x4 inclusive=false timeline=latest action=pause
//! ```
//!
//! | word | meaning |
//! |---|---|
//! | `major=17` | the server; in a list of scenarios also `12-15,17`, `all` |
//! | `world=1` | the seed of its world; without it, whichever is there |
//! | `base=b2` | the backup or the copy of a data directory that is started |
//! | `archive=one` | archive recovery from the archive; `two`: from an empty one and, behind it, the archive; without the word the directory is started as it lies |
//! | `old=crash1` | its pg_wal is copied into the one of the directory |
//! | `do=…` | a damage or another change, in the order in which they stand: see `damage` |
//! | `target=KIND:VALUE` | `name:x3`, `time:x3`, `xid:commit1`, `lsn:x3+40`, `immediate`; VALUE is a name of the world or, behind `=`, itself |
//! | `inclusive=`, `timeline=`, `action=` | the settings recovery_target_… |

use std::fmt;

use super::world::World;
use crate::common::MAJORS;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    pub major: u32,
    pub world: u64,
    pub base: String,
    pub archive: Option<String>,
    pub old: Option<String>,
    pub changes: Vec<String>,
    pub target: Option<String>,
    pub inclusive: Option<bool>,
    pub timeline: Option<String>,
    pub action: Option<String>,
}

impl Scenario {
    pub fn new(major: u32, world: u64, base: &str) -> Self {
        Scenario {
            major,
            world,
            base: base.to_owned(),
            archive: None,
            old: None,
            changes: Vec::new(),
            target: None,
            inclusive: None,
            timeline: None,
            action: None,
        }
    }

    /// A line, for a world: without the word it is in whichever world there is.
    pub fn parse(line: &str, world: &World) -> Self {
        let mut scenario = Scenario::new(world.server.major, world.seed, "");
        for word in line.split_whitespace() {
            let (key, value) = word.split_once('=').unwrap_or_else(|| panic!("{word} in {line}"));
            let text = value.to_owned();
            match key {
                "major" => {}
                "world" => scenario.world = value.parse().unwrap(),
                "base" => scenario.base = text,
                "archive" => scenario.archive = Some(text),
                "old" => scenario.old = Some(text),
                "do" => scenario.changes.push(text),
                "target" => scenario.target = Some(text),
                "inclusive" => scenario.inclusive = Some(value.parse().unwrap()),
                "timeline" => scenario.timeline = Some(text),
                "action" => scenario.action = Some(text),
                _ => panic!("{word} in {line}"),
            }
        }
        scenario
    }

    /// The archives, in the order in which the restore command tries them.
    pub fn archives(&self) -> &'static [&'static str] {
        match self.archive.as_deref() {
            None => &[],
            Some("one") => &["one"],
            Some("two") => &["two", "one"],
            Some(other) => panic!("archive={other}"),
        }
    }

    /// The settings of the target, as `recovery_target…` and value.
    pub fn settings(&self, world: &World) -> Vec<(&'static str, String)> {
        let mut settings = Vec::new();
        if let Some(target) = &self.target {
            let (kind, value) = target.split_once(':').unwrap_or((target, ""));
            let literal = value.strip_prefix('=').map(|value| value.replace('~', " "));
            let value = || literal.clone();
            settings.push(match kind {
                "name" => ("recovery_target_name", value().unwrap_or_else(|| target_name(target))),
                "time" => {
                    let mark = || world.mark(&target_name(target)).time.clone();
                    ("recovery_target_time", value().unwrap_or_else(mark))
                }
                "xid" => {
                    let name = target_name(target);
                    let xid = || world.xids.iter().find(|(other, _)| *other == name).unwrap().1.to_string();
                    ("recovery_target_xid", value().unwrap_or_else(xid))
                }
                "lsn" => {
                    let lsn = || world.lsn_text(world.lsn(&target_name(target)).1);
                    ("recovery_target_lsn", value().unwrap_or_else(lsn))
                }
                "immediate" => ("recovery_target", "immediate".to_owned()),
                _ => panic!("target={target}"),
            });
        }
        if let Some(inclusive) = self.inclusive {
            settings.push(("recovery_target_inclusive", inclusive.to_string()));
        }
        if let Some(timeline) = &self.timeline {
            settings.push(("recovery_target_timeline", timeline.clone()));
        }
        if let Some(action) = &self.action {
            settings.push(("recovery_target_action", action.clone()));
        }
        settings
    }
}

/// The majors of a line: `17`, `12,14`, `13-16`, `all`.
pub fn majors(line: &str) -> Vec<u32> {
    let list = line.split_whitespace().find_map(|word| word.strip_prefix("major=")).unwrap_or("all");
    let number = |text: &str| text.parse::<u32>().unwrap_or_else(|_| panic!("{line}"));
    let part = |part: &str| match part.split_once('-') {
        _ if part == "all" => MAJORS.to_vec(),
        Some((first, last)) => (number(first)..=number(last)).collect(),
        None => vec![number(part)],
    };
    list.split(',').flat_map(part).collect()
}

fn target_name(target: &str) -> String {
    target.split_once(':').unwrap().1.to_owned()
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "major={} world={} base={}", self.major, self.world, self.base)?;
        let mut word = |key: &str, value: Option<&String>| match value {
            Some(value) => write!(f, " {key}={value}"),
            None => Ok(()),
        };
        word("archive", self.archive.as_ref())?;
        word("old", self.old.as_ref())?;
        for change in &self.changes {
            word("do", Some(change))?;
        }
        word("target", self.target.as_ref())?;
        word("inclusive", self.inclusive.map(|inclusive| inclusive.to_string()).as_ref())?;
        word("timeline", self.timeline.as_ref())?;
        word("action", self.action.as_ref())
    }
}
