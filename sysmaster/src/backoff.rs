//! When a process of ours that died may be started again.
//!
//! A death is classified by its cause. An *outsider* (SIGKILL, SIGTERM, SIGSTOP that we answered
//! with SIGKILL) says nothing about the process: it is started again at once, and only some thirty
//! of them in ten seconds bring a pause. Its *own fault* (a fault signal, an abort, an exit nobody
//! asked for) may well repeat: the first is forgiven, then the pause doubles from a tenth of a
//! second to ten seconds. A minute without a death clears the account.

use units::state::{Exit, Micros};

/// Deaths by outsiders within [`WINDOW`] before there is a pause.
const OUTSIDERS: u32 = 30;
/// The window for outsiders.
const WINDOW: Micros = 10_000_000;
/// First pause after repeated faults, and the pause after too many outsiders.
const FIRST_PAUSE: Micros = 100_000;
/// Longest pause.
const LONGEST_PAUSE: Micros = 10_000_000;
/// A life this long clears the account.
const HEALTHY: Micros = 60_000_000;

/// Who is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Somebody killed or stopped it.
    Outsider,
    /// It failed by itself.
    OwnFault,
}

impl Cause {
    /// The cause of this end. `hung` says that we killed it because it did not answer.
    pub fn of(exit: Option<Exit>, hung: bool) -> Self {
        const OUTSIDE: [i32; 5] = [
            libc::SIGKILL,
            libc::SIGTERM,
            libc::SIGINT,
            libc::SIGHUP,
            libc::SIGSTOP,
        ];
        match exit {
            _ if hung => Self::OwnFault,
            Some(Exit::Signal(sig)) if OUTSIDE.contains(&i32::from(sig)) => Self::Outsider,
            None => Self::Outsider,
            Some(_) => Self::OwnFault,
        }
    }
}

/// The account of one process's deaths.
#[derive(Clone, Debug, Default)]
pub struct Deaths {
    window: Micros,
    outsiders: u32,
    faults: u32,
    last: Micros,
}

impl Deaths {
    /// Enters a death; returns how long to wait before the next start, in microseconds.
    pub fn enter(&mut self, now: Micros, cause: Cause) -> Micros {
        if now.saturating_sub(self.last) > HEALTHY {
            *self = Self::default();
        }
        self.last = now;
        match cause {
            Cause::Outsider => {
                if self.outsiders == 0 || now.saturating_sub(self.window) > WINDOW {
                    self.window = now;
                    self.outsiders = 0;
                }
                self.outsiders += 1;
                if self.outsiders > OUTSIDERS {
                    FIRST_PAUSE
                } else {
                    0
                }
            }
            Cause::OwnFault => {
                self.faults = self.faults.saturating_add(1);
                match self.faults {
                    1 => 0,
                    n => (FIRST_PAUSE << (n - 2).min(10)).min(LONGEST_PAUSE),
                }
            }
        }
    }

    /// Deaths by own fault in a row.
    pub fn faults(&self) -> u32 {
        self.faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_kills_in_ten_seconds_bring_no_pause() {
        let mut deaths = Deaths::default();
        for n in 0..20 {
            assert_eq!(deaths.enter(n * 500_000, Cause::Outsider), 0);
        }
    }

    #[test]
    fn more_than_thirty_do_and_the_window_ends() {
        let mut deaths = Deaths::default();
        for n in 0..30 {
            assert_eq!(deaths.enter(1_000_000 + n, Cause::Outsider), 0);
        }
        assert_eq!(deaths.enter(1_000_100, Cause::Outsider), FIRST_PAUSE);
        assert_eq!(deaths.enter(1_000_000 + WINDOW + 1, Cause::Outsider), 0);
    }

    #[test]
    fn faults_double_and_are_forgotten_after_a_healthy_minute() {
        let mut deaths = Deaths::default();
        let pauses: Vec<_> = (0..9).map(|n| deaths.enter(n, Cause::OwnFault)).collect();
        assert_eq!(pauses[..3], [0, 100_000, 200_000]);
        assert_eq!(pauses[8], LONGEST_PAUSE);
        assert_eq!(deaths.enter(HEALTHY * 2, Cause::OwnFault), 0);
    }

    #[test]
    fn causes() {
        assert_eq!(Cause::of(Some(Exit::Signal(9)), false), Cause::Outsider);
        assert_eq!(Cause::of(Some(Exit::Signal(9)), true), Cause::OwnFault);
        assert_eq!(Cause::of(Some(Exit::Core(11)), false), Cause::OwnFault);
        assert_eq!(Cause::of(Some(Exit::Code(0)), false), Cause::OwnFault);
    }
}
