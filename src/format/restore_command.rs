//! What a restore_command does, where that is plain from its text.
//!
//! Only a few shapes are understood, and those wholly: copies, gzip, the commands of well-known tools, one after the
//! other by `||`. Whatever has an expansion, another operator or another option is not understood.

/// One of the things that it tries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file in a directory is copied, or unpacked by gzip.
    File {
        /// The directory; absolute.
        directory: String,
        /// What follows the name of the file.
        ending: String,
        /// gzip unpacks it.
        unpacks: bool,
    },
    /// `pgbackrest … archive-get`.
    PgBackRest {
        /// `--stanza`.
        stanza: Option<String>,
        /// `--repo1-path`.
        repository: Option<String>,
        /// `--config`.
        config: Option<String>,
    },
    /// `barman get-wal` or `barman-wal-restore`.
    Barman {
        /// The name of the server.
        server: String,
        /// `-c`.
        config: Option<String>,
        /// It asks another machine.
        host: Option<String>,
    },
    /// `wal-g wal-fetch`.
    WalG {
        /// The directory of `envdir`.
        environment: Option<String>,
        /// `WALG_FILE_PREFIX`.
        prefix: Option<String>,
    },
}

/// A piece of a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    /// `<`, `>`, `&&`, `||`
    Operator(&'static str),
}

/// What it tries, in this order; none where that is not sure.
pub fn parse(command: &str) -> Option<Vec<Source>> {
    let tokens = tokens(command)?;
    let parts: Vec<&[Token]> = tokens.split(|token| *token == Token::Operator("||")).collect();
    parts
        .iter()
        .enumerate()
        .map(|(index, part)| {
            let steps: Vec<&[Token]> = part.split(|token| *token == Token::Operator("&&")).collect();
            let (last, tests) = steps.split_last()?;
            let source = simple(last)?;
            // Behind `||` a `&&` also follows when what stands before it was right.
            let tested = tests.iter().all(|test| tests_for(test, &source));
            (tested && (index == 0 || tests.is_empty())).then_some(source)
        })
        .collect()
}

/// Words and operators; none if the shell would do more than take them as they are.
fn tokens(command: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = command.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' => tokens.extend(word.take().map(Token::Word)),
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        end if end == c => break,
                        '$' | '`' | '\\' if c == '"' => return None,
                        other => word.push(other),
                    }
                }
            }
            '<' | '>' | '&' | '|' => {
                // `2>` is another file.
                if word.as_deref().is_some_and(|word| word.bytes().all(|byte| byte.is_ascii_digit())) {
                    return None;
                }
                tokens.extend(word.take().map(Token::Word));
                let doubled = chars.next_if_eq(&c).is_some();
                tokens.push(Token::Operator(match (c, doubled) {
                    ('<', false) => "<",
                    ('>', false) => ">",
                    ('&', true) => "&&",
                    ('|', true) => "||",
                    _ => return None,
                }));
            }
            _ if c.is_alphanumeric() || "/._-+:=@%,[]!".contains(c) => word.get_or_insert_default().push(c),
            _ => return None,
        }
    }
    tokens.extend(word.map(Token::Word));
    Some(tokens)
}

/// `test -f FILE`, which a copy of FILE would have told as well; `test ! -f %p`, which is always so.
fn tests_for(tokens: &[Token], source: &Source) -> bool {
    let Source::File { directory, ending, .. } = source else { return false };
    let words: Option<Vec<&str>> = tokens.iter().map(word).collect();
    let words = words.unwrap_or_default();
    let inner = match words.as_slice() {
        ["test", inner @ ..] | ["[", inner @ .., "]"] => inner,
        _ => return false,
    };
    match inner {
        ["-f" | "-e" | "-r", file] => {
            split_source(file).is_some_and(|found| (&found.0, &found.1) == (directory, ending))
        }
        ["!", "-f" | "-e", "%p"] => true,
        _ => false,
    }
}

fn word(token: &Token) -> Option<&str> {
    match token {
        Token::Word(word) => Some(word),
        Token::Operator(_) => None,
    }
}

/// `/directory/%f.gz`.
fn split_source(path: &str) -> Option<(String, String)> {
    let (directory, ending) = path.rsplit_once("/%f")?;
    let fine = directory.starts_with('/') && !directory.contains(['%', '*', '?', '[']);
    (fine && !ending.contains(['%', '/', '*', '?', '['])).then(|| (directory.to_owned(), ending.to_owned()))
}

/// One command without `||` and `&&`.
fn simple(tokens: &[Token]) -> Option<Source> {
    let (mut words, mut from, mut to) = (Vec::new(), None, None);
    let mut rest = tokens.iter();
    while let Some(token) = rest.next() {
        match token {
            Token::Word(text) => words.push(text.as_str()),
            Token::Operator(operator) => {
                let target = word(rest.next()?)?;
                let place = if *operator == "<" { &mut from } else { &mut to };
                if place.replace(target).is_some() {
                    return None;
                }
            }
        }
    }
    let mut words = words.as_slice();
    let (mut environment, mut prefix) = (None, None);
    if let ["envdir", directory, inner @ ..] = words {
        (environment, words) = (Some((*directory).to_owned()), inner);
    }
    if let [first, inner @ ..] = words
        && let Some(value) = first.strip_prefix("WALG_FILE_PREFIX=")
    {
        (prefix, words) = (Some(value.to_owned()), inner);
    }
    let (program, arguments) = words.split_first()?;
    let program = match program.rsplit_once('/') {
        Some((directory, name)) if directory.starts_with('/') => name,
        Some(_) => return None,
        None => program,
    };
    if program == "wal-g" {
        let known = matches!(arguments, ["wal-fetch", "%f", "%p"]) && (from, to) == (None, None);
        return known.then_some(Source::WalG { environment, prefix });
    }
    if environment.is_some() || prefix.is_some() {
        return None;
    }
    match program {
        "cp" if (from, to) == (None, None) => {
            let plain = |option: &&&str| matches!(**option, "-p" | "-f" | "-a" | "-v" | "-n" | "--");
            let options = arguments.iter().take_while(plain).count();
            let [source, "%p"] = arguments.get(options..)? else { return None };
            let (directory, ending) = split_source(source)?;
            Some(Source::File { directory, ending, unpacks: false })
        }
        "gunzip" | "gzip" | "zcat" if to == Some("%p") => {
            let (options, files): (Vec<&str>, Vec<&str>) =
                arguments.iter().copied().partition(|argument| argument.starts_with('-'));
            let mut letters: Vec<char> = Vec::new();
            for option in options {
                letters.extend(option.strip_prefix('-')?.chars());
            }
            let unpacks = program != "gzip" || letters.contains(&'d');
            let fine = letters.iter().all(|letter| "dcqf".contains(*letter)) && unpacks;
            let by_name = program == "zcat" || letters.contains(&'c');
            let source = match (from, files.as_slice()) {
                (Some(source), []) => source,
                // By name gzip wants its own ending.
                (None, [source]) if by_name && source.ends_with(".gz") => source,
                _ => return None,
            };
            // With -f what is not packed is passed on.
            let (directory, ending) = split_source(source).filter(|_| fine && !letters.contains(&'f'))?;
            Some(Source::File { directory, ending, unpacks: true })
        }
        "pgbackrest" if (from, to) == (None, None) => pgbackrest(arguments),
        "barman" if to == Some("%p") && from.is_none() => {
            let (config, arguments) = match arguments {
                ["-c" | "--config", config, rest @ ..] => (Some((*config).to_owned()), rest),
                rest => (None, rest),
            };
            let ["get-wal", server, "%f"] = arguments else { return None };
            Some(Source::Barman { server: (*server).to_owned(), config, host: None })
        }
        "barman-wal-restore" if (from, to) == (None, None) => {
            let arguments = match arguments {
                ["-U" | "--user", _, rest @ ..] => rest,
                rest => rest,
            };
            let [host, server, "%f", "%p"] = arguments else { return None };
            Some(Source::Barman {
                server: (*server).to_owned(),
                config: None,
                host: Some((*host).to_owned()),
            })
        }
        _ => None,
    }
}

fn pgbackrest(arguments: &[&str]) -> Option<Source> {
    let (mut stanza, mut repository, mut config) = (None, None, None);
    let mut plain = Vec::new();
    for argument in arguments {
        let Some(option) = argument.strip_prefix("--") else {
            plain.push(*argument);
            continue;
        };
        let (name, value) = option.split_once('=')?;
        let value = Some(value.to_owned());
        match name {
            "stanza" => stanza = value,
            "repo1-path" => repository = value,
            "config" => config = value,
            // They do not change which file is found.
            "pg1-path" | "log-path" | "lock-path" | "spool-path" | "log-level-console" | "log-level-file" => {
            }
            _ => return None,
        }
    }
    (plain == ["archive-get", "%f", "%p"]).then_some(Source::PgBackRest { stanza, repository, config })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(directory: &str, ending: &str, unpacks: bool) -> Source {
        Source::File { directory: directory.to_owned(), ending: ending.to_owned(), unpacks }
    }

    #[test]
    fn what_is_plain() {
        let copy = || Some(vec![file("/mnt/archive", "", false)]);
        for command in [
            "cp /mnt/archive/%f %p",
            "cp \"/mnt/archive/%f\" \"%p\"",
            "/bin/cp '/mnt/archive/%f' '%p'",
            "cp -p /mnt/archive/%f %p",
            "test -f /mnt/archive/%f && cp /mnt/archive/%f %p",
            "[ -f /mnt/archive/%f ] && cp /mnt/archive/%f \"%p\"",
            "test ! -f %p && cp /mnt/archive/%f %p",
        ] {
            assert_eq!(parse(command), copy(), "{command}");
        }
        let packed = || Some(vec![file("/a", ".gz", true)]);
        for command in [
            "gunzip < /a/%f.gz > %p",
            "gunzip -c /a/%f.gz > \"%p\"",
            "gzip -dc /a/%f.gz > %p",
            "gzip -d -c < /a/%f.gz >%p",
            "zcat /a/%f.gz > %p",
        ] {
            assert_eq!(parse(command), packed(), "{command}");
        }
        let both = parse("cp '/my archive/%f' %p || gzip -dc /b/%f.gz > %p").unwrap();
        assert_eq!(both, [file("/my archive", "", false), file("/b", ".gz", true)]);
    }

    #[test]
    fn commands_of_tools() {
        let text = |text: &str| Some(text.to_owned());
        let one = |command: &str| parse(command).map(|sources| sources[0].clone());
        assert_eq!(
            one("pgbackrest --stanza=demo --repo1-path=/r archive-get %f \"%p\""),
            Some(Source::PgBackRest { stanza: text("demo"), repository: text("/r"), config: None })
        );
        assert_eq!(
            one("/usr/bin/barman -c /b.conf get-wal main %f > %p"),
            Some(Source::Barman { server: "main".to_owned(), config: text("/b.conf"), host: None })
        );
        assert_eq!(
            one("barman-wal-restore -U barman backup main %f %p"),
            Some(Source::Barman { server: "main".to_owned(), config: None, host: text("backup") })
        );
        assert_eq!(
            one("envdir /etc/wal-g.d/env wal-g wal-fetch \"%f\" \"%p\""),
            Some(Source::WalG { environment: text("/etc/wal-g.d/env"), prefix: None })
        );
    }

    #[test]
    fn what_is_not_sure_is_not_understood() {
        for command in [
            "",
            "cp archive/%f %p",
            "cp /a/%f %p; exit 0",
            "cp /a/%f %p || true",
            "cp $ARCHIVE/%f %p",
            "cp \"$HOME/%f\" %p",
            "cp /a/%f /tmp/x",
            "cp /a/%f %p 2>/dev/null",
            "cp /a/%f %p &",
            "cp /a*/%f %p",
            "cp /a/%f %p || test -f /b/%f && cp /b/%f %p",
            "test -f /b/%f && cp /a/%f %p",
            "gunzip -f < /a/%f.gz > %p",
            "gunzip /a/%f.gz > %p",
            "gzip /a/%f.gz > %p",
            "gunzip -c /a/%f > %p",
            "pgbackrest --stanza=demo --repo1-host=x archive-get %f %p",
            "pgbackrest archive-get %f %p --repo=2",
            "sudo -u barman barman get-wal main %f > %p",
            "rsync /a/%f %p",
            "cp '/a/%f %p",
        ] {
            assert_eq!(parse(command), None, "{command}");
        }
    }
}
