//! The processes of a unit, as the kernel tells: its cgroup, and those below it.
//!
//! Nothing here can fail: a process that has just ended, or a machine without cgroups, is a line
//! that is not there. Command lines are untrusted text and stripped of control characters.

use crate::style::Style;
use std::path::{Path, PathBuf};

/// Most processes shown of one unit; more are counted.
const MANY: usize = 64;

/// Most levels of cgroups below a unit.
const DEEP: usize = 8;

/// A cgroup below another.
pub struct Group {
    /// Name of its directory.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
}

/// The directory of a cgroup path of the manager's; `None` without cgroups. The manager's paths
/// begin where it was started: at the mount point, or, in a container, at a group above ours.
pub fn place(cgroup: &str) -> Option<PathBuf> {
    let hierarchy = platform::cgroup::detect()?;
    let below = cgroup.trim_start_matches('/');
    hierarchy
        .own
        .ancestors()
        .take_while(|path| path.starts_with(&hierarchy.mount))
        .map(|path| path.join(below))
        .filter(|path| path.join("cgroup.procs").exists())
        .last()
}

/// Short name of a process; empty if it is gone.
pub fn name(pid: u32) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    clean(text.trim_end())
}

/// Lines that show the processes below a cgroup path of the manager's.
pub fn tree(style: &Style, cgroup: &str) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(path) = place(cgroup) {
        grow(style, &path, "", DEEP, &mut lines);
    }
    lines
}

fn grow(style: &Style, path: &Path, before: &str, depth: usize, lines: &mut Vec<String>) {
    let [branch, last, through, gap] = style.branches();
    let pids = processes(path);
    let groups = if depth == 0 { Vec::new() } else { groups(path) };
    let shown = pids.len().min(MANY);
    for (index, pid) in pids.iter().take(MANY).enumerate() {
        let end = groups.is_empty() && index + 1 == pids.len();
        lines.push(format!(
            "{before}{}{pid} {}",
            if end { last } else { branch },
            command(*pid)
        ));
    }
    if shown < pids.len() {
        let end = if groups.is_empty() { last } else { branch };
        lines.push(format!("{before}{end}and {} more", pids.len() - shown));
    }
    for (index, group) in groups.iter().enumerate() {
        let end = index + 1 == groups.len();
        lines.push(format!(
            "{before}{}{}",
            if end { last } else { branch },
            clean(&group.name)
        ));
        let inner = format!("{before}{}", if end { gap } else { through });
        grow(style, &group.path, &inner, depth - 1, lines);
    }
}

/// Processes directly in a cgroup, in order.
pub fn processes(path: &Path) -> Vec<u32> {
    let text = std::fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    let mut pids: Vec<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    pids.sort_unstable();
    pids
}

/// The cgroups directly below one, by name.
pub fn groups(path: &Path) -> Vec<Group> {
    let mut groups: Vec<Group> = std::fs::read_dir(path)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| Group {
            name: entry.file_name().to_string_lossy().into_owned(),
            path: entry.path(),
        })
        .collect();
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    groups
}

/// Command line of a process, or its name in brackets where it has none.
pub fn command(pid: u32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes)
        .trim_end_matches('\0')
        .replace('\0', " ");
    if text.is_empty() {
        format!("({})", name(pid))
    } else {
        clean(&text)
    }
}

fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_process_has_a_command_line_and_nothing_else_has() {
        assert!(command(std::process::id()).contains("sctl"));
        assert_eq!(command(u32::MAX), "()");
        assert_eq!(clean("a\u{1b}[31mb"), "a?[31mb");
    }

    #[test]
    fn a_made_up_hierarchy_is_drawn() {
        let dir = std::env::temp_dir().join(format!("sctl-processes-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("payload/inner")).unwrap();
        std::fs::write(dir.join("cgroup.procs"), "4294967295\n").unwrap();
        std::fs::write(dir.join("payload/cgroup.procs"), "").unwrap();
        std::fs::write(dir.join("payload/inner/cgroup.procs"), "4294967294\n").unwrap();
        let style = Style {
            colour: false,
            width: None,
            unicode: true,
        };
        let mut lines = Vec::new();
        grow(&style, &dir, "", DEEP, &mut lines);
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(
            lines,
            [
                "├─4294967295 ()",
                "└─payload",
                "  └─inner",
                "    └─4294967294 ()"
            ]
        );
    }
}
