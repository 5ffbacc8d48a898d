//! The last lines a service wrote, where its output goes into a file.
//!
//! Nothing captures output for us: what goes to the kernel's log or to a terminal is gone from here. But a
//! file that a unit names for its output (`StandardOutput=file:…`, `append:…`, `truncate:…`) says what its
//! service said last, also when the service is dead and the manager with it.

use crate::args::Options;
use crate::files::Place;
use crate::verify;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use unit_service::config;
use unit_service::context::Output;
use units::name::UnitName;
use units::wire::helper::HelperConfig;

/// Lines shown unless `--lines=` says otherwise.
pub const LINES: usize = 10;
/// Of a file no more than this is looked at, from its end; bytes.
const TAIL: u64 = 64 << 10;

/// A file of output, and its last lines.
#[derive(Debug, PartialEq, Eq)]
pub struct Tail {
    /// Path, as the unit has it.
    pub file: String,
    /// The oldest first.
    pub lines: Vec<String>,
}

/// What a service wrote last: one entry for each file it writes to that can be read and is not empty.
pub fn of(options: &Options, unit: &str) -> Vec<Tail> {
    let Some(name) = UnitName::new(unit)
        .ok()
        .filter(|name| name.unit_type() == "service")
    else {
        return Vec::new();
    };
    let place = Place::of(options);
    let loaded = place.loader(place.path.clone()).load(&name);
    let reading = config::read(&verify::source(&loaded), &HelperConfig::default());
    let context = reading.config.context;
    let mut files = [file_of(&context.output), file_of(&context.error)];
    if files[0] == files[1] {
        files[1] = None;
    }
    let most = options.lines.unwrap_or(LINES);
    let tails = files.into_iter().flatten().map(|file| Tail {
        lines: tail(&below(&place.root, file), most).unwrap_or_default(),
        file: file.to_owned(),
    });
    tails.filter(|tail| !tail.lines.is_empty()).collect()
}

fn file_of(output: &Output) -> Option<&str> {
    match output {
        Output::File(path) | Output::Append(path) | Output::Truncate(path) => Some(path),
        _ => None,
    }
}

fn below(root: &Path, file: &str) -> PathBuf {
    root.join(file.trim_start_matches('/'))
}

/// The last lines of a regular file. A pipe or a device that a unit writes to is nobody's to read.
fn tail(path: &Path, most: usize) -> std::io::Result<Vec<String>> {
    if !path.metadata()?.is_file() {
        return Ok(Vec::new());
    }
    let mut file = File::open(path)?;
    let from = file.metadata()?.len().saturating_sub(TAIL);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    // Where the look begins within a line, that line is not whole.
    let whole = text.lines().skip(usize::from(from > 0));
    let lines: Vec<String> = whole.map(printable).collect();
    let skip = lines.len().saturating_sub(most);
    Ok(lines.into_iter().skip(skip).collect())
}

/// Without what a terminal would obey.
fn printable(line: &str) -> String {
    let line = line.chars().map(|c| match c {
        '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    });
    line.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &[u8]) -> PathBuf {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("sctl-tail-{}-{number}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn the_last_lines() {
        let path = file(b"one\ntwo\nthree\n");
        assert_eq!(tail(&path, 2).unwrap(), ["two", "three"]);
        assert_eq!(tail(&path, 9).unwrap(), ["one", "two", "three"]);
        assert!(tail(&path, 0).unwrap().is_empty());
    }

    #[test]
    fn a_line_that_is_cut_is_not_shown() {
        let mut content = vec![b'x'; 2 * TAIL as usize];
        content.extend(b"\nlast\n");
        assert_eq!(tail(&file(&content), 9).unwrap(), ["last"]);
    }

    #[test]
    fn nothing_a_terminal_obeys() {
        assert_eq!(
            tail(&file(b"a\x1b[2Jb\tc\xff\n"), 9).unwrap(),
            ["a\u{fffd}[2Jb c\u{fffd}"]
        );
    }

    #[test]
    fn what_is_no_file_is_not_read() {
        assert!(tail(Path::new("/dev/zero"), 9).unwrap().is_empty());
        assert!(tail(Path::new("/nonexistent/log"), 9).is_err());
    }
}
