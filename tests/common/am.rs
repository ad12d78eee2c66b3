//! The examinations of indexes, run over the files of a data directory.

use std::fs;
use std::path::Path;

use pgforensic::check::page_checksum::Role;
use pgforensic::check::structure::brin::check_brin;
use pgforensic::check::structure::gin::check_gin;
use pgforensic::check::structure::gist::check_gist;
use pgforensic::check::structure::hash::check_hash;
use pgforensic::check::structure::spgist::check_spgist;
use pgforensic::check::structure::{Examined, Structure};
use pgforensic::finding::{Coverage, Finding, Findings};
use pgforensic::format::control::{DbState, detect};
use pgforensic::format::page::PageKind;
use pgforensic::format::reader::Abi;
use pgforensic::pg::Major;
use pgforensic::pg::relation::ForkNumber;
use pgforensic::scan::catalog::Catalogs;
use pgforensic::scan::cluster::{ClusterWalk, Geometry, PageFile, Selection, Target};
use pgforensic::scan::fork::Fork;
use pgforensic::scan::slru_lookup::{Layouts, SlruLookup};
use pgforensic::source::pgdata::DataDirectory;

/// An access method: kind of the pages, oid in pg_am, and who examines it.
pub type Method = (PageKind, u32, fn(&mut Examined, &Fork, Option<&Fork>, &mut Coverage));

/// The ones with an examination.
pub const METHODS: [Method; 5] = [
    (PageKind::Hash, 405, check_hash),
    (PageKind::Gist, 783, check_gist),
    (PageKind::Gin, 2742, check_gin),
    (PageKind::SpGist, 4000, check_spgist),
    (PageKind::Brin, 3580, check_brin),
];

/// What came out of one index.
pub struct Outcome {
    /// Its name.
    pub name: String,
    /// Its file.
    pub file: PageFile,
    /// What its pages are.
    pub kind: PageKind,
    /// All of them.
    pub findings: Vec<Finding>,
    /// What could not be read.
    pub coverage: Coverage,
}

/// Examines every index of these access methods.
pub fn examine(pgdata: &Path) -> Vec<Outcome> {
    examine_some(pgdata, |_| true)
}

/// Examines those whose file is wanted.
pub fn examine_some(pgdata: &Path, wanted: impl Fn(&Path) -> bool) -> Vec<Outcome> {
    let directory = DataDirectory::new(pgdata);
    let bytes = fs::read(pgdata.join("global/pg_control")).unwrap();
    let detected = detect(&bytes, None);
    let (major, control) = (detected.major().unwrap(), &detected.control);
    let (abi, geometry) = (Abi::LITTLE_64, Geometry::DEFAULT);
    let lookup = SlruLookup::new(&directory, Layouts::new(major, abi, Some(control)));
    let catalogs = Catalogs::new(&directory, (major, abi), geometry, &lookup, Some(control));
    let settled = control.db_state() == Some(DbState::ShutDown);
    let cluster = Structure {
        crew: pgforensic::scan::crew::Crew::default(),
        major,
        abi,
        geometry,
        control: Some(control),
        lookup: &lookup,
        catalogs: &catalogs,
        settled,
        wal_end: None,
        recovery_from: Some(control.check_point_copy.redo),
        in_cluster: true,
    };
    let selection = Selection { major, tablespace_directory: None, filenode: None, geometry };
    let walk = ClusterWalk::new(&Target::Cluster(pgdata.to_owned()), selection);
    let mut outcomes = Vec::new();
    for file in walk.flat_map(|listing| listing.files) {
        let main = file.name.is_some_and(|name| name.fork == ForkNumber::Main) && file.segment == 0;
        if main && file.length > 0 && wanted(&file.path) {
            outcomes.extend(examine_one(&cluster, file));
        }
    }
    outcomes
}

/// Examines one file without a cluster around it.
pub fn examine_file(path: &Path, kind: PageKind, major: Major) -> Vec<Finding> {
    let directory = DataDirectory::new(path.parent().unwrap());
    let (abi, geometry) = (Abi::LITTLE_64, Geometry::DEFAULT);
    let lookup = SlruLookup::new(&directory, Layouts::new(major, abi, None));
    let catalogs = Catalogs::new(&directory, (major, abi), geometry, &lookup, None);
    let cluster = Structure {
        crew: pgforensic::scan::crew::Crew::default(),
        major,
        abi,
        geometry,
        control: None,
        lookup: &lookup,
        catalogs: &catalogs,
        settled: true,
        wal_end: None,
        recovery_from: None,
        in_cluster: false,
    };
    let selection = Selection { major, tablespace_directory: None, filenode: None, geometry };
    let file = ClusterWalk::new(&Target::File(path.to_owned()), selection).next().unwrap().files.remove(0);
    let (_, _, check) = *METHODS.iter().find(|(of, _, _)| *of == kind).unwrap();
    let mut examined = Examined::new(&cluster, &file, Role::Index, Findings::keeping_all(true));
    check(&mut examined, &Fork::open(path, geometry).unwrap(), None, &mut Coverage::default());
    examined.findings.kinds().flat_map(|kind| kind.kept.clone()).collect()
}

fn examine_one(cluster: &Structure, file: PageFile) -> Option<Outcome> {
    let parent = file.path.parent().unwrap();
    let database = cluster.catalogs.of_directory(parent);
    let relation = database.of_file(parent, file.name.unwrap().relnumber)?;
    let (kind, _, check) = *METHODS.iter().find(|(_, method, _)| *method == relation.class.relam)?;
    let table = database.relation(relation.index.as_ref().unwrap().indrelid).unwrap();
    // Tables of the tests are in the same directory as their indexes, or in that of the database.
    let beside = [parent.join(table.filenode.to_string())];
    let heap = beside.iter().find_map(|path| Fork::open(path, cluster.geometry).ok());
    let index = Fork::open(&file.path, cluster.geometry).unwrap();
    let role = Role::of_kind(&file, Some(kind));
    let mut examined = Examined::new(cluster, &file, role, Findings::keeping_all(true));
    let mut coverage = Coverage::default();
    check(&mut examined, &index, heap.as_ref(), &mut coverage);
    let findings = std::mem::take(&mut examined.findings);
    let findings = findings.kinds().flat_map(|kind| kind.kept.clone()).collect();
    let name = relation.class.relname.clone();
    Some(Outcome { name, file, kind, findings, coverage })
}

/// The bytes of an index.
pub struct Index(pub Vec<u8>);

impl Index {
    pub fn get16(&self, block: usize, at: usize) -> u16 {
        let at = block * 8192 + at;
        u16::from_le_bytes(self.0[at..at + 2].try_into().unwrap())
    }

    pub fn put(&mut self, block: usize, at: usize, bytes: &[u8]) {
        let at = block * 8192 + at;
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub fn put16(&mut self, block: usize, at: usize, value: u16) {
        self.put(block, at, &value.to_le_bytes());
    }

    pub fn put32(&mut self, block: usize, at: usize, value: u32) {
        self.put(block, at, &value.to_le_bytes());
    }

    /// Where a tuple is in its block.
    pub fn item(&self, block: usize, item: usize) -> usize {
        usize::from(self.get16(block, 24 + 4 * (item - 1)) & 0x7FFF)
    }

    /// Writes the address at the start of a tuple, or `skip` bytes behind it.
    pub fn tid(&mut self, block: usize, item: usize, skip: usize, to: (u32, u16)) {
        let at = self.item(block, item) + skip;
        self.put16(block, at, (to.0 >> 16) as u16);
        self.put16(block, at + 2, to.0 as u16);
        self.put16(block, at + 4, to.1);
    }

    pub fn zero(&mut self, block: usize) {
        self.put(block, 0, &[0; 8192]);
    }
}

/// What is damaged, how, and what must be found: exactly these codes, each with a finding that has these words.
pub type Case = (&'static str, fn(&mut Index), &'static [(&'static str, &'static str)]);

impl Index {
    /// The block of a child of the root of the posting tree.
    pub fn child(&self, number: usize) -> usize {
        usize::from(self.get16(2, 32 + 10 * number + 2))
    }
}

/// Damage to the posting tree of `testdata/am/gin_posting_18.zst`.
pub const POSTING_TREE: &[Case] = &[
    ("nothing", |_| (), &[]),
    (
        "downlink leaves the file",
        |i| i.put16(2, 34, 60000),
        &[
            ("IDX-004", "block 2, offset 1: downlink leads to block 60000"),
            ("IDX-008", "nothing leads to it"),
        ],
    ),
    (
        "key of a downlink",
        |i| i.put16(2, 38, 60000),
        &[
            ("IDX-012", "block 2, offset 2: wrong tuple order in posting tree"),
            ("IDX-013", "doesn't match the downlink's key (60000,"),
        ],
    ),
    (
        "right bound",
        |i| {
            let leaf = i.child(1);
            i.put16(leaf, 26, 1)
        },
        &[("IDX-013", "exceeds high key (1,")],
    ),
    (
        "number of downlinks",
        |i| {
            let count = i.get16(2, 8188);
            i.put16(2, 8188, count - 1)
        },
        &[
            ("IDX-015", "has unexpected pd_lower"),
            ("IDX-007", "of the last page of its level"),
            ("IDX-008", "nothing leads to it"),
        ],
    ),
    (
        "deleted leaf",
        |i| {
            let leaf = i.child(1);
            i.put16(leaf, 8190, 0x87)
        },
        &[("IDX-006", "page of a posting tree has flags 0x0087")],
    ),
    (
        "leaf as internal page",
        |i| {
            let leaf = i.child(1);
            i.put16(leaf, 8190, 1)
        },
        &[("IDX-009", "internal page at depth 1"), ("IDX-015", "with maxoff 0")],
    ),
    (
        "length of a list",
        |i| {
            let leaf = i.child(1);
            i.put16(leaf, 38, 9000)
        },
        &[("IDX-019", "posting list cannot be decoded: nbytes 9000")],
    ),
    (
        "order of rows",
        |i| {
            let leaf = i.child(1);
            i.put16(leaf, 34, 0)
        },
        &[("IDX-012", "wrong tuple order in posting tree: (0,")],
    ),
    (
        "right link",
        |i| {
            let leaf = i.child(0);
            i.put32(leaf, 8184, 3)
        },
        &[("IDX-007", "rightlink 3 is not")],
    ),
    (
        "root is of the entry tree",
        |i| i.put16(2, 8190, 2),
        &[("IDX-006", "block 2: page of a posting tree has flags 0x0002")],
    ),
    (
        "unfinished split",
        |i| {
            let leaf = i.child(0);
            i.put16(leaf, 8190, 0xC3)
        },
        &[("IDX-005", "rightlink of an unfinished split"), ("IDX-013", "doesn't match the downlink's key")],
    ),
    (
        "deleted page in use",
        |i| i.put16(5, 8190, 0x83),
        &[("IDX-008", "block 5: page is in use, but nothing leads to it")],
    ),
];
