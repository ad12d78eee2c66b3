//! What has to be known to make a copy of a data directory that has nothing in common with the original.

use std::path::PathBuf;

use crate::scan::page_rules::Cluster;

/// Links in a data directory that lead out of it: a copy would follow them into the original.
const LINKED: &[&str] = &["pg_wal", "pg_xact", "pg_multixact", "pg_commit_ts", "global", "base"];

/// Files that make a server recover, or keep it from starting, and have no meaning behind a reset.
const NOT_COPIED: &[&str] = &[
    "postmaster.pid",
    "backup_label",
    "tablespace_map",
    "standby.signal",
    "recovery.signal",
    "recovery.conf",
];

/// About one data directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopyFacts {
    /// Links: the name below PGDATA, and where they lead.
    pub links: Vec<(String, PathBuf)>,
    /// Files that the copy must not have.
    pub to_remove: Vec<&'static str>,
    /// postgresql.conf is not in the data directory.
    pub config_elsewhere: bool,
}

impl CopyFacts {
    /// Looks at names only.
    pub fn of(cluster: &Cluster) -> CopyFacts {
        let directory = &cluster.directory;
        let tablespaces = cluster.facts.tablespaces.iter();
        let tablespaces = tablespaces
            .filter_map(|tablespace| Some(format!("pg_tblspc/{}", tablespace.path.file_name()?.to_str()?)));
        let names = LINKED.iter().map(|name| (*name).to_owned()).chain(tablespaces);
        let target = |name: &String| {
            let path = directory.join(name);
            std::fs::read_link(&path).ok().map(|target| std::fs::canonicalize(&path).unwrap_or(target))
        };
        CopyFacts {
            links: names.filter_map(|name| target(&name).map(|target| (name, target))).collect(),
            to_remove: NOT_COPIED.iter().copied().filter(|name| directory.join(name).exists()).collect(),
            config_elsewhere: !directory.join("postgresql.conf").exists(),
        }
    }
}
