//! The processes of a namespace, seen from the host.

use std::fs;
use std::path::PathBuf;

/// A process at one moment. Two are the same process if number and start time agree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Proc {
    /// Number on the host.
    pub pid: u32,
    /// Start time in ticks since boot.
    pub start: u64,
    /// Number of its parent on the host.
    pub parent: u32,
    /// `R`, `S`, `T`, `Z` …
    pub state: char,
    /// Short name.
    pub name: String,
    /// Arguments, joined by spaces; empty for a zombie.
    pub command: String,
}

impl Proc {
    /// What identifies it.
    pub fn id(&self) -> platform::process::ProcId {
        platform::process::ProcId {
            pid: self.pid,
            start: self.start,
        }
    }

    /// Sends a signal; a process that is gone already is no error.
    pub fn signal(&self, signal: i32) {
        let _ = platform::process::kill(self.id(), signal);
    }

    /// Whether it still runs.
    pub fn is_alive(&self) -> bool {
        read(self.pid).is_some_and(|now| now.start == self.start && now.state != 'Z')
    }
}

/// One process; `None` if there is none of this number.
pub fn read(pid: u32) -> Option<Proc> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, tail) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    let fields: Vec<&str> = tail.split_whitespace().collect();
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let command = String::from_utf8_lossy(&command);
    Some(Proc {
        pid,
        start: fields.get(19)?.parse().ok()?,
        parent: fields.get(1)?.parse().ok()?,
        state: fields.first()?.chars().next()?,
        name,
        command: command.trim_end_matches('\0').replace('\0', " "),
    })
}

/// The namespace of processes a process is in.
pub fn namespace(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/pid")).ok()
}

/// All processes of a namespace, zombies among them, by number.
pub fn all(namespace_of: u32) -> Vec<Proc> {
    let Some(wanted) = namespace(namespace_of) else {
        return Vec::new();
    };
    let mut found: Vec<Proc> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| namespace(*pid).as_ref() == Some(&wanted))
        .filter_map(read)
        .collect();
    found.sort();
    found
}

/// The only child of a process, once it has one.
pub fn child_of(pid: u32) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    text.split_whitespace().next()?.parse().ok()
}
