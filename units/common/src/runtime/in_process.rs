//! The transport without sockets: the manager's own loop drives the helper's object.
//!
//! The caller sends [`ToHelper`] messages and takes [`FromHelper`] ones, in the same order and with
//! the same meaning as over the socket; nothing is encoded. It shares its poller (the type's tokens
//! are offset by [`Settings::token_base`]), peeks and reaps children for all, and calls
//! [`InProcess::tick`] at [`InProcess::deadline`].

use super::{Helper, Settings, Then, UnitType};
use crate::state::Micros;
use crate::wire::helper::{FromHelper, ToHelper};
use alloc::boxed::Box;
use platform::poll::{Poller, Ready};
use platform::process::Exit;
use std::io;
use std::os::fd::OwnedFd;

/// A helper inside the manager's process.
pub struct InProcess {
    pub(super) helper: Helper,
}

impl InProcess {
    /// Puts a type into the runtime.
    pub fn new(unit_type: Box<dyn UnitType>, settings: Settings) -> Self {
        Self {
            helper: Helper::new(unit_type, settings),
        }
    }

    /// A manager is there: ends the conversation with the last one, begins one with it and returns
    /// the hello.
    pub fn connect(&mut self) -> FromHelper {
        self.helper.disconnected();
        self.helper.connected()
    }

    /// The manager is gone; the object goes on with what it has accepted.
    pub fn disconnect(&mut self) {
        self.helper.disconnected();
    }

    /// Says something to the helper. `false`: it ends the conversation (a lower epoch, a message
    /// before the welcome, `Quit`).
    pub fn send(&mut self, message: ToHelper, fd: Option<OwnedFd>, poller: &Poller) -> bool {
        let then = self.helper.receive(message, fd, poller);
        if then == Then::Disconnect {
            self.helper.disconnected();
        }
        then == Then::Continue
    }

    /// The next thing the helper says, with the descriptor of a `Keep`.
    pub fn take(&mut self) -> io::Result<Option<(FromHelper, Option<OwnedFd>)>> {
        if !self.helper.may_send() {
            return Ok(None);
        }
        let copy = match self.helper.outbox.front() {
            Some((_, fd)) => fd.map(OwnedFd::try_clone).transpose()?,
            None => return Ok(None),
        };
        Ok(self.helper.outbox.sent().map(|frame| (frame, copy)))
    }

    /// A descriptor with a token of this helper is ready.
    pub fn ready(&mut self, ready: Ready, poller: &Poller) {
        self.helper.ready(ready, poller);
    }

    /// A child has ended. It is recorded when this returns: now it may be reaped.
    pub fn exited(&mut self, exit: Exit, poller: &Poller) {
        self.helper.child_exited(exit, poller);
    }

    /// When to call [`InProcess::tick`].
    pub fn deadline(&self) -> Option<Micros> {
        self.helper.deadline()
    }

    /// Calls the type if its deadline has come.
    pub fn tick(&mut self, poller: &Poller) {
        self.helper.tick(poller);
    }
}
