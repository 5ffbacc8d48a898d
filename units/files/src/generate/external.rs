//! Generators that are programs of their own: found, run all at once, waited for.

use super::{Place, TIME_LIMIT};
use crate::loader::index::below;
use platform::poll::Poller;
use platform::{child, clock, process};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use units::collections::Map;

/// The programs in these directories by name: of those with the same name the first counts, and one
/// that is empty or leads to `/dev/null` switches the others off.
pub(super) fn find(root: &Path, path: &[PathBuf]) -> Vec<PathBuf> {
    let mut found: Map<OsString, Option<PathBuf>> = Map::new();
    for dir in path {
        let real = below(root, &dir.to_string_lossy());
        for entry in fs::read_dir(real).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name.as_bytes().starts_with(b".") {
                continue;
            }
            let meta = fs::metadata(entry.path());
            let program = meta.is_ok_and(|meta| {
                meta.is_file() && meta.len() > 0 && meta.permissions().mode() & 0o111 != 0
            });
            found
                .entry(name)
                .or_insert_with(|| program.then(|| entry.path()));
        }
    }
    found.into_iter().filter_map(|(_, path)| path).collect()
}

/// Runs programs until all have ended or the time is over. Returns what is to be said.
pub(super) fn run(root: &Path, programs: &[PathBuf], first: bool) -> Vec<String> {
    if programs.is_empty() {
        return Vec::new();
    }
    let mut said = Vec::new();
    let Ok(mut poller) = Poller::new(&[]) else {
        return vec!["generators are not run: no way to wait for them".into()];
    };
    let arguments = [Place::Normal, Place::Early, Place::Late]
        .map(|place| below(root, place.directory()).into_os_string());
    let environment = environment(root, first);
    let mut running: Map<u32, &PathBuf> = Map::new();
    for program in programs {
        match start(program, &arguments, &environment) {
            Ok(pid) => drop(running.insert(pid, program)),
            Err(error) => said.push(format!("{}: {error}", program.display())),
        }
    }
    let deadline = clock::now() + TIME_LIMIT;
    while !running.is_empty() {
        while let Ok(Some(exit)) = process::peek_exit() {
            let _ = process::reap(exit.proc.pid);
            if let Some(program) = running.remove(&exit.proc.pid) {
                said.extend(complaint(program, exit.status));
            }
        }
        if running.is_empty() {
            break;
        }
        if clock::now() >= deadline {
            for (pid, program) in std::mem::take(&mut running) {
                let _ = process::kill_group(pid, platform::signal::SIGKILL);
                let seconds = TIME_LIMIT / 1_000_000;
                said.push(format!(
                    "{} did not end within {seconds} s: killed",
                    program.display()
                ));
            }
            break;
        }
        if poller.wait(Some(deadline), &mut Vec::new()).is_err() {
            break;
        }
    }
    said
}

/// Starts one, in a session of its own that ends with us.
fn start(program: &Path, arguments: &[OsString], environment: &[String]) -> io::Result<u32> {
    let path = platform::files::c_path(program)?;
    let mut words = child::Strings::new();
    words.push(program.as_os_str().as_bytes())?;
    for argument in arguments {
        words.push(argument.as_bytes())?;
    }
    let mut variables = child::Strings::new();
    for (name, value) in std::env::vars_os() {
        variables.push(&[name.as_bytes(), b"=", value.as_bytes()].concat())?;
    }
    for variable in environment {
        variables.push(variable.as_bytes())?;
    }
    let spawned = process::spawn(None, |_| {
        child::close_from(3, &[]);
        let _ = child::reset_signals(false);
        let _ = child::new_session();
        let _ = child::die_with_parent(platform::signal::SIGKILL);
        let error = child::execute(&path, &mut words, &mut variables);
        error.raw_os_error().map_or(127, |_| 127)
    })?;
    Ok(spawned.pid)
}

fn complaint(program: &Path, status: i32) -> Option<String> {
    use units::state::Exit;
    let how = match Exit::from_wait(status)? {
        Exit::Code(0) => return None,
        Exit::Code(127) => "cannot be executed".to_owned(),
        Exit::Code(code) => format!("failed with status {code}"),
        Exit::Signal(signal) | Exit::Core(signal) => {
            format!("was killed by {}", units::value::signal::name(signal))
        }
    };
    Some(format!("{} {how}", program.display()))
}

/// What systemd tells generators about where they run.
fn environment(root: &Path, first: bool) -> Vec<String> {
    let initrd = below(root, "/etc/initrd-release").exists();
    let machine = units::facts::Machine::new(root);
    let mut list = vec![
        "SYSTEMD_SCOPE=system".to_owned(),
        format!("SYSTEMD_IN_INITRD={}", u8::from(initrd)),
        format!("SYSTEMD_FIRST_BOOT={}", u8::from(first)),
        format!("SYSTEMD_ARCHITECTURE={}", machine.architecture()),
    ];
    if let Some(virtualization) = crate::loader::virtualization() {
        list.push(format!("SYSTEMD_VIRTUALIZATION={virtualization}"));
    }
    list
}
