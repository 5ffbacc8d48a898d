//! What a new child does to itself between fork and exec. Only to be called in a child made by
//! [`super::process::spawn`] or [`super::process::spawn_suspended`]: most of it cannot be undone.
//!
//! Nothing here allocates, except where it says so; paths and argument lists are made in the
//! parent. A child is single-threaded.

use super::sys::{self, check};
use super::{fd, files, signal};
use std::ffi::{CStr, c_char};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Ends the process at once: no destructors, no exit handlers, no buffers written.
pub fn end(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// Default action for every signal and an empty mask. `SIGPIPE` is ignored if `ignore_pipe`.
///
/// Only what the parent ignores has to be set back: exec does the rest.
pub fn reset_signals(ignore_pipe: bool) -> io::Result<()> {
    let ignored = signal::ignored();
    for number in 1..=signal::MAX {
        let is_ignored = ignored & (1 << (number - 1)) != 0;
        let should = number == libc::SIGPIPE && ignore_pipe;
        if is_ignored != should {
            signal::set_default(number, should)?;
        }
    }
    signal::unblock_all()
}

/// Starts a session of its own, away from any terminal.
pub fn new_session() -> io::Result<()> {
    // SAFETY: changes this process only.
    check(unsafe { libc::setsid() }).map(|_| ())
}

/// Gives the process a descriptor under a certain number, inheritable. What had that number is
/// closed.
pub fn install(from: &impl AsFd, number: i32) -> io::Result<()> {
    let from = from.as_fd();
    if from.as_raw_fd() == number {
        return fd::set_inheritable(&from, true);
    }
    // SAFETY: both are numbers; in a child nobody relies on what had the target number.
    check(unsafe { libc::dup2(from.as_raw_fd(), number) }).map(|_| ())
}

/// Duplicates a descriptor to a number of at least `lowest`, close-on-exec, so that a following
/// [`install`] does not overwrite it.
pub fn raise(from: &impl AsFd, lowest: i32) -> io::Result<OwnedFd> {
    let from = from.as_fd();
    // SAFETY: makes a descriptor.
    sys::owned(unsafe { libc::fcntl(from.as_raw_fd(), libc::F_DUPFD_CLOEXEC, lowest) })
}

/// Whether a descriptor of this process is `/dev/null`, open for reading and writing.
pub fn is_null(number: i32) -> bool {
    // SAFETY: a plain query.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFL) };
    flags != -1
        && flags & libc::O_ACCMODE == libc::O_RDWR
        && files::stat_fd(number).is_ok_and(|meta| {
            meta.st_mode & libc::S_IFMT == libc::S_IFCHR && meta.st_rdev == libc::makedev(1, 3)
        })
}

/// Makes standard input and output of this process `/dev/null`, as far as that is there.
pub fn take_null_streams() {
    let Ok(null) = open(c"/dev/null", Mode::ReadWrite) else {
        return;
    };
    // Where they were closed it may be one of the two itself.
    if let Ok(raised) = raise(&null, 3) {
        if null.as_raw_fd() < 3 {
            std::mem::forget(null);
        }
        let _ = install(&raised, 0).and_then(|()| install(&raised, 1));
    }
}

/// Closes every descriptor from `first` on, except those in `keep` (sorted upwards). What owned
/// one of them must not be used or dropped any more.
pub fn close_from(first: u32, keep: &[u32]) {
    for_spans(first, keep, |from, to| close_span(from, to, false));
}

/// Has every descriptor from `first` on closed at exec, except those in `keep` (sorted upwards),
/// which stay as they are. Until then all are usable: a failed exec can still be reported.
pub fn close_at_exec(first: u32, keep: &[u32]) {
    for_spans(first, keep, |from, to| close_span(from, to, true));
}

fn for_spans(first: u32, keep: &[u32], mut each: impl FnMut(u32, u32)) {
    let mut next = first;
    for kept in keep {
        if *kept > next {
            each(next, *kept - 1);
        }
        next = next.max(kept.saturating_add(1));
    }
    each(next, u32::MAX);
}

fn close_span(first: u32, last: u32, at_exec: bool) {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
    let flags = if at_exec { CLOSE_RANGE_CLOEXEC } else { 0 };
    // SAFETY: by contract of the callers nobody relies on these descriptors any more.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    if done == 0 {
        return;
    }
    // Older kernels: one by one, as far as the limit goes, which for us is not far.
    // SAFETY: a plain query.
    let limit = unsafe { libc::sysconf(libc::_SC_OPEN_MAX) };
    let limit = u32::try_from(limit).unwrap_or(1024).min(65_536);
    for number in first..=last.min(limit) {
        // SAFETY: as above; both fail for numbers that are not open.
        unsafe {
            if at_exec {
                libc::fcntl(number as i32, libc::F_SETFD, libc::FD_CLOEXEC);
            } else {
                libc::close(number as i32);
            }
        }
    }
}

/// Sets the file mode creation mask.
pub fn set_umask(mask: u32) {
    // SAFETY: changes this process only.
    unsafe { libc::umask(mask as libc::mode_t) };
}

/// A resource that can be limited; the numbers are the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Resource {
    Cpu,
    FileSize,
    Data,
    Stack,
    Core,
    Rss,
    Processes,
    Files,
    Memlock,
    AddressSpace,
    Locks,
    SignalsPending,
    MessageQueue,
    Nice,
    RealtimePriority,
    RealtimeTime,
}

/// No limit.
pub const UNLIMITED: u64 = u64::MAX;

/// Soft and hard limit of a resource for this process.
pub fn limit(resource: Resource) -> io::Result<(u64, u64)> {
    let number = number_of(resource);
    let mut value = [0u64; 2];
    let nothing: *const u64 = std::ptr::null();
    // SAFETY: prlimit64 with process 0 writes the caller's own limits, two words.
    let done =
        unsafe { libc::syscall(libc::SYS_prlimit64, 0, number, nothing, value.as_mut_ptr()) };
    check(done).map(|_| (value[0], value[1]))
}

/// The kernel's number of a resource.
fn number_of(resource: Resource) -> libc::c_int {
    match resource {
        Resource::Cpu => libc::RLIMIT_CPU as libc::c_int,
        Resource::FileSize => libc::RLIMIT_FSIZE as libc::c_int,
        Resource::Data => libc::RLIMIT_DATA as libc::c_int,
        Resource::Stack => libc::RLIMIT_STACK as libc::c_int,
        Resource::Core => libc::RLIMIT_CORE as libc::c_int,
        Resource::Rss => libc::RLIMIT_RSS as libc::c_int,
        Resource::Processes => libc::RLIMIT_NPROC as libc::c_int,
        Resource::Files => libc::RLIMIT_NOFILE as libc::c_int,
        Resource::Memlock => libc::RLIMIT_MEMLOCK as libc::c_int,
        Resource::AddressSpace => libc::RLIMIT_AS as libc::c_int,
        Resource::Locks => libc::RLIMIT_LOCKS as libc::c_int,
        Resource::SignalsPending => libc::RLIMIT_SIGPENDING as libc::c_int,
        Resource::MessageQueue => libc::RLIMIT_MSGQUEUE as libc::c_int,
        Resource::Nice => libc::RLIMIT_NICE as libc::c_int,
        Resource::RealtimePriority => libc::RLIMIT_RTPRIO as libc::c_int,
        Resource::RealtimeTime => libc::RLIMIT_RTTIME as libc::c_int,
    }
}

/// Sets soft and hard limit of a resource. Raising the hard limit needs a right (`EPERM`).
pub fn set_limit(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    let number = number_of(resource);
    let value = [soft, hard];
    let nothing: *mut u64 = std::ptr::null_mut();
    // SAFETY: the kernel reads two 64-bit numbers, on every architecture.
    let done = unsafe { libc::syscall(libc::SYS_prlimit64, 0, number, value.as_ptr(), nothing) };
    check(done).map(|_| ())
}

/// Soft and hard limit of open files of this process.
pub fn file_limit() -> io::Result<(u64, u64)> {
    let mut value = [0u64; 2];
    let nothing: *const u64 = std::ptr::null();
    // SAFETY: the kernel writes two 64-bit numbers, on every architecture.
    let done = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            0,
            libc::RLIMIT_NOFILE,
            nothing,
            value.as_mut_ptr(),
        )
    };
    check(done).map(|_| (value[0], value[1]))
}

/// Sets the scheduling priority, -20 to 19.
pub fn set_nice(nice: i32) -> io::Result<()> {
    // SAFETY: changes this process only.
    check(unsafe { libc::setpriority(libc::PRIO_PROCESS as _, 0, nice) }).map(|_| ())
}

/// Sets how readily the kernel kills this process when memory is short, -1000 to 1000. Lowering
/// needs a right (`EACCES`).
pub fn set_oom_score(score: i32) -> io::Result<()> {
    write_oom_score(&open_oom_score()?, score)
}

fn open_oom_score() -> io::Result<OwnedFd> {
    let flags = libc::O_WRONLY | libc::O_NOCTTY;
    sys::open(c"/proc/self/oom_score_adj", flags, 0)
}

fn write_oom_score(file: &OwnedFd, score: i32) -> io::Result<()> {
    let mut digits = [0u8; 10];
    let text = sys::decimal(score.unsigned_abs(), &mut digits);
    let mut line = [0u8; 12];
    let sign: &[u8] = if score < 0 { b"-" } else { b"" };
    for (to, from) in line.iter_mut().zip(sign.iter().chain(text)) {
        *to = *from;
    }
    let used = sign.len() + text.len();
    fd::write(file, line.get(..used).unwrap_or(&[])).map(|_| ())
}

/// The OOM score of a process whose children are to have 0. It has that itself while it makes one: setting it
/// from a descriptor that is open is a tenth of what it costs the child to find the file.
#[derive(Debug)]
pub struct OomScore {
    file: OwnedFd,
    own: i32,
}

impl OomScore {
    /// That of this process; `None` if its children have 0 anyway, or it cannot be told.
    pub fn own() -> Option<Self> {
        let text = files::read_file(std::path::Path::new("/proc/self/oom_score_adj"), 32).ok()?;
        let own = std::str::from_utf8(&text).ok()?.trim().parse().ok()?;
        let file = open_oom_score().ok()?;
        (own != 0).then_some(Self { file, own })
    }

    /// 0 until what is returned is dropped. An error: no right to that.
    pub fn lowered(&self) -> io::Result<Lowered<'_>> {
        write_oom_score(&self.file, 0).map(|()| Lowered(self))
    }
}

/// See [`OomScore::lowered`].
#[derive(Debug)]
pub struct Lowered<'a>(&'a OomScore);

impl Drop for Lowered<'_> {
    fn drop(&mut self) {
        if write_oom_score(&self.0.file, self.0.own).is_err() {
            super::degrade::note(super::degrade::Feature::OomProtection);
        }
    }
}

/// Becomes another user: supplementary groups, then group, then user.
pub fn set_identity(uid: Option<u32>, gid: Option<u32>, groups: Option<&[u32]>) -> io::Result<()> {
    if let Some(groups) = groups {
        // SAFETY: reads as many numbers as there are.
        check(unsafe { libc::setgroups(groups.len() as _, groups.as_ptr()) })?;
    }
    if let Some(gid) = gid {
        // SAFETY: changes this process only.
        check(unsafe { libc::setresgid(gid, gid, gid) })?;
    }
    if let Some(uid) = uid {
        // SAFETY: changes this process only.
        check(unsafe { libc::setresuid(uid, uid, uid) })?;
    }
    Ok(())
}

/// Changes the working directory. May sleep.
pub fn change_directory(path: &CStr) -> io::Result<()> {
    // SAFETY: reads a C string.
    check(unsafe { libc::chdir(path.as_ptr()) }).map(|_| ())
}

/// Changes the root directory. May sleep.
pub fn change_root(path: &CStr) -> io::Result<()> {
    // SAFETY: reads a C string.
    check(unsafe { libc::chroot(path.as_ptr()) }).map(|_| ())
}

/// Makes a terminal the controlling one of this session; `steal` takes it from another session.
pub fn take_terminal(terminal: &impl AsFd, steal: bool) -> io::Result<()> {
    let raw = terminal.as_fd().as_raw_fd();
    // SAFETY: the request takes a number.
    check(unsafe { libc::ioctl(raw, libc::TIOCSCTTY as _, libc::c_int::from(steal)) }).map(|_| ())
}

/// Never gain rights by executing a program.
pub fn no_new_privileges() -> io::Result<()> {
    // SAFETY: changes this process only.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }).map(|_| ())
}

/// Sets the short name of this process, which otherwise is that of its file.
pub fn set_name(name: &CStr) {
    // SAFETY: reads a C string.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) };
}

/// Get this signal when the parent ends.
pub fn die_with_parent(signal: i32) -> io::Result<()> {
    // SAFETY: changes this process only.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal, 0, 0, 0) }).map(|_| ())
}

/// How to open a file for a child's standard input or output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// For reading.
    Read,
    /// For writing; it is there already (a device).
    Write,
    /// For reading and writing; it is there already (a terminal).
    ReadWrite,
    /// For writing from the beginning, made if need be, its old content kept.
    Create,
    /// As create, and emptied first.
    Truncate,
    /// For writing at its end, made if need be.
    Append,
}

/// Opens a file for a child's standard input or output; a new one gets mode 0666 less the umask.
/// Never makes a terminal the controlling one. May sleep.
pub fn open(path: &CStr, mode: Mode) -> io::Result<OwnedFd> {
    let flags = match mode {
        Mode::Read => libc::O_RDONLY,
        Mode::Write => libc::O_WRONLY,
        Mode::ReadWrite => libc::O_RDWR,
        Mode::Create => libc::O_WRONLY | libc::O_CREAT,
        Mode::Truncate => libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC,
        Mode::Append => libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND,
    };
    sys::open(path, flags | libc::O_NOCTTY, 0o666)
}

/// Makes a directory and its missing parents for a service; see [`files::make_dir`]. Allocates.
pub fn make_dir(path: &std::path::Path, mode: u32, uid: u32, gid: u32) -> io::Result<()> {
    files::make_dir(path, mode, Some((uid, gid)))
}

/// A list of C strings for [`execute`], in one allocation that grows.
#[derive(Clone, Debug, Default)]
pub struct Strings {
    bytes: Vec<u8>,
    count: usize,
    pointers: Vec<*const c_char>,
}

impl Strings {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends one. `InvalidInput` if it contains a zero byte, which the kernel could not pass on.
    pub fn push(&mut self, text: &[u8]) -> io::Result<()> {
        if text.contains(&0) {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        self.bytes.extend_from_slice(text);
        self.bytes.push(0);
        self.count += 1;
        Ok(())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The strings, without their zero bytes.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes
            .split_inclusive(|byte| *byte == 0)
            .map(|text| text.split_last().map_or(text, |(_, text)| text))
    }

    /// Brings the pointers up to date, with a null pointer at their end. Allocates
    /// when there are more than the last time.
    pub fn prepare(&mut self) -> &[*const c_char] {
        self.pointers.clear();
        for text in self.bytes.split_inclusive(|byte| *byte == 0) {
            self.pointers.push(text.as_ptr().cast());
        }
        self.pointers.push(std::ptr::null());
        &self.pointers
    }
}

/// Becomes another program; only returns if that failed, with the reason. Allocates where
/// [`Strings::prepare`] does.
pub fn execute(path: &CStr, arguments: &mut Strings, environment: &mut Strings) -> io::Error {
    let (arguments, environment) = (arguments.prepare(), environment.prepare());
    // SAFETY: a C string and two lists of C strings that end with a null pointer.
    unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn string_lists() {
        let mut list = Strings::new();
        assert!(list.is_empty());
        list.push(b"one").unwrap();
        list.push(b"").unwrap();
        list.push("zw\u{f6}lf".as_bytes()).unwrap();
        assert!(list.push(b"a\0b").is_err());
        let back: Vec<&[u8]> = list.iter().collect();
        assert_eq!(back, [b"one".as_slice(), b"", "zw\u{f6}lf".as_bytes()]);
        assert_eq!((list.len(), list.prepare().len()), (3, 4));
    }
}
