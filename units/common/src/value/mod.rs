//! What stands right of `=`: the kinds of values directives take.
//!
//! Each function takes the text of a value and gives what it means or a [`ValueError`] that says
//! what was found and what was expected. Nothing here knows which directive it reads, does I/O or
//! keeps state. Spellings, units and limits are systemd's (systemd.syntax(7), systemd.time(7),
//! systemd.exec(5)).

pub mod environ;
pub mod exec;
pub mod exit;
pub mod rlimit;
pub mod signal;
pub mod size;
pub mod specifier;
pub mod time;
pub mod words;

use crate::file::quote;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// A value that means nothing where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueError {
    /// What was found, shortened for people and in quotes.
    pub found: String,
    /// What was expected, as the end of a sentence.
    pub expected: &'static str,
}

impl ValueError {
    /// An error about this text.
    pub fn new(found: &str, expected: &'static str) -> Self {
        Self {
            found: quote(found),
            expected,
        }
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "found {}, expected {}", self.found, self.expected)
    }
}

impl core::error::Error for ValueError {}

/// The words of a value with quotes and C escapes: see [`words::Words`].
pub fn split_words(text: &str) -> Result<Vec<String>, ValueError> {
    words::Words::new(text).collect()
}

/// A boolean: `1 yes y true t on`, `0 no n false f off`, in any case.
pub fn boolean(text: &str) -> Result<bool, ValueError> {
    let is = |words: &[&str]| words.iter().any(|w| w.eq_ignore_ascii_case(text));
    if is(&["1", "yes", "y", "true", "t", "on"]) {
        Ok(true)
    } else if is(&["0", "no", "n", "false", "f", "off"]) {
        Ok(false)
    } else {
        Err(ValueError::new(text, "yes or no"))
    }
}

/// A number without sign: decimal, `0x…`, `0o…`, `0b…`, or octal with a leading 0.
pub fn unsigned(text: &str) -> Result<u64, ValueError> {
    let wrong = || ValueError::new(text, "a whole number, not negative");
    let digits = text.trim();
    let (digits, radix) = match digits.get(..2) {
        Some("0x" | "0X") => (digits.get(2..).unwrap_or(""), 16),
        Some("0o" | "0O") => (digits.get(2..).unwrap_or(""), 8),
        Some("0b" | "0B") => (digits.get(2..).unwrap_or(""), 2),
        Some(two) if two.starts_with('0') => (digits, 8),
        _ => (digits, 10),
    };
    if !digits.starts_with(|c: char| c.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    u64::from_str_radix(digits, radix).map_err(|_| wrong())
}

/// A number that fits 32 bits, without sign.
pub fn unsigned32(text: &str) -> Result<u32, ValueError> {
    let value = unsigned(text)?;
    u32::try_from(value).map_err(|_| ValueError::new(text, "a number below 4294967296"))
}

/// A decimal number with sign, within these bounds (both included). `expected` describes them.
pub fn signed(text: &str, low: i32, high: i32, expected: &'static str) -> Result<i32, ValueError> {
    let value: i32 = text
        .trim()
        .parse()
        .map_err(|_| ValueError::new(text, expected))?;
    if (low..=high).contains(&value) {
        Ok(value)
    } else {
        Err(ValueError::new(text, expected))
    }
}

/// A file mode in octal, 0 to 7777.
pub fn mode(text: &str) -> Result<u32, ValueError> {
    let wrong = || ValueError::new(text, "a file mode in octal, as 0755");
    let value = if text.bytes().all(|b| b.is_ascii_digit()) {
        u32::from_str_radix(text, 8).map_err(|_| wrong())?
    } else {
        return Err(wrong());
    };
    if value <= 0o7777 {
        Ok(value)
    } else {
        Err(wrong())
    }
}

/// An absolute path in its shortest spelling: without `//`, `/./` and a slash at its end. `..` is
/// refused.
pub fn absolute_path(text: &str) -> Result<String, ValueError> {
    if !text.starts_with('/') {
        return Err(ValueError::new(text, "an absolute path"));
    }
    if text.len() >= 4096 {
        return Err(ValueError::new(text, "a path of less than 4096 bytes"));
    }
    let mut path = String::with_capacity(text.len());
    for part in text.split('/').filter(|p| !p.is_empty() && *p != ".") {
        if part == ".." {
            return Err(ValueError::new(text, "a path without “..”"));
        }
        path.push('/');
        path.push_str(part);
    }
    if path.is_empty() {
        path.push('/');
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans() {
        for yes in ["1", "yes", "Y", "TRUE", "t", "On"] {
            assert_eq!(boolean(yes), Ok(true), "{yes}");
        }
        for no in ["0", "no", "N", "False", "f", "OFF"] {
            assert_eq!(boolean(no), Ok(false), "{no}");
        }
        for bad in ["", "2", "ja", "yes ", "onn"] {
            assert!(boolean(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers() {
        assert_eq!(unsigned("1024"), Ok(1024));
        assert_eq!(unsigned("0x10"), Ok(16));
        assert_eq!(unsigned("010"), Ok(8));
        assert_eq!(unsigned("0"), Ok(0));
        assert_eq!(unsigned("18446744073709551615"), Ok(u64::MAX));
        for bad in [
            "",
            "-1",
            "+1",
            "1.5",
            "18446744073709551616",
            "0x",
            "09",
            "0x+1",
            "ä",
        ] {
            assert!(unsigned(bad).is_err(), "{bad}");
        }
        assert!(unsigned32("4294967296").is_err());
        assert_eq!(signed("-20", -20, 19, ""), Ok(-20));
        assert!(signed("20", -20, 19, "").is_err());
    }

    #[test]
    fn modes_and_paths() {
        assert_eq!(mode("0755"), Ok(0o755));
        assert_eq!(mode("2775"), Ok(0o2775));
        for bad in ["", "8", "10000", "rwx", "-1"] {
            assert!(mode(bad).is_err(), "{bad}");
        }
        assert_eq!(absolute_path("//a/./b//").unwrap(), "/a/b");
        assert_eq!(absolute_path("/").unwrap(), "/");
        assert!(absolute_path("a/b").is_err());
        assert!(absolute_path("/a/../b").is_err());
    }

    #[test]
    fn errors_are_for_people() {
        let text = alloc::format!("{}", boolean("perhaps\n").unwrap_err());
        assert_eq!(text, "found “perhaps\u{fffd}”, expected yes or no");
    }
}
