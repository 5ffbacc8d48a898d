//! Notify sockets.
//!
//! A unit that may notify gets a datagram socket, `notify/<hash of its name>` in our run-time
//! directory. It is made before the first process of the unit and given to init to keep; only
//! when that is confirmed (or impossible, which is said) the start goes on. It stays for as long
//! as the unit is loaded, so only a unit's first start waits. A new helper fetches it by its label:
//! what was sent meanwhile waits in it.
//!
//! A datagram leaves its socket after what it says is on record, and what came with it is in init's keeping: a
//! helper killed in between finds it there once more, and saying the same twice changes nothing.
//!
//! Who sent a datagram is told by the kernel. `NotifyAccess=` decides whose count; a main process
//! by MAINPID= must belong to the unit, whoever names it.

use crate::machine::{Event, Notification};
use crate::notify::{self, Said};
use crate::policy::Access;
use crate::service::Socket;
use crate::services::{Services, Token};
use platform::poll::Interest;
use platform::socket::{self, Received};
use platform::{clock, files};
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use units::fault;
use units::runtime::Context;
use units::state::Micros;
use units::wire::helper::{FromHelper, Label};

/// The least time between two complaints about the notifications of one unit.
const COMPLAINT: Micros = 10_000_000;
/// How many datagrams of one unit are read before others have their turn.
const BATCH: usize = 64;

/// Where the notify socket of a unit is.
pub fn path(directory: &Path, unit: &str) -> PathBuf {
    let hash = init_wire::hash128(unit.as_bytes());
    directory.join(format!("{:032x}", u128::from_be_bytes(hash)))
}

fn socket_label(unit: &str) -> Label {
    Label {
        kind: init_wire::Kind::NOTIFY.0,
        hash: init_wire::hash128(unit.as_bytes()),
        index: 0,
    }
}

impl Services {
    /// Sees to it that the unit has a notify socket in init's keeping. Returns whether it has; if
    /// not, [`Event::Prepared`] comes when it has.
    pub(crate) fn prepare_socket(&mut self, ctx: &mut Context<'_>, at: u32) -> bool {
        let directory = self.shared.notify.clone();
        let Some(service) = self.get_mut(at) else {
            return false;
        };
        match service.socket {
            Socket::Open(_) => return true,
            Socket::Asked(_) => return false,
            Socket::None => {}
        }
        let unit = service.run.unit.clone();
        let path = path(&directory, &unit);
        let made = socket::datagram(&path, 0o666).or_else(|error| {
            if error.kind() != ErrorKind::NotFound {
                return Err(error);
            }
            files::make_dir(&directory, 0o755, None)?;
            socket::datagram(&path, 0o666)
        });
        match made.and_then(|made| made.try_clone().map(|copy| (made, copy))) {
            Ok((made, copy)) => {
                let label = socket_label(&unit);
                ctx.keep(label, copy);
                service.socket = Socket::Asked(Some(made));
                self.asked.push((label.hash, at));
                false
            }
            Err(error) => {
                let text = format!("its notify socket cannot be made: {error}");
                ctx.send(FromHelper::Log {
                    level: 3,
                    unit,
                    text,
                });
                true
            }
        }
    }

    /// Whose notify socket an answer of init is about.
    fn answered(&mut self, label: Label) -> Option<u32> {
        let asked = self
            .asked
            .iter()
            .filter(|_| label.kind == init_wire::Kind::NOTIFY.0);
        let place = asked
            .into_iter()
            .position(|(hash, _)| *hash == label.hash)?;
        let (_, at) = self.asked.remove(place);
        let service = self.get(at)?;
        (socket_label(&service.run.unit) == label).then_some(at)
    }

    /// init has answered to `Keep`.
    pub(crate) fn kept(&mut self, ctx: &mut Context<'_>, label: Label, refused: Option<&str>) {
        let Some(at) = self.answered(label) else {
            return self.deposit_kept(ctx, label, refused);
        };
        let Some(service) = self.get_mut(at) else {
            return;
        };
        let Socket::Asked(made) = &mut service.socket else {
            return;
        };
        let Some(made) = made.take() else { return };
        service.run.socket = refused.is_none();
        if let Some(reason) = refused {
            let text = format!(
                "its notify socket is not in init's keeping ({reason}): what it says while the \
                 service helper is replaced is lost"
            );
            let unit = service.run.unit.clone();
            ctx.send(FromHelper::Log {
                level: 4,
                unit,
                text,
            });
        }
        self.open_socket(ctx, at, made);
        self.feed(ctx, at, Event::Prepared);
    }

    fn open_socket(&mut self, ctx: &mut Context<'_>, at: u32, opened: OwnedFd) {
        let watched = ctx.watch(&opened, Token::Notify(at).number(), Interest::READ);
        let Some(service) = self.get_mut(at) else {
            return;
        };
        if let Err(error) = watched {
            let text = format!("its notify socket cannot be watched: {error}");
            let unit = service.run.unit.clone();
            ctx.send(FromHelper::Log {
                level: 3,
                unit,
                text,
            });
        }
        service.socket = Socket::Open(opened);
    }

    /// Asks for the notify socket of a unit that was taken over.
    pub(crate) fn fetch_socket(&mut self, ctx: &mut Context<'_>, at: u32) {
        let Some(service) = self.get_mut(at) else {
            return;
        };
        if fault::without("notify-sockets") {
            self.prepare_socket(ctx, at);
            return;
        }
        if service.run.socket {
            service.socket = Socket::Asked(None);
            let label = socket_label(&service.run.unit);
            ctx.fetch(label);
            self.asked.push((label.hash, at));
        }
    }

    /// init has given back what it kept, or has nothing.
    pub(crate) fn fetched(&mut self, ctx: &mut Context<'_>, label: Label, fd: Option<OwnedFd>) {
        if let Some(at) = self.answered(label) {
            let asked = self
                .get(at)
                .is_some_and(|s| matches!(s.socket, Socket::Asked(None)));
            if !asked {
                return;
            }
            match fd {
                Some(fd) => self.open_socket(ctx, at, fd),
                None => {
                    // Made anew under its old name: the service goes on writing to it.
                    if let Some(service) = self.get_mut(at) {
                        service.socket = Socket::None;
                    }
                    self.prepare_socket(ctx, at);
                }
            }
            let waits = self
                .get(at)
                .is_some_and(|s| s.run.awaited == crate::run::Awaited::Socket);
            if waits
                && self
                    .get(at)
                    .is_some_and(|s| crate::effects::is_open(&s.socket))
            {
                self.feed(ctx, at, Event::Prepared);
            }
            self.read_socket(ctx, at);
            return;
        }
        self.descriptor_came(ctx, label, fd);
    }

    /// Reads what has come, at most a batch; the rest wakes us again.
    pub(crate) fn read_socket(&mut self, ctx: &mut Context<'_>, at: u32) {
        let mut buffer = [0u8; notify::LONGEST + 1];
        for _ in 0..BATCH {
            let service = self.get(at).filter(|service| !service.held);
            let Some(Socket::Open(opened)) = service.map(|service| &service.socket) else {
                return;
            };
            let Ok(Some(received)) = socket::peek(opened, &mut buffer) else {
                return;
            };
            let bytes = buffer.get(..received.length).unwrap_or(&[]);
            match notify::read(bytes, received.truncated) {
                Ok(said) => self.take(ctx, at, said, received),
                Err(nonsense) => self.complain(ctx, at, nonsense.as_str()),
            }
            fault::point("notified");
            fault::boundary();
            // Only now is it out of the socket: what it changed is on record.
            if !self.hold(ctx, at)
                && let Some(Socket::Open(opened)) = self.get(at).map(|service| &service.socket)
            {
                socket::skip(opened);
            }
        }
    }

    /// Whether the datagram just read must stay where it is for now.
    fn hold(&mut self, ctx: &mut Context<'_>, at: u32) -> bool {
        let Some(service) = self.get_mut(at) else {
            return false;
        };
        service.held = !service.all_safe();
        if let Socket::Open(opened) = &service.socket
            && service.held
        {
            let _ = ctx.watch_again(opened, Token::Notify(at).number(), Interest::HANGUP);
        }
        service.held
    }

    /// What came with the datagram that was read last is safe, or not wanted any more.
    pub(crate) fn read_on(&mut self, ctx: &mut Context<'_>, at: u32) {
        let Some(service) = self.get_mut(at) else {
            return;
        };
        if !service.held || !service.all_safe() {
            return;
        }
        service.held = false;
        if let Socket::Open(opened) = &service.socket {
            socket::skip(opened);
            let _ = ctx.watch_again(opened, Token::Notify(at).number(), Interest::READ);
        }
        self.read_socket(ctx, at);
    }

    pub(crate) fn complain(&mut self, ctx: &mut Context<'_>, at: u32, text: &str) {
        let now = clock::now();
        let Some(service) = self.get_mut(at) else {
            return;
        };
        if service
            .complained
            .is_some_and(|before| now < before.saturating_add(COMPLAINT))
        {
            return;
        }
        service.complained = Some(now);
        let unit = service.run.unit.clone();
        ctx.send(FromHelper::Log {
            level: 4,
            unit,
            text: text.into(),
        });
    }

    fn take(&mut self, ctx: &mut Context<'_>, at: u32, said: Said, received: Received) {
        let sender = received.sender.map_or(0, |sender| sender.pid);
        if !self.may_say(at, sender) {
            let text = format!(
                "a notification of process {sender} was ignored: NotifyAccess= does not allow it"
            );
            self.complain(ctx, at, &text);
            return;
        }
        let mut state: Notification = said.state.clone();
        if let Some(pid) = said.main_pid {
            let known = self
                .get(at)
                .is_some_and(|s| s.run.main.is_some_and(|m| m.pid == pid));
            match crate::effects::identify(pid) {
                _ if known => {}
                Some(proc) if self.owns(at, pid) => state.main = Some(proc),
                _ => {
                    let text = format!("MAINPID={pid} was ignored: it is no process of this unit");
                    self.complain(ctx, at, &text);
                }
            }
        }
        if let Some(service) = self.get_mut(at)
            && (said.pat || state.watchdog.is_some() || state.ready)
        {
            service.pat = clock::now();
        }
        self.said_descriptors(ctx, at, &said, received.fds);
        if state != Notification::default() {
            self.feed(ctx, at, Event::Notify(&state));
        }
    }

    fn owns(&self, at: u32, pid: u32) -> bool {
        let root = self.shared.root.as_deref();
        self.get(at)
            .is_some_and(|service| service.owns(root, &self.mount, pid))
    }

    fn may_say(&self, at: u32, sender: u32) -> bool {
        let Some(service) = self.get(at) else {
            return false;
        };
        let access = service
            .config
            .as_ref()
            .map_or(Access::None, |config| config.policy.access);
        let is = |proc: Option<units::state::ProcId>| proc.is_some_and(|p| p.pid == sender);
        match access {
            _ if sender == 0 => false,
            Access::None => false,
            // Before its main process is known, the start command of a forking service speaks.
            Access::Main => {
                is(service.run.main) || !service.run.main_known && self.owns(at, sender)
            }
            Access::Exec => is(service.run.main) || is(service.run.control),
            Access::All => self.owns(at, sender),
        }
    }

    /// The unit is forgotten.
    pub(crate) fn drop_socket(&mut self, ctx: &mut Context<'_>, at: u32) {
        let directory = self.shared.notify.clone();
        let Some(service) = self.get_mut(at) else {
            return;
        };
        if let Socket::Open(opened) = &service.socket {
            let _ = ctx.unwatch(opened);
        }
        if !matches!(service.socket, Socket::None) {
            let unit = service.run.unit.clone();
            service.socket = Socket::None;
            let _ = std::fs::remove_file(path(&directory, &unit));
            ctx.send(FromHelper::Drop {
                label: socket_label(&unit),
            });
        }
    }
}
