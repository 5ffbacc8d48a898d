//! One client of the control or the public socket, without its socket.
//!
//! A client says `Hello`, then asks; each request is answered by frames and ends with `End` or
//! `Error`. While an answer is under way nothing more is read from it. Its answers wait in a
//! bounded queue; long lists are produced as the queue empties ([`Answer`]), so that a client that
//! reads slowly costs one queue and a client that does not read at all is dropped only when a
//! frame cannot be made smaller or later: [`Client::push`] says so.

use engine::api::{JobId, Ticket, UnitId};
use std::collections::VecDeque;
use units::state::Micros;
use units::wire::control::{ErrorKind, Reply, Request};
use units::wire::{self, VERSION};

/// Bytes of answers that may wait for a client of the control socket.
const CONTROL_QUEUE: usize = 1 << 20;
/// The same for the public socket.
const PUBLIC_QUEUE: usize = 160 << 10;
/// Below this many waiting bytes a list goes on.
pub const LOW_WATER: usize = 32 << 10;

/// What is being answered.
#[derive(Debug, Default)]
pub enum Answer {
    /// Nothing: the next request may be read.
    #[default]
    Idle,
    /// Units from this index on.
    Units {
        /// Those still to be looked at.
        rest: std::vec::IntoIter<UnitId>,
        /// Globs; none means all.
        patterns: Vec<String>,
        /// Also the idle ones.
        all: bool,
    },
    /// These frames, one after the other.
    Frames(std::vec::IntoIter<Reply>),
    /// The files are being read again, as soon as the generators are done.
    Reload,
    /// What is recorded is being compared with what the kernel says.
    Comparison,
    /// It is carried out as soon as every helper is in contact.
    Held(Request),
    /// Jobs have been queued and their end is awaited.
    Jobs(Awaited),
}

/// A request for jobs.
#[derive(Debug, Default)]
pub struct Awaited {
    /// Asked of the engine and not answered yet.
    pub tickets: Vec<(Ticket, String)>,
    /// Queued and not ended.
    pub jobs: Vec<JobId>,
    /// The atomic start that has not ended.
    pub atomic: Option<u32>,
    /// Whether the client waits for the ends.
    pub wait: bool,
    /// Refused: nothing more will be answered.
    pub refused: bool,
    /// When the next `Waiting` may be sent.
    pub note_at: Micros,
}

impl Awaited {
    /// Whether something has not ended.
    pub fn is_open(&self) -> bool {
        !self.jobs.is_empty() || self.atomic.is_some()
    }
}

/// A connection's state.
#[derive(Debug)]
pub struct Client {
    /// Whether it may change anything.
    pub control: bool,
    /// Who it is.
    pub uid: u32,
    /// It has said `Hello`.
    greeted: bool,
    /// What is being answered.
    pub answer: Answer,
    out: VecDeque<Vec<u8>>,
    waiting: usize,
    /// To be closed once everything is sent.
    pub closing: bool,
}

/// What a frame from a client comes to.
#[derive(Debug)]
pub enum Asked {
    /// Answered already.
    Nothing,
    /// To be answered.
    Request(Request),
}

impl Client {
    /// A client that has just connected.
    pub fn new(control: bool, uid: u32) -> Self {
        Self {
            control,
            uid,
            greeted: false,
            answer: Answer::Idle,
            out: VecDeque::new(),
            waiting: 0,
            closing: false,
        }
    }

    /// Whether it has said `Hello`.
    pub fn greeted(&self) -> bool {
        self.greeted
    }

    /// Whether the next request may be read.
    pub fn ready(&self) -> bool {
        matches!(self.answer, Answer::Idle) && !self.closing && self.waiting < LOW_WATER
    }

    /// Whether it waits for nothing.
    pub fn idle(&self) -> bool {
        self.ready() && self.waiting == 0
    }

    /// Takes a frame. What is wrong with it is answered here, and ends the connection where the
    /// client cannot be understood at all.
    pub fn take(&mut self, bytes: &[u8], cut: bool, build: &str) -> Asked {
        let request = if cut {
            Err(wire::WireError::TooLong)
        } else {
            wire::decode(bytes)
        };
        let request: Request = match request {
            Ok(request) => request,
            Err(error) => {
                self.refuse(
                    ErrorKind::BadRequest,
                    format!("found {error}, expected a request"),
                );
                self.closing = true;
                return Asked::Nothing;
            }
        };
        match (self.greeted, request) {
            (_, Request::Hello { version: 0 }) => {
                self.refuse(
                    ErrorKind::BadRequest,
                    format!("found protocol version 0, this manager speaks 1 to {VERSION}"),
                );
                self.closing = true;
                Asked::Nothing
            }
            (_, Request::Hello { version }) => {
                self.greeted = true;
                self.push(&Reply::Hello {
                    version: version.min(VERSION),
                    build: build.into(),
                    control: self.control,
                });
                Asked::Nothing
            }
            (false, _) => {
                self.refuse(
                    ErrorKind::BadRequest,
                    "found a request, expected Hello as the first frame".into(),
                );
                self.closing = true;
                Asked::Nothing
            }
            (true, request) if !self.control && !is_public(&request) => {
                self.refuse(
                    ErrorKind::Denied,
                    "this socket only answers questions; root uses /run/sysmaster/control".into(),
                );
                Asked::Nothing
            }
            (true, request) => Asked::Request(request),
        }
    }

    /// Queues a frame. A client that let its queue fill up is to be closed.
    pub fn push(&mut self, reply: &Reply) {
        let Ok(bytes) = wire::encode(reply) else {
            // Only a unit with tens of thousands of dependencies comes here.
            if !matches!(reply, Reply::Error { .. }) {
                self.refuse(
                    ErrorKind::Internal,
                    "the answer does not fit into a frame".into(),
                );
            }
            return;
        };
        let limit = if self.control {
            CONTROL_QUEUE
        } else {
            PUBLIC_QUEUE
        };
        if self.waiting + bytes.len() > limit {
            self.closing = true;
            return;
        }
        self.waiting += bytes.len();
        self.out.push_back(bytes);
    }

    /// Queues an error, which ends the answer.
    pub fn refuse(&mut self, kind: ErrorKind, message: String) {
        self.answer = Answer::Idle;
        self.push(&Reply::Error { kind, message });
    }

    /// The frame to be sent next.
    pub fn front(&self) -> Option<&[u8]> {
        self.out.front().map(Vec::as_slice)
    }

    /// The front is sent.
    pub fn sent(&mut self) {
        if let Some(frame) = self.out.pop_front() {
            self.waiting = self.waiting.saturating_sub(frame.len());
        }
    }

    /// Bytes that wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }
}

/// Requests the public socket answers: unit states, but no environments, credentials or logs
/// (which no request of the manager shows anyway).
pub fn is_public(request: &Request) -> bool {
    matches!(
        request,
        Request::Hello { .. }
            | Request::Manager
            | Request::ListUnits { .. }
            | Request::ListJobs
            | Request::Show { .. }
            | Request::Dependencies { .. }
            | Request::History { .. }
            | Request::UpgradeState
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use units::wire::control::ShutdownKind;

    fn hello(client: &mut Client) {
        let bytes = wire::encode(&Request::Hello { version: 7 }).unwrap();
        assert!(matches!(client.take(&bytes, false, "b"), Asked::Nothing));
        let reply: Reply = wire::decode(client.front().unwrap()).unwrap();
        assert!(matches!(
            reply,
            Reply::Hello {
                version: VERSION,
                ..
            }
        ));
        client.sent();
    }

    fn error(client: &Client) -> ErrorKind {
        match wire::decode(client.front().unwrap()).unwrap() {
            Reply::Error { kind, .. } => kind,
            other => panic!("expected an error, got {other:?}"),
        }
    }

    #[test]
    fn garbage_ends_this_connection_with_an_error() {
        for bytes in [&[0xff, 0xff, 0xff][..], &[], &[9; 70_000]] {
            let mut client = Client::new(true, 0);
            assert!(matches!(client.take(bytes, false, "b"), Asked::Nothing));
            assert_eq!(error(&client), ErrorKind::BadRequest);
            assert!(client.closing);
        }
    }

    #[test]
    fn a_cut_frame_is_too_long() {
        let mut client = Client::new(true, 0);
        let bytes = wire::encode(&Request::Hello { version: 1 }).unwrap();
        assert!(matches!(client.take(&bytes, true, "b"), Asked::Nothing));
        assert!(client.closing);
    }

    #[test]
    fn hello_comes_first() {
        let mut client = Client::new(true, 0);
        let bytes = wire::encode(&Request::Manager).unwrap();
        assert!(matches!(client.take(&bytes, false, "b"), Asked::Nothing));
        assert!(client.closing);
        let mut client = Client::new(true, 0);
        hello(&mut client);
        assert!(matches!(
            client.take(&bytes, false, "b"),
            Asked::Request(Request::Manager)
        ));
    }

    #[test]
    fn the_public_socket_changes_nothing() {
        let mut client = Client::new(false, 1000);
        hello(&mut client);
        for request in [
            Request::Reload,
            Request::Reexec,
            Request::Shutdown {
                kind: ShutdownKind::Halt,
                force: true,
            },
            Request::Cancel { jobs: Vec::new() },
            Request::ResetFailed { units: Vec::new() },
        ] {
            let bytes = wire::encode(&request).unwrap();
            assert!(matches!(client.take(&bytes, false, "b"), Asked::Nothing));
            assert_eq!(error(&client), ErrorKind::Denied);
            client.sent();
            assert!(!client.closing, "it may go on asking");
        }
        let bytes = wire::encode(&Request::ListJobs).unwrap();
        assert!(matches!(client.take(&bytes, false, "b"), Asked::Request(_)));
    }

    #[test]
    fn a_client_that_does_not_read_is_dropped() {
        let mut client = Client::new(false, 1000);
        let findings = Reply::Findings(vec!["x".repeat(1000)]);
        for _ in 0..PUBLIC_QUEUE / 1000 + 1 {
            client.push(&findings);
        }
        assert!(client.closing && client.waiting() <= PUBLIC_QUEUE);
    }
}
