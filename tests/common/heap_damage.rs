//! Damage to heap pages as a table: what is changed, and what has to be said then.

/// A heap page that is to be damaged.
pub struct Page(pub Vec<u8>);

impl Page {
    pub fn count(&self) -> usize {
        (usize::from(u16::from_le_bytes([self.0[12], self.0[13]])) - 24) / 4
    }

    /// Offset, state and length of an item.
    pub fn lp(&self, item: usize) -> (usize, u32, usize) {
        let at = 20 + 4 * item;
        let word = u32::from_le_bytes(self.0[at..at + 4].try_into().unwrap());
        ((word & 0x7FFF) as usize, word >> 15 & 3, (word >> 17) as usize)
    }

    pub fn set_lp(&mut self, item: usize, (off, flags, len): (usize, u32, usize)) {
        let word = off as u32 | flags << 15 | (len as u32) << 17;
        self.put(20 + 4 * item, &word.to_le_bytes());
    }

    pub fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Into a tuple.
    pub fn set(&mut self, item: usize, at: usize, bytes: &[u8]) {
        let start = self.lp(item).0;
        self.put(start + at, bytes);
    }

    pub fn u16(&self, item: usize, at: usize) -> u16 {
        let start = self.lp(item).0 + at;
        u16::from_le_bytes(self.0[start..start + 2].try_into().unwrap())
    }

    pub fn u32(&self, item: usize, at: usize) -> u32 {
        let start = self.lp(item).0 + at;
        u32::from_le_bytes(self.0[start..start + 4].try_into().unwrap())
    }

    pub fn or(&mut self, item: usize, at: usize, bits: u16) {
        let bits = self.u16(item, at) | bits;
        self.set(item, at, &bits.to_le_bytes());
    }

    pub fn clear(&mut self, item: usize, at: usize, bits: u16) {
        let bits = self.u16(item, at) & !bits;
        self.set(item, at, &bits.to_le_bytes());
    }
}

pub const INFOMASK2: usize = 18;
pub const INFOMASK: usize = 20;

/// What is done to the first page of a table, and what has to be said then. The items are `plain` ones: inserted,
/// committed, neither updated nor deleted.
pub type Damage = (&'static str, fn(&mut Page, &[usize]), &'static str, &'static str);

#[rustfmt::skip]
pub const DAMAGES: &[Damage] = &[
    ("events", |p, i| { let (_, f, l) = p.lp(i[0]); p.set_lp(i[0], (32767, f, l)) }, "HEA-001", "line pointer to page offset 32767 is not maximally aligned"),
    ("events", |p, i| { let (_, f, l) = p.lp(i[0]); p.set_lp(i[0], (8184, f, l)) }, "HEA-001", "ends beyond maximum page offset 8192"),
    ("events", |p, i| { let (o, f, _) = p.lp(i[0]); p.set_lp(i[0], (o, f, 21)) }, "HEA-001", "line pointer length 21 is less than the minimum tuple header size 24"),
    ("events", |p, i| { let (_, f, l) = p.lp(i[0]); p.set_lp(i[0], (64, f, l)) }, "HEA-001", "corrupted line pointer: 64"),
    ("events", |p, i| p.set_lp(i[0], (32767, 3, 127)), "HEA-001", "dead line pointer to page offset 32767 with length 127 ends beyond maximum page offset 8192"),
    ("events", |p, i| { let (o, _, l) = p.lp(i[0]); p.set_lp(i[0], (o, 0, l)) }, "HEA-001", "unused line pointer has page offset "),
    ("events", |p, i| { let other = p.lp(i[0]); p.set_lp(i[1], other) }, "HEA-002", "overlaps the tuple at offset"),
    ("events", |p, i| p.set_lp(i[0], (0, 2, 0)), "HEA-003", "line pointer redirection to item at offset 0 precedes minimum offset 1"),
    ("events", |p, i| p.set_lp(i[0], (291, 2, 0)), "HEA-003", "line pointer redirection to item at offset 291 exceeds maximum offset"),
    ("events", |p, i| { p.set_lp(i[1], (0, 0, 0)); p.set_lp(i[0], (i[1], 2, 0)) }, "HEA-003", "redirected line pointer points to an unused item at offset"),
    ("events", |p, i| { p.set_lp(i[1], (0, 3, 0)); p.set_lp(i[0], (i[1], 2, 0)) }, "HEA-003", "redirected line pointer points to a dead item at offset"),
    ("events", |p, i| { p.set_lp(i[1], (i[2], 2, 0)); p.set_lp(i[0], (i[1], 2, 0)) }, "HEA-003", "redirected line pointer points to another redirected line pointer at offset"),
    ("events", |p, i| p.set(i[0], 22, &[255]), "HEA-004", "data begins at offset 255 beyond the tuple length"),
    ("events", |p, i| p.set(i[0], 22, &[25]), "HEA-004", "but actually begins at byte 25 ("),
    ("events", |p, i| p.or(i[0], INFOMASK, 0x1400), "HEA-005", "multixact should not be marked committed"),
    ("events", |p, i| p.or(i[0], INFOMASK2, 0x8000), "HEA-005", "tuple is heap only, but not the result of an update"),
    ("events", |p, i| { p.or(i[0], INFOMASK2, 0x4000); p.clear(i[0], INFOMASK, 0x0800) }, "HEA-005", "tuple has been HOT updated, but xmax is 0"),
    ("events", |p, i| { p.clear(i[0], INFOMASK, 1); p.clear(i[0], INFOMASK2, 0x7FF); p.or(i[0], INFOMASK2, 67); p.set(i[0], 22, &[24]) }, "HEA-006", "number of attributes 67 exceeds maximum "),
    ("events", |p, i| p.set_lp(i[0], (i[1], 2, 0)), "HEA-007", "redirected line pointer points to a non-heap-only tuple at offset"),
    ("events", |p, i| { p.or(i[0], INFOMASK2, 0x8000); p.or(i[0], INFOMASK, 0x2000) }, "HEA-007", "tuple is root of chain but is marked as heap-only tuple"),
    ("events", |p, i| { p.or(i[0], INFOMASK2, 0x8000); p.or(i[0], INFOMASK, 0x2000); p.set_lp(i[1], (i[0], 2, 0)); p.set_lp(i[2], (i[0], 2, 0)) }, "HEA-007", "also points there"),
    ("events", |p, i| link(p, i, 0x4000, 0), "HEA-007", "heap-only update produced a non-heap only tuple at offset"),
    ("events", |p, i| link(p, i, 0, 0x8000), "HEA-007", "non-heap-only update produced a heap-only tuple at offset"),
    ("events", |p, i| p.set(i[0], 16, &[0, 0]), "HEA-008", "t_ctid (0,0) is no place of a tuple"),
    ("events", |p, i| p.set(i[0], 12, &[1, 0, 0, 0]), "HEA-009", "1 row versions of events point behind its end"),
    ("events", |p, i| { unfreeze(p, i[0]); p.set(i[0], 0, &4_026_531_839_u32.to_le_bytes()) }, "HEA-011", "xmin 4026531839 precedes oldest valid transaction ID 0:"),
    ("events", |p, i| { unfreeze(p, i[0]); p.set(i[0], 0, &123_456_u32.to_le_bytes()) }, "HEA-010", "xmin 123456 equals or exceeds next valid transaction ID 0:"),
    ("events", |p, i| { p.clear(i[0], INFOMASK, 0x0800); p.set(i[0], 4, &123_456_u32.to_le_bytes()) }, "HEA-010", "xmax 123456 equals or exceeds next valid transaction ID 0:"),
    ("events", |p, i| { p.or(i[0], INFOMASK, 0x0300); p.set(i[0], 0, &123_456_u32.to_le_bytes()) }, "HEA-010", "frozen xmin 123456 equals or exceeds next valid transaction ID 0:"),
    ("events", |p, i| { unfreeze(p, i[0]); p.set(i[0], 0, &3_u32.to_le_bytes()) }, "HEA-011", "xmin 3 precedes oldest valid transaction ID 0:"),
    ("events", |p, i| { multi(p, i[0]); p.set(i[0], 4, &4000_u32.to_le_bytes()) }, "HEA-012", "multitransaction ID 4000 equals or exceeds next valid multitransaction ID"),
    ("events", |p, i| multi(p, i[0]), "HEA-012", "multitransaction ID is invalid"),
    ("events", |p, i| { p.clear(i[0], INFOMASK, 0x0100); p.or(i[0], INFOMASK, 0x0200) }, "HEA-015", "is marked HEAP_XMIN_INVALID, but pg_xact says that it committed"),
    ("events", |p, i| { let xmin = p.u32(i[0], 0); p.set(i[0], 4, &xmin.to_le_bytes()) }, "HEA-015", "is marked HEAP_XMAX_INVALID, but pg_xact says that it committed"),
    ("events", |p, i| { p.clear(i[0], INFOMASK, 0x0300); p.or(i[0], INFOMASK, 0x4000) }, "HEA-017", "old-style VACUUM FULL transaction ID for moved off tuple is invalid"),
    ("docs", |p, i| { let (o, f, _) = p.lp(i[0]); p.set_lp(i[0], (o, f, 25)) }, "HEA-018", "ends at offset 28 beyond total tuple length 25"),
    ("docs", |p, i| { let (o, f, l) = p.lp(i[0]); p.set_lp(i[0], (o, f, l - 1)) }, "HEA-018", "attribute with length 4294967295 ends at offset"),
    ("docs", |p, i| { let (o, f, l) = p.lp(i[0]); p.set_lp(i[0], (o, f, l + 1)) }, "HEA-019", "columns end at offset"),
    ("docs", |p, i| { let at = toasted(p, i[0]); p.set(i[0], at + 1, &[17]) }, "HEA-020", "toasted attribute has unexpected TOAST tag 17"),
    ("docs", |p, i| { let at = toasted(p, i[0]); p.set(i[0], at + 2, &0x7000_0000_u32.to_le_bytes()) }, "HEA-020", "rawsize 1879048192 exceeds limit 1073741823"),
    ("docs", |p, i| { let at = toasted(p, i[0]); p.set(i[0], at + 6, &0xC000_0010_u32.to_le_bytes()) }, "HEA-020", "has invalid compression method id 3"),
    ("docs", |p, i| p.clear(i[0], INFOMASK, 4), "HEA-020", "is external but tuple header flag HEAP_HASEXTERNAL not set"),
    ("docs", |p, i| { let at = toasted(p, i[0]); p.set(i[0], at + 14, &77_u32.to_le_bytes()) }, "HEA-020", "points to toast relation 77, but that of the table is"),
    ("docs", |p, i| { let at = toasted(p, i[0]); p.set(i[0], at, &[0x42, 0, 0, 0, 0x10, 0, 0, 0xC0]) }, "HEA-021", "invalid compression method id 3"),
    ("docs", |p, i| { let at = toasted(p, i[0]); p.set(i[0], at + 10, &77_u32.to_le_bytes()) }, "TOA-001", "toast value 77 not found in toast table"),
    ("docs", |p, i| { let at = toasted(p, i[0]); p.set(i[0], at + 10, &77_u32.to_le_bytes()) }, "TOA-006", "1 toast values of docs"),
    ("docs", |p, i| { let at = toasted(p, i[0]); grow(p, i[0], at, 3 * 1996) }, "TOA-002", "was expected to end at chunk"),
    ("docs", |p, i| { let at = toasted(p, i[0]); grow(p, i[0], at, -1) }, "TOA-003", "but expected size"),
    ("docs", |p, i| { let at = toasted(p, i[0]); grow(p, i[0], at, -1996) }, "TOA-004", "follows last expected chunk"),
    ("events", |p, _| p.put(10, &[4, 0]), "HEA-022", "tuple is not visible to all, but its page is marked all-visible: its xmax committed"),
    ("docs", |p, i| { let xmin = p.u32(i[0], 0); p.set(i[0], 4, &xmin.to_le_bytes()); p.clear(i[0], INFOMASK, 0x0800) }, "HEA-022", "tuple is not visible to all, but its page is marked all-visible: its xmax committed"),
    ("docs", |p, _| p.put(10, &[0, 0]), "HEA-023", "page is not marked all-visible but visibility map bit is set in relation \"docs\" page 0"),
    ("events", |p, _| p.put(20, &123_456_u32.to_le_bytes()), "HEA-026", "pd_prune_xid 123456 equals or exceeds next valid transaction ID 0:"),
    ("events", |p, _| p.put(7000, &[1]), "HEA-027", "pages of events have old row versions"),
    ("toast", |p, i| p.set(i[0], 32, &[2]), "TOA-005", "has invalid varlena header 1f02"),
    ("toast", |p, i| p.set_lp(i[0], (0, 0, 0)), "TOA-002", "index scan returned chunk 1 when expecting chunk 0"),
];

/// The second item becomes the next version of the first.
fn link(page: &mut Page, items: &[usize], of_first: u16, of_second: u16) {
    let (first, second) = (items[0], items[1]);
    let xid = page.u32(second, 0);
    page.set(first, 4, &xid.to_le_bytes());
    page.clear(first, INFOMASK, 0x0800);
    unfreeze(page, second);
    page.set(first, 16, &(second as u16).to_le_bytes());
    page.or(first, INFOMASK2, of_first);
    page.or(second, INFOMASK2, of_second);
    page.or(second, INFOMASK, 0x2000);
}

fn unfreeze(page: &mut Page, item: usize) {
    page.clear(item, INFOMASK, 0x0200);
}

/// `xmax` becomes a multixact that is not only of lockers.
pub fn multi(page: &mut Page, item: usize) {
    page.clear(item, INFOMASK, 0x0CD0);
    page.or(item, INFOMASK, 0x1000);
}

/// Where the pointer to a TOAST value is in a row.
fn toasted(page: &Page, item: usize) -> usize {
    let (off, _, len) = page.lp(item);
    page.0[off..off + len].windows(2).rposition(|two| two == [1, 18]).unwrap()
}

/// Another size of the value.
fn grow(page: &mut Page, item: usize, at: usize, by: i32) {
    for at in [at + 2, at + 6] {
        let size = (page.u32(item, at) as i32 + by) as u32;
        page.set(item, at, &size.to_le_bytes());
    }
}

/// Sound rows that the damages begin with.
pub fn plain(page: &Page) -> Vec<usize> {
    let normal = (1..=page.count()).filter(|item| page.lp(*item).1 == 1);
    let plain = |item: &usize| {
        page.u32(*item, 4) == 0
            && page.u16(*item, INFOMASK) & 0x0900 == 0x0900
            && page.u16(*item, INFOMASK2) & 0xC000 == 0
    };
    normal.filter(plain).collect()
}

/// The words as that major has them.
pub fn of_major(words: &str, major: u32) -> String {
    match major {
        // The size had all bits of the word.
        ..14 if words == "has invalid compression method id 3" => "has external size 3221225488".to_owned(),
        ..16 => {
            words.replace("redirected line pointer points to an unused", "line pointer redirection to unused")
        }
        _ => words.to_owned(),
    }
}
