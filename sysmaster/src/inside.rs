//! Helpers inside the manager (`Helpers=in-process`): the second transport, for boards where even
//! two more processes are too many, and for tests.
//!
//! The helper is the same object that otherwise runs in a process of its own, driven by our loop:
//! its descriptors are in our poller, its children are ours. Frames are queued as for a socket and
//! handed over at the end of the turn. Its journal is kept by init under the same labels, so the
//! next manager's helper adopts as a new process would, and a machine may change its mind between
//! the two.
//!
//! What is given up: a helper that hangs or dies takes the manager with it (init replaces both),
//! and while the manager is away nobody answers for its services.

use crate::helpers::Phase;
use crate::manager::Manager;
use platform::poll::Ready;
use platform::process::Exit;
use units::collections::Map;
use units::runtime::in_process::InProcess;
use units::runtime::{Settings, UnitType};
use units::state::Micros;
use units::wire;
use units::wire::helper::ToHelper;

/// Makes the object of a unit type; `None` for types this executable does not contain.
pub type Builtin = fn(&str) -> Option<Box<dyn UnitType>>;

/// The objects, by the index of their helper.
pub(crate) struct Inside {
    pub builtin: Builtin,
    helpers: Map<usize, InProcess>,
}

impl Inside {
    /// No objects yet.
    pub fn new(builtin: Builtin) -> Self {
        Self {
            builtin,
            helpers: Map::new(),
        }
    }

    /// When one of them wants to be called.
    pub fn deadline(&self) -> Option<Micros> {
        self.helpers.values().filter_map(InProcess::deadline).min()
    }
}

impl Manager {
    /// Starts a helper inside, if that is wanted and possible.
    pub(crate) fn start_inside(&mut self, index: usize, unit_type: &str) -> bool {
        if !self.config.in_process {
            return false;
        }
        let Some(object) = (self.inside.builtin)(unit_type) else {
            return false;
        };
        let settings = Settings {
            build: crate::BUILD.into(),
            fallback: self.run_dir.clone(),
            token_base: crate::manager::token::inside(index),
        };
        let mut inside = InProcess::new(object, settings);
        let hello = inside.connect();
        self.inside.helpers.insert(index, inside);
        if let Some(helper) = self.helpers.get_mut(index) {
            helper.inside = true;
            helper.phase = Phase::Awaited;
        }
        self.on_helper(index, hello, None);
        true
    }

    /// Hands over what is queued and takes what is said, until nothing follows.
    pub(crate) fn flush_inside(&mut self, index: usize) {
        loop {
            let mut moved = false;
            while let Some(next) = self.helpers.get_mut(index).and_then(|helper| helper.pop()) {
                moved = true;
                let (Ok(frame), Some(inside)) = (
                    wire::decode::<ToHelper>(&next.bytes),
                    self.inside.helpers.get_mut(&index),
                ) else {
                    continue;
                };
                inside.send(frame, next.fd, &self.poller);
            }
            while let Some(inside) = self.inside.helpers.get_mut(&index) {
                let Ok(Some((frame, fd))) = inside.take() else {
                    break;
                };
                moved = true;
                self.on_helper(index, frame, fd);
            }
            if !moved {
                return;
            }
        }
    }

    /// A descriptor of one of them is ready.
    pub(crate) fn inside_ready(&mut self, index: usize, ready: Ready) {
        if let Some(inside) = self.inside.helpers.get_mut(&index) {
            inside.ready(ready, &self.poller);
        }
    }

    /// A child of ours has ended: perhaps a service of one of them. It is recorded when this
    /// returns.
    pub(crate) fn inside_exited(&mut self, exit: Exit) {
        for (_, inside) in &mut self.inside.helpers {
            inside.exited(exit, &self.poller);
        }
    }

    /// Their deadlines.
    pub(crate) fn inside_due(&mut self) {
        for (_, inside) in &mut self.inside.helpers {
            inside.tick(&self.poller);
        }
    }
}
