//! postgresql.conf and its like, as far as lines go: `name = value`, `name value`, `# comment`.
//!
//! Values stand in single quotes or are one word; a quote within is doubled or has a backslash before it. Whether the
//! server takes a setting is not judged here. Source: utils/misc/guc-file.l.

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Line of the file, from 1 on.
    pub line: usize,
    /// In lower case.
    pub name: String,
    /// Without its quotes.
    pub value: String,
}

/// The settings of a file in their order; lines that are none are passed over.
pub fn settings(content: &[u8]) -> Vec<Setting> {
    let text = String::from_utf8_lossy(content);
    let setting = |(index, line): (usize, &str)| {
        let line = line.trim_start();
        let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.')))?;
        let (name, rest) = line.split_at(end);
        let rest = rest.trim_start();
        let rest = rest.strip_prefix('=').unwrap_or(rest).trim_start();
        (!name.is_empty()).then(|| Setting {
            line: index + 1,
            name: name.to_ascii_lowercase(),
            value: value(rest),
        })
    };
    text.lines().enumerate().filter_map(setting).collect()
}

fn value(text: &str) -> String {
    let Some(quoted) = text.strip_prefix('\'') else {
        return text.split(['#', ' ', '\t']).next().unwrap_or_default().to_owned();
    };
    let mut value = String::new();
    let mut characters = quoted.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\'' if characters.peek() == Some(&'\'') => value.extend(characters.next()),
            '\'' => break,
            '\\' => value.extend(characters.next()),
            c => value.push(c),
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_configuration() {
        let text = b"# x = 1\n\n hba_file = '/etc/pg_hba.conf' # where\nPort 5433\ninclude 'a''b'\nshared_buffers=128MB#x\n=\n";
        let found: Vec<_> = settings(text).into_iter().map(|s| (s.line, s.name, s.value)).collect();
        let expected = [
            (3, "hba_file", "/etc/pg_hba.conf"),
            (4, "port", "5433"),
            (5, "include", "a'b"),
            (6, "shared_buffers", "128MB"),
        ];
        assert_eq!(found, expected.map(|(line, name, value)| (line, name.to_owned(), value.to_owned())));
    }
}
