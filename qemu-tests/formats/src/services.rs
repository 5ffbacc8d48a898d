//! What services say, and the life of a service under any sequence of events.

use unit_service::machine::{Effect, Event, Machine, Notification};
use unit_service::notify::{self, LONGEST, Nonsense};
use unit_service::policy::{Access, Kind, NEVER, Policy, Step};
use unit_service::run::{Awaited, Role, Run, State};
use units::journal::Remembered;
use units::state::{Exit, Invocation, Micros, ProcId};

/// A notify datagram: what is too long, cut or no text is ignored as a whole; a status goes to terminals, so it
/// holds no control characters; names of descriptors and numbers are in their ranges; and the lines of a datagram
/// mean the same when a zero byte ends it, as some programs send it.
pub fn notify(bytes: &[u8]) {
    assert_eq!(notify::read(bytes, true), Err(Nonsense::TooLong));
    let said = match notify::read(bytes, false) {
        Ok(said) => said,
        Err(Nonsense::TooLong) => return assert!(bytes.len() > LONGEST),
        Err(Nonsense::NoText) => {
            let text = bytes.strip_suffix(b"\0").unwrap_or(bytes);
            return assert!(text.contains(&0) || std::str::from_utf8(text).is_err());
        }
    };
    assert!(bytes.len() <= LONGEST);
    assert!(
        said.name.len() <= 255
            && said
                .name
                .bytes()
                .all(|byte| (b' '..0x7f).contains(&byte) && byte != b':')
    );
    let state = &said.state;
    assert!(
        state
            .status
            .as_deref()
            .is_none_or(|status| !status.contains(char::is_control))
    );
    assert!(state.errno.is_none_or(|number| (0..4096).contains(&number)));
    assert!(said.main_pid.is_none_or(|pid| pid > 1) && state.main.is_none());
    assert!(state.watchdog != Some(u64::MAX));
    if bytes.len() + 16 < LONGEST && !bytes.ends_with(b"\0") {
        assert_eq!(
            notify::read(&[bytes, b"\0"].concat(), false).as_ref(),
            Ok(&said)
        );
        assert_eq!(
            notify::read(&[bytes, b"\nX_UNKNOWN=1"].concat(), false),
            Ok(said)
        );
    }
}

/// A service and the world around it, which answers its machine at once or not at all.
struct World {
    run: Run,
    policy: Policy,
    now: Micros,
    next_pid: u32,
    stored: Run,
}

/// A life: the first bytes are the unit's rules, each of the others something that happens, of datagrams the text
/// too. Whatever comes in whatever order, the machine answers a command or goes on with it; nothing is forked or
/// signalled that is not on record; the record is read as it was written; a deadline that passes leads somewhere;
/// and once it is to stop and its processes end, it is down.
pub fn life(bytes: &[u8]) {
    let (rules, mut events) = bytes.split_at(bytes.len().min(4));
    let mut world = World::new(rules);
    while let Some((event, rest)) = events.split_first() {
        events = rest;
        world.happens(*event, &mut events);
        world.holds();
    }
    world.comes_to_rest();
}

impl World {
    fn new(rules: &[u8]) -> Self {
        let rule = |at: usize| rules.get(at).copied().unwrap_or(0);
        let kinds = [
            Kind::Simple,
            Kind::Exec,
            Kind::Forking,
            Kind::Oneshot,
            Kind::Notify,
            Kind::NotifyReload,
        ];
        let mut policy = Policy {
            kind: kinds[usize::from(rule(0)) % kinds.len()],
            access: if rule(1) & 1 == 0 {
                Access::Main
            } else {
                Access::All
            },
            remain: rule(1) & 2 != 0,
            ..Policy::default()
        };
        for step in Step::ALL {
            let set = rule(2) >> (step.number() & 7) & 1 == 1;
            let ignored = rule(3) >> (step.number() & 7) & 1 == 1;
            if set || step == Step::Start {
                policy.commands[usize::from(step.number())] = [ignored].into();
            }
        }
        policy.times.start = 1_000;
        policy.times.stop = 1_000;
        let run = Run::new("x.service");
        Self {
            stored: run.clone(),
            run,
            policy,
            now: 1_000,
            next_pid: 100,
        }
    }

    fn feed(&mut self, event: Event<'_>) {
        let mut out = Vec::new();
        Machine::new(&mut self.run, &self.policy, self.now, &mut out).handle(event);
        let mut at = 0;
        while let Some(effect) = out.get(at).cloned() {
            at += 1;
            assert!(at < 1_000, "effects without an end");
            if let Some(answer) = self.carry_out(effect) {
                Machine::new(&mut self.run, &self.policy, self.now, &mut out).handle(answer);
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) -> Option<Event<'static>> {
        match effect {
            Effect::Record => {
                let bytes = postcard::to_allocvec(&self.run).unwrap();
                self.stored = postcard::from_bytes(&bytes).unwrap();
                assert_eq!(
                    self.stored, self.run,
                    "the record is not what it was written from"
                );
                None
            }
            Effect::Fork { role, at, .. } => {
                assert_eq!(
                    self.stored.awaited,
                    Awaited::Fork(role, at),
                    "forked and not on record"
                );
                self.next_pid += 1;
                Some(Event::Forked(ProcId {
                    pid: self.next_pid,
                    start: 1,
                }))
            }
            Effect::Signal(_) => {
                assert!(
                    self.stored.state.is_killing(),
                    "signalled and not on record"
                );
                Some(Event::Signalled {
                    left: self.run.main.is_some() || self.run.control.is_some(),
                })
            }
            Effect::FindMain => Some(Event::Found(Err("no PID file yet"))),
            _ => None,
        }
    }

    fn happens(&mut self, event: u8, rest: &mut &[u8]) {
        let seq = self.run.seq + 1;
        match event % 16 {
            0 => self.feed(Event::Start {
                seq,
                invocation: Invocation(u128::from(seq)),
            }),
            1 => self.feed(Event::Stop { seq }),
            2 => self.feed(Event::Reload { seq }),
            3 => self.feed(Event::ResetFailed { seq }),
            4 => self.feed(Event::Prepared),
            5 => self.feed(Event::Executed),
            6 => self.ends(Role::Main, event),
            7 => self.ends(Role::Control, event),
            8 if self.run.main.is_some() => self.feed(Event::Lost(Role::Main)),
            9 if self.run.control.is_some() => self.feed(Event::Lost(Role::Control)),
            10 => self.emptied(),
            11 => {
                // The helper is killed and another one takes over what is on record.
                self.run = self.stored.clone();
                self.feed(Event::Adopted);
            }
            12 => {
                self.deadline();
            }
            _ => {
                let length = rest
                    .iter()
                    .position(|byte| *byte == 0)
                    .unwrap_or(rest.len());
                let (datagram, after) = rest.split_at(length);
                *rest = after;
                self.says(datagram);
            }
        }
    }

    fn ends(&mut self, role: Role, how: u8) {
        let proc = match role {
            Role::Main => self.run.main,
            Role::Control => self.run.control,
        };
        if proc.is_some() {
            let exit = if how & 16 == 0 {
                Exit::Code(how >> 6)
            } else {
                Exit::Signal(15)
            };
            self.feed(Event::Ended {
                role,
                exit,
                setup: None,
            });
        }
    }

    fn emptied(&mut self) {
        let gone = self.run.main.is_none() && self.run.control.is_none();
        if gone && Machine::wants_empty(&self.run, &self.policy) {
            self.feed(Event::Empty);
        }
    }

    fn deadline(&mut self) -> bool {
        let due = Machine::next_deadline(&self.run, &self.policy, self.now);
        if due == NEVER {
            return false;
        }
        self.now = self.now.max(due);
        self.feed(Event::Deadline);
        true
    }

    fn says(&mut self, datagram: &[u8]) {
        let Ok(said) = notify::read(datagram, false) else {
            return;
        };
        let main = said.main_pid.map(|pid| ProcId { pid, start: 1 });
        self.feed(Event::Notify(&Notification { main, ..said.state }));
    }

    fn holds(&self) {
        let run = &self.run;
        assert_eq!(run.unit(), "x.service");
        if run.state.is_down() {
            assert!(run.control.is_none(), "down, and a control process is left");
            assert!(
                !matches!(run.awaited, Awaited::Fork(..)),
                "down, and a fork is awaited"
            );
        }
        assert!(!run.status.contains(char::is_control));
        assert_eq!(run.is_blank(), run.state == State::Dead && run.seq == 0);
    }

    /// It is stopped, its processes end, and time passes.
    fn comes_to_rest(&mut self) {
        let seq = self.run.seq + 1;
        self.feed(Event::Stop { seq });
        for _ in 0..64 {
            if self.run.state.is_down() {
                return;
            }
            self.feed(Event::Prepared);
            self.ends(Role::Control, 16);
            self.ends(Role::Main, 16);
            self.emptied();
            self.deadline();
        }
        panic!(
            "it was stopped and never is down: {:?} {:?}",
            self.run, self.policy
        );
    }
}
