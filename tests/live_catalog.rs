//! The catalogs as we read them from files are those that servers of every installed major read.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fmt::Write;
use std::path::Path;

use common::{Server, servers};
use pgforensic::scan::catalog::{Catalogs, Database};
use pgforensic::scan::cluster::Target;
use pgforensic::scan::page_rules::{Cluster, Rules};
use pgforensic::scan::slru_lookup::{Layouts, SlruLookup};

const WORKLOAD: &str = "create table kept (a int, b text collate \"C\", c numeric, d uuid, e name, f \"char\");
    create index on kept (a desc nulls last, b text_pattern_ops); create unique index on kept (lower(b));
    alter table kept drop column c; alter table kept add column g bigint default 7;
    create table gone (a int); drop table gone; begin; create table never (a int); rollback;
    create table moved (a text) tablespace elsewhere; create index on moved (a) tablespace pg_default;
    create materialized view seen as select 1 as one; create sequence counted; create unlogged table quick (a text);
    create table packed (a text, b text, c point, d int4range, e tsvector);
    alter table packed alter a set storage external; alter table packed alter b set storage main;
    create index on packed using gist (c); create index on packed using gin (e); create index on packed using spgist (c);
    create index on packed using brin (d); create index on kept using hash (a); vacuum full pg_class; vacuum full pg_index;
    cluster kept using kept_a_b_idx; reindex table pg_attribute; create type pair as (a int, b text);";

/// What the server says of its relations with files.
const RELATIONS: &str = "select c.oid, relname, pg_relation_filepath(c.oid), relkind, relam, reltoastrelid, relpersistence,
    relnatts, relfrozenxid, relminmxid,
    coalesce((select string_agg(concat_ws(':', atttypid, attlen, attnum, attbyval, attstorage, attalign, attisdropped,
        attcollation), ' ' order by attnum) from pg_attribute where attrelid = c.oid and attnum > 0), ''),
    coalesce((select concat_ws(':', indrelid, indisunique, indisvalid, indisready, indislive, indkey, indcollation,
        indclass, indoption, indnatts) from pg_index where indexrelid = c.oid), '')
    from pg_class c where pg_relation_filenode(c.oid) is not null and relkind in ('r', 'i', 'S', 't', 'm')
    and relisshared = SHARED order by 1";

fn ours(catalogs: &Catalogs, database: &Database, shared: bool, root: &Path) -> String {
    let mut text = String::new();
    for relation in database.relations() {
        let class = &relation.class;
        // Up to 11 views have a number of a file that there is not.
        let has_file = relation.filenode != 0 && b"riStm".contains(&class.relkind);
        if !has_file || class.relisshared != shared {
            continue;
        }
        let path = catalogs.path(database, relation).unwrap();
        let path = path.strip_prefix(root).unwrap().display().to_string();
        let truth = |value| if value { 't' } else { 'f' };
        let attributes: Vec<_> = relation
            .attributes
            .iter()
            .map(|attribute| {
                format!(
                    "{}:{}:{}:{}:{}:{}:{}:{}",
                    attribute.atttypid,
                    attribute.attlen,
                    attribute.attnum,
                    truth(attribute.attbyval),
                    char::from(attribute.attstorage),
                    char::from(attribute.attalign),
                    truth(attribute.attisdropped),
                    attribute.attcollation
                )
            })
            .collect();
        let list = |values: Vec<String>| values.join(" ");
        let index = relation.index.as_ref().map_or_else(String::new, |index| {
            format!(
                "{}:{}:{}:{}:{}:{}:{}:{}:{}:{}",
                index.indrelid,
                truth(index.indisunique),
                truth(index.indisvalid),
                truth(index.indisready),
                truth(index.indislive),
                list(index.indkey.iter().map(ToString::to_string).collect()),
                list(index.indcollation.iter().map(ToString::to_string).collect()),
                list(index.indclass.iter().map(ToString::to_string).collect()),
                list(index.indoption.iter().map(ToString::to_string).collect()),
                index.indnatts
            )
        });
        writeln!(
            text,
            "{}|{}|{path}|{}|{}|{}|{}|{}|{}|{}|{}|{index}",
            class.oid,
            class.relname,
            char::from(class.relkind),
            class.relam,
            class.reltoastrelid,
            char::from(class.relpersistence),
            class.relnatts,
            class.relfrozenxid,
            class.relminmxid,
            attributes.join(" ")
        )
        .unwrap();
    }
    text
}

/// By line, so that a difference is readable.
fn compare(server: &Server, theirs: &str, ours: &str) {
    let (theirs, ours): (Vec<_>, Vec<_>) = (theirs.lines().collect(), ours.lines().collect());
    for (theirs, ours) in theirs.iter().zip(&ours) {
        assert_eq!(ours, theirs, "{}", server.major);
    }
    assert_eq!(ours.len(), theirs.len(), "{}", server.major);
    assert!(ours.len() > 30, "{}", server.major);
}

#[test]
fn relations_as_the_server_knows_them() {
    let servers = servers();
    let Some(client) = servers.iter().find(|server| server.has("psql")) else { return };
    for server in &servers {
        let scratch = server.scratch();
        let sql = |text: &str| server.sql(client, scratch.path(), text);
        server.initdb(scratch.path(), "d", &[]);
        server.start(scratch.path(), "d");
        let elsewhere = scratch.path().join("elsewhere");
        std::fs::create_dir(&elsewhere).unwrap();
        if common::is_root() {
            std::process::Command::new("chown").arg("postgres").arg(&elsewhere).status().unwrap();
        }
        sql(&format!("create tablespace elsewhere location '{}'", elsewhere.display()));
        for statement in WORKLOAD.split(';').filter(|statement| !statement.trim().is_empty()) {
            // VACUUM and CLUSTER run alone; a rolled back table needs its transaction.
            if statement.contains("begin") {
                sql("begin; create table never (a int); rollback");
            } else if !statement.contains("never") && statement.trim() != "rollback" {
                sql(statement);
            }
        }
        let own = sql(&RELATIONS.replace("SHARED", "false"));
        let shared = sql(&RELATIONS.replace("SHARED", "true"));
        let oid = sql("select oid from pg_database where datname = 'postgres'");
        // Without hint bits nothing may be different.
        server.stop(scratch.path(), "d", "fast");
        let root = scratch.path().join("d");
        let cluster = Cluster::scan(&root);
        let rules = Rules::new(Some(&cluster), &Target::Cluster(root.clone()));
        let control = cluster.trusted().map(|scan| &scan.detected.control);
        let lookup = SlruLookup::new(&cluster.directory, Layouts::new(rules.major, rules.abi, control));
        let of = (rules.major, rules.abi);
        let catalogs = Catalogs::new(&cluster.directory, of, rules.geometry, &lookup, control);
        let database = catalogs.of_directory(&root.join("base").join(oid.trim()));
        assert!(database.problems.is_empty(), "{}: {:?}", server.major, database.problems);
        compare(server, &own, &ours(&catalogs, &database, false, &root));
        let global = catalogs.of_directory(&root.join("global"));
        assert!(global.problems.is_empty(), "{}: {:?}", server.major, global.problems);
        compare(server, &shared, &ours(&catalogs, &global, true, &root));
        for relation in database
            .relations()
            .iter()
            .filter(|relation| relation.filenode != 0 && !relation.class.relisshared)
        {
            let path = catalogs.path(&database, relation).unwrap();
            let found = database.of_file(path.parent().unwrap(), relation.filenode);
            assert_eq!(found.map(|found| found.class.oid), Some(relation.class.oid), "{}", server.major);
            for oid in relation.index.iter().flat_map(|index| &index.indclass) {
                assert!(database.opclass(*oid).is_some(), "{}: {oid}", server.major);
            }
        }
        let oids: Vec<_> = database
            .relations()
            .iter()
            .filter(|relation| relation.class.relkind == b'r')
            .map(|relation| relation.class.relname.clone())
            .collect();
        assert!(
            oids.contains(&"moved".to_owned()) && !oids.contains(&"never".to_owned()),
            "{}",
            server.major
        );
    }
}
