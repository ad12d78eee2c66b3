//! The places in which the restore_command of the settings looks.
//!
//! A tool's command reads the tool's configuration: it is read here too, as far as it says where the repository lies on
//! this machine. With anything in it that changes what the tool finds (another machine, several repositories,
//! encryption) the answer is not known.

use std::path::{Path, PathBuf};

use super::recovery::ArchivePlace;
use crate::format::restore_command::{Source, parse};
use crate::source::archive::tool::{Opened, ToolArchive};
use crate::source::file::read_prefix;

/// Largest configuration file of a tool that is read.
const MAX_CONFIG: usize = 1 << 20;

/// Where pgBackRest looks for its configuration by itself; the last is of old versions.
const PGBACKREST: &[&str] = &["/etc/pgbackrest/pgbackrest.conf", "/etc/pgbackrest.conf"];
/// Its further files.
const PGBACKREST_INCLUDED: &str = "/etc/pgbackrest/conf.d";
/// Its repository without a setting.
const PGBACKREST_REPOSITORY: &str = "/var/lib/pgbackrest";
/// Where Barman looks for its configuration, besides the home of its user.
const BARMAN: &[&str] = &["/etc/barman.conf", "/etc/barman/barman.conf"];

/// The places, or why they are not known: empty where the command is just not understood.
pub fn places(command: &str) -> Result<Vec<ArchivePlace>, String> {
    let sources = parse(command).ok_or_else(String::new)?;
    sources.into_iter().map(place).collect()
}

fn place(source: Source) -> Result<ArchivePlace, String> {
    match source {
        Source::File { directory, ending, unpacks } => {
            Ok(ArchivePlace::Named { directory: directory.into(), ending, unpacks })
        }
        Source::PgBackRest { stanza, repository, config } => {
            let stanza = stanza.ok_or("it is pgBackRest's, and names no stanza")?;
            let unknown = |why: &str| format!("it is pgBackRest's, of the stanza {stanza}: {why}");
            let config = Ini::pgbackrest(config.as_deref());
            if let Some(key) = config.disturbing(&stanza) {
                return Err(unknown(&format!("its configuration has {key}")));
            }
            let repository = repository.or_else(|| config.value(&stanza, "repo1-path"));
            let root = PathBuf::from(repository.unwrap_or_else(|| PGBACKREST_REPOSITORY.to_owned()));
            tool(&root, Some(&stanza)).map_err(|why| unknown(&why))
        }
        Source::Barman { server, config, host } => {
            let unknown = |why: &str| format!("it is Barman's, of the server {server}: {why}");
            if let Some(host) = host.filter(|host| !matches!(host.as_str(), "localhost" | "127.0.0.1")) {
                return Err(unknown(&format!("it asks the machine {host}")));
            }
            let ini = Ini::first(config.as_deref().into_iter().chain(BARMAN.iter().copied()));
            let home = ini
                .value("barman", "barman_home")
                .ok_or_else(|| unknown("where its home is is not known"))?;
            tool(&Path::new(&home).join(&server), None).map_err(|why| unknown(&why))
        }
        Source::WalG { environment, prefix } => {
            let unknown = |why: &str| format!("it is WAL-G's: {why}");
            let from_file = environment.and_then(|directory| {
                let content =
                    read_prefix(&Path::new(&directory).join("WALG_FILE_PREFIX"), MAX_CONFIG).ok()?.0;
                Some(String::from_utf8_lossy(&content).lines().next()?.trim().to_owned())
            });
            let prefix = prefix.or(from_file).filter(|prefix| !prefix.is_empty());
            let prefix = prefix.ok_or_else(|| unknown("its storage is no directory that is known here"))?;
            tool(Path::new(&prefix), None).map_err(|why| unknown(&why))
        }
    }
}

fn tool(root: &Path, stanza: Option<&str>) -> Result<ArchivePlace, String> {
    match ToolArchive::open(root, stanza) {
        Ok(Opened::Tool(archive)) => Ok(ArchivePlace::Tool(archive)),
        Ok(Opened::Plain) => Err(format!("{} is no repository of it", root.display())),
        Ok(Opened::Closed(why)) => Err(why),
        Err(error) => Err(error.to_string()),
    }
}

/// A configuration of sections with `key = value`.
#[derive(Default)]
struct Ini(Vec<(String, String, String)>);

impl Ini {
    fn pgbackrest(config: Option<&str>) -> Ini {
        if let Some(config) = config {
            return Ini::first([config]);
        }
        let mut ini = Ini::first(PGBACKREST.iter().copied());
        let included = std::fs::read_dir(PGBACKREST_INCLUDED).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = included.map(|entry| entry.path()).collect();
        files.sort();
        files.iter().for_each(|path| ini.read(path));
        ini
    }

    /// The first of these files that is there.
    fn first<'p>(paths: impl IntoIterator<Item = &'p str>) -> Ini {
        let mut ini = Ini::default();
        if let Some(path) = paths.into_iter().map(Path::new).find(|path| path.is_file()) {
            ini.read(path);
        }
        ini
    }

    fn read(&mut self, path: &Path) {
        let content = read_prefix(path, MAX_CONFIG).map(|(content, _)| content).unwrap_or_default();
        let mut section = String::new();
        for line in String::from_utf8_lossy(&content).lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                name.clone_into(&mut section);
            } else if let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with(['#', ';']))
            {
                self.0.push((section.clone(), key.trim().to_owned(), value.trim().to_owned()));
            }
        }
    }

    /// The value in a section, else among those of all.
    fn value(&self, section: &str, key: &str) -> Option<String> {
        let find = |wanted: &str| self.0.iter().find(|(section, name, _)| section == wanted && name == key);
        find(section).or_else(|| find("global")).map(|(.., value)| value.clone())
    }

    /// The first setting with which pgBackRest would look elsewhere or into what cannot be read here.
    fn disturbing(&self, stanza: &str) -> Option<&str> {
        let concerns =
            |section: &str| [stanza, "global"].contains(&section.split(':').next().unwrap_or_default());
        let plain = |key: &str, value: &str| match key {
            "repo1-type" => value == "posix",
            "repo1-cipher-type" => value == "none",
            "repo1-path" => true,
            _ => {
                let (repo, rest) = key.strip_prefix("repo").and_then(|key| key.split_once('-')).unzip();
                // What is kept and how it is written does not change what is found.
                let harmless = rest.is_none_or(|rest| {
                    ["retention", "bundle", "block", "hardlink", "symlink"]
                        .iter()
                        .any(|known| rest.starts_with(known))
                });
                repo.is_none() || repo == Some("1") && harmless
            }
        };
        let mut all = self.0.iter().filter(|(section, ..)| concerns(section));
        all.find(|(_, key, value)| !plain(key, value)).map(|(_, key, _)| key.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_configuration_says_of_the_repository() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("pgbackrest.conf");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Ini::pgbackrest(path.to_str())
        };
        let plain =
            read("[global]\nrepo1-path = /r\nrepo1-retention-full=2\nlog-path=/l\n[demo]\npg1-path=/d\n");
        assert_eq!(plain.value("demo", "repo1-path").unwrap(), "/r");
        assert_eq!(plain.disturbing("demo"), None);
        for (setting, key) in [
            ("[global]\nrepo1-type=s3", Some("repo1-type")),
            ("[global]\nrepo1-host=b", Some("repo1-host")),
            ("[demo]\nrepo2-path=/x", Some("repo2-path")),
            ("[global:archive-get]\nrepo1-cipher-type=aes-256-cbc", Some("repo1-cipher-type")),
            ("[other]\nrepo1-host=b", None),
            ("#[global]\n;repo1-host=b", None),
        ] {
            assert_eq!(read(setting).disturbing("demo"), key, "{setting}");
        }
    }

    #[test]
    fn commands_that_cannot_be_followed_say_why() {
        let why = |command: &str| places(command).unwrap_err();
        assert_eq!(why("cp /a/%f %p; true"), "");
        assert!(
            why("pgbackrest --stanza=demo --repo1-path=/nowhere archive-get %f %p").contains("stanza demo")
        );
        assert!(why("barman-wal-restore backup main %f %p").contains("machine backup"));
        assert!(why("wal-g wal-fetch %f %p").contains("WAL-G"));
        assert_eq!(places("cp /a/%f %p").unwrap().len(), 1);
    }
}
