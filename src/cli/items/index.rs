//! The columns of the index that a file belongs to.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::check::slru_cluster::SlruCluster;
use crate::format::pg_type::IndexColumns;
use crate::pg::relation::RelFileName;
use crate::scan::catalog::Catalogs;
use crate::scan::page_rules::{Cluster, Rules};

/// What the catalogs say of it, or why nothing.
pub(super) fn index_columns(file: &Path, rules: &Rules) -> Result<Arc<IndexColumns>, String> {
    let (cluster, directory) = home(file).ok_or(
        "the types of an index's columns are in the catalogs, and the file is not inside of a data directory",
    )?;
    let cluster = SlruCluster::new(cluster);
    let root = &cluster.cluster.directory;
    let rules = ((rules.major, rules.abi), rules.geometry);
    let catalogs = Catalogs::new(root, rules.0, rules.1, &cluster.lookup, cluster.control());
    let name = file.file_name().and_then(|name| RelFileName::parse(name.to_str()?));
    let name = name.ok_or_else(|| format!("{} is no file of a relation", file.display()))?;
    let database = catalogs.of_directory(&directory);
    let relation = database.of_file(&directory, name.relnumber).ok_or_else(|| {
        let why = database.problems.first().map(|error| format!(": {error}")).unwrap_or_default();
        format!("no relation of pg_class has the file {}{why}", name.relnumber)
    })?;
    catalogs.index_columns(&database, relation).map(Arc::new)
}

/// The cluster of a file, and the file's directory by its path below it.
fn home(file: &Path) -> Option<(Cluster, PathBuf)> {
    let cluster = Cluster::above(file)?;
    let given = file.parent().unwrap_or(Path::new("."));
    let canonical = |path: &Path| {
        std::fs::canonicalize(if path.as_os_str().is_empty() { Path::new(".") } else { path }).ok()
    };
    // Files of tablespaces are below the data directory by the path that leads through pg_tblspc only.
    let resolved = canonical(cluster.directory.root()).zip(canonical(given));
    match resolved.filter(|(root, directory)| directory.starts_with(root)) {
        Some((root, directory)) => Some((Cluster::scan(&root), directory)),
        None => Some((cluster, given.to_owned())),
    }
}
