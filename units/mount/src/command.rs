//! The commands, and the children that carry them out.
//!
//! `mount` and `umount` are the system's own, util-linux's or busybox's: they know about helpers of file
//! systems, labels and loop devices. Nothing here waits.

use crate::config::Config;
use crate::record::State;
use platform::cgroup::Group;
use platform::{child, clock, fd, process};
use std::ffi::CStr;
use std::fs::DirBuilder;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use units::journal::{Attempt, SetupError, SlotId, Slots};
use units::state::ProcId;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Mount it.
    Mount,
    /// Mount it with other options.
    Remount,
    /// Unmount what is on top.
    Unmount,
}

/// Where the programs may be.
const MOUNT: [&CStr; 4] = [
    c"/usr/bin/mount",
    c"/bin/mount",
    c"/usr/sbin/mount",
    c"/sbin/mount",
];
const UMOUNT: [&CStr; 4] = [
    c"/usr/bin/umount",
    c"/bin/umount",
    c"/usr/sbin/umount",
    c"/sbin/umount",
];

/// The program's arguments, its name first.
pub fn arguments(config: &Config, action: Action) -> Vec<String> {
    let mut words: Vec<&str> = Vec::with_capacity(10);
    let mut options = passed_on(&config.options);
    match action {
        Action::Unmount => {
            words.extend(["umount", &config.point]);
            words.extend(config.lazy.then_some("-l"));
            words.extend(config.force.then_some("-f"));
        }
        Action::Mount | Action::Remount => {
            words.extend(["mount", &config.what, &config.point]);
            if action == Action::Remount {
                options = match options.as_str() {
                    "" => "remount".into(),
                    more => ["remount,", more].concat(),
                };
            }
            words.extend(config.sloppy.then_some("-s"));
            words.extend(config.read_write_only.then_some("-w"));
            if !config.kind.is_empty() {
                words.extend(["-t", &config.kind]);
            }
            if !options.is_empty() {
                words.extend(["-o", &options]);
            }
        }
    }
    words.into_iter().map(String::from).collect()
}

/// Options without those that are notes to an init system: not every `mount` knows that they are none of
/// its business.
fn passed_on(options: &str) -> String {
    let ours = |option: &&str| {
        !option.is_empty()
            && !option.starts_with("x-")
            && !matches!(*option, "nofail" | "noauto" | "auto" | "_netdev")
    };
    let kept: Vec<&str> = options.split(',').filter(ours).collect();
    kept.join(",")
}

/// A process that was made.
#[derive(Debug)]
pub struct Born {
    /// Its number, start time unknown yet: it is in the slot soon.
    pub proc: ProcId,
    /// Its slot.
    pub slot: SlotId,
    /// What it says, for people.
    pub said: Option<OwnedFd>,
}

/// Forks a command. The error is for people.
pub fn spawn(
    config: &Config,
    action: Action,
    root: &str,
    slots: &mut Slots,
    attempt: &Attempt,
) -> Result<Born, String> {
    let group = match root {
        "" => None,
        root => Group::create(&PathBuf::from(root).join(&config.cgroup)).ok(),
    };
    let words = arguments(config, action);
    let mut strings = child::Strings::new();
    for word in &words {
        strings.push(word.as_bytes()).map_err(|e| e.to_string())?;
    }
    let pipe = fd::pipe().ok();
    let slot = slots
        .claim(attempt)
        .map_err(|e| format!("the journal: {e}"))?;
    let before = clock::now();
    let made = {
        let slots = &*slots;
        let (writer, group) = (pipe.as_ref().map(|(_, writer)| writer), group.as_ref());
        process::spawn(group.map(AsFd::as_fd), |in_group| {
            let own = process::own_born_after(before);
            if !slots.fill(slot, own.into()) {
                return 255;
            }
            if let Some(group) = group.filter(|_| !in_group) {
                let _ = group.attach(0);
            }
            let failed = be_born(config, action, writer, &mut strings, || slots.started(slot));
            let error = failed.raw_os_error().unwrap_or(0);
            slots.failed(slot, SetupError { step: 1, error });
            127
        })
    };
    match made {
        Ok(spawned) => Ok(Born {
            proc: ProcId {
                pid: spawned.pid,
                start: 0,
            },
            slot,
            said: pipe.map(|(reader, _)| reader),
        }),
        Err(error) => {
            slots.release(slot);
            Err(format!("fork: {error}"))
        }
    }
}

/// The child's life until its program begins; returns only if it could not.
fn be_born(
    config: &Config,
    action: Action,
    writer: Option<&OwnedFd>,
    words: &mut child::Strings,
    begin: impl FnOnce(),
) -> io::Error {
    let _ = child::new_session();
    // The daemon of a file system in user space lives on, and is nothing of ours.
    let _ = child::set_oom_score(0);
    child::take_null_streams();
    if let Some(writer) = writer {
        let _ = child::install(writer, 1);
        let _ = child::install(writer, 2);
    }
    child::close_from(3, &[]);
    if child::reset_signals(true).is_err() {
        return io::Error::last_os_error();
    }
    if action == Action::Mount
        && let Err(error) = make_point(config)
    {
        return error;
    }
    child::set_umask(0o022);
    let mut environment = child::Strings::new();
    let _ = environment.push(b"PATH=/usr/sbin:/usr/bin:/sbin:/bin");
    let _ = environment.push(b"LC_ALL=C");
    begin();
    let programs = match action {
        Action::Unmount => &UMOUNT,
        Action::Mount | Action::Remount => &MOUNT,
    };
    let mut error = io::Error::from(io::ErrorKind::NotFound);
    for program in programs {
        error = child::execute(program, words, &mut environment);
        if error.kind() != io::ErrorKind::NotFound {
            break;
        }
    }
    error
}

/// Makes the directory to mount on, or the file where a file is to be bound.
fn make_point(config: &Config) -> io::Result<()> {
    let point = Path::new(&config.point);
    let bind = ["bind", "rbind"]
        .iter()
        .any(|name| units::mounts::has_option(&config.options, name));
    child::set_umask(0);
    let mut directories = DirBuilder::new();
    directories.recursive(true).mode(config.directory_mode);
    if bind && Path::new(&config.what).is_file() {
        directories.create(point.parent().unwrap_or(point))?;
        let made = platform::files::create_new(point, 0o644).map(drop);
        return made.or_else(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Ok(()),
            _ => Err(error),
        });
    }
    match directories.create(point) {
        // Whether it can be mounted on is for mount to say.
        Err(_) if point.exists() => Ok(()),
        other => other,
    }
}

/// Why a child could not even begin, for people.
pub fn explain(config: Option<&Config>, state: State, error: i32) -> String {
    let reason = io::Error::from_raw_os_error(error);
    let point = config.map_or("", |config| &config.point);
    match state {
        State::Mounting if reason.kind() != io::ErrorKind::NotFound => {
            format!("{point} cannot be made, or mount cannot be executed: {reason}")
        }
        State::Unmounting => format!("umount cannot be executed: {reason}"),
        _ => format!("mount cannot be executed: {reason}"),
    }
}
