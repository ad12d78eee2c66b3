//! The members of a backup that is a plain directory.
//!
//! Links are followed where a server's own directories have them: the entries of `pg_tblspc`, and `pg_wal`. Any other
//! link is a member of its own and not followed, so that nothing in a backup leads the reader out of it. Behind those
//! links only directories with the names that servers give are entered: a link to `/` does not list the whole machine.

use std::collections::HashSet;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Member, MemberKind};
use crate::source::Error;

/// How deep directories may be nested: a cluster has five levels with tablespaces.
const DEEPEST: usize = 16;

/// Everything below `root`, and what could not be listed; sorted by path.
pub fn list(root: &Path) -> (Vec<Member>, Vec<Error>) {
    let mut list = List { members: Vec::new(), errors: Vec::new(), seen: HashSet::new() };
    list.directory(root, b"", 0);
    list.members.sort_by(|a, b| a.path.cmp(&b.path));
    (list.members, list.errors)
}

/// The file of a member.
pub fn path_of(root: &Path, member: &[u8]) -> PathBuf {
    root.join(std::ffi::OsStr::from_bytes(member))
}

struct List {
    members: Vec<Member>,
    errors: Vec<Error>,
    /// Directories that were entered, by device and number.
    seen: HashSet<(u64, u64)>,
}

impl List {
    fn directory(&mut self, path: &Path, below: &[u8], depth: usize) {
        let entered = fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()));
        match entered {
            Ok(identity) if depth <= DEEPEST && self.seen.insert(identity) => {}
            Ok(_) => {
                let why = std::io::Error::other("a loop of links, or nested too deeply");
                return self.errors.push(Error::at(path, "open directory")(why));
            }
            Err(error) => return self.errors.push(Error::at(path, "open directory")(error)),
        }
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) => return self.errors.push(Error::at(path, "open directory")(error)),
        };
        for entry in entries {
            match entry {
                Ok(entry) => self.entry(&entry, below, depth),
                Err(error) => return self.errors.push(Error::at(path, "read directory")(error)),
            }
        }
    }

    fn entry(&mut self, entry: &fs::DirEntry, below: &[u8], depth: usize) {
        let path = entry.path();
        let name = entry.file_name();
        let member = match below {
            b"" => name.as_bytes().to_vec(),
            below => [below, b"/", name.as_bytes()].concat(),
        };
        let attributes = match entry.metadata() {
            Ok(attributes) => attributes,
            Err(error) => return self.errors.push(Error::at(&path, "stat file")(error)),
        };
        let kind = if attributes.is_dir() {
            MemberKind::Directory
        } else if attributes.is_symlink() {
            let target = fs::read_link(&path).map(|target| target.into_os_string().into_vec());
            MemberKind::Symlink(target.unwrap_or_default())
        } else if attributes.is_file() {
            MemberKind::File
        } else {
            MemberKind::Other
        };
        let enter = match &kind {
            MemberKind::Directory => is_server_directory(&member),
            MemberKind::Symlink(_) => is_server_link(&member) && path.is_dir(),
            _ => false,
        };
        let size = if kind == MemberKind::File { attributes.len() } else { 0 };
        self.members.push(Member { path: member.clone(), unsafe_name: false, kind, size });
        if enter {
            self.directory(&path, &member, depth + 1);
        }
    }
}

/// Below a link: may a server have this directory? Elsewhere any may be there.
fn is_server_directory(member: &[u8]) -> bool {
    if let Some(below) = member.strip_prefix(b"pg_wal/") {
        return matches!(below, b"archive_status" | b"summaries");
    }
    let mut below =
        member.strip_prefix(b"pg_tblspc/").unwrap_or_default().split(|byte| *byte == b'/').skip(1);
    below.next().is_none_or(|version| version.starts_with(b"PG_"))
}

/// May a server have a link here?
pub fn is_server_link(member: &[u8]) -> bool {
    member == b"pg_wal" || member.strip_prefix(b"pg_tblspc/").is_some_and(|rest| !rest.contains(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_followed_where_a_server_has_them_and_nowhere_else() {
        let root = tempfile::tempdir().unwrap();
        let (data, outside) = (root.path().join("data"), root.path().join("outside"));
        fs::create_dir_all(data.join("pg_tblspc")).unwrap();
        fs::create_dir_all(data.join("base")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("file"), "x").unwrap();
        fs::create_dir_all(outside.join("PG_15")).unwrap();
        fs::create_dir_all(outside.join("other/deep")).unwrap();
        symlink(&outside, data.join("pg_tblspc/16400")).unwrap();
        symlink(&outside, data.join("base/1")).unwrap();
        symlink(&data, outside.join("loop")).unwrap();
        let (members, errors) = list(&data);
        let paths: Vec<_> = members.iter().map(|member| String::from_utf8_lossy(&member.path)).collect();
        let expected = [
            "base",
            "base/1",
            "pg_tblspc",
            "pg_tblspc/16400",
            "pg_tblspc/16400/PG_15",
            "pg_tblspc/16400/file",
            "pg_tblspc/16400/loop",
            "pg_tblspc/16400/other",
        ];
        assert_eq!(paths, expected);
        assert!(errors.is_empty());
        // One that leads back into its own tree is entered once.
        fs::remove_file(data.join("pg_tblspc/16400")).unwrap();
        symlink(&data, data.join("pg_tblspc/16400")).unwrap();
        assert_eq!(list(&data).1.len(), 1);
    }
}
