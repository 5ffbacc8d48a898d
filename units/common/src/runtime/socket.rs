//! A helper as a process of its own: one loop over one connection to the manager.
//!
//! The manager's listener is kept by init, so a connection made while there is no manager waits in
//! its backlog until the next one accepts it: no timer is needed for that. The end of a manager is
//! the end of its connection. A timer runs only where no connection can be made at all (no
//! listener, or a full backlog) or where one ended without a welcome: then the next attempt comes
//! after a while that doubles up to five seconds.

use super::{Helper, Settings, Then, UnitType};
use crate::wire::helper::ToHelper;
use crate::wire::{self, MAX_FRAME};
use alloc::boxed::Box;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use platform::console::KernelLog;
use platform::poll::{Event, Interest, MAX_TOKEN, Poller, Ready};
use platform::{child, clock, degrade, process, socket};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Where the manager listens for helpers.
pub const HELPER_SOCKET: &str = "/run/sysmaster/helper";

/// Ours goes when nothing else is left to be killed for memory.
const OOM_SCORE: i32 = -900;

const FIRST_PAUSE: u64 = 100_000;
const LONGEST_PAUSE: u64 = 5_000_000;

/// Messages taken in one turn, so that children and deadlines are not kept waiting.
const BATCH: usize = 64;

const LINK: u64 = MAX_TOKEN - 1;

/// Runs a helper until the manager says that it is not needed any more. Returns the exit code of
/// the process: 0, or 1 if the loop cannot run at all.
pub fn run(unit_type: Box<dyn UnitType>, settings: Settings) -> i32 {
    if child::set_oom_score(OOM_SCORE).is_err() {
        degrade::note(degrade::Feature::OomProtection);
    }
    run_at(unit_type, settings, Path::new(HELPER_SOCKET))
}

/// As [`run`], with the manager's listener at another path.
pub fn run_at(unit_type: Box<dyn UnitType>, settings: Settings, path: &Path) -> i32 {
    let name = unit_type.name();
    let ended = Loop::new(unit_type, settings, path).and_then(|mut running| running.run());
    match ended {
        Ok(()) => 0,
        Err(error) => {
            let text = format!("the helper for .{name} units cannot wait for events: {error}");
            KernelLog::open().write(2, "sysmaster", &text);
            1
        }
    }
}

/// A connection that stands.
struct Link {
    fd: OwnedFd,
    /// The hello has gone out.
    greeted: bool,
    /// The manager does not read: we wait until it does.
    blocked: bool,
}

struct Loop {
    helper: Helper,
    poller: Poller,
    path: PathBuf,
    link: Option<Link>,
    /// When to try to connect again, and how long to wait the time after.
    again: Option<u64>,
    pause: u64,
    buffer: Vec<u8>,
}

impl Loop {
    fn new(unit_type: Box<dyn UnitType>, settings: Settings, path: &Path) -> io::Result<Self> {
        Ok(Self {
            helper: Helper::new(unit_type, settings),
            poller: Poller::new(&[])?,
            path: path.to_owned(),
            link: None,
            again: Some(0),
            pause: FIRST_PAUSE,
            buffer: vec![0; MAX_FRAME],
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Vec::new();
        loop {
            if self.again.is_some_and(|at| at <= clock::now()) {
                self.connect();
            }
            self.flush();
            if platform::heap::has_grown() && self.helper.is_quiet() {
                platform::heap::trim();
            }
            let deadlines = [self.helper.deadline(), self.again];
            let deadline = deadlines.into_iter().flatten().min();
            self.poller.wait(deadline, &mut events)?;
            for event in events.drain(..) {
                match event {
                    Event::Ready(ready) if ready.token == LINK => {
                        if self.link_ready(ready) == Then::Quit {
                            return Ok(());
                        }
                    }
                    Event::Ready(ready) => self.helper.ready(ready, &self.poller),
                    Event::Children => self.children(),
                    Event::Signal(_) => {}
                }
            }
            self.helper.tick(&self.poller);
        }
    }

    /// Every child that has ended: told, recorded, reaped.
    fn children(&mut self) {
        while let Ok(Some(exit)) = process::peek_exit() {
            self.helper.child_exited(exit, &self.poller);
            crate::fault::boundary();
            if !matches!(process::reap(exit.proc.pid), Ok(Some(_))) {
                return;
            }
        }
    }

    fn connect(&mut self) {
        self.again = None;
        let made = socket::connect(&self.path)
            .and_then(|fd| self.poller.add(&fd, LINK, Interest::READ).map(|()| fd));
        match made {
            Ok(fd) => {
                self.link = Some(Link {
                    fd,
                    greeted: false,
                    blocked: false,
                })
            }
            Err(_) => self.connect_later(),
        }
    }

    fn connect_later(&mut self) {
        self.again = Some(clock::now() + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// Ends the connection and sees to the next one: at once if the manager was a good one (it
    /// has died), otherwise later.
    fn disconnect(&mut self) {
        let Some(link) = self.link.take() else { return };
        // A child that has not executed its program yet holds a copy, so closing is not enough.
        let _ = self.poller.remove(&link.fd);
        drop(link);
        let was_welcome = self.helper.is_welcome();
        self.helper.disconnected();
        if was_welcome {
            self.pause = FIRST_PAUSE;
            self.again = Some(0);
        } else {
            self.connect_later();
        }
    }

    fn link_ready(&mut self, ready: Ready) -> Then {
        if ready.writable {
            self.unblock();
        }
        for _ in 0..BATCH {
            let Some(link) = &self.link else { break };
            let received = match socket::receive(&link.fd, &mut self.buffer) {
                Ok(None) => break,
                Ok(Some(received)) if received.length > 0 => received,
                Ok(Some(_)) | Err(_) => {
                    self.disconnect();
                    break;
                }
            };
            let frame = self.buffer.get(..received.length).unwrap_or(&[]);
            if !received.truncated && self.helper.hold(frame) {
                continue;
            }
            let then = match wire::decode::<ToHelper>(frame) {
                Ok(message) if !received.truncated => {
                    let fd = received.fds.into_iter().next();
                    self.helper.receive(message, fd, &self.poller)
                }
                // The descriptors that came with it are closed with `received`.
                _ => {
                    self.helper.unknown(received.length);
                    Then::Continue
                }
            };
            match then {
                Then::Continue => {}
                Then::Disconnect => self.disconnect(),
                Then::Quit => return Then::Quit,
            }
        }
        Then::Continue
    }

    fn unblock(&mut self) {
        if let Some(link) = &mut self.link {
            link.blocked = false;
            let _ = self.poller.modify(&link.fd, LINK, Interest::READ);
        }
    }

    /// Sends what can be sent.
    fn flush(&mut self) {
        let Some(link) = &mut self.link else { return };
        if link.blocked {
            return;
        }
        let sent = send_all(link, &mut self.helper);
        match sent {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                link.blocked = true;
                let _ = self.poller.modify(&link.fd, LINK, Interest::READ_WRITE);
            }
            // What the manager sent before it died is still to be read; the end comes after it.
            Err(_) => link.blocked = true,
        }
    }
}

fn send_all(link: &mut Link, helper: &mut Helper) -> io::Result<()> {
    if !link.greeted {
        let hello = helper.connected();
        let bytes = wire::encode(&hello).map_err(|_| io::ErrorKind::InvalidData)?;
        socket::send(&link.fd, &bytes, &[])?;
        link.greeted = true;
    }
    while helper.may_send() {
        let Some((frame, fd)) = helper.outbox.front() else {
            break;
        };
        match wire::encode(frame) {
            Ok(bytes) => {
                crate::fault::boundary();
                let fds: Vec<_> = fd.iter().map(|fd| fd.as_fd()).collect();
                socket::send(&link.fd, &bytes, &fds)?;
                helper.outbox.sent();
            }
            // Longer than a frame may be: nothing of ours is, unless a unit's own text is.
            Err(error) => {
                let text = format!("a message to the manager was {error}: dropped");
                helper.outbox.sent();
                helper.log(3, text);
            }
        }
    }
    Ok(())
}
