//! The conversation with the manager: what is to be said, and what is done about what it says.
//!
//! There are no queues. What init has to say is kept where it belongs (the ring, the set of
//! signals, a cursor over the store) and is turned into a frame when the socket takes one. An
//! answer has one place; while it is taken, or a list is being told, no further frame is read, so a
//! manager that asks and does not read stalls nobody but itself.
//!
//! Frames are hostile until decoded: one that is not understood, too long, or comes with descriptors it
//! should not have is dropped, the descriptors are disposed of.

use crate::last;
use crate::manager::Manager;
use crate::say::{self, Arg::N};
use crate::store::Put;
use crate::supervise::{DOOMED_MAX, Init};
use crate::sys::{self, FDS_MAX};
use init_wire::{
    BuildId, FRAME_MAX, FromManager, Hello, Kind, Label, Refusal, Request, Shutdown, ToManager,
    VERSION,
};

/// Frames read before others get a turn.
const READ_TURN: usize = 64;
/// Frames sent before others get a turn.
const SEND_TURN: usize = 256;
/// Frames read from a manager that is dead: more do not fit into a socket's buffer.
const DRAIN: usize = 4096;
/// A shutdown may not be further away than this.
const DEADLINE_MAX_MS: u32 = 3_600_000;

/// What identifies this build in `Hello`.
const BUILD: BuildId = match concat!(env!("CARGO_PKG_VERSION"), "\0\0\0\0\0\0\0\0")
    .as_bytes()
    .first_chunk()
{
    Some(build) => *build,
    None => [0; 8],
};

/// Why nothing is being sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Blocked {
    No,
    /// The socket is full: the manager has to read.
    Socket,
    /// The kernel was out of something: again at this time.
    Until(u64),
}

/// What is to be said to the present manager.
pub struct Talk {
    hello_due: bool,
    discarded_due: bool,
    /// Signals (bit n: signal n) that this manager was told of.
    signals_told: u64,
    ping_due: bool,
    /// The ping that was not answered.
    ping: Option<u64>,
    answer: Option<Answer>,
    list: Option<List>,
    pub blocked: Blocked,
    /// The other end is closed; the process may live.
    pub hung_up: bool,
    /// A frame that was not understood has been complained about.
    complained: bool,
}

#[derive(Clone, Copy)]
struct Answer {
    frame: ToManager,
    fd: Option<i32>,
}

#[derive(Clone, Copy)]
struct List {
    kind: Kind,
    next: usize,
    count: u32,
}

enum Due {
    Hello,
    Signal(u8),
    Discarded,
    Ping,
    Answer,
    Listed(List),
    Exit,
}

impl Talk {
    pub const fn new() -> Talk {
        Talk {
            hello_due: false,
            discarded_due: false,
            signals_told: 0,
            ping_due: false,
            ping: None,
            answer: None,
            list: None,
            blocked: Blocked::No,
            hung_up: false,
            complained: false,
        }
    }

    /// A new manager is there, who knows nothing.
    pub fn restart(&mut self) {
        *self = Talk::new();
        self.hello_due = true;
    }

    /// Asks for a sign of life.
    pub fn ask(&mut self, now: u64) {
        self.ping = Some(now);
        self.ping_due = true;
    }

    /// Whether an answer is on its way.
    pub fn answering(&self) -> bool {
        self.answer.is_some() || self.list.is_some()
    }

    /// This signal is to be told again.
    pub fn forget_signal(&mut self, signo: u32) {
        self.signals_told &= !1_u64.checked_shl(signo).unwrap_or(0);
    }

    /// Tell the manager that exits were discarded.
    pub fn discarded(&mut self) {
        self.discarded_due = true;
    }
}

impl Init {
    /// Whether the manager owes anything.
    pub fn debt(&self) -> bool {
        let Some(fd) = self.channel() else {
            return false;
        };
        self.memories.ring.owed()
            || self.talk.signals_told & self.signals != 0
            || self.talk.ping.is_some()
            || self.talk.hung_up
            || self.talk.blocked != Blocked::No
            || !sys::all_read(fd)
    }

    /// Whether anything is to be sent.
    pub fn has_to_say(&self) -> bool {
        self.channel().is_some() && !self.talk.hung_up && self.next_frame().is_some()
    }

    fn next_frame(&self) -> Option<(ToManager, Option<i32>, Due)> {
        let talk = &self.talk;
        if talk.hello_due {
            return Some((self.hello(), None, Due::Hello));
        }
        let signals = self.signals & !talk.signals_told;
        if signals != 0 {
            let signo = signals.trailing_zeros() as u8;
            return Some((ToManager::Signal { signo }, None, Due::Signal(signo)));
        }
        if talk.discarded_due {
            let count = self.discarded;
            return Some((ToManager::Discarded { count }, None, Due::Discarded));
        }
        if talk.ping_due {
            let nonce = talk.ping.unwrap_or_default();
            return Some((ToManager::Ping { nonce }, None, Due::Ping));
        }
        if let Some(answer) = &talk.answer {
            return Some((answer.frame, answer.fd, Due::Answer));
        }
        if let Some(exit) = self.memories.ring.unsent() {
            return Some((ToManager::Exited(exit), None, Due::Exit));
        }
        let mut list = talk.list?;
        while let Some((label, _)) = self.memories.store.at(list.next) {
            list.next += 1;
            if list.kind == Kind::ANY || list.kind == label.kind {
                list.count += 1;
                return Some((ToManager::Listed { label }, None, Due::Listed(list)));
            }
        }
        // The end of a list is an answer like any other; see `sent`.
        Some((ToManager::ListEnd { count: list.count }, None, Due::Answer))
    }

    fn hello(&self) -> ToManager {
        let now = sys::now();
        let left = |at: u64| at.saturating_sub(now).min(u64::from(u32::MAX)) as u32;
        ToManager::Hello(Hello {
            version: VERSION,
            build: BUILD,
            epoch: self.epoch,
            flags: self.flags
                | if self.ladder.safe_mode() {
                    init_wire::flags::SAFE_MODE
                } else {
                    0
                },
            before: self.before,
            shutdown: self.shutdown.map(|(ending, at)| Shutdown {
                ending,
                left_ms: left(at),
            }),
            capacity: self.memories.store.capacity() as u32,
            kept: self.memories.store.len() as u32,
            discarded: self.discarded,
            waiting: self.memories.ring.len() as u32,
        })
    }

    fn sent(&mut self, due: &Due) {
        let talk = &mut self.talk;
        match due {
            Due::Hello => talk.hello_due = false,
            Due::Signal(signo) => talk.signals_told |= 1 << signo,
            Due::Discarded => talk.discarded_due = false,
            Due::Ping => talk.ping_due = false,
            Due::Answer if talk.answer.is_some() => talk.answer = None,
            Due::Answer => talk.list = None,
            Due::Listed(list) => talk.list = Some(*list),
            Due::Exit => self.memories.ring.mark_sent(),
        }
    }

    /// Sends what the socket takes.
    pub fn send_frames(&mut self, now: u64) {
        if let Blocked::Until(at) = self.talk.blocked
            && at <= now
        {
            self.talk.blocked = Blocked::No;
        }
        for _ in 0..SEND_TURN {
            let Some(fd) = self.channel() else { return };
            if self.talk.hung_up || self.talk.blocked != Blocked::No {
                return;
            }
            let Some((frame, with, due)) = self.next_frame() else {
                return;
            };
            let mut buf = [0; FRAME_MAX];
            let result = match frame.encode(&mut buf) {
                Some(bytes) => sys::send(fd, bytes, with),
                // No frame of ours is that long; if one were, it could never be sent.
                None => Ok(()),
            };
            match result {
                Ok(()) => {
                    self.sent(&due);
                    self.liveness.owe(now);
                }
                Err(libc::EAGAIN) => self.talk.blocked = Blocked::Socket,
                Err(libc::ENOMEM | libc::ENOBUFS | libc::ETOOMANYREFS) => {
                    self.talk.blocked = Blocked::Until(now + 100);
                }
                Err(libc::EINTR) => {}
                Err(libc::EPIPE | libc::ECONNRESET | libc::ENOTCONN) => self.talk.hung_up = true,
                Err(_) => self.sent(&due),
            }
        }
    }

    /// Whether a further frame may be read now.
    pub fn may_read(&self) -> bool {
        self.channel().is_some()
            && !self.talk.hung_up
            && !self.talk.answering()
            && self.doomed.len() + FDS_MAX <= DOOMED_MAX
    }

    /// Reads what the manager has said. `ended`: it has ended, what cannot be answered is not.
    pub fn read_frames(&mut self, now: u64, ended: bool) {
        let mut empty = 0;
        for _ in 0..if ended { DRAIN } else { READ_TURN } {
            if ended {
                self.talk.answer = None;
                self.talk.list = None;
                self.close_doomed(now);
            }
            if !self.may_read() {
                return;
            }
            let Some(fd) = self.channel() else { return };
            let mut buf = [0; FRAME_MAX + 1];
            let mut fds = [-1; FDS_MAX];
            let packet = match sys::receive(fd, &mut buf, &mut fds) {
                Ok(packet) => packet,
                Err(libc::EINTR) => continue,
                Err(libc::EAGAIN) => return,
                Err(_) => {
                    self.talk.hung_up = true;
                    return;
                }
            };
            let fds = fds.get(..packet.fds).unwrap_or_default();
            if packet.len == 0 && fds.is_empty() {
                // Closed, or a packet of length 0: the former does not end.
                empty += 1;
                if empty > 8 {
                    self.talk.hung_up = true;
                    return;
                }
                continue;
            }
            let bytes = if packet.cut {
                None
            } else {
                buf.get(..packet.len)
            };
            match bytes.and_then(FromManager::decode) {
                Some(frame) => {
                    self.liveness
                        .heard(now, matches!(frame, FromManager::Hello { .. }));
                    self.handle(&frame, fds, now);
                }
                None => self.complain(fds),
            }
        }
    }

    /// The manager has ended: everything it said before counts.
    pub fn drain(&mut self, now: u64) {
        self.read_frames(now, true);
    }

    /// There is no manager any more to say anything to.
    pub fn manager_gone(&mut self, _now: u64) {
        self.talk = Talk::new();
        self.memories.ring.resend();
    }

    fn complain(&mut self, fds: &[i32]) {
        if !self.talk.complained {
            self.talk.complained = true;
            say::warning(
                "the manager sent what is no frame; ignored, and so are further ones",
                &[],
            );
        }
        for fd in fds {
            self.dispose(*fd);
        }
    }

    fn answer(&mut self, frame: ToManager) {
        self.talk.answer = Some(Answer { frame, fd: None });
    }

    fn handle(&mut self, frame: &FromManager<'_>, fds: &[i32], now: u64) {
        if let FromManager::Keep { label } = *frame {
            return self.keep(label, fds);
        }
        for fd in fds {
            self.dispose(*fd);
        }
        match *frame {
            FromManager::Hello { epoch, .. } => self.heard_hello(epoch),
            FromManager::Ack { seq } => {
                self.memories.ring.acknowledge(seq);
                self.reap_again |= self.reap_stalled;
            }
            FromManager::Pong { nonce } if self.talk.ping == Some(nonce) => self.talk.ping = None,
            FromManager::Keep { .. } | FromManager::Pong { .. } => {}
            FromManager::Taken { signo } => {
                // One that came again since it was told is not taken by this: it is told again.
                let taken = 1_u64.checked_shl(u32::from(signo)).unwrap_or(0);
                self.signals &= !(taken & self.talk.signals_told);
                self.talk.signals_told &= self.signals;
            }
            FromManager::Drop { label } => self.let_go(&|one| one == label),
            FromManager::DropOwner { kind, hash } => {
                self.let_go(&|one| one.kind == kind && one.hash == hash);
            }
            FromManager::Fetch { label } => {
                self.talk.answer = Some(match self.memories.store.get(label) {
                    Some(fd) => Answer {
                        frame: ToManager::Fd { label },
                        fd: Some(fd),
                    },
                    None => Answer {
                        frame: ToManager::NotFound { label },
                        fd: None,
                    },
                });
            }
            FromManager::List { kind } => {
                self.talk.list = Some(List {
                    kind,
                    next: 0,
                    count: 0,
                })
            }
            FromManager::Shutdown {
                ending,
                deadline_ms,
            } => {
                let at = now + u64::from(deadline_ms.min(DEADLINE_MAX_MS));
                let at = self.shutdown.map_or(at, |(_, before)| at.min(before));
                self.shutdown = Some((ending, at));
            }
            FromManager::Finish => {
                if let Some((ending, _)) = self.shutdown {
                    last::begin(self, ending, now);
                }
            }
            FromManager::Reexec => self.switch.begin_reexec(),
            FromManager::SwitchRoot { root, init } => {
                if !self.switch.begin_root(root.as_bytes(), init.as_bytes()) {
                    self.failed(Request::SwitchRoot, libc::EINVAL);
                }
            }
            FromManager::Watchdog { timeout_ms } => self.arm_watchdog(timeout_ms, now),
            FromManager::Ready => {}
        }
    }

    fn heard_hello(&mut self, epoch: u64) {
        if epoch != self.epoch {
            say::warning(
                "the manager speaks of epoch %, it is %",
                &[N(epoch), N(self.epoch)],
            );
        }
        if let Manager::Running(running) = &mut self.manager {
            running.up = true;
        }
        self.reap_again |= self.reap_stalled;
    }

    fn keep(&mut self, label: Label, fds: &[i32]) {
        let (&[fd], true) = (fds, label.kind != Kind::ANY) else {
            for fd in fds {
                self.dispose(*fd);
            }
            let why = if fds.len() == 1 {
                Refusal::Kind
            } else {
                Refusal::NotOne
            };
            return self.answer(ToManager::Refused { label, why });
        };
        let put = self.memories.store.put(label, fd);
        match put {
            Put::Kept => {}
            Put::Replaced(old) => self.dispose(old),
            Put::Full | Put::Quota | Put::Kind => self.dispose(fd),
        }
        self.answer(match put {
            Put::Kept | Put::Replaced(_) => ToManager::Kept { label },
            Put::Full => ToManager::Full { label },
            Put::Quota => ToManager::Refused {
                label,
                why: Refusal::Quota,
            },
            Put::Kind => ToManager::Refused {
                label,
                why: Refusal::Kind,
            },
        });
    }

    fn let_go(&mut self, wanted: &dyn Fn(Label) -> bool) {
        let mut count = 0;
        // What cannot be closed at once needs a place among the doomed; the manager may ask again.
        while self.doomed.len() < DOOMED_MAX {
            let Some(fd) = self.memories.store.take(wanted) else {
                break;
            };
            self.dispose(fd);
            count += 1;
        }
        self.answer(ToManager::Dropped { count });
    }

    /// Tells the manager that a request of it failed.
    pub fn failed(&mut self, request: Request, errno: i32) {
        self.answer(ToManager::Failed { request, errno });
    }

    /// Tells the manager what the hardware watchdog does.
    pub fn watchdog_is(&mut self, timeout_ms: u32) {
        self.answer(ToManager::WatchdogArmed { timeout_ms });
    }
}
