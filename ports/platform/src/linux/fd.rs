//! Descriptors: reading, writing, flags, and what kind of thing one is.

use super::sys::{self, check, retry};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// Reads once. 0 is the end of the file.
pub fn read(fd: &impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    let raw = fd.as_fd().as_raw_fd();
    retry(|| {
        // SAFETY: the buffer is ours and as long as said.
        check(unsafe { libc::read(raw, buffer.as_mut_ptr().cast(), buffer.len()) })
    })
    .map(|got| got as usize)
}

/// Writes once; returns how much went out.
pub fn write(fd: &impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    let raw = fd.as_fd().as_raw_fd();
    retry(|| {
        // SAFETY: the buffer is valid for its length and only read.
        check(unsafe { libc::write(raw, bytes.as_ptr().cast(), bytes.len()) })
    })
    .map(|put| put as usize)
}

/// Makes a pipe, both ends close-on-exec; the reading end is non-blocking. Returns (read, write).
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: writes two descriptors into the array.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
    let [reader, writer] = ends;
    let reader = sys::owned(reader)?;
    let writer = sys::owned(writer)?;
    set_nonblocking(&reader, true)?;
    Ok((reader, writer))
}

/// Takes over a descriptor that this process was started with, by its number, and makes it
/// close-on-exec. To be called once for a number, before anything else could have opened it.
/// The standard descriptors 0 to 2 cannot be taken.
pub fn inherited(number: i32) -> io::Result<OwnedFd> {
    if number < 3 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: the call fails for numbers that are not open.
    check(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: it is open (the call above succeeded) and, by this function's contract, not owned.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Sets or clears non-blocking mode (of the open file, that is for everybody who shares it).
pub fn set_nonblocking(fd: &impl AsFd, on: bool) -> io::Result<()> {
    let raw = fd.as_fd().as_raw_fd();
    // SAFETY: plain query of a descriptor that is open.
    let flags = check(unsafe { libc::fcntl(raw, libc::F_GETFL) })?;
    let wanted = if on {
        flags | libc::O_NONBLOCK
    } else {
        flags & !libc::O_NONBLOCK
    };
    if wanted != flags {
        // SAFETY: sets flags of a descriptor that is open.
        check(unsafe { libc::fcntl(raw, libc::F_SETFL, wanted) })?;
    }
    Ok(())
}

/// Whether the descriptor is handed on to programs this process executes.
pub fn set_inheritable(fd: &impl AsFd, on: bool) -> io::Result<()> {
    let flags = if on { 0 } else { libc::FD_CLOEXEC };
    // SAFETY: sets flags of a descriptor that is open.
    check(unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_SETFD, flags) }).map(|_| ())
}

/// What a descriptor refers to; for deciding whether to keep one that a service has deposited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A socket.
    Socket,
    /// A pipe or FIFO.
    Pipe,
    /// A regular file that has a name somewhere: keeping it would pin its file system.
    File,
    /// A memory file, or one without a name.
    Memory,
    /// A directory.
    Directory,
    /// A character or block device.
    Device,
    /// An event, timer, signal, poll or process descriptor.
    Anonymous,
}

/// Tells what a descriptor refers to. Does not touch the thing itself.
pub fn kind(fd: &impl AsFd) -> io::Result<Kind> {
    let raw = fd.as_fd().as_raw_fd();
    let meta = super::files::stat_fd(raw)?;
    Ok(match meta.st_mode & libc::S_IFMT {
        libc::S_IFSOCK => Kind::Socket,
        libc::S_IFIFO => Kind::Pipe,
        libc::S_IFDIR => Kind::Directory,
        libc::S_IFCHR | libc::S_IFBLK => Kind::Device,
        libc::S_IFREG if meta.st_nlink == 0 => Kind::Memory,
        libc::S_IFREG => Kind::File,
        _ => Kind::Anonymous,
    })
}

/// Whether both are known to be the same socket, end of a pipe, or memory. Those without an identity
/// of their own in the kernel (events, timers) never are.
pub fn is_same(a: &impl AsFd, b: &impl AsFd) -> bool {
    let identity = |fd: &dyn AsRawFd| {
        let raw = fd.as_raw_fd();
        let meta = super::files::stat_fd(raw).ok()?;
        // SAFETY: reads flags of a descriptor that is open.
        let flags = check(unsafe { libc::fcntl(raw, libc::F_GETFL) }).ok()?;
        // Both ends of a pipe have the same number.
        Some((meta.st_dev, meta.st_ino, flags & libc::O_ACCMODE))
    };
    matches!(kind(a), Ok(Kind::Socket | Kind::Pipe | Kind::Memory))
        && identity(&a.as_fd()) == identity(&b.as_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_and_kinds() {
        let (reader, writer) = pipe().unwrap();
        assert_eq!(write(&writer, b"hello").unwrap(), 5);
        let mut buffer = [0; 8];
        assert_eq!(read(&reader, &mut buffer).unwrap(), 5);
        assert!(sys::would_block(&read(&reader, &mut buffer).unwrap_err()));
        drop(writer);
        assert_eq!(read(&reader, &mut buffer).unwrap(), 0);
        assert_eq!(kind(&reader).unwrap(), Kind::Pipe);
        let (other, writer) = pipe().unwrap();
        assert!(is_same(&reader, &reader.try_clone().unwrap()));
        assert!(!is_same(&reader, &other) && !is_same(&other, &writer));
        assert_eq!(
            kind(&std::fs::File::open("/").unwrap()).unwrap(),
            Kind::Directory
        );
        assert_eq!(
            kind(&std::fs::File::open("/dev/null").unwrap()).unwrap(),
            Kind::Device
        );
        assert_eq!(
            kind(&std::fs::File::open("/etc/passwd").unwrap()).unwrap(),
            Kind::File
        );
    }

    #[test]
    fn standard_and_closed_descriptors_cannot_be_taken() {
        assert!(inherited(1).is_err());
        assert!(inherited(1_000_000).is_err());
    }
}
