//! What only the node has that is given up: it is dumped from a copy that nobody else can reach.

use std::collections::BTreeSet;

use super::address::Address;
use super::{Node, Only};
use crate::pg::Major;
use crate::plan::Step;
use crate::plan::restore::{beside, expected_log};
use crate::plan::shell::{path as quoted_path, quoted};

/// A copy of the other one, on a socket of its own, gives what only it has.
pub(super) fn extract_steps(other: &Node, only: &Only) -> Vec<Step> {
    if !only.ahead || only.commits.is_nothing() {
        return Vec::new();
    }
    let root = other.root();
    let (cold, look) = (beside(root, ".cold"), beside(root, ".look"));
    let sockets = beside(root, ".socket");
    let port = Address::of(other).port;
    let reach = format!("-h {} -p {}", quoted_path(&sockets), quoted(&port));
    let alone =
        format!("-c archive_mode=off -c listen_addresses= -c port={port} -k {}", quoted_path(&sockets));
    let standby = match other.is_standby() && other.major() >= Major::V12 {
        true => " -c primary_conninfo=",
        false => "",
    };
    let links = match other.cluster.facts.tablespaces.is_empty() {
        true => "no room",
        false => {
            "no room; links in pg_tblspc of the copy lead into the original: make them lead to copies first"
        }
    };
    let expect = other.prediction.as_ref().map(expected_log).unwrap_or_default();
    let mut steps = vec![
        Step::new(
            format!(
                "Make a copy of {} that can be looked into; the cold one is never started",
                root.display()
            ),
            format!(
                "cp -a {} {}\nmkdir -p {}",
                quoted_path(&cold),
                quoted_path(&look),
                quoted_path(&sockets)
            ),
            "a copy",
            "exit status 0",
            links,
        ),
        Step::new(
            "Start that copy where nobody finds it: without archiving, on a socket of its own",
            format!(
                "pg_ctl -D {} -l {} -o {} -w start",
                quoted_path(&look),
                quoted_path(&beside(&look, ".log")),
                quoted(&format!("{alone}{standby}"))
            ),
            "the copy",
            match other.is_standby() {
                true => String::new(),
                false => expect,
            },
            "it writes into an archive, or another server can reach it",
        ),
    ];
    steps.extend(dump_steps(other, only, &reach));
    steps.push(Step::new(
        "Stop the copy",
        format!("pg_ctl -D {} -m fast -w stop", quoted_path(&look)),
        "the copy",
        "server stopped",
        "",
    ));
    steps.push(Step::new(
        "Bring over what is wanted of it, by hand: rows that both changed have to be decided on one by one",
        "",
        "the one that is kept",
        "what the dumps have more than the one that is kept",
        "it is not clear which of two rows is right: ask who wrote them",
    ));
    steps
}

/// The tables that the commits touched, by database.
fn dump_steps(other: &Node, only: &Only, reach: &str) -> Vec<Step> {
    let databases: BTreeSet<u32> =
        only.tables.iter().map(|table| table.database).chain(only.databases.iter().copied()).collect();
    let mut steps = Vec::new();
    for database in databases.into_iter().filter(|database| *database != 0) {
        let name = format!(
            "\"$(psql {reach} -XAt -c 'SELECT datname FROM pg_database WHERE oid = {database}' postgres)\""
        );
        let tables: Vec<_> = only.tables.iter().filter(|table| table.database == database).collect();
        let target = |ending: &str| quoted_path(&beside(other.root(), &format!(".only.{database}{ending}")));
        let mut commands = Vec::new();
        if !tables.is_empty() {
            let patterns: Vec<String> = (tables.iter())
                .map(|table| format!("-t {}", quoted(&format!("*.\"{}\"", table.name.replace('"', "\"\"")))))
                .collect();
            commands.push(format!("pg_dump {reach} -d {name} {} > {}", patterns.join(" "), target(".sql")));
        }
        let mut and = "";
        if only.databases.contains(&database) {
            commands.push(format!("pg_dump {reach} -d {name} -s > {}", target(".schema.sql")));
            and = "; catalogs changed too: the definitions as well";
        }
        let list: Vec<String> =
            tables.iter().map(|table| format!("{} ({} rows)", table.name, table.rows)).collect();
        let what = if list.is_empty() { "definitions".to_owned() } else { list.join(", ") };
        steps.push(Step::new(
            format!("Dump what those commits touched in the database with the OID {database}: {what}{and}"),
            commands.join("\n"),
            "files beside the data directory",
            "exit status 0",
            "a table is not found: it was dropped there, or has another name now",
        ));
    }
    steps
}
