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
use crate::say::{self, Arg::N};
use crate::store;
use crate::supervise::{DOOMED_MAX, Init};
use crate::sys::{self, FDS_MAX, Packet};
use init_wire::codec::Put;
use init_wire::parts::{self, Parts};
use init_wire::{
    BuildId, FRAME_MAX, Hello, Kind, Label, Refusal, Request, Shutdown, VERSION, number,
};

/// Frames read before others get a turn.
const READ_TURN: usize = 64;
/// Frames sent before others get a turn.
const SEND_TURN: usize = 256;
/// Frames read from a manager that is dead: more do not fit into a socket's buffer.
const DRAIN: usize = 4096;
/// A shutdown may not be further away than this.
const DEADLINE_MAX_MS: u64 = 3_600_000;

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
    answer: Answer,
    list: Option<List>,
    pub blocked: Blocked,
    /// The other end is closed; the process may live.
    pub hung_up: bool,
    /// A frame that was not understood has been complained about.
    complained: bool,
}

/// An answer, as the frame it will be.
#[derive(Clone, Copy)]
struct Answer {
    frame: [u8; ANSWER],
    /// 0: there is none.
    len: u8,
    fd: Option<i32>,
}

/// Bytes of the longest answer: a number, a label (3, 16 and 3 bytes), a reason.
const ANSWER: usize = 24;

#[derive(Clone, Copy)]
struct List {
    kind: Kind,
    next: usize,
    count: u32,
}

#[derive(Clone, Copy)]
enum Due {
    Hello,
    Signal(u32),
    Discarded,
    Ping,
    Answer,
    Exit,
    Listed(Label, List),
    ListEnd(u32),
}

impl Talk {
    pub const fn new() -> Talk {
        Talk {
            hello_due: false,
            discarded_due: false,
            signals_told: 0,
            ping_due: false,
            ping: None,
            answer: Answer {
                frame: [0; ANSWER],
                len: 0,
                fd: None,
            },
            list: None,
            blocked: Blocked::No,
            hung_up: false,
            complained: false,
        }
    }

    /// There is nobody to say anything to.
    pub fn reset(&mut self) {
        *self = Talk::new();
    }

    /// A new manager is there, who knows nothing.
    pub fn restart(&mut self) {
        self.reset();
        self.hello_due = true;
    }

    /// Asks for a sign of life.
    pub fn ask(&mut self, now: u64) {
        self.ping = Some(now);
        self.ping_due = true;
    }

    /// Whether an answer is on its way.
    pub fn answering(&self) -> bool {
        self.answer.len > 0 || self.list.is_some()
    }

    /// This signal is to be told again.
    pub fn forget_signal(&mut self, signo: u32) {
        self.signals_told &= !bit(signo);
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
        self.ring.owed()
            || self.talk.signals_told & self.facts.signals != 0
            || self.talk.ping.is_some()
            || self.talk.hung_up
            || self.talk.blocked != Blocked::No
            || self.facts.trial != 0
            || !sys::all_read(fd)
    }

    /// Whether anything is to be sent.
    pub fn has_to_say(&self) -> bool {
        self.channel().is_some() && !self.talk.hung_up && self.due().is_some()
    }

    /// What is to be said next.
    #[inline(never)]
    fn due(&self) -> Option<Due> {
        let talk = &self.talk;
        let signals = self.facts.signals & !talk.signals_told;
        Some(if talk.hello_due {
            Due::Hello
        } else if signals != 0 {
            Due::Signal(signals.trailing_zeros())
        } else if talk.discarded_due {
            Due::Discarded
        } else if talk.ping_due {
            Due::Ping
        } else if talk.answer.len > 0 {
            Due::Answer
        } else if self.ring.unsent().is_some() {
            Due::Exit
        } else {
            let mut list = talk.list?;
            loop {
                let Some((label, _)) = self.store.at(list.next) else {
                    break Due::ListEnd(list.count);
                };
                list.next += 1;
                if list.kind == Kind::ANY || list.kind == label.kind {
                    list.count += 1;
                    break Due::Listed(label, list);
                }
            }
        })
    }

    /// Writes the frame.
    #[inline(never)]
    fn frame(&self, due: Due, out: &mut Put<'_>) {
        match due {
            Due::Hello => self.hello(out),
            Due::Signal(signo) => {
                out.u8(number::SIGNAL);
                out.u8(signo as u8);
            }
            Due::Discarded => out.pair(number::DISCARDED, self.facts.discarded),
            Due::Ping => out.pair(number::PING, self.talk.ping.unwrap_or_default()),
            Due::Answer => {
                let answer = &self.talk.answer;
                out.bytes(
                    answer
                        .frame
                        .get(..usize::from(answer.len))
                        .unwrap_or_default(),
                );
            }
            Due::Exit => {
                out.u8(number::EXITED);
                if let Some(exit) = self.ring.unsent() {
                    exit.put(out);
                }
            }
            Due::Listed(label, _) => {
                out.u8(number::LISTED);
                out.label(&label);
            }
            Due::ListEnd(count) => out.pair(number::LIST_END, u64::from(count)),
        }
    }

    fn hello(&self, out: &mut Put<'_>) {
        let mut flags = self.facts.settings.flags;
        if self.ladder.safe_mode() {
            flags |= init_wire::flags::SAFE_MODE;
        }
        if self.facts.trial != 0 {
            flags |= init_wire::flags::TRIAL;
        }
        let left = self.facts.shutdown_at.saturating_sub(sys::now());
        out.u8(number::HELLO);
        let hello = Hello {
            version: VERSION,
            build: BUILD,
            epoch: self.facts.epoch,
            flags,
            before: self.before(),
            shutdown: self.ending().map(|ending| Shutdown {
                ending,
                left_ms: left.min(u64::from(u32::MAX)) as u32,
            }),
            capacity: self.store.capacity() as u32,
            kept: self.store.len() as u32,
            discarded: self.facts.discarded,
            waiting: self.ring.len() as u32,
        };
        hello.put(out);
    }

    fn sent(&mut self, due: Due) {
        let talk = &mut self.talk;
        match due {
            Due::Hello => talk.hello_due = false,
            Due::Signal(signo) => talk.signals_told |= bit(signo),
            Due::Discarded => talk.discarded_due = false,
            Due::Ping => talk.ping_due = false,
            Due::Answer => talk.answer.len = 0,
            Due::Listed(_, list) => talk.list = Some(list),
            Due::ListEnd(_) => talk.list = None,
            Due::Exit => self.ring.mark_sent(),
        }
    }

    /// Sends what the socket takes.
    #[inline(never)]
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
            let Some(due) = self.due() else { return };
            let mut buf = [0; 128];
            let mut out = Put::new(&mut buf);
            self.frame(due, &mut out);
            let with = if matches!(due, Due::Answer) {
                self.talk.answer.fd
            } else {
                None
            };
            match sys::send(fd, out.written(), with) {
                Ok(()) => {
                    self.sent(due);
                    self.liveness.owe(now);
                }
                Err(libc::EAGAIN) => self.talk.blocked = Blocked::Socket,
                Err(libc::ENOMEM | libc::ENOBUFS | libc::ETOOMANYREFS) => {
                    self.talk.blocked = Blocked::Until(now + 100);
                }
                Err(libc::EINTR) => {}
                Err(libc::EPIPE | libc::ECONNRESET | libc::ENOTCONN) => self.talk.hung_up = true,
                Err(_) => self.sent(due),
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
        let mut packet = Packet::<{ FRAME_MAX + 1 }>::new();
        for _ in 0..if ended { DRAIN } else { READ_TURN } {
            if ended {
                self.talk.answer.len = 0;
                self.talk.list = None;
                self.close_doomed(now);
            }
            if !self.may_read() {
                return;
            }
            let Some(fd) = self.channel() else { return };
            match packet.receive(fd) {
                Ok(()) => {}
                Err(libc::EINTR) => continue,
                Err(libc::EAGAIN) => return,
                Err(_) => {
                    self.talk.hung_up = true;
                    return;
                }
            }
            let (bytes, fds) = (packet.bytes(), packet.fds());
            if bytes.is_empty() && fds.is_empty() {
                // Closed, or a packet of length 0: the former does not end.
                empty += 1;
                if empty > 8 {
                    self.talk.hung_up = true;
                    return;
                }
                continue;
            }
            let mut parts = Parts::default();
            let good = !packet.cut && parts.take(bytes);
            if good && parts.number == parts::KEEP {
                self.keep(parts.label(), fds);
            } else {
                for fd in fds {
                    self.dispose(*fd);
                }
            }
            if good {
                self.liveness.heard(now, parts.number == parts::HELLO);
                self.heard_at = now;
                self.handle(&parts, now);
            } else if !self.talk.complained {
                self.talk.complained = true;
                say::warning(
                    "the manager sent what is no frame; ignored, and so are further ones",
                    &[],
                );
            }
        }
    }

    /// The manager has ended: everything it said before counts.
    pub fn drain(&mut self, now: u64) {
        self.read_frames(now, true);
    }

    #[inline(never)]
    fn handle(&mut self, parts: &Parts<'_>, now: u64) {
        let last = parts.last;
        match parts.number {
            parts::HELLO => self.heard_hello(last),
            parts::ACK => {
                self.ring.acknowledge(last);
                self.alone_since = now;
                self.reap_again |= self.reap_stalled;
            }
            parts::PONG if self.talk.ping == Some(last) => {
                self.talk.ping = None;
                self.manager_answered(now);
            }
            parts::TAKEN => {
                // One that came again since it was told is not taken by this: it is told again.
                self.facts.signals &= !(bit(last as u32) & self.talk.signals_told);
                self.talk.signals_told &= self.facts.signals;
            }
            parts::DROP => {
                let label = parts.label();
                self.let_go(&|one| one == label);
            }
            parts::DROP_OWNER => {
                let (kind, hash) = (Kind(last as u16), parts.hash);
                self.let_go(&|one| one.kind == kind && one.hash == hash);
            }
            parts::FETCH => {
                let label = parts.label();
                let fd = self.store.get(label);
                let number = if fd.is_some() {
                    number::FD
                } else {
                    number::NOT_FOUND
                };
                self.answer_label(number, label, None);
                self.talk.answer.fd = fd;
            }
            parts::LIST => {
                self.talk.list = Some(List {
                    kind: Kind(last as u16),
                    next: 0,
                    count: 0,
                });
            }
            parts::SHUTDOWN => {
                let at = now + last.min(DEADLINE_MAX_MS);
                if self.facts.ending == 0 || at < self.facts.shutdown_at {
                    self.facts.shutdown_at = at;
                }
                self.facts.ending = 1 + parts.first as u32;
            }
            parts::FINISH => {
                if let Some(ending) = self.ending() {
                    last::begin(self, ending, now);
                }
            }
            parts::REEXEC => self.want_reexec(),
            parts::SWITCH_ROOT => self.want_root(parts.first_text, parts.last_text),
            parts::WATCHDOG => self.feed_watchdog(last as u32, now),
            parts::WATCHDOG_AT_REBOOT => self.facts.watchdog_reboot_ms = last as u32,
            parts::READY => self.settle(),
            // A descriptor to keep came by another way, an answer to an older ping says nothing.
            _ => {}
        }
    }

    fn heard_hello(&mut self, epoch: u64) {
        if epoch != self.facts.epoch {
            say::warning(
                "the manager speaks of epoch %, it is %",
                &[N(epoch), N(self.facts.epoch)],
            );
        }
        self.facts.manager_up = 1;
        self.reap_again |= self.reap_stalled;
    }

    #[inline(never)]
    fn keep(&mut self, label: Label, fds: &[i32]) {
        let &[fd] = fds else {
            for fd in fds {
                self.dispose(*fd);
            }
            return self.answer_label(number::REFUSED, label, Some(Refusal::NotOne));
        };
        let (number, why, stray) = match self.store.put(label, fd) {
            store::Put::Kept => (number::KEPT, None, -1),
            store::Put::Replaced(old) => (number::KEPT, None, old),
            store::Put::Full => (number::FULL, None, fd),
            store::Put::Quota => (number::REFUSED, Some(Refusal::Quota), fd),
            store::Put::Kind => (number::REFUSED, Some(Refusal::Kind), fd),
        };
        if stray >= 0 {
            self.dispose(stray);
        }
        if label.kind == Kind::TRIAL && stray != fd {
            self.begin_trial(label.index);
        }
        self.answer_label(number, label, why);
    }

    fn let_go(&mut self, wanted: &dyn Fn(Label) -> bool) {
        let mut count = 0;
        // What cannot be closed at once needs a place among the doomed; the manager may ask again.
        while self.doomed.len() < DOOMED_MAX {
            let Some(fd) = self.store.take(wanted) else {
                break;
            };
            self.dispose(fd);
            count += 1;
        }
        self.look_at_trial();
        self.answer_number(number::DROPPED, count);
    }

    /// Prepares an answer that `write` writes.
    #[inline(never)]
    fn answer(&mut self, write: &dyn Fn(&mut Put<'_>)) {
        let answer = &mut self.talk.answer;
        let mut out = Put::new(&mut answer.frame);
        write(&mut out);
        answer.len = out.written().len() as u8;
        answer.fd = None;
    }

    fn answer_label(&mut self, number: u8, label: Label, why: Option<Refusal>) {
        self.answer(&|out| {
            out.u8(number);
            out.label(&label);
            if let Some(why) = why {
                out.u8(why as u8);
            }
        });
    }

    pub fn answer_number(&mut self, number: u8, value: u32) {
        self.answer(&|out| out.pair(number, u64::from(value)));
    }

    /// Tells the manager that a request of it failed.
    pub fn failed(&mut self, request: Request, errno: i32) {
        self.answer(&|out| {
            out.u8(number::FAILED);
            out.u8(request as u8);
            out.int(errno);
        });
    }
}

/// A set of one signal, or of none if there is no such.
pub fn bit(signo: u32) -> u64 {
    1_u64.checked_shl(signo).unwrap_or(0)
}
