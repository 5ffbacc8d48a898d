//! The hardware watchdog, the manager's half: it opens and sets the device and hands it to init, which feeds it.
//!
//! ```text
//!          wanted            init has one, or none          set              taken
//!   Off ───────────▶ Fetching ────────────────────▶ Setting ────▶ Offered ────────▶ Armed
//!    ▲                                                 │ busy, died             a changed setting:
//!    └───────── not to be had, not wanted ─────────────┴─▶ Pause ─▶ Fetching      Fetching
//! ```
//!
//! *Who feeds.* init, at half of the timeout, as long as it hears of managers (its `supervise` says how it knows).
//! So the hardware is fed over the death, the hang and the upgrade of any manager, and not when none comes up. A
//! helper that hangs is replaced by the manager and costs no reset: what that cannot mend, a reset would not.
//!
//! *Opening may sleep*, behind a slow bus for long, and opening arms. So a child does both, with a time limit,
//! and hands over the descriptor together with what the device said. If we die meanwhile the child disarms; if
//! the child dies, what it has armed is opened again at once.
//!
//! *When.* At the start of the first manager; after the boot, if the device was not there yet; at a reload; when a
//! manager takes over; and, with `RebootWatchdogSec=` alone, when the machine goes down for a reboot.

use crate::init_link::Asker;
use crate::manager::{Manager, token};
use init_wire::{FromManager, Kind, Label, flags};
use platform::degrade::{self, Feature};
use platform::poll::Interest;
use platform::watchdog::{self, Armed, Wanted};
use platform::{child, clock, process, signal, socket};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use unit_files::watchdog::AS_IT_IS;
use units::state::Micros;
use units::wire::control::ShutdownKind;

/// How long the child may take.
const LIMIT: Micros = 10_000_000;
/// Between two attempts at a device that somebody else has open, or whose child died.
const PAUSE: Micros = 1_000_000;
/// How many of these.
const TRIES: u8 = 5;

/// What the child is to do.
pub(crate) struct Order {
    devices: Vec<PathBuf>,
    pub wanted: Wanted,
}

/// Does it: sets the device that is open already, or opens one. Runs in the child.
pub(crate) type Set = fn(&Order, Option<OwnedFd>) -> io::Result<(OwnedFd, Armed)>;

/// Where we are.
#[derive(Debug, Default)]
enum Phase {
    #[default]
    Off,
    /// init was asked for the device.
    Fetching,
    /// The child is at work. The device, if it was open before.
    Setting {
        pid: u32,
        answer: OwnedFd,
        device: Option<OwnedFd>,
        deadline: Micros,
    },
    Pause {
        until: Micros,
    },
    /// init was told. Kept open until it has answered, to be disarmed if it does not take it.
    Offered {
        device: OwnedFd,
        armed: Armed,
    },
    Armed,
}

/// The state of it.
#[derive(Debug, Default)]
pub(crate) struct Watchdog {
    phase: Phase,
    tries: u8,
    /// What it is being set to, or was; and `RebootWatchdogSec=`.
    ordered: Option<(Wanted, Micros)>,
    /// Something changed since it was begun.
    again: bool,
    /// What was wrong with the command line has been said.
    line_read: bool,
}

impl Watchdog {
    /// Nothing is under way.
    #[cfg(test)]
    pub(crate) fn is_settled(&self) -> bool {
        matches!(self.phase, Phase::Off | Phase::Armed) && !self.again
    }

    /// The next moment at which [`Manager::watchdog_due`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Micros> {
        match &self.phase {
            Phase::Setting { deadline, .. } => Some(*deadline),
            Phase::Pause { until } => Some(*until),
            _ => None,
        }
    }
}

fn label() -> Label {
    Label::of(Kind::WATCHDOG, "manager")
}

/// Whole seconds, rounded up; 0 for what is to stay as it is.
fn seconds(span: Micros) -> u32 {
    if span == AS_IT_IS {
        return 0;
    }
    u32::try_from(span.div_ceil(1_000_000)).unwrap_or(u32::MAX)
}

/// For how many milliseconds it is fed in the last step of a reboot, so that it resets after this time.
fn fed_at_reboot(span: Micros, timeout_ms: u32) -> u32 {
    match span {
        // To the end.
        0 => 0,
        AS_IT_IS => 1,
        _ => u32::try_from(span / 1000)
            .unwrap_or(u32::MAX)
            .saturating_sub(timeout_ms)
            .max(1),
    }
}

/// How the child does it on a real machine.
pub(crate) fn set(order: &Order, device: Option<OwnedFd>) -> io::Result<(OwnedFd, Armed)> {
    let mut result = Err(io::Error::from(io::ErrorKind::NotFound));
    let device = match device {
        Some(device) => device,
        None => {
            for path in &order.devices {
                result = watchdog::open(path);
                if result.as_ref().err().is_none_or(|error| !is_absent(error)) {
                    break;
                }
            }
            result?
        }
    };
    let armed = watchdog::set(&device, &order.wanted)?;
    Ok((device, armed))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENXIO))
        || error.kind() == io::ErrorKind::NotFound
}

/// The child: does it, and tells.
fn work(set: Set, order: &Order, device: Option<OwnedFd>, answer: &OwnedFd) -> i32 {
    let ours = device.is_none();
    match set(order, device) {
        Ok((device, armed)) => {
            let more = u32::from(armed.has_reset) | u32::from(armed.governed) << 1;
            let told = socket::send(
                answer,
                &encode([0, armed.timeout, armed.pretimeout, more]),
                &[device.as_fd()],
            );
            if told.is_err() && ours {
                watchdog::disarm(&device);
            }
        }
        Err(error) => {
            let number = error.raw_os_error().unwrap_or(libc::ENOENT);
            let _ = socket::send(answer, &encode([number as u32, 0, 0, 0]), &[]);
        }
    }
    0
}

fn encode(words: [u32; 4]) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

fn decode(bytes: &[u8]) -> Option<[u32; 4]> {
    let mut words = [0; 4];
    for (word, place) in words.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = u32::from_le_bytes(place.try_into().ok()?);
    }
    (bytes.len() == 16).then_some(words)
}

impl Manager {
    /// What the device is to be set to now; `None`: no device at all.
    fn wanted_watchdog(&self) -> Option<Wanted> {
        let settings = &self.config.watchdog;
        let reboots = self.boot.record.shutdown == Some(ShutdownKind::Reboot);
        let span = match settings.runtime {
            // In a container nobody means the machine's unless he says so.
            0 if reboots && !self.in_container() => settings.reboot,
            span => span,
        };
        (span != 0).then(|| Wanted {
            timeout: seconds(span),
            pretimeout: seconds(settings.pre),
            governor: settings.governor.clone(),
        })
    }

    fn in_container(&self) -> bool {
        let init = self.init.as_ref();
        init.is_some_and(|init| init.hello().flags & flags::CONTAINER != 0)
    }

    /// Takes the settings up. Called when they, or what they mean, may have changed.
    pub(crate) fn set_watchdog(&mut self) {
        let wrong = self.config.watchdog.override_by(&self.kernel_line);
        if !std::mem::replace(&mut self.watchdog.line_read, true) {
            for text in wrong {
                self.log(4, "", &text);
            }
        }
        self.watchdog.tries = 0;
        let reboot = self.config.watchdog.reboot;
        let wanted = self.wanted_watchdog().map(|wanted| (wanted, reboot));
        let ordered = self.watchdog.ordered.clone();
        match &self.watchdog.phase {
            Phase::Setting { .. } | Phase::Offered { .. } | Phase::Armed if wanted == ordered => {}
            Phase::Fetching | Phase::Setting { .. } | Phase::Offered { .. } => {
                self.watchdog.again = true
            }
            // One that an earlier manager armed is to be let go.
            Phase::Off if wanted.is_none() && !self.boot.recovery => {}
            _ => self.fetch_watchdog(),
        }
    }

    /// After the boot: again, if it is wanted and was not to be had.
    pub(crate) fn set_missing_watchdog(&mut self) {
        if matches!(self.watchdog.phase, Phase::Off) && self.wanted_watchdog().is_some() {
            self.set_watchdog();
        }
    }

    fn fetch_watchdog(&mut self) {
        if let Some(init) = &mut self.init {
            self.watchdog.phase = Phase::Fetching;
            init.fetch(label(), Asker::Watchdog);
        }
    }

    /// init's answer: the device it keeps, if it keeps one.
    pub(crate) fn watchdog_fetched(&mut self, device: Option<OwnedFd>) {
        self.watchdog.again = false;
        self.watchdog.phase = Phase::Off;
        match self.wanted_watchdog() {
            Some(wanted) => self.start_setting(wanted, device),
            None if device.is_some() => {
                // Off when its last descriptor is closed; so not ours after init's.
                drop(device);
                self.tell_init(&FromManager::Watchdog { timeout_ms: 0 });
                self.log(5, "", "the hardware watchdog is disarmed");
            }
            None => {}
        }
    }

    fn start_setting(&mut self, wanted: Wanted, device: Option<OwnedFd>) {
        let devices = self.config.watchdog.devices();
        self.watchdog.ordered = Some((wanted.clone(), self.config.watchdog.reboot));
        let order = Order {
            devices: devices.into_iter().map(PathBuf::from).collect(),
            wanted,
        };
        let set = self.set_device;
        let begun = socket::pair().and_then(|(answer, theirs)| {
            self.poller.add(&answer, token::WATCHDOG, Interest::READ)?;
            let held = device.as_ref().map(OwnedFd::try_clone).transpose()?;
            let spawned = process::spawn(None, move |_| {
                let number = |fd: &OwnedFd| fd.as_raw_fd() as u32;
                let mut keep = vec![number(&theirs)];
                keep.extend(held.as_ref().map(number));
                keep.sort_unstable();
                child::close_from(3, &keep);
                let _ = child::reset_signals(false);
                let _ = child::new_session();
                work(set, &order, held, &theirs)
            })?;
            Ok((spawned.pid, answer))
        });
        match begun {
            Ok((pid, answer)) => {
                let deadline = clock::now() + LIMIT;
                self.watchdog.phase = Phase::Setting {
                    pid,
                    answer,
                    device,
                    deadline,
                };
            }
            Err(error) => self.no_watchdog(&error.to_string()),
        }
    }

    /// The child said something, or ended.
    pub(crate) fn watchdog_ready(&mut self) {
        let Phase::Setting { answer, .. } = &self.watchdog.phase else {
            return;
        };
        let mut buffer = [0; 16];
        let got = match socket::receive(answer, &mut buffer) {
            Ok(None) => return,
            Ok(Some(got)) => {
                decode(buffer.get(..got.length).unwrap_or_default()).zip(Some(got.fds))
            }
            Err(_) => None,
        };
        let Phase::Setting { answer, device, .. } = std::mem::take(&mut self.watchdog.phase) else {
            return;
        };
        let _ = self.poller.remove(&answer);
        match got {
            Some(([0, timeout, pretimeout, more], fds)) => {
                let armed = Armed {
                    timeout,
                    pretimeout,
                    has_reset: more & 1 != 0,
                    governed: more & 2 != 0,
                };
                self.offer_watchdog(device, fds.into_iter().next(), armed);
            }
            Some(([number, ..], _)) => {
                self.watchdog_refused(io::Error::from_raw_os_error(number as i32))
            }
            None => self.pause_watchdog("its child ended early"),
        }
        self.set_watchdog_again();
    }

    fn set_watchdog_again(&mut self) {
        let between = matches!(self.watchdog.phase, Phase::Off | Phase::Armed);
        if between && std::mem::take(&mut self.watchdog.again) {
            self.fetch_watchdog();
        }
    }

    /// `kept`: what init has already; else it gets what the child has opened.
    fn offer_watchdog(&mut self, kept: Option<OwnedFd>, opened: Option<OwnedFd>, armed: Armed) {
        let timeout_ms = armed.timeout.saturating_mul(1000);
        let ms = fed_at_reboot(self.config.watchdog.reboot, timeout_ms);
        let new = kept.is_none();
        let (Some(device), Some(init)) = (kept.or(opened), &mut self.init) else {
            return self.no_watchdog("its descriptor was lost");
        };
        match device.try_clone() {
            Ok(copy) if new => init.send(&FromManager::Keep { label: label() }, Some(copy)),
            Err(error) if new => {
                watchdog::disarm(&device);
                return self.no_watchdog(&error.to_string());
            }
            _ => {}
        }
        self.tell_init(&FromManager::WatchdogAtReboot { ms });
        self.tell_init(&FromManager::Watchdog { timeout_ms });
        self.watchdog.phase = Phase::Offered { device, armed };
    }

    /// init's answer to `Watchdog`.
    pub(crate) fn watchdog_armed(&mut self, timeout_ms: u32) {
        let Phase::Offered { device, armed } = std::mem::take(&mut self.watchdog.phase) else {
            return;
        };
        if timeout_ms == 0 {
            watchdog::disarm(&device);
            return self.no_watchdog("init has no room for it");
        }
        self.watchdog.phase = Phase::Armed;
        self.tell_of_watchdog(armed);
        self.set_watchdog_again();
    }

    fn tell_of_watchdog(&mut self, armed: Armed) {
        let wanted = self.wanted_watchdog().unwrap_or_default();
        let mut text = format!(
            "the hardware watchdog resets the machine after {} s without a sign of life",
            armed.timeout
        );
        if ![0, armed.timeout].contains(&wanted.timeout) {
            text.push_str(&format!(", {} s were asked for", wanted.timeout));
        }
        if armed.pretimeout != wanted.pretimeout {
            text.push_str(&format!(
                "; it warns {} s before, {} s were asked for",
                armed.pretimeout, wanted.pretimeout
            ));
        } else if wanted.pretimeout != 0 && !armed.governed {
            text.push_str(&format!("; the kernel has no governor {}", wanted.governor));
        }
        self.log(if self.boot.recovery { 6 } else { 5 }, "", &text);
        if armed.has_reset && !self.boot.recovery {
            self.log(4, "", "this boot follows a reset by the hardware watchdog");
        }
    }

    fn watchdog_refused(&mut self, error: io::Error) {
        let for_reboot_only = self.config.watchdog.runtime == 0;
        if error.raw_os_error() == Some(libc::EBUSY) {
            self.pause_watchdog("somebody else has it open");
        } else if !is_absent(&error) {
            let what = match error.raw_os_error() {
                Some(libc::ENOTTY) => "that device is none".to_owned(),
                _ => error.to_string(),
            };
            self.no_watchdog(&what);
        } else if self.boot.record.finished != 0 && !for_reboot_only {
            // Before the end of the boot its driver may still be loaded.
            degrade::note(Feature::HardwareWatchdog);
        }
    }

    fn pause_watchdog(&mut self, why: &str) {
        self.watchdog.tries += 1;
        if self.watchdog.tries >= TRIES {
            return self.no_watchdog(why);
        }
        let until = clock::now() + PAUSE;
        self.watchdog.phase = Phase::Pause { until };
    }

    fn no_watchdog(&mut self, why: &str) {
        self.watchdog.phase = Phase::Off;
        let text = ["the hardware watchdog is not armed by us: ", why].concat();
        self.log(3, "", &text);
    }

    /// What is due of it.
    pub(crate) fn watchdog_due(&mut self, now: Micros) {
        if self.watchdog.deadline().is_none_or(|due| now < due) {
            return;
        }
        if let Phase::Setting { pid, answer, .. } = &self.watchdog.phase {
            let _ = process::kill_child(*pid, signal::SIGKILL);
            let _ = self.poller.remove(answer);
            self.no_watchdog("the device does not answer");
        } else {
            self.fetch_watchdog();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_become_whole_seconds() {
        assert_eq!(
            [0, 1, 1_000_000, 1_000_001, AS_IT_IS].map(seconds),
            [0, 1, 1, 2, 0]
        );
        assert_eq!(seconds(AS_IT_IS - 1), u32::MAX);
    }

    #[test]
    fn a_reboot_is_reset_after_its_time() {
        assert_eq!(fed_at_reboot(600_000_000, 30_000), 570_000);
        assert_eq!(
            fed_at_reboot(10_000_000, 30_000),
            1,
            "sooner than the hardware can"
        );
        assert_eq!(fed_at_reboot(0, 30_000), 0, "fed to the end");
        assert_eq!(fed_at_reboot(AS_IT_IS, 30_000), 1);
    }

    #[test]
    fn answers_are_read_as_written() {
        let words = [0, 30, 5, 3];
        assert_eq!(decode(&encode(words)), Some(words));
        assert_eq!(decode(&[]), None);
        assert_eq!(decode(&[0; 15]), None);
    }
}
