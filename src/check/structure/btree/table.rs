//! Entries of the leaf pages against the rows of the table.

use super::items::{Found, Items, Ranked};
use super::page::{BtPage, BtTuple};
use super::rows::{Layout, Noted, Rows, Visibility};
use super::{Examined, Tree};
use crate::check::structure::{Spot, place};
use crate::finding::{Finding, btr};
use crate::format::page::btree::BTreeTuple;
use crate::pg::{ItemPointer, Lsn};
use crate::scan::fork::Fork;
use crate::scan::heap_items::HeapItem;

/// The first window of the table of an index.
pub(super) fn rows<'a>(examined: &Examined<'a>, heap: &'a Fork) -> Option<Rows<'a>> {
    let index = examined.relation()?;
    let table = examined.database.relation(index.index.as_ref()?.indrelid)?;
    let cluster = examined.cluster;
    let visibility = Visibility { lookup: cluster.lookup, control: cluster.control };
    let name = table.class.relname.clone();
    Some(Rows::read(
        (heap, name),
        Layout::of(index, table, cluster.abi),
        visibility,
        (cluster.abi, &cluster.crew),
    ))
}

impl Items<'_> {
    /// Compares an entry with the rows that it points to.
    #[inline]
    pub(super) fn entry(
        &self,
        page: &BtPage,
        (offset, tuple): (u16, &BtTuple),
        item: Option<&Ranked>,
        rows: &Rows,
        found: &mut Found,
    ) {
        if matches!(tuple.kind, BTreeTuple::Pivot { .. }) {
            return;
        }
        let sum = item.and_then(|item| rows.sum(&item.key));
        for tid in tuple.tids(self.abi) {
            self.address(page, (offset, tid), sum, rows, found);
        }
    }

    /// One address in an entry; `sum`: of the key.
    #[inline]
    pub(super) fn address(
        &self,
        page: &BtPage,
        (offset, tid): (u16, ItemPointer),
        sum: Option<u16>,
        rows: &Rows,
        found: &mut Found,
    ) {
        match rows.note(tid, sum) {
            Noted::Fine => {}
            Noted::MayDiffer => self.compare_key(page, (offset, tid), rows, found),
            Noted::NoRow(what) => self.no_row(page, (offset, tid), (what, rows), found),
        }
    }

    #[cold]
    fn compare_key(&self, page: &BtPage, at: (u16, ItemPointer), rows: &Rows, found: &mut Found) {
        let item = self.ranked(page, at.0);
        if let Some([entry, row]) = item.and_then(|item| rows.differs(at.1, &item.key)) {
            self.key_differs(page, at, rows, (entry.join(" "), row.join(" ")), found);
        }
    }

    /// The entries of a leaf page for rows that have another one before it.
    fn twice(&self, page: &BtPage, rows: &Rows) -> Found {
        let mut found = Found { findings: Vec::new(), whole: true };
        for offset in page.first_data()..=page.items() {
            let tuple = page.sound(offset).filter(|tuple| !matches!(tuple.kind, BTreeTuple::Pivot { .. }));
            for tid in tuple.iter().flat_map(|tuple| tuple.tids(self.abi)) {
                if rows.is_another(tid) {
                    self.another(page, offset, tid, rows, &mut found);
                }
            }
        }
        found
    }

    #[cold]
    fn no_row(
        &self,
        page: &BtPage,
        (offset, tid): (u16, ItemPointer),
        (what, rows): (HeapItem, &Rows),
        found: &mut Found,
    ) {
        let why = match what {
            HeapItem::HeapOnly => "a heap-only tuple",
            HeapItem::PastItems => "an item that is not there",
            HeapItem::NewPage => "a page that was never used",
            HeapItem::PastEnd => "a block behind the end",
            _ => "an unused line pointer",
        };
        let entry = page.sound(offset).map(|tuple| hex::encode(tuple.bytes)).unwrap_or_default();
        let spot = Spot::item(page.block, offset);
        let text = format!(
            "entry of index \"{}\" points to {why} of table \"{}\": {spot}, row {tid}",
            self.title, rows.table
        );
        let finding = self
            .finding(btr::NO_ROW, spot, text)
            .measured("entry", entry)
            .measured("blocks of the table", rows.heap.blocks());
        found.push(finding, &of_one_moment(page));
    }

    #[cold]
    fn another(&self, page: &BtPage, offset: u16, tid: ItemPointer, rows: &Rows, found: &mut Found) {
        let spot = Spot::item(page.block, offset);
        let text = format!(
            "row {tid} of table \"{}\" is indexed twice in index \"{}\", the second time at {spot}",
            rows.table, self.title
        );
        let finding = self.finding(btr::TWICE, spot, text);
        found.push(finding, &of_one_moment(page));
    }

    #[cold]
    fn key_differs(
        &self,
        page: &BtPage,
        (offset, tid): (u16, ItemPointer),
        rows: &Rows,
        (entry, row): (String, String),
        found: &mut Found,
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
        found.push(finding, &of_one_moment(page));
    }
}

/// The table's page is of the same moment, or it would not be compared.
fn of_one_moment(page: &BtPage) -> [Lsn; 2] {
    [page.header.pd_lsn; 2]
}

impl Tree<'_, '_, '_> {
    /// Ends with the first window of the table, and compares the others with all leaf pages once more.
    pub(super) fn table(&mut self) {
        self.end_of_window();
        while self.items.rows.as_mut().is_some_and(Rows::advance) {
            self.leaves(|items, page, rows| items.entries(page, rows));
            self.end_of_window();
        }
    }

    fn end_of_window(&mut self) {
        if self.items.rows.as_ref().is_some_and(Rows::has_twice) {
            self.leaves(|items, page, rows| items.twice(page, rows));
        }
        self.unseen();
    }

    /// Goes through the leaf pages once more.
    fn leaves(&mut self, examine: impl Fn(&Items, &BtPage, &Rows) -> Found) {
        for block in 1..self.pages.blocks() {
            if self.visited.has(block)
                && let Ok(page) = self.pages.read(block)
                && page.is_leaf()
                && !page.is_deleted()
                && !page.is_half_dead()
            {
                let found = self.items.rows.as_ref().map(|rows| examine(&self.items, &page, rows));
                found.into_iter().for_each(|found| self.take(found));
            }
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
        let Some(rows) = &self.items.rows else { return };
        for tid in rows.unseen() {
            let text = format!(
                "heap tuple {tid} from table \"{}\" lacks matching index tuple within index \"{}\"",
                rows.table, self.items.title
            );
            let place = place(rows.heap, tid.block);
            self.examined.push(Finding::new(btr::LACKS_ENTRY, place, text), true);
        }
    }
}
