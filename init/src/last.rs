//! The last step: from "every unit is stopped" (or init's own deadline) to the end.
//!
//! ```text
//!   No ─begin─▶ Term ─▶ Kill ─▶ Unmount ─▶ Sync* ─▶ Pivot** ─▶ Reboot ─▶ End
//!       TERM to all   KILL    worker     worker    worker     worker   reap for ever
//! ```
//!
//! \* only when the unmount worker ran out of time; \*\* only when an initramfs left its
//! `/run/initramfs/shutdown`. Each stage has a deadline; `Term` and `Kill` end early when init has no
//! child left. From `begin` on no manager is spawned. Nothing in here can be stopped, taken
//! back, or asked for twice.

use crate::options::Rescue;
use crate::say::{
    self,
    Arg::{B, E},
};
use crate::supervise::Init;
use crate::sys;
use crate::text::{Text, join, parse};
use crate::unmount;
use crate::workers::{Job, status_of};
use core::ffi::CStr;
use init_wire::Ending;

/// After SIGTERM. The manager has stopped every service in its own time already; these are left-overs.
const TERM_MS: u64 = 5000;
/// After SIGKILL. What is still there then sleeps in the kernel.
const KILL_MS: u64 = 3000;
const UNMOUNT_MS: u64 = 60_000;
const SYNC_MS: u64 = 20_000;
const PIVOT_MS: u64 = 10_000;
const REBOOT_MS: u64 = 30_000;

/// Where in the last step we are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Not begun.
    No,
    /// Everybody was asked to end.
    Term { until: u64 },
    /// Everybody was killed.
    Kill { until: u64 },
    /// A worker is at it; its own deadline counts.
    Working,
    /// Nothing more can be done: reap for ever.
    End,
}

/// What the manager leaves for the very end, in files beside its sockets: `/run` may be gone by then,
/// so they are read at the beginning of the last step.
pub struct Parting {
    /// Argument of the kernel's reboot; empty if none.
    argument: Text,
    /// Exit status of init in a container, in place of a reboot.
    status: Option<u8>,
}

const ARGUMENT: &CStr = c"/run/sysmaster/reboot-param";
const STATUS: &CStr = c"/run/sysmaster/exit-status";

impl Parting {
    /// Nothing.
    pub const fn new() -> Parting {
        Parting {
            argument: Text::new(),
            status: None,
        }
    }

    fn read(&mut self) {
        let mut buf = [0; 256];
        if let Ok(text) = sys::read_file(ARGUMENT, &mut buf) {
            self.argument.bytes(text.trim_ascii());
        }
        if let Ok(text) = sys::read_file(STATUS, &mut buf) {
            self.status = parse(text.trim_ascii()).and_then(|status| u8::try_from(status).ok());
        }
    }
}

/// Begins the last step.
pub fn begin(init: &mut Init, ending: Ending, now: u64) {
    if init.last != Stage::No {
        return;
    }
    let deadline = init.shutdown.map_or(now, |(_, at)| at);
    init.shutdown = Some((ending, deadline));
    let what: &[u8] = match ending {
        Ending::Poweroff => b"powering off",
        Ending::Reboot => b"rebooting",
        Ending::Halt => b"halting",
        Ending::Kexec => b"starting the loaded kernel",
    };
    say::notice("%", &[B(what)]);
    init.parting.read();
    init.dismiss_manager();
    sys::kill(-1, libc::SIGTERM);
    sys::kill(-1, libc::SIGCONT);
    init.last = Stage::Term {
        until: now + TERM_MS,
    };
    init.reap_again = true;
}

/// Goes on if a deadline has passed; `childless`: nobody is left to wait for.
pub fn tick(init: &mut Init, now: u64, childless: bool) {
    match init.last {
        Stage::Term { until } if childless || until <= now => {
            sys::kill(-1, libc::SIGKILL);
            init.last = Stage::Kill {
                until: now + KILL_MS,
            };
            init.reap_again = true;
            if childless {
                tick_kill(init);
            }
        }
        Stage::Kill { until } if childless || until <= now => tick_kill(init),
        _ => {}
    }
}

fn tick_kill(init: &mut Init) {
    init.last = Stage::Working;
    let all = init.options.unmount.unwrap_or(!init.container);
    let store = &init.memories.store;
    let started = init
        .workers
        .start(Job::Unmount, Some(UNMOUNT_MS), true, || {
            unmount::everything(store, all)
        });
    if started.is_err() {
        reboot(init);
    }
}

/// When [`tick`] wants to be called.
pub fn deadline(init: &Init) -> Option<u64> {
    match init.last {
        Stage::Term { until } | Stage::Kill { until } => Some(until),
        _ => None,
    }
}

/// A worker of the last step ended, or was killed at its deadline (`None`).
pub fn worker_ended(init: &mut Init, job: Job, status: Option<i32>) {
    if init.last != Stage::Working {
        return;
    }
    match (job, status) {
        (Job::Unmount, None) => {
            say::error("unmounting takes too long, going on without", &[]);
            let sync = init
                .workers
                .start(Job::Sync, Some(SYNC_MS), false, unmount::sync);
            if sync.is_err() {
                reboot(init);
            }
        }
        (Job::Unmount, Some(_)) if sys::exists(c"/run/initramfs/shutdown") && !init.container => {
            let pivot = init.workers.start(Job::Pivot, Some(PIVOT_MS), false, pivot);
            if pivot.is_err() {
                reboot(init);
            }
        }
        (Job::Pivot, Some(0)) => {
            // The worker's pivot_root took our root along. Comes back only if it fails.
            let _ = sys::chdir(c"/");
            let verb = match init.shutdown {
                Some((Ending::Reboot, _)) => c"reboot",
                Some((Ending::Halt, _)) => c"halt",
                Some((Ending::Kexec, _)) => c"kexec",
                _ => c"poweroff",
            };
            let arguments = sys::List::new(&[c"/shutdown", verb]);
            let error = sys::exec(c"/shutdown", &arguments, &sys::List::environment(None));
            say::error("the initramfs's /shutdown: %", &[E(error)]);
            reboot(init);
        }
        (Job::Unmount | Job::Sync | Job::Pivot, _) => reboot(init),
        (Job::Reboot, _) => {
            if init.container {
                // Without the right to reboot a namespace: its end is ours.
                sys::exit(0);
            }
            say::error("the kernel does not end the machine; switch it off", &[]);
            init.last = Stage::End;
        }
        _ => {}
    }
}

fn reboot(init: &mut Init) {
    if let (true, Some(status)) = (init.container, init.parting.status) {
        sys::exit(i32::from(status));
    }
    let ending = init.shutdown.map_or(Ending::Poweroff, |(ending, _)| ending);
    let argument = &init.parting.argument;
    let started = init.workers.start(Job::Reboot, Some(REBOOT_MS), false, || {
        end_machine(ending, argument)
    });
    if started.is_err() {
        // No process to be had: then in person. It comes back only if the kernel refuses.
        end_machine(ending, argument);
        init.last = Stage::End;
    }
}

/// Tells the kernel; the second-best where the first is refused.
fn end_machine(ending: Ending, argument: &Text) -> i32 {
    match ending {
        Ending::Poweroff => {
            sys::reboot(&sys::Reboot::Poweroff);
            sys::reboot(&sys::Reboot::Halt)
        }
        Ending::Reboot => {
            if let Some(argument) = argument.whole().filter(|text| !text.is_empty()) {
                sys::reboot_with(argument);
            }
            sys::reboot(&sys::Reboot::Restart)
        }
        Ending::Halt => sys::reboot(&sys::Reboot::Halt),
        Ending::Kexec => {
            sys::reboot(&sys::Reboot::Kexec);
            sys::reboot(&sys::Reboot::Restart)
        }
    }
}

/// Makes the initramfs in `/run/initramfs` the root again, the old one at `/oldroot` inside.
fn pivot() -> i32 {
    let new = c"/run/initramfs";
    let bind = libc::MS_BIND as u32;
    let steps = || -> Result<(), sys::Errno> {
        sys::mount(
            c"none",
            c"/",
            c"",
            (libc::MS_REC | libc::MS_PRIVATE) as u32,
            c"",
        )?;
        sys::mount(new, new, c"", bind, c"")?;
        sys::chdir(new)?;
        for name in [c"dev", c"proc", c"sys", c"run"] {
            sys::mkdir(name, 0o755);
            let from = join(&[b"/", name.to_bytes()]);
            sys::mount(from.as_c(), name, c"", bind | libc::MS_REC as u32, c"")?;
        }
        sys::mkdir(c"oldroot", 0o755);
        sys::pivot_root(c".", c"oldroot")
    };
    status_of(steps())
}

/// What is left to do when init itself is defective: the rescue path without any of its state.
/// Goes on reaping, never returns.
pub fn last_resort(rescue: Rescue) -> ! {
    if sys::pid() != 1 {
        sys::exit(101);
    }
    say::error(
        "a defect in init; services go on, nothing is managed any more",
        &[],
    );
    if let Ok(0) = sys::fork() {
        if rescue == Rescue::Reboot {
            sys::sleep(10_000);
            sys::sync();
            sys::reboot(&sys::Reboot::Restart);
        }
        sys::exit(crate::manager::shell(c"/bin/sh"));
    }
    loop {
        match sys::peek(None) {
            sys::Peek::Zombie(zombie) => {
                sys::reap(zombie.pid);
            }
            // Once a second: this is no ordinary state, and needs no descriptor that may be broken.
            _ => sys::sleep(1000),
        }
    }
}
