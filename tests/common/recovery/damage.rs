//! What is done to a scenario's copy before it is started: words behind `do=`, separated by colons.
//!
//! PLACE is an archive (`one`, `two`) or `wal` (pg_wal). SEGMENT is `x3`, `x3+1`, `x3@2`; POSITION is `x3`, `x3+40`; both
//! as in [`World`]. In TEXT `~` is a tab, `^` a space, `|` ends a line, `{x3}` is the position of a mark.
//!
//! | words | what is done |
//! |---|---|
//! | `remove:PLACE:SEGMENT` | the file is lost |
//! | `after:PLACE:SEGMENT` | all files of that timeline behind it are lost |
//! | `cut:PLACE:SEGMENT:BYTES` | shorter, or longer, filled with zeros |
//! | `zero:PLACE:SEGMENT` | nothing but zeros |
//! | `tail:PLACE:POSITION` | zeros from there to the end of the segment |
//! | `flip:PLACE:POSITION` | one bit of that byte |
//! | `byte:PLACE:SEGMENT:OFFSET` | one bit of that byte of the file |
//! | `swap:PLACE:SEGMENT:SEGMENT` | each under the other's name |
//! | `recycle:PLACE:SEGMENT:SEGMENT` | the content of the second under the name of the first |
//! | `foreign:PLACE:SEGMENT` | of a cluster with another system identifier |
//! | `gz:PLACE:SEGMENT`, `badgz:…`, `cutgz:…` | compressed; with a byte changed; without its end |
//! | `partial:PLACE:SEGMENT` | under the name with `.partial` |
//! | `move:SEGMENT`, `copy:SEGMENT` | from archive `one` to archive `two` |
//! | `keep:SEGMENT` | a copy of the archived file lies in pg_wal |
//! | `nohist:PLACE:N`, `hist:PLACE:N:TEXT` | a history file removed, written |
//! | `gethist:N` | a copy of the archived history in pg_wal |
//! | `nolabel`, `label:KEY:TEXT`, `cutlabel:BYTES` | backup_label removed, the value of a line changed, cut |
//! | `nocontrol`, `control:OFFSET`, `cutcontrol:BYTES` | pg_control removed, one bit changed, cut |
//! | `rmdir:PATH` | a directory of the data directory with all in it |
//! | `rm:PATH`, `text:PATH:TEXT` | a file of the data directory removed, written |
//! | `signal`, `nosignal` | a standby.signal there, or no signal file |

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::world::{World, segment_number};
use crate::common::scene::shell;

/// The files of one scenario.
pub struct Place<'w> {
    pub world: &'w World,
    /// `data`, `one`, `two` are below it.
    pub directory: PathBuf,
}

impl Place<'_> {
    pub fn path(&self, place: &str) -> PathBuf {
        match place {
            "wal" => self.directory.join("data/pg_wal"),
            "data" | "one" | "two" => self.directory.join(place),
            _ => panic!("place {place}"),
        }
    }

    fn segment(&self, place: &str, segment: &str) -> PathBuf {
        self.path(place).join(self.world.segment(segment))
    }

    /// Does one change.
    pub fn change(&self, change: &str) {
        let words: Vec<&str> = change.splitn(4, ':').collect();
        match words[..] {
            ["remove", place, segment] => drop(fs::remove_file(self.segment(place, segment))),
            ["after", place, segment] => self.remove_after(place, segment),
            ["cut", place, segment, bytes] => {
                self.edit(&self.segment(place, segment), |content| content.resize(bytes.parse().unwrap(), 0));
            }
            ["zero", place, segment] => self.edit(&self.segment(place, segment), |content| content.fill(0)),
            ["tail", place, position] => {
                let (path, at) = self.position(place, position);
                self.edit(&path, |content| content.iter_mut().skip(at).for_each(|byte| *byte = 0));
            }
            ["flip", place, position] => {
                let (path, at) = self.position(place, position);
                self.edit(&path, |content| flip(content, at));
            }
            ["byte", place, segment, at] => {
                self.edit(&self.segment(place, segment), |content| flip(content, at.parse().unwrap()));
            }
            ["swap", place, one, other] => self.swap(&self.segment(place, one), &self.segment(place, other)),
            ["recycle", place, name, content] => {
                if let Ok(content) = fs::read(self.segment(place, content)) {
                    self.write(&self.segment(place, name), &content);
                }
            }
            ["foreign", place, segment] => {
                // The system identifier in the header of its first page.
                self.edit(&self.segment(place, segment), |content| {
                    content.iter_mut().skip(24).take(8).for_each(|byte| *byte ^= 0x5A);
                });
            }
            [kind @ ("gz" | "badgz" | "cutgz"), place, segment] => {
                self.compress(kind, &self.segment(place, segment));
            }
            ["partial", place, segment] => {
                let path = self.segment(place, segment);
                drop(fs::rename(&path, path.with_extension("partial")));
            }
            ["move", segment] => {
                drop(fs::rename(self.segment("one", segment), self.segment("two", segment)));
            }
            ["copy", segment] => {
                drop(fs::hard_link(self.segment("one", segment), self.segment("two", segment)))
            }
            ["keep", segment] => {
                if let Ok(content) = fs::read(self.segment("one", segment)) {
                    self.write(&self.segment("wal", segment), &content);
                }
            }
            ["nohist", place, id] => drop(fs::remove_file(self.history(place, id))),
            ["hist", place, id, text] => self.write(&self.history(place, id), self.text(text).as_bytes()),
            ["gethist", id] => {
                if let Ok(content) = fs::read(self.history("one", id)) {
                    self.write(&self.history("wal", id), &content);
                }
            }
            ["nolabel"] => drop(fs::remove_file(self.path("data").join("backup_label"))),
            ["label", key, text] => self.label(key, &self.text(text)),
            ["cutlabel", bytes] => {
                self.edit(&self.path("data").join("backup_label"), |content| {
                    content.truncate(bytes.parse().unwrap());
                });
            }
            ["nocontrol"] => fs::remove_file(self.control()).unwrap(),
            ["control", at] => self.edit(&self.control(), |content| flip(content, at.parse().unwrap())),
            ["cutcontrol", bytes] => {
                self.edit(&self.control(), |content| content.truncate(bytes.parse().unwrap()));
            }
            ["rmdir", path] => drop(fs::remove_dir_all(self.path("data").join(path))),
            ["rm", path] => drop(fs::remove_file(self.path("data").join(path))),
            ["text", path, text] => self.write(&self.path("data").join(path), self.text(text).as_bytes()),
            ["signal"] => self.write(&self.path("data").join("standby.signal"), b""),
            ["nosignal"] => {
                for name in ["standby.signal", "recovery.signal", "recovery.conf"] {
                    drop(fs::remove_file(self.path("data").join(name)));
                }
            }
            _ => panic!("unknown change: {change}"),
        }
    }

    fn control(&self) -> PathBuf {
        self.path("data").join("global/pg_control")
    }

    fn history(&self, place: &str, id: &str) -> PathBuf {
        let id: u32 = id.parse().unwrap();
        self.path(place).join(format!("{id:08X}.history"))
    }

    /// File and offset of a position.
    fn position(&self, place: &str, position: &str) -> (PathBuf, usize) {
        let (timeline, lsn) = self.world.lsn(position);
        let size = self.world.segment_size;
        (self.path(place).join(self.world.segment_name(timeline, lsn / size)), (lsn % size) as usize)
    }

    /// `~` is a tab, `^` a space, `|` ends a line, `{x3}` is a position.
    fn text(&self, text: &str) -> String {
        let mut text = text.replace('~', "\t").replace('^', " ").replace('|', "\n");
        while let Some((before, rest)) = text.split_once('{') {
            let (name, after) = rest.split_once('}').unwrap();
            text = format!("{before}{}{after}", self.world.lsn_text(self.world.lsn(name).1));
        }
        text
    }

    /// Changes a file that is there. The archives' files have other names in the world: they are never written in place.
    fn edit(&self, path: &Path, edit: impl FnOnce(&mut Vec<u8>)) {
        if let Ok(mut content) = fs::read(path) {
            edit(&mut content);
            self.write(path, &content);
        }
    }

    fn write(&self, path: &Path, content: &[u8]) {
        drop(fs::remove_file(path));
        // Its directory may have been removed before.
        if path.parent().is_some_and(Path::is_dir) {
            fs::write(path, content).unwrap();
            self.give(path);
        }
    }

    /// To the server's user.
    fn give(&self, path: &Path) {
        use std::os::unix::fs::{MetadataExt, chown};
        let owner = fs::metadata(&self.world.directory).unwrap();
        chown(path, Some(owner.uid()), Some(owner.gid())).unwrap();
    }

    fn swap(&self, one: &Path, other: &Path) {
        if let (Ok(first), Ok(second)) = (fs::read(one), fs::read(other)) {
            self.write(one, &second);
            self.write(other, &first);
        }
    }

    fn remove_after(&self, place: &str, segment: &str) {
        let size = self.world.segment_size;
        let (timeline, number) = segment_number(&self.world.segment(segment), size).unwrap();
        for entry in fs::read_dir(self.path(place)).into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().unwrap();
            if segment_number(&name, size).is_some_and(|(t, n)| t == timeline && n > number) {
                fs::remove_file(entry.path()).unwrap();
            }
        }
    }

    fn compress(&self, kind: &str, path: &Path) {
        let Ok(content) = fs::read(path) else { return };
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&content).unwrap();
        let mut packed = gzip.finish().unwrap();
        match kind {
            "badgz" => {
                let middle = packed.len() / 2;
                flip(&mut packed, middle);
            }
            "cutgz" => packed.truncate(packed.len() / 2),
            _ => {}
        }
        fs::remove_file(path).unwrap();
        let mut name = path.as_os_str().to_owned();
        name.push(".gz");
        self.write(Path::new(&name), &packed);
    }

    /// The value of one line of backup_label.
    fn label(&self, key: &str, value: &str) {
        self.edit(&self.path("data").join("backup_label"), |content| {
            let text = String::from_utf8(content.clone()).unwrap();
            let key = key.replace('_', " ");
            let line = |line: &str| match line.split_once(": ") {
                Some((name, _)) if name == key => format!("{name}: {value}\n"),
                _ => format!("{line}\n"),
            };
            *content = text.lines().map(line).collect::<String>().into_bytes();
        });
    }

    /// The WAL of an old data directory into this one, as the manual has it: what has the same name is replaced.
    pub fn copy_wal(&self, old: &Path) {
        let from = old.join("pg_wal");
        let into = self.path("wal");
        for entry in fs::read_dir(from).unwrap().flatten() {
            if entry.file_type().unwrap().is_file() {
                let path = into.join(entry.file_name());
                self.write(&path, &fs::read(entry.path()).unwrap());
            }
        }
    }

    /// Lays out a scenario's files.
    pub fn lay_out(&self, scenario: &super::scenario::Scenario) {
        let base = self.world.base(&scenario.base);
        let here = self.directory.display();
        shell(&self.directory, &format!("cp -a {} {here}/data", base.display()));
        // Hard links: what is changed is written anew.
        shell(
            &self.directory,
            &format!("cp -al {} {here}/one && mkdir {here}/two", self.world.archive().display()),
        );
        self.give(&self.directory.join("two"));
        for change in &scenario.changes {
            self.change(change);
        }
    }
}

fn flip(content: &mut [u8], at: usize) {
    if let Some(byte) = content.get_mut(at) {
        *byte ^= 0x10;
    }
}
