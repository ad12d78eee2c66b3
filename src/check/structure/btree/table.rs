//! Entries of the leaf pages against the rows of the table.

use super::page::{BtPage, BtTuple};
use super::rows::{Layout, Rows, Visibility, text};
use super::{Examined, Spot, Tree};
use crate::finding::{Finding, btr};
use crate::format::page::btree::BTreeTuple;
use crate::pg::ItemPointer;
use crate::scan::fork::Fork;
use crate::scan::heap_items::HeapItem;

/// The first window of the table of an index.
pub(super) fn rows<'a>(examined: &Examined<'a>, heap: &'a Fork) -> Option<Rows<'a>> {
    let index = examined.relation()?;
    let table = examined.database.relation(index.index.as_ref()?.indrelid)?;
    let cluster = examined.cluster;
    let visibility = Visibility { lookup: cluster.lookup, control: cluster.control };
    let name = table.class.relname.clone();
    Some(Rows::read((heap, name), Layout::of(index, table), visibility, cluster.abi))
}

impl Tree<'_, '_, '_> {
    /// Compares the entries of a leaf page with the window of the table.
    pub(super) fn entries(&mut self, page: &BtPage) {
        let Some(mut rows) = self.rows.take() else { return };
        let columns = self.columns.clone().filter(|columns| columns.are_known());
        for offset in page.first_data()..=page.items() {
            let Some(tuple) = page.sound(offset) else { continue };
            if matches!(tuple.kind, BTreeTuple::Pivot { .. }) {
                continue;
            }
            let values = columns.as_ref().and_then(|columns| columns.values(&tuple, columns.natts));
            let key = values.and_then(|values| rows.of_entry(&values));
            for tid in tuple.tids(self.abi) {
                let what = rows.items.get(tid);
                let why = match what {
                    HeapItem::Outside | HeapItem::Unreadable => continue,
                    HeapItem::Normal | HeapItem::Redirect | HeapItem::Dead => {
                        if !rows.is_first(tid) {
                            self.twice(page, offset, tid, &rows);
                        } else if let Some(key) = &key
                            && let Some(row) = rows.differs(tid, key)
                        {
                            let entry: Vec<_> = key.iter().map(text).collect();
                            self.key_differs(page, offset, tid, &rows, (entry.join(" "), row.join(" ")));
                        }
                        continue;
                    }
                    HeapItem::Unused => "an unused line pointer",
                    HeapItem::HeapOnly => "a heap-only tuple",
                    HeapItem::PastItems => "an item that is not there",
                    HeapItem::NewPage => "a page that was never used",
                    HeapItem::PastEnd => "a block behind the end",
                };
                self.no_row(page, offset, &tuple, tid, (why, &rows));
            }
        }
        self.rows = Some(rows);
    }

    fn push_entry(&mut self, finding: Finding, page: &BtPage) {
        // The table's page is of the same moment, or it would not be compared.
        self.push(finding, &[page.header.pd_lsn; 2]);
    }

    fn no_row(
        &mut self,
        page: &BtPage,
        offset: u16,
        tuple: &BtTuple,
        tid: ItemPointer,
        (why, rows): (&str, &Rows),
    ) {
        let spot = Spot::item(page.block, offset);
        let text = format!(
            "entry of index \"{}\" points to {why} of table \"{}\": {spot}, row {tid}",
            self.title, rows.table
        );
        let finding = self
            .finding(btr::NO_ROW, spot, text)
            .measured("entry", hex::encode(tuple.bytes))
            .measured("blocks of the table", rows.heap.blocks());
        self.push_entry(finding, page);
    }

    fn twice(&mut self, page: &BtPage, offset: u16, tid: ItemPointer, rows: &Rows) {
        let spot = Spot::item(page.block, offset);
        let text = format!(
            "row {tid} of table \"{}\" is indexed twice in index \"{}\", the second time at {spot}",
            rows.table, self.title
        );
        let finding = self.finding(btr::TWICE, spot, text);
        self.push_entry(finding, page);
    }

    fn key_differs(
        &mut self,
        page: &BtPage,
        offset: u16,
        tid: ItemPointer,
        rows: &Rows,
        (entry, row): (String, String),
    ) {
        let spot = Spot::item(page.block, offset);
        let text = format!(
            "heap tuple {tid} from table \"{}\" lacks matching index tuple within index \"{}\": the entry at {spot} has another key",
            rows.table, self.title
        );
        let (path, at) = rows.heap.location(tid.block);
        let finding = self
            .finding(btr::KEY_DIFFERS, spot, text)
            .differs("key of the entry", entry, row)
            .measured("page of the row", format!("{}, byte {at}", path.display()));
        self.push_entry(finding, page);
    }

    /// Ends with the first window of the table, and compares the others with all leaf pages once more.
    pub(super) fn table(&mut self) {
        self.unseen();
        while self.rows.as_mut().is_some_and(Rows::advance) {
            for block in 1..self.pages.blocks() {
                if self.visited.has(block)
                    && let Ok(page) = self.pages.read(block)
                    && page.is_leaf()
                    && !page.is_deleted()
                    && !page.is_half_dead()
                {
                    self.entries(&page);
                }
            }
            self.unseen();
        }
    }

    /// Every row that everyone sees must have an entry.
    fn unseen(&mut self) {
        let index = self.examined.relation().and_then(|relation| relation.index.as_ref());
        let all = index.is_some_and(|index| {
            index.indisvalid && index.indisready && index.indislive && !index.has_predicate
        });
        // Entries that could not be read are told; rows would only repeat it.
        if !all || !self.whole {
            return;
        }
        let Some(rows) = self.rows.take() else { return };
        for tid in rows.unseen() {
            let text = format!(
                "heap tuple {tid} from table \"{}\" lacks matching index tuple within index \"{}\"",
                rows.table, self.title
            );
            let place = self.examined.place(rows.heap, tid.block);
            self.examined.push(Finding::new(btr::LACKS_ENTRY, place, text), true);
        }
        self.rows = Some(rows);
    }
}
