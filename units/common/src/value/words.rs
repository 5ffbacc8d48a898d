//! Words with quotes and escapes, as the shell has them but simpler (systemd.syntax(7), “Quoting”).
//!
//! Words are separated by white space. `"…"` and `'…'` keep white space, may begin anywhere in a
//! word, and are removed. What a backslash does depends on the directive: see [`Escapes`].

use super::ValueError;
use alloc::string::String;
use alloc::vec::Vec;

/// What a backslash means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escapes {
    /// `\n`, `\x41`, `\101`, `\u…`, `\s` … as in C; what is none of those is an error.
    C,
    /// Nothing: it stays (unit names are full of them).
    Keep,
    /// The next character stands for itself.
    Drop,
}

/// The words of a value, one by one.
#[derive(Clone, Debug)]
pub struct Words<'a> {
    rest: &'a str,
    escapes: Escapes,
    /// A quote without its end closes at the end of the text instead of being an error.
    relaxed: bool,
}

/// Whether a character separates words.
pub fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

impl<'a> Words<'a> {
    /// Words with C escapes: command lines, environments.
    pub fn new(text: &'a str) -> Self {
        Self {
            rest: text,
            escapes: Escapes::C,
            relaxed: false,
        }
    }

    /// Words whose backslashes stay: lists of units and paths.
    pub fn plain(text: &'a str) -> Self {
        Self {
            rest: text,
            escapes: Escapes::Keep,
            relaxed: false,
        }
    }

    /// The words an unquoted `$VARIABLE` falls into; never an error.
    pub fn relaxed(text: &'a str) -> Self {
        Self {
            rest: text,
            escapes: Escapes::Drop,
            relaxed: true,
        }
    }

    /// What is left behind the last word, without leading white space.
    pub fn rest(&self) -> &'a str {
        self.rest.trim_start_matches(is_blank)
    }

    /// Goes on at this place, which is a part of [`Words::rest`].
    pub fn seek(&mut self, rest: &'a str) {
        self.rest = rest;
    }

    fn word(&mut self, text: &'a str) -> Result<String, ValueError> {
        let end = text.find(is_blank).unwrap_or(text.len());
        if let Some((word, rest)) = text.split_at_checked(end) {
            // Most words are plain.
            if !word.bytes().any(|b| matches!(b, b'"' | b'\'' | b'\\')) {
                self.rest = rest;
                return Ok(word.into());
            }
        }
        let mut word = Vec::new();
        let mut quote = None;
        let mut rest = text;
        loop {
            let mut chars = rest.chars();
            let Some(c) = chars.next() else {
                if quote.is_some() && !self.relaxed {
                    return Err(ValueError::new(text, "the other quotation mark at its end"));
                }
                break;
            };
            let after = chars.as_str();
            rest = match (c, quote) {
                ('\\', _) if self.escapes != Escapes::Keep => self.escape(after, &mut word)?,
                (_, Some(q)) if c == q => {
                    quote = None;
                    after
                }
                ('"' | '\'', None) => {
                    quote = Some(c);
                    after
                }
                (_, None) if is_blank(c) => break,
                _ => {
                    word.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    after
                }
            };
        }
        self.rest = rest;
        String::from_utf8(word)
            .map_err(|_| ValueError::new(text, "escapes that make valid UTF-8 text"))
    }

    /// What stands behind a backslash; gives what is left.
    fn escape(&self, after: &'a str, word: &mut Vec<u8>) -> Result<&'a str, ValueError> {
        let mut chars = after.chars();
        match (chars.next(), self.escapes) {
            (None, Escapes::Drop) => Ok(after),
            (Some(c), Escapes::Drop) => {
                word.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                Ok(chars.as_str())
            }
            _ => c_escape(after, word).ok_or_else(|| {
                let expected = "“\\” followed by one of a b f n r t v s \\ \" ' xHH ooo uHHHH";
                let end = after.char_indices().nth(4).map_or(after.len(), |(i, _)| i);
                let found = ["\\", after.get(..end).unwrap_or("")].concat();
                ValueError::new(&found, expected)
            }),
        }
    }
}

/// The byte or character a C escape stands for, without its backslash; gives what is left.
fn c_escape<'a>(after: &'a str, word: &mut Vec<u8>) -> Option<&'a str> {
    let (first, rest) = after.split_at_checked(1)?;
    let simple = match first {
        "a" => 7,
        "b" => 8,
        "f" => 12,
        "n" => b'\n',
        "r" => b'\r',
        "t" => b'\t',
        "v" => 11,
        "s" => b' ',
        "\\" => b'\\',
        "\"" => b'"',
        "'" => b'\'',
        "x" => return number(rest, 2, 16, word, false),
        "u" => return number(rest, 4, 16, word, true),
        "U" => return number(rest, 8, 16, word, true),
        "0" | "1" | "2" | "3" => return number(after, 3, 8, word, false),
        _ => return None,
    };
    word.push(simple);
    Some(rest)
}

/// A number of exactly so many digits, as a byte or a character; never NUL.
fn number<'a>(
    text: &'a str,
    digits: usize,
    radix: u32,
    word: &mut Vec<u8>,
    is_char: bool,
) -> Option<&'a str> {
    let (number, rest) = text.split_at_checked(digits)?;
    if !number.bytes().all(|b| (b as char).is_digit(radix)) {
        return None;
    }
    let value = u32::from_str_radix(number, radix)
        .ok()
        .filter(|v| *v != 0)?;
    if is_char {
        word.extend_from_slice(char::from_u32(value)?.encode_utf8(&mut [0; 4]).as_bytes());
    } else {
        word.push(u8::try_from(value).ok()?);
    }
    Some(rest)
}

impl Iterator for Words<'_> {
    type Item = Result<String, ValueError>;

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.rest();
        if text.is_empty() {
            self.rest = text;
            return None;
        }
        let word = self.word(text);
        if word.is_err() {
            self.rest = "";
        }
        Some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn c(text: &str) -> Result<Vec<String>, ValueError> {
        Words::new(text).collect()
    }

    #[test]
    fn quotes_and_escapes() {
        assert_eq!(c("").unwrap(), [""; 0]);
        assert_eq!(c("  a\t b ").unwrap(), ["a", "b"]);
        assert_eq!(
            c(r#""two words" 'x "y"' fo"o b"ar "" "#).unwrap(),
            ["two words", "x \"y\"", "foo bar", ""]
        );
        assert_eq!(
            c(r#"\x41\102\n "\"" '\'' a\sb \u00e4\U0001f600 \xc3\xa4"#).unwrap(),
            ["AB\n", "\"", "'", "a b", "ä😀", "ä"]
        );
    }

    #[test]
    fn errors() {
        for bad in [
            "\"a", "'a", "a\\", "\\q", "\\x4", "\\xzz", "\\x00", "\\000", "\\400", "\\ud800",
            "\\xff", "\\ä", "\\x+1",
        ] {
            assert!(c(bad).is_err(), "{bad}");
        }
        let mut words = Words::new("ok \\q more");
        assert!(words.next().unwrap().is_ok());
        assert!(words.next().unwrap().is_err());
        assert!(words.next().is_none());
    }

    #[test]
    fn the_other_kinds() {
        let plain: Result<Vec<_>, _> = Words::plain(r#"dev-a\x2db.device "x y""#).collect();
        assert_eq!(plain.unwrap(), [r"dev-a\x2db.device", "x y"]);
        let relaxed: Result<Vec<_>, _> = Words::relaxed(r#"-a "b c" d\ e 'f"#).collect();
        assert_eq!(relaxed.unwrap(), ["-a", "b c", "d e", "f"]);
    }

    #[test]
    fn every_cut_is_harmless() {
        let text = r#"a "b\x41 ä" 'c' \u00e4 \101 "#;
        for (i, _) in text.char_indices() {
            let _ = c(&text[..i]);
            let _ = c(&text[i..]);
        }
    }
}
