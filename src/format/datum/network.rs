//! Network and hardware addresses. Source: utils/adt/network.c, port/inet_net_ntop.c, utils/adt/mac.c.

use super::output::Value;

/// `PGSQL_AF_INET` and `PGSQL_AF_INET6`.
const INET: u8 = 2;
const INET6: u8 = 3;

pub(super) fn inet(value: &Value) -> Option<String> {
    let (address, bits, all) = address(value)?;
    Some(if bits == all { address } else { format!("{address}/{bits}") })
}

pub(super) fn cidr(value: &Value) -> Option<String> {
    let (address, bits, _) = address(value)?;
    Some(format!("{address}/{bits}"))
}

/// The address, the bits of its network, and all that it could have.
fn address(value: &Value) -> Option<(String, u8, u8)> {
    let (family, bits) = (value.data.u8(0)?, value.data.u8(1)?);
    let bytes = value.data.bytes.get(2..)?;
    let (text, all) = match family {
        INET => {
            let [a, b, c, d] = *bytes.first_chunk()?;
            (format!("{a}.{b}.{c}.{d}"), 32)
        }
        INET6 => (ipv6(bytes.first_chunk()?), 128),
        _ => return None,
    };
    (bits <= all).then_some((text, bits, all))
}

/// The first of the longest runs of zeros is left out; what is an IPv4 address within is written as one.
fn ipv6(bytes: &[u8; 16]) -> String {
    let words: Vec<u16> = bytes.as_chunks().0.iter().map(|word| u16::from_be_bytes(*word)).collect();
    let (mut base, mut length) = (0, 0);
    let mut at = 0;
    for run in words.chunk_by(|a, b| *a == 0 && *b == 0) {
        if run.first() == Some(&0) && run.len() > length.max(1) {
            (base, length) = (at, run.len());
        }
        at += run.len();
    }
    let mut text = String::new();
    for (index, word) in words.iter().enumerate() {
        if (base..base + length).contains(&index) {
            if index == base {
                text.push(':');
            }
            continue;
        }
        if index > 0 {
            text.push(':');
        }
        let mapped = length == 6 || length == 5 && words.get(5) == Some(&0xFFFF);
        if index == 6 && base == 0 && mapped {
            let [.., a, b, c, d] = *bytes;
            text.push_str(&format!("{a}.{b}.{c}.{d}"));
            return text;
        }
        text.push_str(&format!("{word:x}"));
    }
    if length > 0 && base + length == words.len() {
        text.push(':');
    }
    text
}

pub(super) fn macaddr(value: &Value) -> Option<String> {
    pairs(value.data.bytes.get(..6)?)
}

pub(super) fn macaddr8(value: &Value) -> Option<String> {
    pairs(value.data.bytes.get(..8)?)
}

fn pairs(bytes: &[u8]) -> Option<String> {
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(pairs.join(":"))
}
