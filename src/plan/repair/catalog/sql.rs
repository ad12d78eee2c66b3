//! SQL that makes what is left of the catalogs of a copy fit together, so that it can be dumped.

use super::rest::Class;
use crate::pg::Major;

/// Rows of pg_class can be written with their oid since it is a column.
pub(super) const PUTS_BACK: Major = Major::V12;

/// Definitions that follow from other catalogs: those of TOAST tables are all alike, so are those of sequences, and the
/// columns of an index are those of its table.
const COLUMNS: &str = "\
INSERT INTO pg_attribute SELECT (jsonb_populate_record(a, jsonb_build_object('attrelid', c.oid))).*
FROM pg_class c, pg_attribute a
WHERE c.relkind = 't' AND a.attrelid = 'pg_toast.pg_toast_2618'::regclass AND a.attnum > 0
AND NOT EXISTS (SELECT FROM pg_attribute o WHERE o.attrelid = c.oid AND o.attnum = a.attnum);
INSERT INTO pg_attribute SELECT (jsonb_populate_record(a, jsonb_build_object('attrelid', c.oid, 'attname', s.name, 'attnum', s.number))).*
FROM pg_class c, (VALUES ('last_value', 1, 'seqstart'), ('log_cnt', 2, 'seqstart'), ('is_called', 3, 'seqcycle')) s(name, number, model), pg_attribute a
WHERE c.relkind = 'S' AND a.attrelid = 'pg_sequence'::regclass AND a.attname = s.model
AND NOT EXISTS (SELECT FROM pg_attribute o WHERE o.attrelid = c.oid AND o.attnum = s.number);
INSERT INTO pg_attribute SELECT (jsonb_populate_record(a, jsonb_build_object('attrelid', i.indexrelid, 'attnum', k.number))).*
FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, number), pg_attribute a
WHERE a.attrelid = i.indrelid AND a.attnum = k.attnum
AND NOT EXISTS (SELECT FROM pg_attribute o WHERE o.attrelid = i.indexrelid AND o.attnum = k.number);";

/// What refers to something that is not there would end every dump; so would a table without a file.
pub(super) const FORGET: &str = "\
DO $do$ DECLARE more boolean := true; n bigint; r record; BEGIN
WHILE more LOOP
more := false;
FOR r IN SELECT c.oid, c.relname FROM pg_class c
WHERE c.relnatts <> (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0)
OR c.relkind IN ('r', 'm', 't', 'S', 'i') AND (pg_stat_file(pg_relation_filepath(c.oid), true)).size IS NULL
OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.atttypid <> 0 AND a.atttypid NOT IN (SELECT oid FROM pg_type))
OR c.relkind IN ('v', 'm') AND NOT EXISTS (SELECT FROM pg_rewrite w WHERE w.ev_class = c.oid)
OR c.relkind IN ('i', 'I') AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indexrelid = c.oid) LOOP
RAISE NOTICE 'given up: % (OID %)', r.relname, r.oid;
DELETE FROM pg_class WHERE oid = r.oid;
more := true;
END LOOP;
DELETE FROM pg_index WHERE indrelid NOT IN (SELECT oid FROM pg_class) OR indexrelid NOT IN (SELECT oid FROM pg_class);
GET DIAGNOSTICS n = ROW_COUNT;
more := more OR n > 0;
DELETE FROM pg_rewrite WHERE ev_class NOT IN (SELECT oid FROM pg_class) OR oid IN (SELECT objid FROM pg_depend WHERE classid = 'pg_rewrite'::regclass AND refclassid = 'pg_class'::regclass AND refobjid NOT IN (SELECT oid FROM pg_class));
GET DIAGNOSTICS n = ROW_COUNT;
more := more OR n > 0;
DELETE FROM pg_type WHERE typrelid <> 0 AND typrelid NOT IN (SELECT oid FROM pg_class);
GET DIAGNOSTICS n = ROW_COUNT;
more := more OR n > 0;
DELETE FROM pg_type WHERE typelem <> 0 AND typelem NOT IN (SELECT oid FROM pg_type);
END LOOP;
FOR r IN DELETE FROM pg_constraint WHERE conrelid <> 0 AND conrelid NOT IN (SELECT oid FROM pg_class) OR confrelid <> 0 AND confrelid NOT IN (SELECT oid FROM pg_class) OR conindid <> 0 AND conindid NOT IN (SELECT oid FROM pg_class) RETURNING conname LOOP
RAISE NOTICE 'given up: constraint %', r.conname;
END LOOP;
DELETE FROM pg_attrdef WHERE adrelid NOT IN (SELECT oid FROM pg_class) OR oid IN (SELECT objid FROM pg_depend WHERE classid = 'pg_attrdef'::regclass AND refclassid = 'pg_class'::regclass AND refobjid NOT IN (SELECT oid FROM pg_class));
UPDATE pg_attribute SET atthasdef = false WHERE atthasdef AND NOT EXISTS (SELECT FROM pg_attrdef d WHERE d.adrelid = attrelid AND d.adnum = attnum);
DELETE FROM pg_trigger WHERE tgrelid NOT IN (SELECT oid FROM pg_class) OR tgfoid NOT IN (SELECT oid FROM pg_proc) OR tgconstraint <> 0 AND tgconstraint NOT IN (SELECT oid FROM pg_constraint);
DELETE FROM pg_policy WHERE polrelid NOT IN (SELECT oid FROM pg_class);
DELETE FROM pg_inherits WHERE inhrelid NOT IN (SELECT oid FROM pg_class) OR inhparent NOT IN (SELECT oid FROM pg_class) OR EXISTS (SELECT FROM pg_class p, pg_class c WHERE p.oid = inhparent AND p.relkind IN ('p', 'I') AND c.oid = inhrelid AND NOT c.relispartition);
UPDATE pg_class SET relispartition = false, relpartbound = NULL WHERE relispartition AND oid NOT IN (SELECT inhrelid FROM pg_inherits);
UPDATE pg_attribute SET attislocal = true, attinhcount = 0 WHERE attinhcount > 0 AND attrelid NOT IN (SELECT inhrelid FROM pg_inherits);
DELETE FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid NOT IN (SELECT oid FROM pg_class) OR refclassid = 'pg_class'::regclass AND refobjid NOT IN (SELECT oid FROM pg_class);
END $do$;";

/// A row of pg_class, the rest of which follows from other catalogs. pg_namespace is a table as any other.
const CLASSES: &str = "\
INSERT INTO pg_class SELECT (jsonb_populate_record(c, jsonb_build_object(
'oid', l.oid, 'relname', l.name, 'relnamespace', l.namespace, 'relfilenode', l.file, 'reltablespace', l.tablespace, 'relkind', k.kind,
'relam', CASE WHEN k.kind IN ('i', 'I') THEN (SELECT o.opcmethod FROM pg_index i, pg_opclass o WHERE i.indexrelid = l.oid AND o.oid = i.indclass[0]) WHEN k.kind IN ('r', 't', 'm') THEN 2 ELSE 0 END,
'reltype', coalesce((SELECT min(t.oid) FROM pg_type t WHERE t.typrelid = l.oid), 0),
'relowner', coalesce((SELECT s.refobjid FROM pg_shdepend s, pg_database d WHERE d.datname = current_database() AND s.dbid = d.oid AND s.classid = 'pg_class'::regclass AND s.objid = l.oid AND s.objsubid = 0 AND s.deptype = 'o' LIMIT 1), 10),
'relnatts', (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = l.oid AND a.attnum > 0),
'reltoastrelid', coalesce((SELECT min(t.oid) FROM lost t WHERE t.namespace = 99 AND t.name = 'pg_toast_' || l.oid), (SELECT min(t.oid) FROM pg_class t WHERE t.relnamespace = 99 AND t.relname = 'pg_toast_' || l.oid), 0),
'relpages', 0, 'reltuples', 0, 'relallvisible', 0, 'relpersistence', 'p', 'relacl', NULL, 'reloptions', NULL,
'relhasindex', EXISTS (SELECT FROM pg_index i WHERE i.indrelid = l.oid),
'relchecks', (SELECT count(*) FROM pg_constraint n WHERE n.conrelid = l.oid AND n.contype = 'c'),
'relhasrules', EXISTS (SELECT FROM pg_rewrite w WHERE w.ev_class = l.oid),
'relhastriggers', EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = l.oid),
'relhassubclass', EXISTS (SELECT FROM pg_inherits h WHERE h.inhparent = l.oid),
'relrowsecurity', EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = l.oid),
'relreplident', CASE WHEN k.kind IN ('r', 'p', 'm') THEN 'd' ELSE 'n' END,
'relfrozenxid', CASE WHEN k.kind IN ('r', 't', 'm') THEN d.datfrozenxid ELSE '0' END,
'relminmxid', CASE WHEN k.kind IN ('r', 't', 'm') THEN d.datminmxid ELSE '0' END))).*
FROM pg_class c, pg_database d, lost l, LATERAL (SELECT CASE
WHEN EXISTS (SELECT FROM pg_sequence s WHERE s.seqrelid = l.oid) THEN 'S'
WHEN EXISTS (SELECT FROM pg_index i WHERE i.indexrelid = l.oid) THEN CASE l.file WHEN 0 THEN 'I' ELSE 'i' END
WHEN EXISTS (SELECT FROM pg_partitioned_table p WHERE p.partrelid = l.oid) THEN 'p'
WHEN EXISTS (SELECT FROM pg_foreign_table f WHERE f.ftrelid = l.oid) THEN 'f'
WHEN l.namespace = 99 THEN 't'
WHEN EXISTS (SELECT FROM pg_rewrite w WHERE w.ev_class = l.oid AND w.rulename = '_RETURN') THEN CASE l.file WHEN 0 THEN 'v' ELSE 'm' END
WHEN l.file = 0 THEN 'c' ELSE 'r' END AS kind) k
WHERE c.oid = 'pg_namespace'::regclass AND d.datname = current_database();";

/// For one database; `catalogs`: those that had lost blocks.
pub(super) fn mend(catalogs: &[String], put_back: &[Class]) -> String {
    let mut out: Vec<String> = catalogs.iter().map(|catalog| format!("REINDEX TABLE {catalog};")).collect();
    if !put_back.is_empty() {
        let rows: Vec<String> = put_back.iter().map(values).collect();
        out.push(format!(
            "WITH lost(oid, name, namespace, file, tablespace) AS (VALUES\n{})",
            rows.join(",\n")
        ));
        out.push(CLASSES.to_owned());
    }
    out.push(COLUMNS.to_owned());
    out.push(FORGET.to_owned());
    out.join("\n")
}

fn values(class: &Class) -> String {
    let name = class.name.replace('\'', "''");
    format!("({}, '{name}', {}, {}, {})", class.oid, class.namespace, class.file, class.tablespace)
}
