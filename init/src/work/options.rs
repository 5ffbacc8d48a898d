//! What the kernel's command line says to init.
//!
//! Words are separated by white space; double quotes hold a word together, as the kernel has it.
//! In a container the command line is the host's and none of our business: there only init's own
//! arguments count. The last of several equal words wins. What is not ours is left alone; what is
//! ours and wrong is ignored with a message, a machine must boot.
//!
//! | word | meaning |
//! |---|---|
//! | `sysmaster.manager=PATH` | the manager, default [`MANAGER`] |
//! | `sysmaster.rescue=shell\|reboot` | what to do when no manager can be started, default `shell` |
//! | `sysmaster.rescue_delay=SECONDS` | before the reboot, default 10 |
//! | `sysmaster.rescue_shell=PATH` | default `/bin/sh` |
//! | `sysmaster.discard_after=SECONDS` | without a manager that takes them, exits are kept for so long, default 120 |
//! | `sysmaster.unmount=yes\|no` | unmount at the end, default `yes`, in a container `no` |
//! | `rescue`, `single`, `s`, `S`, `1`, `systemd.unit=rescue.target` | told to the manager |
//! | `emergency`, `-b`, `systemd.unit=emergency.target` | told to the manager |

use crate::text::{Text, join, parse};
use init_wire::flags;

/// Where the manager is.
pub const MANAGER: &[u8] = b"/usr/lib/sysmaster/sysmaster";

/// What to do when no manager can be started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rescue {
    /// A shell on the console; when it ends, the manager is tried again.
    Shell,
    /// Reboot after a delay.
    Reboot,
}

/// The options.
pub struct Options {
    /// Path of the manager.
    pub manager: Text,
    /// Path of the rescue shell.
    pub shell: Text,
    /// What to do without a manager.
    pub rescue: Rescue,
    /// Delay of [`Rescue::Reboot`], in milliseconds.
    pub rescue_delay_ms: u64,
    /// For how long exits are kept without a manager, in milliseconds; 0: the default.
    pub discard_after_ms: u64,
    /// Whether to unmount; `None`: where it makes sense.
    pub unmount: Option<bool>,
    /// [`flags::RESCUE`] and [`flags::EMERGENCY`].
    pub flags: u32,
}

impl Options {
    /// Nothing was said.
    #[must_use]
    pub fn new() -> Options {
        Options {
            manager: join(&[MANAGER]),
            shell: join(&[b"/bin/sh"]),
            rescue: Rescue::Shell,
            rescue_delay_ms: 10_000,
            discard_after_ms: 0,
            unmount: None,
            flags: 0,
        }
    }

    /// Reads a whole command line; returns how many words of ours were wrong.
    pub fn line(&mut self, line: &[u8]) -> u32 {
        let mut wrong = 0;
        let mut quoted = false;
        let separator = |byte: &u8| {
            if *byte == b'"' {
                quoted = !quoted;
            }
            !quoted && (byte.is_ascii_whitespace() || *byte == 0)
        };
        for word in line.split(separator) {
            if !self.word(word) {
                wrong += 1;
            }
        }
        wrong
    }

    /// Reads one word; `false` if it is one of ours and wrong.
    #[inline(never)]
    pub fn word(&mut self, word: &[u8]) -> bool {
        let word = unquote(word);
        if let Some((_, setting)) = WORDS.iter().find(|(whole, _)| word == *whole) {
            match *setting {
                Set::Flag(flag) => self.flags |= flag,
                Set::Rescue(rescue) => self.rescue = rescue,
                Set::Unmount(unmount) => self.unmount = Some(unmount),
            }
            return true;
        }
        let Some(end) = word.iter().position(|byte| *byte == b'=') else {
            return true;
        };
        let (name, value) = word.split_at_checked(end + 1).unwrap_or_default();
        let value = unquote(value);
        match NAMES.iter().position(|known| name == *known) {
            Some(0) => set_path(&mut self.manager, value),
            Some(1) => set_path(&mut self.shell, value),
            Some(2) => set_time(&mut self.rescue_delay_ms, value),
            Some(3) => set_time(&mut self.discard_after_ms, value),
            Some(_) => false,
            None => true,
        }
    }
}

enum Set {
    Flag(u32),
    Rescue(Rescue),
    Unmount(bool),
}

/// Words that are complete by themselves.
const WORDS: [(&[u8], Set); 15] = [
    (b"sysmaster.rescue=shell", Set::Rescue(Rescue::Shell)),
    (b"sysmaster.rescue=reboot", Set::Rescue(Rescue::Reboot)),
    (b"sysmaster.unmount=yes", Set::Unmount(true)),
    (b"sysmaster.unmount=1", Set::Unmount(true)),
    (b"sysmaster.unmount=no", Set::Unmount(false)),
    (b"sysmaster.unmount=0", Set::Unmount(false)),
    (b"rescue", Set::Flag(flags::RESCUE)),
    (b"single", Set::Flag(flags::RESCUE)),
    (b"s", Set::Flag(flags::RESCUE)),
    (b"S", Set::Flag(flags::RESCUE)),
    (b"1", Set::Flag(flags::RESCUE)),
    (b"systemd.unit=rescue.target", Set::Flag(flags::RESCUE)),
    (b"emergency", Set::Flag(flags::EMERGENCY)),
    (b"-b", Set::Flag(flags::EMERGENCY)),
    (
        b"systemd.unit=emergency.target",
        Set::Flag(flags::EMERGENCY),
    ),
];

/// Names that take a value; the last two only those in [`WORDS`].
const NAMES: [&[u8]; 6] = [
    b"sysmaster.manager=",
    b"sysmaster.rescue_shell=",
    b"sysmaster.rescue_delay=",
    b"sysmaster.discard_after=",
    b"sysmaster.rescue=",
    b"sysmaster.unmount=",
];

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

#[inline(never)]
fn unquote(word: &[u8]) -> &[u8] {
    let word = word.strip_prefix(b"\"").unwrap_or(word);
    word.strip_suffix(b"\"").unwrap_or(word)
}

/// Seconds, at most a day.
#[inline(never)]
fn set_time(ms: &mut u64, value: &[u8]) -> bool {
    let Some(seconds) = parse(value) else {
        return false;
    };
    *ms = seconds.min(86_400) * 1000;
    true
}

#[inline(never)]
fn set_path(path: &mut Text, value: &[u8]) -> bool {
    // What could not be a path must not replace one.
    if value.first() != Some(&b'/') || value.len() > 511 || value.contains(&0) {
        return false;
    }
    path.clear();
    path.bytes(value);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> (Options, u32) {
        let mut options = Options::new();
        let wrong = options.line(line.as_bytes());
        (options, wrong)
    }

    #[test]
    fn a_usual_line() {
        let (o, wrong) = read(
            "BOOT_IMAGE=/vmlinuz root=/dev/vda1 ro quiet sysmaster.rescue=reboot single \
             sysmaster.rescue_delay=3 \"sysmaster.manager=/opt/my manager\" sysmaster.unmount=no\n",
        );
        assert_eq!(wrong, 0);
        assert_eq!(o.manager.as_bytes(), b"/opt/my manager");
        assert_eq!((o.rescue, o.rescue_delay_ms), (Rescue::Reboot, 3000));
        assert_eq!((o.unmount, o.flags), (Some(false), flags::RESCUE));
    }

    #[test]
    fn wrong_words_change_nothing() {
        let (o, wrong) = read(
            "sysmaster.rescue=maybe sysmaster.rescue_delay=soon sysmaster.manager=relative \
             sysmaster.unmount= rescue=1 other.rescue=reboot",
        );
        assert_eq!(wrong, 4);
        assert_eq!(o.manager.as_bytes(), MANAGER);
        assert_eq!(
            (o.rescue, o.rescue_delay_ms, o.flags),
            (Rescue::Shell, 10_000, 0)
        );
        let long = format!("sysmaster.manager=/{}", "x".repeat(5000));
        assert_eq!(read(&long).1, 1);
    }

    #[test]
    fn the_manual_has_every_word() {
        let manual = include_str!("../../man/init.8").replace('\\', "");
        for word in WORDS.iter().map(|(word, _)| *word).chain(NAMES) {
            let word = core::str::from_utf8(word).unwrap();
            let name = word.split_once('=').map_or(word, |(name, _)| name);
            // What systemd calls so is the manager's to explain.
            if !name.starts_with("systemd.") {
                assert!(manual.contains(name), "{word}");
            }
        }
    }

    #[test]
    fn emergency_in_all_spellings() {
        for line in ["emergency", "-b", "systemd.unit=emergency.target"] {
            assert_eq!(read(line).0.flags, flags::EMERGENCY, "{line}");
        }
    }
}
