//! Values as the output functions of their types print them: one row in [`OUTPUTS`] for each type that is built in.
//!
//! Types that others define (domains, enums, arrays, ranges) need [`Types`]: what the catalogs say of them. Names of
//! objects (`regclass`) and what a setting decides (`money`) are not here. Source: utils/adt.

use super::{geometry, network, number, time};
use crate::format::pg_type::{ANYRANGE, ARRAY_OUT, Types};
use crate::format::reader::{Abi, Data};
use crate::pg::{Lsn, Major, Oid};

/// Types within types: a damaged catalog can make a ring of them.
const MAX_DEPTH: u8 = 8;

/// Why there is no text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Unshown {
    #[error("the output function of type {0} is not known here")]
    Type(String),
    #[error("these bytes are no value of type {0}")]
    Value(String),
}

/// One value, and whose.
pub(super) struct Value<'a> {
    pub(super) data: Data<'a>,
    pub(super) major: Major,
}

type OutputFunction = fn(&Value) -> Option<String>;

/// Types, and what prints them.
static OUTPUTS: &[(&[Oid], OutputFunction)] = &[
    // bool
    (&[16], |value| Some(if value.data.u8(0)? != 0 { "t" } else { "f" }.to_owned())),
    // bytea
    (&[17], |value| Some(format!("\\x{}", hex::encode(value.data.bytes)))),
    // "char"
    (&[18], char_out),
    // name
    (&[19], |value| utf8(value.data.bytes.split(|byte| *byte == 0).next()?)),
    // int8
    (&[20], |value| Some(value.data.i64(0)?.to_string())),
    // int2
    (&[21], |value| Some((value.data.u16(0)? as i16).to_string())),
    // int4
    (&[23], |value| Some(value.data.i32(0)?.to_string())),
    // text, json, xml, bpchar, varchar
    (&[25, 114, 142, 1042, 1043], |value| utf8(value.data.bytes)),
    // oid, xid, cid
    (&[26, 28, 29], |value| Some(value.data.u32(0)?.to_string())),
    // tid
    (&[27], |value| Some(value.data.item_pointer(0)?.to_string())),
    (&[600], geometry::point),
    (&[601], geometry::lseg),
    (&[602], geometry::path),
    (&[603], geometry::box_out),
    (&[604], geometry::polygon),
    (&[628], geometry::line),
    (&[718], geometry::circle),
    (&[650], network::cidr),
    // float4
    (&[700], |value| Some(super::float4(f32::from_bits(value.data.u32(0)?), value.major))),
    // float8
    (&[701], |value| Some(super::float8(value.data.f64(0)?, value.major))),
    (&[774], network::macaddr8),
    (&[829], network::macaddr),
    (&[869], network::inet),
    (&[1082], time::date),
    (&[1083], time::time),
    (&[1114], time::timestamp),
    (&[1184], time::timestamptz),
    (&[1186], time::interval),
    (&[1266], time::timetz),
    // bit, varbit
    (&[1560, 1562], bits),
    (&[1700], number::numeric),
    (&[2950], uuid),
    // pg_lsn
    (&[3220], |value| Some(Lsn(value.data.u64(0)?).text(value.major))),
    (&[3642], gtsvector),
    (&[4600], bloom_summary),
    // xid8
    (&[5069], |value| Some(value.data.u64(0)?.to_string())),
];

/// `pg_brin_minmax_multi_summary`
const MINMAX_MULTI_SUMMARY: Oid = 4601;

/// By what values are printed.
#[derive(Clone, Copy, Debug)]
pub struct Output<'a> {
    /// Whose output functions.
    pub major: Major,
    /// Of the machine that wrote the values.
    pub abi: Abi,
    /// What the catalogs say of types.
    pub types: &'a Types,
}

impl Output<'_> {
    /// A value of a type; the bytes without the header of a varlena.
    pub fn text(&self, type_oid: Oid, bytes: &[u8]) -> Result<String, Unshown> {
        self.nested(type_oid, bytes, 0)
    }

    /// A value within `depth` others.
    pub(super) fn nested(&self, type_oid: Oid, bytes: &[u8], depth: u8) -> Result<String, Unshown> {
        let data = Data { bytes, big_endian: self.abi.big_endian };
        if let Some((_, output)) = OUTPUTS.iter().find(|(known, _)| known.contains(&type_oid)) {
            return output(&Value { data, major: self.major }).ok_or_else(|| self.invalid(type_oid));
        }
        let unknown = || Unshown::Type(self.types.name(type_oid));
        if depth > MAX_DEPTH {
            return Err(unknown());
        }
        match type_oid {
            ANYRANGE => return self.range(type_oid, data, depth),
            MINMAX_MULTI_SUMMARY => return self.minmax_multi_summary(type_oid, data, depth),
            _ => {}
        }
        let row = self.types.get(type_oid).ok_or_else(unknown)?;
        match (row.typtype, row.typoutput) {
            (b'd', _) => self.nested(row.typbasetype, bytes, depth + 1),
            (b'e', _) => {
                let label = data.u32(0).and_then(|oid| self.types.label(type_oid, oid));
                label.map(str::to_owned).ok_or_else(|| self.invalid(type_oid))
            }
            (b'r', _) => self.range(type_oid, data, depth),
            (_, ARRAY_OUT) => self.array(type_oid, data, depth),
            _ => Err(unknown()),
        }
    }

    /// What these bytes are not.
    pub(super) fn invalid(&self, type_oid: Oid) -> Unshown {
        Unshown::Value(self.types.name(type_oid))
    }
}

fn utf8(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}

/// Bytes above ASCII: from 16 on in octal, before that as they are, which is no text by itself in UTF-8.
fn char_out(value: &Value) -> Option<String> {
    match value.data.u8(0)? {
        0 => Some(String::new()),
        byte if byte.is_ascii() => Some(char::from(byte).to_string()),
        byte => (value.major >= Major::V16).then(|| format!("\\{byte:03o}")),
    }
}

fn uuid(value: &Value) -> Option<String> {
    let hex = hex::encode(value.data.bytes.get(..16)?);
    let part = |range| hex.get(range).unwrap_or_default();
    Some(format!("{}-{}-{}-{}-{}", part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)))
}

/// How many bits, then the bits.
fn bits(value: &Value) -> Option<String> {
    let count = usize::try_from(value.data.i32(0)?).ok()?;
    let bytes = value.data.bytes.get(4..)?;
    let bit = |index: usize| bytes.get(index / 8).map(|byte| byte << (index % 8) & 0x80 != 0);
    (bytes.len() >= count.div_ceil(8))
        .then(|| (0..count).map_while(bit).map(|set| if set { '1' } else { '0' }).collect())
}

/// A signature of words, or the words' hashes.
fn gtsvector(value: &Value) -> Option<String> {
    const ARRKEY: i32 = 1;
    const ALLISTRUE: i32 = 4;
    let flag = value.data.i32(0)?;
    let rest = value.data.bytes.get(4..)?;
    if flag & ARRKEY != 0 {
        return Some(format!("{} unique words", rest.len() / 4));
    }
    if flag & ALLISTRUE != 0 {
        return Some("all true bits".to_owned());
    }
    let set: u32 = rest.iter().map(|byte| byte.count_ones()).sum();
    Some(format!("{set} true bits, {} false bits", 8 * rest.len() - set as usize))
}

/// `BloomFilter`: flags, nhashes, nbits, nbits_set, the bits.
fn bloom_summary(value: &Value) -> Option<String> {
    let (hashes, bits, set) = (value.data.u8(2)?, value.data.u32(4)?, value.data.u32(8)?);
    Some(format!("{{mode: hashed  nhashes: {hashes}  nbits: {bits}  nbits_set: {set}}}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(type_oid: Oid, hex: &str) -> Option<String> {
        let output = Output { major: Major::V18, abi: Abi::LITTLE_64, types: &Types::default() };
        output.text(type_oid, &hex::decode(hex).unwrap()).ok()
    }

    /// Bytes that servers wrote; the live test compares more.
    #[test]
    fn values_of_simple_types() {
        assert_eq!(shown(23, "ffffffff").unwrap(), "-1");
        assert_eq!(shown(16, "01").unwrap(), "t");
        assert_eq!(shown(1082, "00000000").unwrap(), "2000-01-01");
        assert_eq!(shown(1114, "40420f0000000000").unwrap(), "2000-01-01 00:00:01");
        assert_eq!(shown(1114, "ffffffffffffffff").unwrap(), "1999-12-31 23:59:59.999999");
        assert_eq!(shown(1114, "ffffffffffffff7f").unwrap(), "infinity");
        assert_eq!(shown(701, "000000000000f83f").unwrap(), "1.5");
        assert_eq!(shown(701, "408cb5781daf1544").unwrap(), "1e+20");
        assert_eq!(shown(700, "00247449").unwrap(), "1e+06");
        assert_eq!(shown(19, "61620000").unwrap(), "ab");
        assert_eq!(shown(25, "ff"), None);
        assert_eq!(
            shown(2950, "00112233445566778899aabbccddeeff").unwrap(),
            "00112233-4455-6677-8899-aabbccddeeff"
        );
        assert_eq!(shown(2950, "0011"), None);
    }

    #[test]
    fn numerics() {
        // Short headers: scale << 7 | weight; digits of base 10000.
        assert_eq!(shown(1700, "00810100c409").unwrap(), "1.25");
        assert_eq!(shown(1700, "0080").unwrap(), "0");
        assert_eq!(shown(1700, "00c0").unwrap(), "NaN");
        assert_eq!(shown(1700, "00d0").unwrap(), "Infinity");
    }

    #[test]
    fn types_that_are_not_known_are_named() {
        let output = Output { major: Major::V18, abi: Abi::LITTLE_64, types: &Types::default() };
        let told = |oid, bytes: &[u8]| output.text(oid, bytes).unwrap_err().to_string();
        assert_eq!(told(3802, &[]), "the output function of type 3802 is not known here");
        assert_eq!(told(23, &[1]), "these bytes are no value of type 23");
    }

    /// Whatever the bytes are, they print or do not.
    #[test]
    fn random_bytes_never_panic() {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let oids: Vec<Oid> = OUTPUTS
            .iter()
            .flat_map(|(oids, _)| *oids)
            .copied()
            .chain([ANYRANGE, MINMAX_MULTI_SUMMARY])
            .collect();
        for round in 0..200_000_usize {
            let length = next() % 40;
            let mut bytes: Vec<u8> = (0..length).map(|_| next() as u8).collect();
            if round % 2 == 0 {
                bytes.iter_mut().for_each(|byte| *byte &= 3);
            }
            let major = if round % 3 == 0 { Major::V10 } else { Major::V19 };
            let output = Output { major, abi: Abi::LITTLE_64, types: &Types::default() };
            let _ = output.text(oids[round % oids.len()], &bytes);
        }
    }
}
