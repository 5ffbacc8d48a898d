//! Contact with the helpers: who may connect, the welcome, and what is said and heard.
//!
//! The table and its states are [`crate::helpers`], the life of the processes is
//! [`crate::lifecycle`].

use crate::helpers::{ARRIVAL, Debt, Helper, Phase, label_to_init, memory_labels};
use crate::init_link::Asker;
use crate::lifecycle::{AS_USUAL, favour};
use crate::manager::{Manager, token};
use engine::api::Input;
use init_wire::FromManager;
use platform::poll::{Interest, Ready};
use platform::{clock, process, socket};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use units::state::ProcId;
use units::wire::helper::{FromHelper, Label, ToHelper};
use units::wire::{self, MAX_FRAME, VERSION};

/// Frames taken from one helper in one turn.
const BATCH: usize = 256;

impl Manager {
    /// Takes the connections that wait. Only a recorded helper gets in.
    pub(crate) fn accept_helpers(&mut self) {
        for _ in 0..16 {
            let accepted = match &self.listeners.helper {
                Some(listener) => socket::accept(listener),
                None => return,
            };
            let conn = match accepted {
                Ok(Some(conn)) => conn,
                Ok(None) => return,
                Err(error) => {
                    self.log(4, "", &format!("a helper's connection was lost: {error}"));
                    return;
                }
            };
            let Ok(peer) = socket::peer(&conn) else {
                continue;
            };
            // One that is dead already, as after a kill of helper and manager: nobody is there.
            let Some(start) = process::start_time(peer.pid) else {
                continue;
            };
            let pid = peer.pid;
            match self.helpers.by_pid(ProcId { pid, start }) {
                Some(index) => self.connected(index, conn),
                None => {
                    let text = format!(
                        "process {pid} of user {} connected as a helper and is none that was \
                         started as one: refused",
                        peer.uid
                    );
                    self.log(4, "", &text);
                }
            }
        }
    }

    fn connected(&mut self, index: usize, conn: OwnedFd) {
        self.drop_contact(index);
        let Some(helper) = self.helpers.get_mut(index) else {
            return;
        };
        if helper.phase == Phase::Dying {
            return;
        }
        helper.phase = Phase::Awaited;
        helper.debt = Some(Debt::new(0, clock::now() + ARRIVAL));
        if self
            .poller
            .add(
                &conn,
                token::helper(index, helper.generation),
                Interest::READ,
            )
            .is_ok()
        {
            helper.conn = Some(conn);
        }
    }

    /// Contact is lost, the process may live.
    pub(crate) fn drop_contact(&mut self, index: usize) {
        let Some(helper) = self.helpers.get_mut(index) else {
            return;
        };
        if helper.conn.is_none() {
            return;
        }
        helper.disconnect();
        helper.since = clock::now();
        let due = helper.since + ARRIVAL;
        if helper.phase == Phase::Awaited {
            helper.debt = Some(Debt::new(0, due));
        }
        self.exits.lost(index);
        self.compared(index, None);
    }

    /// A helper's socket is ready.
    pub(crate) fn helper_ready(&mut self, index: usize, generation: u16, ready: Ready) {
        if self
            .helpers
            .get(index)
            .is_none_or(|helper| helper.generation != generation)
        {
            return;
        }
        if ready.readable || ready.hangup {
            self.read_helper(index);
        }
        if ready.writable {
            self.flush_helper(index);
        }
    }

    /// Reads what a helper has sent.
    pub(crate) fn read_helper(&mut self, index: usize) {
        for _ in 0..BATCH {
            let Some(conn) = self
                .helpers
                .get(index)
                .and_then(|helper| helper.conn.as_ref())
            else {
                return;
            };
            let got = match socket::receive(conn, &mut self.buffer) {
                Ok(None) => return,
                Ok(Some(got)) if got.length > 0 => got,
                Ok(Some(_)) | Err(_) => {
                    self.drop_contact(index);
                    return;
                }
            };
            let bytes = self
                .buffer
                .get(..got.length.min(MAX_FRAME))
                .unwrap_or_default();
            match wire::decode::<FromHelper>(bytes) {
                Ok(frame) if !got.truncated => {
                    let fd = got.fds.into_iter().next();
                    self.on_helper(index, frame, fd);
                }
                _ => {
                    self.fail_helper(index, "sent a frame that is none of this protocol");
                    return;
                }
            }
        }
    }

    pub(crate) fn on_helper(&mut self, index: usize, frame: FromHelper, fd: Option<OwnedFd>) {
        let Some(helper) = self.helpers.get_mut(index) else {
            return;
        };
        if let Some(debt) = &mut helper.debt {
            debt.heard = true;
        }
        let (greeted, generation) = (helper.phase != Phase::Awaited, helper.generation);
        match frame {
            FromHelper::Hello {
                version,
                unit_type,
                epoch,
                adopted,
                ..
            } if !greeted => {
                self.welcome(index, version, &unit_type, epoch, adopted);
            }
            _ if !greeted => self.fail_helper(index, "did not say Hello first"),
            FromHelper::Hello { .. } => self.fail_helper(index, "said Hello twice"),
            FromHelper::Loaded {
                unit,
                findings,
                implied,
                can_reload,
            } => {
                self.on_loaded(&unit, &findings, &implied, can_reload);
            }
            FromHelper::Report(report) => self.on_report(index, report),
            FromHelper::Synced => self.on_synced(index),
            FromHelper::ExitTaken { proc } => self.exits.exit_taken(index, proc),
            FromHelper::Watch { proc } => self.watch(index, proc),
            FromHelper::Unwatch { proc } => self.exits.unwatch(index, proc),
            FromHelper::Keep { label } => self.relay_keep(index, label, fd),
            FromHelper::Drop { label } => {
                self.tell_init(&FromManager::Drop {
                    label: label_to_init(label),
                });
            }
            FromHelper::Fetch { label } => match &mut self.init {
                Some(init) => init.fetch(label_to_init(label), Asker::Helper(index, generation)),
                None => self.tell_helper(index, &ToHelper::NotFound { label }),
            },
            FromHelper::Log { level, unit, text } => self.log(level.min(7), &unit, &text),
            FromHelper::Crashed { what, quarantined } => {
                self.helper_crashed(index, what, quarantined);
            }
            FromHelper::Difference(difference) => self.differs(difference),
            FromHelper::Trigger { unit } => self.on_trigger(index, &unit),
            FromHelper::Offer(sockets) => self.on_offer(index, sockets),
            FromHelper::Pong { nonce } => {
                if helper.pong(nonce, clock::now())
                    && let Some(proc) = helper.proc
                {
                    favour(proc, AS_USUAL);
                }
                self.compared(index, Some(nonce));
            }
        }
    }

    fn relay_keep(&mut self, index: usize, label: Label, fd: Option<OwnedFd>) {
        let generation = self
            .helpers
            .get(index)
            .map_or(0, |helper| helper.generation);
        let reason = match (&mut self.init, fd) {
            (Some(init), Some(fd)) => {
                init.keep(label_to_init(label), fd, Asker::Helper(index, generation));
                return;
            }
            (None, _) => "there is no init that could keep it",
            (_, None) => "it came without a descriptor",
        };
        self.tell_helper(
            index,
            &ToHelper::NotKept {
                label,
                reason: reason.into(),
            },
        );
    }

    pub(crate) fn tell_helper(&mut self, index: usize, frame: &ToHelper) {
        if let Some(helper) = self.helpers.get_mut(index) {
            helper.queue(frame, None);
        }
    }

    fn welcome(&mut self, index: usize, version: u16, unit_type: &str, epoch: u64, adopted: bool) {
        let ours = self.epoch;
        let Some(helper) = self.helpers.get_mut(index) else {
            return;
        };
        if helper.unit_type != unit_type || version == 0 {
            let what = format!("says that it is one for .{unit_type} units, version {version}");
            self.fail_helper(index, &what);
            return;
        }
        if epoch > ours {
            // A later manager has welcomed it: we are the one that should not be here.
            self.fenced = true;
            return;
        }
        let generation = helper.generation;
        let labels = memory_labels(unit_type);
        let memories = if adopted { 0 } else { labels.len() as u8 };
        helper.stillborn = 0;
        helper.phase = Phase::Welcomed { memories };
        helper.debt = (!helper.inside).then(|| Debt::new(0, clock::now() + ARRIVAL));
        let fault = helper.fault;
        let mut config = self.config.for_helpers(&self.cgroup_root);
        config.fault = fault;
        // A test's previous version, which speaks an earlier protocol.
        let spoken = units::fault::number("SYSMASTER_WIRE").map_or(VERSION, |wire| wire as u16);
        let version = version.min(spoken);
        if let Some(helper) = self.helpers.get_mut(index) {
            helper.version = version;
        }
        let build = crate::BUILD.into();
        self.tell_helper(
            index,
            &ToHelper::Welcome {
                version,
                build,
                epoch: ours,
                config,
            },
        );
        if adopted {
            self.send_units(index);
            return;
        }
        for label in labels {
            match &mut self.init {
                Some(init) => init.fetch(label_to_init(label), Asker::Memory(index, generation)),
                None => {
                    self.tell_helper(index, &ToHelper::NotFound { label });
                    self.memory_sent(index);
                }
            }
        }
    }

    /// One of a helper's memories was handed over, or there is none.
    pub(crate) fn memory_sent(&mut self, index: usize) {
        let Some(helper) = self.helpers.get_mut(index) else {
            return;
        };
        if let Phase::Welcomed { memories } = &mut helper.phase {
            *memories = memories.saturating_sub(1);
            if *memories == 0 {
                self.send_units(index);
            }
        }
    }

    /// Sends all units of the type and `Sync`.
    fn send_units(&mut self, index: usize) {
        let Some(helper) = self.helpers.get_mut(index) else {
            return;
        };
        helper.phase = Phase::Syncing;
        helper.debt = None;
        match helper.preload.take() {
            Some(frames) => {
                for bytes in frames {
                    helper.queue_bytes(bytes, None);
                }
            }
            None => {
                let unit_type = helper.unit_type.clone();
                self.send_from_files(index, &unit_type);
                self.tell_about_triggers(index, &unit_type);
            }
        }
        let unit_type = self
            .helpers
            .get(index)
            .map(|helper| helper.unit_type.clone());
        self.tell_all_triggered(&unit_type.unwrap_or_default());
        self.tell_helper(index, &ToHelper::Sync);
    }

    fn on_synced(&mut self, index: usize) {
        let Some(helper) = self.helpers.get_mut(index) else {
            return;
        };
        if helper.phase != Phase::Syncing {
            return;
        }
        helper.phase = Phase::Synced;
        helper.hopeless = false;
        // What was owed without a ping is this.
        helper.debt = helper.debt.filter(|debt| debt.nonce != 0);
        let unit_type = helper.unit_type.clone();
        let reported = std::mem::take(&mut helper.reported);
        self.inputs.push_back(Input::HelperSynced {
            unit_type,
            reported,
        });
    }

    /// Sends what is queued, and the pings.
    pub(crate) fn flush_helpers(&mut self) {
        for index in 0..self.helpers.len() {
            let Some(helper) = self.helpers.get_mut(index) else {
                continue;
            };
            if helper.inside {
                self.flush_inside(index);
                continue;
            }
            helper.close_batch(clock::now());
            if helper.front().is_some() {
                self.flush_helper(index);
            }
        }
    }

    fn flush_helper(&mut self, index: usize) {
        let Some(helper) = self.helpers.get_mut(index) else {
            return;
        };
        let blocked = loop {
            let (Some(conn), Some(next)) = (&helper.conn, helper.front()) else {
                break false;
            };
            units::fault::boundary();
            let fds: Vec<BorrowedFd<'_>> = next.fd.iter().map(AsFd::as_fd).collect();
            match socket::send(conn, &next.bytes, &fds) {
                Ok(()) => helper.sent(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break true,
                // The end of the connection is read as such.
                Err(_) => {
                    helper.sent();
                }
            }
        };
        set_writable(&self.poller, index, helper, blocked);
    }
}

fn set_writable(poller: &platform::poll::Poller, index: usize, helper: &mut Helper, wanted: bool) {
    if helper.blocked == wanted {
        return;
    }
    helper.blocked = wanted;
    if let Some(conn) = &helper.conn {
        let interest = if wanted {
            Interest::READ_WRITE
        } else {
            Interest::READ
        };
        let _ = poller.modify(conn, token::helper(index, helper.generation), interest);
    }
}
