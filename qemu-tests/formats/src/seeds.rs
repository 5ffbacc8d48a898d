//! The inputs a run begins with: `seeds/NAME.txt`, one a line, escaped as Rust writes bytes.
//!
//! Lines that begin with `#` say what the next ones are, or once broke.

use std::path::PathBuf;

/// The file of a target.
pub fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("seeds/{name}.txt"))
}

/// The inputs in a file's text.
pub fn parse(text: &str) -> Vec<Vec<u8>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(unescape).collect()
}

/// Those of a target; none if it has no file.
pub fn of(name: &str) -> Vec<Vec<u8>> {
    parse(&std::fs::read_to_string(file(name)).unwrap_or_default())
}

/// An input as a line.
pub fn escape(bytes: &[u8]) -> String {
    let text = bytes.escape_ascii().to_string();
    match text.strip_prefix('#') {
        Some(rest) => format!("\\x23{rest}"),
        None => text,
    }
}

fn unescape(line: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = line.bytes();
    while let Some(byte) = rest.next() {
        let escaped = if byte == b'\\' { rest.next() } else { None };
        bytes.push(match escaped {
            None => byte,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'x') => {
                let digits = [rest.next(), rest.next()]
                    .map(|digit| char::from(digit.unwrap_or(b'?')).to_digit(16));
                let [Some(high), Some(low)] = digits else {
                    panic!("a seed with a bad escape: {line}");
                };
                (high * 16 + low) as u8
            }
            Some(other) => other,
        });
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_its_line() {
        let all: Vec<u8> = (0..=255).collect();
        for bytes in [&all[..], b"# no comment", b"", b"\\x41\n"] {
            let text = escape(bytes);
            assert_eq!(parse(&format!("# a comment\n{text}\n")), [bytes]);
        }
    }
}
