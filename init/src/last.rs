//! The last step: from "every unit is stopped" (or init's own deadline) to the end.
//!
//! ```text
//!   No ─begin─▶ Term ─▶ Kill ─▶ Release ─▶ Unmount ─▶ Sync* ─▶ Reboot ─▶ End
//!       TERM to all   KILL    close kept    worker               child   reap for ever
//!                             descriptors     └─▶ the initramfs's /shutdown**
//! ```
//!
//! \* only when the worker ran out of time or is not to be had: then `/` is made read-only as well;
//! \*\* only when an initramfs left its `/run/initramfs/shutdown`. Each stage has a deadline; `Term`
//! and `Kill` end early when init has no child left. From `begin` on no manager is spawned. Nothing in
//! here can be stopped, taken back, or asked for twice.

use crate::say::{
    self,
    Arg::{B, E},
};
use crate::supervise::Init;
use crate::sys::{self, Words, until_nul};
use crate::text::parse;
use crate::work;
use crate::workers::Job;
use core::ffi::CStr;
use init_wire::Ending;

/// After SIGTERM. The manager has stopped every service in its own time already; these are left-overs.
const TERM_MS: u64 = 5000;
/// After SIGKILL. What is still there then sleeps in the kernel.
const KILL_MS: u64 = 3000;
const RELEASE_MS: u64 = 4000;
const UNMOUNT_MS: u64 = 60_000;
const SYNC_MS: u64 = 20_000;
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
    /// A child is at it; its own deadline counts.
    Working,
    /// Nothing more can be done: reap for ever.
    End,
}

/// What the manager leaves for the very end, in files beside its sockets: `/run` may be gone by then,
/// so they are read at the beginning of the last step.
pub struct Parting {
    /// Argument of the kernel's reboot, and NULs; empty if none.
    argument: [u8; 256],
    /// Exit status of init in a container, in place of a reboot.
    status: Option<u8>,
}

const ARGUMENT: &CStr = c"/run/sysmaster/reboot-param";
const STATUS: &CStr = c"/run/sysmaster/exit-status";

impl Parting {
    /// Nothing.
    pub const fn new() -> Parting {
        Parting {
            argument: [0; 256],
            status: None,
        }
    }

    fn read(&mut self) {
        let mut buf = [0; 256];
        let argument = first_line(ARGUMENT, &mut buf);
        // One byte less than there is room: it ends in NUL.
        for (place, byte) in self.argument.iter_mut().zip(argument).take(255) {
            *place = *byte;
        }
        let status = parse(first_line(STATUS, &mut buf));
        self.status = status.and_then(|status| u8::try_from(status).ok());
    }
}

/// What the file at `path` says up to the end of its first line; empty if there is none.
fn first_line<'b>(path: &CStr, buf: &'b mut [u8]) -> &'b [u8] {
    let text = sys::read_once(path, buf).unwrap_or_default();
    let end = text.iter().position(|byte| *byte < b' ');
    text.get(..end.unwrap_or(text.len())).unwrap_or_default()
}

/// What the initramfs's `/shutdown` is told, and what is told to people.
const WORDS: [(&CStr, &[u8]); 4] = [
    (c"poweroff", b"powering off"),
    (c"reboot", b"rebooting"),
    (c"halt", b"halting"),
    (c"kexec", b"starting the loaded kernel"),
];

/// Begins the last step.
pub fn begin(init: &mut Init, ending: Ending, now: u64) {
    if init.last != Stage::No {
        return;
    }
    init.facts.ending = 1 + ending as u32;
    if let Some((_, text)) = WORDS.get(ending as usize) {
        say::notice("%", &[B(text)]);
    }
    init.parting.read();
    init.watchdog_at_the_end(ending, now);
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
    if !childless && deadline(init) > now {
        return;
    }
    match init.last {
        Stage::Term { .. } => {
            sys::kill(-1, libc::SIGKILL);
            init.last = Stage::Kill {
                until: now + KILL_MS,
            };
            init.reap_again = true;
        }
        Stage::Kill { .. } => {
            init.last = Stage::Working;
            let store = &init.store;
            let release = || {
                let mut index = 0;
                while let Some((label, fd)) = store.at(index) {
                    if label.kind != init_wire::Kind::WATCHDOG {
                        sys::close(fd);
                    }
                    index += 1;
                }
                0
            };
            if init
                .workers
                .start(Job::Release, RELEASE_MS, true, release)
                .is_err()
            {
                ended(init, Job::Release, None);
            }
        }
        _ => {}
    }
}

/// When [`tick`] wants to be called; `u64::MAX`: not by itself.
pub fn deadline(init: &Init) -> u64 {
    match init.last {
        Stage::Term { until } | Stage::Kill { until } => until,
        _ => u64::MAX,
    }
}

/// A child of the last step ended, or was killed at its deadline, or could not be started (`None`).
pub fn ended(init: &mut Init, job: Job, status: Option<i32>) {
    if init.last != Stage::Working {
        return;
    }
    if job == Job::Release && init.facts.settings.unmount != 0 {
        if init
            .work(Job::Unmount, UNMOUNT_MS, &[c"init-worker", c"unmount"])
            .is_ok()
        {
            return;
        }
    } else if job == Job::Unmount && status == Some(work::INITRAMFS << 8) {
        go_back(init);
    } else if job == Job::Reboot {
        if init.container {
            // Without the right to reboot a namespace: its end is ours.
            sys::exit(0);
        }
        say::error("the kernel does not end the machine; switch it off", &[]);
        init.last = Stage::End;
        return;
    }
    let unmounted = job != Job::Release || init.facts.settings.unmount == 0;
    if (job == Job::Unmount && status.is_none_or(|status| status & 0x7f != 0) || !unmounted)
        && init.workers.start(Job::Sync, SYNC_MS, false, sync).is_ok()
    {
        say::error("unmounting failed or takes too long, going on without", &[]);
        return;
    }
    if let (true, Some(status)) = (init.container, init.parting.status) {
        sys::exit(i32::from(status));
    }
    let ending = init.ending().unwrap_or(Ending::Poweroff);
    let argument = init.parting.argument;
    let end = || {
        end_machine(ending, until_nul(&argument));
        1
    };
    if init
        .workers
        .start(Job::Reboot, REBOOT_MS, false, end)
        .is_err()
    {
        // No process to be had: then in person. It comes back only if the kernel refuses.
        end_machine(ending, until_nul(&argument));
        init.last = Stage::End;
    }
}

/// The initramfs is the root again, ours too: executes its `/shutdown`. Comes back only if that fails.
fn go_back(init: &mut Init) {
    let verb = WORDS
        .get(init.facts.ending.wrapping_sub(1) as usize)
        .map_or(c"", |(verb, _)| *verb);
    let error = match sys::chdir(c"/") {
        Ok(()) => sys::exec(
            c"/shutdown",
            &Words::of(&[c"/shutdown", verb]),
            &init.environment,
        ),
        Err(error) => error,
    };
    say::error("the initramfs's /shutdown: %", &[E(error)]);
}

/// What a worker that hung, or is not there, leaves to do.
fn sync() -> i32 {
    sys::sync();
    let flags = (libc::MS_REMOUNT | libc::MS_RDONLY) as u32;
    i32::from(sys::mount(c"none", c"/", c"", flags, c"").is_err())
}

/// Tells the kernel; the second-best where the first is refused.
fn end_machine(ending: Ending, argument: &CStr) {
    let (best, then) = match ending {
        Ending::Poweroff => (sys::Reboot::Poweroff, sys::Reboot::Halt),
        Ending::Reboot => (sys::Reboot::Restart, sys::Reboot::Restart),
        Ending::Halt => (sys::Reboot::Halt, sys::Reboot::Halt),
        Ending::Kexec => (sys::Reboot::Kexec, sys::Reboot::Restart),
    };
    if ending == Ending::Reboot && !argument.is_empty() {
        sys::reboot_with(argument);
    }
    sys::reboot(best);
    sys::reboot(then);
}

/// A shell without a worker: on whatever the descriptors 0 to 2 are.
pub fn shell() -> i32 {
    sys::default_signals();
    sys::exec(c"/bin/sh", &Words::of(&[c"-sh"]), &sys::Environment::new());
    127
}

/// What is left to do when init itself is defective: the rescue path without any of its state.
/// Goes on reaping, never returns.
pub fn last_resort(reboot: bool) -> ! {
    if sys::pid() != 1 {
        sys::exit(101);
    }
    say::error(
        "a defect in init; services go on, nothing is managed any more",
        &[],
    );
    if let Ok(0) = sys::fork() {
        if reboot {
            sys::sleep(10_000);
            sys::sync();
            sys::reboot(sys::Reboot::Restart);
        }
        sys::exit(shell());
    }
    loop {
        match sys::peek(0) {
            sys::Peek::Zombie(zombie) => {
                sys::reap(zombie.pid);
            }
            // Once a second: this is no ordinary state, and needs no descriptor that may be broken.
            _ => sys::sleep(1000),
        }
    }
}
