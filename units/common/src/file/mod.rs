//! The syntax of unit files: bytes in, assignments with their file and line out.
//!
//! A file is a sequence of lines: section headers `[Name]`, assignments `Key=value`, comments
//! (first character `#` or `;`), and blank ones. White space around key and value is dropped. A
//! line that ends in an odd number of backslashes goes on in the next one: the last backslash
//! becomes a space, and the next line is appended without its leading white space; comment lines in
//! between are skipped. Nothing else is interpreted here: quotes, escapes and specifiers belong to
//! the value and mean something different from key to key (see [`crate::value`]).
//!
//! Merging a unit with its drop-ins is reading them one after another into the same [`UnitFile`]:
//! later assignments stand behind earlier ones, and an empty value tells whoever interprets a list
//! to begin anew ([`UnitFile::list`] does that).
//!
//! As systemd does: a byte order mark and any of LF, CR, CRLF are accepted; a line that is not
//! UTF-8 (outside comments), or is no assignment, or stands before the first section is ignored
//! with a warning; a broken section header, a NUL byte, a line over [`MAX_LINE`] are errors, and
//! here a file over [`MAX_FILE`] too. A name with control characters in it is none and ignored with
//! a warning: names are repeated in messages, which go to terminals. An error in a drop-in is an
//! error of the unit: half of a drop-in is worse than none. Sections named `X-…` are for others and
//! dropped.
//!
//! All text of a unit lies in one buffer, an assignment is 16 bytes beside it.

use crate::wire::helper::{Finding, RawEntry, Severity};
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Longest line in bytes, continuation lines joined.
pub const MAX_LINE: usize = 1024 * 1024;
/// Largest file in bytes.
pub const MAX_FILE: usize = 4 * 1024 * 1024;
/// Most assignments of one unit.
pub const MAX_ENTRIES: usize = 65_536;
/// Findings reported of one file; what is beyond is summed up in one more.
const MAX_FINDINGS: usize = 16;

/// One assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Section it stands in, without brackets.
    pub section: &'a str,
    /// Left of the first `=`.
    pub key: &'a str,
    /// Right of it, continuation lines joined. Empty means: begin anew.
    pub value: &'a str,
    /// Which of the files that were added.
    pub file: u16,
    /// Line, from 1; the first one of several.
    pub line: u32,
}

impl Entry<'_> {
    /// The same as the helpers get it.
    pub fn to_raw(&self) -> RawEntry {
        RawEntry {
            section: self.section.into(),
            key: self.key.into(),
            value: self.value.into(),
            file: self.file,
            line: self.line,
        }
    }

    /// A finding about this assignment.
    pub fn finding(&self, severity: Severity, text: String) -> Finding {
        Finding {
            severity,
            file: self.file,
            line: self.line,
            text,
        }
    }
}

impl<'a> From<&'a RawEntry> for Entry<'a> {
    fn from(raw: &'a RawEntry) -> Self {
        Self {
            section: &raw.section,
            key: &raw.key,
            value: &raw.value,
            file: raw.file,
            line: raw.line,
        }
    }
}

/// Where an assignment lies in the buffer: the key, and behind it the value.
#[derive(Clone, Copy, Debug)]
struct Slot {
    start: u32,
    value_len: u32,
    line: u32,
    key_len: u8,
    section: u8,
    file: u16,
}

/// The assignments of a unit: of its file and of its drop-ins, in the order they were added.
#[derive(Clone, Debug, Default)]
pub struct UnitFile {
    text: String,
    /// Names of the sections, each as a part of `text`.
    sections: Vec<(u32, u32)>,
    slots: Vec<Slot>,
}

impl UnitFile {
    /// No assignments yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the contents of a file behind what is there. `file` is its number in entries and
    /// findings. False if there was an error; what stands before it is kept.
    pub fn add(&mut self, file: u16, bytes: &[u8], findings: &mut Vec<Finding>) -> bool {
        self.text.reserve(bytes.len().min(MAX_FILE));
        let reader = Reader {
            out: self,
            findings,
            file,
            section: At::Start,
            reported: 0,
        };
        reader.run(bytes)
    }

    /// All assignments.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = Entry<'_>> {
        self.slots.iter().map(|slot| self.entry(slot))
    }

    /// The assignments of one section.
    pub fn section<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = Entry<'a>> {
        self.entries().filter(move |e| e.section == name)
    }

    /// The last assignment of a key, for keys that hold one value.
    pub fn last(&self, section: &str, key: &str) -> Option<Entry<'_>> {
        let may_be = |slot: &&Slot| usize::from(slot.key_len) == key.len();
        let slots = self.slots.iter().rev().filter(may_be);
        slots
            .map(|slot| self.entry(slot))
            .find(|e| e.section == section && e.key == key)
    }

    /// The assignments of a key since it was last assigned nothing, for keys that add up.
    pub fn list(&self, section: &str, key: &str) -> Vec<Entry<'_>> {
        let mut list = Vec::new();
        for entry in self
            .entries()
            .filter(|e| e.section == section && e.key == key)
        {
            if entry.value.is_empty() {
                list.clear();
            } else {
                list.push(entry);
            }
        }
        list
    }

    /// Whether there is no assignment at all.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Number of assignments.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    fn slice(&self, start: u32, len: u32) -> &str {
        let start = start as usize;
        self.text.get(start..start + len as usize).unwrap_or("")
    }

    fn entry(&self, slot: &Slot) -> Entry<'_> {
        let section = self
            .sections
            .get(usize::from(slot.section))
            .copied()
            .unwrap_or_default();
        let key_len = u32::from(slot.key_len);
        Entry {
            section: self.slice(section.0, section.1),
            key: self.slice(slot.start, key_len),
            value: self.slice(slot.start + key_len, slot.value_len),
            file: slot.file,
            line: slot.line,
        }
    }

    fn push_text(&mut self, text: &str) -> u32 {
        let start = self.text.len() as u32;
        self.text.push_str(text);
        start
    }

    /// The number of a section, if there is room for one more name.
    fn intern_section(&mut self, name: &str) -> Option<u8> {
        let known = self
            .sections
            .iter()
            .position(|(at, len)| self.slice(*at, *len) == name);
        let at = match known {
            Some(at) => at,
            None => {
                let start = self.push_text(name);
                self.sections.push((start, name.len() as u32));
                self.sections.len() - 1
            }
        };
        u8::try_from(at).ok()
    }
}

/// Which section the reader is in.
#[derive(Clone, Copy, PartialEq)]
enum At {
    /// Before the first one.
    Start,
    /// One whose assignments are kept.
    Section(u8),
    /// One that is for others.
    Foreign,
}

/// The state of reading one file.
struct Reader<'a> {
    out: &'a mut UnitFile,
    findings: &'a mut Vec<Finding>,
    file: u16,
    section: At,
    reported: usize,
}

/// A file that cannot be used; the finding is recorded already.
struct Broken;

impl Reader<'_> {
    fn run(mut self, bytes: &[u8]) -> bool {
        let result = self.file(bytes);
        if self.reported > MAX_FINDINGS {
            let more = self.reported - MAX_FINDINGS;
            self.findings.push(Finding {
                severity: Severity::Warning,
                file: self.file,
                line: 0,
                text: format!("{more} more lines of this file were ignored"),
            });
        }
        result.is_ok()
    }

    fn warn(&mut self, line: u32, text: String) {
        self.reported += 1;
        if self.reported <= MAX_FINDINGS {
            let (severity, file) = (Severity::Warning, self.file);
            self.findings.push(Finding {
                severity,
                file,
                line,
                text,
            });
        }
    }

    fn fail(&mut self, line: u32, text: String) -> Broken {
        let (severity, file) = (Severity::Error, self.file);
        self.findings.push(Finding {
            severity,
            file,
            line,
            text,
        });
        Broken
    }

    fn file(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        if bytes.len() > MAX_FILE {
            let text = format!(
                "the file has more than {} MiB, too much for a unit",
                MAX_FILE >> 20
            );
            return Err(self.fail(0, text));
        }
        if let Some(at) = bytes.iter().position(|b| *b == 0) {
            let line = 1 + bytes.iter().take(at).filter(|b| **b == b'\n').count();
            let text = "found a NUL byte: this is not a text file".into();
            return Err(self.fail(line as u32, text));
        }
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        // The whole at once is fast; only a file that fails is looked at line by line.
        match core::str::from_utf8(bytes) {
            Ok(text) => self.lines(Lines { rest: bytes }, Some(text)),
            Err(_) => self.lines(Lines { rest: bytes }, None),
        }
    }

    fn lines(&mut self, lines: Lines<'_>, whole: Option<&str>) -> Result<(), Broken> {
        let mut joined = Joined {
            text: Vec::new(),
            line: 0,
        };
        let mut number = 0u32;
        let mut at = 0;
        let total = lines.rest.len();
        let mut lines = lines;
        while let Some(raw) = lines.next() {
            number += 1;
            let begin = at;
            at = total - lines.rest.len();
            if raw.len() > MAX_LINE {
                return Err(self.too_long(number));
            }
            let blank = raw.iter().take_while(|b| b" \t".contains(b)).count();
            let part = raw.get(blank..).unwrap_or_default();
            if matches!(part.first(), Some(b'#' | b';')) {
                continue;
            }
            let backslashes = part.iter().rev().take_while(|b| **b == b'\\').count();
            let goes_on = backslashes % 2 == 1;
            if joined.line == 0 && !goes_on {
                // The usual line: a slice of the file, nothing is copied.
                let text = whole.and_then(|w| w.get(begin + blank..begin + raw.len()));
                self.line(number, text, part)?;
                continue;
            }
            if joined.line == 0 {
                joined.line = number;
            }
            joined.text.extend_from_slice(part);
            if joined.text.len() > MAX_LINE {
                return Err(self.too_long(joined.line));
            }
            if goes_on {
                if let Some(last) = joined.text.last_mut() {
                    *last = b' ';
                }
            } else {
                self.line(joined.line, None, &joined.text)?;
                joined.line = 0;
                joined.text.clear();
            }
        }
        if joined.line == 0 {
            Ok(())
        } else {
            self.line(joined.line, None, &joined.text)
        }
    }

    fn too_long(&mut self, line: u32) -> Broken {
        self.fail(
            line,
            "the line has more than 1 MiB, continuation lines joined".into(),
        )
    }

    /// One logical line. `text` is given where it is known to be UTF-8.
    fn line(&mut self, number: u32, text: Option<&str>, bytes: &[u8]) -> Result<(), Broken> {
        let text = match text.map_or_else(|| core::str::from_utf8(bytes), Ok) {
            Ok(text) => text.trim_matches(is_blank),
            Err(_) => {
                let lossy = String::from_utf8_lossy(bytes);
                let text = format!("found {}, not UTF-8; the line is ignored", quote(&lossy));
                self.warn(number, text);
                return Ok(());
            }
        };
        if text.is_empty() {
            return Ok(());
        }
        if let Some(header) = text.strip_prefix('[') {
            return self.header(number, header, text);
        }
        self.assignment(number, text)
    }

    fn header(&mut self, number: u32, header: &str, text: &str) -> Result<(), Broken> {
        let Some(name) = header.strip_suffix(']').filter(|n| !n.is_empty()) else {
            let text = format!(
                "found {}, expected a section header as [Service]",
                quote(text)
            );
            return Err(self.fail(number, text));
        };
        if name.starts_with("X-") {
            self.section = At::Foreign;
            return Ok(());
        }
        if name.contains(char::is_control) {
            let text = format!("found {}, expected a section's name; ignored", quote(text));
            self.warn(number, text);
            self.section = At::Foreign;
            return Ok(());
        }
        match self.out.intern_section(name) {
            Some(section) => self.section = At::Section(section),
            None => return Err(self.fail(number, "more than 256 different sections".into())),
        }
        Ok(())
    }

    fn assignment(&mut self, line: u32, text: &str) -> Result<(), Broken> {
        let section = match self.section {
            At::Section(section) => section,
            At::Foreign => return Ok(()),
            At::Start => {
                let text = format!("found {} before the first section; ignored", quote(text));
                self.warn(line, text);
                return Ok(());
            }
        };
        let sign = text.bytes().position(|b| b == b'=');
        let parts = sign.and_then(|at| Some((text.get(..at)?, text.get(at + 1..)?)));
        let Some((key, value)) = parts else {
            let text = format!("found {}, expected Key=value; ignored", quote(text));
            self.warn(line, text);
            return Ok(());
        };
        let (key, value) = (
            key.trim_end_matches(is_blank),
            value.trim_start_matches(is_blank),
        );
        let plain = key.bytes().all(|b| matches!(b, b' '..=b'~'));
        let is_name = !key.is_empty() && (plain || !key.contains(char::is_control));
        let Some(key_len) = u8::try_from(key.len()).ok().filter(|_| is_name) else {
            let text = format!(
                "found {}, expected a name left of “=”; ignored",
                quote(text)
            );
            self.warn(line, text);
            return Ok(());
        };
        if self.out.slots.len() >= MAX_ENTRIES || self.out.text.len() > 16 * MAX_FILE {
            return Err(self.fail(
                line,
                format!("more than {MAX_ENTRIES} assignments in one unit"),
            ));
        }
        let start = self.out.push_text(key);
        self.out.push_text(value);
        let (value_len, file) = (value.len() as u32, self.file);
        self.out.slots.push(Slot {
            start,
            value_len,
            line,
            key_len,
            section,
            file,
        });
        Ok(())
    }
}

/// Continuation lines put together so far; `line` is 0 while there are none.
struct Joined {
    text: Vec<u8>,
    line: u32,
}

/// Lines that end with LF, CR, CRLF or LFCR.
struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let end = self.rest.iter().position(|b| *b == b'\n' || *b == b'\r');
        let Some(end) = end else {
            return Some(core::mem::take(&mut self.rest));
        };
        let (line, rest) = self.rest.split_at_checked(end)?;
        self.rest = match rest {
            [b'\r', b'\n', rest @ ..] | [b'\n', b'\r', rest @ ..] | [_, rest @ ..] => rest,
            [] => rest,
        };
        Some(line)
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// What was found, for a message: in quotes, without control characters, at most 48 characters.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(48) + 8);
    out.push('“');
    for (i, c) in text.chars().enumerate() {
        if i == 48 {
            out.push('…');
            break;
        }
        out.push(if c.is_control() { '\u{fffd}' } else { c });
    }
    out.push('”');
    out
}

/// A finding as one line for people: `file:line: text`.
pub fn describe(finding: &Finding, files: &[String]) -> String {
    let file = files
        .get(usize::from(finding.file))
        .map_or("?", String::as_str);
    let place = match finding.line {
        0 => Cow::Borrowed(file),
        line => Cow::Owned(format!("{file}:{line}")),
    };
    format!("{place}: {}", finding.text)
}

/// The first error among findings, as one line for people: why a unit must not be started.
pub fn first_error(findings: &[Finding], files: &[String]) -> Option<String> {
    let error = findings.iter().find(|f| f.severity == Severity::Error)?;
    Some(describe(error, files))
}

#[cfg(test)]
mod tests;
