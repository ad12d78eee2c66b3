//! The sections of the report about one block.

use super::Subject;
use crate::check::block::{BlockFacts, CopyOfBlock, WalOfBlock};
use crate::format::page::PageKind;
use crate::pg::relation::ForkNumber;
use crate::plan::shell::quoted;
use crate::report::{Cell, Fact, Section};
use crate::scan::block_rows::{PageRows, Row};
use crate::scan::block_wal::{Behind, Touch};
use crate::scan::catalog::{Database, Relation};

/// Characters of values, and bytes of a row, that people are shown.
const SHOWN: usize = 100;
const SHOWN_BYTES: usize = 24;

/// How people know a relation.
pub(super) fn name(relation: &Relation, database: Option<&Database>) -> String {
    let class = &relation.class;
    let what = match class.relkind {
        b'r' => "table",
        b'i' => "index",
        b'S' => "sequence",
        b't' => "TOAST table",
        b'm' => "materialized view",
        _ => "relation",
    };
    let table = relation.index.as_ref().and_then(|index| database?.relation(index.indrelid));
    match table {
        Some(table) => format!("{what} {} of table {}", class.relname, table.class.relname),
        None => format!("{what} {}", class.relname),
    }
}

pub(super) fn sections(
    subject: &Subject,
    facts: &BlockFacts,
    relation: Option<&Relation>,
    database: Option<&Database>,
    table: Option<String>,
) -> Vec<Section> {
    let mut sections = vec![block(subject, facts, relation, database, table)];
    if let Some(rows) = facts.rows {
        sections.push(lines(rows));
        if !rows.broken.is_empty() {
            sections.push(broken(rows));
        }
        sections.push(row_table(subject, rows));
        if relation.is_some_and(|relation| relation.class.relkind == b't') {
            sections.push(toast_values(rows));
        }
    }
    if let Some(wal) = facts.wal {
        sections.push(wal_facts(wal, facts));
        sections.push(records(wal));
    }
    if !facts.copies.is_empty() {
        sections.push(copies(facts));
    }
    sections
}

fn fact(key: &'static str, heading: &str, value: impl Into<Cell>) -> Fact {
    Fact { key, heading: heading.to_owned(), value: value.into() }
}

fn block(
    subject: &Subject,
    facts: &BlockFacts,
    relation: Option<&Relation>,
    database: Option<&Database>,
    table: Option<String>,
) -> Section {
    let size = subject.rules.geometry.page_size;
    let file = subject.file.display().to_string();
    let segment = subject.path.as_ref().map_or(0, |path| path.name.segment);
    let index = subject.block % subject.rules.geometry.relseg_size;
    let name: String = file
        .trim_start_matches('/')
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    let mut list = vec![
        fact("file", "File:", Cell::Path(subject.file.clone())),
        fact("fork", "Fork:", subject.fork().name()),
        fact("segment", "Segment:", segment),
        fact("block", "Block:", subject.block),
        fact("offset", "Offset in the file:", subject.offset),
        fact("relation", "Relation:", table),
        fact("oid", "OID of the relation:", relation.map(|relation| relation.class.oid)),
        fact(
            "toast_relation",
            "TOAST table:",
            relation
                .filter(|relation| relation.class.reltoastrelid != 0)
                .and_then(|relation| database?.relation(relation.class.reltoastrelid))
                .map(|toast| Cell::from(toast.class.relname.clone()))
                .unwrap_or(Cell::None),
        ),
        fact("kind", "Kind of page:", kind(subject)),
    ];
    if let Some(state) = &subject.state {
        list.push(fact("state", "State:", state.text()));
        if state.verify {
            let both = |number: u16| {
                Cell::Spelled(Box::new(Cell::Number(number.into())), format!("{number:04X} ({number})"))
            };
            list.push(fact("checksum_stored", "Checksum stored:", both(state.stored)));
            list.push(fact("checksum_calculated", "Checksum calculated:", both(state.calculated)));
        }
        list.push(fact("lsn", "pd_lsn:", Cell::Lsn(state.lsn, subject.rules.major)));
    }
    if let Some(header) = &subject.header {
        let text = format!(
            "flags 0x{:04x}, lower {}, upper {}, special {}, prune_xid {}",
            header.pd_flags, header.pd_lower, header.pd_upper, header.pd_special, header.pd_prune_xid
        );
        list.push(fact("header", "Header:", text));
    }
    list.push(fact("lost", "Lost with it:", facts.loss_text()));
    list.push(fact("best_source", "Best source:", facts.source_text(&facts.source())));
    list.push(fact(
        "copy_command",
        "To copy it:",
        format!("dd if={} of=/tmp/{name}.block{index} bs={size} skip={index} count=1", quoted(&file)),
    ));
    Section::Facts { key: "block", heading: "Block", facts: list }
}

fn kind(subject: &Subject) -> Cell {
    match subject.fork() {
        ForkNumber::Fsm => "a free space map".into(),
        ForkNumber::Vm => "a visibility map".into(),
        _ => subject.kind.map(PageKind::name).map_or(Cell::None, Cell::from),
    }
}

fn lines(rows: &PageRows) -> Section {
    let count = |key, heading: &str, number: usize| fact(key, heading, number as u64);
    let seen = rows.visible().count();
    Section::Facts {
        key: "line_pointers",
        heading: "Line pointers",
        facts: vec![
            count("items", "In all:", rows.items),
            count("normal", "Normal:", rows.normal),
            count("redirected", "Redirected:", rows.redirected),
            count("dead", "Dead:", rows.dead),
            count("unused", "Unused:", rows.unused),
            count("broken", "Broken:", rows.broken.len()),
            count("row_versions", "Row versions that can be read:", rows.rows.len() + rows.strays.len()),
            count("lost_rows", "Rows lost with the block:", seen),
        ],
    }
}

fn broken(rows: &PageRows) -> Section {
    let list = rows.broken.iter().map(|(item, why)| vec![Cell::from(u32::from(*item)), why.clone().into()]);
    Section::Table {
        key: "broken_items",
        heading: "What cannot be read by its line pointer",
        columns: vec![("item", "ITEM"), ("why", "WHY")],
        rows: list.collect(),
    }
}

fn cut(text: String) -> Cell {
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => {
            let shown =
                format!("{}… {} characters", text.get(..at).unwrap_or_default(), text.chars().count());
            Cell::Spelled(Box::new(Cell::Text(text)), shown)
        }
        None => Cell::Text(text),
    }
}

fn row_table(subject: &Subject, rows: &PageRows) -> Section {
    let page = subject.page.as_deref().unwrap_or_default();
    let row = |row: &Row| {
        let stray = row.item == 0;
        let tid = if stray { row.header.t_ctid.offset } else { row.item };
        let raw = page.get(row.bytes.clone()).unwrap_or_default();
        let hex = hex::encode(raw);
        let shown = match raw.get(..SHOWN_BYTES).filter(|_| raw.len() > SHOWN_BYTES) {
            Some(first) => format!("{}… {} bytes", hex::encode(first), raw.len()),
            None => hex.clone(),
        };
        let values: Vec<String> = row.values.iter().map(|(name, value)| format!("{name}={value}")).collect();
        vec![
            Cell::from(format!("({},{tid})", subject.block)),
            row.visible.map_or(Cell::None, Cell::Flag),
            Cell::from(row.header.t_xmin),
            row.inserted.to_string().into(),
            Cell::from(row.header.t_xmax),
            row.deleted.to_string().into(),
            match (stray, row.root) {
                (true, _) => "found without its line pointer".into(),
                (_, Some(root)) => format!("HOT chain of item {root}").into(),
                _ if row.broken => "a column does not fit".into(),
                _ => Cell::None,
            },
            if values.is_empty() { Cell::None } else { cut(values.join(", ")) },
            Cell::Spelled(Box::new(Cell::Text(hex)), shown),
        ]
    };
    Section::Table {
        key: "rows",
        heading: "Row versions; the visible ones are the rows that are lost with the block",
        columns: vec![
            ("tid", "TID"),
            ("visible", "VISIBLE"),
            ("xmin", "XMIN"),
            ("xmin_state", "INSERTED BY"),
            ("xmax", "XMAX"),
            ("xmax_state", "DELETED BY"),
            ("note", "NOTE"),
            ("values", "VALUES"),
            ("bytes", "BYTES"),
        ],
        rows: rows.rows.iter().chain(&rows.strays).map(row).collect(),
    }
}

/// Values of which chunks are in the block: chunk_id and chunk_seq are the first two columns.
fn toast_values(rows: &PageRows) -> Section {
    let mut values: std::collections::BTreeMap<&str, Vec<&str>> = std::collections::BTreeMap::new();
    for row in rows.visible() {
        if let [(_, id), (_, seq), ..] = row.values.as_slice() {
            values.entry(id).or_default().push(seq);
        }
    }
    let list = values.into_iter().map(|(id, chunks)| vec![Cell::from(id), Cell::from(chunks.join(", "))]);
    Section::Table {
        key: "toast_values",
        heading: "Values that lose chunks: rows that point to them cannot be read in whole",
        columns: vec![("chunk_id", "CHUNK_ID"), ("chunks", "CHUNKS HERE")],
        rows: list.collect(),
    }
}

fn wal_facts(wal: &WalOfBlock, facts: &BlockFacts) -> Section {
    let found = &wal.found;
    let lsn = |lsn| Cell::Lsn(lsn, wal.major);
    let own = found.ends_at.first().and_then(Option::as_ref);
    let mut list = vec![
        fact("records", "Records:", found.records),
        fact("start", "From:", found.first.map_or(Cell::None, lsn)),
        fact("end", "To:", lsn(wal.end)),
        fact("is_current", "Reaches the last checkpoint:", Cell::Flag(facts.wal_is_current(wal))),
        fact("touching", "Records that touch the block:", found.touches.count),
        fact("images", "Full-page images of it:", found.images),
        fact(
            "record_of_page",
            "The record that pd_lsn names:",
            own.map_or(Cell::None, |touch| lsn(touch.lsn)),
        ),
        fact(
            "behind_page",
            "Records that touch it behind pd_lsn:",
            found.behind.first().map_or(Cell::None, |behind| behind.count.into()),
        ),
    ];
    if let Some(base) = &found.base {
        list.extend([
            fact("base", "Newest base:", base.touch.effect.name()),
            fact("base_lsn", "LSN of the base:", lsn(base.touch.lsn)),
            fact("base_end", "pd_lsn after it:", lsn(base.touch.end)),
            fact("base_segment", "Segment of the base:", wal.base_segment.clone()),
            fact("later", "Later records that touch the block:", base.later.count),
        ]);
        if let Some(Err(why)) = &base.page {
            list.push(fact("base_fault", "Cannot be restored:", why.clone()));
        }
    }
    if let Some(differences) = &wal.differences {
        list.push(fact("base_same", "Same content as on disk:", Cell::Flag(differences.none_but_hints())));
        list.push(fact("base_differences", "Differs from the page on disk in:", differences.text()));
    }
    Section::Facts { key: "wal", heading: "WAL", facts: list }
}

/// The base and what comes behind it; without one the first records that touch the block.
fn records(wal: &WalOfBlock) -> Section {
    let (base, Behind { count, first }) = match &wal.found.base {
        Some(base) => (Some(&base.touch), &base.later),
        None => (None, &wal.found.touches),
    };
    let row = |touch: &Touch| {
        vec![
            Cell::Lsn(touch.lsn, wal.major),
            Cell::Lsn(touch.end, wal.major),
            touch.effect.name().into(),
            touch.manager.into(),
            touch.description.clone().into(),
        ]
    };
    let mut rows: Vec<Vec<Cell>> = base.into_iter().chain(first).map(row).collect();
    let more = count.saturating_sub(first.len() as u64);
    if more > 0 {
        let text = format!("… {more} more");
        rows.push(vec![Cell::None, Cell::None, text.into(), Cell::None, Cell::None]);
    }
    Section::Table {
        key: "wal_records",
        heading: "The newest base and the records behind it",
        columns: vec![
            ("lsn", "LSN"),
            ("end", "PD_LSN AFTER IT"),
            ("effect", "EFFECT"),
            ("rmgr", "RMGR"),
            ("description", "DESCRIPTION"),
        ],
        rows,
    }
}

fn copies(facts: &BlockFacts) -> Section {
    let row = |copy: &CopyOfBlock| {
        let page = copy.copy.page.as_ref();
        let behind = copy.position.and_then(|position| facts.wal?.found.behind.get(position));
        vec![
            Cell::Path(copy.copy.root.clone()),
            match page {
                Ok((_, state)) => state.text().into(),
                Err(why) => why.clone().into(),
            },
            copy.copy.system_id.map_or(Cell::None, |id| Cell::BigNumber(id.0)),
            page.map_or(Cell::None, |(_, state)| Cell::from(state.lsn)),
            behind.map_or(Cell::None, |behind| behind.count.into()),
            copy.differences.as_ref().map_or(Cell::None, |differences| differences.text().into()),
        ]
    };
    Section::Table {
        key: "copies",
        heading: "Copies",
        columns: vec![
            ("path", "COPY"),
            ("state", "STATE"),
            ("system_identifier", "SYSTEM IDENTIFIER"),
            ("lsn", "PD_LSN"),
            ("later", "RECORDS BEHIND IT"),
            ("differences", "DIFFERS FROM THE PAGE ON DISK IN"),
        ],
        rows: facts.copies.iter().map(row).collect(),
    }
}
