//! `upgrade` and `daemon-reexec`: another version of ours is tried while the machine runs.
//!
//! What is to be tried is looked at before anything happens: an executable for this machine, one of
//! ours, of the same generation. It is copied beside what is installed (`sysmaster.new`), written out
//! to the disk, and the manager is asked; whether it takes its place is decided there. The order is
//! helpers, manager, init. init has no trial: it is renamed into its place, checks itself on a copy of
//! its state in a child, and executes itself; if it does not, the file from before is put back.

use crate::client::ATTEMPTS;
use crate::{Fault, Run, exit, json};
use platform::clock;
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use units::wire::MARK;
use units::wire::control::{Reply, Request, UpgradeLine};

/// Where we are installed.
const LIBRARY: &str = "/usr/lib/sysmaster";
/// The executable of process 1.
const INIT: &str = "/proc/1/exe";
/// A trial unless something else is said, in seconds.
const TRIAL: u16 = 120;
/// How often the state of a trial is asked for.
const LOOK: Duration = Duration::from_millis(200);
/// How long init may take to become another: it gives its check five seconds.
const INIT_PATIENCE: u64 = 8_000_000;

/// `upgrade`.
pub fn upgrade(run: &mut Run<'_, '_>, words: &[String]) -> Result<i32, Fault> {
    let given = Path::new(words.first().map_or("", String::as_str));
    let only = run.options.only.clone();
    let directory = given.is_dir();
    let of = |name: &str| {
        if directory {
            given.join(name)
        } else {
            given.to_owned()
        }
    };
    if only == "init" {
        return upgrade_init(run, &of("init"));
    }
    let (file, place) = match only.as_str() {
        "" | "sysmaster" => (of("sysmaster"), PathBuf::from(LIBRARY).join("sysmaster")),
        unit_type => (
            of(unit_type),
            PathBuf::from(LIBRARY).join("helpers").join(unit_type),
        ),
    };
    let init = of("init");
    let with_init = directory && only.is_empty() && init.is_file();
    check(&file, true)?;
    if with_init {
        check(&init, false)?;
    }
    if let Some(left) = state(run)?.filter(|line| line.state == "trial") {
        return Err(Fault::failed(on_trial(&left)));
    }
    put_beside(&file, &place)?;
    let seconds = run.options.trial.unwrap_or(TRIAL);
    begin(run, &Request::Upgrade { only, seconds }, &place)?;
    if run.options.no_block {
        return Ok(exit::OK);
    }
    let code = wait(run)?;
    if with_init && code == exit::OK {
        return upgrade_init(run, &init);
    }
    Ok(code)
}

/// Has a trial begun. A manager that is replaced before it answers has begun it or not: it has if the trial runs, or
/// if what is tried lies there no longer.
fn begin(run: &mut Run<'_, '_>, request: &Request, place: &Path) -> Result<(), Fault> {
    for _ in 0..ATTEMPTS {
        if run.client.follow(request, &mut |_| Ok(()))? {
            return Ok(());
        }
        let runs = state(run)?.is_some_and(|line| line.state == "trial");
        if runs || !place.with_extension("new").exists() {
            return Ok(());
        }
    }
    let text = "the manager is replaced again and again; nothing was tried";
    Err(Fault::failed(text))
}

/// `daemon-reexec`: what is installed is tried, and done when the next manager answers.
pub fn reexec(run: &mut Run<'_, '_>) -> Result<i32, Fault> {
    let place = PathBuf::from(LIBRARY).join("sysmaster");
    if place.is_file() {
        check(&place, true)?;
    }
    // It may be gone before it has answered; that is what was asked for.
    run.client.follow(&Request::Reexec, &mut |_| Ok(()))?;
    let info = run.manager()?;
    if run.options.json {
        run.print(&json::manager(&info));
        return Ok(exit::OK);
    }
    run.say(&format!(
        "manager {} ({}) answers, pid {}",
        info.version, info.build, info.pid
    ));
    if let Some(line) = state(run)?.filter(|line| line.state == "trial") {
        run.say(&on_trial(&line));
    }
    Ok(exit::OK)
}

fn on_trial(line: &UpgradeLine) -> String {
    let left = line.left.div_ceil(1_000_000);
    format!("on trial for {left} s more: {}", line.what)
}

/// How the last upgrade stands; `None`: the manager knows nothing of upgrades.
pub fn state(run: &mut Run<'_, '_>) -> Result<Option<UpgradeLine>, Fault> {
    let replies = run.client.ask(&Request::UpgradeState)?;
    Ok(replies.into_iter().find_map(|reply| match reply {
        Reply::Upgrade(line) => Some(line),
        _ => None,
    }))
}

/// Waits for the end of the trial.
fn wait(run: &mut Run<'_, '_>) -> Result<i32, Fault> {
    let line = loop {
        match state(run)? {
            Some(line) if line.state == "trial" => std::thread::sleep(LOOK),
            line => break line.unwrap_or_default(),
        }
    };
    let good = line.state == "committed";
    if run.options.json {
        run.print(&json::upgrade(&line));
    } else if good {
        run.say(&format!("{}: the new version is installed", line.what));
    } else {
        let _ = writeln!(
            run.screen.err,
            "sctl: the upgrade of {} was taken back: {}\n  more: sctl crashes",
            line.what, line.why
        );
    }
    Ok(if good { exit::OK } else { exit::FAILURE })
}

/// Becomes another init; there is no way back from that.
fn upgrade_init(run: &mut Run<'_, '_>, file: &Path) -> Result<i32, Fault> {
    check(file, false)?;
    let place = fs::read_link(INIT).map_err(|error| trouble(Path::new(INIT), &error))?;
    let mut places = vec![(file.to_owned(), place.clone())];
    let worker = file.with_file_name("init-worker");
    if worker.is_file() {
        places.push((worker, PathBuf::from(LIBRARY).join("init-worker")));
    }
    for (from, to) in &places {
        put_beside(from, to)?;
        let before = to.with_extension("before");
        let _ = fs::remove_file(&before);
        fs::hard_link(to, &before).map_err(|error| trouble(&before, &error))?;
    }
    for (_, to) in &places {
        fs::rename(to.with_extension("new"), to).map_err(|error| trouble(to, &error))?;
    }
    let seconds = 0;
    let only = "init".to_owned();
    let asked = run.client.ask(&Request::Upgrade { only, seconds });
    let done = asked.is_ok() && became(&place);
    for (_, to) in &places {
        let before = to.with_extension("before");
        let _ = if done {
            fs::remove_file(&before)
        } else {
            fs::rename(&before, to)
        };
    }
    asked?;
    if !done {
        let text = "init has refused it and goes on as before; its reason is in the log";
        return Err(trouble(file, &text));
    }
    run.say("init: the new version runs");
    Ok(exit::OK)
}

/// Waits until process 1 runs from this file.
fn became(place: &Path) -> bool {
    let identity = |path: &Path| {
        fs::metadata(path)
            .map(|found| (found.dev(), found.ino()))
            .ok()
    };
    let limit = clock::now() + INIT_PATIENCE;
    while clock::now() < limit {
        if identity(Path::new(INIT)) == identity(place) {
            return true;
        }
        std::thread::sleep(LOOK / 4);
    }
    false
}

/// Whether a file can be tried at all.
fn check(file: &Path, ours: bool) -> Result<(), Fault> {
    /// Class, byte order and version of the format; and the machine.
    fn kind(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
        Some((bytes.get(..7)?, bytes.get(18..20)?)).filter(|_| bytes.starts_with(b"\x7fELF"))
    }
    let refused = |what: &str| Err(trouble(file, &[what, "; nothing was done"].concat()));
    let bytes = fs::read(file).map_err(|error| trouble(file, &error))?;
    let own = fs::read("/proc/self/exe").unwrap_or_default();
    let found = kind(&bytes);
    if found.is_none() {
        return refused("this is no executable");
    }
    if found != kind(&own) {
        return refused("this is an executable for another kind of machine");
    }
    // The last two bytes are the generation.
    let family = MARK.get(..MARK.len() - 2).unwrap_or_default();
    let mut marks = bytes
        .windows(MARK.len())
        .filter(|at| at.starts_with(family));
    if !ours || marks.any(|mark| mark == MARK) {
        return Ok(());
    }
    refused("this is no sysmaster whose stores and channels are of this generation")
}

/// Copies a file beside its place, and to the disk.
fn put_beside(file: &Path, place: &Path) -> Result<(), Fault> {
    let beside = place.with_extension("new");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(trouble(&beside, &error)),
        _ => {}
    }
    let copy = || {
        let bytes = fs::read(file)?;
        let mut to = fs::File::from(platform::files::create_new(&beside, 0o700)?);
        to.write_all(&bytes)?;
        // Everybody may ask, whatever the mask of who upgrades.
        to.set_permissions(fs::Permissions::from_mode(0o755))?;
        to.sync_all()
    };
    copy().map_err(|error| {
        let _ = fs::remove_file(&beside);
        trouble(&beside, &error)
    })
}

fn trouble(path: &Path, error: &dyn std::fmt::Display) -> Fault {
    Fault::failed(format!("{}: {error}", path.display()))
}
