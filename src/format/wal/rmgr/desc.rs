//! One description, two spellings: pg_waldump's text, or named values as members of a JSON object.
//!
//! In text the literals count and the names are dropped; in JSON it is the other way round. Hot: a dump writes
//! millions of these, so numbers are put together by hand into the caller's buffer.

use std::io::Write;

use jiff::tz::TimeZone;

use crate::format::reader::Data;
pub use crate::pg::digits::{push_decimal, push_hex};
use crate::pg::relation::RelFileLocator;
use crate::pg::{Lsn, Major};

/// `sizeof(SharedInvalidationMessage)`.
pub const INVALIDATION_MESSAGE_SIZE: usize = 16;

/// Where a description goes.
#[derive(Debug)]
pub struct Desc<'o> {
    out: &'o mut Vec<u8>,
    json: bool,
    major: Major,
    zone: &'o TimeZone,
    /// JSON: the next value needs no comma before it.
    first: bool,
}

impl<'o> Desc<'o> {
    /// pg_waldump's text of `major`, times in `zone`.
    pub fn text(out: &'o mut Vec<u8>, major: Major, zone: &'o TimeZone) -> Desc<'o> {
        Desc { out, json: false, major, zone, first: true }
    }

    /// Members of a JSON object without its braces.
    pub fn json(out: &'o mut Vec<u8>, major: Major, zone: &'o TimeZone) -> Desc<'o> {
        Desc { out, json: true, major, zone, first: true }
    }

    /// Whose notation.
    pub fn major(&self) -> Major {
        self.major
    }

    /// Are named values wanted? For what pg_waldump does not print.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Text between the values.
    #[inline]
    pub fn lit(&mut self, text: &str) {
        if !self.json {
            self.out.extend_from_slice(text.as_bytes());
        }
    }

    /// Starts a named value in JSON, or an element if the name is empty.
    #[inline]
    fn name(&mut self, name: &str) {
        if self.json {
            if !self.first {
                self.out.push(b',');
            }
            self.first = false;
            if !name.is_empty() {
                self.out.push(b'"');
                self.out.extend_from_slice(name.as_bytes());
                self.out.extend_from_slice(b"\":");
            }
        }
    }

    /// An unsigned number.
    #[inline]
    pub fn num(&mut self, name: &str, value: impl Into<u64>) {
        self.name(name);
        push_decimal(self.out, value.into());
    }

    /// A number with a sign.
    pub fn int(&mut self, name: &str, value: impl Into<i64>) {
        self.name(name);
        let value = value.into();
        if value < 0 {
            self.out.push(b'-');
        }
        push_decimal(self.out, value.unsigned_abs());
    }

    /// A double as `%g` prints it; in JSON with all of its digits, null if it is no number.
    pub fn double_g(&mut self, name: &str, value: f64) {
        self.double(name, value, push_g);
    }

    /// A double as `%f` prints it; in JSON with all of its digits, null if it is no number.
    pub fn double_f(&mut self, name: &str, value: f64) {
        self.double(name, value, push_f);
    }

    fn double(&mut self, name: &str, value: f64, text: fn(&mut Vec<u8>, f64)) {
        self.name(name);
        if !self.json {
            text(self.out, value);
        } else if value.is_finite() {
            // Debug: the shortest digits that read back as the same number, with an exponent where it is long.
            let _ = write!(self.out, "{value:?}");
        } else {
            self.out.extend_from_slice(b"null");
        }
    }

    /// Two hex digits in text (`%02X`), a number in JSON.
    pub fn hex2(&mut self, name: &str, value: u8) {
        self.name(name);
        if self.json {
            push_decimal(self.out, value.into());
        } else {
            push_hex(self.out, value.into(), 2);
        }
    }

    /// One of two spellings in text, true or false in JSON.
    pub fn flag(&mut self, name: &str, value: bool, yes: &str, no: &str) {
        self.name(name);
        let text = match (self.json, value) {
            (false, true) => yes,
            (false, false) => no,
            (true, true) => "true",
            (true, false) => "false",
        };
        self.out.extend_from_slice(text.as_bytes());
    }

    /// A flag that shows in text only when it is set, literal included.
    pub fn mark(&mut self, name: &str, value: bool, text: &str) {
        self.flag(name, value, text, "");
    }

    /// A word of PostgreSQL's that needs no escaping.
    pub fn word(&mut self, name: &str, value: &str) {
        self.name(name);
        if self.json {
            self.out.push(b'"');
        }
        self.out.extend_from_slice(value.as_bytes());
        if self.json {
            self.out.push(b'"');
        }
    }

    /// Bytes up to the first NUL, as `%s` prints them; in JSON escaped, odd bytes as `\xNN`.
    pub fn string(&mut self, name: &str, bytes: &[u8]) {
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        self.name(name);
        if !self.json {
            self.out.extend_from_slice(text);
            return;
        }
        self.out.push(b'"');
        for chunk in text.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '"' | '\\' => self.out.extend_from_slice(&[b'\\', c as u8]),
                    c if (c as u32) < 0x20 => {
                        self.out.extend_from_slice(b"\\u00");
                        push_hex(self.out, u64::from(c as u32), 2);
                    }
                    c => self.out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
                }
            }
            for byte in chunk.invalid() {
                self.out.extend_from_slice(b"\\\\x");
                push_hex(self.out, u64::from(*byte), 2);
            }
        }
        self.out.push(b'"');
    }

    /// Bytes in hex: with spaces between them in text, one string in JSON.
    pub fn bytes(&mut self, name: &str, bytes: &[u8]) {
        self.name(name);
        if self.json {
            self.out.push(b'"');
        }
        for (index, byte) in bytes.iter().enumerate() {
            if index > 0 && !self.json {
                self.out.push(b' ');
            }
            push_hex(self.out, u64::from(*byte), 2);
        }
        if self.json {
            self.out.push(b'"');
        }
    }

    /// A position, in the major's notation in text and in one notation in JSON.
    pub fn lsn(&mut self, name: &str, lsn: Lsn) {
        self.name(name);
        if self.json {
            self.out.push(b'"');
        }
        push_hex(self.out, lsn.0 >> 32, 1);
        self.out.push(b'/');
        let pad = !self.json && self.major >= Major::V19;
        push_hex(self.out, u64::from(lsn.0 as u32), if pad { 8 } else { 1 });
        if self.json {
            self.out.push(b'"');
        }
    }

    /// A transaction id with its epoch: `%u:%u` in text, one number in JSON.
    pub fn full_xid(&mut self, name: &str, xid: u64) {
        self.name(name);
        if self.json {
            push_decimal(self.out, xid);
        } else {
            push_decimal(self.out, xid >> 32);
            self.out.push(b':');
            push_decimal(self.out, u64::from(xid as u32));
        }
    }

    /// A moment in microseconds since 2000: `timestamptz_to_str` in text, RFC 3339 in JSON.
    pub fn time(&mut self, name: &str, micros: i64) {
        self.name(name);
        if self.json {
            self.out.push(b'"');
            crate::pg::time::push_rfc3339_micros(self.out, micros);
            self.out.push(b'"');
        } else {
            crate::pg::time::push_timestamptz(self.out, micros, self.zone);
        }
    }

    /// Tablespace, database and file number, `%u/%u/%u`.
    pub fn locator(&mut self, name: &str, locator: RelFileLocator) {
        self.name(name);
        if self.json {
            self.out.push(b'"');
        }
        push_decimal(self.out, locator.tablespace.into());
        self.out.push(b'/');
        push_decimal(self.out, locator.database.into());
        self.out.push(b'/');
        push_decimal(self.out, locator.relnumber.into());
        if self.json {
            self.out.push(b'"');
        }
    }

    /// A relation's file below PGDATA, as `relpathperm` gives it.
    pub fn path(&mut self, name: &str, locator: RelFileLocator, fork: u32) {
        self.name(name);
        if self.json {
            self.out.push(b'"');
        }
        crate::pg::relation::push_relpath(self.out, locator, fork, self.major);
        if self.json {
            self.out.push(b'"');
        }
    }

    /// Several values under one name: an array in JSON. `say` says them, with empty names.
    pub fn list(&mut self, name: &str, say: impl FnOnce(&mut Desc) -> Option<()>) -> Option<()> {
        self.nested(name, b'[', b']', say)
    }

    /// Values that belong together: an object in JSON. Inside a list the name is empty.
    pub fn group(&mut self, name: &str, say: impl FnOnce(&mut Desc) -> Option<()>) -> Option<()> {
        self.nested(name, b'{', b'}', say)
    }

    fn nested(
        &mut self,
        name: &str,
        open: u8,
        close: u8,
        say: impl FnOnce(&mut Desc) -> Option<()>,
    ) -> Option<()> {
        self.name(name);
        if !self.json {
            return say(self);
        }
        self.out.push(open);
        self.first = true;
        let said = say(self);
        self.first = false;
        // Closed even when the data ended early, or the document would be none.
        self.out.push(close);
        said
    }

    /// `array_desc`: `[1, 2]`, `[]` when empty (16+).
    pub fn array16(&mut self, name: &str, data: Data, at: usize, count: usize) -> Option<()> {
        self.list(name, |desc| {
            desc.lit("[");
            for index in 0..count {
                if index > 0 {
                    desc.lit(", ");
                }
                desc.num("", data.u16(at + 2 * index)?);
            }
            desc.lit("]");
            Some(())
        })
    }
}

/// C's `%f`: six digits behind the point, all of those before it.
pub fn push_f(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        // Writing to a Vec cannot fail.
        let _ = write!(out, "{value:.6}");
    } else {
        push_not_finite(out, value);
    }
}

/// C's `%g`: six significant digits without zeros at the end, with an exponent below -4 and from 6 on.
pub fn push_g(out: &mut Vec<u8>, value: f64) {
    if !value.is_finite() {
        return push_not_finite(out, value);
    }
    let start = out.len();
    // Rounding decides about the exponent, so it comes first: 999999.5 is 1e+06.
    let _ = write!(out, "{value:.5e}");
    let Some(length) = out.iter().skip(start).position(|byte| *byte == b'e') else { return };
    let digits = out.get(start + length + 1..).unwrap_or_default();
    let negative = digits.first() == Some(&b'-');
    let digits = digits.get(usize::from(negative)..).unwrap_or_default();
    let exponent = digits.iter().fold(0usize, |sum, digit| sum * 10 + usize::from(digit & 0x0F));
    if negative && exponent <= 4 || !negative && exponent < 6 {
        out.truncate(start);
        let decimals = if negative { 5 + exponent } else { 5 - exponent };
        let _ = write!(out, "{value:.decimals$}");
        if decimals > 0 {
            strip_zeros(out);
        }
    } else {
        out.truncate(start + length);
        strip_zeros(out);
        out.extend_from_slice(if negative { b"e-" } else { b"e+" });
        if exponent < 10 {
            out.push(b'0');
        }
        push_decimal(out, exponent as u64);
    }
}

/// Zeros at the end of a fraction, and the point if nothing is left of it.
fn strip_zeros(out: &mut Vec<u8>) {
    while out.last() == Some(&b'0') {
        out.pop();
    }
    if out.last() == Some(&b'.') {
        out.pop();
    }
}

/// As glibc prints them.
fn push_not_finite(out: &mut Vec<u8>, value: f64) {
    if value.is_sign_negative() {
        out.push(b'-');
    }
    out.extend_from_slice(if value.is_nan() { b"nan" } else { b"inf" });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected texts are those of glibc's printf.
    #[test]
    fn doubles_print_as_in_c() {
        let cases: &[(f64, &str, &str)] = &[
            (0.0, "0", "0.000000"),
            (-0.0, "-0", "-0.000000"),
            (1.0, "1", "1.000000"),
            (-1.0, "-1", "-1.000000"),
            (10.0, "10", "10.000000"),
            (0.5, "0.5", "0.500000"),
            (0.1, "0.1", "0.100000"),
            (4800.0, "4800", "4800.000000"),
            (99999.0, "99999", "99999.000000"),
            (100000.0, "100000", "100000.000000"),
            (999999.0, "999999", "999999.000000"),
            (999999.5, "1e+06", "999999.500000"),
            (1e6, "1e+06", "1000000.000000"),
            (1000005.0, "1e+06", "1000005.000000"),
            (1000015.0, "1.00002e+06", "1000015.000000"),
            (123456.5, "123456", "123456.500000"),
            (123457.5, "123458", "123457.500000"),
            (123456789.0, "1.23457e+08", "123456789.000000"),
            (1e-4, "0.0001", "0.000100"),
            (0.00012345678, "0.000123457", "0.000123"),
            (9.9999995e-5, "0.0001", "0.000100"),
            (1e-5, "1e-05", "0.000010"),
            (2.5e-7, "2.5e-07", "0.000000"),
            (1e15, "1e+15", "1000000000000000.000000"),
            (5e-324, "4.94066e-324", "0.000000"),
            (0.3, "0.3", "0.300000"),
            (f64::INFINITY, "inf", "inf"),
            (f64::NEG_INFINITY, "-inf", "-inf"),
            (f64::NAN, "nan", "nan"),
        ];
        for (value, g, f) in cases {
            let mut out = Vec::new();
            push_g(&mut out, *value);
            assert_eq!(String::from_utf8_lossy(&out), *g, "%g of {value:?}");
            out.clear();
            push_f(&mut out, *value);
            assert_eq!(String::from_utf8_lossy(&out), *f, "%f of {value:?}");
        }
    }
}
