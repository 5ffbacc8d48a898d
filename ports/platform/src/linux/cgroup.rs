//! Control groups, version 2: where a service's processes are, and how to reach them all.
//!
//! Only the membership is used here, no controller, so a group costs little. Version 1 cannot
//! tell reliably when a group is empty and has no way to kill one; machines with nothing else are
//! treated as having none, which [`detect`] says once.
//!
//! A group is named by its absolute path in the file system.

use super::files::c_path;
use super::poll::Interest;
use super::process::{self, ProcId};
use super::sys::{self, check};
use super::{degrade, fd, files};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// How deep below a group its subgroups are looked at; deeper ones are left alone.
const MAX_DEPTH: usize = 16;
/// How often the members of a group are gone through to kill all of them, where the kernel cannot
/// do that in one step: a forking process can make new ones in between, but not for ever.
const KILL_ROUNDS: usize = 32;

/// Where the version 2 hierarchy is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its mount point, as seen by us.
    pub mount: PathBuf,
    /// The group this process is in, as an absolute path below the mount point.
    pub own: PathBuf,
}

/// Finds the version 2 hierarchy; also on machines where version 1 is mounted beside it. `None`
/// if there is none, which is noted once a boot.
pub fn detect() -> Option<Hierarchy> {
    let mounts = files::read_file(Path::new("/proc/self/mountinfo"), 4 << 20).unwrap_or_default();
    let Some(mount) = find_mount(&mounts) else {
        degrade::note(degrade::Feature::ControlGroups);
        return None;
    };
    let groups = files::read_file(Path::new("/proc/self/cgroup"), 64 << 10).unwrap_or_default();
    let own = own_path(&groups).unwrap_or_default();
    Some(Hierarchy {
        own: mount.join(own),
        mount,
    })
}

/// The mount point of the first version 2 hierarchy in `/proc/self/mountinfo`.
fn find_mount(mounts: &[u8]) -> Option<PathBuf> {
    mounts.split(|byte| *byte == b'\n').find_map(|line| {
        let text = std::str::from_utf8(line).ok()?;
        let (left, right) = text.split_once(" - ")?;
        if right.split(' ').next()? != "cgroup2" {
            return None;
        }
        // A space in a mount point is written as \040; who mounts it at such a place goes without.
        let mount = left.split(' ').nth(4)?;
        (mount.starts_with('/') && !mount.contains('\\')).then(|| PathBuf::from(mount))
    })
}

/// The path below the mount point in a line `0::/path` of `/proc/self/cgroup`.
fn own_path(groups: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(groups).ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    // Outside our namespace's root: `/../x`.
    if path.split('/').any(|part| part == "..") {
        None
    } else {
        Some(path)
    }
}

/// A control group, held open.
#[derive(Debug)]
pub struct Group {
    path: PathBuf,
    fd: OwnedFd,
}

impl AsFd for Group {
    /// For [`process::spawn`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Group {
    /// Makes a group (and those above it that are missing) and opens it; one that is there is only
    /// opened.
    pub fn create(path: &Path) -> io::Result<Self> {
        // Usually it is missing and those above it are there. Its mode is left as it is made:
        // setting it would cost kernel memory for each group.
        let name = c_path(path)?;
        // SAFETY: reads a C string.
        if unsafe { libc::mkdir(name.as_ptr(), 0o755) } != 0 {
            match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::AlreadyExists => {}
                error if error.kind() == io::ErrorKind::NotFound => {
                    files::make_dir(path, 0o755, None)?;
                }
                error => return Err(error),
            }
        }
        Self::open_named(path, &name)
    }

    /// Opens a group that is there.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::open_named(path, &c_path(path)?)
    }

    fn open_named(path: &Path, name: &CStr) -> io::Result<Self> {
        let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let fd = sys::open(name, flags, 0)?;
        Ok(Self {
            path: path.to_owned(),
            fd,
        })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn write(&self, file: &str, text: &[u8]) -> io::Result<()> {
        let file = sys::open(&c_path(&self.path.join(file))?, libc::O_WRONLY, 0)?;
        fd::write(&file, text).map(|_| ())
    }

    /// Moves a process in; pid 0 is the caller.
    pub fn attach(&self, pid: u32) -> io::Result<()> {
        let mut digits = [0; 10];
        self.write("cgroup.procs", sys::decimal(pid, &mut digits))
    }

    /// Whether a living process is in it or below it. An unreaped one does not count.
    pub fn is_populated(&self) -> io::Result<bool> {
        let text = files::read_file(&self.path.join("cgroup.events"), 4096)?;
        Ok(text
            .split(|byte| *byte == b'\n')
            .any(|line| line == b"populated 1"))
    }

    /// A descriptor to watch with [`watch_interest`]: it says so when the last process has left,
    /// or the first has come. After each time it has to be read anew with [`rearm`].
    pub fn watch(&self) -> io::Result<OwnedFd> {
        let fd = sys::open(
            &c_path(&self.path.join("cgroup.events"))?,
            libc::O_RDONLY,
            0,
        )?;
        rearm(&fd)?;
        Ok(fd)
    }

    /// Its own members, without those of subgroups.
    pub fn members(&self) -> io::Result<Vec<ProcId>> {
        members_of(&self.path)
    }

    /// The members of it and of its subgroups.
    pub fn all_members(&self) -> io::Result<Vec<ProcId>> {
        let mut found = Vec::new();
        walk(&self.path, |path| {
            if let Ok(members) = members_of(path) {
                found.extend(members);
            }
        })?;
        Ok(found)
    }

    /// Whether a process is in it or below it at this moment.
    pub fn contains(&self, mount: &Path, pid: u32) -> bool {
        let path = PathBuf::from(format!("/proc/{pid}/cgroup"));
        let Ok(text) = files::read_file(&path, 64 << 10) else {
            return false;
        };
        own_path(&text).is_some_and(|below| mount.join(below).starts_with(&self.path))
    }

    /// Sends a signal to every member of it and of its subgroups, except `spare`. Processes that
    /// fork meanwhile may be missed. Returns how many got it.
    pub fn signal(&self, signal: i32, spare: &[u32]) -> io::Result<usize> {
        let members = self.all_members()?;
        let chosen = members.iter().filter(|proc| !spare.contains(&proc.pid));
        Ok(chosen
            .filter(|proc| process::kill(**proc, signal).is_ok())
            .count())
    }

    /// Kills every member of it and of its subgroups, whatever they do meanwhile.
    pub fn kill(&self) -> io::Result<()> {
        match self.write("cgroup.kill", b"1") {
            // Kernels before 5.14 do not have it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        self.kill_one_by_one()
    }

    fn kill_one_by_one(&self) -> io::Result<()> {
        for _ in 0..KILL_ROUNDS {
            if self.signal(super::signal::SIGKILL, &[])? == 0 {
                return Ok(());
            }
        }
        Err(io::Error::from_raw_os_error(libc::EBUSY))
    }

    /// Removes it with its subgroups; `EBUSY` while there are members.
    pub fn remove(self) -> io::Result<()> {
        let Self { path, fd } = self;
        drop(fd);
        remove(&path)
    }
}

/// Removes a group with its subgroups by path; that there is none is fine.
pub fn remove(path: &Path) -> io::Result<()> {
    let removed = std::fs::remove_dir(path);
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
        other => return other,
    }
    let mut below = Vec::new();
    walk(path, |path| below.push(path.to_owned()))?;
    // Parents come before their children.
    for path in below.iter().rev() {
        std::fs::remove_dir(path)?;
    }
    Ok(())
}

/// What to watch the descriptor of [`Group::watch`] for.
pub fn watch_interest() -> Interest {
    Interest::CHANGE
}

/// Reads the descriptor of [`Group::watch`] from its beginning, which is what makes it tell the
/// next change. Returns whether the group is populated.
pub fn rearm(watched: &OwnedFd) -> io::Result<bool> {
    let mut buffer = [0u8; 256];
    use std::os::fd::AsRawFd;
    // SAFETY: writes at most the bytes of the buffer.
    let got = check(unsafe {
        libc::pread(
            watched.as_raw_fd(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            0,
        )
    })?;
    let text = buffer.get(..got as usize).unwrap_or(&[]);
    Ok(text
        .split(|byte| *byte == b'\n')
        .any(|line| line == b"populated 1"))
}

fn members_of(path: &Path) -> io::Result<Vec<ProcId>> {
    let text = files::read_file(&path.join("cgroup.procs"), 8 << 20)?;
    let lines = text.split(|byte| *byte == b'\n');
    let pids = lines.filter_map(|line| std::str::from_utf8(line).ok()?.parse::<u32>().ok());
    Ok(pids
        .filter_map(|pid| {
            let status = process::status(pid)?;
            (!status.is_dead()).then_some(ProcId {
                pid,
                start: status.start,
            })
        })
        .collect())
}

/// Calls `visit` for a group and those below it, parents first, without recursion.
fn walk(top: &Path, mut visit: impl FnMut(&Path)) -> io::Result<()> {
    let mut left = vec![(top.to_owned(), 0)];
    while let Some((path, depth)) = left.pop() {
        visit(&path);
        if depth == MAX_DEPTH {
            continue;
        }
        let entries = match std::fs::read_dir(&path) {
            Err(error) if depth > 0 && error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                left.push((entry.path(), depth + 1));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hierarchy_is_found_beside_version_1() {
        let hybrid = b"25 20 0:22 / /sys/fs/cgroup ro - tmpfs tmpfs rw\n\
            26 25 0:23 / /sys/fs/cgroup/memory rw shared:5 - cgroup cgroup rw,memory\n\
            27 25 0:24 / /sys/fs/cgroup/unified rw shared:6 master:1 - cgroup2 cgroup2 rw\n";
        assert_eq!(
            find_mount(hybrid),
            Some(PathBuf::from("/sys/fs/cgroup/unified"))
        );
        assert_eq!(
            find_mount(b"26 25 0:23 / /sys/fs/cgroup/memory rw - cgroup cgroup rw\n"),
            None
        );
        assert_eq!(find_mount(b"\xff\n\n - \n - cgroup2\n"), None);
        assert_eq!(own_path(b"4:memory:/x\n0::/a/b\n"), Some("a/b"));
        assert_eq!(own_path(b"0::/\n"), Some(""));
        assert_eq!(own_path(b"0::/../x\n"), None);
        assert_eq!(own_path(b"4:memory:/x\n"), None);
    }
}
