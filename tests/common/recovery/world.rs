//! A world: the archive, the base backups and the data directories that one history of a server left, and the names
//! of places in its WAL.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::common::Server;

/// A place in the WAL with a name.
#[derive(Clone, Debug)]
pub struct Mark {
    pub name: String,
    pub timeline: u32,
    pub lsn: u64,
    /// The server's clock there, as its `timestamptz` prints it in UTC. Empty where nobody asked.
    pub time: String,
    /// Is there a restore point of this name, which ends here?
    pub restore_point: bool,
}

pub struct World {
    pub server: Server,
    /// Whose psql and pg_basebackup are used: some installations have only the server.
    pub client: Server,
    pub seed: u64,
    pub segment_size: u64,
    pub directory: PathBuf,
    pub marks: Vec<Mark>,
    /// Transactions: `commit1`, `sub1`, `abort1`, `prepared1`…
    pub xids: Vec<(String, u64)>,
    /// Base backups, below `bases/`.
    pub backups: Vec<String>,
    /// Copies of data directories that were stopped or crashed, below `bases/`.
    pub copies: Vec<String>,
}

impl World {
    pub fn archive(&self) -> PathBuf {
        self.directory.join("archive")
    }

    pub fn base(&self, name: &str) -> PathBuf {
        self.directory.join("bases").join(name)
    }

    pub fn mark(&self, name: &str) -> &Mark {
        self.marks
            .iter()
            .find(|mark| mark.name == name)
            .unwrap_or_else(|| panic!("no mark {name} in {}", self.directory.display()))
    }

    /// A position: `x3`, `x3+40`, `b2.start-8`.
    pub fn lsn(&self, text: &str) -> (u32, u64) {
        let (mark, offset) = reference(text);
        let mark = self.mark(mark);
        (mark.timeline, mark.lsn.saturating_add_signed(offset))
    }

    /// A segment: `x3` has the mark, `x3+1` is the next one; after `@`, on another timeline (`x3+1@2`).
    pub fn segment(&self, text: &str) -> String {
        let (text, timeline) = text.split_once('@').map_or((text, None), |(a, b)| (a, Some(b)));
        let (name, offset) = reference(text);
        let mark = self.mark(name);
        let timeline = timeline.map_or(mark.timeline, |timeline| timeline.parse().unwrap());
        let number = (mark.lsn / self.segment_size).saturating_add_signed(offset);
        self.segment_name(timeline, number)
    }

    pub fn segment_name(&self, timeline: u32, number: u64) -> String {
        segment_name(timeline, number, self.segment_size)
    }

    pub fn lsn_text(&self, lsn: u64) -> String {
        lsn_text(self.server.major, lsn)
    }

    pub fn save(&self) {
        let marks = self
            .marks
            .iter()
            .map(|mark| json!([mark.name, mark.timeline, mark.lsn, mark.time, mark.restore_point]));
        let value = json!({
            "seed": self.seed, "segment_size": self.segment_size, "marks": marks.collect::<Vec<_>>(),
            "xids": self.xids, "backups": self.backups, "copies": self.copies,
        });
        fs::write(self.directory.join("world.json"), format!("{value:#}\n")).unwrap();
    }

    /// The world that lies in a directory, if one was finished there.
    pub fn load(server: &Server, client: &Server, directory: &Path) -> Option<World> {
        let text = fs::read_to_string(directory.join("world.json")).ok()?;
        let value: Value = serde_json::from_str(&text).ok()?;
        let words = |key: &str| -> Vec<String> {
            value[key].as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
        };
        let mark = |row: &Value| Mark {
            name: row[0].as_str().unwrap().to_owned(),
            timeline: row[1].as_u64().unwrap() as u32,
            lsn: row[2].as_u64().unwrap(),
            time: row[3].as_str().unwrap().to_owned(),
            restore_point: row[4].as_bool().unwrap(),
        };
        let xid = |row: &Value| (row[0].as_str().unwrap().to_owned(), row[1].as_u64().unwrap());
        Some(World {
            server: server.clone(),
            client: client.clone(),
            seed: value["seed"].as_u64()?,
            segment_size: value["segment_size"].as_u64()?,
            directory: directory.to_owned(),
            marks: value["marks"].as_array()?.iter().map(mark).collect(),
            xids: value["xids"].as_array()?.iter().map(xid).collect(),
            backups: words("backups"),
            copies: words("copies"),
        })
    }
}

/// `x3+1` is the mark x3 and 1.
fn reference(text: &str) -> (&str, i64) {
    let at = text.find(['+', '-']).unwrap_or(text.len());
    let (name, offset) = text.split_at(at);
    (name, if offset.is_empty() { 0 } else { offset.parse().unwrap() })
}

pub fn segment_name(timeline: u32, number: u64, segment_size: u64) -> String {
    let per_log = (1 << 32) / segment_size;
    format!("{timeline:08X}{:08X}{:08X}", number / per_log, number % per_log)
}

/// Timeline and number of a segment.
pub fn segment_number(name: &str, segment_size: u64) -> Option<(u32, u64)> {
    if name.len() != 24 {
        return None;
    }
    let part = |range: std::ops::Range<usize>| u64::from_str_radix(name.get(range)?, 16).ok();
    Some((part(0..8)? as u32, part(8..16)? * ((1 << 32) / segment_size) + part(16..24)?))
}

/// As the server of a major prints a position: from 19 on the low half has eight digits.
pub fn lsn_text(major: u32, lsn: u64) -> String {
    if major >= 19 {
        format!("{:X}/{:08X}", lsn >> 32, lsn & 0xFFFF_FFFF)
    } else {
        format!("{:X}/{:X}", lsn >> 32, lsn & 0xFFFF_FFFF)
    }
}

pub fn parse_lsn(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    Some(u64::from_str_radix(high, 16).ok()? << 32 | u64::from_str_radix(low, 16).ok()?)
}
