//! Processes: making them, knowing them again, seeing their end, ending them.
//!
//! A process number alone says nothing once the process may have been reaped by somebody else: the
//! kernel uses it again. [`ProcId`] adds the start time, which makes it unique for a boot.
//!
//! The end of a child is taken in two steps, so that nothing is lost if the reaper dies in between:
//! [`peek_exit`] tells who ended and how, and leaves the zombie; after that is recorded, [`reap`].

use super::degrade;
use super::sys::{self, ProcPath, check, retry};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

pub use super::fork::{Spawned, own_born_after, spawn, spawn_suspended};

/// A process that cannot be confused with a later one of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcId {
    /// Process number in our namespace; never 0 for a real process.
    pub pid: u32,
    /// Start time in clock ticks since boot, as the kernel counts it; 0 if unknown.
    pub start: u64,
}

/// A child that has ended and is not reaped yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Which.
    pub proc: ProcId,
    /// Raw wait status, as `wait` gives it.
    pub status: i32,
}

/// What the kernel says of a process number at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// `R`, `S`, `D`, `T`, `Z` …
    pub state: u8,
    /// Its parent.
    pub parent: u32,
    /// Its process group.
    pub group: u32,
    /// Its session.
    pub session: u32,
    /// Processor time used by itself, user and system, in clock ticks.
    pub cpu: u64,
    /// Start time in clock ticks since boot.
    pub start: u64,
}

impl Status {
    /// Whether it has ended and only waits to be reaped.
    pub fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }
}

/// This process's own number.
pub fn own_pid() -> u32 {
    std::process::id()
}

/// This process itself.
pub fn own() -> ProcId {
    let pid = own_pid();
    ProcId {
        pid,
        start: start_time(pid).unwrap_or(0),
    }
}

/// The parent's number: 1 is init.
pub fn parent_pid() -> u32 {
    std::os::unix::process::parent_id()
}

/// What `/proc` says of a process; `None` if there is none of that number.
pub fn status(pid: u32) -> Option<Status> {
    let mut buffer = [0u8; 1024];
    let text = sys::read_start(ProcPath::new(pid, "stat").as_c(), &mut buffer).ok()?;
    parse_stat(text)
}

/// Reads a line of `/proc/<pid>/stat`. The name, field 2, may contain anything, also brackets.
fn parse_stat(text: &[u8]) -> Option<Status> {
    let end_of_name = text.iter().rposition(|byte| *byte == b')')?;
    let mut fields = text.get(end_of_name + 2..)?.split(|byte| *byte == b' ');
    let state = *fields.next()?.first()?;
    let mut number = |skip: usize| -> Option<u64> {
        fields.nth(skip)?.iter().try_fold(0u64, |sum, digit| {
            digit
                .is_ascii_digit()
                .then(|| sum.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')))
        })
    };
    let parent = number(0)? as u32;
    let group = number(0)? as u32;
    let session = number(0)? as u32;
    // Fields 14 and 15 are the times, 22 is the start; 4, 5, 6 were the last three.
    let cpu = number(7)?.wrapping_add(number(0)?);
    let start = number(6)?;
    Some(Status {
        state,
        parent,
        group,
        session,
        cpu,
        start,
    })
}

/// The start time of a process, also of an unreaped one; `None` if there is none of that number.
pub fn start_time(pid: u32) -> Option<u64> {
    status(pid).map(|status| status.start)
}

/// Whether the process still exists and has not ended. One with unknown start time is taken to be
/// whatever has its number.
pub fn is_alive(proc: ProcId) -> bool {
    proc.pid != 0
        && status(proc.pid)
            .is_some_and(|now| !now.is_dead() && (proc.start == 0 || now.start == proc.start))
}

/// The next child that has ended, left unreaped. `None` if there is none.
///
/// The same one comes again until it is reaped. Children that only stopped are not told here.
pub fn peek_exit() -> io::Result<Option<Exit>> {
    let Some((pid, status)) = wait_id(
        libc::P_ALL,
        0,
        libc::WEXITED | libc::WNOHANG | libc::WNOWAIT,
    )?
    else {
        return Ok(None);
    };
    let start = start_time(pid).unwrap_or(0);
    Ok(Some(Exit {
        proc: ProcId { pid, start },
        status,
    }))
}

/// Reaps a child that has ended; returns its raw wait status, or `None` if it has not ended.
/// A number that is not a child's is an error (`ECHILD`).
pub fn reap(pid: u32) -> io::Result<Option<i32>> {
    let got = wait_id(libc::P_PID, pid, libc::WEXITED | libc::WNOHANG);
    match got {
        Ok(found) => Ok(found.map(|(_, status)| status)),
        Err(error) => Err(error),
    }
}

/// Whether a child is stopped (`SIGSTOP` and its like).
pub fn is_stopped(pid: u32) -> io::Result<bool> {
    let flags = libc::WSTOPPED | libc::WNOHANG | libc::WNOWAIT;
    Ok(wait_id(libc::P_PID, pid, flags)?.is_some())
}

/// `waitid`, with number and raw wait status of what it found. No child at all is `None` when
/// asked for any.
fn wait_id(kind: libc::idtype_t, id: u32, flags: i32) -> io::Result<Option<(u32, i32)>> {
    // SAFETY: all-zero is a valid siginfo; a zero pid in it means that nothing was found.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let done = retry(|| {
        // SAFETY: writes the siginfo it is given.
        check(unsafe { libc::waitid(kind, id as libc::id_t, &mut info, flags) })
    });
    match done {
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) && kind == libc::P_ALL => {
            return Ok(None);
        }
        other => other?,
    };
    // SAFETY: waitid fills in these fields.
    let (pid, value) = unsafe { (info.si_pid(), info.si_status()) };
    if pid <= 0 {
        return Ok(None);
    }
    let status = match info.si_code {
        libc::CLD_EXITED => (value & 0xff) << 8,
        libc::CLD_KILLED => value & 0x7f,
        libc::CLD_DUMPED => (value & 0x7f) | 0x80,
        _ => ((value & 0xff) << 8) | 0x7f,
    };
    Ok(Some((pid as u32, status)))
}

/// A process held by a descriptor: signals reach it or nobody. Becomes readable when it ends.
#[derive(Debug)]
pub struct Held {
    fd: OwnedFd,
}

impl AsFd for Held {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<OwnedFd> for Held {
    /// Takes a process descriptor that came from elsewhere (a socket's peer).
    fn from(fd: OwnedFd) -> Self {
        Self { fd }
    }
}

/// Holds a process by a descriptor, checked to be the one that is meant. `ESRCH` if that one is
/// gone, `ENOSYS` where the kernel has no such descriptors.
pub fn hold(proc: ProcId) -> io::Result<Held> {
    if proc.pid == 0 || proc.pid > i32::MAX as u32 {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    // SAFETY: makes a descriptor.
    let raw = unsafe { libc::syscall(libc::SYS_pidfd_open, proc.pid as libc::c_int, 0) };
    let fd = sys::owned_long(raw)?;
    // Only now the number cannot be given to another process: look whether it was before.
    identified(proc)?;
    Ok(Held { fd })
}

/// Whether what has this number is the process that is meant: `ESRCH` if it is another. Where the start time is
/// not known only a child of ours is: it keeps its number until we reap it.
fn identified(proc: ProcId) -> io::Result<()> {
    let meant = status(proc.pid).is_some_and(|now| match proc.start {
        0 => now.parent == own_pid(),
        start => now.start == start,
    });
    meant
        .then_some(())
        .ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))
}

/// Whether this is a child of ours that is not reaped.
pub fn is_child(pid: u32) -> bool {
    identified(ProcId { pid, start: 0 }).is_ok()
}

impl Held {
    /// Sends it a signal; 0 only asks whether it is there.
    pub fn kill(&self, signal: i32) -> io::Result<()> {
        let nothing: *mut libc::siginfo_t = std::ptr::null_mut();
        // SAFETY: no siginfo is given; the descriptor is open.
        let done = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.fd.as_raw_fd(),
                signal,
                nothing,
                0,
            )
        };
        check(done).map(|_| ())
    }
}

/// Sends a signal to exactly this process: `ESRCH` if it is gone, even if its number is not. One of which the start
/// time is not known gets it only as an unreaped child of ours.
pub fn kill(proc: ProcId, signal: i32) -> io::Result<()> {
    match hold(proc) {
        Ok(held) => match held.kill(signal) {
            Err(error) if sys::is_missing(&error) => kill_by_number(proc, signal),
            other => other,
        },
        Err(error) if sys::is_missing(&error) => kill_by_number(proc, signal),
        Err(error) => Err(error),
    }
}

/// Where the kernel has no process descriptors: check, then signal. For a child of ours there is
/// nothing in between, because it keeps its number until it is reaped.
fn kill_by_number(proc: ProcId, signal: i32) -> io::Result<()> {
    degrade::note(degrade::Feature::ProcessDescriptors);
    identified(proc)?;
    kill_child(proc.pid, signal)
}

/// Sends a signal to an unreaped child by number.
pub fn kill_child(pid: u32, signal: i32) -> io::Result<()> {
    let number = positive(pid)?;
    // SAFETY: sends a signal to another process.
    check(unsafe { libc::kill(number, signal) }).map(|_| ())
}

/// Sends a signal to every process of a group whose leader is, or was, an unreaped child.
pub fn kill_group(group: u32, signal: i32) -> io::Result<()> {
    let number = positive(group)?;
    // SAFETY: sends a signal to other processes.
    check(unsafe { libc::kill(-number, signal) }).map(|_| ())
}

/// Sets how readily a process gets the processor, -20 to 19. What it starts meanwhile is as if it had not been favoured:
/// that is the kernel's to see to, between this and a fork of its own.
pub fn set_nice(pid: u32, nice: i32) -> io::Result<()> {
    let number = positive(pid)?;
    // SAFETY: all zero is a valid parameter, and what this policy takes.
    let ordinary: libc::sched_param = unsafe { std::mem::zeroed() };
    let policy = libc::SCHED_OTHER | libc::SCHED_RESET_ON_FORK;
    // SAFETY: changes another process, by plain numbers and a parameter that is read.
    check(unsafe {
        libc::syscall(
            libc::SYS_sched_setscheduler,
            number,
            policy,
            &raw const ordinary,
        )
    })?;
    let which = number.unsigned_abs();
    // SAFETY: changes another process.
    check(unsafe { libc::setpriority(libc::PRIO_PROCESS as _, which, nice) }).map(|_| ())
}

/// Numbers 0 and 1 would reach ourselves or everybody.
fn positive(pid: u32) -> io::Result<i32> {
    match i32::try_from(pid) {
        Ok(number) if number > 1 => Ok(number),
        _ => Err(io::Error::from_raw_os_error(libc::ESRCH)),
    }
}

/// All processes for which `choose` says so, by a walk through `/proc`: for machines without
/// control groups, where a service is a session.
pub fn find(mut choose: impl FnMut(u32, &Status) -> bool) -> Vec<ProcId> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return found;
    };
    for entry in entries.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        if let Some(status) = status(pid)
            && !status.is_dead()
            && choose(pid, &status)
        {
            found.push(ProcId {
                pid,
                start: status.start,
            });
        }
    }
    found
}

/// The living processes of a session.
pub fn session_members(session: u32) -> Vec<ProcId> {
    find(|_, status| status.session == session)
}

/// The living children of a process.
pub fn children_of(parent: u32) -> Vec<ProcId> {
    find(|_, status| status.parent == parent)
}

/// Adopts orphaned descendants in place of init. For tests and the single-process build.
pub fn become_subreaper() -> io::Result<()> {
    // SAFETY: sets a flag of this process.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_with_a_hostile_name() {
        let line =
            b"42 (a) R 1 (x) S 7 8 9 10 11 12 13 14 15 16 100 23 18 19 20 21 1 0 987654321 5";
        let status = parse_stat(line).unwrap();
        assert_eq!(
            status,
            Status {
                state: b'S',
                parent: 7,
                group: 8,
                session: 9,
                cpu: 123,
                start: 987_654_321
            }
        );
        for end in 0..line.len() - 12 {
            assert!(parse_stat(&line[..end]).is_none() || end > 70, "{end}");
        }
        assert!(parse_stat(b"").is_none());
        assert!(parse_stat(b")").is_none());
        assert!(parse_stat(b"1 (x) S a b c").is_none());
    }

    #[test]
    fn identity_of_living_processes() {
        let own = own();
        assert!(own.start != 0 && is_alive(own));
        let impostor = ProcId {
            start: own.start + 1,
            ..own
        };
        assert!(!is_alive(impostor));
        assert_eq!(
            kill(impostor, 0).unwrap_err().raw_os_error(),
            Some(libc::ESRCH)
        );
        assert_eq!(
            kill_by_number(impostor, 0).unwrap_err().raw_os_error(),
            Some(libc::ESRCH)
        );
        kill(own, 0).unwrap();
        kill_by_number(own, 0).unwrap();
        // Ourselves, and whoever started us, are no children of ours.
        for pid in [own.pid, parent_pid()] {
            let unknown = ProcId { pid, start: 0 };
            for refused in [kill(unknown, 0), kill_by_number(unknown, 0)] {
                assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::ESRCH));
            }
        }
        assert!(!is_alive(ProcId { pid: 0, start: 0 }));
    }

    #[test]
    fn numbers_that_mean_many_are_refused() {
        for pid in [0, 1, u32::MAX, i32::MAX as u32 + 1] {
            assert!(kill_child(pid, 0).is_err());
            assert!(kill_group(pid, 0).is_err());
        }
    }
}
