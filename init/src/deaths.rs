//! Why managers die, and what follows from it.
//!
//! Deaths are classified. Who is killed or stopped by somebody else has done nothing wrong and is
//! replaced at once, twenty times in ten seconds if need be; only about the thirtieth waits a
//! little, so that a killing loop does not eat the processor. Who dies by its own fault climbs a
//! ladder: longer and longer pauses, then safe mode (the new manager is told to start nothing new),
//! then rescue. A manager that stayed up for [`HEALTHY_MS`] climbs down again.
//!
//! | step | deaths of its own fault in a row | pause before the next |
//! |---|---|---|
//! | restart | 1 | none |
//! | back-off | 2 to 4 | 0.1 s, 0.2 s, 0.5 s |
//! | previous binary, where an upgrade left one | from 3 on | |
//! | safe mode | 5 to 9 | 1 s, 2 s, 5 s, 10 s, 10 s |
//! | rescue | 10, or 4 that were never executed | |

use init_wire::Before;

/// A manager that lived this long is healthy; the ladder starts anew.
pub const HEALTHY_MS: u64 = 60_000;

/// So many deaths by others within [`BURST_MS`] are free of any pause.
const BURST: usize = 30;
const BURST_MS: u64 = 10_000;
/// The pause after a burst: slow enough to leave the machine to others, fast enough to be there.
const BURST_PAUSE_MS: u64 = 500;

/// One less than what cannot be started is given up at: so that the one before has its try.
const PREVIOUS_AT: u32 = 3;
const SAFE_MODE_AT: u32 = 5;
const RESCUE_AT: u32 = 10;
const RESCUE_UNSTARTED_AT: u32 = 4;

/// What init did to a manager before it died.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hand {
    /// Nothing.
    None,
    /// Killed it because it was stopped by somebody.
    Stopped,
    /// Killed it because it hung.
    Hung,
}

/// Classifies a death from the raw wait status, what init did to it, whether it had said `Hello`,
/// and whether the kernel killed something for want of memory while it ran.
#[must_use]
pub fn classify(status: i32, hand: Hand, said_hello: bool, out_of_memory: bool) -> Before {
    match hand {
        Hand::Stopped => return Before::Outsider { status },
        Hand::Hung => return Before::Hung,
        Hand::None => {}
    }
    let signal = status & 0x7f;
    if signal == 0 {
        return match (status >> 8) & 0xff {
            0 if said_hello => Before::Asked,
            _ if said_hello => Before::Fault { status },
            _ => Before::NotStarted { status },
        };
    }
    match signal {
        libc::SIGSEGV
        | libc::SIGBUS
        | libc::SIGILL
        | libc::SIGFPE
        | libc::SIGABRT
        | libc::SIGSYS
        | libc::SIGTRAP => Before::Fault { status },
        libc::SIGKILL if out_of_memory => Before::Fault { status },
        _ => Before::Outsider { status },
    }
}

/// What to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Spawn the next manager after this many milliseconds.
    Spawn(u64),
    /// Give up: rescue.
    Rescue,
}

/// The ladder.
pub struct Ladder {
    /// Times of the last deaths by others, a ring.
    others: [u64; BURST],
    next: usize,
    faults: u32,
    unstarted: u32,
}

impl Ladder {
    /// At the foot.
    #[must_use]
    pub const fn new() -> Ladder {
        Ladder {
            others: [0; BURST],
            next: 0,
            faults: 0,
            unstarted: 0,
        }
    }

    /// A manager died at `now` (milliseconds, not 0) after having been up for `lived` milliseconds.
    pub fn died(&mut self, cause: Before, now: u64, lived: u64) -> Next {
        if lived >= HEALTHY_MS {
            self.reset();
        }
        match cause {
            Before::Nobody | Before::Asked | Before::Outsider { .. } => self.by_others(now),
            Before::Fault { .. } | Before::Hung => {
                self.unstarted = 0;
                self.by_fault()
            }
            Before::NotStarted { .. } => {
                self.unstarted += 1;
                if self.unstarted >= RESCUE_UNSTARTED_AT {
                    Next::Rescue
                } else {
                    self.by_fault()
                }
            }
        }
    }

    fn by_others(&mut self, now: u64) -> Next {
        let Some(oldest) = self.others.get_mut(self.next) else {
            return Next::Spawn(0);
        };
        let burst = *oldest != 0 && now.saturating_sub(*oldest) < BURST_MS;
        *oldest = now;
        self.next = (self.next + 1) % BURST;
        Next::Spawn(if burst { BURST_PAUSE_MS } else { 0 })
    }

    fn by_fault(&mut self) -> Next {
        self.faults += 1;
        match self.faults {
            1 => Next::Spawn(0),
            2 => Next::Spawn(100),
            3 => Next::Spawn(200),
            4 => Next::Spawn(500),
            5 => Next::Spawn(1000),
            6 => Next::Spawn(2000),
            7 => Next::Spawn(5000),
            8..RESCUE_AT => Next::Spawn(10_000),
            _ => Next::Rescue,
        }
    }

    /// Whether the next manager is to be the version before the installed one.
    #[must_use]
    pub fn previous(&self) -> bool {
        self.faults >= PREVIOUS_AT
    }

    /// Whether the next manager is to start nothing new.
    #[must_use]
    pub fn safe_mode(&self) -> bool {
        self.faults >= SAFE_MODE_AT
    }

    /// Back to the foot (a healthy time passed, or the rescue shell was left).
    pub fn reset(&mut self) {
        self.faults = 0;
        self.unstarted = 0;
    }
}

impl Default for Ladder {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KILLED: i32 = libc::SIGKILL;
    const CRASHED: i32 = libc::SIGSEGV;

    #[test]
    fn whose_fault() {
        let c = |status| classify(status, Hand::None, true, false);
        assert_eq!(c(0), Before::Asked);
        assert_eq!(
            classify(0, Hand::None, false, false),
            Before::NotStarted { status: 0 },
            "who has not said hello asks for nothing"
        );
        assert_eq!(c(1 << 8), Before::Fault { status: 256 });
        assert_eq!(c(KILLED), Before::Outsider { status: KILLED });
        assert_eq!(
            c(libc::SIGTERM),
            Before::Outsider {
                status: libc::SIGTERM
            }
        );
        assert_eq!(
            c(CRASHED | 0x80),
            Before::Fault {
                status: CRASHED | 0x80
            }
        );
        assert_eq!(
            classify(KILLED, Hand::None, true, true),
            Before::Fault { status: KILLED }
        );
        assert_eq!(classify(KILLED, Hand::Hung, true, false), Before::Hung);
        assert_eq!(
            classify(KILLED, Hand::Stopped, true, false),
            Before::Outsider { status: 9 }
        );
        let missing = 127 << 8;
        assert_eq!(
            classify(missing, Hand::None, false, false),
            Before::NotStarted { status: missing }
        );
    }

    #[test]
    fn twenty_kills_in_ten_seconds_are_free() {
        let mut ladder = Ladder::new();
        for n in 0..30 {
            assert_eq!(
                ladder.died(Before::Outsider { status: 9 }, 1000 + n * 10, 10),
                Next::Spawn(0)
            );
        }
        assert_eq!(
            ladder.died(Before::Outsider { status: 9 }, 1400, 10),
            Next::Spawn(500)
        );
        assert_eq!(
            ladder.died(Before::Outsider { status: 9 }, 60_000, 10),
            Next::Spawn(0)
        );
        assert!(!ladder.safe_mode(), "others' doing is not its fault");
    }

    #[test]
    fn own_faults_climb_to_rescue_and_down_again() {
        let mut ladder = Ladder::new();
        let fault = Before::Fault { status: 11 };
        let mut pauses = Vec::new();
        while let Next::Spawn(pause) = ladder.died(fault, 1, 100) {
            pauses.push(pause);
            assert_eq!(ladder.safe_mode(), pauses.len() >= 5);
            assert_eq!(ladder.previous(), pauses.len() >= 3);
        }
        assert_eq!(pauses, [0, 100, 200, 500, 1000, 2000, 5000, 10_000, 10_000]);
        assert_eq!(ladder.died(fault, 1, HEALTHY_MS), Next::Spawn(0));
        assert!(!ladder.safe_mode() && !ladder.previous());
    }

    #[test]
    fn what_cannot_be_executed_comes_to_rescue_soon() {
        let mut ladder = Ladder::new();
        let cause = Before::NotStarted { status: 127 << 8 };
        let all: Vec<_> = (0..4).map(|_| ladder.died(cause, 1, 0)).collect();
        assert_eq!(
            all,
            [
                Next::Spawn(0),
                Next::Spawn(100),
                Next::Spawn(200),
                Next::Rescue
            ]
        );
    }
}
