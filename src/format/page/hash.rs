//! Pages of hash indexes.
//!
//! ```text
//! special space: 0 hasho_prevblkno, 4 hasho_nextblkno, 8 hasho_bucket, 12 hasho_flag, 14 hasho_page_id 0xFF80
//! block 0: HashMetaPageData at 24
//! bitmap: a bit for each overflow page from 24 on, 1 = in use
//! bucket, overflow: line pointers and index tuples in the order of their hash codes, which are the only column (u32)
//! ```
//!
//! `hasho_prevblkno` of a bucket's first page is the value of `hashm_maxbucket` when the bucket was split or made.
//! Source: access/hash.h.

use super::PageHeaderData;
use super::explain::{map_line_pointers, map_special, stored_items};
use super::index_tuple::map_index_tuple;
use super::map::{FlagNames, Mapper, Value, flag_names};
use crate::format::reader::{Reader, Truncated};

/// `HASH_MAGIC`.
pub const HASH_MAGIC: u32 = 0x0644_0640;
/// `HASH_VERSION`.
pub const HASH_VERSION: u32 = 4;
/// `HASH_MAX_SPLITPOINTS`.
const HASH_MAX_SPLITPOINTS: usize = 98;

#[allow(missing_docs)]
pub const LH_OVERFLOW_PAGE: u16 = 0x0001;
#[allow(missing_docs)]
pub const LH_BUCKET_PAGE: u16 = 0x0002;
#[allow(missing_docs)]
pub const LH_BITMAP_PAGE: u16 = 0x0004;
#[allow(missing_docs)]
pub const LH_META_PAGE: u16 = 0x0008;
/// `LH_PAGE_TYPE`: the four above.
pub const LH_PAGE_TYPE: u16 = 0x000F;

const FLAGS: &FlagNames = &[
    (LH_OVERFLOW_PAGE, "LH_OVERFLOW_PAGE"),
    (LH_BUCKET_PAGE, "LH_BUCKET_PAGE"),
    (LH_BITMAP_PAGE, "LH_BITMAP_PAGE"),
    (LH_META_PAGE, "LH_META_PAGE"),
    (0x0010, "LH_BUCKET_BEING_POPULATED"),
    (0x0020, "LH_BUCKET_BEING_SPLIT"),
    (0x0040, "LH_BUCKET_NEEDS_SPLIT_CLEANUP"),
    (0x0080, "LH_PAGE_HAS_DEAD_TUPLES"),
];

/// The flags that a page can have.
pub const LH_FLAGS: u16 = 0x00FF;
/// `LH_BUCKET_BEING_SPLIT`, `LH_BUCKET_NEEDS_SPLIT_CLEANUP`: entries of the bucket that was split off are still here.
pub const LH_HOLDS_SPLIT: u16 = 0x0060;

const CONTENTS: usize = 24;
const INVALID_BLOCK_NUMBER: u32 = u32::MAX;

/// `HashPageOpaqueData`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct HashPageOpaqueData {
    pub hasho_prevblkno: u32,
    pub hasho_nextblkno: u32,
    pub hasho_bucket: u32,
    pub hasho_flag: u16,
    pub hasho_page_id: u16,
}

impl HashPageOpaqueData {
    /// In disk order.
    pub fn read(reader: &mut Reader) -> Result<HashPageOpaqueData, Truncated> {
        Ok(HashPageOpaqueData {
            hasho_prevblkno: reader.u32("hasho_prevblkno")?,
            hasho_nextblkno: reader.u32("hasho_nextblkno")?,
            hasho_bucket: reader.u32("hasho_bucket")?,
            hasho_flag: reader.u16("hasho_flag")?,
            hasho_page_id: reader.u16("hasho_page_id")?,
        })
    }

    /// What kind of page: one of the `LH_` flags, or 0 for an unused one.
    pub fn page_type(&self) -> u16 {
        self.hasho_flag & LH_PAGE_TYPE
    }
}

/// `HashMetaPageData`.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct HashMetaPageData {
    pub hashm_magic: u32,
    pub hashm_version: u32,
    pub hashm_ntuples: f64,
    pub hashm_ffactor: u16,
    pub hashm_bsize: u16,
    pub hashm_bmsize: u16,
    pub hashm_bmshift: u16,
    pub hashm_maxbucket: u32,
    pub hashm_highmask: u32,
    pub hashm_lowmask: u32,
    pub hashm_ovflpoint: u32,
    pub hashm_firstfree: u32,
    pub hashm_nmaps: u32,
    pub hashm_procid: u32,
    pub hashm_spares: Vec<u32>,
    pub hashm_mapp: Vec<u32>,
}

impl HashMetaPageData {
    /// In disk order.
    pub fn read(reader: &mut Reader, page_size: usize) -> Result<HashMetaPageData, Truncated> {
        // `HASH_MAX_BITMAPS`.
        let bitmaps = (page_size / 8).min(1024);
        Ok(HashMetaPageData {
            hashm_magic: reader.u32("hashm_magic")?,
            hashm_version: reader.u32("hashm_version")?,
            hashm_ntuples: reader.f64("hashm_ntuples")?,
            hashm_ffactor: reader.u16("hashm_ffactor")?,
            hashm_bsize: reader.u16("hashm_bsize")?,
            hashm_bmsize: reader.u16("hashm_bmsize")?,
            hashm_bmshift: reader.u16("hashm_bmshift")?,
            hashm_maxbucket: reader.u32("hashm_maxbucket")?,
            hashm_highmask: reader.u32("hashm_highmask")?,
            hashm_lowmask: reader.u32("hashm_lowmask")?,
            hashm_ovflpoint: reader.u32("hashm_ovflpoint")?,
            hashm_firstfree: reader.u32("hashm_firstfree")?,
            hashm_nmaps: reader.u32("hashm_nmaps")?,
            hashm_procid: reader.u32("hashm_procid")?,
            hashm_spares: reader.u32_array("hashm_spares", HASH_MAX_SPLITPOINTS)?,
            hashm_mapp: reader.u32_array("hashm_mapp", bitmaps)?,
        })
    }
}

impl HashMetaPageData {
    /// `BUCKET_TO_BLKNO`: the first page of a bucket.
    pub fn bucket_block(&self, bucket: u32) -> u64 {
        let before = (split_point(bucket).checked_sub(1))
            .and_then(|before| self.hashm_spares.get(before as usize))
            .map_or(0, |pages| if bucket == 0 { 0 } else { u64::from(*pages) });
        u64::from(bucket) + before + 1
    }

    /// `bitno_to_blkno`: the page that a bit of the bitmaps tells of.
    pub fn overflow_block(&self, bit: u32) -> u64 {
        let number = u64::from(bit) + 1;
        let last = self.hashm_ovflpoint.max(1);
        let made_at = (1..last)
            .find(|phase| self.hashm_spares.get(*phase as usize).is_none_or(|made| number <= (*made).into()));
        total_buckets(made_at.unwrap_or(last)) + number
    }

    /// `_hash_ovflblkno_to_bitno`: overflow pages stand behind the buckets of the split point at which they were made.
    pub fn overflow_bit(&self, block: u32) -> Option<u32> {
        let counts = self.hashm_spares.windows(2).take(self.hashm_ovflpoint as usize);
        for (phase, pair) in (1..).zip(counts) {
            let &[before, up_to] = pair else { continue };
            let number = u64::from(block).checked_sub(total_buckets(phase)).filter(|number| *number > 0)?;
            if number > before.into() && number <= up_to.into() {
                return u32::try_from(number - 1).ok();
            }
        }
        None
    }

    /// `_hash_hashkey2bucket`: the bucket of a hash code.
    pub fn bucket_of(&self, code: u32) -> u32 {
        let bucket = code & self.hashm_highmask;
        if bucket > self.hashm_maxbucket { bucket & self.hashm_lowmask } else { bucket }
    }

    /// `_hash_get_newbucket_from_oldbucket`: the bucket that was split off last from this one.
    pub fn split_off(&self, bucket: u32) -> u32 {
        let new = |mask: u32| bucket | mask.wrapping_add(1);
        let latest = new(self.hashm_lowmask);
        if latest > self.hashm_maxbucket { new(self.hashm_lowmask >> 1) } else { latest }
    }
}

/// `_hash_spareindex(bucket + 1)`: the split point at which a bucket is made.
pub fn split_point(bucket: u32) -> u32 {
    let buckets = u64::from(bucket) + 1;
    let group = buckets.next_power_of_two().trailing_zeros();
    let Some(behind) = group.checked_sub(10) else { return group };
    10 + (behind << 2) + ((bucket >> (group - 3)) & 3)
}

/// `_hash_get_totalbuckets`: buckets there are when this phase of splitting is over. From group 10 on a group has four phases.
fn total_buckets(phase: u32) -> u64 {
    let Some(behind) = phase.checked_sub(10) else { return 1 << phase };
    let half = 1u64.checked_shl(9 + (behind >> 2)).unwrap_or(0);
    half + (half >> 2) * u64::from((behind & 3) + 1)
}

pub(super) fn map(m: &mut Mapper, header: &PageHeaderData) {
    m.title("hash page");
    let Some(opaque) = map_special(m, header, HashPageOpaqueData::read) else { return };
    m.note("hasho_page_id", "HASHO_PAGE_ID");
    m.note(
        "hasho_flag",
        match flag_names(opaque.hasho_flag, FLAGS) {
            flags if opaque.page_type() == 0 => format!("LH_UNUSED_PAGE {flags}").trim_end().to_owned(),
            flags => flags,
        },
    );
    let is_bucket = opaque.page_type() == LH_BUCKET_PAGE;
    for (name, block) in
        [("hasho_prevblkno", opaque.hasho_prevblkno), ("hasho_nextblkno", opaque.hasho_nextblkno)]
    {
        if name == "hasho_prevblkno" && is_bucket {
            m.note(name, "hashm_maxbucket of its last split");
        } else if block == INVALID_BLOCK_NUMBER {
            m.note(name, "InvalidBlockNumber");
        }
    }
    match opaque.page_type() {
        0 => m.title("hash page, unused"),
        LH_META_PAGE => map_meta(m),
        LH_BITMAP_PAGE => map_bitmap(m, header),
        LH_BUCKET_PAGE => {
            map_tuples(m, header, format!("hash bucket page of bucket {}", opaque.hasho_bucket))
        }
        LH_OVERFLOW_PAGE => {
            map_tuples(m, header, format!("hash overflow page of bucket {}", opaque.hasho_bucket));
        }
        several => {
            m.problem(format!("hasho_flag has several page types at once: {}", flag_names(several, FLAGS)));
        }
    }
}

fn map_meta(m: &mut Mapper) {
    m.title("hash meta page");
    m.part("HashMetaPageData");
    let page_size = m.page.len();
    let Some(meta) = m.structure(CONTENTS..page_size, |r| HashMetaPageData::read(r, page_size)) else {
        return;
    };
    m.title(format!("hash meta page: {} buckets", u64::from(meta.hashm_maxbucket) + 1));
    m.note("hashm_magic", format!("0x{:08X}", meta.hashm_magic));
    if meta.hashm_magic != HASH_MAGIC {
        m.problem(format!("hashm_magic 0x{:08X} is not 0x{HASH_MAGIC:08X}", meta.hashm_magic));
    }
    if meta.hashm_version != HASH_VERSION {
        m.problem(format!("hashm_version {} is not {HASH_VERSION}", meta.hashm_version));
    }
    let (spares, maps) = (meta.hashm_spares.len(), meta.hashm_mapp.len());
    if meta.hashm_ovflpoint as usize >= spares {
        m.problem(format!("hashm_ovflpoint {} is not below {spares}", meta.hashm_ovflpoint));
    }
    if meta.hashm_nmaps as usize > maps {
        m.problem(format!("hashm_nmaps {} is above {maps}", meta.hashm_nmaps));
    }
    m.note("hashm_spares", "overflow pages before each split point");
    m.note("hashm_mapp", "blocks of the bitmap pages");
}

fn map_bitmap(m: &mut Mapper, header: &PageHeaderData) {
    m.title("hash bitmap page");
    m.part("bitmap");
    let end = usize::from(header.pd_lower);
    let Some(bits) = m.page.get(CONTENTS..end.min(header.pd_special.into())) else {
        return m.problem(format!("pd_lower {end} is not behind the bitmap"));
    };
    let used: u64 = bits.iter().map(|byte| u64::from(byte.count_ones())).sum();
    let note = format!("{used} of {} bits set: overflow pages in use, or not made yet", 8 * bits.len());
    let value = Value::Bytes(bits.to_vec());
    m.field(CONTENTS..CONTENTS + bits.len(), "bitmap", value, note);
}

fn map_tuples(m: &mut Mapper, header: &PageHeaderData, title: String) {
    let items = map_line_pointers(m, header);
    m.title(format!("{title}: {} line pointers", items.len()));
    let mut last = 0;
    for (item, id) in stored_items(m, &items) {
        let mapped = map_index_tuple(m, format!("tuple {item}"), id, "INDEX_MOVED_BY_SPLIT_MASK");
        let Some((_, key)) = mapped else { continue };
        m.note("t_tid", "row");
        let Some(hash) = m.structure(key, |reader| reader.u32("hash code")) else { continue };
        m.note("hash code", format!("0x{hash:08X}"));
        if hash < last {
            m.problem(format!("tuple {item}: its hash code 0x{hash:08X} is below the one before it"));
        }
        last = last.max(hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_grow_by_quarters() {
        assert_eq!([0, 1, 9].map(total_buckets), [1, 2, 512]);
        assert_eq!([10, 11, 12, 13, 14].map(total_buckets), [640, 768, 896, 1024, 1280]);
        for phase in 0..40 {
            let buckets = total_buckets(phase) as u32;
            assert_eq!((split_point(buckets - 1), split_point(buckets)), (phase, phase + 1));
        }
    }
}
