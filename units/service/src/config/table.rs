//! The directives of `[Service]`: name, and what takes its value.

use super::streams::{input, output};
use super::{Draft, Refusal};
use crate::context::{Context, Directories, Preserve, Sort, WorkingDirectory};
use crate::policy::{Access, KillMode, Kind, NEVER, Restart, Step, TimeoutMode};
use units::section::Taken;
use units::state::Micros;
use units::value::exit::ExitSet;
use units::value::words::Words;
use units::value::{self, ValueError, environ, exec, rlimit, signal, time};

type Handler = fn(&mut Draft<'_>, &str, &str) -> Taken;

/// What takes the value of a directive of `[Service]`; `None` if we do not carry it out.
pub(super) fn find(key: &str) -> Option<Handler> {
    if key.starts_with("Limit") && rlimit::Resource::from_key(key).is_some() {
        return Some(limit);
    }
    let at = TABLE.binary_search_by_key(&key, |(name, _)| name).ok()?;
    TABLE.get(at).map(|(_, handler)| *handler)
}

/// Sorted by name, which a test checks.
pub(super) static TABLE: &[(&str, Handler)] = &[
    ("CacheDirectory", |d, _, v| directory(d, Sort::Cache, v)),
    ("CacheDirectoryMode", |d, _, v| {
        directory_mode(d, Sort::Cache, v)
    }),
    ("ConfigurationDirectory", |d, _, v| {
        directory(d, Sort::Configuration, v)
    }),
    ("ConfigurationDirectoryMode", |d, _, v| {
        directory_mode(d, Sort::Configuration, v)
    }),
    ("Delegate", |d, _, v| {
        // A list of controllers delegates too; which ones is not looked at yet.
        d.context.delegate = value::boolean(v).unwrap_or(true);
        Ok(())
    }),
    ("Environment", environment),
    ("EnvironmentFile", environment_file),
    ("ExecCondition", |d, _, v| commands(d, Step::Condition, v)),
    ("ExecReload", |d, _, v| commands(d, Step::Reload, v)),
    ("ExecStart", |d, _, v| commands(d, Step::Start, v)),
    ("ExecStartPost", |d, _, v| commands(d, Step::StartPost, v)),
    ("ExecStartPre", |d, _, v| commands(d, Step::StartPre, v)),
    ("ExecStop", |d, _, v| commands(d, Step::Stop, v)),
    ("ExecStopPost", |d, _, v| commands(d, Step::StopPost, v)),
    ("FileDescriptorStoreMax", |d, _, v| {
        let max = value::unsigned32(v)?;
        d.context.store_max = u16::try_from(max).unwrap_or(u16::MAX);
        Ok(())
    }),
    ("FileDescriptorStorePreserve", |d, _, v| {
        d.context.store_preserve = preserve(v)?;
        Ok(())
    }),
    ("FinalKillSignal", |d, _, v| {
        put(&mut d.policy.kill.last, signal::signal(v))
    }),
    ("Group", |d, _, v| name(d, v, |c| &mut c.group)),
    ("GuessMainPID", |d, _, v| {
        d.policy.no_guess = !value::boolean(v)?;
        Ok(())
    }),
    ("IgnoreSIGPIPE", |d, _, v| {
        put(&mut d.context.ignore_pipe, value::boolean(v))
    }),
    ("KillMode", |d, _, v| {
        one_of(&mut d.policy.kill.mode, v, KILL_MODES)
    }),
    ("KillSignal", |d, _, v| {
        put(&mut d.policy.kill.signal, signal::signal(v))
    }),
    ("LogsDirectory", |d, _, v| directory(d, Sort::Logs, v)),
    ("LogsDirectoryMode", |d, _, v| {
        directory_mode(d, Sort::Logs, v)
    }),
    ("Nice", |d, _, v| {
        let nice = value::signed(v, -20, 19, "a nice level from -20 to 19")?;
        d.context.nice = i8::try_from(nice).ok();
        Ok(())
    }),
    ("NoNewPrivileges", |d, _, v| {
        put(&mut d.context.no_new_privileges, value::boolean(v))
    }),
    ("NonBlocking", |d, _, v| {
        put(&mut d.context.non_blocking, value::boolean(v))
    }),
    ("NotifyAccess", |d, _, v| {
        let mut access = Access::None;
        one_of(&mut access, v, ACCESSES)?;
        d.set.access = Some(access);
        Ok(())
    }),
    ("OOMScoreAdjust", |d, _, v| {
        let score = value::signed(v, -1000, 1000, "a score from -1000 to 1000")?;
        d.context.oom = i16::try_from(score).ok();
        Ok(())
    }),
    ("PIDFile", pid_file),
    ("PassEnvironment", |d, _, v| names(d, v, |c| &mut c.pass)),
    ("ReloadSignal", |d, _, v| {
        put(&mut d.policy.reload_signal, signal::signal(v))
    }),
    ("RemainAfterExit", |d, _, v| {
        put(&mut d.policy.remain, value::boolean(v))
    }),
    ("Restart", |d, _, v| {
        one_of(&mut d.policy.again.restart, v, RESTARTS)
    }),
    ("RestartForceExitStatus", |d, _, v| {
        exits(&mut d.policy.again.force, v)
    }),
    ("RestartKillSignal", |d, _, v| {
        d.policy.kill.restart = Some(signal::signal(v)?);
        Ok(())
    }),
    ("RestartMaxDelaySec", |d, _, v| {
        put(&mut d.policy.again.max, time::span(v))
    }),
    ("RestartPreventExitStatus", |d, _, v| {
        exits(&mut d.policy.again.prevent, v)
    }),
    ("RestartSec", |d, _, v| {
        put(&mut d.policy.again.delay, time::span(v))
    }),
    ("RestartSteps", |d, _, v| {
        put(&mut d.policy.again.steps, value::unsigned32(v))
    }),
    ("RootDirectory", |d, _, v| {
        d.context.root = match v {
            "" | "/" => None,
            path => Some(value::absolute_path(&d.expand(path)?)?.into()),
        };
        Ok(())
    }),
    ("RuntimeDirectory", |d, _, v| directory(d, Sort::Runtime, v)),
    ("RuntimeDirectoryMode", |d, _, v| {
        directory_mode(d, Sort::Runtime, v)
    }),
    ("RuntimeDirectoryPreserve", |d, _, v| {
        d.context.preserve = preserve(v)?;
        Ok(())
    }),
    ("RuntimeMaxSec", |d, _, v| {
        put(&mut d.policy.times.runtime, limit_of_time(v))
    }),
    ("SendSIGHUP", |d, _, v| {
        put(&mut d.policy.kill.hup, value::boolean(v))
    }),
    ("SendSIGKILL", |d, _, v| {
        put(&mut d.policy.kill.kill, value::boolean(v))
    }),
    // The loader's: it decides where the control group is, and what comes first.
    ("Slice", |_, _, _| Ok(())),
    ("Sockets", |_, _, _| Ok(())),
    ("StandardError", |d, _, v| {
        d.context.error = output(d, v)?;
        d.set.error = true;
        Ok(())
    }),
    ("StandardInput", |d, _, v| {
        d.context.input = input(d, v)?;
        Ok(())
    }),
    ("StandardOutput", |d, _, v| {
        d.context.output = output(d, v)?;
        d.set.output = true;
        Ok(())
    }),
    ("StateDirectory", |d, _, v| directory(d, Sort::State, v)),
    ("StateDirectoryMode", |d, _, v| {
        directory_mode(d, Sort::State, v)
    }),
    ("SuccessExitStatus", |d, _, v| {
        exits(&mut d.policy.success, v)
    }),
    ("SupplementaryGroups", |d, _, v| {
        names(d, v, |c| &mut c.groups)
    }),
    // What is logged carries the program's own name: it writes to the kernel's log itself.
    ("SyslogIdentifier", |_, _, _| Ok(())),
    ("TTYPath", |d, _, v| {
        d.context.terminal = match v {
            "" => "".into(),
            path => value::absolute_path(&d.expand(path)?)?.into(),
        };
        Ok(())
    }),
    ("TimeoutAbortSec", |d, _, v| {
        d.set.timeout_abort = Some(limit_of_time(v)?);
        Ok(())
    }),
    ("TimeoutSec", |d, _, v| {
        let span = limit_of_time(v)?;
        d.set.timeout_start = Some(span);
        d.policy.times.stop = span;
        Ok(())
    }),
    ("TimeoutStartFailureMode", |d, _, v| {
        one_of(&mut d.policy.times.start_mode, v, TIMEOUT_MODES)
    }),
    ("TimeoutStartSec", |d, _, v| {
        d.set.timeout_start = Some(limit_of_time(v)?);
        Ok(())
    }),
    ("TimeoutStopFailureMode", |d, _, v| {
        one_of(&mut d.policy.times.stop_mode, v, TIMEOUT_MODES)
    }),
    ("TimeoutStopSec", |d, _, v| {
        put(&mut d.policy.times.stop, limit_of_time(v))
    }),
    ("Type", kind),
    ("UMask", |d, _, v| put(&mut d.context.umask, value::mode(v))),
    ("UnsetEnvironment", |d, _, v| names(d, v, |c| &mut c.unset)),
    ("User", |d, _, v| name(d, v, |c| &mut c.user)),
    ("WatchdogSec", |d, _, v| {
        let span = time::span(v)?;
        d.policy.times.watchdog = if span == NEVER { 0 } else { span };
        Ok(())
    }),
    ("WatchdogSignal", |d, _, v| {
        put(&mut d.policy.kill.watchdog, signal::signal(v))
    }),
    ("WorkingDirectory", working_directory),
];

const KILL_MODES: &[(&str, KillMode)] = &[
    ("control-group", KillMode::ControlGroup),
    ("mixed", KillMode::Mixed),
    ("process", KillMode::Process),
    ("none", KillMode::None),
];
const ACCESSES: &[(&str, Access)] = &[
    ("none", Access::None),
    ("main", Access::Main),
    ("exec", Access::Exec),
    ("all", Access::All),
];
const RESTARTS: &[(&str, Restart)] = &[
    ("no", Restart::No),
    ("on-success", Restart::OnSuccess),
    ("on-failure", Restart::OnFailure),
    ("on-abnormal", Restart::OnAbnormal),
    ("on-watchdog", Restart::OnWatchdog),
    ("on-abort", Restart::OnAbort),
    ("always", Restart::Always),
];
const TIMEOUT_MODES: &[(&str, TimeoutMode)] = &[
    ("terminate", TimeoutMode::Terminate),
    ("abort", TimeoutMode::Abort),
    ("kill", TimeoutMode::Kill),
];
const KINDS: &[(&str, Kind)] = &[
    ("simple", Kind::Simple),
    ("exec", Kind::Exec),
    ("forking", Kind::Forking),
    ("oneshot", Kind::Oneshot),
    ("notify", Kind::Notify),
    ("notify-reload", Kind::NotifyReload),
    // Waiting until nothing else starts is for consoles of interactive systems only.
    ("idle", Kind::Simple),
];

fn put<T>(place: &mut T, value: Result<T, ValueError>) -> Taken {
    *place = value?;
    Ok(())
}

/// One word out of a list.
fn one_of<T: Copy>(place: &mut T, text: &str, words: &[(&str, T)]) -> Taken {
    match words.iter().find(|(word, _)| *word == text) {
        Some((_, value)) => {
            *place = *value;
            Ok(())
        }
        None => {
            let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let found = units::file::quote(text);
            Err(Refusal::Bad(format!(
                "found {found}, expected one of {}",
                names.join(", ")
            )))
        }
    }
}

/// A limit of time: 0 is none, as in systemd's unit files from before there was "infinity".
fn limit_of_time(text: &str) -> Result<Micros, ValueError> {
    time::span(text).map(|span| if span == 0 { NEVER } else { span })
}

fn kind(draft: &mut Draft<'_>, _: &str, text: &str) -> Taken {
    if text == "dbus" {
        draft.policy.kind = Kind::Simple;
        return Err(Refusal::Unsupported(
            "there is no D-Bus here; it is treated as “simple”",
        ));
    }
    one_of(&mut draft.policy.kind, text, KINDS)
}

fn commands(draft: &mut Draft<'_>, step: Step, text: &str) -> Taken {
    let list = exec::commands(text, draft.unit, draft.facts)?;
    if let Some(place) = draft.commands.get_mut(usize::from(step.number())) {
        if text.is_empty() {
            place.clear();
        }
        place.extend(list);
    }
    Ok(())
}

fn preserve(text: &str) -> Result<Preserve, ValueError> {
    match (text, value::boolean(text)) {
        ("restart", _) => Ok(Preserve::Restart),
        (_, Ok(true)) => Ok(Preserve::Yes),
        (_, Ok(false)) => Ok(Preserve::No),
        (found, Err(_)) => Err(ValueError::new(found, "yes, no or restart")),
    }
}

fn exits(set: &mut ExitSet, text: &str) -> Taken {
    if text.is_empty() {
        *set = ExitSet::default();
    }
    Ok(set.add(text)?)
}

fn limit(draft: &mut Draft<'_>, key: &str, text: &str) -> Taken {
    let Some(resource) = rlimit::Resource::from_key(key) else {
        return Ok(());
    };
    draft.context.limits.retain(|(other, _)| *other != resource);
    if !text.is_empty() {
        let limit = rlimit::limit(resource, text)?;
        draft.context.limits.push((resource, limit));
    }
    Ok(())
}

fn environment(draft: &mut Draft<'_>, _: &str, text: &str) -> Taken {
    if text.is_empty() {
        draft.context.environment.clear();
    }
    for word in Words::new(text) {
        let word = word?;
        let word = draft.expand(&word)?;
        environ::assignment(&word)?;
        environ::set(&mut draft.context.environment, &word);
    }
    Ok(())
}

fn environment_file(draft: &mut Draft<'_>, _: &str, text: &str) -> Taken {
    if text.is_empty() {
        draft.context.files.clear();
        return Ok(());
    }
    let (path, optional) = match text.strip_prefix('-') {
        Some(path) => (path, true),
        None => (text, false),
    };
    let path = value::absolute_path(&draft.expand(path)?)?;
    draft.context.files.push((path.into(), optional));
    Ok(())
}

/// A user or group.
fn name(
    draft: &mut Draft<'_>,
    text: &str,
    place: fn(&mut Context) -> &mut Option<Box<str>>,
) -> Taken {
    let name = account(draft, text)?;
    *place(&mut draft.context) = if text.is_empty() { None } else { Some(name) };
    Ok(())
}

fn account(draft: &Draft<'_>, text: &str) -> Result<Box<str>, Refusal> {
    let name = draft.expand(text)?;
    if name.contains([':', '/', '\n', '\0', ' ', ',']) {
        return Err(ValueError::new(&name, "the name or number of a user or group").into());
    }
    Ok(name.as_ref().into())
}

/// A list of names separated by blanks.
fn names(
    draft: &mut Draft<'_>,
    text: &str,
    place: fn(&mut Context) -> &mut Vec<Box<str>>,
) -> Taken {
    if text.is_empty() {
        place(&mut draft.context).clear();
    }
    for word in Words::plain(text) {
        let word = word?;
        let word: Box<str> = draft.expand(&word)?.as_ref().into();
        place(&mut draft.context).push(word);
    }
    Ok(())
}

fn directory(draft: &mut Draft<'_>, sort: Sort, text: &str) -> Taken {
    let mut names = Vec::new();
    for word in Words::plain(text) {
        let word = word?;
        let word = draft.expand(&word)?;
        // A slash at the end changes nothing.
        let name = word.trim_end_matches('/');
        // `name:link` makes a link beside it.
        if name.contains(':') {
            return Err(Refusal::Unsupported(
                "links to directories are not made yet",
            ));
        }
        let plain = !name.starts_with('/')
            && name
                .split('/')
                .all(|part| !part.is_empty() && part != "." && part != "..");
        if !plain {
            let expected = "a path below the directory of its sort, without “..”";
            return Err(ValueError::new(name, expected).into());
        }
        names.push(name.into());
    }
    let list = &mut draft.context.directories;
    if text.is_empty() {
        list.retain(|other| other.sort != sort);
    } else if let Some(same) = list.iter_mut().find(|other| other.sort == sort) {
        same.names.extend(names);
    } else {
        list.push(Directories {
            sort,
            names,
            mode: 0o755,
        });
    }
    Ok(())
}

fn directory_mode(draft: &mut Draft<'_>, sort: Sort, text: &str) -> Taken {
    if let Some(mode) = draft.set.modes.get_mut(sort as usize) {
        *mode = Some(value::mode(text)?);
    }
    Ok(())
}

fn pid_file(draft: &mut Draft<'_>, _: &str, text: &str) -> Taken {
    if text.is_empty() {
        draft.context.pid_file = None;
        return Ok(());
    }
    let path = draft.expand(text)?;
    let path = if path.starts_with('/') {
        path.into_owned()
    } else {
        format!("/run/{path}")
    };
    draft.context.pid_file = Some(value::absolute_path(&path)?.into());
    Ok(())
}

fn working_directory(draft: &mut Draft<'_>, _: &str, text: &str) -> Taken {
    if text.is_empty() {
        draft.context.directory = None;
        return Ok(());
    }
    let (path, optional) = match text.strip_prefix('-') {
        Some(path) => (path, true),
        None => (text, false),
    };
    let path = match path {
        "~" => None,
        path => Some(value::absolute_path(&draft.expand(path)?)?.into()),
    };
    draft.context.directory = Some(WorkingDirectory { path, optional });
    Ok(())
}
