//! Whole lives of services, without a process: a [`World`] answers the machine's effects as a
//! kernel would and checks what must always hold.

mod down;
mod lost;
mod up;

use super::*;
use crate::policy::{Access, KillMode, Times};

/// A kernel with one unit in it.
pub(super) struct World {
    pub run: Run,
    pub policy: Policy,
    pub now: Micros,
    /// What was done, in words.
    pub trace: Vec<String>,
    /// Processes of the unit besides main and control, and whether they heed SIGTERM.
    pub strays: u32,
    pub stubborn: bool,
    pub next_pid: u32,
    /// Forks fail from here on.
    pub no_forks: bool,
    /// Answer to `FindMain`.
    pub main: Option<u32>,
    pub reports: Vec<(State, Outcome)>,
    pub pat: Micros,
    /// Drop everything from the effect of this number on: the helper is killed there.
    pub die_at: Option<usize>,
    pub done: usize,
    /// The slots: what was forked.
    forked: Vec<(Role, At, ProcId)>,
    stored: Run,
}

impl World {
    pub fn new(kind: Kind) -> Self {
        let access = if kind.notifies() {
            Access::Main
        } else {
            Access::None
        };
        let mut policy = Policy {
            kind,
            access,
            ..Policy::default()
        };
        policy.commands[2] = [false].into();
        Self {
            run: Run::new("x.service"),
            policy,
            now: 1_000,
            trace: Vec::new(),
            strays: 0,
            stubborn: false,
            next_pid: 100,
            no_forks: false,
            main: None,
            reports: Vec::new(),
            pat: 0,
            die_at: None,
            done: 0,
            forked: Vec::new(),
            stored: Run::new("x.service"),
        }
    }

    pub fn with(mut self, step: Step, flags: &[bool]) -> Self {
        self.policy.commands[usize::from(step.number())] = flags.into();
        self
    }

    pub fn times(mut self, change: impl FnOnce(&mut Times)) -> Self {
        change(&mut self.policy.times);
        self
    }

    /// Feeds an event and whatever follows from it at once.
    pub fn feed(&mut self, event: Event<'_>) {
        let mut out = Vec::new();
        Machine::new(&mut self.run, &self.policy, self.now, &mut out).handle(event);
        self.carry_out(out);
    }

    fn carry_out(&mut self, mut out: Vec<Effect>) {
        let mut at = 0;
        while at < out.len() {
            let effect = out[at].clone();
            at += 1;
            if self.die_at.is_some_and(|die| self.done >= die) {
                return;
            }
            self.done += 1;
            let Some(answer) = self.one(effect) else {
                continue;
            };
            assert_eq!(
                at,
                out.len().min(at),
                "an effect that is answered may not be lost"
            );
            Machine::new(&mut self.run, &self.policy, self.now, &mut out).handle(answer);
        }
        if Machine::wants_empty(&self.run, &self.policy)
            && self.run.main.is_none()
            && self.run.control.is_none()
            && self.strays == 0
            && self.die_at.is_none()
        {
            self.feed(Event::Empty);
        }
    }

    fn one(&mut self, effect: Effect) -> Option<Event<'static>> {
        let answer = match &effect {
            Effect::Record => {
                let bytes = postcard::to_allocvec(&self.run).unwrap();
                self.stored = postcard::from_bytes(&bytes).unwrap();
                return None;
            }
            Effect::Report => {
                self.reports.push((self.run.state, self.run.outcome));
                return None;
            }
            Effect::Log(..) => return None,
            Effect::Fork { role, at, .. } => {
                assert_eq!(
                    self.stored.awaited,
                    Awaited::Fork(*role, *at),
                    "forked unrecorded"
                );
                let what = format!("{}{}", at.step.directive(), at.index);
                if self.no_forks {
                    self.trace.push(format!("no {what}"));
                    Event::NotForked("EAGAIN".into())
                } else {
                    self.trace.push(what);
                    self.next_pid += 1;
                    let proc = ProcId {
                        pid: self.next_pid,
                        start: 1,
                    };
                    self.forked.push((*role, *at, proc));
                    Event::Forked(proc)
                }
            }
            Effect::Signal(signal) => {
                assert!(self.stored.state.is_killing(), "signalled unrecorded");
                let who = match (signal.rest, signal.hup) {
                    (true, false) => "all",
                    (true, true) => "all+hup",
                    (false, false) => "main",
                    (false, true) => "main+hup",
                };
                self.trace.push(format!("signal {} {who}", signal.number));
                let named = self.run.main.is_some() || self.run.control.is_some();
                let left = named || (signal.rest && self.strays > 0);
                if signal.rest && (signal.number == 9 || !self.stubborn) {
                    self.strays = 0;
                }
                Event::Signalled { left }
            }
            Effect::Prepare => {
                self.trace.push("prepare".into());
                return None;
            }
            Effect::KillControl => {
                self.trace.push("kill control".into());
                return None;
            }
            Effect::SignalMain(number) => {
                self.trace.push(format!("signal {number} main"));
                return None;
            }
            Effect::FindMain => {
                self.trace.push("find main".into());
                Event::Found(
                    self.main
                        .map(|pid| ProcId { pid, start: 1 })
                        .ok_or("no PID file yet"),
                )
            }
            Effect::Watch(proc) => {
                self.trace.push(format!("watch {}", proc.pid));
                return None;
            }
            Effect::Clean { .. } => {
                self.trace.push("clean".into());
                return None;
            }
        };
        Some(answer)
    }

    pub fn start(&mut self) {
        let seq = self.run.seq + 1;
        self.feed(Event::Start {
            seq,
            invocation: Invocation(u128::from(seq)),
        });
    }

    pub fn stop(&mut self) {
        let seq = self.run.seq + 1;
        self.feed(Event::Stop { seq });
    }

    pub fn reload(&mut self) {
        let seq = self.run.seq + 1;
        self.feed(Event::Reload { seq });
    }

    pub fn main(&mut self, exit: Exit) {
        self.feed(Event::Ended {
            role: Role::Main,
            exit,
            setup: None,
        });
    }

    pub fn control(&mut self, exit: Exit) {
        self.feed(Event::Ended {
            role: Role::Control,
            exit,
            setup: None,
        });
    }

    pub fn say(&mut self, said: Notification) {
        self.feed(Event::Notify(&said));
    }

    pub fn ready(&mut self) {
        self.say(Notification {
            ready: true,
            ..Notification::default()
        });
    }

    /// Lets time pass until the machine's next deadline.
    pub fn wait(&mut self) {
        let next = Machine::next_deadline(&self.run, &self.policy, self.pat);
        assert_ne!(next, NEVER, "nothing is waited for in {:?}", self.run.state);
        self.now = next;
        let mut out = Vec::new();
        Machine::new(&mut self.run, &self.policy, self.now, &mut out).starved(self.pat);
        self.carry_out(out);
        self.feed(Event::Deadline);
    }

    /// The helper is killed, another takes over; the slots tell it what was forked.
    pub fn killed(&mut self) {
        self.die_at = None;
        self.run = self.stored.clone();
        let awaited = self.run.awaited;
        let slot = self
            .forked
            .iter()
            .find(|(role, at, _)| awaited == Awaited::Fork(*role, *at));
        if let Some((_, _, proc)) = slot {
            self.feed(Event::Forked(*proc));
        }
        self.feed(Event::Adopted);
    }

    pub fn is(&self, state: State, why: Why, outcome: Outcome) {
        assert_eq!(
            (self.run.state, self.run.why, self.run.outcome),
            (state, why, outcome),
            "{:#?} {}",
            self.trace,
            self.run.detail
        );
    }

    pub fn did(&mut self, expected: &[&str]) {
        let trace = std::mem::take(&mut self.trace);
        assert_eq!(trace, expected);
    }
}

pub(super) const OK: Exit = Exit::Code(0);
pub(super) const TERM: Exit = Exit::Signal(15);
pub(super) const KILL: Exit = Exit::Signal(9);

#[test]
fn what_is_reported_ends_with_what_is_true() {
    let mut world = World::new(Kind::Simple).with(Step::StartPre, &[false, true]);
    world.policy.kill.mode = KillMode::Mixed;
    world.start();
    world.control(OK);
    world.control(Exit::Code(3));
    world.stop();
    world.main(TERM);
    let states: Vec<State> = world.reports.iter().map(|report| report.0).collect();
    assert_eq!(
        states,
        [
            State::StartPre,
            State::StartPre,
            State::Running,
            State::StopSigterm,
            State::Dead
        ]
    );
    assert_eq!(world.reports.last().unwrap().1, Outcome::Done);
}
