//! Files and directories. What can sleep is for children, or for paths on memory file systems
//! (`/run`, `/proc`, `/sys`).

use super::sys::{self, check, retry};
use std::ffi::{CStr, CString};
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A path as a C string; `InvalidInput` if it contains a zero byte.
pub fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

/// Whether something is there, links not followed. May sleep on a dead file server: ask only about
/// memory file systems, or in a child.
pub fn exists(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

/// Whether opening or executing this will not sleep for long: the kernel knows every part of the path
/// without asking a disk or a server, and it is on a file system of this machine. Does not sleep.
/// Kernels before 5.12 cannot tell: `false`.
pub fn is_at_hand(path: &CStr) -> bool {
    /// `struct open_how`: look up from what is in memory, or fail with `EAGAIN`.
    const CACHED_ONLY: [u64; 3] = [(libc::O_PATH | libc::O_CLOEXEC) as u64, 0, 0x20];
    // SAFETY: reads a C string and three numbers, makes a descriptor.
    let raw = unsafe {
        let size = size_of_val(&CACHED_ONLY);
        libc::syscall(
            libc::SYS_openat2,
            libc::AT_FDCWD,
            path.as_ptr(),
            &CACHED_ONLY,
            size,
        )
    };
    sys::owned_long(raw).is_ok_and(|fd| is_local(&fd))
}

/// Whether a descriptor is of a file system of this machine: on a block device, or of a type that
/// needs none.
fn is_local(fd: &OwnedFd) -> bool {
    const LOCAL: [&[u8]; 9] = [
        b"rootfs",
        b"ramfs",
        b"tmpfs",
        b"overlay",
        b"btrfs",
        b"ubifs",
        b"squashfs",
        b"erofs",
        b"zfs",
    ];
    /// Number of the last device of that kind, plus one, and whether it is local in the lowest bit.
    static LAST: AtomicU64 = AtomicU64::new(0);
    let Some((major, minor)) = device_of_open(fd) else {
        return false;
    };
    if major != 0 {
        return true;
    }
    let last = LAST.load(Relaxed);
    if last >> 1 == u64::from(minor) + 1 {
        return last & 1 != 0;
    }
    let mounts = read_file(Path::new("/proc/self/mountinfo"), 4 << 20).unwrap_or_default();
    let mut digits = [0; 10];
    let minor_digits = sys::decimal(minor, &mut digits);
    // Number, parent, major:minor … "-", type.
    let local = mounts.split(|byte| *byte == b'\n').any(|line| {
        let mut fields = line.split(|byte| *byte == b' ');
        fields.nth(2).and_then(|device| device.strip_prefix(b"0:")) == Some(minor_digits)
            && fields.any(|field| field == b"-")
            && fields.next().is_some_and(|kind| LOCAL.contains(&kind))
    });
    LAST.store((u64::from(minor) + 1) << 1 | u64::from(local), Relaxed);
    local
}

/// Major and minor number of the device an open file is on, as far as that is known without asking
/// a server.
fn device_of_open(fd: &OwnedFd) -> Option<(u32, u32)> {
    const DONT_SYNC: libc::c_int = 0x4000;
    const BASIC: libc::c_uint = 0x7ff;
    // `struct statx`, in words; the device's numbers are at 136 and 140.
    let mut meta = [0u32; 64];
    let flags = libc::AT_EMPTY_PATH | DONT_SYNC;
    // SAFETY: an open descriptor, an empty C string, and room for the 256 bytes of the result.
    check(unsafe {
        let (raw, to) = (fd.as_raw_fd(), meta.as_mut_ptr());
        libc::syscall(libc::SYS_statx, raw, c"".as_ptr(), flags, BASIC, to)
    })
    .ok()?;
    Some((*meta.get(34)?, *meta.get(35)?))
}

/// Makes a directory with exactly this mode and owner (user, group), and its missing parents with
/// mode 0755 and ours. One that is there gets mode and owner. The last part may not be a link.
pub fn make_dir(path: &Path, mode: u32, owner: Option<(u32, u32)>) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        make_parents(parent)?;
    }
    make_one(path, mode)?;
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let dir = sys::open(&c_path(path)?, flags, 0)?;
    let meta = stat_fd(dir.as_raw_fd())?;
    if let Some((uid, gid)) = owner
        && (meta.st_uid, meta.st_gid) != (uid, gid)
    {
        // SAFETY: an open descriptor and two numbers.
        check(unsafe { libc::fchown(dir.as_raw_fd(), uid, gid) })?;
    }
    // A new owner may have cleared mode bits, and the umask others.
    // SAFETY: an open descriptor and a number.
    check(unsafe { libc::fchmod(dir.as_raw_fd(), mode as libc::mode_t) }).map(|_| ())
}

fn make_parents(path: &Path) -> io::Result<()> {
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    if path.as_os_str().is_empty() || exists(path) {
        return Ok(());
    }
    let missing: Vec<&Path> = path.ancestors().take_while(|up| !exists(up)).collect();
    for part in missing
        .iter()
        .rev()
        .filter(|part| !part.as_os_str().is_empty())
    {
        make_one(part, 0o755)?;
    }
    Ok(())
}

fn make_one(path: &Path, mode: u32) -> io::Result<()> {
    // SAFETY: reads a C string.
    let done = check(unsafe { libc::mkdir(c_path(path)?.as_ptr(), mode as libc::mode_t) });
    match done {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map(|_| ()),
    }
}

/// Writes a small file of the kernel (`/sys`, `/proc`) in one call.
pub fn write_kernel_file(path: &CStr, text: &[u8]) -> io::Result<()> {
    let file = sys::open(path, libc::O_WRONLY | libc::O_NOCTTY, 0)?;
    super::fd::write(&file, text).map(|_| ())
}

/// What tells a file from another one, and from itself after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
    changed: (i64, i64),
    size: u64,
}

impl Identity {
    /// What is at the end of a path, if anything is.
    pub fn of(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().as_ref().map(Self::from)
    }
}

impl From<&Metadata> for Identity {
    fn from(meta: &Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            changed: (meta.mtime(), meta.mtime_nsec()),
            size: meta.len(),
        }
    }
}

/// Reads a small file whole, up to `limit` bytes; more is an error (`FileTooLarge`). A FIFO or
/// device is not waited for, and refused.
pub fn read_file(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    read_identified(path, limit).map(|(bytes, _)| bytes)
}

/// The same, and what the file was when it was opened.
pub fn read_identified(path: &Path, limit: usize) -> io::Result<(Vec<u8>, Identity)> {
    let flags = libc::O_RDONLY | libc::O_NOCTTY | libc::O_NONBLOCK;
    let file = File::from(sys::open(&c_path(path)?, flags, 0)?);
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let file = OwnedFd::from(file);
    // A file of the kernel says it is empty or has a page, so the size is only a hint.
    let size = usize::try_from(meta.len()).unwrap_or(0);
    let mut bytes = vec![0u8; size.min(limit) + 1];
    let mut used = 0;
    loop {
        let got = super::fd::read(&file, bytes.get_mut(used..).unwrap_or(&mut []))?;
        used += got;
        if used > limit {
            return Err(io::Error::from_raw_os_error(libc::EFBIG));
        }
        // The end, or all of what was there when it was opened.
        if got == 0 || used == size {
            bytes.truncate(used);
            return Ok((bytes, Identity::from(&meta)));
        }
        if used == bytes.len() {
            bytes.resize((used * 2).max(1024).min(limit + 1), 0);
        }
    }
}

/// Major and minor number of the device a path's file system is on.
pub fn device_of(path: &Path) -> io::Result<(u32, u32)> {
    let dev = std::os::unix::fs::MetadataExt::dev(&std::fs::metadata(path)?);
    Ok((libc::major(dev) as u32, libc::minor(dev) as u32))
}

/// Makes an empty file that was not there before; `AlreadyExists` if it was.
pub fn create_new(path: &Path, mode: u32) -> io::Result<OwnedFd> {
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW;
    sys::open(&c_path(path)?, flags, mode as libc::mode_t)
}

/// Reserves the pages of a file from 0 to `length`, and makes it that long.
pub(super) fn reserve(fd: &OwnedFd, length: u64) -> io::Result<()> {
    let raw = fd.as_raw_fd();
    retry(|| {
        // SAFETY: an open descriptor and numbers.
        check(unsafe { libc::fallocate64(raw, 0, 0, length as i64) }).map(|_| ())
    })
}

/// What the kernel knows of an open descriptor.
pub(super) fn stat_fd(raw: RawFd) -> io::Result<libc::stat> {
    // SAFETY: all-zero is a valid stat to be written over.
    let mut meta: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: writes the stat it is given.
    check(unsafe { libc::fstat(raw, &mut meta) })?;
    Ok(meta)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn temp(name: &str) -> std::path::PathBuf {
        let unique = format!(
            "platform-files-{name}-{}-{}",
            std::process::id(),
            super::super::clock::now()
        );
        std::env::temp_dir().join(unique)
    }

    #[test]
    fn directories_get_mode_and_parents() {
        let base = temp("dirs");
        let deep = base.join("a/b/c");
        make_dir(&deep, 0o2750, None).unwrap();
        assert_eq!(std::fs::metadata(&deep).unwrap().mode() & 0o7777, 0o2750);
        assert_eq!(
            std::fs::metadata(base.join("a")).unwrap().mode() & 0o7777,
            0o755
        );
        make_dir(&deep, 0o700, None).unwrap();
        assert_eq!(std::fs::metadata(&deep).unwrap().mode() & 0o7777, 0o700);
        std::os::unix::fs::symlink("/etc", base.join("link")).unwrap();
        assert!(make_dir(&base.join("link"), 0o700, None).is_err());
        assert!(make_dir(&base.join("x/../y/z"), 0o700, None).is_err());
        std::fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn what_is_at_hand() {
        let base = temp("at-hand");
        make_dir(&base, 0o700, None).unwrap();
        let file = base.join("file");
        std::fs::write(&file, "x").unwrap();
        let name = c_path(&file).unwrap();
        let opened = sys::open(&name, libc::O_RDONLY, 0).unwrap();
        let (major, _) = device_of_open(&opened).unwrap();
        assert_eq!(major, std::fs::metadata(&file).unwrap().dev() as u32 >> 8);
        assert_eq!(is_local(&opened), is_local(&opened), "also from memory");
        assert!(!is_at_hand(&c_path(&base.join("missing")).unwrap()));
        let proc = sys::open(c"/proc/self/stat", libc::O_RDONLY, 0).unwrap();
        assert!(!is_local(&proc), "not in the list");
        std::fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn reading_is_bounded_and_does_not_wait() {
        let base = temp("read");
        make_dir(&base, 0o700, None).unwrap();
        let file = base.join("file");
        std::fs::write(&file, [b'x'; 5000]).unwrap();
        assert_eq!(read_file(&file, 5000).unwrap().len(), 5000);
        assert_eq!(
            read_file(&file, 4999).unwrap_err().raw_os_error(),
            Some(libc::EFBIG)
        );
        assert!(
            !read_file(Path::new("/proc/self/stat"), 4096)
                .unwrap()
                .is_empty()
        );
        let fifo = base.join("fifo");
        // SAFETY: reads a C string.
        assert_eq!(
            unsafe { libc::mkfifo(c_path(&fifo).unwrap().as_ptr(), 0o600) },
            0
        );
        assert!(read_file(&fifo, 100).is_err());
        assert!(read_file(Path::new("/dev/zero"), 100).is_err());
        assert!(create_new(&file, 0o600).is_err());
        std::fs::remove_dir_all(base).unwrap();
    }
}
