//! The commands that look at a place: they only read, and copies go outside of the data directory.

use std::path::Path;

use super::Located;
use crate::check::log_place::{FileKind, FilePlace};
use crate::format::server_log::{Subject, Topic};
use crate::pg::relation::{ForkNumber, RelPath};
use crate::plan::shell::quoted;

/// A command and what it is for.
pub(super) struct Command {
    /// `copy`, `bytes`, `pgforensic`, `sql`.
    pub tool: &'static str,
    pub purpose: String,
    pub command: String,
}

/// A string of SQL.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Makes the commands of one data directory, or of one that is not known.
pub(super) struct Commands<'a> {
    pgdata: Option<&'a Path>,
    list: Vec<Command>,
}

impl<'a> Commands<'a> {
    /// The commands for one thing, in the order in which they are useful.
    pub(super) fn of(located: &Located, pgdata: Option<&'a Path>) -> Vec<Command> {
        let mut commands = Commands { pgdata, list: Vec::new() };
        for place in &located.places {
            commands.place(place, located);
        }
        commands.subject(&located.reported.subject, located);
        commands.list
    }

    fn push(&mut self, tool: &'static str, purpose: &str, command: String) {
        if self.list.iter().all(|known| known.command != command) {
            self.list.push(Command { tool, purpose: purpose.to_owned(), command });
        }
    }

    fn root(&self) -> String {
        self.pgdata.map_or_else(|| "\"$PGDATA\"".to_owned(), |path| quoted(&path.display().to_string()))
    }

    fn file(&self, place: &FilePlace) -> String {
        match &place.kind {
            // Known only to the running server, which tells it below PGDATA.
            FileKind::Named(_) => format!("{}/\"$FILE\"{}", self.root(), place.file),
            _ if place.file.contains('?') => format!("{}/{}", self.root(), place.file),
            _ => match self.pgdata {
                Some(path) => quoted(&path.join(&place.file).display().to_string()),
                None => format!("\"$PGDATA\"/{}", quoted(&place.file)),
            },
        }
    }

    fn place(&mut self, place: &FilePlace, located: &Located) {
        let file = self.file(place);
        if let FileKind::Named(name) = &place.kind {
            let query = format!("SELECT pg_relation_filepath({})", literal(last_parts(name)));
            self.push(
                "sql",
                "the file's path, in the database of the log line",
                format!("FILE=$(psql -XAtc {})", quoted(&query)),
            );
        }
        // pg_amcheck's line pointers are in a block that has its commands already.
        if place.what == "line pointer" {
            return self.push(
                "bytes",
                "the line pointer",
                format!("hexdump -C -s {} -n 4 {file}", place.offset),
            );
        }
        let Some(length) = place.length.or((place.kind == FileKind::Wal).then_some(512)) else {
            return self.push("bytes", "is the file there?", format!("ls -l {file}"));
        };
        if matches!(located.reported.topic, Some(Topic::RelationFile | Topic::BehindEnd)) {
            self.push("bytes", "all segment files of it", format!("ls -l {}*", self.fork(place)));
        }
        let (first, count) = place.units();
        let name = match &place.kind {
            FileKind::Named(name) => format!("{name}{}", place.file),
            _ => place.file.clone(),
        };
        let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let what =
            if matches!(place.kind, FileKind::Relation(_) | FileKind::Named(_)) { "block" } else { "page" };
        self.push(
            "copy",
            "a copy, before anything else",
            format!(
                "dd if={file} of=/tmp/{}.{what}{first} bs={} skip={first} count={count}",
                name.trim_start_matches('_'),
                place.block_size
            ),
        );
        let shown = if place.bit.is_some() { 1 } else { length };
        self.push("bytes", "its bytes", format!("hexdump -C -s {} -n {shown} {file}", place.offset));
        if matches!(place.kind, FileKind::Slru(_)) {
            let command = format!("pgforensic page {file} {first}");
            self.push("pgforensic", "every entry of the page", command);
        }
        if let (FileKind::Relation(_), Some(block)) = (&place.kind, place.block) {
            let last = block + count.saturating_sub(1);
            self.push(
                "pgforensic",
                "what happened to it",
                format!("pgforensic scan-pages {file} --checksums --from-block {block} --to-block {last}"),
            );
            self.push(
                "pgforensic",
                "what is lost with it, and where it is to be had",
                format!("pgforensic scan-pages {file} --explain-block {block} --wal /path/of/archive --backup /path/of/copy"),
            );
            self.push("pgforensic", "every byte of it", format!("pgforensic page {file} {block} --hex"));
        }
    }

    fn fork(&self, place: &FilePlace) -> String {
        let whole = FilePlace {
            file: place.file.split('.').next().unwrap_or(&place.file).to_owned(),
            ..place.clone()
        };
        self.file(&whole)
    }

    fn subject(&mut self, subject: &Subject, located: &Located) {
        match subject {
            Subject::Blocks { relation, .. }
            | Subject::BlockOfFile { relation, .. }
            | Subject::RelationFile(relation) => {
                self.relation(relation);
            }
            Subject::Slru { number, .. } => {
                self.push(
                    "pgforensic",
                    "is the number in range?",
                    format!("pgforensic controldata {}", self.root()),
                );
                match (located.reported.topic, number) {
                    (Some(Topic::MultiXact), Some(number)) => {
                        let sql = format!("SELECT * FROM pg_get_multixact_members('{number}');");
                        self.push("sql", "its members", sql);
                    }
                    (_, Some(number)) => {
                        self.push(
                            "sql",
                            "what the server says of it",
                            format!("SELECT pg_xact_status('{number}');"),
                        );
                    }
                    _ => {}
                }
            }
            Subject::Transaction(_) => {
                self.push(
                    "pgforensic",
                    "is the number in range?",
                    format!("pgforensic controldata {}", self.root()),
                );
                let sql = "SELECT oid::regclass, relfrozenxid, age(relfrozenxid) FROM pg_class WHERE relkind IN ('r', 't', 'm') ORDER BY 3 DESC LIMIT 20;";
                self.push("sql", "the oldest tables of the database", sql.to_owned());
            }
            Subject::Toast { table, value, .. } => self.toast(table, *value),
            Subject::Tuple { table, block, item, .. } => {
                let name = last_parts(table);
                let item = item.map_or_else(String::new, |item| format!(" WHERE lp = {item}"));
                let sql =
                    format!("SELECT * FROM heap_page_items(get_raw_page({}, {block})){item};", literal(name));
                self.push("sql", "the tuple (extension pageinspect)", sql);
            }
            Subject::Index { index, tid, .. } => {
                let sql = format!(
                    "SELECT i.indrelid::regclass, pg_get_indexdef(i.indexrelid) FROM pg_index i WHERE i.indexrelid = {}::regclass;",
                    literal(index)
                );
                self.push("sql", "its table and definition", sql);
                let sql = format!("SELECT bt_index_check({}::regclass, true);", literal(index));
                self.push("sql", "index and table compared (extension amcheck)", sql);
                if let Some((block, item)) = tid {
                    self.push(
                        "sql",
                        "the row",
                        format!("SELECT ctid, * FROM the_table WHERE ctid = '({block},{item})';"),
                    );
                }
            }
            Subject::Wal { lsn, segment, .. } => {
                let start = match (lsn, segment) {
                    (Some(lsn), _) => format!(" -s {lsn}"),
                    (None, Some(segment)) => format!(" {segment}"),
                    (None, None) => String::new(),
                };
                let root = self.root();
                self.push(
                    "pgforensic",
                    "the records from there on",
                    format!("pgforensic wal-dump -p {root}/pg_wal{start} -n 5"),
                );
                self.push(
                    "pgforensic",
                    "the WAL around it, with the archive",
                    format!("pgforensic wal-gaps {root} /path/of/archive"),
                );
            }
            Subject::File(_) | Subject::Nothing => match located.reported.topic {
                Some(Topic::Checkpoint) => {
                    let root = self.root();
                    self.push(
                        "pgforensic",
                        "which segment is needed",
                        format!("pgforensic controldata {root}"),
                    );
                    self.push(
                        "pgforensic",
                        "where it is",
                        format!("pgforensic wal-gaps {root} /path/of/archive"),
                    );
                }
                Some(Topic::InvalidPage | Topic::Checksum | Topic::Flush | Topic::Heap) => {
                    self.push(
                        "pgforensic",
                        "every bad page",
                        format!("pgforensic scan-pages {} --checksums", self.root()),
                    );
                }
                _ => {}
            },
        }
    }

    fn relation(&mut self, relation: &RelPath) {
        let RelPath { database, tablespace, name, .. } = relation;
        let object = format!("SELECT pg_filenode_relation({tablespace}, {});", name.relnumber);
        if *database == 0 {
            self.push("sql", "its name, in any database", object);
        } else {
            self.push(
                "sql",
                "its database",
                format!("SELECT datname FROM pg_database WHERE oid = {database};"),
            );
            self.push("sql", "its name, in that database", object);
        }
        if name.fork == ForkNumber::Fsm || name.fork == ForkNumber::Vm {
            let sql =
                format!("SELECT relname, relkind FROM pg_class WHERE relfilenode = {};", name.relnumber);
            self.push("sql", "the relation that the map belongs to", sql);
        }
    }

    fn toast(&mut self, table: &str, value: u64) {
        let chunks = format!(
            "SELECT chunk_seq, length(chunk_data), ctid FROM pg_toast.{table} WHERE chunk_id = {value} ORDER BY chunk_seq;"
        );
        self.push(
            "sql",
            "the chunks that are there",
            format!("SET enable_indexscan = off; SET enable_bitmapscan = off; {chunks}"),
        );
        self.push("sql", "the files of the TOAST table", format!("SELECT pg_relation_filepath('pg_toast.{table}'), pg_relation_filepath('pg_toast.{table}_index');"));
        // The OID in the name is that of the table.
        let Some(oid) = table.strip_prefix("pg_toast_").filter(|oid| oid.parse::<u32>().is_ok()) else {
            return;
        };
        self.push("sql", "the table", format!("SELECT {oid}::regclass;"));
        let search = "DO $$ DECLARE r record; BEGIN FOR r IN SELECT ctid FROM the_table LOOP BEGIN PERFORM length(t::text) FROM the_table t WHERE ctid = r.ctid; EXCEPTION WHEN OTHERS THEN RAISE NOTICE '%: %', r.ctid, SQLERRM; END; END LOOP; END $$;";
        self.push("sql", "its rows whose values cannot be read", search.to_owned());
    }
}

/// pg_amcheck names database, schema and table; SQL inside the database takes the last two.
fn last_parts(name: &str) -> &str {
    match name.match_indices('.').collect::<Vec<_>>().as_slice() {
        [(first, _), _] => name.get(first + 1..).unwrap_or(name),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_quotes() {
        assert_eq!(literal("o'x"), "'o''x'");
        assert_eq!(last_parts("db.public.t"), "public.t");
        assert_eq!(last_parts("public.t"), "public.t");
    }
}
