//! The control and the public socket: who gets in, and what a client may cost.
//!
//! Both listeners are kept by init, so a client that connects while there is no manager waits in
//! the backlog. The control socket has mode 0600: who can open it may do everything. The public one
//! is for everybody and only answers questions. A client costs a descriptor and a bounded queue;
//! of the public socket one user gets [`PER_USER`] connections and all together [`PUBLIC`], so that
//! whatever users do there, the control socket has its own [`CONTROL`] and the manager its
//! descriptors. When the places are taken, the client that has been silent the longest makes
//! room: at the public socket for a user who has none, at the control socket one that waits for nothing, so that
//! whoever holds connections there keeps nobody out.

use crate::client::{Answer, Asked, Client};
use crate::manager::{Manager, token};
use engine::api::{JobId, Ticket};
use platform::poll::{Interest, Poller, Ready};
use platform::{clock, socket};
use std::io;
use std::os::fd::OwnedFd;
use units::collections::Map;
use units::state::{JobResult, JobVerb, Micros};
use units::wire::MAX_FRAME;
use units::wire::control::{ErrorKind, Reply};

/// Connections to the control socket at a time.
const CONTROL: usize = 128;
/// Connections to the public socket at a time.
const PUBLIC: usize = 64;
/// Of these, those of one user other than root.
const PER_USER: usize = 8;
/// Connections taken in one turn.
const ACCEPT_BATCH: usize = 32;
/// Pause between two `Waiting` frames to a client.
pub(crate) const NOTE_EVERY: Micros = 1_000_000;

/// The listening sockets.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    pub control: Option<OwnedFd>,
    pub public: Option<OwnedFd>,
    pub helper: Option<OwnedFd>,
}

/// A client and its connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub client: Client,
    fd: OwnedFd,
    /// What the poller was told.
    interest: Interest,
    /// When it last sent something.
    heard: Micros,
}

/// All clients.
#[derive(Debug, Default)]
pub(crate) struct Server {
    clients: Map<u32, Connection>,
    /// Which client a transaction was asked by.
    tickets: Map<u64, u32>,
    next_serial: u32,
    next_ticket: u64,
}

impl Server {
    /// A ticket for a transaction of this client.
    pub fn ticket(&mut self, serial: u32) -> Ticket {
        self.next_ticket = self.next_ticket.max(crate::boot::FIRST_TICKET) + 1;
        self.tickets.insert(self.next_ticket, serial);
        Ticket(self.next_ticket)
    }

    /// Whose a ticket is; it is used up.
    pub fn redeem(&mut self, ticket: Ticket) -> Option<&mut Client> {
        let serial = self.tickets.remove(&ticket.0)?;
        self.client(serial)
    }

    /// A client.
    pub fn client(&mut self, serial: u32) -> Option<&mut Client> {
        self.clients
            .get_mut(&serial)
            .map(|connection| &mut connection.client)
    }

    /// The serial numbers of all clients.
    pub fn serials(&self) -> Vec<u32> {
        self.clients.keys().copied().collect()
    }

    /// Whether nothing waits to be sent.
    pub fn idle(&self) -> bool {
        self.clients
            .values()
            .all(|connection| connection.client.waiting() == 0)
    }

    /// When a client is to hear of the jobs it waits for.
    pub fn deadline(&self) -> Option<Micros> {
        let waits =
            self.clients
                .values()
                .filter_map(|connection| match &connection.client.answer {
                    Answer::Jobs(jobs) if jobs.wait && jobs.is_open() => Some(jobs.note_at),
                    _ => None,
                });
        waits.min()
    }

    /// A job has ended: tells everybody who waits for it.
    pub fn job_ended(
        &mut self,
        job: JobId,
        unit: &str,
        verb: JobVerb,
        result: JobResult,
        detail: &str,
    ) {
        for (_, connection) in &mut self.clients {
            let client = &mut connection.client;
            let Answer::Jobs(jobs) = &mut client.answer else {
                continue;
            };
            let Some(at) = jobs.jobs.iter().position(|waited| *waited == job) else {
                continue;
            };
            jobs.jobs.remove(at);
            let (unit, detail) = (unit.to_owned(), detail.to_owned());
            client.push(&Reply::Ended {
                unit,
                verb,
                result,
                detail,
            });
        }
    }

    /// An atomic start has ended: tells everybody who waits for it.
    pub fn atomic_closed(&mut self, transaction: u32, undone: Option<&Reply>) {
        for (_, connection) in &mut self.clients {
            let client = &mut connection.client;
            match &mut client.answer {
                Answer::Jobs(jobs) if jobs.atomic == Some(transaction) => {
                    jobs.atomic = None;
                    jobs.jobs.clear();
                }
                _ => continue,
            }
            if let Some(reply) = undone {
                client.push(reply);
            }
        }
    }

    /// Makes room for a public client of this user. `false`: there is none.
    fn room_for(&mut self, uid: u32) -> bool {
        let public = || self.clients.iter().filter(|(_, c)| !c.client.control);
        if uid != 0 && public().filter(|(_, c)| c.client.uid == uid).count() >= PER_USER {
            return false;
        }
        public().count() < PUBLIC || self.make_room(|client| !client.control)
    }

    /// Makes room for a control client. `false`: everybody there waits for an answer.
    fn room_for_control(&mut self) -> bool {
        let all = self.clients.values().filter(|c| c.client.control);
        all.count() < CONTROL || self.make_room(|client| client.control && client.idle())
    }

    /// Drops the one of these that has been silent the longest.
    fn make_room(&mut self, of: impl Fn(&Client) -> bool) -> bool {
        let these = self.clients.iter().filter(|(_, c)| of(&c.client));
        let silent = these.min_by_key(|(_, c)| (c.client.greeted(), c.heard));
        let silent = silent.map(|(serial, _)| *serial);
        silent.is_some_and(|serial| self.clients.remove(&serial).is_some())
    }
}

impl Manager {
    /// Takes the clients that wait at a listener.
    pub(crate) fn accept_clients(&mut self, control: bool) {
        for _ in 0..ACCEPT_BATCH {
            let listener = if control {
                &self.listeners.control
            } else {
                &self.listeners.public
            };
            let Some(listener) = listener else { return };
            match socket::accept(listener) {
                Ok(Some(fd)) => self.admit(fd, control),
                Ok(None) => return,
                Err(error) => {
                    self.log(4, "", &format!("a client's connection was lost: {error}"));
                    return;
                }
            }
        }
    }

    /// Lets a client in, or tells it why not. The peer of the control socket is looked at too: its
    /// file mode may have been changed, and it may have been handed on.
    pub(crate) fn admit(&mut self, fd: OwnedFd, control: bool) {
        let Ok(peer) = socket::peer(&fd) else { return };
        let refusal = if control && peer.uid != 0 && peer.uid != self.own_uid {
            Some((ErrorKind::Denied, "the control socket is for root"))
        } else if control && !self.server.room_for_control() {
            Some((
                ErrorKind::Busy,
                "all connections to the control socket wait for answers",
            ))
        } else if !control && !self.server.room_for(peer.uid) {
            Some((
                ErrorKind::Busy,
                "this user has too many connections to the public socket",
            ))
        } else {
            None
        };
        if let Some((kind, message)) = refusal {
            let reply = Reply::Error {
                kind,
                message: message.into(),
            };
            if let Ok(bytes) = units::wire::encode(&reply) {
                let _ = socket::send(&fd, &bytes, &[]);
            }
            return;
        }
        self.server.next_serial = self.server.next_serial.wrapping_add(1);
        let serial = self.server.next_serial;
        let interest = Interest::READ;
        if self
            .poller
            .add(&fd, token::client(serial), interest)
            .is_err()
        {
            return;
        }
        let client = Client::new(control, peer.uid);
        let connection = Connection {
            client,
            fd,
            interest,
            heard: clock::now(),
        };
        self.server.clients.insert(serial, connection);
    }

    /// A client's socket is ready. One request is read at a time; what it sends beyond waits in
    /// the kernel.
    pub(crate) fn client_ready(&mut self, serial: u32, ready: Ready) {
        if ready.writable {
            self.flush_client(serial);
        }
        if !ready.readable && !ready.hangup {
            return;
        }
        let Some(connection) = self.server.clients.get_mut(&serial) else {
            return;
        };
        if !connection.client.ready() {
            if ready.hangup {
                self.drop_client(serial);
            }
            return;
        }
        match socket::receive(&connection.fd, &mut self.buffer) {
            Ok(None) => {}
            Ok(Some(got)) if got.length > 0 => {
                connection.heard = clock::now();
                // No request carries descriptors: those that came are closed here.
                drop(got.fds);
                let bytes = self
                    .buffer
                    .get(..got.length.min(MAX_FRAME))
                    .unwrap_or_default();
                let asked = connection.client.take(bytes, got.truncated, crate::BUILD);
                if let Asked::Request(request) = asked {
                    self.on_request(serial, request);
                }
            }
            Ok(Some(_)) | Err(_) => self.drop_client(serial),
        }
    }

    pub(crate) fn drop_client(&mut self, serial: u32) {
        self.server.clients.remove(&serial);
        self.server.tickets.retain(|_, owner| *owner != serial);
    }

    /// Goes on with every answer that is under way, and sends.
    pub(crate) fn answer_clients(&mut self) {
        for serial in self.server.serials() {
            self.go_on(serial);
            self.flush_client(serial);
        }
    }

    /// Sends what waits for a client, and tells the poller what it waits for.
    fn flush_client(&mut self, serial: u32) {
        let Some(connection) = self.server.clients.get_mut(&serial) else {
            return;
        };
        let mut blocked = false;
        while let Some(bytes) = connection.client.front() {
            units::fault::boundary();
            match socket::send(&connection.fd, bytes, &[]) {
                Ok(()) => connection.client.sent(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    blocked = true;
                    break;
                }
                Err(_) => {
                    self.drop_client(serial);
                    return;
                }
            }
        }
        // A client to be closed gets what fits at once, not more.
        if connection.client.closing {
            self.drop_client(serial);
            return;
        }
        connection.set_interest(&self.poller, serial, blocked);
    }
}

impl Connection {
    fn set_interest(&mut self, poller: &Poller, serial: u32, blocked: bool) {
        let wanted = match (self.client.ready(), blocked) {
            (true, false) => Interest::READ,
            (true, true) => Interest::READ_WRITE,
            (false, true) => Interest::WRITE,
            (false, false) => Interest::HANGUP,
        };
        if wanted != self.interest {
            self.interest = wanted;
            let _ = poller.modify(&self.fd, token::client(serial), wanted);
        }
    }
}
