//! The connection to init, which is how everything of the manager outlives the manager.
//!
//! Init hands over a socket at spawn, says which epoch this is, repeats every exit that no manager
//! has acknowledged, and keeps descriptors by label. The manager relays what its helpers want kept
//! or fetched: answers come in the order of the questions, so a queue of who asked is enough.
//!
//! At start ([`InitLink::fetch_now`], [`InitLink::keep_now`]) the manager waits for single answers,
//! because without its store and listeners it can do nothing; frames of other kinds that arrive
//! meanwhile are set aside in order. After that nothing here waits.

use init_wire::{FRAME_MAX, FromManager, Hello, Label, ToManager, VERSION};
use platform::poll::{Event, Interest, Poller};
use platform::{clock, socket};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// How long init may take for an answer at start before the manager gives up: init answers within
/// microseconds or is not init.
const PATIENCE: u64 = 5_000_000;

/// Who is to get an answer of init.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// The manager itself, which does not care.
    Nobody,
    /// The helper of this index on the connection of this generation.
    Helper(usize, u16),
    /// The same, for one of its two memories.
    Memory(usize, u16),
    /// The manager, for the hardware watchdog.
    Watchdog,
}

/// A frame from init, and the descriptor beside it.
pub type Frame = (ToManager, Option<OwnedFd>);

/// The connection.
#[derive(Debug)]
pub struct InitLink {
    fd: OwnedFd,
    /// For the answers that are waited for at start.
    poller: Option<Poller>,
    hello: Hello,
    aside: VecDeque<Frame>,
    out: VecDeque<(Vec<u8>, Option<OwnedFd>)>,
    asked: VecDeque<(Label, Asker)>,
    lost: bool,
}

impl InitLink {
    /// Waits for init's greeting on this socket and answers it.
    pub fn open(fd: OwnedFd, build: [u8; 8]) -> io::Result<Self> {
        platform::fd::set_nonblocking(&fd, true)?;
        let poller = Poller::new(&[])?;
        poller.add(&fd, 0, Interest::READ)?;
        let mut link = Self {
            fd,
            poller: Some(poller),
            hello: EMPTY_HELLO,
            aside: VecDeque::new(),
            out: VecDeque::new(),
            asked: VecDeque::new(),
            lost: false,
        };
        let (frame, _) = link.receive_until(|frame| matches!(frame, ToManager::Hello(_)))?;
        if let ToManager::Hello(hello) = frame {
            link.hello = hello;
        }
        link.send(
            &FromManager::Hello {
                version: VERSION,
                build,
                epoch: link.hello.epoch,
            },
            None,
        );
        Ok(link)
    }

    /// What init said first.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Init is gone: this manager belongs to nobody and must end.
    pub fn lost(&self) -> bool {
        self.lost
    }

    /// What init keeps under a label, waiting for its answer.
    pub fn fetch_now(&mut self, label: Label) -> io::Result<Option<OwnedFd>> {
        self.send(&FromManager::Fetch { label }, None);
        let (_, fd) = self.receive_until(|frame| {
            matches!(frame, ToManager::Fd { label: l } | ToManager::NotFound { label: l }
                if *l == label)
        })?;
        Ok(fd)
    }

    /// Has init keep a descriptor; `false` if it does not.
    pub fn keep_now(&mut self, label: Label, fd: BorrowedFd<'_>) -> io::Result<bool> {
        self.send(&FromManager::Keep { label }, Some(fd.try_clone_to_owned()?));
        let (frame, _) = self.receive_until(|frame| {
            matches!(frame, ToManager::Kept { label: l } | ToManager::Full { label: l }
                | ToManager::Refused { label: l, .. } if *l == label)
        })?;
        Ok(matches!(frame, ToManager::Kept { .. }))
    }

    /// Receives until a frame is the one that is waited for. Others are set aside.
    fn receive_until(&mut self, wanted: impl Fn(&ToManager) -> bool) -> io::Result<Frame> {
        let end = clock::now() + PATIENCE;
        let mut events: Vec<Event> = Vec::new();
        loop {
            self.flush();
            while let Some(frame) = self.receive() {
                if wanted(&frame.0) {
                    return Ok(frame);
                }
                self.aside.push_back(frame);
            }
            if self.lost || clock::now() >= end {
                return Err(io::Error::from(io::ErrorKind::TimedOut));
            }
            events.clear();
            match &mut self.poller {
                Some(poller) => poller.wait(Some(end), &mut events)?,
                None => return Err(io::Error::from(io::ErrorKind::WouldBlock)),
            }
        }
    }

    /// The next frame, or `None` if there is none now. What cannot be understood is passed over,
    /// and descriptors beside it are closed.
    fn receive(&mut self) -> Option<Frame> {
        let mut buffer = [0u8; FRAME_MAX];
        loop {
            match socket::receive(&self.fd, &mut buffer) {
                Ok(None) => return None,
                Ok(Some(got)) if got.length == 0 => {
                    self.lost = true;
                    return None;
                }
                Ok(Some(got)) => {
                    let bytes = buffer.get(..got.length).unwrap_or_default();
                    if let (Some(frame), false) = (ToManager::decode(bytes), got.truncated) {
                        return Some((frame, got.fds.into_iter().next()));
                    }
                }
                Err(_) => {
                    self.lost = true;
                    return None;
                }
            }
        }
    }

    /// The next frame: first those set aside. From the first call on nothing is waited for.
    pub fn take(&mut self) -> Option<Frame> {
        self.poller = None;
        match self.aside.pop_front() {
            Some(frame) => Some(frame),
            None => self.receive(),
        }
    }

    /// Sends a frame, or queues it if init is not reading.
    pub fn send(&mut self, frame: &FromManager<'_>, fd: Option<OwnedFd>) {
        let mut buffer = [0u8; FRAME_MAX];
        if let Some(bytes) = frame.encode(&mut buffer) {
            self.out.push_back((bytes.to_vec(), fd));
        }
        self.flush();
    }

    /// Sends what is queued; `true` if something is left, so that the socket's becoming writable is
    /// to be waited for.
    pub fn flush(&mut self) -> bool {
        while let Some((bytes, fd)) = self.out.front() {
            units::fault::boundary();
            let fds: Vec<BorrowedFd<'_>> = fd.iter().map(AsFd::as_fd).collect();
            match socket::send(&self.fd, bytes, &fds) {
                Ok(()) => {
                    self.out.pop_front();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(_) => {
                    self.lost = true;
                    self.out.clear();
                }
            }
        }
        false
    }

    /// Asks for a descriptor on somebody's behalf.
    pub fn fetch(&mut self, label: Label, asker: Asker) {
        self.asked.push_back((label, asker));
        self.send(&FromManager::Fetch { label }, None);
    }

    /// Has a descriptor kept on somebody's behalf.
    pub fn keep(&mut self, label: Label, fd: OwnedFd, asker: Asker) {
        self.asked.push_back((label, asker));
        self.send(&FromManager::Keep { label }, Some(fd));
    }

    /// Who asked the question this label answers.
    pub fn asker(&mut self, label: Label) -> Asker {
        let found = self.asked.iter().position(|(known, _)| *known == label);
        found
            .and_then(|at| self.asked.remove(at))
            .map_or(Asker::Nobody, |(_, asker)| asker)
    }
}

impl AsFd for InitLink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

const EMPTY_HELLO: Hello = Hello {
    version: 0,
    build: [0; 8],
    epoch: 0,
    flags: 0,
    before: init_wire::Before::Nobody,
    shutdown: None,
    capacity: 0,
    kept: 0,
    discarded: 0,
    waiting: 0,
};

#[cfg(test)]
mod tests {
    use super::*;
    use init_wire::{Exit, Kind};

    fn say(fd: &OwnedFd, frame: ToManager) {
        let mut buffer = [0; FRAME_MAX];
        socket::send(fd, frame.encode(&mut buffer).unwrap(), &[]).unwrap();
    }

    fn open() -> (InitLink, OwnedFd) {
        let (ours, theirs) = socket::pair().unwrap();
        say(
            &theirs,
            ToManager::Hello(Hello {
                epoch: 7,
                ..EMPTY_HELLO
            }),
        );
        (InitLink::open(ours, [1; 8]).unwrap(), theirs)
    }

    #[test]
    fn answers_are_awaited_and_exits_set_aside() {
        let (mut link, init) = open();
        assert_eq!(link.hello().epoch, 7);
        let label = Label::of(Kind::STATE, "manager");
        let exit = Exit {
            seq: 1,
            pid: 5,
            start: 6,
            status: 0,
        };
        say(&init, ToManager::Exited(exit));
        say(&init, ToManager::NotFound { label });
        assert!(link.fetch_now(label).unwrap().is_none());
        assert!(matches!(link.take(), Some((ToManager::Exited(e), None)) if e == exit));
        assert!(link.take().is_none());
    }

    #[test]
    fn garbage_is_passed_over_and_the_end_is_seen() {
        let (mut link, init) = open();
        socket::send(&init, &[0xff; 40], &[init.as_fd()]).unwrap();
        say(&init, ToManager::Ping { nonce: 3 });
        assert!(matches!(
            link.take(),
            Some((ToManager::Ping { nonce: 3 }, None))
        ));
        drop(init);
        assert!(link.take().is_none());
        assert!(link.lost());
    }

    #[test]
    fn answers_find_their_asker() {
        let (mut link, _init) = open();
        let (a, b) = (Label::of(Kind::NOTIFY, "a"), Label::of(Kind::NOTIFY, "b"));
        link.fetch(a, Asker::Helper(0, 1));
        link.fetch(b, Asker::Memory(1, 1));
        assert_eq!(link.asker(b), Asker::Memory(1, 1));
        assert_eq!(link.asker(b), Asker::Nobody);
        assert_eq!(link.asker(a), Asker::Helper(0, 1));
    }
}
