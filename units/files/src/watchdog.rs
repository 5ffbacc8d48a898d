//! The settings of the hardware watchdog, with systemd's names: in `system.conf`, and on the kernel's
//! command line, which goes before the file.
//!
//! | `[Manager]` | command line | Default | Meaning |
//! |---|---|---|---|
//! | `RuntimeWatchdogSec=` | `watchdog_sec=` | `off` | The hardware resets the machine when it was not fed for so long |
//! | `RebootWatchdogSec=` | – | 10 min | The same from the last step of a reboot on |
//! | `RuntimeWatchdogPreSec=` | `watchdog_pre_sec=` | `off` | So long before that it warns, where it can |
//! | `RuntimeWatchdogPreGovernor=` | `watchdog_pre_governor=` | the kernel's | What the kernel does then: `panic`, `noop` |
//! | `WatchdogDevice=` | `watchdog_device=` | `/dev/watchdog0`, else `/dev/watchdog` | Which |
//!
//! Times are spans as everywhere (a bare number is in seconds), `off` or `default`: as the hardware is set.
//! On the command line each name begins with `sysmaster.` or `systemd.`.

use std::path::{Path, PathBuf};
use units::file::quote;
use units::state::Micros;
use units::value;

/// `default`: the time the hardware is set to.
pub const AS_IT_IS: Micros = Micros::MAX;

/// The settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watchdog {
    /// `RuntimeWatchdogSec=`; 0: off.
    pub runtime: Micros,
    /// `RebootWatchdogSec=`; 0: off.
    pub reboot: Micros,
    /// `RuntimeWatchdogPreSec=`; 0: off.
    pub pre: Micros,
    /// `RuntimeWatchdogPreGovernor=`; empty: the kernel's.
    pub governor: Box<str>,
    /// `WatchdogDevice=`.
    pub device: Option<PathBuf>,
}

impl Default for Watchdog {
    fn default() -> Self {
        Self {
            runtime: 0,
            reboot: 600_000_000,
            pre: 0,
            governor: Box::default(),
            device: None,
        }
    }
}

impl Watchdog {
    /// Takes one setting; `false`: it is none of these.
    pub fn set(&mut self, key: &str, text: &str) -> Result<bool, String> {
        match key {
            "RuntimeWatchdogSec" | "watchdog_sec" => self.runtime = time(text)?,
            "RebootWatchdogSec" => self.reboot = time(text)?,
            "RuntimeWatchdogPreSec" | "watchdog_pre_sec" => self.pre = time(text)?,
            "RuntimeWatchdogPreGovernor" | "watchdog_pre_governor" => self.governor = text.into(),
            "WatchdogDevice" | "watchdog_device" if text.is_empty() => self.device = None,
            "WatchdogDevice" | "watchdog_device" => {
                if !text.starts_with('/') {
                    return Err(format!(
                        "found {}, expected the path of a device",
                        quote(text)
                    ));
                }
                self.device = Some(text.into());
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Takes what the kernel's command line says; what of that is wrong.
    pub fn override_by(&mut self, line: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        for word in line.split_ascii_whitespace() {
            let ours = word
                .strip_prefix("sysmaster.")
                .or(word.strip_prefix("systemd."));
            let Some((key, text)) = ours.and_then(|word| word.split_once('=')) else {
                continue;
            };
            if !key.starts_with("watchdog_") {
                continue;
            }
            match self.set(key, text) {
                Ok(true) => {}
                Ok(false) => {
                    wrong.push(["command line: found ", word, ", which means nothing"].concat())
                }
                Err(error) => wrong.push(["command line: ", word, ": ", &error].concat()),
            }
        }
        wrong
    }

    /// The devices to be tried, in this order.
    pub fn devices(&self) -> Vec<&Path> {
        match &self.device {
            Some(device) => vec![device],
            // The second is the same as the first, where the kernel is old or has no number for it.
            None => vec![Path::new("/dev/watchdog0"), Path::new("/dev/watchdog")],
        }
    }
}

fn time(text: &str) -> Result<Micros, String> {
    match text {
        "" | "off" => Ok(0),
        "default" => Ok(AS_IT_IS),
        _ => value::time::span(text).map_err(|_| {
            format!(
                "found {}, expected a time span, off or default",
                quote(text)
            )
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_goes_before_the_file() {
        let mut watchdog = Watchdog::default();
        for (key, text) in [
            ("RuntimeWatchdogSec", "30"),
            ("RebootWatchdogSec", "off"),
            ("RuntimeWatchdogPreSec", "5s"),
            ("RuntimeWatchdogPreGovernor", "panic"),
            ("WatchdogDevice", "/dev/watchdog1"),
        ] {
            assert_eq!(watchdog.set(key, text), Ok(true), "{key}");
        }
        assert_eq!(watchdog.set("Strict", "yes"), Ok(false));
        assert_eq!(
            (watchdog.runtime, watchdog.reboot, watchdog.pre),
            (30_000_000, 0, 5_000_000)
        );
        assert_eq!(watchdog.devices(), [Path::new("/dev/watchdog1")]);
        let wrong = watchdog.override_by(
            "quiet systemd.watchdog_sec=1min sysmaster.watchdog_device=/dev/w sysmaster.watchdog_sec=default \
             systemd.watchdog_colour=red sysmaster.watchdog_pre_sec=soon watchdog_sec=7",
        );
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(
            wrong[1].ends_with("found “soon”, expected a time span, off or default"),
            "{wrong:?}"
        );
        assert_eq!((watchdog.runtime, watchdog.pre), (AS_IT_IS, 5_000_000));
        assert_eq!(watchdog.devices(), [Path::new("/dev/w")]);
    }

    #[test]
    fn what_cannot_be_used_is_said() {
        let mut watchdog = Watchdog::default();
        assert!(watchdog.set("RuntimeWatchdogSec", "often").is_err());
        assert!(watchdog.set("WatchdogDevice", "watchdog0").is_err());
        assert_eq!(watchdog, Watchdog::default());
        assert_eq!(watchdog.devices().len(), 2);
    }
}
