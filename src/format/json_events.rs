//! JSON as events, one after the other, with the messages of PostgreSQL's own parser.
//!
//! Manifests have hundreds of megabytes and their checks are made on the way, so that there is no tree of values here.
//! Nesting is counted, not recursed. Source: `pg_parse_json`, common/jsonapi.c.

/// `JSON_TD_MAX_STACK`: deeper is refused.
const DEEPEST: usize = 6400;

/// What comes next in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// `{`
    ObjectStart,
    /// `}`
    ObjectEnd,
    /// `[`
    ArrayStart,
    /// `]`
    ArrayEnd,
    /// The name before a colon.
    Field(Vec<u8>),
    /// A string without its escapes, or the text of a number or word.
    Scalar(Vec<u8>),
}

/// One token of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    String(Vec<u8>),
    Word(Vec<u8>),
    Mark(u8),
    End,
}

/// What may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    Value,
    /// After `[`.
    ValueOrEnd,
    /// After `{`.
    FieldOrEnd,
    /// After a comma in an object.
    Field,
    /// After a value.
    CommaOrEnd,
    Nothing,
}

/// Goes through a text; an error is the last item.
#[derive(Debug)]
pub struct JsonEvents<'a> {
    text: &'a [u8],
    at: usize,
    /// The brackets that are open.
    open: Vec<u8>,
    expect: Expect,
}

impl<'a> JsonEvents<'a> {
    /// At its beginning.
    pub fn new(text: &'a [u8]) -> JsonEvents<'a> {
        JsonEvents { text, at: 0, open: Vec::new(), expect: Expect::Value }
    }

    fn step(&mut self) -> Result<Option<Event>, String> {
        loop {
            let before = self.at;
            let token = self.token()?;
            let found =
                || String::from_utf8_lossy(self.text.get(before..self.at).unwrap_or_default().trim_ascii());
            let unexpected = |expected: &str| match token {
                Token::End => "The input string ended unexpectedly.".to_owned(),
                _ => format!("{expected}, but found \"{}\".", found()),
            };
            let in_object = self.open.last() == Some(&b'{');
            return match (self.expect, &token) {
                (Expect::Nothing, Token::End) => Ok(None),
                (Expect::Nothing, _) => Err(unexpected("Expected end of input")),
                (Expect::CommaOrEnd, Token::Mark(b',')) => {
                    self.expect = if in_object { Expect::Field } else { Expect::Value };
                    continue;
                }
                (Expect::CommaOrEnd | Expect::FieldOrEnd, Token::Mark(b'}')) if in_object => {
                    self.close();
                    Ok(Some(Event::ObjectEnd))
                }
                (Expect::CommaOrEnd | Expect::ValueOrEnd, Token::Mark(b']')) if !in_object => {
                    self.close();
                    Ok(Some(Event::ArrayEnd))
                }
                (Expect::CommaOrEnd, _) if in_object => Err(unexpected("Expected \",\" or \"}\"")),
                (Expect::CommaOrEnd, _) => Err(unexpected("Expected \",\" or \"]\"")),
                (Expect::FieldOrEnd | Expect::Field, Token::String(_)) => self.field(token),
                (Expect::FieldOrEnd, _) => Err(unexpected("Expected string or \"}\"")),
                (Expect::Field, _) => Err(unexpected("Expected string")),
                (_, Token::Mark(mark @ (b'{' | b'['))) => self.open(*mark).map(Some),
                (_, Token::String(_) | Token::Word(_)) => {
                    self.after_value();
                    let (Token::String(value) | Token::Word(value)) = token else { return Ok(None) };
                    Ok(Some(Event::Scalar(value)))
                }
                (Expect::ValueOrEnd, _) => Err(unexpected("Expected array element or \"]\"")),
                (Expect::Value, _) => Err(unexpected("Expected JSON value")),
            };
        }
    }

    fn field(&mut self, name: Token) -> Result<Option<Event>, String> {
        let before = self.at;
        match self.token()? {
            Token::Mark(b':') => {}
            Token::End => return Err("The input string ended unexpectedly.".to_owned()),
            _ => {
                let found = self.text.get(before..self.at).unwrap_or_default().trim_ascii();
                return Err(format!("Expected \":\", but found \"{}\".", String::from_utf8_lossy(found)));
            }
        }
        self.expect = Expect::Value;
        let (Token::String(name) | Token::Word(name)) = name else { return Ok(None) };
        Ok(Some(Event::Field(name)))
    }

    fn open(&mut self, mark: u8) -> Result<Event, String> {
        if self.open.len() >= DEEPEST {
            return Err(format!("JSON nested too deep, maximum permitted depth is {DEEPEST}."));
        }
        self.open.push(mark);
        let object = mark == b'{';
        self.expect = if object { Expect::FieldOrEnd } else { Expect::ValueOrEnd };
        Ok(if object { Event::ObjectStart } else { Event::ArrayStart })
    }

    fn close(&mut self) {
        self.open.pop();
        self.after_value();
    }

    fn after_value(&mut self) {
        self.expect = if self.open.is_empty() { Expect::Nothing } else { Expect::CommaOrEnd };
    }

    fn token(&mut self) -> Result<Token, String> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let blank = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
        self.at += blank;
        let rest = self.text.get(self.at..).unwrap_or_default();
        let Some(first) = rest.first() else { return Ok(Token::End) };
        match first {
            b'{' | b'}' | b'[' | b']' | b',' | b':' => {
                self.at += 1;
                Ok(Token::Mark(*first))
            }
            b'"' => self.string(),
            _ => {
                let part = |byte: &&u8| {
                    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+' | b'.' | 0x80..)
                };
                let length = rest.iter().take_while(part).count().max(1);
                let word = rest.get(..length).unwrap_or_default();
                self.at += length;
                if matches!(word, b"true" | b"false" | b"null") || is_number(word) {
                    return Ok(Token::Word(word.to_vec()));
                }
                Err(format!("Token \"{}\" is invalid.", String::from_utf8_lossy(word)))
            }
        }
    }

    fn string(&mut self) -> Result<Token, String> {
        let start = self.text.get(self.at..).unwrap_or_default();
        let ended = || format!("Token \"{}\" is invalid.", String::from_utf8_lossy(start));
        let mut value = Vec::new();
        self.at += 1;
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let plain = rest.iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..32)).count();
            value.extend(rest.get(..plain).unwrap_or_default());
            self.at += plain + 1;
            match rest.get(plain) {
                None => return Err(ended()),
                Some(b'"') => return Ok(Token::String(value)),
                Some(b'\\') => {
                    let escape = self.text.get(self.at).ok_or_else(ended)?;
                    self.at += 1;
                    match escape {
                        b'"' | b'\\' | b'/' => value.push(*escape),
                        b'b' => value.push(8),
                        b'f' => value.push(12),
                        b'n' => value.push(b'\n'),
                        b'r' => value.push(b'\r'),
                        b't' => value.push(b'\t'),
                        b'u' => self.code_point(&mut value)?,
                        other => {
                            let other = String::from_utf8_lossy(std::slice::from_ref(other)).into_owned();
                            return Err(format!("Escape sequence \"\\{other}\" is invalid."));
                        }
                    }
                }
                Some(control) => {
                    return Err(format!("Character with value 0x{control:02x} must be escaped."));
                }
            }
        }
    }

    /// `\uXXXX`, or two of them for one character.
    fn code_point(&mut self, value: &mut Vec<u8>) -> Result<(), String> {
        let high = self.four_digits()?;
        let code = match high {
            0 => return Err("\\u0000 cannot be converted to text.".to_owned()),
            0xD800..0xDC00 => {
                let follows = self.text.get(self.at..self.at + 2) == Some(b"\\u");
                self.at += if follows { 2 } else { 0 };
                let low = if follows { self.four_digits()? } else { 0 };
                if !(0xDC00..0xE000).contains(&low) {
                    return Err("Unicode low surrogate must follow a high surrogate.".to_owned());
                }
                0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)
            }
            0xDC00..0xE000 => return Err("Unicode low surrogate must follow a high surrogate.".to_owned()),
            code => code,
        };
        let mut buffer = [0; 4];
        value.extend(
            char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER).encode_utf8(&mut buffer).bytes(),
        );
        Ok(())
    }

    fn four_digits(&mut self) -> Result<u32, String> {
        let digits =
            self.text.get(self.at..self.at + 4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let number =
            digits.and_then(|digits| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        self.at += 4;
        number.ok_or_else(|| "\"\\u\" must be followed by four hexadecimal digits.".to_owned())
    }
}

impl Iterator for JsonEvents<'_> {
    type Item = Result<Event, String>;

    fn next(&mut self) -> Option<Result<Event, String>> {
        let event = self.step().transpose();
        if matches!(event, Some(Err(_))) {
            (self.text, self.at, self.expect) = (&[], 0, Expect::Nothing);
        }
        event
    }
}

/// `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`
fn is_number(word: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let word = word.strip_prefix(b"-").unwrap_or(word);
    let whole = digits(word);
    if whole == 0 || whole > 1 && word.first() == Some(&b'0') {
        return false;
    }
    let mut rest = word.get(whole..).unwrap_or_default();
    if let Some(fraction) = rest.strip_prefix(b".") {
        let count = digits(fraction);
        if count == 0 {
            return false;
        }
        rest = fraction.get(count..).unwrap_or_default();
    }
    if let Some((b'e' | b'E', exponent)) = rest.split_first() {
        let exponent = exponent.strip_prefix(b"+").or(exponent.strip_prefix(b"-")).unwrap_or(exponent);
        return digits(exponent) > 0 && digits(exponent) == exponent.len();
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str) -> Result<Vec<Event>, String> {
        JsonEvents::new(text.as_bytes()).collect()
    }

    #[test]
    fn events_of_a_text() {
        let scalar = |text: &str| Event::Scalar(text.as_bytes().to_vec());
        let field = |text: &str| Event::Field(text.as_bytes().to_vec());
        assert_eq!(
            events(" {\"a\": [1, -2.5e3, true, \"x\\u00e9\\ud83d\\ude00\\n\"], \"b\": {}} ").unwrap(),
            [
                Event::ObjectStart,
                field("a"),
                Event::ArrayStart,
                scalar("1"),
                scalar("-2.5e3"),
                scalar("true"),
                scalar("xé😀\n"),
                Event::ArrayEnd,
                field("b"),
                Event::ObjectStart,
                Event::ObjectEnd,
                Event::ObjectEnd
            ]
        );
    }

    #[test]
    fn errors_in_the_words_of_the_server() {
        for (text, expected) in [
            ("", "The input string ended unexpectedly."),
            ("{\"a\"", "The input string ended unexpectedly."),
            ("{\"a", "Token \"\"a\" is invalid."),
            ("[1 2]", "Expected \",\" or \"]\", but found \"2\"."),
            ("{1", "Expected string or \"}\", but found \"1\"."),
            ("{\"a\" 1}", "Expected \":\", but found \"1\"."),
            ("[x1]", "Token \"x1\" is invalid."),
            ("[01]", "Token \"01\" is invalid."),
            ("{} {}", "Expected end of input, but found \"{\"."),
            ("\"\u{1}\"", "Character with value 0x01 must be escaped."),
            ("[\"\\q\"]", "Escape sequence \"\\q\" is invalid."),
        ] {
            assert_eq!(events(text).unwrap_err(), expected, "{text}");
        }
        assert!(events(&"[".repeat(100_000)).unwrap_err().starts_with("JSON nested too deep"));
    }
}
