//! The platform layer: the only place outside `init` that touches an operating system, and with
//! `init` the only one with `unsafe` code.
//!
//! # The model
//!
//! A manager or helper is one thread in one loop: [`poll::Poller::wait`] sleeps until a deadline, a
//! descriptor, a signal or the end of a child, and returns what there is as plain values. All else
//! is a direct call that does not sleep. What may sleep (a path on a dead file server, a terminal
//! without carrier) is done in a child made by [`process::spawn`], with the functions of
//! [`child`], which are only meant to be used there.
//!
//! * Descriptors are [`std::os::fd::OwnedFd`], close-on-exec and non-blocking from birth.
//! * A process is a [`process::ProcId`], never a bare number, as soon as it is not known to be an
//!   unreaped child of the caller.
//! * Times are microseconds since boot, sleep included ([`clock::now`]), 64 bits on every machine.
//! * Memory that outlives its writer ([`memory::Memory`]) is a slice of atomic words: whatever
//!   another process has put there is a number and nothing worse.
//! * What a kernel lacks is replaced where it can be, and noted once per boot ([`degrade`]).
//!
//! Users of this crate name no operating system. There is one implementation, Linux, which also
//! serves OpenHarmony; each module states where another one could differ.
#![allow(unsafe_code)]

#[cfg(not(target_os = "linux"))]
compile_error!("this platform has no implementation yet: see ports/platform/src/linux");

mod linux;

pub use linux::{
    cgroup, child, clock, console, degrade, fd, files, heap, kernel, listen, memory, poll, process,
    random, signal, socket, terminal, users, watchdog,
};
