//! Whether the manager is hung.
//!
//! A timer runs only while the manager owes something; a manager that owes nothing is left in
//! peace and init sleeps.
//!
//! ```text
//!            owe                 1 s            1 s, drained
//!   Quiet ─────────▶ Owed ───────────▶ Asked ───────────────▶ look at its CPU time
//!     ▲                │ ▲               │                        │ starved: Extended, once
//!     └── no debt ─────┘ └── any frame ──┴────────────────────────┤
//!                                                                 └ otherwise: kill
//! ```
//!
//! Whoever sends frames moves, so any frame starts the first second again, but not for more than ten
//! seconds: talk alone pays for nothing. Who still owes something then is asked, and the answer gives
//! it ten more. "Drained" means: before the verdict everything in the socket has been read.

/// From the debt to the question, and from the question to the verdict. Together with the time to
/// kill and spawn they stay well below the three seconds that are promised.
const STEP_MS: u64 = 1000;
/// How long a starved manager gets in addition, once.
const EXTENSION_MS: u64 = 2000;
/// How long frames count that answer no question, from the debt or the last answer on.
const TALK_MS: u64 = 10_000;
/// From the spawn to `Hello`: loading the executable from slow storage counts in.
const HELLO_MS: u64 = 10_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Watch {
    Quiet,
    /// Since its spawn it has not said `Hello`.
    Starting {
        until: u64,
    },
    Owed {
        until: u64,
    },
    Asked {
        until: u64,
    },
    Extended {
        until: u64,
    },
}

/// What is to be done when a deadline has passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Nothing.
    Fine,
    /// Send a ping, remember its CPU time.
    Ask,
    /// Compare its CPU time, then call [`Liveness::looked`].
    Look,
    /// It had its extension: kill it.
    Kill,
}

/// The hang timer.
pub struct Liveness {
    watch: Watch,
    /// Until then frames count that answer nothing.
    talk: u64,
}

impl Liveness {
    /// No timer runs.
    #[must_use]
    pub const fn new() -> Liveness {
        Liveness {
            watch: Watch::Quiet,
            talk: 0,
        }
    }

    /// A manager was spawned.
    pub fn spawned(&mut self, now: u64) {
        self.watch = Watch::Starting {
            until: now + HELLO_MS,
        };
    }

    /// There is no manager.
    pub fn gone(&mut self) {
        self.watch = Watch::Quiet;
    }

    /// The manager owes something from now on.
    pub fn owe(&mut self, now: u64) {
        if self.watch == Watch::Quiet {
            self.begin(now);
        }
    }

    /// A frame came (`hello`: it was its first).
    pub fn heard(&mut self, now: u64, hello: bool) {
        match self.watch {
            Watch::Quiet => {}
            Watch::Starting { .. } if hello => self.begin(now),
            Watch::Starting { .. } => {}
            _ if self.talk <= now => {}
            _ => {
                self.watch = Watch::Owed {
                    until: now + STEP_MS,
                }
            }
        }
    }

    /// It has answered the question, by a frame that has been [`Liveness::heard`].
    pub fn answered(&mut self, now: u64) {
        if self.watch != Watch::Quiet {
            self.begin(now);
        }
    }

    fn begin(&mut self, now: u64) {
        self.talk = now + TALK_MS;
        self.watch = Watch::Owed {
            until: now + STEP_MS,
        };
    }

    /// When to call [`Liveness::expire`].
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        match self.watch {
            Watch::Quiet => None,
            Watch::Starting { until }
            | Watch::Owed { until }
            | Watch::Asked { until }
            | Watch::Extended { until } => Some(until),
        }
    }

    /// `debt`: whether anything is owed at this moment.
    pub fn expire(&mut self, now: u64, debt: bool) -> Verdict {
        if self.deadline().is_none_or(|until| now < until) {
            return Verdict::Fine;
        }
        match self.watch {
            Watch::Owed { .. } if debt => {
                self.watch = Watch::Asked {
                    until: now + STEP_MS,
                };
                Verdict::Ask
            }
            Watch::Quiet | Watch::Owed { .. } => {
                self.watch = Watch::Quiet;
                Verdict::Fine
            }
            Watch::Starting { .. } | Watch::Asked { .. } => Verdict::Look,
            Watch::Extended { .. } => Verdict::Kill,
        }
    }

    /// The CPU time was looked at; `true`: kill it.
    pub fn looked(&mut self, now: u64, starved: bool) -> bool {
        if starved {
            self.watch = Watch::Extended {
                until: now + EXTENSION_MS,
            };
        }
        !starved
    }
}

impl Default for Liveness {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a process did not get the processor it wanted: it is runnable (or waits for a disk) and
/// used less than a quarter of the time. A stop under a debugger counts too: somebody is at work.
#[must_use]
pub fn starved(state: u8, cpu_ticks: u64, elapsed_ms: u64) -> bool {
    // A tick is 10 ms in everything the kernel tells (USER_HZ is 100).
    match state {
        b'R' => cpu_ticks.saturating_mul(40) < elapsed_ms,
        b'D' | b't' => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_debt_no_timer() {
        let mut l = Liveness::new();
        assert_eq!(l.deadline(), None);
        l.owe(100);
        assert_eq!(l.deadline(), Some(1100));
        l.owe(900);
        assert_eq!(
            l.deadline(),
            Some(1100),
            "a second debt does not move the first"
        );
        assert_eq!(l.expire(1099, true), Verdict::Fine);
        assert_eq!(l.expire(1100, false), Verdict::Fine);
        assert_eq!(l.deadline(), None);
    }

    #[test]
    fn hung_with_a_debt_dies_in_two_seconds() {
        let mut l = Liveness::new();
        l.owe(0);
        assert_eq!(l.expire(1000, true), Verdict::Ask);
        assert_eq!(l.expire(2000, true), Verdict::Look);
        assert!(l.looked(2000, false));
    }

    #[test]
    fn a_frame_starts_again_and_starvation_extends_once() {
        let mut l = Liveness::new();
        l.owe(0);
        assert_eq!(l.expire(1000, true), Verdict::Ask);
        l.heard(1500, false);
        assert_eq!(l.expire(2400, true), Verdict::Fine);
        assert_eq!(l.expire(2500, true), Verdict::Ask);
        assert_eq!(l.expire(3500, true), Verdict::Look);
        assert!(!l.looked(3500, true));
        assert_eq!(l.expire(5500, true), Verdict::Kill);
    }

    #[test]
    fn talk_pays_for_nothing() {
        // When it is killed that says something so often, and answers or not.
        let dies = |every: u64, answers: bool| {
            let mut l = Liveness::new();
            l.owe(0);
            for now in (0..60_000).step_by(100) {
                if now % every == 0 {
                    l.heard(now, false);
                }
                match l.expire(now, true) {
                    Verdict::Ask if answers => l.answered(now),
                    Verdict::Look if l.looked(now, false) => return Some(now),
                    _ => {}
                }
            }
            None
        };
        for every in [100, 500, 1500] {
            let died = dies(every, false);
            assert!(died.is_some_and(|at| (11_000..14_000).contains(&at)));
            assert_eq!(dies(every, true), None);
        }
    }

    #[test]
    fn hello_is_owed_from_the_spawn() {
        let mut l = Liveness::new();
        l.spawned(0);
        l.owe(10);
        l.heard(20, false);
        assert_eq!(l.deadline(), Some(10_000), "only Hello ends the start");
        l.heard(30, true);
        assert_eq!(l.deadline(), Some(1030));
        l.gone();
        assert_eq!(l.deadline(), None);
    }

    #[test]
    fn who_is_starved() {
        assert!(starved(b'R', 10, 1000));
        assert!(!starved(b'R', 90, 1000), "busy, not starved");
        assert!(!starved(b'S', 0, 1000));
        assert!(starved(b'D', 0, 1000));
    }
}
