//! `real` and `double precision` as the server prints them.

use crate::pg::Major;

/// A `double precision`: from 12 on as few digits as tell it from others, before that 15.
pub(in crate::format) fn float8(value: f64, major: Major) -> String {
    let digits = if major >= Major::V12 {
        let bits = value.to_bits();
        let binary = Binary::new(bits & ((1 << 52) - 1), (bits >> 52) as i32 & 0x7FF, 52);
        let exact = |places: usize| format!("{value:.places$e}");
        fewest(format!("{value:e}"), exact, &binary, |text| text.parse() == Ok(value))
    } else {
        format!("{value:.14e}")
    };
    float(&digits, 15).unwrap_or_else(|| special(value))
}

/// A `real`: from 12 on as few digits as tell it from others, before that 6.
pub(in crate::format) fn float4(value: f32, major: Major) -> String {
    let digits = if major >= Major::V12 {
        let bits = value.to_bits();
        let binary = Binary::new((bits & ((1 << 23) - 1)).into(), (bits >> 23) as i32 & 0xFF, 23);
        let exact = |places: usize| format!("{value:.places$e}");
        fewest(format!("{value:e}"), exact, &binary, |text| text.parse() == Ok(value))
    } else {
        format!("{value:.5e}")
    };
    float(&digits, 6).unwrap_or_else(|| special(value.into()))
}

/// A number as `mantissa * 2 ** exponent`.
struct Binary {
    mantissa: u64,
    exponent: i32,
    /// The next one below is only half as far away as the next one above.
    is_power: bool,
}

impl Binary {
    fn new(fraction: u64, biased: i32, bits: u32) -> Binary {
        let bias = if bits == 52 { 1023 } else { 127 };
        let normal = biased > 0;
        let mantissa = if normal { fraction | 1 << bits } else { fraction };
        let exponent = biased.max(1) - bias - bits as i32;
        Binary { mantissa, exponent, is_power: fraction == 0 && biased > 1 }
    }

    /// Is this decimal number half way to the next number above or below?
    fn is_half_way(&self, scientific: &str) -> bool {
        let parsed = || {
            let (mantissa, exponent) = scientific.split_once('e')?;
            let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
            let places = mantissa.split_once('.').map_or(0, |(_, places)| places.len());
            Some((digits.parse::<u128>().ok()?, exponent.parse::<i32>().ok()? - i32::try_from(places).ok()?))
        };
        let Some((decimal, ten)) = parsed().filter(|(decimal, _)| *decimal > 0) else { return false };
        let twos = decimal.trailing_zeros();
        let five = 5u128.checked_pow(ten.unsigned_abs());
        let mantissa = u128::from(self.mantissa);
        let below = if self.is_power {
            (4 * mantissa - 1, self.exponent - 2)
        } else {
            ((2 * mantissa).saturating_sub(1), self.exponent - 1)
        };
        // Both sides as an odd number times a power of two.
        [(2 * mantissa + 1, self.exponent - 1), below].into_iter().any(|(half_way, exponent)| {
            let (left, right) = match ten >= 0 {
                true => (five.and_then(|five| (decimal >> twos).checked_mul(five)), Some(half_way)),
                false => (Some(decimal >> twos), five.and_then(|five| half_way.checked_mul(five))),
            };
            left.is_some() && left == right && twos as i32 + ten == exponent
        })
    }
}

/// The fewest digits that are read back as the number, and of these the nearest. As in the server, a decimal half way
/// between two numbers is no name of either. `exact`: the number with so many places, ties to even.
fn fewest(
    shortest: String,
    exact: impl Fn(usize) -> String,
    binary: &Binary,
    reads_back: impl Fn(&str) -> bool,
) -> String {
    let Some((mantissa, _)) = shortest.split_once('e') else { return shortest };
    let places = mantissa.split_once('.').map_or(0, |(_, places)| places.len());
    let is_good = |text: &String| reads_back(text) && !binary.is_half_way(text);
    // 17 digits always do.
    let mut candidates = std::iter::once(exact(places))
        .chain(std::iter::once(shortest.clone()))
        .chain((places + 1..17).map(&exact));
    candidates.find(is_good).unwrap_or(shortest)
}

fn special(value: f64) -> String {
    let word = match (value.is_nan(), value > 0.0) {
        (true, _) => "NaN",
        (_, true) => "Infinity",
        _ => "-Infinity",
    };
    word.to_owned()
}

/// As `%g` prints it, from digits with an exponent: with that if it is below -4, or as large as `precision`.
fn float(scientific: &str, precision: i32) -> Option<String> {
    let (mantissa, exponent) = scientific.split_once('e')?;
    let exponent: i32 = exponent.parse().ok()?;
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let all: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let digits = match all.trim_end_matches('0') {
        "" => "0",
        digits => digits,
    };
    let point = |whole: &str, rest: &str| match rest {
        "" => format!("{sign}{whole}"),
        rest => format!("{sign}{whole}.{rest}"),
    };
    Some(if exponent < -4 || exponent >= precision {
        let (first, rest) = digits.split_at_checked(1)?;
        let mark = if exponent < 0 { '-' } else { '+' };
        format!("{}e{mark}{:02}", point(first, rest), exponent.abs())
    } else if let Ok(places) = usize::try_from(exponent) {
        let digits = format!("{digits:0<width$}", width = places + 1);
        let (whole, rest) = digits.split_at_checked(places + 1)?;
        point(whole, rest)
    } else {
        let zeros = "0".repeat((-exponent - 1) as usize);
        point("0", &format!("{zeros}{digits}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_as_the_server_prints_them() {
        let eight = |value, major| float8(value, major);
        let four = |value, major| float4(value, major);
        // Half way to the next double; half way between two decimals.
        assert_eq!(eight(4.79e21, Major::V12), "4.790000000000001e+21");
        assert_eq!(four(9_965_714.0 / 8.0, Major::V12), "1.2457142e+06");
        assert_eq!(eight(5e-324, Major::V12), "5e-324");
        assert_eq!(eight(f64::MAX, Major::V12), "1.7976931348623157e+308");
        assert_eq!(eight(9_007_199_254_740_992.0, Major::V12), "9.007199254740992e+15");
        assert_eq!(four(1e-45, Major::V12), "1e-45");
        assert_eq!(four(16_777_216.0, Major::V12), "1.6777216e+07");
        for major in [Major::V11, Major::V12] {
            assert_eq!(eight(-1.0, major), "-1");
            assert_eq!(eight(0.0, major), "0");
            assert_eq!(eight(20000.0, major), "20000");
            assert_eq!(eight(1e15, major), "1e+15");
            assert_eq!(eight(0.00025, major), "0.00025");
            assert_eq!(eight(2.5e-7, major), "2.5e-07");
            assert_eq!(four(123456.0, major), "123456");
            assert_eq!(four(1e6, major), "1e+06");
            assert_eq!(eight(f64::NEG_INFINITY, major), "-Infinity");
        }
        assert_eq!(
            (eight(0.1 + 0.2, Major::V11), eight(0.1 + 0.2, Major::V12)),
            ("0.3".into(), "0.30000000000000004".into())
        );
        assert_eq!(
            (four(1234567.0, Major::V11), four(1234567.0, Major::V12)),
            ("1.23457e+06".into(), "1.234567e+06".into())
        );
    }
}
