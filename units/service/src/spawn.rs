//! Making the processes of a service: slot, fork, and what the parent remembers of it.
//!
//! The order is the protocol of [`units::journal`]: the slot says what will be attempted before
//! the fork; the child takes the slot for itself before it does anything else, and says "started"
//! last of all before `execve`. A helper killed at any point in between leaves a slot from which
//! its successor can tell whether foreign code has run or can ever run. [`units::fault`] names the
//! places where tests do that.

use crate::child;
use crate::config::Config;
use crate::plan::{Failure, Plan, Undo, code};
use crate::policy::{Access, Step};
use crate::run::{At, Role, Run};
use crate::service::Service;
use platform::cgroup::Group;
use platform::{child as platform_child, clock, fd, process};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use units::fault;
use units::journal::{Attempt, SetupError, SlotId, Slots};
use units::state::{Exit, ProcId};

/// What all services of the helper share when it makes processes.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// `DefaultEnvironment=`.
    pub environment: Vec<String>,
    /// Where control groups are, if there are any.
    pub root: Option<std::path::PathBuf>,
    /// What the helper has that services must not inherit.
    pub undo: Undo,
    /// Its OOM score, if that is one of them.
    pub score: Option<platform_child::OomScore>,
    /// Directory of the notify sockets.
    pub notify: std::path::PathBuf,
}

/// A process that was made.
#[derive(Debug)]
pub struct Born {
    /// Its number, start time unknown yet: it is in the slot soon.
    pub proc: ProcId,
    /// Its slot.
    pub slot: SlotId,
    /// Closes when the program is executed, if that was asked for.
    pub pipe: Option<OwnedFd>,
}

/// Number of a step in the journal: list and role.
pub fn step_number(role: Role, step: Step) -> u32 {
    u32::from(step.number()) | if role == Role::Main { 0x100 } else { 0 }
}

/// Forks a command of the service. The error is for people.
pub fn spawn(
    service: &Service,
    shared: &Surroundings,
    slots: &mut Slots,
    key: u64,
    (role, at, watch): (Role, At, bool),
) -> Result<Born, String> {
    let group_path = service.group_path(shared.root.as_deref());
    let group = match &group_path {
        Some(path) => Some(Group::create(path).map_err(|e| format!("its control group: {e}"))?),
        None => None,
    };
    let mut plan = plan(service, shared, group_path.as_deref(), role, at)?;
    let mut ready = if plan.needs_files() {
        None
    } else {
        // A command that cannot be resolved fails in the child, with its exit code and step.
        plan.resolve().ok()
    };
    let pipe = if watch {
        Some(pipe(&plan).map_err(|e| format!("a pipe: {e}"))?)
    } else {
        None
    };
    let attempt = Attempt {
        unit: key,
        invocation: service.run.invocation,
        seq: service.run.seq,
        step: step_number(role, at.step),
        index: u32::from(at.index),
    };
    let slot = slots
        .claim(&attempt)
        .map_err(|e| format!("the journal: {e}"))?;
    fault::point("slot-claimed");
    let quick = ready.as_ref().is_some_and(|ready| plan.is_quick(ready));
    // A helper that is looked at for memory in these moments is smaller than whatever is killed for it.
    let inherited = plan.config.context.oom.is_none();
    let score = shared.score.as_ref().filter(|_| inherited);
    let lowered = score.and_then(|score| score.lowered().ok());
    plan.undo.oom &= lowered.is_none();
    let before = clock::now();
    let made = {
        let slots = &*slots;
        let writer = pipe.as_ref().map(|(_, writer)| writer);
        let mut body = |in_group| {
            let own = process::own_born_after(before).into();
            be_born(&plan, ready.as_mut(), in_group, (slots, slot, own), writer)
        };
        let group = group.as_ref().map(AsFd::as_fd);
        if quick {
            process::spawn_suspended(group, &mut body)
        } else {
            process::spawn(group, body)
        }
    };
    drop(lowered);
    fault::point("forked");
    match made {
        Ok(spawned) => Ok(Born {
            proc: ProcId {
                pid: spawned.pid,
                start: 0,
            },
            slot,
            pipe: pipe.map(|(reader, _)| reader),
        }),
        Err(error) => {
            slots.release(slot);
            Err(format!("fork: {error}"))
        }
    }
}

/// What the child is to do.
fn plan<'a>(
    service: &'a Service,
    shared: &'a Surroundings,
    group: Option<&'a Path>,
    role: Role,
    at: At,
) -> Result<Plan<'a>, String> {
    let config = service.config.as_deref().ok_or("it has no configuration")?;
    let command = config
        .command(at.step, at.index)
        .ok_or("it is no longer in the configuration")?;
    let main = role == Role::Main;
    Ok(Plan {
        unit: &service.run.unit,
        config,
        command,
        defaults: &shared.environment,
        own: own_variables(service, config, shared, role, at),
        watchdog: if main {
            config.policy.times.watchdog
        } else {
            0
        },
        group,
        undo: shared.undo,
        passed: if at.step == Step::Start {
            service.passed()
        } else {
            Vec::new()
        },
        listening: service.listening.len(),
    })
}

/// What failed in the set-up of a slot's process, if that is how it ended; for people.
pub fn setup_detail(service: &Service, slots: &Slots, slot: SlotId, role: Role) -> Option<String> {
    let at = match role {
        Role::Main => At {
            step: Step::Start,
            index: service.run.main_at,
        },
        Role::Control => service.run.control_at,
    };
    let error = slots.setup_error(slot)?;
    let code = error.step as u8;
    let failure = Failure {
        code,
        errno: error.error,
    };
    Some(failure.describe(&subject(service.config.as_deref(), code, at)))
}

/// The pipe that closes at exec. Its writing end stays clear of the numbers that the process is
/// given descriptors under.
fn pipe(plan: &Plan<'_>) -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = fd::pipe()?;
    if plan.passed.is_empty() {
        return Ok((reader, writer));
    }
    let lowest = i32::try_from(plan.passed.len())
        .unwrap_or(i32::MAX)
        .saturating_add(3);
    let raised = platform_child::raise(&writer, lowest)?;
    Ok((reader, raised))
}

/// The child's life until its program begins.
fn be_born(
    plan: &Plan<'_>,
    ready: Option<&mut crate::plan::Ready>,
    in_group: bool,
    (slots, slot, own): (&Slots, SlotId, ProcId),
    pipe: Option<&OwnedFd>,
) -> i32 {
    fault::point_in_child("child-born");
    if !slots.fill(slot, own) {
        // Nobody waits for this process. If somebody did, it must not look like a success.
        return 255;
    }
    fault::point_in_child("slot-filled");
    let failure = child::run(plan, ready, in_group, pipe, || {
        slots.started(slot);
        fault::point_in_child("before-exec");
    });
    let step = u32::from(failure.code);
    slots.failed(
        slot,
        SetupError {
            step,
            error: failure.errno,
        },
    );
    if let Some(writer) = pipe {
        let _ = fd::write(writer, b"!");
    }
    i32::from(failure.code)
}

/// What a process is told beyond what its configuration says.
fn own_variables(
    service: &Service,
    config: &Config,
    shared: &Surroundings,
    role: Role,
    at: At,
) -> Vec<String> {
    let run = &service.run;
    let mut list = Vec::with_capacity(8);
    list.push(format!("INVOCATION_ID={}", run.invocation));
    let notifies = match config.policy.access {
        Access::None => false,
        Access::Main => role == Role::Main || at.step == Step::Start,
        Access::Exec | Access::All => true,
    };
    if notifies {
        let path = crate::sockets::path(&shared.notify, &run.unit);
        list.push(format!("NOTIFY_SOCKET={}", path.display()));
    }
    if let Some(main) = run.main.filter(|_| role == Role::Control) {
        list.push(format!("MAINPID={}", main.pid));
    }
    match at.step {
        Step::Stop | Step::StopPost => results("", run, &mut list),
        Step::Condition | Step::StartPre | Step::Start => list.extend_from_slice(&service.monitor),
        _ => {}
    }
    list
}

/// How an invocation has ended so far, as variables.
fn results(prefix: &str, run: &Run, list: &mut Vec<String>) {
    list.push(format!("{prefix}SERVICE_RESULT={}", run.why.as_str()));
    if let Some(exit) = run.main_exit {
        let (code, status) = match exit {
            Exit::Code(code) => ("exited", code.to_string()),
            Exit::Signal(signal) => ("killed", signal_name(signal)),
            Exit::Core(signal) => ("dumped", signal_name(signal)),
        };
        list.push(format!("{prefix}EXIT_CODE={code}"));
        list.push(format!("{prefix}EXIT_STATUS={status}"));
    }
}

/// What a unit is told that was started because this one failed or succeeded.
pub fn monitor(service: &Service) -> Vec<String> {
    let run = &service.run;
    let mut list = vec![
        format!("MONITOR_UNIT={}", run.unit),
        format!("MONITOR_INVOCATION_ID={}", run.invocation),
    ];
    results("MONITOR_", run, &mut list);
    list
}

fn signal_name(signal: u8) -> String {
    let name = units::value::signal::name(signal);
    name.strip_prefix("SIG").map(str::to_owned).unwrap_or(name)
}

/// What the failed set-up of a child was about, for people.
fn subject(config: Option<&Config>, step: u8, at: At) -> String {
    let Some(config) = config else {
        return String::new();
    };
    let context = &config.context;
    let text = match step {
        code::EXEC => config
            .command(at.step, at.index)
            .map(|command| command.path.as_str()),
        code::CHDIR => context
            .directory
            .as_ref()
            .map(|directory| directory.path.as_deref().unwrap_or("~")),
        code::USER => context.user.as_deref(),
        code::GROUP => context.group.as_deref(),
        code::CHROOT => context.root.as_deref(),
        code::CGROUP => Some(&*config.cgroup),
        code::MEMORY => context.files.first().map(|(path, _)| &**path),
        _ => None,
    };
    text.unwrap_or("").to_owned()
}

/// What the helper itself has that services must not inherit; its OOM score is known.
pub fn undo(score: Option<&platform_child::OomScore>) -> Undo {
    const SOFT: u64 = 1024;
    let files = platform_child::file_limit()
        .ok()
        .filter(|(soft, _)| *soft != SOFT);
    Undo {
        files: files.map(|(_, hard)| hard),
        oom: score.is_some(),
        streams: !(platform_child::is_null(0) && platform_child::is_null(1)),
    }
}

/// Whether the error is that of a process that is gone.
pub fn is_gone(error: &io::Error) -> bool {
    const ESRCH: i32 = 3;
    error.raw_os_error() == Some(ESRCH)
}
