//! The data checksum of a page: 32 interleaved sums, so that a processor computes many at a time.
//!
//! ```text
//! word   0  1  2 … 31     sum[i] starts at BASE[i]; for every row of 32 words:
//!       32 33 34 … 63         t = sum[i] ^ word;  sum[i] = t * 16777619 ^ (t >> 17)
//!        …                then two rows of zeros, then the fold: sum[0] ^ sum[1] ^ … ^ sum[31],
//!     2016 …      2047        and the checksum: (fold ^ block number) % 65535 + 1, never 0
//! ```
//!
//! `pd_checksum` itself (bytes 8 and 9) counts as zero. Words are in the byte order of the machine that
//! wrote the page. The block number enters last and is that of the fork, so from a fold all block
//! numbers that fit a stored checksum follow directly, and a flipped bit changes one of the 32 sums only.
//!
//! The same algorithm in 10 to 19. Source: storage/checksum_impl.h.

use crate::pg::BlockNumber;

/// `N_SUMS`.
const N_SUMS: usize = 32;
/// Bytes of one row: four for each sum.
const ROW: usize = 4 * N_SUMS;
/// `FNV_PRIME`.
const FNV_PRIME: u32 = 16_777_619;
/// Values that one checksum can have: 1 to this.
const CHECKSUMS: u32 = 65_535;

/// `checksumBaseOffsets`.
#[rustfmt::skip]
const BASE: [u32; N_SUMS] = [
    0x5B1F_36E9, 0xB852_5960, 0x02AB_50AA, 0x1DE6_6D2A, 0x79FF_467A, 0x9BB9_F8A3, 0x217E_7CD2, 0x83E1_3D2C,
    0xF8D4_474F, 0xE39E_B970, 0x42C6_AE16, 0x9932_16FA, 0x7B09_3B5D, 0x98DA_FF3C, 0xF718_902A, 0x0B1C_9CDB,
    0xE58F_764B, 0x1876_36BC, 0x5D7B_3BB1, 0xE73D_E7DE, 0x92BE_C979, 0xCCA6_C0B2, 0x304A_0979, 0x85AA_43D4,
    0x7831_25BB, 0x6CA8_EAA2, 0xE407_EAC6, 0x4B5C_FC3E, 0x9FBF_8C76, 0x15CA_20BE, 0xF2CA_9FD3, 0x959B_D756,
];

/// One step of one sum: `CHECKSUM_COMP`.
#[inline(always)]
fn step(sum: u32, word: u32) -> u32 {
    let t = sum ^ word;
    t.wrapping_mul(FNV_PRIME) ^ (t >> 17)
}

/// Eight sums that go through the steps together: one AVX2 register, two SSE ones.
///
/// This shape is what makes the compiler keep all 32 sums in registers for the whole page.
#[derive(Clone, Copy)]
struct Lanes([u32; 8]);

impl Lanes {
    #[inline(always)]
    fn load<const BIG_ENDIAN: bool>(bytes: &[u8; 32]) -> Lanes {
        let mut words = [0; 8];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *word = if BIG_ENDIAN { u32::from_be_bytes(*bytes) } else { u32::from_le_bytes(*bytes) };
        }
        Lanes(words)
    }

    #[inline(always)]
    fn step(self, words: Lanes) -> Lanes {
        let mut sums = self.0;
        for (sum, word) in sums.iter_mut().zip(words.0) {
            *sum = step(*sum, word);
        }
        Lanes(sums)
    }
}

/// The 32 sums.
#[derive(Clone, Copy)]
struct Sums([Lanes; 4]);

impl Sums {
    #[inline(always)]
    fn start() -> Sums {
        let mut sums = [Lanes([0; 8]); 4];
        for (lanes, base) in sums.iter_mut().zip(BASE.as_chunks::<8>().0) {
            *lanes = Lanes(*base);
        }
        Sums(sums)
    }

    #[inline(always)]
    fn row<const BIG_ENDIAN: bool>(self, row: &[u8; ROW]) -> Sums {
        let mut sums = self.0;
        for (lanes, bytes) in sums.iter_mut().zip(row.as_chunks::<32>().0) {
            *lanes = lanes.step(Lanes::load::<BIG_ENDIAN>(bytes));
        }
        Sums(sums)
    }

    /// The two rows of zeros and the XOR over all sums.
    #[inline(always)]
    fn fold(self) -> u32 {
        let zero = Lanes([0; 8]);
        self.0.iter().flat_map(|lanes| lanes.step(zero).step(zero).0).fold(0, |fold, sum| fold ^ sum)
    }
}

/// The first row with `pd_checksum` taken as zero.
#[inline(always)]
fn masked(row: &[u8; ROW]) -> [u8; ROW] {
    let mut row = *row;
    row[8] = 0;
    row[9] = 0;
    row
}

#[inline(always)]
fn fold_rows<const BIG_ENDIAN: bool>(page: &[u8]) -> u32 {
    let Some((first, rest)) = page.as_chunks::<ROW>().0.split_first() else { return 0 };
    let mut sums = Sums::start().row::<BIG_ENDIAN>(&masked(first));
    for row in rest {
        sums = sums.row::<BIG_ENDIAN>(row);
    }
    sums.fold()
}

/// Finds every single bit whose flipping gives the page the checksum of `target`. A bit enters one sum at
/// one row, so only that sum is computed again, from that row on, and for the 32 bits of a word at once.
#[inline(always)]
fn fold_flips<const BIG_ENDIAN: bool>(page: &[u8], target: &Target, found: &mut Vec<WordBit>) {
    let rows = page.as_chunks::<ROW>().0;
    let mut column = Vec::with_capacity(rows.len());
    for (lane, base) in BASE.iter().enumerate() {
        column.clear();
        for (index, row) in rows.iter().enumerate() {
            let row = if index == 0 { &masked(row) } else { row };
            let Some(bytes) = row.as_chunks::<4>().0.get(lane) else { return };
            column.push(if BIG_ENDIAN { u32::from_be_bytes(*bytes) } else { u32::from_le_bytes(*bytes) });
        }
        let end = |sum: u32| step(step(sum, 0), 0);
        let others = target.fold ^ end(column.iter().fold(*base, |sum, word| step(sum, *word)));
        let mut before = *base;
        for (index, word) in column.iter().enumerate() {
            let mut sums = [Lanes([before; 8]); 4];
            for (quarter, lanes) in sums.iter_mut().enumerate() {
                let mut flipped = Lanes([*word; 8]);
                for (bit, word) in flipped.0.iter_mut().enumerate() {
                    *word ^= 1 << (8 * quarter + bit);
                }
                *lanes = lanes.step(flipped);
            }
            for later in column.iter().skip(index + 1).chain(&[0, 0]) {
                for lanes in &mut sums {
                    *lanes = lanes.step(Lanes([*later; 8]));
                }
            }
            for (bit, sum) in sums.iter().flat_map(|lanes| lanes.0).enumerate() {
                if checksum_of_fold(others ^ sum, target.block) == target.stored {
                    found.push((index * N_SUMS + lane, bit as u32));
                }
            }
            before = step(before, *word);
        }
    }
}

/// Number of a word in the page, and of a bit in the word.
type WordBit = (usize, u32);

/// The page as it is, and the checksum that the flipped one must have.
struct Target {
    fold: u32,
    block: BlockNumber,
    stored: u16,
}

/// The same two functions, compiled for one set of instructions.
#[derive(Clone, Copy, Debug)]
struct Kernel {
    fold: unsafe fn(&[u8], bool) -> u32,
    flips: unsafe fn(&[u8], bool, &Target, &mut Vec<WordBit>),
}

macro_rules! kernel {
    ($module:ident $(, $feature:literal)?) => {
        mod $module {
            use super::*;

            $(#[target_feature(enable = $feature)])?
            pub(super) fn fold(page: &[u8], big_endian: bool) -> u32 {
                if big_endian { fold_rows::<true>(page) } else { fold_rows::<false>(page) }
            }

            $(#[target_feature(enable = $feature)])?
            pub(super) fn flips(page: &[u8], big_endian: bool, to: &Target, found: &mut Vec<WordBit>) {
                if big_endian {
                    fold_flips::<true>(page, to, found);
                } else {
                    fold_flips::<false>(page, to, found);
                }
            }

            pub(super) const KERNEL: Kernel = Kernel { fold, flips };
        }
    };
}

kernel!(portable);
#[cfg(target_arch = "x86_64")]
kernel!(sse41, "sse4.1");
#[cfg(target_arch = "x86_64")]
kernel!(avx2, "avx2");

/// The kernels that this processor can run, best first; the portable one always can.
fn kernels() -> impl Iterator<Item = Kernel> {
    #[cfg(target_arch = "x86_64")]
    let special = [
        std::is_x86_feature_detected!("avx2").then_some(avx2::KERNEL),
        std::is_x86_feature_detected!("sse4.1").then_some(sse41::KERNEL),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let special = [];
    special.into_iter().flatten().chain([portable::KERNEL])
}

/// Computes checksums of pages of one cluster with the best instructions of this processor.
#[derive(Clone, Copy, Debug)]
pub struct PageChecksum {
    kernel: Kernel,
    big_endian: bool,
}

impl PageChecksum {
    /// For pages written by a machine of this byte order.
    pub fn new(big_endian: bool) -> PageChecksum {
        PageChecksum { kernel: kernels().next().unwrap_or(portable::KERNEL), big_endian }
    }

    /// The XOR of the sums: all of the page except its place and its stored checksum.
    ///
    /// `page` is a whole page: of a multiple of 128 bytes.
    #[inline]
    pub fn fold(&self, page: &[u8]) -> u32 {
        // SAFETY: `kernels` offers only what this processor was found to have.
        unsafe { (self.kernel.fold)(page, self.big_endian) }
    }

    /// `pg_checksum_page`: what `pd_checksum` must be at this block of the fork.
    #[inline]
    pub fn of(&self, page: &[u8], block: BlockNumber) -> u16 {
        checksum_of_fold(self.fold(page), block)
    }

    /// Every single bit whose flipping would make `stored` right, in the order of the bytes.
    ///
    /// Of the 65,520 bits of an 8 kB page one fits by chance, on average: a candidate is no proof,
    /// but none at all proves that more than one bit changed.
    pub fn flips(&self, page: &[u8], block: BlockNumber, stored: u16) -> Vec<FlippedBit> {
        let target = Target { fold: self.fold(page), block, stored };
        let mut found = Vec::new();
        // SAFETY: as in `fold`.
        unsafe { (self.kernel.flips)(page, self.big_endian, &target, &mut found) };
        let place = |(word, bit): (usize, u32)| {
            let byte = if self.big_endian { 3 - bit / 8 } else { bit / 8 };
            FlippedBit { byte: word * 4 + byte as usize, bit: bit % 8 }
        };
        let mut bits: Vec<_> = found.into_iter().map(place).filter(|f| !matches!(f.byte, 8 | 9)).collect();
        bits.sort_unstable();
        bits
    }
}

/// A bit of a page; bit 0 is the lowest of its byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlippedBit {
    /// Offset in the page.
    pub byte: usize,
    /// 0 to 7.
    pub bit: u32,
}

/// The checksum of a page with this fold at this block.
#[inline]
pub fn checksum_of_fold(fold: u32, block: BlockNumber) -> u16 {
    ((fold ^ block) % CHECKSUMS + 1) as u16
}

/// The blocks below `end` at which a page with this fold has the checksum `stored`: one in 65,535 by chance.
pub fn fitting_blocks(fold: u32, stored: u16, end: BlockNumber) -> Vec<BlockNumber> {
    let Some(rest) = stored.checked_sub(1).map(u32::from) else { return Vec::new() };
    let with_rest = (0..=u32::MAX / CHECKSUMS).filter_map(|n| (n * CHECKSUMS).checked_add(rest));
    let mut blocks: Vec<_> = with_rest.map(|value| fold ^ value).filter(|block| *block < end).collect();
    blocks.sort_unstable();
    blocks
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The definition, one column after the other.
    fn reference(page: &[u8], block: u32, big_endian: bool) -> u16 {
        let mut page = page.to_vec();
        page[8..10].fill(0);
        let words: Vec<u32> = page
            .chunks(4)
            .map(|b| b.try_into().unwrap())
            .map(|b| if big_endian { u32::from_be_bytes(b) } else { u32::from_le_bytes(b) })
            .collect();
        let mut fold = 0;
        for (column, base) in BASE.iter().enumerate() {
            let mut sum = *base;
            for word in words.iter().skip(column).step_by(32).chain(&[0, 0]) {
                sum = (sum ^ word).wrapping_mul(16_777_619) ^ ((sum ^ word) >> 17);
            }
            fold ^= sum;
        }
        ((fold ^ block) % 65_535 + 1) as u16
    }

    /// Repeatable noise (SplitMix64).
    fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut state = seed;
        let next = || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            Some((z ^ (z >> 31)) as u8)
        };
        std::iter::from_fn(next).take(length).collect()
    }

    fn all(big_endian: bool) -> Vec<PageChecksum> {
        kernels().map(|kernel| PageChecksum { kernel, big_endian }).collect()
    }

    #[test]
    fn every_kernel_equals_the_definition() {
        for big_endian in [false, true] {
            for size in [1024, 2048, 4096, 8192, 16384, 32768] {
                for seed in 0..20 {
                    let page = noise(seed + size as u64, size);
                    let block = (seed as u32).wrapping_mul(0x0123_4567);
                    for (index, checksum) in all(big_endian).into_iter().enumerate() {
                        assert_eq!(checksum.of(&page, block), reference(&page, block, big_endian), "{index}");
                    }
                }
            }
        }
    }

    /// A real page of a table of five rows after UPDATE and VACUUM.
    pub(crate) fn golden_page() -> Vec<u8> {
        let head = "0000000078717c01e88404003000401f0020042000000000e09f3e00b89f420006000100909f4600689f4200409f4400";
        let trois = "d80200000000000000000000000000000600028002291800030000000d54524f4953000000000000";
        let rest = "d70200000000000000000000000000000500020002091800050000000b63696e7100000000000000\
                    d70200000000000000000000000000000400020002091800040000000f7175617472650000000000\
                    d70200000000000000000000000000000200020002091800020000000b6465757800000000000000\
                    d702000000000000000000000000000001000200020918000100000007756e00";
        let mut page = vec![0; 8192];
        page[..48].copy_from_slice(&hex::decode(head).unwrap());
        page[7960..].copy_from_slice(&hex::decode([trois, trois, rest].concat()).unwrap());
        page
    }

    #[test]
    fn the_golden_page() {
        let page = golden_page();
        for checksum in all(false) {
            assert_eq!(checksum.of(&page, 0), 0x84E8);
            assert_eq!(checksum.of(&page, 1), 0x84E9);
        }
    }

    #[test]
    fn a_flipped_bit_is_among_the_candidates() {
        for big_endian in [false, true] {
            for (byte, bit) in [(0, 0), (11, 7), (1029, 1), (4096, 3), (8191, 7)] {
                let mut page = noise(7, 8192);
                let stored = reference(&page, 77, big_endian);
                page[byte] ^= 1 << bit;
                let mut seen = None;
                for checksum in all(big_endian) {
                    let flips = checksum.flips(&page, 77, stored);
                    assert!(flips.contains(&FlippedBit { byte, bit }), "{byte} {bit} {flips:?}");
                    for flip in &flips {
                        let mut other = page.clone();
                        other[flip.byte] ^= 1 << flip.bit;
                        assert_eq!(reference(&other, 77, big_endian), stored);
                    }
                    assert_eq!(*seen.get_or_insert(flips.clone()), flips);
                }
            }
        }
    }

    #[test]
    fn the_blocks_that_fit_are_exactly_those() {
        let page = noise(3, 8192);
        let checksum = PageChecksum::new(false);
        let stored = checksum.of(&page, 123_456);
        let end = 400_000;
        let expected: Vec<_> = (0..end).filter(|block| checksum.of(&page, *block) == stored).collect();
        assert_eq!(fitting_blocks(checksum.fold(&page), stored, end), expected);
        assert!(expected.contains(&123_456));
        assert!(fitting_blocks(1, 0, u32::MAX).is_empty());
    }
}
