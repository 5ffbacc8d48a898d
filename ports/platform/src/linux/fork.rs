//! Making children. Offered to others by [`super::process`].
//!
//! There are two ways. [`spawn`] copies the process: the child may take as long as it takes, and the
//! parent goes on at once. The copy is what costs: page tables, and a fault for each page that
//! either of the two writes to afterwards. [`spawn_suspended`] lends the child the parent's memory
//! and suspends the parent until the child has executed its program or ended, which costs a
//! fraction; it is for children that cannot sleep before that.
//!
//! A suspended parent still dies of SIGKILL. The child then keeps the memory and goes on, as a
//! copied one would.

use super::sys::check;
use super::{child, clock, degrade, process, signal};
use process::ProcId;
use std::cell::UnsafeCell;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

/// A new child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spawned {
    /// Its number. It is our child, so the number is good until it is reaped.
    pub pid: u32,
    /// Whether it was born in the control group it was to be born in. If not, somebody has to
    /// move it (the child itself, before it executes anything).
    pub in_group: bool,
}

/// Forks. The child runs `body`, ends with the code it returns, and never comes back; a panic in
/// it ends it with code 254. `group` is an open control group for it to be born in.
///
/// The caller must be single-threaded. The child has the parent's signal mask: a signal sent to
/// it early waits until it has called [`child::reset_signals`].
pub fn spawn(group: Option<BorrowedFd<'_>>, body: impl FnOnce(bool) -> i32) -> io::Result<Spawned> {
    prepare();
    let (pid, in_group) = copy(group)?;
    if pid != 0 {
        return Ok(born(pid, group, in_group));
    }
    IN_CHILD.store(true, Ordering::Relaxed);
    child::end(body(in_group))
}

/// As [`spawn`], but the child borrows our memory and we are suspended until it has executed its
/// program or ended. So `body` must not sleep, should not allocate (nobody would free it), and
/// whatever it writes is written in our memory as well. Copies the process where the kernel or the
/// architecture offers nothing else.
pub fn spawn_suspended(
    group: Option<BorrowedFd<'_>>,
    body: &mut dyn FnMut(bool) -> i32,
) -> io::Result<Spawned> {
    prepare();
    match lend(group, body) {
        Ok(pid) => Ok(born(pid, group, group.is_some())),
        Err(error) if is_refused(&error) => spawn(group, body),
        Err(error) => Err(error),
    }
}

fn born(pid: i32, group: Option<BorrowedFd<'_>>, in_group: bool) -> Spawned {
    if group.is_some() && !in_group {
        degrade::note(degrade::Feature::BirthInGroup);
    }
    Spawned {
        pid: pid as u32,
        in_group,
    }
}

/// Who a child is, without asking the kernel if that can be avoided: it was born after `before`
/// ([`clock::now`], read by the parent before the fork) and before now, and where both are in the
/// same tick of the kernel's count of start times, that tick is its start time.
pub fn own_born_after(before: u64) -> ProcId {
    match tick_between(before, clock::now()) {
        Some(start) => ProcId {
            pid: process::own_pid(),
            start,
        },
        None => process::own(),
    }
}

/// The tick both points in time (microseconds) are in.
fn tick_between(before: u64, after: u64) -> Option<u64> {
    /// What a tick lasts that `/proc` counts in, on all architectures we know.
    const TICK: u64 = 10_000;
    // The two clocks may round differently, by less than a microsecond: the first one is left out.
    (!before.is_multiple_of(TICK) && before / TICK == after / TICK).then_some(after / TICK)
}

/// Whether this process is a child that has not executed anything yet.
static IN_CHILD: AtomicBool = AtomicBool::new(false);

/// A child has panicked in memory of ours, and the standard library counts that as our panic: the
/// next one, also in a child, would be its second and abort without asking the hook. So from then
/// on children are made by the C library's `fork` alone, in which an abort reaches nobody else.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// What has to be done once, before the first child.
///
/// A panic in a child must neither run on into the parent's code nor reach the C library's abort,
/// which may signal the thread number it remembers: the parent's. The hook is set before the first
/// fork: setting it takes a lock, which in the child nobody might ever release.
fn prepare() {
    static ONCE: Once = Once::new();
    signal::ignored();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if IN_CHILD.load(Ordering::Relaxed) {
                PANICKED.store(true, Ordering::Relaxed);
                child::end(254);
            }
            before(panic);
        }));
    });
}

/// Whether the kernel does not make children this way: an old one, one without the call, or a
/// group that takes nobody.
fn is_refused(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ENOSYS
                | libc::EINVAL
                | libc::E2BIG
                | libc::EPERM
                | libc::EACCES
                | libc::EOPNOTSUPP
                | libc::EBUSY
                | libc::EBADF
                | libc::ENODEV
        )
    )
}

/// Returns 0 in the child.
fn copy(group: Option<BorrowedFd<'_>>) -> io::Result<(i32, bool)> {
    if group.is_some() && !PANICKED.load(Ordering::Relaxed) {
        let args = Args::new(group);
        // SAFETY: like fork (no shared memory, no new stack), and single-threaded by contract.
        let made = unsafe { libc::syscall(libc::SYS_clone3, &args, size_of::<Args>()) };
        match check(made) {
            Ok(pid) => return Ok((pid as i32, true)),
            Err(error) if is_refused(&error) => {}
            Err(error) => return Err(error),
        }
    }
    // SAFETY: single-threaded by contract, so the child's memory is consistent.
    check(unsafe { libc::fork() }).map(|pid| (pid, false))
}

/// `struct clone_args`, version 2.
#[repr(C, align(8))]
#[derive(Default)]
struct Args {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

impl Args {
    /// A child that is born in this group: one step, and much cheaper than moving it there.
    fn new(group: Option<BorrowedFd<'_>>) -> Self {
        const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
        Self {
            flags: group.map_or(0, |_| CLONE_INTO_CGROUP),
            exit_signal: libc::SIGCHLD as u64,
            cgroup: group.map_or(0, |group| group.as_raw_fd() as u64),
            ..Self::default()
        }
    }
}

/// The stack of the child that has our memory; of its pages only those that are used exist.
#[repr(C, align(16))]
struct Stack(UnsafeCell<[u8; STACK_SIZE]>);
const STACK_SIZE: usize = 64 << 10;
// SAFETY: only the one child that `BUSY` admits runs on it; nobody reads it.
unsafe impl Sync for Stack {}
static STACK: Stack = Stack(UnsafeCell::new([0; STACK_SIZE]));
static BUSY: AtomicBool = AtomicBool::new(false);

/// What the child finds in our memory.
struct Start<'a> {
    body: &'a mut dyn FnMut(bool) -> i32,
    in_group: bool,
}

/// Makes the child that borrows our memory; returns when it has executed its program or ended.
fn lend(group: Option<BorrowedFd<'_>>, body: &mut dyn FnMut(bool) -> i32) -> io::Result<i32> {
    if PANICKED.load(Ordering::Relaxed) || BUSY.swap(true, Ordering::Acquire) {
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    }
    let mut args = Args::new(group);
    args.flags |= (libc::CLONE_VM | libc::CLONE_VFORK) as u64;
    args.stack = STACK.0.get() as u64;
    args.stack_size = STACK_SIZE as u64;
    let mut start = Start {
        body,
        in_group: group.is_some(),
    };
    // SAFETY: the child runs `enter` with `start` on a stack of its own (`BUSY`: nobody else's). We
    // are suspended meanwhile (CLONE_VFORK) and single-threaded by contract, so it alone uses our
    // memory; it never returns into a frame of ours.
    let made = unsafe { clone3(&args, &mut start) };
    IN_CHILD.store(false, Ordering::Relaxed);
    BUSY.store(false, Ordering::Release);
    if made < 0 {
        return Err(io::Error::from_raw_os_error(-made as i32));
    }
    Ok(made as i32)
}

/// Where the child begins.
extern "C" fn enter(start: *mut Start<'_>) -> ! {
    IN_CHILD.store(true, Ordering::Relaxed);
    // SAFETY: the parent's variable, which lives on while the parent is suspended, or dead.
    let start = unsafe { &mut *start };
    child::end((start.body)(start.in_group))
}

/// `clone3`; the child calls `enter(start)` on the stack that `args` names. Returns its number, or
/// an error number below 0. Not the C library's wrapper: that returns in the child, too, by an
/// address on a stack that the child does not have.
///
/// # Safety
///
/// `args` must name a stack that nobody else uses, and suspend the caller if it shares memory.
#[cfg(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "arm",
    target_arch = "riscv64"
))]
unsafe fn clone3(args: &Args, start: &mut Start<'_>) -> isize {
    const NUMBER: usize = 435;
    let start: *mut Start<'_> = start;
    let result: isize;
    // SAFETY: registers but the result and those named here are as before in both processes; the
    // child never leaves the call. Memory is taken to be changed, as it is.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r8",
            "call r9",
            "ud2",
            "2:",
            inlateout("rax") NUMBER as isize => result,
            in("rdi") args, in("rsi") size_of::<Args>(), in("r8") start, in("r9") enter as *const (),
            lateout("rcx") _, lateout("r11") _,
        );
        #[cfg(target_arch = "aarch64")]
        std::arch::asm!(
            "svc #0",
            "cbnz x0, 2f",
            "mov x0, x2",
            "blr x3",
            "brk #1",
            "2:",
            in("x8") NUMBER, inlateout("x0") args => result,
            in("x1") size_of::<Args>(), in("x2") start, in("x3") enter as *const (),
        );
        // r7 may be the frame pointer, which cannot be named as an operand.
        #[cfg(target_arch = "arm")]
        std::arch::asm!(
            "mov {saved}, r7",
            "mov r7, {number}",
            "svc #0",
            "mov r7, {saved}",
            "cmp r0, #0",
            "bne 2f",
            "mov r0, r2",
            "blx r3",
            "udf #0",
            "2:",
            saved = out(reg) _, number = in(reg) NUMBER,
            inlateout("r0") args => result,
            in("r1") size_of::<Args>(), in("r2") start, in("r3") enter as *const (),
        );
        #[cfg(target_arch = "riscv64")]
        std::arch::asm!(
            "ecall",
            "bnez a0, 2f",
            "mv a0, a2",
            "jalr a3",
            "unimp",
            "2:",
            in("a7") NUMBER, inlateout("a0") args => result,
            in("a1") size_of::<Args>(), in("a2") start, in("a3") enter as *const (),
        );
    }
    result
}

/// Elsewhere processes are copied.
#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "arm",
    target_arch = "riscv64"
)))]
unsafe fn clone3(_: &Args, _: &mut Start<'_>) -> isize {
    -(libc::ENOSYS as isize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_time_is_known_only_within_one_tick() {
        assert_eq!(tick_between(1, 9_999), Some(0));
        assert_eq!(tick_between(70_001, 70_001), Some(7));
        assert_eq!(tick_between(69_999, 70_001), None);
        assert_eq!(tick_between(70_000, 70_001), None, "rounding");
        assert_eq!(tick_between(70_001, 80_000), None);
    }
}
