//! Draws scenarios: every kind of damage, target and starting point, at the marks of a world.

use super::scenario::Scenario;
use super::world::World;
use crate::common::Random;

struct Draw<'a> {
    world: &'a World,
    random: &'a mut Random,
}

/// One scenario in a world.
pub fn scenario(world: &World, random: &mut Random) -> Scenario {
    let mut draw = Draw { world, random };
    let backup = draw.chance(72);
    let base = if backup {
        // Those with the longest way before them more often.
        let often = ["b1", "b1", "b1", "b1", "b2", "b2", "b2", "b2", "b3", "b3", "b4", "b4", "b5", "bs"];
        draw.pick(&often).to_string()
    } else {
        draw.pick(&world.copies).clone()
    };
    let mut scenario = Scenario::new(world.server.major, world.seed, &base);
    // A backup without its WAL and without an archive is soon told.
    let carried = matches!(base.as_str(), "b3" | "b5");
    let with_archive = if backup { if carried { 80 } else { 97 } } else { 45 };
    if draw.chance(with_archive) {
        scenario.archive = Some(if draw.chance(15) { "two" } else { "one" }.to_owned());
    }
    if scenario.archive.is_some() {
        draw.target(&mut scenario);
    }
    if backup && draw.chance(20) {
        scenario.old = Some(draw.pick(&world.copies).clone());
    }
    if base.starts_with('s') || base == "bs" {
        // The standby's signal goes with its copy: mostly taken away, as the manual has it.
        // Up to 11 it is a recovery.conf with a restore_command, which only the world knows.
        if draw.chance(75) || world.server.major < 12 {
            scenario.changes.push("nosignal".to_owned());
        }
    } else if scenario.archive.is_some() && world.server.major >= 12 && draw.chance(3) {
        scenario.changes.push("signal".to_owned());
    }
    if scenario.archive.as_deref() == Some("two") {
        draw.two_archives(&mut scenario);
    }
    let changes = [0, 1, 1, 1, 1, 2, 2, 3][draw.random.below(8)];
    for _ in 0..changes {
        let change = draw.change(&scenario);
        scenario.changes.extend(change);
    }
    scenario
}

impl Draw<'_> {
    fn chance(&mut self, percent: usize) -> bool {
        self.random.below(100) < percent
    }

    fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.random.below(from.len())]
    }

    fn target(&mut self, scenario: &mut Scenario) {
        let world = self.world;
        scenario.target = match self.random.below(20) {
            0..7 => None,
            7..10 => {
                let points: Vec<_> = world.marks.iter().filter(|mark| mark.restore_point).collect();
                let name = self.pick(&points).name.clone();
                Some(if self.chance(5) { "name:=nowhere".to_owned() } else { format!("name:{name}") })
            }
            10..13 => {
                let times: Vec<_> = world.marks.iter().filter(|mark| !mark.time.is_empty()).collect();
                let name = self.pick(&times).name.clone();
                Some(match self.random.below(12) {
                    0 => "time:=2099-01-01~00:00:00+00".to_owned(),
                    1 => "time:=2001-01-01~00:00:00+00".to_owned(),
                    _ => format!("time:{name}"),
                })
            }
            13..15 => Some(format!("xid:{}", self.pick(&world.xids).0)),
            15..18 => {
                let name = self.pick(&world.marks).name.clone();
                let offset = *self.pick(&["", "", "+1", "-1", "-8", "+40", "+8192", "-2000"]);
                Some(format!("lsn:{name}{offset}"))
            }
            _ => Some("immediate".to_owned()),
        };
        if scenario.target.is_some() {
            scenario.inclusive = *self.pick(&[None, None, Some(true), Some(false)]);
            let action = *self.pick(&["", "", "pause", "promote", "promote", "promote", "shutdown"]);
            scenario.action = (!action.is_empty()).then(|| action.to_owned());
        }
        scenario.timeline = match self.random.below(20) {
            // `latest` is not a child of these.
            0..12 if matches!(scenario.base.as_str(), "b4" | "bs" | "crash2") => {
                Some(if scenario.base == "bs" { "1" } else { "2" }.to_owned())
            }
            0..8 => None,
            8..12 => Some("latest".to_owned()),
            // 10 and 11 know no word for it: there it is the default.
            12..14 => (world.server.major >= 12).then(|| "current".to_owned()),
            _ => Some((1 + self.random.below(7)).to_string()),
        };
    }

    /// A mark, mostly behind the start of what is recovered.
    fn mark(&mut self, scenario: &Scenario) -> String {
        let from = format!("{}.start", scenario.base);
        let from = self.world.marks.iter().find(|mark| mark.name == from).map_or(0, |mark| mark.lsn);
        let near: Vec<_> = self.world.marks.iter().filter(|mark| mark.lsn >= from).collect();
        if self.chance(70) {
            self.pick(&near).name.clone()
        } else {
            self.pick(&self.world.marks).name.clone()
        }
    }

    /// A segment at a mark or beside it, mostly one that was archived.
    fn segment(&mut self, scenario: &Scenario) -> String {
        for _ in 0..8 {
            let name = self.mark(scenario);
            let offset = *self.pick(&["", "", "", "+1", "-1", "+2"]);
            let segment = format!("{name}{offset}");
            if self.world.archive().join(self.world.segment(&segment)).exists() {
                return segment;
            }
        }
        "b1.start".to_owned()
    }

    /// Which copy of the WAL is damaged.
    fn place(&mut self, scenario: &Scenario) -> &'static str {
        match scenario.archive.as_deref() {
            None => "wal",
            Some("two") if self.chance(30) => "two",
            Some(_) if self.chance(20) => "wal",
            Some(_) => "one",
        }
    }

    /// Some files are in the first archive too, or only there.
    fn two_archives(&mut self, scenario: &mut Scenario) {
        for _ in 0..1 + self.random.below(3) {
            let how = *self.pick(&["move", "copy"]);
            let segment = self.segment(scenario);
            scenario.changes.push(format!("{how}:{segment}"));
            if how == "copy" && self.chance(60) {
                let damage = self.damage("two", &segment, scenario);
                scenario.changes.push(damage);
            }
        }
    }

    fn change(&mut self, scenario: &Scenario) -> Vec<String> {
        let place = self.place(scenario);
        match self.random.below(60) {
            0..41 => {
                let segment = self.segment(scenario);
                let damage = self.damage(place, &segment, scenario);
                // Often pg_wal has another copy of the same segment.
                match self.random.below(8) {
                    0 => vec![format!("keep:{segment}"), damage],
                    1 => {
                        let other = self.damage("wal", &segment, scenario);
                        vec![format!("keep:{segment}"), other, damage]
                    }
                    _ => vec![damage],
                }
            }
            41..53 => vec![self.history(place)],
            53..56 => vec![self.label()],
            56 => vec![self.control()],
            57 => {
                let path = self.pick(&[
                    "global",
                    "pg_wal",
                    "pg_notify",
                    "pg_replslot",
                    "pg_twophase",
                    "pg_tblspc",
                    "pg_logical/snapshots",
                    "pg_logical/mappings",
                    "pg_multixact/members",
                    "pg_multixact/offsets",
                    "pg_xact",
                    "pg_commit_ts",
                    "pg_dynshmem",
                    "pg_serial",
                    "pg_snapshots",
                    "pg_stat",
                    "pg_stat_tmp",
                    "pg_subtrans",
                    "pg_wal/archive_status",
                ]);
                vec![format!("rmdir:{path}")]
            }
            _ => {
                let segment = self.segment(scenario);
                vec![format!("keep:{segment}")]
            }
        }
    }

    /// A damage of a segment.
    fn damage(&mut self, place: &str, segment: &str, scenario: &Scenario) -> String {
        let size = self.world.segment_size;
        match self.random.below(22) {
            0..5 => format!("remove:{place}:{segment}"),
            5 => format!("after:{place}:{segment}"),
            6 | 7 => {
                let bytes = *self.pick(&[0, 1, 8192, 100_000, size / 2, size - 1, size + 1, size + 8192]);
                format!("cut:{place}:{segment}:{bytes}")
            }
            8 => format!("zero:{place}:{segment}"),
            9 | 10 => {
                let position = self.position(scenario);
                format!("tail:{place}:{position}")
            }
            11..14 => {
                let position = self.position(scenario);
                format!("flip:{place}:{position}")
            }
            14 | 15 => {
                // In the header of the first page, or of one of the next.
                let page = if self.chance(50) { 0 } else { self.random.below(12) };
                let at = page * 8192 + self.random.below(if page == 0 { 40 } else { 24 });
                format!("byte:{place}:{segment}:{at}")
            }
            16 => {
                let other = self.segment(scenario);
                format!("swap:{place}:{segment}:{other}")
            }
            17 => {
                let other = self.segment(scenario);
                format!("recycle:{place}:{segment}:{other}")
            }
            18 => format!("foreign:{place}:{segment}"),
            19 | 20 if place != "wal" => {
                let kind = *self.pick(&["gz", "gz", "badgz", "cutgz"]);
                format!("{kind}:{place}:{segment}")
            }
            _ => format!("partial:{place}:{segment}"),
        }
    }

    /// A position near a mark: behind it, or in the records before it.
    fn position(&mut self, scenario: &Scenario) -> String {
        let name = self.mark(scenario);
        let offset = self.random.below(400) as i64 - 300;
        format!("{name}{offset:+}")
    }

    fn history(&mut self, place: &str) -> String {
        let id = 1 + self.random.below(8);
        if self.chance(35) {
            return format!("nohist:{place}:{id}");
        }
        let text = *self.pick(&[
            "",
            "#^nothing|",
            "garbage|",
            "1|",
            "1~{x3}~written|",
            "1~{x3}",
            "|1~{x3}~after^an^empty^line||",
            "1~{x2}~earlier|",
            "1~0/0|",
            "1~{x3}~a|2~{y1}~b|",
            "2~{y1}~a|1~{x3}~b|",
            "1~{x3}~a|1~{x4}~b|",
            "1~{x4}~a|2~{x3}~lower|",
            "9~{x3}~above|",
            "1~{x6}~a|3~{z1}~b|4~{v1}~c|",
            "1^{x1}^spaces|",
            "1~{x3}x~glued|",
            "0x1~{x3}~hex|",
        ]);
        format!("hist:{place}:{id}:{text}")
    }

    fn label(&mut self) -> String {
        let text = *self.pick(&[
            "nolabel",
            "nolabel",
            "cutlabel:0",
            "cutlabel:30",
            "cutlabel:70",
            "cutlabel:120",
            "label:START_TIMELINE:2",
            "label:START_TIMELINE:7",
            "label:CHECKPOINT_LOCATION:{x2}",
            "label:CHECKPOINT_LOCATION:{checkpoint1}",
            "label:START_WAL_LOCATION:{x2}^(file^000000010000000000000003)",
            "label:START_WAL_LOCATION:nonsense",
            "label:BACKUP_FROM:standby",
            "label:BACKUP_FROM:primary",
            "label:BACKUP_METHOD:pg_start_backup",
            "label:LABEL:other",
            "label:START_TIME:yesterday",
        ]);
        text.to_owned()
    }

    fn control(&mut self) -> String {
        match self.random.below(6) {
            0 => "nocontrol".to_owned(),
            1 | 2 => format!("cutcontrol:{}", self.pick(&[0, 100, 250, 296, 400, 8191])),
            _ => format!("control:{}", self.random.below(330)),
        }
    }
}
