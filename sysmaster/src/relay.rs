//! What comes from init: exits to be passed on, descriptors for helpers, signals, questions.

use crate::exits::Watched;
use crate::init_link::{Asker, Frame};
use crate::lifecycle::look_at;
use crate::manager::Manager;
use init_wire::{FromManager, Kind, Label, ToManager};
use std::os::fd::OwnedFd;
use units::state::ProcId;
use units::wire::helper::{END_UNKNOWN, ToHelper};

/// Frames taken from init in one turn of the loop; the rest comes in the next.
const BATCH: usize = 256;

impl Manager {
    /// Takes what init has sent.
    ///
    /// An exit of a process nobody watches is judged by whether its helper may still adopt it. If
    /// the helper died before it, the end of the helper's connection is there to be seen by the
    /// time init's report is: the kernel closes descriptors before it hands children over. So the
    /// connections and our own children are looked at between taking the reports and judging them.
    pub(crate) fn read_init(&mut self) {
        let mut frames: Vec<Frame> = Vec::new();
        if let Some(init) = &mut self.init {
            while frames.len() < BATCH {
                let Some(frame) = init.take() else { break };
                frames.push(frame);
            }
        }
        if frames
            .iter()
            .any(|(frame, _)| matches!(frame, ToManager::Exited(_)))
        {
            for index in 0..self.helpers.len() {
                self.read_helper(index);
            }
            self.reap_children();
        }
        // A full batch: there may be more, and the socket is not told twice by all pollers.
        self.more_from_init = frames.len() == BATCH;
        for (frame, fd) in frames {
            self.on_init(frame, fd);
        }
    }

    fn on_init(&mut self, frame: ToManager, fd: Option<OwnedFd>) {
        match frame {
            ToManager::Exited(exit) => {
                let proc = ProcId {
                    pid: exit.pid,
                    start: exit.start,
                };
                self.on_exited(exit.seq, proc, exit.status);
            }
            ToManager::Discarded { count } => {
                let text = format!(
                    "{count} exits since boot were reaped by init while no manager came to take \
                     them: units may be shown as up that are not"
                );
                self.log(3, "", &text);
            }
            ToManager::Signal { signo } => {
                if i32::from(signo) == libc::SIGCHLD {
                    // First taken, then looked: a stop that comes after the look is told anew.
                    self.tell_init(&FromManager::Taken { signo });
                    self.on_signal(signo);
                } else {
                    self.on_signal(signo);
                    self.tell_init(&FromManager::Taken { signo });
                }
            }
            ToManager::Kept { label }
            | ToManager::Full { label }
            | ToManager::Refused { label, .. }
                if matches!(label.kind, Kind::TRIAL | Kind::PREVIOUS) =>
            {
                self.handed_over(label, matches!(frame, ToManager::Kept { .. }));
            }
            ToManager::Kept { label } => {
                self.answer_helper(label, |label| ToHelper::Kept { label }, None);
            }
            ToManager::Full { label } => self.not_kept(label, "init has no room left"),
            ToManager::Refused { label, why } => {
                let reason = match why {
                    init_wire::Refusal::NotOne => "it came without a descriptor",
                    init_wire::Refusal::Quota => "its owner has as many as one owner may have",
                    init_wire::Refusal::Kind => "there is no such kind of descriptor",
                };
                self.not_kept(label, reason);
            }
            ToManager::Fd { label } => {
                self.answer_helper(label, |label| ToHelper::Fd { label }, fd);
            }
            ToManager::NotFound { label } => {
                self.answer_helper(label, |label| ToHelper::NotFound { label }, None);
            }
            ToManager::WatchdogArmed { timeout_ms } => self.watchdog_armed(timeout_ms),
            ToManager::Ping { nonce } => self.tell_init(&FromManager::Pong { nonce }),
            ToManager::Failed { request, errno } => {
                let error = std::io::Error::from_raw_os_error(errno);
                self.log(
                    3,
                    "",
                    &format!("init could not do what was asked ({request:?}): {error}"),
                );
            }
            ToManager::ListEnd { .. } => self.all_exits_told(),
            ToManager::Hello(_) | ToManager::Listed { .. } | ToManager::Dropped { .. } => {}
        }
    }

    fn not_kept(&mut self, label: Label, reason: &str) {
        let reason = String::from(reason);
        self.answer_helper(label, |label| ToHelper::NotKept { label, reason }, None);
    }

    /// Passes init's answer on to the helper that asked, if it is still the one that asked.
    fn answer_helper(
        &mut self,
        label: Label,
        frame: impl FnOnce(units::wire::helper::Label) -> ToHelper,
        fd: Option<OwnedFd>,
    ) {
        let asker = self
            .init
            .as_mut()
            .map_or(Asker::Nobody, |init| init.asker(label));
        let (index, generation, memory) = match asker {
            Asker::Nobody => return,
            Asker::Watchdog => return self.watchdog_fetched(fd),
            Asker::Helper(index, generation) => (index, generation, false),
            Asker::Memory(index, generation) => (index, generation, true),
        };
        let Some(helper) = self.helpers.get_mut(index) else {
            return;
        };
        if helper.generation != generation {
            return;
        }
        helper.queue(&frame(crate::helpers::label_from_init(label)), fd);
        if memory {
            self.memory_sent(index);
        }
    }

    /// Takes up an exit init reports.
    fn on_exited(&mut self, seq: u64, proc: ProcId, status: i32) {
        if let Some(index) = self.helpers.by_pid(proc) {
            self.exits.add_done(seq, proc, status);
            self.helper_died(index, status);
            return;
        }
        self.exits.add(seq, proc, status, self.helpers.absent());
    }

    /// A helper wants to know when a process ends that is not its child.
    pub(crate) fn watch(&mut self, index: usize, proc: ProcId) {
        match self.exits.watch(index, proc) {
            Watched::Ended(status) => self.send_exit(index, proc, status),
            Watched::Queued => {}
            // If it is gone already, init's report may be on its way.
            Watched::Armed => self.fresh_watches.push((index, proc)),
        }
    }

    /// Looks whether processes that came to be watched exist at all. Of those that do not init may have more to tell
    /// than it has told: it is asked for a list, which it answers when it has told all exits it has on record.
    pub(crate) fn check_fresh_watches(&mut self) {
        if self.fresh_watches.is_empty() || !self.gone_watches.is_empty() {
            return;
        }
        self.gone_watches = std::mem::take(&mut self.fresh_watches);
        self.gone_watches
            .retain(|(_, proc)| look_at(*proc).is_none());
        if !self.gone_watches.is_empty() {
            self.tell_init(&FromManager::List { kind: Kind::TRIAL });
        }
    }

    /// All that was gone when the list was asked for, and is still watched now, ended as nobody knows.
    fn all_exits_told(&mut self) {
        for (index, proc) in std::mem::take(&mut self.gone_watches) {
            if self.exits.still_watched(index, proc) {
                self.exits.unwatch(index, proc);
                let text = format!("process {} ended before anybody watched it", proc.pid);
                self.log(5, "", &text);
                self.send_exit(index, proc, END_UNKNOWN);
            }
        }
    }

    /// Sends the exits a helper has to take and has not got yet.
    pub(crate) fn send_exits(&mut self, index: usize) {
        if !self
            .helpers
            .get(index)
            .is_some_and(crate::helpers::Helper::synced)
        {
            return;
        }
        while let Some((proc, status)) = self.exits.next_for(index) {
            self.send_exit(index, proc, status);
        }
    }

    fn send_exit(&mut self, index: usize, proc: ProcId, status: i32) {
        if let Some(helper) = self.helpers.get_mut(index) {
            helper.queue(&ToHelper::Exited { proc, status }, None);
        }
    }

    /// Acknowledges what is taken.
    pub(crate) fn acknowledge(&mut self) {
        if let Some(seq) = self.exits.acknowledge() {
            units::fault::point("before-ack");
            self.tell_init(&FromManager::Ack { seq });
        }
    }

    /// Sends init a frame without a descriptor.
    pub(crate) fn tell_init(&mut self, frame: &FromManager<'_>) {
        if let Some(init) = &mut self.init {
            init.send(frame, None);
        }
    }
}
