//! The restore command of a plan: what was played, as a shell runs it.

use std::path::{Path, PathBuf};

use super::shell::{path as quoted_path, quoted};
use crate::scan::recovery::ArchivePlace;
use crate::source::archive::layout::Tool;
use crate::source::archive::tool::ToolArchive;

/// Each place in turn. `target`: the data directory in which it will run.
pub fn restore_command(places: &[ArchivePlace], target: &Path) -> String {
    let mut commands: Vec<String> = Vec::new();
    let mut directories: Vec<PathBuf> = Vec::new();
    let all_directories = places.iter().all(|place| matches!(place, ArchivePlace::Directory(_)));
    for place in places {
        match place {
            ArchivePlace::Directory(directory) => {
                directories.push(directory.clone());
                if !all_directories {
                    commands.push(format!("({})", from_directories(&std::mem::take(&mut directories))));
                }
            }
            ArchivePlace::Named { directory, ending, unpacks } => {
                let file = format!("{}/%f{ending}", escaped(directory));
                commands.push(match unpacks {
                    true => format!("gzip -dc < {file} > \"%p\""),
                    false => format!("cp {file} \"%p\""),
                });
            }
            ArchivePlace::Tool(archive) => commands.push(from_tool(archive, target)),
        }
    }
    if all_directories { from_directories(&directories) } else { commands.join(" || ") }
}

/// Fetches one file from a place; `target`: the data directory.
pub fn fetch(place: &ArchivePlace, name: &str, to: &Path, target: &Path) -> String {
    if let ArchivePlace::Directory(directory) = place
        && directory.join(name).is_file()
    {
        return format!("cp -n {} {}", quoted_path(&directory.join(name)), quoted_path(to));
    }
    let one = match place {
        ArchivePlace::Directory(directory) => {
            ArchivePlace::Named { directory: directory.clone(), ending: ".gz".to_owned(), unpacks: true }
        }
        place => place.clone(),
    };
    // As the server does it, but a path may need other quotes.
    let command = restore_command(&[one], target).replace("\"%p\"", "%p");
    let mut out = String::new();
    let mut chars = command.chars();
    while let Some(c) = chars.next() {
        match if c == '%' { chars.next() } else { None } {
            Some('f') => out += name,
            Some('p') => out += &quoted_path(to),
            Some(other) => out.push(other),
            None => out.push(c),
        }
    }
    out
}

/// A path in a restore command, in which `%` has a meaning.
fn escaped(path: &Path) -> String {
    quoted(&path.display().to_string().replace('%', "%%"))
}

/// The name, else with .gz.
fn from_directories(archives: &[PathBuf]) -> String {
    if let [archive] = archives
        && !archive.display().to_string().contains(['\'', '%', '"', '$'])
    {
        let shown = quoted_path(archive);
        return format!(
            "if [ -f {shown}/%f ]; then cp {shown}/%f \"%p\"; else gzip -dc {shown}/%f.gz > \"%p\"; fi"
        );
    }
    let list: Vec<String> = archives.iter().map(|archive| escaped(archive)).collect();
    format!(
        "for d in {}; do [ -f \"$d/%f\" ] && exec cp \"$d/%f\" \"%p\"; [ -f \"$d/%f.gz\" ] && exec gzip -dc \"$d/%f.gz\" > \"%p\"; done; exit 1",
        list.join(" ")
    )
}

/// The tool's own command.
fn from_tool(archive: &ToolArchive, target: &Path) -> String {
    let repository = &archive.repository;
    let cluster = escaped(Path::new(repository.cluster.as_deref().unwrap_or_default()));
    let root = escaped(&repository.root);
    match repository.layout.tool {
        Tool::PgBackRest => format!(
            "pgbackrest --stanza={cluster} --repo1-path={root} --pg1-path={} archive-get %f \"%p\"",
            escaped(target)
        ),
        Tool::WalG => format!("WALG_FILE_PREFIX={root} wal-g wal-fetch %f \"%p\""),
        Tool::PgProbackup => format!(
            "pg_probackup archive-get -B {root} --instance={cluster} --wal-file-path=%p --wal-file-name=%f"
        ),
        _ => format!("barman get-wal {cluster} %f > \"%p\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_archives() {
        let command = |paths: &[&str]| {
            let places: Vec<_> =
                paths.iter().map(|path| ArchivePlace::Directory(PathBuf::from(path))).collect();
            restore_command(&places, Path::new("/data"))
        };
        assert_eq!(
            command(&["/a"]),
            "if [ -f /a/%f ]; then cp /a/%f \"%p\"; else gzip -dc /a/%f.gz > \"%p\"; fi"
        );
        assert!(command(&["/a", "/b"]).starts_with("for d in /a /b; do"));
        assert!(command(&["/a%b"]).starts_with("for d in /a%%b; do"));
    }

    #[test]
    fn one_file_is_fetched() {
        let place = ArchivePlace::Directory(PathBuf::from("/a%p"));
        let command = fetch(&place, "X", Path::new("/my data/pg_wal/X"), Path::new("/my data"));
        assert_eq!(command, "gzip -dc < /a%p/X.gz > '/my data/pg_wal/X'");
    }

    #[test]
    fn places_of_several_kinds_are_tried_in_turn() {
        let places = [
            ArchivePlace::Named { directory: PathBuf::from("/a"), ending: ".gz".to_owned(), unpacks: true },
            ArchivePlace::Directory(PathBuf::from("/b")),
        ];
        let command = restore_command(&places, Path::new("/data"));
        assert!(command.starts_with("gzip -dc < /a/%f.gz > \"%p\" || (if [ -f /b/%f ]; then"), "{command}");
    }
}
