//! What a helper has said and the manager has not taken yet, or not answered.
//!
//! Frames leave in the order they were said, with these exceptions. A report takes the place of an
//! earlier one of the same unit that is still here, since only the last one counts. While there is
//! no manager, reports are not kept: the next one asks for all of them. Log lines beyond a limit
//! are dropped and counted. Everything else is bounded by the number of units.
//!
//! `Keep` and `Fetch` are remembered until they are answered, and `Watch` until the process has
//! ended: a new manager gets them again.

use crate::state::ProcId;
use crate::wire::helper::{FromHelper, Label};
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use std::os::fd::OwnedFd;

/// Log lines waiting at most.
const MAX_LOG: usize = 256;

/// An empty queue keeps room for so many.
const FEW: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: VecDeque<(FromHelper, Option<OwnedFd>)>,
    /// Requests that were sent and not answered.
    unanswered: Vec<(Label, Option<OwnedFd>)>,
    watched: Vec<ProcId>,
    connected: bool,
    log_lines: usize,
    log_lost: usize,
}

impl Outbox {
    /// Adds a frame, with the descriptor of a `Keep`.
    pub(crate) fn push(&mut self, frame: FromHelper, fd: Option<OwnedFd>) {
        match &frame {
            FromHelper::Report(report) => {
                if !self.connected {
                    return;
                }
                for (queued, _) in &mut self.queue {
                    if matches!(queued, FromHelper::Report(old) if old.unit == report.unit) {
                        *queued = frame;
                        return;
                    }
                }
            }
            FromHelper::Log { .. } => {
                if self.log_lines >= MAX_LOG {
                    self.log_lost += 1;
                    return;
                }
                self.log_lines += 1;
            }
            FromHelper::Watch { proc } if !self.watched.contains(proc) => self.watched.push(*proc),
            FromHelper::Unwatch { proc } => {
                let proc = *proc;
                self.unwatch(proc);
            }
            // What belongs to one conversation is over with it.
            FromHelper::Synced
            | FromHelper::Loaded { .. }
            | FromHelper::Pong { .. }
            | FromHelper::Trigger { .. }
            | FromHelper::Offer(_)
            | FromHelper::Difference(_)
                if !self.connected =>
            {
                return;
            }
            _ => {}
        }
        self.queue.push_back((frame, fd));
    }

    /// The next frame to go out; [`Outbox::sent`] removes it.
    pub(crate) fn front(&mut self) -> Option<(&FromHelper, Option<&OwnedFd>)> {
        if self.queue.is_empty() && self.log_lost > 0 {
            let text = format!("{} lines of this helper were lost", self.log_lost);
            self.log_lost = 0;
            self.log_lines += 1;
            let line = FromHelper::Log {
                level: 4,
                unit: String::new(),
                text,
            };
            self.queue.push_back((line, None));
        }
        self.queue.front().map(|(frame, fd)| (frame, fd.as_ref()))
    }

    /// Whether a manager has welcomed us, and is not gone.
    pub(crate) fn in_contact(&self) -> bool {
        self.connected
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The frame at the front has gone out. What it was comes back, with its descriptor unless that
    /// is needed again.
    pub(crate) fn sent(&mut self) -> Option<FromHelper> {
        let (frame, fd) = self.queue.pop_front()?;
        match &frame {
            FromHelper::Keep { label } | FromHelper::Fetch { label } => {
                self.unanswered.push((*label, fd));
            }
            FromHelper::Log { .. } => self.log_lines = self.log_lines.saturating_sub(1),
            _ => {}
        }
        // A boot has as many as there are units, and never again.
        if self.queue.is_empty() && self.queue.capacity() > FEW {
            self.queue = VecDeque::new();
        }
        Some(frame)
    }

    /// An answer has come. `false` if nothing was asked about this label.
    pub(crate) fn answered(&mut self, label: Label) -> bool {
        let found = self
            .unanswered
            .iter()
            .position(|(asked, _)| *asked == label);
        if let Some(at) = found {
            self.unanswered.remove(at);
        }
        found.is_some()
    }

    pub(crate) fn unwatch(&mut self, proc: ProcId) {
        self.watched.retain(|watched| *watched != proc);
    }

    /// The manager is gone: what only it could use is forgotten.
    pub(crate) fn disconnected(&mut self) {
        self.connected = false;
        self.queue.retain(|(frame, _)| {
            matches!(
                frame,
                FromHelper::Keep { .. }
                    | FromHelper::Fetch { .. }
                    | FromHelper::Drop { .. }
                    | FromHelper::Log { .. }
            )
        });
    }

    /// Another manager is there: what the last one left unanswered comes first.
    pub(crate) fn welcomed(&mut self) {
        self.connected = true;
        let watched = core::mem::take(&mut self.watched);
        for proc in watched.iter().rev() {
            self.queue
                .push_front((FromHelper::Watch { proc: *proc }, None));
        }
        self.watched = watched;
        for (label, fd) in core::mem::take(&mut self.unanswered).into_iter().rev() {
            let frame = match fd {
                Some(_) => FromHelper::Keep { label },
                None => FromHelper::Fetch { label },
            };
            self.queue.push_front((frame, fd));
        }
    }
}
