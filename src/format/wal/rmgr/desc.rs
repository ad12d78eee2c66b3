//! One description, two spellings: pg_waldump's text, or named values as members of a JSON object.
//!
//! In text the literals count and the names are dropped; in JSON it is the other way round. Hot: a dump writes
//! millions of these, so numbers are put together by hand into the caller's buffer.

use jiff::tz::TimeZone;

use crate::format::reader::Data;
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

/// Upper-case hex digits of a number, at least `width` of them.
#[inline]
pub fn push_hex(out: &mut Vec<u8>, value: u64, width: usize) {
    let needed = (64 - value.leading_zeros() as usize).div_ceil(4).max(width).max(1);
    for index in (0..needed).rev() {
        let digit = (value >> (4 * index) & 0xF) as u8;
        out.push(if digit < 10 { b'0' + digit } else { b'A' + digit - 10 });
    }
}
