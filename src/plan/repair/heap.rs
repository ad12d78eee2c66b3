//! Blocks that hold rows are put back where somebody has them as they were: an image in the WAL, or a copy, which no
//! later record changes.

use std::path::Path;

use super::super::Step;
use super::super::damage::{Answer, DamagedFork, Thing, What};
use super::super::restore::beside;
use super::super::shell::path as quoted_path;
use super::super::ways::Kind;
use super::{Remedy, Site};
use crate::check::block::Source;
use crate::pg::BlockNumber;
use crate::pg::relation::ForkNumber;

pub(super) fn remedies(thing: &Thing, site: &Site) -> Vec<Remedy> {
    let What::Fork(fork) = &thing.what else { return Vec::new() };
    if fork.path.name.fork != ForkNumber::Main || fork.contradicts || fork.is_missing {
        return Vec::new();
    }
    let mut remedy = Remedy::new(Kind::Repair, format!("put back {}", blocks_of(fork)));
    for block in &fork.blocks {
        let Some(answer) = fork.answers.get(block) else { return Vec::new() };
        match step(fork, *block, answer, site) {
            Some(steps) => remedy.stopped.extend(steps),
            None => return Vec::new(),
        }
    }
    vec![remedy]
}

/// `block 3 of …`, `12 blocks of …`.
pub(super) fn blocks_of(fork: &DamagedFork) -> String {
    match fork.blocks.iter().collect::<Vec<_>>().as_slice() {
        [one] => format!("block {one} of {}", fork.title()),
        all => format!("{} blocks of {}", all.len(), fork.title()),
    }
}

/// No step where recovery does it; nothing where it cannot be had.
fn step(fork: &DamagedFork, block: BlockNumber, answer: &Answer, site: &Site) -> Option<Vec<Step>> {
    let geometry = site.geometry;
    let (segment, index) = (block / geometry.relseg_size, block % geometry.relseg_size);
    let size = geometry.page_size;
    let below = fork.path.segment(segment);
    let file = quoted_path(&site.file(&below));
    let put = |from: &str, skip: String| {
        format!("dd if={from} of={file} bs={size}{skip} seek={index} count=1 conv=notrunc")
    };
    let command = match &answer.source {
        Source::Disk | Source::Recovery => return Some(Vec::new()),
        Source::Image => {
            let image = beside(&site.root, &format!(".{}.{block}", fork.file().replace('/', ".")));
            let image = quoted_path(&image);
            let first = quoted_path(&site.file(&fork.file()));
            format!(
                "pgforensic scan-pages {first} --explain-block {block}{} --save-image {image} || test -s {image}\n{}",
                wal(site),
                put(&image, String::new())
            )
        }
        Source::Copy(index_of_copy) => {
            let copy: &Path = answer.copies.get(*index_of_copy)?;
            put(&quoted_path(&copy.join(&below)), format!(" skip={index}"))
        }
        _ => return None,
    };
    Some(vec![
        Step::new(
            format!("Put block {block} of {} back: {}", fork.title(), answer.source_text),
            command,
            format!("one block of {}", site.file(&below).display()),
            "exit status 0",
            "somebody started the server in between: then the block is of another time than the rest",
        ),
        Step::new(
            "Look at the block",
            format!(
                "pgforensic scan-pages {} --checksums --from-block {block} --to-block {block}",
                quoted_path(&site.file(&below))
            ),
            "nothing",
            "exit status 0",
            "the block is still damaged",
        ),
    ])
}

/// Where the WAL is, as `scan-pages --explain-block` takes it; its own pg_wal is read without being named.
fn wal(site: &Site) -> String {
    site.ground.archives.iter().map(|path| format!(" --wal {}", quoted_path(path))).collect()
}
