//! What happened to one page whose checksum fails? The tests that tell, strongest first.
//!
//! A checksum has 16 bits, so much fits by chance: one of the 65,520 single-bit flips of a page, and one
//! block number in 65,535. A conclusion needs more than that: a page that is sound in itself, or
//! contradicts itself in one place only, or the same bytes at the other block. What does not suffice
//! for a conclusion still stands in the evidence.

use std::fmt::Write;
use std::ops::Range;

use crate::finding::{Code, pag};
use crate::format::checksum::{FlippedBit, PageChecksum, fitting_blocks};
use crate::format::page::items::{
    Contradiction, ItemFault, ItemTest, OwnTid, heap_columns, line_pointers, own_tids, test_items,
};
use crate::format::page::{PageHeaderData, PageKind};
use crate::format::reader::Abi;
use crate::pg::BlockNumber;
use crate::scan::pages::{Nature, is_zero};

/// Bytes that a disk writes at once, at least.
const SECTOR: usize = 512;
/// A conclusion from the block number alone needs odds better than one in twenty.
const SMALL_FORK: u32 = 65_535 / 20;
/// Entropy from which 512 bytes look like noise: random ones have 7.6 bits, rows and keys 3 to 6.
const NOISE: f64 = 7.2;
/// Printable characters in a row from which on they are text and not chance.
const TEXT: usize = 24;
/// Candidates of a kind that are listed.
const LISTED: usize = 8;

/// A page, and what is known about its place.
pub struct Suspect<'a> {
    /// Its bytes.
    pub page: &'a [u8],
    /// Block in the fork.
    pub block: BlockNumber,
    /// `pd_checksum`.
    pub stored: u16,
    /// What it should be.
    pub calculated: u16,
    /// Blocks in the fork.
    pub fork_blocks: u32,
    /// Blocks in a segment file.
    pub relseg_size: u32,
    /// A free space map or visibility map: the content can be anything.
    pub is_map: bool,
    /// What the sound pages of the file are.
    pub nature: &'a Nature,
    /// Of the machine that wrote the page.
    pub abi: Abi,
    /// Another block of the same file.
    pub other_block: &'a dyn Fn(BlockNumber) -> Option<Vec<u8>>,
}

/// What is the matter, and the measurements that say so.
#[derive(Debug)]
pub struct Diagnosis {
    /// The kind of damage.
    pub code: &'static Code,
    /// Name and value of each measurement.
    pub evidence: Vec<(&'static str, String)>,
}

/// What a page says about itself.
struct Structure {
    header: Option<PageHeaderData>,
    header_faults: Vec<String>,
    kind: Option<PageKind>,
    items: Option<ItemTest>,
    /// Heap: the addresses that tuples carry of themselves.
    tids: Vec<OwnTid>,
}

impl Structure {
    fn of(page: &[u8], abi: Abi) -> Structure {
        let Ok(header) = PageHeaderData::read(page, abi) else {
            let header_faults = vec!["shorter than a header".to_owned()];
            return Structure { header: None, header_faults, kind: None, items: None, tids: Vec::new() };
        };
        let header_faults: Vec<_> = header.faults(page.len(), abi).iter().map(ToString::to_string).collect();
        let sane = header_faults.is_empty();
        let kind = PageKind::of(page, &header, abi).filter(|_| sane);
        let items = kind.and_then(|kind| test_items(page, &header, kind, abi));
        let is_heap = kind == Some(PageKind::Heap);
        let mut tids = if is_heap { own_tids(page, &header, abi) } else { Vec::new() };
        let faulty: &[ItemFault] = items.as_ref().map_or(&[], |test: &ItemTest| &test.faults);
        tids.retain(|tid| faulty.iter().all(|fault| fault.item != tid.item));
        Structure { header: sane.then_some(header), header_faults, kind, items, tids }
    }

    fn faults(&self) -> &[ItemFault] {
        self.items.as_ref().map_or(&[], |items| &items.faults)
    }

    /// Starts of the tuples that say they are another item. One alone can be legal.
    fn misplaced_tuples(&self) -> Vec<usize> {
        let wrong: Vec<_> =
            self.tids.iter().filter(|tid| tid.tid_item != tid.item).map(|tid| tid.at).collect();
        if wrong.len() > 1 { wrong } else { Vec::new() }
    }

    /// The block that most tuples say they are in, and how many of how many say so.
    fn own_block(&self) -> Option<(BlockNumber, usize)> {
        let mut blocks: Vec<_> = self.tids.iter().map(|tid| tid.tid_block).collect();
        blocks.sort_unstable();
        let longest = blocks.chunk_by(|a, b| a == b).max_by_key(|same| same.len())?;
        Some((*longest.first()?, longest.len()))
    }

    /// Nothing contradicts anything.
    fn is_sound(&self) -> bool {
        self.header.is_some() && self.faults().is_empty() && self.misplaced_tuples().is_empty()
    }

    /// There were tuples to compare with their line pointers.
    fn has_items(&self) -> bool {
        self.items.as_ref().is_some_and(|items| items.items > 0)
    }
}

/// Finds out as much as the page tells.
pub fn diagnose(suspect: &Suspect) -> Diagnosis {
    let structure = Structure::of(suspect.page, suspect.abi);
    let mut evidence = Vec::new();
    let code = conclude(suspect, &structure, &mut evidence);
    Diagnosis { code, evidence }
}

type EvidenceList = Vec<(&'static str, String)>;

fn conclude(suspect: &Suspect, structure: &Structure, evidence: &mut EvidenceList) -> &'static Code {
    if !structure.header_faults.is_empty() {
        evidence.push(("header", structure.header_faults.join("; ")));
    }
    if !structure.faults().is_empty() {
        evidence.push(("line pointers and tuples", fault_text(structure)));
    }
    let misplaced = structure.misplaced_tuples();
    if !misplaced.is_empty() {
        let text = format!("{} of {} are not that of the tuple", misplaced.len(), structure.tids.len());
        evidence.push(("t_ctid of tuples never updated", text));
    }
    let moved = other_place(suspect, structure, evidence);
    let zeros = lost_sectors(suspect, structure, evidence);
    let foreign = foreign_range(suspect, structure, evidence);
    let flip = flipped_bit(suspect, structure, evidence);
    if suspect.stored == 0 && structure.is_sound() {
        return pag::STORED_ZERO;
    }
    // A page moved by a power of two often has a checksum that differs in one bit.
    if let Some(code) = moved {
        code
    } else if flip == Flip::Proved {
        pag::FLIPPED_BIT
    } else if zeros {
        pag::PARTLY_ZERO
    } else if foreign {
        pag::FOREIGN_BYTES
    } else if !structure.is_sound() {
        if let Some(text) = border(suspect, structure) {
            evidence.push(("border", text));
        }
        pag::CONTRADICTION
    } else if flip == Flip::Possible {
        pag::FLIPPED_BIT
    } else {
        pag::CHECKSUM
    }
}

fn fault_text(structure: &Structure) -> String {
    let faults = structure.faults();
    let items = structure.items.as_ref().map_or(0, |test| test.items);
    let mut text = format!("{} of {items} contradict each other", faults.len());
    for fault in faults.iter().take(3) {
        let _ = write!(text, "; {fault}");
    }
    if faults.len() > 3 {
        text.push_str("; …");
    }
    text
}

/// Does the page belong to another block or another relation?
fn other_place(
    suspect: &Suspect,
    structure: &Structure,
    evidence: &mut EvidenceList,
) -> Option<&'static Code> {
    let fold = PageChecksum::new(suspect.abi.big_endian).fold(suspect.page);
    let mut fitting = fitting_blocks(fold, suspect.stored, suspect.fork_blocks);
    fitting.retain(|block| *block != suspect.block);
    let same_bytes =
        |block: &BlockNumber| (suspect.other_block)(*block).is_some_and(|other| other == suspect.page);
    let twin = fitting.iter().copied().find(same_bytes);
    if !fitting.is_empty() {
        let list: Vec<_> = fitting.iter().take(LISTED).map(ToString::to_string).collect();
        let more = if fitting.len() > LISTED { ", …" } else { "" };
        let chance = f64::from(suspect.fork_blocks) / 65_535.0;
        evidence.push((
            "stored checksum fits block",
            format!(
                "{}{more} ({chance:.3} of the {} blocks would by chance)",
                list.join(", "),
                suspect.fork_blocks
            ),
        ));
    }
    let own_block = structure.own_block().filter(|(block, _)| *block != suspect.block);
    let own_block = own_block.filter(|(_, count)| *count * 2 > structure.tids.len());
    if let Some((block, count)) = own_block {
        let text = format!("{block}, say {count} of {} tuples", structure.tids.len());
        evidence.push(("block by t_ctid", text));
    }
    if let Some(block) = twin {
        evidence.push(("holds the same bytes as block", block.to_string()));
        return Some(pag::WRONG_BLOCK);
    }
    if !structure.is_sound() {
        return None;
    }
    if let Some(text) = other_relation(suspect, structure) {
        evidence.push(("differs from the sound pages of the file", text));
        return Some(pag::OTHER_RELATION);
    }
    // Empty pages and maps are sound whatever is in them.
    let small = suspect.fork_blocks <= SMALL_FORK && structure.has_items();
    // The tuples know better than a checksum that may be the thing that changed.
    if structure.own_block().is_some_and(|(block, _)| block == suspect.block) {
        return None;
    }
    let agreed = own_block.is_some_and(|(block, count)| count > 1 || fitting.contains(&block));
    let likely = fitting.iter().find_map(|block| likely_mistake(suspect, *block));
    if let Some(text) = likely.filter(|_| !suspect.is_map) {
        evidence.push(("how the block numbers differ", text));
        return Some(pag::WRONG_BLOCK);
    }
    (agreed || small && !fitting.is_empty()).then_some(pag::WRONG_BLOCK)
}

/// The few mistakes that hardware and people make; all together fit by chance in one of a thousand pages.
fn likely_mistake(suspect: &Suspect, block: BlockNumber) -> Option<String> {
    let size = suspect.relseg_size;
    let (here, there) = (suspect.block.checked_div(size)?, block.checked_div(size)?);
    if here != there && suspect.block.checked_rem(size)? == block.checked_rem(size)? {
        return Some(format!("the same place in segment {there} instead of {here}"));
    }
    match suspect.block.abs_diff(block) {
        n @ 1..=8 => Some(format!("by {n}")),
        _ if (suspect.block ^ block).is_power_of_two() => Some("in one bit".to_owned()),
        _ => None,
    }
}

/// In what a page that is sound in itself differs from all others of its file.
fn other_relation(suspect: &Suspect, structure: &Structure) -> Option<String> {
    let (kind, usual) = (structure.kind?, suspect.nature.kind?);
    if kind != usual {
        return Some(format!("a page of {}, the others are of {}", kind.name(), usual.name()));
    }
    let header = structure.header.as_ref()?;
    let (low, high) = heap_columns(suspect.page, header, suspect.abi).filter(|_| kind == PageKind::Heap)?;
    let (least, most) = suspect.nature.columns?;
    let range = |a: u16, b: u16| if a == b { a.to_string() } else { format!("{a} to {b}") };
    (low > most || high < least)
        .then(|| format!("tuples with {} columns, the others have {}", range(low, high), range(least, most)))
}

/// Are there sectors of zeros where the page must have content? Says which.
fn lost_sectors(suspect: &Suspect, structure: &Structure, evidence: &mut EvidenceList) -> bool {
    if suspect.is_map {
        return false;
    }
    let sectors = suspect.page.chunks(SECTOR).enumerate();
    let zero = sectors.filter(|(_, sector)| is_zero(sector)).map(|(index, _)| index * SECTOR);
    // Between pd_lower and pd_upper nothing needs to be.
    let free = structure.header.as_ref().map(|h| usize::from(h.pd_lower)..usize::from(h.pd_upper));
    let in_free_space =
        |at: usize| free.as_ref().is_some_and(|free| free.start <= at && at + SECTOR <= free.end);
    let ranges = join_sectors(zero.filter(|at| !in_free_space(*at)));
    let missing = |range: &Range<usize>| match &structure.items {
        Some(test) => test.faults.iter().any(|fault| {
            fault.what == Contradiction::Zero
                && fault.bytes.start < range.end
                && range.start < fault.bytes.end
        }),
        // Without a header nobody knows what must be there.
        None => structure.header.is_none(),
    };
    let special_lost = |range: &Range<usize>| {
        let special = structure.header.as_ref().map_or(suspect.page.len(), |h| usize::from(h.pd_special));
        range.end == suspect.page.len() && (structure.kind.is_none() || special < suspect.page.len())
    };
    let lost = ranges.iter().any(|range| missing(range) || special_lost(range));
    if lost {
        evidence.push(("zero bytes", ranges_text(&ranges)));
    }
    lost
}

fn join_sectors(starts: impl Iterator<Item = usize>) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for start in starts {
        match ranges.last_mut() {
            Some(last) if last.end == start => last.end = start + SECTOR,
            _ => ranges.push(start..start + SECTOR),
        }
    }
    ranges
}

/// With the coarsest border that fits: 4096 bytes is a memory page and a file system block, 512 a sector.
fn ranges_text(ranges: &[Range<usize>]) -> String {
    let list: Vec<_> = ranges.iter().map(|range| format!("{}..{}", range.start, range.end)).collect();
    let multiple_of = |unit: usize| {
        ranges.iter().all(|range| range.start.is_multiple_of(unit) && range.end.is_multiple_of(unit))
    };
    let unit = if multiple_of(4096) { "blocks of 4096" } else { "sectors of 512" };
    format!("{} (whole {unit} bytes)", list.join(", "))
}

/// Is a range of the page, which the page contradicts, text or noise?
fn foreign_range(suspect: &Suspect, structure: &Structure, evidence: &mut EvidenceList) -> bool {
    if structure.is_sound() {
        return false;
    }
    if let Some(text) = text_in_header(suspect.page) {
        evidence.push(("text over the header", text));
        return true;
    }
    // Of a page with a sane header: only what contradicts it. Otherwise anything may be foreign.
    let contradicted = |at: usize| {
        structure.header.is_none()
            || structure.faults().iter().any(|f| f.bytes.start < at + SECTOR && at < f.bytes.end)
    };
    let sectors = || suspect.page.chunks(SECTOR).enumerate().map(|(index, bytes)| (index * SECTOR, bytes));
    let noisy = sectors().filter(|(_, bytes)| entropy(bytes) >= NOISE).map(|(at, _)| at);
    let noise = join_sectors(noisy);
    // Compressed values look like noise too: it must stand apart from the rest of the page.
    let apart = noise.len() == 1 && noise.iter().all(|range| range.len() < suspect.page.len());
    if apart && noise.iter().any(|range| range.clone().step_by(SECTOR).any(contradicted)) {
        let bytes: Vec<u8> =
            noise.iter().filter_map(|range| suspect.page.get(range.clone())).flatten().copied().collect();
        let text = format!("{}, {:.2} bits of entropy per byte", ranges_text(&noise), entropy(&bytes));
        evidence.push(("noise", text));
        return true;
    }
    let written = sectors().filter(|(at, bytes)| contradicted(*at) && is_text(bytes)).map(|(at, _)| at);
    let written = join_sectors(written);
    if !written.is_empty() && structure.header.is_none() {
        evidence.push(("text", ranges_text(&written)));
        return true;
    }
    false
}

/// The text that begins in the header, where none can be.
fn text_in_header(page: &[u8]) -> Option<String> {
    let start = page.iter().take(SECTOR).position(|byte| printable(*byte)).filter(|start| *start < 8)?;
    let length = page.get(start..)?.iter().take_while(|byte| printable(**byte)).count();
    let text = page.get(start..start + length.min(64)).filter(|_| length >= TEXT)?;
    Some(format!("\"{}\", {length} printable bytes from byte {start} on", String::from_utf8_lossy(text)))
}

fn printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\n' | b'\t' | b'\r')
}

fn is_text(bytes: &[u8]) -> bool {
    bytes.iter().filter(|byte| printable(**byte)).count() * 20 >= bytes.len() * 19
}

/// Shannon's, in bits for each byte.
fn entropy(bytes: &[u8]) -> f64 {
    let mut counts = [0u32; 256];
    for byte in bytes {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    let total = bytes.len() as f64;
    let share = |count: &u32| f64::from(*count) / total;
    -counts.iter().filter(|count| **count > 0).map(|count| share(count) * share(count).log2()).sum::<f64>()
}

/// What single flipped bits can say.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flip {
    /// The page contradicts itself as it is and not without the bit, or the bit is alone in empty space,
    /// or it is in the stored checksum.
    Proved,
    /// At least one bit would explain the checksum and leaves a sound page.
    Possible,
    /// None does.
    Excluded,
}

fn flipped_bit(suspect: &Suspect, structure: &Structure, evidence: &mut EvidenceList) -> Flip {
    let difference = suspect.stored ^ suspect.calculated;
    if difference.is_power_of_two() && structure.is_sound() {
        let bit = difference.trailing_zeros();
        let byte = 8 + usize::from((bit >= 8) != suspect.abi.big_endian);
        evidence.push(("flipped bit in pd_checksum", format!("byte {byte} bit {}", bit % 8)));
        return Flip::Proved;
    }
    let checksum = PageChecksum::new(suspect.abi.big_endian);
    let mut page = suspect.page.to_vec();
    let toggle = |page: &mut [u8], flip: FlippedBit| {
        if let Some(byte) = page.get_mut(flip.byte) {
            *byte ^= 1 << flip.bit;
        }
    };
    let mut candidates = checksum.flips(suspect.page, suspect.block, suspect.stored);
    let fitting = candidates.len();
    candidates.retain(|flip| {
        toggle(&mut page, *flip);
        let sound = Structure::of(&page, suspect.abi).is_sound();
        toggle(&mut page, *flip);
        sound
    });
    let list: Vec<_> =
        candidates.iter().take(LISTED).map(|f| format!("byte {} bit {}", f.byte, f.bit)).collect();
    let more = if candidates.len() > LISTED { ", …" } else { "" };
    if candidates.is_empty() {
        let text = if fitting == 0 { "none" } else { "none that leaves a sound page" };
        evidence.push(("flipped bits that would explain it", text.to_owned()));
        return Flip::Excluded;
    }
    let alone = lone_bit(suspect.page, structure).filter(|bit| candidates.contains(bit));
    let (flip, why) = match alone {
        Some(_) => (Flip::Proved, "proved: the only bit that is set in the free space"),
        None if !structure.is_sound() => {
            (Flip::Proved, "proved: without it the page does not contradict itself")
        }
        None => (Flip::Possible, "no proof: of all bits of a page, one fits by chance"),
    };
    evidence.push(("flipped bits that would explain it", format!("{}{more} ({why})", list.join(", "))));
    flip
}

/// The only bit that is set between `pd_lower` and `pd_upper`.
fn lone_bit(page: &[u8], structure: &Structure) -> Option<FlippedBit> {
    let header = structure.header.as_ref()?;
    let start = usize::from(header.pd_lower);
    let free = page.get(start..usize::from(header.pd_upper))?;
    let mut set = free.iter().enumerate().filter(|(_, byte)| **byte != 0);
    let (at, byte) = set.next()?;
    let alone = set.next().is_none() && byte.is_power_of_two();
    alone.then(|| FlippedBit { byte: start + at, bit: byte.trailing_zeros() })
}

/// The border of sectors from which on, or up to which, all contradictions lie.
fn border(suspect: &Suspect, structure: &Structure) -> Option<String> {
    let header = structure.header.as_ref()?;
    let mut faulty: Vec<usize> = structure.faults().iter().map(|fault| fault.bytes.start).collect();
    faulty.extend(structure.misplaced_tuples());
    faulty.retain(|at| *at < suspect.page.len());
    let (first, last) = (*faulty.iter().min()?, *faulty.iter().max()?);
    let sound = sound_items(suspect.page, header, &faulty, suspect.abi);
    let down = first / SECTOR * SECTOR;
    let up = last.next_multiple_of(SECTOR);
    let below = sound.iter().filter(|at| **at < down).count();
    let above = sound.iter().filter(|at| **at >= up).count();
    let count = faulty.len();
    // Line pointers and header are in front: with nothing sound below, the border is behind them.
    if above == 0 || (below > 0 && down >= suspect.page.len() - up) {
        Some(format!("all {count} contradictions lie from byte {down} on, {below} sound tuples before it"))
    } else {
        Some(format!("all {count} contradictions lie before byte {up}, {above} sound tuples behind it"))
    }
}

/// Where the tuples start that nothing speaks against.
fn sound_items(page: &[u8], header: &PageHeaderData, faulty: &[usize], abi: Abi) -> Vec<usize> {
    let stored = line_pointers(page, header, abi).filter(|(_, id)| id.lp_len > 0);
    stored.map(|(_, id)| id.bytes().start).filter(|start| !faulty.contains(start)).collect()
}
