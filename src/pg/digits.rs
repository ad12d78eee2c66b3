//! Numbers as digits at the end of a buffer. For output that is written millions of times, where `format!` costs
//! more than all the rest.

/// Decimal digits of a number.
///
/// By four: most numbers are short, and copies of a known length are single instructions.
#[inline]
pub fn push_decimal(out: &mut Vec<u8>, value: u64) {
    match value {
        0..10 => out.push(b'0' + value as u8),
        10..100 => out.extend_from_slice(&last_digits::<2>(value as u32)),
        100..1_000 => out.extend_from_slice(&last_digits::<3>(value as u32)),
        1_000..10_000 => out.extend_from_slice(&last_digits::<4>(value as u32)),
        _ => push_long_decimal(out, value),
    }
}

fn push_long_decimal(out: &mut Vec<u8>, value: u64) {
    push_decimal(out, value / 10_000);
    out.extend_from_slice(&last_digits::<4>((value % 10_000) as u32));
}

/// The last `N` decimal digits of a number, zeros included.
#[inline]
pub fn last_digits<const N: usize>(mut value: u32) -> [u8; N] {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
    digits
}

/// Upper-case hex digits of a number, at least `width` of them.
#[inline]
pub fn push_hex(out: &mut Vec<u8>, value: u64, width: usize) {
    let needed = (64 - value.leading_zeros() as usize).div_ceil(4).max(width).max(1);
    for index in (0..needed).rev() {
        let digit = (value >> (4 * index) & 0xF) as u8;
        out.push(if digit < 10 { b'0' + digit } else { b'A' + digit - 10 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_length() {
        let mut value = 1u64;
        while let Some(next) = value.checked_mul(3) {
            for value in [0, value, next - 1, u64::MAX - next] {
                let mut out = Vec::new();
                push_decimal(&mut out, value);
                out.push(b' ');
                push_hex(&mut out, value, 1);
                push_hex(&mut out, value & 0xFF, 2);
                assert_eq!(String::from_utf8(out).unwrap(), format!("{value} {value:X}{:02X}", value & 0xFF));
            }
            value = next;
        }
        assert_eq!(&last_digits::<5>(1_200_345), b"00345");
    }
}
