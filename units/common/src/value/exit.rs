//! Exit statuses by name and number, and sets of them with signals
//! (`SuccessExitStatus=`, `RestartPreventExitStatus=`, `RestartForceExitStatus=`).

use super::words::{Words, is_blank};
use super::{ValueError, signal};
use crate::state::Exit;
use serde::{Deserialize, Serialize};

/// Sorted by number: those of the C library, of sysexits.h, and of failures between fork and exec.
const NAMES: [(u8, &str); 71] = [
    (0, "SUCCESS"),
    (1, "FAILURE"),
    (2, "INVALIDARGUMENT"),
    (3, "NOTIMPLEMENTED"),
    (4, "NOPERMISSION"),
    (5, "NOTINSTALLED"),
    (6, "NOTCONFIGURED"),
    (7, "NOTRUNNING"),
    (64, "USAGE"),
    (65, "DATAERR"),
    (66, "NOINPUT"),
    (67, "NOUSER"),
    (68, "NOHOST"),
    (69, "UNAVAILABLE"),
    (70, "SOFTWARE"),
    (71, "OSERR"),
    (72, "OSFILE"),
    (73, "CANTCREAT"),
    (74, "IOERR"),
    (75, "TEMPFAIL"),
    (76, "PROTOCOL"),
    (77, "NOPERM"),
    (78, "CONFIG"),
    (200, "CHDIR"),
    (201, "NICE"),
    (202, "FDS"),
    (203, "EXEC"),
    (204, "MEMORY"),
    (205, "LIMITS"),
    (206, "OOM_ADJUST"),
    (207, "SIGNAL_MASK"),
    (208, "STDIN"),
    (209, "STDOUT"),
    (210, "CHROOT"),
    (211, "IOPRIO"),
    (212, "TIMERSLACK"),
    (213, "SECUREBITS"),
    (214, "SETSCHEDULER"),
    (215, "CPUAFFINITY"),
    (216, "GROUP"),
    (217, "USER"),
    (218, "CAPABILITIES"),
    (219, "CGROUP"),
    (220, "SETSID"),
    (221, "CONFIRM"),
    (222, "STDERR"),
    (224, "PAM"),
    (225, "NETWORK"),
    (226, "NAMESPACE"),
    (227, "NO_NEW_PRIVILEGES"),
    (228, "SECCOMP"),
    (229, "SELINUX_CONTEXT"),
    (230, "PERSONALITY"),
    (231, "APPARMOR_PROFILE"),
    (232, "ADDRESS_FAMILIES"),
    (233, "RUNTIME_DIRECTORY"),
    (235, "CHOWN"),
    (236, "SMACK_PROCESS_LABEL"),
    (237, "KEYRING"),
    (238, "STATE_DIRECTORY"),
    (239, "CACHE_DIRECTORY"),
    (240, "LOGS_DIRECTORY"),
    (241, "CONFIGURATION_DIRECTORY"),
    (242, "NUMA_POLICY"),
    (243, "CREDENTIALS"),
    (244, "BPF"),
    (245, "KSM"),
    (246, "MEMORY_THP"),
    (247, "EXCEPTION"),
    (254, "INVALID"),
    (255, "UNKNOWN"),
];

/// The name of an exit status, if it has one.
pub fn name(status: u8) -> Option<&'static str> {
    let at = NAMES
        .binary_search_by_key(&status, |(number, _)| *number)
        .ok()?;
    NAMES.get(at).map(|(_, name)| *name)
}

/// An exit status by name or number.
pub fn status(text: &str) -> Result<u8, ValueError> {
    if let Some((number, _)) = NAMES.iter().find(|(_, name)| *name == text) {
        return Ok(*number);
    }
    text.parse()
        .map_err(|_| ValueError::new(text, "an exit status from 0 to 255 or its name"))
}

/// A set of exit statuses and signals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitSet {
    codes: [u64; 4],
    signals: u64,
}

impl ExitSet {
    /// Adds what a list of statuses and signals names: `1 6 SIGKILL TEMPFAIL`.
    pub fn add(&mut self, list: &str) -> Result<(), ValueError> {
        for word in Words::plain(list) {
            let word = word?;
            let signal = if word.bytes().all(|b| b.is_ascii_digit()) {
                None
            } else {
                signal::signal(&word).ok()
            };
            match signal {
                Some(signal) => self.add_signal(signal),
                None => {
                    let expected = "exit statuses from 0 to 255, their names, or signals";
                    let code = status(&word).map_err(|_| ValueError::new(&word, expected))?;
                    self.add_code(code);
                }
            }
        }
        if list.trim_matches(is_blank).is_empty() {
            *self = Self::default();
        }
        Ok(())
    }

    /// Adds an exit status.
    pub fn add_code(&mut self, code: u8) {
        if let Some(word) = self.codes.get_mut(usize::from(code / 64)) {
            *word |= 1 << (code % 64);
        }
    }

    /// Adds a signal, 1..=64.
    pub fn add_signal(&mut self, signal: u8) {
        self.signals |= signal.checked_sub(1).map_or(0, |bit| 1 << (bit % 64));
    }

    /// Whether a process that ended so is in the set.
    pub fn contains(&self, exit: Exit) -> bool {
        match exit {
            Exit::Code(code) => self
                .codes
                .get(usize::from(code / 64))
                .is_some_and(|w| w >> (code % 64) & 1 == 1),
            Exit::Signal(signal) | Exit::Core(signal) => signal
                .checked_sub(1)
                .is_some_and(|bit| self.signals >> (bit % 64) & 1 == 1),
        }
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(NAMES.windows(2).all(|w| w[0].0 < w[1].0));
        assert_eq!(name(203), Some("EXEC"));
        assert_eq!(name(100), None);
    }

    #[test]
    fn sets() {
        let mut set = ExitSet::default();
        assert!(set.is_empty());
        set.add("TEMPFAIL 250 SIGKILL 0").unwrap();
        set.add("HUP").unwrap();
        for yes in [
            Exit::Code(75),
            Exit::Code(250),
            Exit::Code(0),
            Exit::Signal(9),
            Exit::Core(1),
        ] {
            assert!(set.contains(yes), "{yes:?}");
        }
        for no in [
            Exit::Code(1),
            Exit::Code(9),
            Exit::Signal(15),
            Exit::Signal(0),
        ] {
            assert!(!set.contains(no), "{no:?}");
        }
        for bad in ["256", "-1", "SIGFOO", "1,2"] {
            assert!(set.add(bad).is_err(), "{bad}");
        }
        set.add("").unwrap();
        assert!(set.is_empty());
    }
}
