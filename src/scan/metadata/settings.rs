//! The settings of a start, as far as files have them: postgresql.conf with what it includes, then
//! postgresql.auto.conf; up to 11 recovery.conf for those of a recovery.
//!
//! The last line of a name counts. What the command line or the environment would set is not known here.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::entries;
use crate::format::settings::{SyntaxError, boolean, parse};
use crate::pg::Major;
use crate::source::Error;
use crate::source::file::read_prefix;
use crate::source::pgdata::DataDirectory;

/// `CONF_FILE_MAX_DEPTH`.
const MAX_DEPTH: usize = 10;
/// Files that are read: files that include each other can be very many at ten levels.
const MAX_FILES: usize = 500;
/// Largest configuration file.
const MAX_SIZE: usize = 4 << 20;

/// One setting and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Without quotes.
    pub value: String,
    /// The file.
    pub path: PathBuf,
    /// Its line, from 1.
    pub line: usize,
}

/// Why the server takes nothing of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadConfiguration {
    /// The file.
    pub path: PathBuf,
    /// Its line, if it is about one.
    pub line: Option<usize>,
    /// The server's words.
    pub message: String,
}

/// What was read.
#[derive(Debug, Default)]
pub struct Settings {
    /// Every file that was read, in this order.
    pub files: Vec<PathBuf>,
    /// There is no postgresql.conf, so that nothing of it is known: Debian's packages keep it elsewhere.
    pub no_main_file: bool,
    /// `config_file` of the last start, as postmaster.opts has it.
    pub last_config_file: Option<String>,
    /// What stops a start.
    pub errors: Vec<BadConfiguration>,
    /// What could not be read.
    pub unreadable: Vec<Error>,
    values: BTreeMap<String, Setting>,
}

impl Settings {
    /// Reads them. `main`: postgresql.conf, if it is not in the data directory.
    pub fn scan(directory: &DataDirectory, main: Option<&Path>, major: Major) -> Settings {
        let mut settings = Settings::default();
        let own = directory.join("postgresql.conf");
        let main = main.unwrap_or(&own);
        settings.no_main_file = main == own
            && matches!(own.symlink_metadata(), Err(error) if error.kind() == std::io::ErrorKind::NotFound);
        if !settings.no_main_file {
            settings.read(main, 1, None);
        }
        settings.last_config_file = directory
            .small_file("postmaster.opts")
            .ok()
            .flatten()
            .and_then(|content| config_file(&String::from_utf8_lossy(&content)));
        for (name, wanted) in [("postgresql.auto.conf", true), ("recovery.conf", major < Major::V12)] {
            let path = directory.join(name);
            if wanted && path.symlink_metadata().is_ok() {
                settings.read(&path, 1, None);
            }
        }
        settings
    }

    /// The setting, if a file has it.
    pub fn get(&self, name: &str) -> Option<&Setting> {
        self.values.get(name)
    }

    /// Its value; the empty string if no file has it, which is the default of all settings that are asked for so.
    pub fn value(&self, name: &str) -> &str {
        self.get(name).map_or("", |setting| &setting.value)
    }

    /// A setting that is on or off.
    pub fn is_on(&self, name: &str, default: bool) -> bool {
        self.get(name).and_then(|setting| boolean(&setting.value)).unwrap_or(default)
    }

    fn bad(&mut self, path: &Path, line: Option<usize>, message: String) {
        self.errors.push(BadConfiguration { path: path.to_owned(), line, message });
    }

    fn read(&mut self, path: &Path, depth: usize, from: Option<(&Path, usize)>) {
        if let Some((_, line)) = from.filter(|(including, _)| *including == path) {
            let message = format!("configuration file recursion in \"{}\"", path.display());
            return self.bad(path, Some(line), message);
        }
        if depth > MAX_DEPTH {
            let message = format!(
                "could not open configuration file \"{}\": maximum nesting depth exceeded",
                path.display()
            );
            let (path, line) = from.map_or((path, None), |(path, line)| (path, Some(line)));
            return self.bad(path, line, message);
        }
        if self.files.len() >= MAX_FILES {
            let error = std::io::Error::other("too many configuration files include each other");
            return self.unreadable.push(Error::at(path, "read file")(error));
        }
        let content = match read_prefix(path, MAX_SIZE) {
            Ok((content, _)) => content,
            Err(error) => {
                if let Some((including, line)) = from {
                    let reason = crate::source::system_message(&error.source);
                    let message =
                        format!("could not open configuration file \"{}\": {reason}", path.display());
                    return self.bad(including, Some(line), message);
                }
                return self.unreadable.push(error);
            }
        };
        self.files.push(path.to_owned());
        let (lines, errors) = parse(&content);
        let shown = path.display().to_string();
        for error in errors {
            let SyntaxError { number, .. } = error;
            self.bad(path, Some(number), error.message(&shown));
        }
        for line in lines {
            let there = || {
                let value = Path::new(OsStr::from_bytes(line.value.as_bytes()));
                path.parent().unwrap_or(Path::new("")).join(value)
            };
            match line.name.as_str() {
                "include" => self.read(&there(), depth + 1, Some((path, line.number))),
                "include_if_exists" => {
                    if there().exists() {
                        self.read(&there(), depth + 1, Some((path, line.number)));
                    }
                }
                "include_dir" => self.directory(&there(), depth, (path, line.number)),
                _ => {
                    let setting = Setting { value: line.value, path: path.to_owned(), line: line.number };
                    self.values.insert(line.name, setting);
                }
            }
        }
    }

    /// Files `*.conf` that are not hidden, in the order of their names.
    fn directory(&mut self, directory: &Path, depth: usize, (path, line): (&Path, usize)) {
        match entries(directory) {
            Ok(entries) => {
                for entry in entries {
                    let name = entry.name.as_bytes();
                    let wanted = name.ends_with(b".conf") && name.len() >= 6 && !name.starts_with(b".");
                    if wanted && entry.path.is_file() {
                        self.read(&entry.path, depth + 1, Some((path, line)));
                    }
                }
            }
            Err(error) => {
                let reason = crate::source::system_message(&error.source);
                let message =
                    format!("could not open configuration directory \"{}\": {reason}", directory.display());
                self.bad(path, Some(line), message);
            }
        }
    }
}

/// From `/usr/lib/…/postgres "-D" "/data" "-c" "config_file=/etc/…/postgresql.conf"`.
fn config_file(options: &str) -> Option<String> {
    let (_, behind) = options.split_once("config_file=")?;
    let value = behind.split(['"', '\n']).next()?.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn files_that_include_others() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(root.path().join(name), text).unwrap();
        fs::create_dir(root.path().join("conf.d")).unwrap();
        write("postgresql.conf", "fsync = on\ninclude 'one.conf'\ninclude_dir 'conf.d'\nPORT = 1\n");
        write("one.conf", "fsync = off\nport = 2\ninclude_if_exists 'none.conf'\n");
        write("conf.d/b.conf", "a.b = 2");
        write("conf.d/a.conf", "a.b = 1");
        write("conf.d/.c.conf", "a.b = 3");
        write("postgresql.auto.conf", "wal_level = 'minimal'\n");
        write("recovery.conf", "restore_command = 'x'\n");
        let directory = DataDirectory::new(root.path());
        let settings = Settings::scan(&directory, None, Major::V15);
        assert_eq!(settings.errors, []);
        assert_eq!(settings.files.len(), 5);
        let found = ["fsync", "port", "a.b", "wal_level", "restore_command"].map(|name| settings.value(name));
        assert_eq!(found, ["off", "1", "2", "minimal", ""]);
        assert!(!settings.is_on("fsync", true) && settings.is_on("full_page_writes", true));
        let old = Settings::scan(&directory, None, Major::V11);
        assert_eq!(old.value("restore_command"), "x");
        assert_eq!(old.get("restore_command").unwrap().line, 1);
    }

    #[test]
    fn files_that_include_themselves() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, includes: &str| {
            let text = format!("include '{includes}'\n").repeat(5);
            fs::write(root.path().join(name), text).unwrap();
        };
        write("postgresql.conf", "postgresql.conf");
        let settings = Settings::scan(&DataDirectory::new(root.path()), None, Major::V15);
        assert!(settings.errors[0].message.starts_with("configuration file recursion in"));
        write("postgresql.conf", "a.conf");
        write("a.conf", "postgresql.conf");
        let settings = Settings::scan(&DataDirectory::new(root.path()), None, Major::V15);
        assert!(settings.errors[0].message.ends_with("maximum nesting depth exceeded"));
        assert_eq!(settings.files.len(), MAX_FILES);
        assert!(!settings.unreadable.is_empty());
    }

    #[test]
    fn where_the_last_start_had_its_file() {
        let line = "/usr/lib/postgresql/15/bin/postgres \"-D\" \"/d\" \"-c\" \"config_file=/etc/p/postgresql.conf\"\n";
        assert_eq!(config_file(line).unwrap(), "/etc/p/postgresql.conf");
        assert_eq!(config_file("/bin/postgres \"-D\" \"/d\"\n"), None);
    }
}
