//! The manager's settings: `/etc/sysmaster/system.conf` and the kernel's command line.
//!
//! The file has the syntax of unit files, one section `[Manager]`. Read are, each later one going
//! before the earlier: `system.conf` in `/usr/lib/sysmaster`, `/run/sysmaster` and `/etc/sysmaster`
//! (the last of these that exists), then the drop-ins `system.conf.d/*.conf` of all three by name.
//! A value that cannot be used is reported with file and line, and the default stays: a mistake in
//! this file does not keep a machine from booting.
//!
//! | Setting | Default | Meaning |
//! |---|---|---|
//! | `Strict=` | `no` | A directive systemd knows and we do not carry out makes its unit fail to load |
//! | `DefaultTimeoutStartSec=`, `DefaultTimeoutStopSec=` | 90 s | For units that say nothing |
//! | `DefaultRestartSec=` | 100 ms | The same |
//! | `DefaultStartLimitIntervalSec=`, `DefaultStartLimitBurst=` | 10 s, 5 | The same |
//! | `DefaultEnvironment=` | none | Variables every service gets |
//! | `UnitPath=` | see [`DEFAULT_UNIT_PATH`] | Directories searched for units, first come first served |
//! | `GeneratorPath=` | see [`DEFAULT_GENERATOR_PATH`] | Directories of generators, first come first served |
//! | `BuiltinGenerators=` | `fstab getty sysv` | Generators that are built in and run; empty: none |
//! | `ShowStatus=` | unless `quiet` | Lines on the console |
//! | `LogLevel=` | `info` | Messages less urgent than this are not logged |
//! | `ShutdownTimeoutSec=` | 10 min | After this init ends the machine without us |
//! | `Helpers=` | `processes` | `in-process` runs the helpers inside the manager |
//!
//! Those of the hardware watchdog are in [`crate::watchdog`].

use crate::watchdog::Watchdog;
use std::path::{Path, PathBuf};
use units::file::{Entry, UnitFile, describe, quote};
use units::state::Micros;
use units::value;
use units::value::words::Words;
use units::wire::helper::{Finding, HelperConfig, Severity};

/// Where units are looked for when `UnitPath=` says nothing. Those of systemd come after ours, so
/// that Debian's packages work as they are and a machine's builder can replace any unit.
pub const DEFAULT_UNIT_PATH: [&str; 8] = [
    "/etc/sysmaster/system",
    "/run/sysmaster/system",
    "/usr/local/lib/sysmaster/system",
    "/usr/lib/sysmaster/system",
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
];

/// Where generators are looked for when `GeneratorPath=` says nothing. systemd's are not run unless
/// their directory is named: what most of them make is built in here or not wanted on a board.
pub const DEFAULT_GENERATOR_PATH: [&str; 4] = [
    "/run/sysmaster/system-generators",
    "/etc/sysmaster/system-generators",
    "/usr/local/lib/sysmaster/system-generators",
    "/usr/lib/sysmaster/system-generators",
];

/// The generators that are built in.
pub const BUILTIN_GENERATORS: [&str; 3] = ["fstab", "getty", "sysv"];

/// Directories of the settings, the weakest first.
const DIRECTORIES: [&str; 3] = ["/usr/lib/sysmaster", "/run/sysmaster", "/etc/sysmaster"];

/// Largest settings file, in bytes.
const MAX_FILE: usize = 256 << 10;

/// The settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `Strict=`.
    pub strict: bool,
    /// `DefaultTimeoutStartSec=`, microseconds; `u64::MAX` is infinity.
    pub timeout_start: Micros,
    /// `DefaultTimeoutStopSec=`.
    pub timeout_stop: Micros,
    /// `DefaultRestartSec=`.
    pub restart_delay: Micros,
    /// `DefaultStartLimitIntervalSec=`.
    pub start_limit_interval: Micros,
    /// `DefaultStartLimitBurst=`.
    pub start_limit_burst: u32,
    /// `DefaultEnvironment=`, as `NAME=value`.
    pub environment: Vec<String>,
    /// `UnitPath=`.
    pub unit_path: Vec<PathBuf>,
    /// `GeneratorPath=`.
    pub generator_path: Vec<PathBuf>,
    /// `BuiltinGenerators=`, by their names.
    pub builtin_generators: Vec<String>,
    /// `ShowStatus=`; `None`: unless the kernel's command line says `quiet`.
    pub show_status: Option<bool>,
    /// `LogLevel=`, 0 to 7.
    pub log_level: u8,
    /// `ShutdownTimeoutSec=`, at most an hour.
    pub shutdown_timeout: Micros,
    /// `Helpers=in-process`.
    pub in_process: bool,
    /// `RuntimeWatchdogSec=` and what belongs to it.
    pub watchdog: Watchdog,
    /// What was wrong in the files, as `file:line: text`.
    pub findings: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            strict: false,
            timeout_start: 90_000_000,
            timeout_stop: 90_000_000,
            restart_delay: 100_000,
            start_limit_interval: 10_000_000,
            start_limit_burst: 5,
            environment: Vec::new(),
            unit_path: DEFAULT_UNIT_PATH.iter().map(PathBuf::from).collect(),
            generator_path: DEFAULT_GENERATOR_PATH.iter().map(PathBuf::from).collect(),
            builtin_generators: BUILTIN_GENERATORS.map(str::to_owned).into(),
            show_status: None,
            log_level: 6,
            shutdown_timeout: 600_000_000,
            in_process: false,
            watchdog: Watchdog::default(),
            findings: Vec::new(),
        }
    }
}

/// What generators write, from the strongest: read before everything else; after what administrators
/// write; after everything else.
pub const GENERATED: [&str; 3] = [
    "/run/sysmaster/generator.early",
    "/run/sysmaster/generator",
    "/run/sysmaster/generator.late",
];

impl Config {
    /// The directories searched for units, the strongest first: `UnitPath=` with those of the
    /// generators. The middle one of these goes before the first directory below `/usr`.
    pub fn search_path(&self) -> Vec<PathBuf> {
        let [early, normal, late] = GENERATED.map(PathBuf::from);
        let mut path = vec![early];
        path.extend(self.unit_path.iter().cloned());
        let vendor = path.iter().position(|dir| dir.starts_with("/usr"));
        path.insert(vendor.unwrap_or(path.len()), normal);
        path.push(late);
        path
    }

    /// Reads the settings below `root` (`/` on a running machine).
    pub fn read(root: &Path) -> Self {
        let mut config = Self::default();
        let directories = DIRECTORIES.map(|path| root.join(path.trim_start_matches('/')));
        let mut files = Vec::new();
        files.extend(
            directories
                .iter()
                .rev()
                .map(|d| d.join("system.conf"))
                .find(|path| path.is_file()),
        );
        files.extend(drop_ins(&directories));
        for path in files {
            let name = path.display().to_string();
            match platform::files::read_file(&path, MAX_FILE) {
                Ok(bytes) => config.add(&name, &bytes),
                Err(error) => {
                    config
                        .findings
                        .push(format!("{name}: found {error}, expected a text file"));
                }
            }
        }
        config
    }

    /// Applies the contents of one file.
    pub fn add(&mut self, name: &str, bytes: &[u8]) {
        let mut file = UnitFile::new();
        let mut findings: Vec<Finding> = Vec::new();
        file.add(0, bytes, &mut findings);
        for entry in file.entries() {
            if let Err(text) = self.set(&entry) {
                findings.push(entry.finding(Severity::Warning, text));
            }
        }
        let files = [name.to_owned()];
        let lines = findings.iter().map(|found| describe(found, &files));
        self.findings.extend(lines);
    }

    fn set(&mut self, entry: &Entry<'_>) -> Result<(), String> {
        if entry.section != "Manager" {
            return Err(format!(
                "found section [{}], expected [Manager]",
                entry.section
            ));
        }
        let text = entry.value;
        match entry.key {
            "Strict" => self.strict = boolean(text)?,
            "DefaultTimeoutStartSec" => self.timeout_start = limit(span(text)?),
            "DefaultTimeoutStopSec" => self.timeout_stop = limit(span(text)?),
            "DefaultRestartSec" => self.restart_delay = span(text)?,
            "DefaultStartLimitIntervalSec" => self.start_limit_interval = span(text)?,
            "DefaultStartLimitBurst" => {
                self.start_limit_burst = text
                    .parse()
                    .map_err(|_| format!("found {}, expected a number", quote(text)))?;
            }
            "DefaultEnvironment" if text.is_empty() => self.environment.clear(),
            "DefaultEnvironment" => self.environment.extend(environment(text)?),
            "UnitPath" if text.is_empty() => self.unit_path.clear(),
            "UnitPath" => self.unit_path = paths(text)?,
            "GeneratorPath" if text.is_empty() => self.generator_path.clear(),
            "GeneratorPath" => self.generator_path = paths(text)?,
            "BuiltinGenerators" => self.builtin_generators = builtin(text)?,
            "ShowStatus" => self.show_status = Some(boolean(text)?),
            "LogLevel" => self.log_level = log_level(text)?,
            "ShutdownTimeoutSec" => {
                self.shutdown_timeout = span(text)?.clamp(1_000_000, 3_600_000_000);
            }
            "Helpers" => {
                self.in_process = match text {
                    "processes" => false,
                    "in-process" => true,
                    _ => {
                        return Err(format!(
                            "found {}, expected processes or in-process",
                            quote(text)
                        ));
                    }
                }
            }
            other => {
                if !self.watchdog.set(other, text)? {
                    return Err(format!(
                        "found {other}=, which is no setting of the manager"
                    ));
                }
            }
        }
        Ok(())
    }

    /// What the helpers need of it.
    pub fn for_helpers(&self, cgroup_root: &str) -> HelperConfig {
        HelperConfig {
            strict: self.strict,
            timeout_start: self.timeout_start,
            timeout_stop: self.timeout_stop,
            restart_delay: self.restart_delay,
            environment: self.environment.clone(),
            cgroup_root: cgroup_root.into(),
            fault: false,
        }
    }
}

/// The drop-ins of all directories: of those with the same name the strongest, sorted by name.
fn drop_ins(directories: &[PathBuf]) -> Vec<PathBuf> {
    let mut found: Vec<(std::ffi::OsString, PathBuf)> = Vec::new();
    for directory in directories.iter().rev() {
        let Ok(entries) = std::fs::read_dir(directory.join("system.conf.d")) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let is_conf = name.to_str().is_some_and(|name| name.ends_with(".conf"));
            if is_conf && !found.iter().any(|(known, _)| *known == name) {
                found.push((name, entry.path()));
            }
        }
    }
    found.sort();
    found.into_iter().map(|(_, path)| path).collect()
}

fn boolean(text: &str) -> Result<bool, String> {
    value::boolean(text).map_err(|error| error.to_string())
}

fn span(text: &str) -> Result<Micros, String> {
    value::time::span(text).map_err(|error| error.to_string())
}

/// A time limit of 0 is none, as in systemd.
fn limit(span: Micros) -> Micros {
    if span == 0 { Micros::MAX } else { span }
}

fn environment(text: &str) -> Result<Vec<String>, String> {
    let words = Words::new(text).collect::<Result<Vec<String>, _>>();
    let words = words.map_err(|error| error.to_string())?;
    for word in &words {
        value::environ::assignment(word).map_err(|error| error.to_string())?;
    }
    Ok(words)
}

fn paths(text: &str) -> Result<Vec<PathBuf>, String> {
    let paths: Vec<PathBuf> = text
        .split([' ', ':'])
        .filter(|part| !part.is_empty())
        .map(PathBuf::from)
        .collect();
    match paths.iter().find(|path| !path.is_absolute()) {
        Some(path) => Err(format!(
            "found {}, expected an absolute path",
            quote(&path.to_string_lossy())
        )),
        None => Ok(paths),
    }
}

fn builtin(text: &str) -> Result<Vec<String>, String> {
    let names: Vec<&str> = text.split_whitespace().collect();
    match names.iter().find(|name| !BUILTIN_GENERATORS.contains(name)) {
        Some(name) => Err(format!(
            "found {}, expected some of {}",
            quote(name),
            BUILTIN_GENERATORS.join(", ")
        )),
        None => Ok(names.into_iter().map(str::to_owned).collect()),
    }
}

fn log_level(text: &str) -> Result<u8, String> {
    const NAMES: [&str; 8] = [
        "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
    ];
    let by_name = NAMES.iter().position(|name| *name == text).map(|n| n as u8);
    by_name
        .or_else(|| text.parse().ok().filter(|level| *level <= 7))
        .ok_or_else(|| {
            format!(
                "found {}, expected one of {} or 0 to 7",
                quote(text),
                NAMES.join(", ")
            )
        })
}

/// What the kernel's command line asks of the manager.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// The unit to boot to, if not `default.target`. The last one said counts.
    pub unit: Option<String>,
    /// Show less on the console.
    pub quiet: bool,
}

impl CommandLine {
    /// Reads it. Words we do not know are somebody else's.
    pub fn read(text: &str) -> Self {
        let mut line = Self::default();
        for word in text.split_ascii_whitespace() {
            match word {
                "quiet" => line.quiet = true,
                "single" | "s" | "S" | "1" | "rescue" => line.unit = Some("rescue.target".into()),
                "emergency" | "-b" => line.unit = Some("emergency.target".into()),
                "2" | "3" | "4" => line.unit = Some("multi-user.target".into()),
                "5" => line.unit = Some("graphical.target".into()),
                _ => {
                    let unit = word
                        .strip_prefix("sysmaster.unit=")
                        .or_else(|| word.strip_prefix("systemd.unit="));
                    if let Some(unit) = unit.filter(|unit| !unit.is_empty()) {
                        line.unit = Some(unit.into());
                    }
                }
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read() {
        let mut config = Config::default();
        config.add(
            "system.conf",
            b"[Manager]\nStrict=yes\nDefaultTimeoutStartSec=5s\nDefaultTimeoutStopSec=0\n\
              DefaultEnvironment=A=1 \"B=x y\"\nUnitPath=/a:/b /c\nLogLevel=warning\n\
              ShowStatus=no\nHelpers=in-process\nShutdownTimeoutSec=1d\n",
        );
        assert_eq!(config.findings, Vec::<String>::new());
        assert!(config.strict && config.in_process);
        assert_eq!(
            (config.timeout_start, config.timeout_stop),
            (5_000_000, u64::MAX)
        );
        assert_eq!(config.environment, ["A=1", "B=x y"]);
        assert_eq!(config.unit_path, ["/a", "/b", "/c"].map(PathBuf::from));
        assert_eq!((config.log_level, config.show_status), (4, Some(false)));
        assert_eq!(config.shutdown_timeout, 3_600_000_000);
    }

    #[test]
    fn generated_units_go_between_the_administrators_and_the_vendors() {
        let mut config = Config::default();
        let path = config.search_path();
        let at = |dir: &str| path.iter().position(|p| *p == Path::new(dir)).unwrap();
        assert_eq!(at("/run/sysmaster/generator.early"), 0);
        assert_eq!(
            at("/run/sysmaster/generator"),
            1 + at("/run/sysmaster/system")
        );
        assert_eq!(at("/run/sysmaster/generator.late"), path.len() - 1);
        config.unit_path = vec!["/etc/u".into()];
        assert_eq!(config.search_path().len(), 4);
    }

    #[test]
    fn what_cannot_be_used_is_reported_and_changes_nothing() {
        let mut config = Config::default();
        config.add(
            "f",
            b"[Manager]\nStrict=perhaps\nDefaultRestartSec=soon\nUnitPath=units\nColour=red\n\
              LogLevel=9\n[Other]\nA=b\nDefaultEnvironment\n",
        );
        let lines: Vec<&str> = config
            .findings
            .iter()
            .filter_map(|text| text.split(": ").next())
            .collect();
        for line in ["f:2", "f:3", "f:4", "f:5", "f:6", "f:8", "f:9"] {
            assert!(
                lines.contains(&line),
                "{line} is not in {:?}",
                config.findings
            );
        }
        assert_eq!(
            Config {
                findings: Vec::new(),
                ..config
            },
            Config::default()
        );
    }

    #[test]
    fn files_are_found_and_drop_ins_come_after() {
        let root = tempdir();
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(
            "usr/lib/sysmaster/system.conf",
            "[Manager]\nStrict=yes\nLogLevel=0\n",
        );
        write("etc/sysmaster/system.conf", "[Manager]\nLogLevel=1\n");
        write(
            "usr/lib/sysmaster/system.conf.d/10-a.conf",
            "[Manager]\nLogLevel=2\n",
        );
        write(
            "etc/sysmaster/system.conf.d/10-a.conf",
            "[Manager]\nLogLevel=3\n",
        );
        write(
            "run/sysmaster/system.conf.d/05-b.conf",
            "[Manager]\nLogLevel=7\n",
        );
        write(
            "etc/sysmaster/system.conf.d/99.txt",
            "[Manager]\nLogLevel=7\n",
        );
        let config = Config::read(&root);
        assert_eq!((config.log_level, config.strict), (3, false));
        std::fs::remove_dir_all(root).unwrap();
    }

    fn tempdir() -> PathBuf {
        let id = platform::random::bits128();
        let path = std::env::temp_dir().join(format!("sysmaster-config-{id:x}"));
        std::fs::create_dir(&path).unwrap();
        path
    }

    #[test]
    fn the_command_line_chooses_the_target() {
        let unit = |text| CommandLine::read(text).unit;
        assert_eq!(unit("root=/dev/vda ro quiet"), None);
        assert!(CommandLine::read("root=/dev/vda ro quiet").quiet);
        assert_eq!(unit("single").as_deref(), Some("rescue.target"));
        assert_eq!(unit("-b").as_deref(), Some("emergency.target"));
        assert_eq!(unit("systemd.unit=a.target").as_deref(), Some("a.target"));
        assert_eq!(
            unit("s sysmaster.unit=b.target").as_deref(),
            Some("b.target")
        );
        assert_eq!(unit("sysmaster.unit="), None);
    }
}
