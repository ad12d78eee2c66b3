//! Text from examined files must not drive the reader's terminal.

use std::borrow::Cow;

/// Makes control characters, and the invisible ones that reorder text, visible as `\x1B`, `\u{202E}`.
pub fn escape(text: &str) -> Cow<'_, str> {
    let hostile = |c: char| {
        c.is_control()
            || matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(hostile) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            c if !hostile(c) => safe.push(c),
            c if (c as u32) < 0x100 => safe.push_str(&format!("\\x{:02X}", c as u32)),
            c => safe.extend(c.escape_unicode()),
        }
    }
    Cow::Owned(safe)
}

/// A path as text: bytes that are not UTF-8 become `\xNN`.
pub fn path_text(path: &std::path::Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let mut text = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02X}")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn hostile_text_is_made_visible() {
        assert_eq!(escape("plain ümlaut"), "plain ümlaut");
        assert_eq!(escape("\x1b[2Jgone\n"), "\\x1B[2Jgone\\x0A");
        assert_eq!(escape("a\u{202E}b"), "a\\u{202e}b");
        assert_eq!(path_text(std::path::Path::new(OsStr::from_bytes(b"a\xFFb"))), "a\\xFFb");
    }
}
