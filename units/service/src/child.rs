//! The forked child, from its first instruction to `execve`.
//!
//! It runs in a copy of the helper and may take as long as it takes: whatever may sleep (a path
//! on a dead file server, a terminal) happens here, under the time-out of the step. If nothing of
//! that is to be done ([`Plan::is_quick`]), it borrows the helper's memory instead, which is much
//! cheaper: then nothing here may be left allocated. What every
//! process of a service can rely on (the contract): default signal actions (`SIGPIPE` by
//! `IgnoreSIGPIPE=`) and an empty mask, a session of its own, the unit's control group, umask 0022, at most
//! 1024 open files by its soft limit, an OOM score of 0, standard descriptors open and no other.
//!
//! A step that fails gives systemd's exit code of that step. What root lacks the right to (raising
//! a hard limit, a lower nice level or OOM score) is no failure: it is set as far as allowed and
//! said once per boot, so that the same unit runs in a container.

use crate::context::{Context, Input, Output, Sort};
use crate::plan::{Failure, Plan, Ready, code};
use platform::child::{self, Mode};
use platform::console::KernelLog;
use platform::degrade::{self, Feature};
use platform::fd;
use std::ffi::CStr;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use units::value::rlimit::{Limit, Resource};

/// Sets the process up, calls `begin` and executes the program; returns only if that failed.
/// `keep` is the one descriptor that stays open until then; its number is above those that will
/// be given.
pub fn run(
    plan: &Plan<'_>,
    ready: Option<&mut Ready>,
    in_group: bool,
    keep: Option<&OwnedFd>,
    begin: impl FnOnce(),
) -> Failure {
    let mut own;
    let ready = match ready {
        Some(ready) => ready,
        None => match plan.resolve() {
            Ok(resolved) => {
                own = resolved;
                &mut own
            }
            Err(failure) => return failure,
        },
    };
    match set_up(plan, ready, in_group) {
        Ok(()) => {
            begin();
            execute(plan, ready, keep)
        }
        Err(failure) => failure,
    }
}

fn at<T>(code: u8, result: io::Result<T>) -> Result<T, Failure> {
    result.map_err(|error| Failure::new(code, &error))
}

fn set_up(plan: &Plan<'_>, ready: &Ready, in_group: bool) -> Result<(), Failure> {
    let context = &plan.config.context;
    at(code::SETSID, child::new_session())?;
    if let Some(group) = plan.group.filter(|_| !in_group) {
        at(code::CGROUP, attach(group))?;
    }
    at(code::SIGNAL_MASK, child::reset_signals(context.ignore_pipe))?;
    child::set_umask(context.umask);
    priorities(plan)?;
    streams(context, plan.undo.streams)?;
    limits(plan)?;
    directories(context, ready.owner)?;
    enter(context, ready)
}

fn attach(group: &Path) -> io::Result<()> {
    platform::cgroup::Group::open(group)?.attach(0)
}

/// What the caller has no right to is set as far as allowed, and said.
fn lacks_right(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

fn say(plan: &Plan<'_>, text: &str) {
    KernelLog::open().write(4, "sysmaster-service", &format!("{}: {text}", plan.unit));
}

fn priorities(plan: &Plan<'_>) -> Result<(), Failure> {
    let context = &plan.config.context;
    let score = context.oom.map(i32::from).or(plan.undo.oom.then_some(0));
    if let Some(score) = score {
        match child::set_oom_score(score) {
            Err(error) if lacks_right(&error) => {
                degrade::note(Feature::OomProtection);
            }
            // A kernel without it, or no /proc.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => at(code::OOM_ADJUST, other)?,
        }
    }
    if let Some(nice) = context.nice {
        match child::set_nice(i32::from(nice)) {
            Err(error) if lacks_right(&error) => {
                say(plan, "no right to that Nice= level, going on without it");
            }
            other => at(code::NICE, other)?,
        }
    }
    Ok(())
}

/// Path as a C string: one with a zero byte was refused with the unit file.
fn c_path(path: &str, code: u8) -> Result<std::ffi::CString, Failure> {
    at(code, platform::files::c_path(Path::new(path)))
}

fn open(path: &str, mode: Mode, code: u8) -> Result<OwnedFd, Failure> {
    at(code, child::open(&c_path(path, code)?, mode))
}

/// Opens a stream, gives it its number and makes it blocking: that is what programs expect.
fn put(opened: OwnedFd, number: i32, code: u8) -> Result<(), Failure> {
    at(code, fd::set_nonblocking(&opened, false))?;
    at(code, child::install(&opened, number))
}

/// `any`: what the helper has as standard input and output is not `/dev/null`, which its children
/// could keep.
fn streams(context: &Context, any: bool) -> Result<(), Failure> {
    let terminal = match &*context.terminal {
        "" => "/dev/console",
        path => path,
    };
    match &context.input {
        Input::Null if !any => {}
        Input::Null => put(open("/dev/null", Mode::Read, code::STDIN)?, 0, code::STDIN)?,
        Input::File(path) => put(open(path, Mode::Read, code::STDIN)?, 0, code::STDIN)?,
        Input::Terminal { force } => {
            let opened = open(terminal, Mode::ReadWrite, code::STDIN)?;
            // Another session may have it: then only "force" takes it away.
            match child::take_terminal(&opened, *force) {
                Err(error) if lacks_right(&error) && !*force => {}
                other => at(code::STDIN, other)?,
            }
            put(opened, 0, code::STDIN)?;
        }
    }
    let terminal_input = matches!(context.input, Input::Terminal { .. });
    let null_input = context.input == Input::Null;
    match &context.output {
        Output::Null | Output::Inherit if !any && null_input => {}
        other => output(other, 1, terminal, null_input)?,
    }
    match &context.error {
        Output::Null if !any && null_input => at(code::STDERR, child::install(&io::stdin(), 2)),
        Output::Terminal if terminal_input && context.output == Output::Terminal => {
            output(&Output::Inherit, 2, terminal, false)
        }
        error => output(error, 2, terminal, false),
    }
}

/// `nothing_before`: the stream before is `/dev/null` for reading, which is no use to inherit.
fn output(
    output: &Output,
    number: i32,
    terminal: &str,
    nothing_before: bool,
) -> Result<(), Failure> {
    let code = if number == 1 {
        code::STDOUT
    } else {
        code::STDERR
    };
    let opened = match output {
        Output::Null => open("/dev/null", Mode::Write, code)?,
        Output::Inherit if nothing_before => open("/dev/null", Mode::Write, code)?,
        Output::Inherit => return at(code, duplicate(number - 1, number)),
        Output::Log => match child::open(c"/dev/kmsg", Mode::Write) {
            Ok(opened) => opened,
            Err(_) => open("/dev/null", Mode::Write, code)?,
        },
        Output::Terminal => open(terminal, Mode::ReadWrite, code)?,
        Output::File(path) => open(path, Mode::Create, code)?,
        Output::Append(path) => open(path, Mode::Append, code)?,
        Output::Truncate(path) => open(path, Mode::Truncate, code)?,
    };
    put(opened, number, code)
}

fn duplicate(from: i32, to: i32) -> io::Result<()> {
    match from {
        0 => child::install(&io::stdin(), to),
        _ => child::install(&io::stdout(), to),
    }
}

fn limits(plan: &Plan<'_>) -> Result<(), Failure> {
    let context = &plan.config.context;
    let asks_files = context
        .limits
        .iter()
        .any(|(resource, _)| *resource == Resource::Nofile);
    if let Some(hard) = plan.undo.files.filter(|_| !asks_files) {
        at(
            code::LIMITS,
            child::set_limit(child::Resource::Files, hard.min(1024), hard),
        )?;
    }
    for (resource, limit) in &context.limits {
        let number = of_kernel(*resource);
        match child::set_limit(number, limit.soft, limit.hard) {
            Err(error) if lacks_right(&error) => {
                degrade::note(Feature::RaiseLimits);
                as_far_as_allowed(number, *limit);
            }
            other => at(code::LIMITS, other)?,
        }
    }
    Ok(())
}

/// The hard limit cannot be raised: the soft limit then, as high as the hard one is.
fn as_far_as_allowed(resource: child::Resource, limit: Limit) {
    if let Ok((_, hard)) = child::limit(resource) {
        let hard_now = hard.min(limit.hard);
        let _ = child::set_limit(resource, limit.soft.min(hard_now), hard_now);
    }
}

fn of_kernel(resource: Resource) -> child::Resource {
    use child::Resource as To;
    match resource {
        Resource::Cpu => To::Cpu,
        Resource::Fsize => To::FileSize,
        Resource::Data => To::Data,
        Resource::Stack => To::Stack,
        Resource::Core => To::Core,
        Resource::Rss => To::Rss,
        Resource::Nofile => To::Files,
        Resource::As => To::AddressSpace,
        Resource::Nproc => To::Processes,
        Resource::Memlock => To::Memlock,
        Resource::Locks => To::Locks,
        Resource::Sigpending => To::SignalsPending,
        Resource::Msgqueue => To::MessageQueue,
        Resource::Nice => To::Nice,
        Resource::Rtprio => To::RealtimePriority,
        Resource::Rttime => To::RealtimeTime,
    }
}

fn directories(context: &Context, owner: (u32, u32)) -> Result<(), Failure> {
    for list in &context.directories {
        let (code, owner) = match list.sort {
            Sort::Runtime => (code::RUNTIME_DIRECTORY, owner),
            Sort::State => (code::STATE_DIRECTORY, owner),
            Sort::Cache => (code::CACHE_DIRECTORY, owner),
            Sort::Logs => (code::LOGS_DIRECTORY, owner),
            Sort::Configuration => (code::CONFIGURATION_DIRECTORY, (0, 0)),
        };
        for name in &list.names {
            let path = Path::new(list.sort.root()).join(name.as_ref());
            at(code, child::make_dir(&path, list.mode, owner.0, owner.1))?;
        }
    }
    Ok(())
}

/// Root directory, rights and working directory. The rights go before the working directory is
/// entered, as in systemd: a home on a file server may be closed to root.
fn enter(context: &Context, ready: &Ready) -> Result<(), Failure> {
    if let Some(root) = &context.root {
        at(
            code::CHROOT,
            child::change_root(&c_path(root, code::CHROOT)?),
        )?;
        at(code::CHROOT, child::change_directory(c"/"))?;
    }
    if let Some(who) = &ready.identity {
        at(
            code::GROUP,
            child::set_identity(None, who.gid, who.groups.as_deref()),
        )?;
        at(code::USER, child::set_identity(who.uid, None, None))?;
    }
    if context.no_new_privileges {
        at(code::NO_NEW_PRIVILEGES, child::no_new_privileges())?;
    }
    if let Some(directory) = &context.directory {
        let home = ready
            .identity
            .as_ref()
            .map_or("/root", |who| who.home.as_str());
        let path = directory.path.as_deref().unwrap_or(home);
        let entered = child::change_directory(&c_path(path, code::CHDIR)?);
        if !directory.optional {
            at(code::CHDIR, entered)?;
        }
    }
    Ok(())
}

fn execute(plan: &Plan<'_>, ready: &mut Ready, keep: Option<&OwnedFd>) -> Failure {
    let pid = platform::process::own_pid();
    if let Err(error) = pass_descriptors(plan, keep) {
        return Failure::new(code::EXEC, &error);
    }
    let mut add = |text: String| {
        let _ = ready.environment.push(text.as_bytes());
    };
    add(format!("SYSTEMD_EXEC_PID={pid}"));
    if plan.watchdog > 0 {
        add(format!("WATCHDOG_PID={pid}"));
        add(format!("WATCHDOG_USEC={}", plan.watchdog));
    }
    if !plan.passed.is_empty() {
        add(format!("LISTEN_PID={pid}"));
        add(format!("LISTEN_FDS={}", plan.passed.len()));
        add(format!("LISTEN_FDNAMES={}", plan.passed_names()));
    }
    let missing = |error: &io::Error| {
        matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
        )
    };
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for program in &ready.programs {
        let program: &CStr = program;
        last = child::execute(program, &mut ready.arguments, &mut ready.environment);
        if !missing(&last) {
            break;
        }
    }
    Failure::new(code::EXEC, &last)
}

/// Gives the process the descriptors it starts with, from 3 on, and closes all others. Ours are
/// closed by exec anyhow; one that somebody left open in us would not be.
fn pass_descriptors(plan: &Plan<'_>, keep: Option<&OwnedFd>) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    const FIRST: u32 = 3;
    let count = plan.passed.len() as u32;
    for (fd, _) in plan.passed.iter().take(plan.listening) {
        fd::set_nonblocking(fd, plan.config.context.non_blocking)?;
    }
    // Out of the way of the numbers that will be given.
    let lift = |fd: &OwnedFd| child::raise(fd, (FIRST + count) as i32);
    let raised = plan
        .passed
        .iter()
        .map(|(fd, _)| lift(fd))
        .collect::<io::Result<Vec<_>>>()?;
    for (number, fd) in (FIRST as i32..).zip(&raised) {
        child::install(fd, number)?;
    }
    let kept = keep.map(|fd| fd.as_raw_fd() as u32);
    child::close_from(FIRST + count, kept.as_slice());
    std::mem::forget(raised);
    Ok(())
}
