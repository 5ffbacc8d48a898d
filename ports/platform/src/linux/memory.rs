//! Memory that outlives its writer: a memory file, mapped, whose descriptor somebody else keeps.
//!
//! All its pages exist before they are used, so that writing cannot fail for lack of memory; it
//! grows the same way. It cannot shrink while mapped, neither by us nor by anybody who holds the
//! descriptor. Readers and writers see it as 32-bit atomic words: several processes may write at
//! once (each its own words, or by compare-and-swap), and nothing that is written there can be
//! worse than a wrong number.
//!
//! Where the kernel has no memory files, an unlinked file in a directory of the caller's choice
//! takes its place. Only those who hold the descriptor can reach it.

use super::files::{c_path, reserve, stat_fd};
use super::sys::{self, check};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;

/// The largest memory that is made or accepted, in bytes.
pub const MAX_LENGTH: usize = 256 << 20;

const PAGE: usize = 4096;

/// Mapped shared memory. See the module.
#[derive(Debug)]
pub struct Memory {
    fd: OwnedFd,
    start: NonNull<AtomicU32>,
    length: usize,
}

impl Memory {
    /// Makes zeroed memory of at least `length` bytes (rounded up to whole pages). `name` is for
    /// people who look into `/proc`. `fallback` is a directory on a memory file system for an
    /// unlinked file, where the kernel has no memory files.
    pub fn create(name: &CStr, length: usize, fallback: &Path) -> io::Result<Self> {
        let fd = match memory_file(name) {
            Err(error) if sys::is_missing(&error) => {
                super::degrade::note(super::degrade::Feature::MemoryFile);
                unlinked_file(fallback)?
            }
            other => other?,
        };
        Self::map_new(fd, length)
    }

    /// As [`Memory::create`], in any case with an unlinked file.
    pub fn create_in(directory: &Path, length: usize) -> io::Result<Self> {
        Self::map_new(unlinked_file(directory)?, length)
    }

    fn map_new(fd: OwnedFd, length: usize) -> io::Result<Self> {
        let length = whole_pages(length)?;
        allocate(&fd, 0, length)?;
        // Nobody may take pages away under a mapping. Plain files have no seals: they are unlinked.
        // SAFETY: an open descriptor and a number.
        unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, libc::F_SEAL_SHRINK) };
        Self::map(fd, length)
    }

    /// Maps memory that was kept. Refused (`InvalidInput`) if it is not a memory file sealed
    /// against shrinking or an unlinked regular file, or has a length that cannot be ours.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        let refused = || io::Error::from(io::ErrorKind::InvalidInput);
        let meta = stat_fd(fd.as_raw_fd())?;
        // SAFETY: a plain query.
        let seals = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS) };
        let sealed = seals != -1 && seals & libc::F_SEAL_SHRINK != 0;
        // SAFETY: a plain query.
        let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
        let length = usize::try_from(meta.st_size).map_err(|_| refused())?;
        if meta.st_mode & libc::S_IFMT != libc::S_IFREG
            || meta.st_nlink != 0
            || !(sealed || seals == -1 || meta.st_uid == 0)
            || flags & libc::O_ACCMODE != libc::O_RDWR
            || length == 0
            || length > MAX_LENGTH
            || length % PAGE != 0
        {
            return Err(refused());
        }
        // A hole would be filled by a fault, at a time when that may fail.
        if (meta.st_blocks as u64).saturating_mul(512) < length as u64 {
            reserve(&fd, length as u64)?;
        }
        Self::map(fd, length)
    }

    fn map(fd: OwnedFd, length: usize) -> io::Result<Self> {
        // SAFETY: a new shared mapping at a place of the kernel's choice.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        match NonNull::new(start.cast::<AtomicU32>()) {
            Some(start) if start.as_ptr().cast::<libc::c_void>() != libc::MAP_FAILED => {
                Ok(Self { fd, start, length })
            }
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Makes it at least `length` bytes long (rounded up to whole pages); the new part is zero.
    /// On failure (no memory) it stays as it was. Other processes that have it mapped see their
    /// old part until they map it again.
    pub fn grow(&mut self, length: usize) -> io::Result<()> {
        let length = whole_pages(length)?;
        if length <= self.length {
            return Ok(());
        }
        allocate(&self.fd, self.length, length)?;
        // SAFETY: our own mapping, to which no borrow exists now (`&mut self`).
        let start = unsafe {
            libc::mremap(
                self.start.as_ptr().cast(),
                self.length,
                length,
                libc::MREMAP_MAYMOVE,
            )
        };
        match NonNull::new(start.cast::<AtomicU32>()) {
            Some(start) if start.as_ptr().cast::<libc::c_void>() != libc::MAP_FAILED => {
                self.start = start;
                self.length = length;
                Ok(())
            }
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The memory.
    pub fn words(&self) -> &[AtomicU32] {
        // SAFETY: the mapping has this length (a multiple of four), is aligned to a page, lives as
        // long as `self`, cannot lose pages (sealed or unlinked), and is only used atomically.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length / 4) }
    }

    /// Its length in bytes.
    pub fn length(&self) -> usize {
        self.length
    }

    /// A second descriptor for it, to be given away.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        self.fd.try_clone()
    }
}

impl AsFd for Memory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: our own mapping; no borrow of it outlives `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

fn whole_pages(length: usize) -> io::Result<usize> {
    if length == 0 || length > MAX_LENGTH {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    Ok(length.div_ceil(PAGE) * PAGE)
}

/// Gives the file pages up to `to`. File systems without reservation get zeroes written.
fn allocate(fd: &OwnedFd, from: usize, to: usize) -> io::Result<()> {
    match reserve(fd, to as u64) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS)) => {}
        other => return other,
    }
    let zeroes = [0u8; PAGE];
    for offset in (from..to).step_by(PAGE) {
        // SAFETY: reads one page of zeroes.
        let put = sys::check(unsafe {
            libc::pwrite64(fd.as_raw_fd(), zeroes.as_ptr().cast(), PAGE, offset as i64)
        })?;
        if put as usize != PAGE {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
    }
    Ok(())
}

/// A sealed copy of an executable in memory: nothing holds its file system busy, and no upgrade takes
/// it away.
pub fn executable_copy(name: &CStr, path: &Path) -> io::Result<OwnedFd> {
    const EXEC: libc::c_uint = 0x10;
    const MOST: usize = 1 << 30;
    let from = sys::open(&c_path(path)?, libc::O_RDONLY, 0)?;
    let copy = memory_file_for(name, EXEC)?;
    loop {
        let (to, from, offset) = (copy.as_raw_fd(), from.as_raw_fd(), std::ptr::null_mut());
        // SAFETY: two open descriptors and no offset.
        let copied = unsafe { libc::sendfile(to, from, offset, MOST) };
        match copied {
            0 => break,
            1.. => {}
            _ => return Err(io::Error::last_os_error()),
        }
    }
    let seals = libc::F_SEAL_WRITE | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW;
    // SAFETY: an open descriptor and a number.
    check(unsafe { libc::fcntl(copy.as_raw_fd(), libc::F_ADD_SEALS, seals) })?;
    Ok(copy)
}

fn memory_file(name: &CStr) -> io::Result<OwnedFd> {
    const NOEXEC_SEAL: libc::c_uint = 8;
    memory_file_for(name, NOEXEC_SEAL)
}

/// A memory file that may or may not be executed.
fn memory_file_for(name: &CStr, use_: libc::c_uint) -> io::Result<OwnedFd> {
    let make = |flags: libc::c_uint| {
        // SAFETY: reads a C string, makes a descriptor.
        let raw = unsafe { libc::syscall(libc::SYS_memfd_create, name.as_ptr(), flags) };
        sys::owned_long(raw)
    };
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    match make(flags | use_) {
        // Kernels before 6.3 do not know that flag.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => make(flags),
        other => other,
    }
}

fn unlinked_file(directory: &Path) -> io::Result<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_TMPFILE | libc::O_EXCL;
    if let Ok(fd) = sys::open(&c_path(directory)?, flags, 0o600) {
        return Ok(fd);
    }
    let name = format!(".memory-{:032x}", super::random::bits128());
    let path = c_path(&directory.join(name))?;
    let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW;
    let fd = sys::open(&path, flags, 0o600)?;
    // SAFETY: reads a C string.
    check(unsafe { libc::unlink(path.as_ptr()) })?;
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering::{Acquire, Release};

    fn both() -> [Memory; 2] {
        let temp = std::env::temp_dir();
        [
            Memory::create(c"test", 5000, &temp).unwrap(),
            Memory::create_in(&temp, 5000).unwrap(),
        ]
    }

    #[test]
    fn content_survives_mapping_again_and_growing() {
        for mut memory in both() {
            assert_eq!((memory.length(), memory.words().len()), (8192, 2048));
            memory.words()[2047].store(7, Release);
            memory.grow(1 << 20).unwrap();
            assert_eq!(memory.words()[2047].load(Acquire), 7);
            assert!(
                memory.words()[2048..]
                    .iter()
                    .all(|word| word.load(Acquire) == 0)
            );
            memory.words()[200_000].store(8, Release);
            let other = Memory::from_fd(memory.duplicate().unwrap()).unwrap();
            assert_eq!(other.length(), 1 << 20);
            memory.words()[1].store(9, Release);
            drop(memory);
            let words = other.words();
            let got = [1, 2047, 200_000].map(|at: usize| words[at].load(Acquire));
            assert_eq!(got, [9, 7, 8]);
        }
    }

    #[test]
    fn memory_cannot_be_shrunk_under_us() {
        let [memory, _] = both();
        let file = std::fs::File::from(memory.duplicate().unwrap());
        assert!(file.set_len(0).is_err());
        assert_eq!(memory.words()[0].load(Acquire), 0);
    }

    #[test]
    fn foreign_descriptors_are_refused() {
        let refused = |fd: OwnedFd| assert!(Memory::from_fd(fd).is_err());
        refused(std::fs::File::open("/dev/zero").unwrap().into());
        refused(std::fs::File::open("/").unwrap().into());
        refused(std::fs::File::open("/etc/passwd").unwrap().into());
        refused(super::super::socket::pair().unwrap().0);
        refused(memory_file(c"empty").unwrap());
        let odd = memory_file(c"odd").unwrap();
        let file = std::fs::File::from(odd.try_clone().unwrap());
        file.set_len(4097).unwrap();
        refused(odd);
        let huge = memory_file(c"huge").unwrap();
        let file = std::fs::File::from(huge.try_clone().unwrap());
        file.set_len(1 << 40).unwrap();
        refused(huge);
        assert!(Memory::create(c"x", 0, Path::new("/tmp")).is_err());
        assert!(Memory::create(c"x", MAX_LENGTH + 1, Path::new("/tmp")).is_err());
    }
}
