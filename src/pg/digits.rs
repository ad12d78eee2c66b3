//! Numbers as digits at the end of a buffer. For output that is written millions of times, where `format!` costs
//! more than all the rest.

/// Decimal digits of a number.
#[inline]
pub fn push_decimal(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        if let Some(digit) = digits.get_mut(start) {
            *digit = b'0' + (value % 10) as u8;
        }
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
}

/// The last `N` decimal digits of a number, zeros included.
#[inline]
pub fn last_digits<const N: usize>(mut value: u64) -> [u8; N] {
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
