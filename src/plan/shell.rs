//! Commands as text for a shell.

use std::path::Path;

/// As an argument for a shell.
pub fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:=@%,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// A path as an argument.
pub fn path(path: &Path) -> String {
    quoted(&path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_quotes() {
        assert_eq!(quoted("/srv/data"), "/srv/data");
        assert_eq!(quoted("/srv/my data; rm"), "'/srv/my data; rm'");
        assert_eq!(quoted("a'b"), r"'a'\''b'");
    }
}
