//! The tables of `slru`: what is needed and what is there, files, statuses.

use crate::finding::KEPT_PER_CODE;
use crate::format::slru::{Slru, StatusCounts};
use crate::report::{Cell, Section};
use crate::scan::slru::{Needed, SlruFile, SlruScan};

/// One row for each array.
pub(super) fn summary(scans: &[SlruScan]) -> Section {
    let columns = vec![
        ("slru", "SLRU"),
        ("oldest", "Oldest"),
        ("next", "Next"),
        ("first_file", "Needs from"),
        ("last_file", "to"),
        ("needed_pages", "Pages"),
        ("files", "Files"),
        ("bytes", "Size"),
        ("zero_pages", "Zero pages"),
        ("unreadable_pages", "Unreadable"),
        ("note", "Note"),
    ];
    let rows = scans.iter().map(|scan| {
        let range = scan.needed.range();
        let pages = scan.needed_pages();
        let file = |page: u64| Cell::from(scan.layout.file_name(scan.layout.segment_of(page).0));
        let note = match (&scan.needed, scan.layout.slru) {
            (Needed::Unknown, _) => "what is needed is not known",
            (Needed::Nothing, Slru::Subtrans) => "made anew by every start",
            (Needed::Nothing, _) => "not in use",
            (Needed::Range(range), _) if range.is_empty() => "nothing recorded",
            (Needed::Range(_), _) => "",
        };
        let note = if scan.error.is_some() { "could not open directory" } else { note };
        let sum = |count: fn(&SlruFile) -> u64| scan.files.iter().map(count).sum::<u64>();
        vec![
            scan.layout.slru.directory().into(),
            range.map(|range| range.oldest).into(),
            range.map(|range| range.next).into(),
            pages.map_or(Cell::None, |pages| file(pages.first)),
            pages.map_or(Cell::None, |pages| file(pages.last())),
            pages.map(|pages| pages.count).into(),
            (scan.files.len() as u64).into(),
            Cell::Bytes(sum(|file| file.length)),
            sum(|file| file.zero.count).into(),
            sum(|file| file.unreadable.iter().map(|run| run.blocks.end - run.blocks.start).sum()).into(),
            note.into(),
        ]
    });
    Section::Table {
        key: "slrus",
        heading: "What is needed and what is there",
        columns,
        rows: rows.collect(),
    }
}

/// Every file, or the first of each array and all with something to say.
pub(super) fn files(scans: &[SlruScan], all: bool) -> Section {
    let columns = vec![
        ("path", "File"),
        ("bytes", "Size"),
        ("first", "First number"),
        ("last", "Last number"),
        ("needed", "Needed"),
        ("zero_pages", "Zero pages"),
        ("unreadable_pages", "Unreadable"),
    ];
    let mut rows = Vec::new();
    for scan in scans {
        let layout = &scan.layout;
        let needed = scan.needed_pages();
        for (index, file) in scan.files.iter().enumerate() {
            let odd = file.zero.count > 0 || !file.unreadable.is_empty() || file.error.is_some();
            if !all && !odd && index >= KEPT_PER_CODE {
                continue;
            }
            let first = file.segment.saturating_mul(layout.pages_per_segment.into());
            let end = first.saturating_add(file.length / u64::from(layout.page_size));
            let is_needed = needed.map(|pages| {
                let inside = |page: u64| {
                    (first..first.saturating_add(layout.pages_per_segment.into())).contains(&page)
                };
                inside(pages.first) || inside(pages.last()) || pages.contains(first)
            });
            let unreadable: u64 = file.unreadable.iter().map(|run| run.blocks.end - run.blocks.start).sum();
            rows.push(vec![
                Cell::Path(file.path.clone()),
                Cell::Bytes(file.length),
                layout.first_of_page(first).into(),
                (end > first).then(|| layout.first_of_page(end) - 1).into(),
                match (is_needed, &scan.needed) {
                    (Some(is_needed), _) => Cell::Flag(is_needed),
                    (None, Needed::Nothing) => Cell::Flag(false),
                    (None, _) => Cell::None,
                },
                file.zero.count.into(),
                unreadable.into(),
            ]);
        }
    }
    Section::Table { key: "files", heading: "Files", columns, rows }
}

/// Statuses by file of pg_xact.
pub(super) fn histogram(scan: &SlruScan) -> Section {
    let columns = vec![
        ("file", "File"),
        ("transactions", "Transactions"),
        ("in_progress", "In progress"),
        ("committed", "Committed"),
        ("aborted", "Aborted"),
        ("sub_committed", "Sub-committed"),
        ("zero_pages", "Zero pages"),
        ("beyond_next", "Behind nextXid"),
    ];
    let row = |name: Cell, counts: StatusCounts, zero: u64, beyond: u64| {
        let StatusCounts { in_progress, committed, aborted, sub_committed } = counts;
        let all = in_progress + committed + aborted + sub_committed;
        vec![
            name,
            all.into(),
            in_progress.into(),
            committed.into(),
            aborted.into(),
            sub_committed.into(),
            zero.into(),
            beyond.into(),
        ]
    };
    let mut total = (StatusCounts::default(), 0, 0);
    let mut rows = Vec::new();
    for file in &scan.files {
        total.0.append(file.counts);
        total.1 += file.zero.count;
        total.2 += file.beyond.count;
        let name = scan.layout.path(file.segment).into();
        rows.push(row(name, file.counts, file.zero.count, file.beyond.count));
    }
    rows.push(row("all".into(), total.0, total.1, total.2));
    Section::Table {
        key: "histogram",
        heading: "Statuses of the transactions from oldestXid to nextXid",
        columns,
        rows,
    }
}
