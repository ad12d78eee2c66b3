//! Is the file what a server wrote? Each kind of damage is told apart by measurements of its own.

use crate::finding::{Finding, Findings, Place, ctl};
use crate::format::control::{CONTROL_FILE_SIZE, Detected, DetectedBy, Layout, crc_positions, flipped_bits};
use crate::format::reader::Abi;
use crate::pg::version::VERSIONS;
use crate::scan::control::ControlScan;

/// Empty, all zeros, short: then little else can be said. Returns whether there is content to judge.
pub(super) fn check_size(scan: &ControlScan, findings: &mut Findings) -> bool {
    let at = || Place::path(&scan.path);
    let size = scan.detected.layout.size();
    if scan.length == 0 {
        let headline = format!("could not read file \"global/pg_control\": read 0 of {size}");
        findings.push(Finding::new(ctl::EMPTY, at(), headline).differs(
            "file size in bytes",
            0,
            CONTROL_FILE_SIZE,
        ));
        return false;
    }
    let zeros = scan.bytes.iter().take_while(|byte| **byte == 0).count();
    if zeros >= size.min(scan.bytes.len()) {
        let finding = Finding::new(ctl::ZEROS, at(), "control file contains only zeros");
        findings.push(
            finding
                .differs("zero bytes from the start", zeros, 0)
                .measured("file size in bytes", scan.length),
        );
        check_trailing_data(scan, findings);
        return false;
    }
    if scan.detected.have < size {
        let headline = format!("could not read file \"global/pg_control\": read {} of {size}", scan.length);
        let cut =
            scan.detected.layout.fields().into_iter().find(|field| field.bytes.end > scan.detected.have);
        let finding = Finding::new(ctl::SHORT, at(), headline).differs(
            "file size in bytes",
            scan.length,
            CONTROL_FILE_SIZE,
        );
        findings.push(match cut {
            Some(field) => finding.measured("first field that is not whole", field.name),
            None => finding,
        });
    } else if scan.length != CONTROL_FILE_SIZE as u64 {
        let headline = "the file's size is unusual, but the structure is whole";
        let finding = Finding::new(ctl::UNUSUAL_SIZE, at(), headline);
        findings.push(finding.differs("file size in bytes", scan.length, CONTROL_FILE_SIZE));
    }
    true
}

pub(super) fn check_layout(scan: &ControlScan, findings: &mut Findings) {
    let detected = &scan.detected;
    let control = &detected.control;
    let at = |offset, length| Place::bytes(&scan.path, offset, length);
    if detected.by != DetectedBy::Version {
        let version = control.pg_control_version;
        let known: Vec<_> = Layout::all()
            .filter(|l| l.abi == Abi::LITTLE_64)
            .map(|layout| layout.major.version().control_version.to_string())
            .collect();
        let shown = match detected.by {
            DetectedBy::CrcPosition => "the CRC is right where it has it",
            DetectedBy::CatalogVersion => "the catalog version is of it",
            DetectedBy::Version | DetectedBy::Hint => "a guess: nothing in the file points to any layout",
        };
        let finding = Finding::new(
            ctl::UNKNOWN_VERSION,
            at(8, 4),
            format!("PG_CONTROL_VERSION is {version} (0x{version:08x})"),
        )
        .differs("pg_control version number", version, known.join(", "))
        .measured("catalog version number", control.catalog_version_no)
        .measured("shown through the layout of", format!("{} ({shown})", layout_text(detected.layout)));
        let positions = crc_positions(&scan.bytes);
        let fits = if positions.is_empty() { "none".to_owned() } else { join(&positions) };
        findings.push(finding.measured("offsets at which a CRC-32C of the bytes before fits", fits));
    } else if detected.major().is_none() {
        let catalogs = VERSIONS
            .iter()
            .filter(|v| v.control_version == control.pg_control_version)
            .map(|v| format!("{} ({})", v.catalog_version, v.major))
            .collect::<Vec<_>>()
            .join(", ");
        let headline = format!("catalog version {} belongs to no release", control.catalog_version_no);
        findings.push(Finding::new(ctl::UNKNOWN_CATALOG, at(12, 4), headline).differs(
            "catalog version number",
            control.catalog_version_no,
            catalogs,
        ));
    }
    // Without the right CRC the byte order of a damaged file would be a guess.
    if detected.by == DetectedBy::Hint {
        return;
    }
    let as_read = |detected: &Detected| {
        format!("CRC {}", if detected.crc_is_right() { "right in this layout" } else { "wrong" })
    };
    if detected.layout.abi.big_endian {
        let little = control.pg_control_version.swap_bytes();
        let headline =
            format!("PG_CONTROL_VERSION is {} in big-endian byte order", control.pg_control_version);
        findings.push(
            Finding::new(ctl::FOREIGN_BYTE_ORDER, at(8, 4), headline)
                .differs("version number read on this machine", little, control.pg_control_version)
                .measured("read as big-endian", as_read(detected)),
        );
    } else if detected.layout.abi == Abi::I386 {
        let crc_offset = detected.layout.crc_offset();
        let usual = Layout { abi: Abi::LITTLE_64, ..detected.layout }.crc_offset();
        let headline = "the structure has the alignment of 32-bit x86";
        findings.push(
            Finding::new(ctl::FOREIGN_ALIGNMENT, at(crc_offset as u64, 4), headline)
                .differs("offset of the CRC", crc_offset, format!("{usual} on 64-bit machines"))
                .measured("maximum data alignment", control.max_align),
        );
    }
}

fn layout_text(layout: Layout) -> String {
    let machine = match (layout.abi.big_endian, layout.abi.align8) {
        (true, _) => ", big-endian",
        (false, 4) => ", 32-bit x86",
        (false, _) => "",
    };
    format!("PostgreSQL {}{machine}", layout.major)
}

fn join(numbers: &[usize]) -> String {
    numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}

pub(super) fn check_crc(scan: &ControlScan, findings: &mut Findings) {
    let detected = &scan.detected;
    if detected.crc_is_right() || detected.have < detected.layout.size() {
        return;
    }
    let layout = detected.layout;
    let (crc_offset, size) = (layout.crc_offset(), layout.size());
    let mut finding = Finding::new(
        ctl::BAD_CRC,
        Place::bytes(&scan.path, 0, size as u64),
        "calculated CRC checksum does not match value stored in control file",
    )
    .differs(
        "CRC",
        format!("{:08X} stored", detected.stored_crc),
        format!("{:08X} as calculated", detected.calculated_crc),
    );

    let flips = flipped_bits(&scan.bytes, layout);
    for flip in &flips {
        let byte = scan.bytes.get(flip.offset).copied().unwrap_or_default();
        let field = flip.field.unwrap_or("padding between fields");
        finding = finding.differs(
            "one flipped bit explains it",
            format!("byte {} bit {} in {field}: 0x{byte:02X}", flip.offset, flip.bit),
            format!("0x{:02X}", byte ^ (1 << flip.bit)),
        );
    }
    if flips.is_empty() {
        finding =
            finding.measured("one flipped bit", format!("none of the {} explains it", (crc_offset + 4) * 8));
    }
    let structure = scan.bytes.get(..crc_offset + 4).unwrap_or_default();
    let zero_tail = structure.iter().rev().take_while(|byte| **byte == 0).count();
    let zero_head = structure.iter().take_while(|byte| **byte == 0).count();
    // The nonce and the CRC are random, the identifier at the start too: runs of zeros there are no chance.
    if zero_tail >= 8 {
        finding = finding.measured(
            "zeros",
            format!(
                "bytes {}..{} at the end of the structure: a write that stopped there",
                structure.len() - zero_tail,
                structure.len()
            ),
        );
    } else if zero_head >= 8 {
        finding = finding.measured("zeros", format!("bytes 0..{zero_head} at the start of the structure"));
    }
    let sector = if zero_head >= 512.min(structure.len()) {
        "the first 512-byte sector is zeros".to_owned()
    } else {
        format!("does not explain it: all {size} bytes of the structure lie in the first sector")
    };
    findings.push(finding.measured("torn 512-byte sector", sector));
}

pub(super) fn check_trailing_data(scan: &ControlScan, findings: &mut Findings) {
    let size = scan.detected.layout.size();
    let tail = scan.bytes.get(size..).unwrap_or_default();
    let Some(first) = tail.iter().position(|byte| *byte != 0) else { return };
    let count = tail.iter().filter(|byte| **byte != 0).count();
    let at = Place::bytes(&scan.path, (size + first) as u64, (tail.len() - first) as u64);
    let headline = format!("{count} bytes behind the structure are not zero");
    findings.push(Finding::new(ctl::TRAILING_DATA, at, headline).differs(
        "bytes that are not zero",
        count,
        0,
    ));
}
