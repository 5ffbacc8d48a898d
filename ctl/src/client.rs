//! The conversation with the manager.
//!
//! A manager that dies is replaced within a fraction of a second, and its listening socket
//! outlives it: a new connection waits in the backlog until the next manager takes it. So one
//! connect is enough; it is tried again only while the backlog is full. What was asked before the manager died is
//! asked again, if asking twice is the same as asking once; otherwise the user is told.
//!
//! Root speaks over the control socket. Everybody else is refused there by the file's mode and
//! falls back to the public one, which answers what only reads.

use crate::{Fault, exit};
use platform::{clock, socket};
use std::io::{self, ErrorKind as Io, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;
use units::wire::control::{ErrorKind, Reply, Request};
use units::wire::{self, MAX_FRAME};

/// Where the manager listens for root.
pub const CONTROL: &str = "/run/sysmaster/control";
/// Where it listens for everybody.
pub const PUBLIC: &str = "/run/sysmaster/public";

/// How long a manager may be away or silent before we give up, in seconds, unless told otherwise.
/// init replaces a dead one in milliseconds and a hung one in three seconds; the rest is for the
/// slowest boards under load.
pub const PATIENCE: u32 = 30;

/// After this long without an answer the user is told what we wait for. Microseconds.
const NOTICE: u64 = 2_000_000;

/// How often a listener whose backlog is full, or that is being made, is tried again.
const AGAIN: Duration = Duration::from_millis(20);

/// How often a request is sent again, if the time allows: somebody may be killing managers in a
/// loop, and one that the request itself kills is put under quarantine by its own rules.
pub const ATTEMPTS: u32 = 64;

/// A connection to whoever is the manager now.
pub struct Client<'a> {
    socket: Option<String>,
    /// Microseconds.
    patience: u64,
    stream: Option<UnixStream>,
    buffer: Vec<u8>,
    /// Told once when an answer takes long.
    notice: &'a mut dyn FnMut(&str),
    noticed: bool,
    /// Whether this connection may change anything; known after the first request.
    pub control: bool,
    /// Build of the manager; known after the first request.
    pub build: String,
}

/// What became of one attempt at a request.
enum Attempt {
    Done,
    /// The manager went away after this many answers.
    Lost,
}

impl<'a> Client<'a> {
    /// A client that connects when it is first used: to `socket`, or the well-known places.
    pub fn new(socket: Option<String>, seconds: u32, notice: &'a mut dyn FnMut(&str)) -> Self {
        Self {
            socket,
            patience: u64::from(seconds.max(1)) * 1_000_000,
            stream: None,
            buffer: Vec::new(),
            notice,
            noticed: false,
            control: false,
            build: String::new(),
        }
    }

    /// Asks, and collects the answers up to the end. Asks again if the manager is replaced.
    pub fn ask(&mut self, request: &Request) -> Result<Vec<Reply>, Fault> {
        let limit = clock::now() + self.patience;
        for _ in 0..ATTEMPTS {
            if clock::now() > limit {
                return Err(self.too_late());
            }
            let mut replies = Vec::new();
            let attempt = self.attempt(request, &mut |reply| {
                replies.push(reply);
                Ok(())
            })?;
            match attempt {
                Attempt::Done => return Ok(replies),
                Attempt::Lost if !may_repeat(request) => {
                    return Err(Fault::failed(
                        "the manager was replaced before it answered; it is not known whether \
                         this was done, and doing it twice would not be the same: look at \
                         `sctl status` and repeat it if need be",
                    ));
                }
                Attempt::Lost => {}
            }
        }
        Err(Fault::failed(format!(
            "the manager ended {ATTEMPTS} times while it answered this"
        )))
    }

    /// Asks, and hands over each answer as it comes. A manager that works on it says so every
    /// second, so silence has the same limit here. `false` if it went away before the end.
    pub fn follow(
        &mut self,
        request: &Request,
        each: &mut dyn FnMut(Reply) -> Result<(), Fault>,
    ) -> Result<bool, Fault> {
        Ok(matches!(self.attempt(request, each)?, Attempt::Done))
    }

    fn attempt(
        &mut self,
        request: &Request,
        each: &mut dyn FnMut(Reply) -> Result<(), Fault>,
    ) -> Result<Attempt, Fault> {
        let frame = wire::encode(request)
            .map_err(|error| Fault::usage(format!("this is too much for one request: {error}")))?;
        let limit = clock::now() + self.patience;
        self.connect(limit)?;
        if !self.send(&frame)? {
            return Ok(Attempt::Lost);
        }
        let mut limit = limit;
        loop {
            let Some(reply) = self.receive(limit)? else {
                return Ok(Attempt::Lost);
            };
            // It lives and works on it: silence is measured anew.
            limit = clock::now() + self.patience;
            match reply {
                Reply::End => return Ok(Attempt::Done),
                Reply::Error { kind, message } => return Err(refusal(kind, message)),
                other => each(other)?,
            }
        }
    }

    /// Makes sure there is a connection over which `Hello` was answered.
    fn connect(&mut self, limit: u64) -> Result<(), Fault> {
        while self.stream.is_none() {
            self.stream = Some(self.dial(limit)?);
            let hello = wire::encode(&Request::Hello {
                version: wire::VERSION,
            })
            .map_err(|error| Fault::failed(error.to_string()))?;
            if !self.send(&hello)? {
                continue;
            }
            match self.receive(limit)? {
                Some(Reply::Hello { control, build, .. }) => {
                    self.control = control;
                    self.build = build;
                }
                Some(Reply::Error { kind, message }) => return Err(refusal(kind, message)),
                Some(_) => return Err(Fault::failed(garbled(&self.place()))),
                None => {}
            }
        }
        Ok(())
    }

    fn place(&self) -> String {
        self.socket.clone().unwrap_or_else(|| CONTROL.to_owned())
    }

    /// One connect, which waits in the backlog while there is no manager. It is tried again while
    /// the backlog is full, and for a moment where nobody listens (the socket is being made).
    fn dial(&mut self, limit: u64) -> Result<UnixStream, Fault> {
        let began = clock::now();
        loop {
            let tried = match &self.socket {
                Some(path) => link(path),
                None => link(CONTROL).or_else(|error| match error.kind() {
                    Io::PermissionDenied => link(PUBLIC),
                    _ => Err(error),
                }),
            };
            let error = match tried {
                Ok(stream) => return Ok(stream),
                Err(error) => error,
            };
            let place = self.place();
            match error.kind() {
                Io::ConnectionRefused if clock::now() - began < NOTICE => std::thread::sleep(AGAIN),
                Io::WouldBlock if clock::now() < limit => {
                    if clock::now() - began > NOTICE {
                        self.tell();
                    }
                    std::thread::sleep(AGAIN);
                }
                Io::ConnectionRefused => {
                    return Err(Fault::offline(format!(
                        "nobody listens at {place} any more"
                    )));
                }
                Io::NotFound => {
                    return Err(Fault::offline(format!(
                        "sysmaster does not run here: there is no {place}"
                    )));
                }
                Io::PermissionDenied => {
                    return Err(Fault::new(
                        exit::DENIED,
                        format!("{place}: only root may speak to the manager there"),
                    ));
                }
                Io::WouldBlock | Io::TimedOut => return Err(self.too_late()),
                _ => return Err(Fault::failed(format!("{place}: {error}"))),
            }
        }
    }

    /// `false` if the other side is gone.
    fn send(&mut self, frame: &[u8]) -> Result<bool, Fault> {
        let Some(stream) = self.stream.as_mut() else {
            return Ok(false);
        };
        match stream.write(frame) {
            Ok(_) => Ok(true),
            Err(error) if is_gone(&error) => {
                self.stream = None;
                Ok(false)
            }
            Err(error) if is_slow(&error) => Err(self.too_late()),
            Err(error) => Err(Fault::failed(format!("{}: {error}", self.place()))),
        }
    }

    /// The next frame; `None` if the other side is gone.
    fn receive(&mut self, limit: u64) -> Result<Option<Reply>, Fault> {
        if self.buffer.is_empty() {
            self.buffer.resize(MAX_FRAME, 0);
        }
        loop {
            let Some(stream) = self.stream.as_mut() else {
                return Ok(None);
            };
            let left = limit.saturating_sub(clock::now());
            if left == 0 {
                return Err(self.too_late());
            }
            let step = if self.noticed { left } else { left.min(NOTICE) };
            stream
                .set_read_timeout(Some(Duration::from_micros(step)))
                .map_err(|error| Fault::failed(format!("cannot set a time limit: {error}")))?;
            match stream.read(&mut self.buffer) {
                Ok(0) => {
                    self.stream = None;
                    return Ok(None);
                }
                Ok(length) => {
                    let bytes = self.buffer.get(..length).unwrap_or(&[]);
                    return match wire::decode(bytes) {
                        Ok(reply) => Ok(Some(reply)),
                        Err(_) => Err(Fault::failed(garbled(&self.place()))),
                    };
                }
                Err(error) if error.kind() == Io::Interrupted => {}
                Err(error) if is_slow(&error) => self.tell(),
                Err(error) if is_gone(&error) => {
                    self.stream = None;
                    return Ok(None);
                }
                Err(error) => return Err(Fault::failed(format!("{}: {error}", self.place()))),
            }
        }
    }

    fn tell(&mut self) {
        if !self.noticed {
            self.noticed = true;
            (self.notice)(
                "the manager does not answer yet (being replaced, or very busy); waiting",
            );
        }
    }

    fn too_late(&self) -> Fault {
        Fault::failed(format!(
            "no answer from the manager in {} s; `--timeout=SECONDS` waits longer",
            self.patience / 1_000_000
        ))
    }
}

/// Whether asking twice is the same as asking once. A signal sent twice is two signals; of upgrades only that of init
/// is asked so, which may be replaced by itself.
fn may_repeat(request: &Request) -> bool {
    !matches!(request, Request::Kill { .. })
}

fn link(path: &str) -> io::Result<UnixStream> {
    // Reading and writing a connected socket is the same for packets as for streams; one read is
    // one packet.
    let stream = UnixStream::from(socket::connect(Path::new(path))?);
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(Duration::from_micros(NOTICE)))?;
    Ok(stream)
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        Io::BrokenPipe | Io::ConnectionReset | Io::NotConnected
    )
}

fn is_slow(error: &io::Error) -> bool {
    matches!(error.kind(), Io::WouldBlock | Io::TimedOut)
}

fn garbled(place: &str) -> String {
    format!(
        "what came from {place} is not our protocol (version {}); is another sctl installed than \
         the manager that runs? `sctl version` of both should agree",
        wire::VERSION
    )
}

fn refusal(kind: ErrorKind, message: String) -> Fault {
    let code = match kind {
        ErrorKind::BadRequest => exit::USAGE,
        ErrorKind::Denied => exit::DENIED,
        ErrorKind::NotFound => exit::NOT_INSTALLED,
        ErrorKind::BadUnit => exit::NOT_CONFIGURED,
        ErrorKind::Unsupported => exit::NOT_IMPLEMENTED,
        ErrorKind::Transaction
        | ErrorKind::Busy
        | ErrorKind::ShuttingDown
        | ErrorKind::Internal => exit::FAILURE,
    };
    Fault {
        code,
        text: message,
        kind: Some(kind),
    }
}
