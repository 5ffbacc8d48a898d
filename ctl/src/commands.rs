//! The commands: one table, for the command line and the overview. Manual, reference and completions are held to it
//! by a test.

use units::state::JobVerb;
use units::wire::control::ShutdownKind;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// A job for each unit named.
    Jobs(JobVerb),
    /// Start this target and stop everything else.
    Isolate,
    /// Isolate a well-known target.
    Enter(&'static str),
    /// Show a unit, or the machine.
    Status,
    /// Loaded units.
    ListUnits,
    /// Installed unit files.
    ListUnitFiles,
    /// Queued jobs.
    ListJobs,
    /// Our own processes that died by their own fault.
    Crashes,
    /// Compare what is recorded with what there is.
    Reconcile,
    /// The tree of needs.
    ListDependencies,
    /// Properties as `Name=value`.
    Show,
    /// The files of a unit.
    Cat,
    /// Exit status says whether one is active.
    IsActive,
    /// Exit status says whether one has failed.
    IsFailed,
    /// Exit status says whether one starts at boot.
    IsEnabled,
    /// Exit status says whether the machine is all right.
    IsSystemRunning,
    /// Make links.
    Enable,
    /// Remove links.
    Disable,
    /// Remove and make links.
    Reenable,
    /// Forbid.
    Mask,
    /// Allow again.
    Unmask,
    /// As the presets say.
    Preset,
    /// The same for everything.
    PresetAll,
    /// Which target boots.
    GetDefault,
    /// Boot this target.
    SetDefault,
    /// Forget failures.
    ResetFailed,
    /// Send a signal.
    Kill,
    /// Cancel jobs.
    Cancel,
    /// Read the unit files again.
    DaemonReload,
    /// Replace the manager.
    Reexec,
    /// Try another version of ours.
    Upgrade,
    /// Bring the machine down.
    Shutdown(ShutdownKind),
    /// Check unit files without a manager.
    Verify,
    /// Show a transaction without doing it.
    Plan,
    /// Why a unit is what it is.
    Why,
    /// A picture of the boot.
    BootChart,
    /// What took long.
    Blame,
    /// What a unit had to wait for.
    CriticalChain,
    /// The overview, or what a command takes and does.
    Help,
    /// Versions.
    Version,
}

/// One line of the table of commands.
pub struct Command {
    /// As typed.
    pub name: &'static str,
    /// What it is.
    pub verb: Verb,
    /// Least number of words after it.
    pub min: usize,
    /// Greatest number.
    pub max: usize,
    /// Words after it, for the overview.
    pub words: &'static str,
    /// What it does, for the overview; empty for second names, which it does not list.
    pub about: &'static str,
}

const MANY: usize = usize::MAX;

const fn cmd(
    name: &'static str,
    verb: Verb,
    (min, max): (usize, usize),
    words: &'static str,
    about: &'static str,
) -> Command {
    Command {
        name,
        verb,
        min,
        max,
        words,
        about,
    }
}

/// All commands, in the order of the overview.
#[rustfmt::skip]
pub const COMMANDS: &[Command] = &[
    cmd("status", Verb::Status, (0, MANY), "[UNIT…]", "the machine, or these units, at a glance"),
    cmd("why", Verb::Why, (1, MANY), "UNIT…", "why it is up, down, waiting or failed"),
    cmd("plan", Verb::Plan, (1, MANY), "VERB UNIT…", "what start, stop … would do: nothing is done"),
    cmd("list-units", Verb::ListUnits, (0, MANY), "[PATTERN…]", "loaded units that are up, failed or have a job (--all: all)"),
    cmd("list-jobs", Verb::ListJobs, (0, 0), "", "queued jobs and what they wait for"),
    cmd("reconcile", Verb::Reconcile, (0, 0), "", "compare what is recorded with what there is, and mend it"),
    cmd("crashes", Verb::Crashes, (0, 0), "", "our own processes that died by their own fault, and at what"),
    cmd("list-dependencies", Verb::ListDependencies, (0, MANY), "[UNIT]", "whom it needs, as a tree (--reverse: who needs it)"),
    cmd("list-unit-files", Verb::ListUnitFiles, (0, MANY), "[PATTERN…]", "installed unit files and whether they are enabled"),
    cmd("show", Verb::Show, (0, MANY), "[UNIT…]", "everything known, as Name=value"),
    cmd("cat", Verb::Cat, (1, MANY), "UNIT…", "the files a unit is made of"),
    cmd("is-active", Verb::IsActive, (1, MANY), "UNIT…", "exit status 0 if one is active"),
    cmd("is-failed", Verb::IsFailed, (0, MANY), "[UNIT…]", "exit status 0 if one has failed"),
    cmd("is-enabled", Verb::IsEnabled, (1, MANY), "UNIT…", "exit status 0 if one is enabled"),
    cmd("is-system-running", Verb::IsSystemRunning, (0, 0), "", "exit status 0 if the machine is up and nothing has failed"),
    cmd("start", Verb::Jobs(JobVerb::Start), (1, MANY), "UNIT…", "bring up"),
    cmd("stop", Verb::Jobs(JobVerb::Stop), (1, MANY), "UNIT…", "bring down"),
    cmd("restart", Verb::Jobs(JobVerb::Restart), (1, MANY), "UNIT…", "bring down if up, then up"),
    cmd("try-restart", Verb::Jobs(JobVerb::TryRestart), (1, MANY), "UNIT…", "restart those that are up"),
    cmd("condrestart", Verb::Jobs(JobVerb::TryRestart), (1, MANY), "", ""),
    cmd("reload", Verb::Jobs(JobVerb::Reload), (1, MANY), "UNIT…", "have them read their configuration again"),
    cmd("reload-or-restart", Verb::Jobs(JobVerb::ReloadOrStart), (1, MANY), "UNIT…", "reload those that can, restart the others"),
    cmd("try-reload-or-restart", Verb::Jobs(JobVerb::TryReload), (1, MANY), "UNIT…", "the same, only those that are up"),
    cmd("force-reload", Verb::Jobs(JobVerb::TryReload), (1, MANY), "", ""),
    cmd("isolate", Verb::Isolate, (1, 1), "UNIT", "start it and stop everything it does not need"),
    cmd("blame", Verb::Blame, (0, 0), "", "what took long at boot"),
    cmd("critical-chain", Verb::CriticalChain, (0, 1), "[UNIT]", "what it had to wait for"),
    cmd("boot-chart", Verb::BootChart, (0, 1), "[FILE]", "a picture of the boot (SVG)"),
    cmd("kill", Verb::Kill, (1, MANY), "UNIT…", "send a signal (--signal, --kill-whom)"),
    cmd("reset-failed", Verb::ResetFailed, (0, MANY), "[UNIT…]", "forget failures and start limits"),
    cmd("cancel", Verb::Cancel, (0, MANY), "[JOB…]", "cancel these jobs, or all"),
    cmd("enable", Verb::Enable, (1, MANY), "UNIT…", "start at boot (--now: and at once)"),
    cmd("disable", Verb::Disable, (1, MANY), "UNIT…", "not any more (--now: and stop)"),
    cmd("reenable", Verb::Reenable, (1, MANY), "UNIT…", "disable, then enable"),
    cmd("preset", Verb::Preset, (1, MANY), "UNIT…", "enable or disable as the presets say"),
    cmd("preset-all", Verb::PresetAll, (0, 0), "", "the same for every unit file (--preset-mode)"),
    cmd("mask", Verb::Mask, (1, MANY), "UNIT…", "forbid to start (--now: and stop)"),
    cmd("unmask", Verb::Unmask, (1, MANY), "UNIT…", "allow again"),
    cmd("get-default", Verb::GetDefault, (0, 0), "", "the target that boots"),
    cmd("set-default", Verb::SetDefault, (1, 1), "TARGET", "boot another target"),
    cmd("verify", Verb::Verify, (0, MANY), "[FILE|UNIT…]", "find what is wrong in unit files, without a manager"),
    cmd("daemon-reload", Verb::DaemonReload, (0, 0), "", "read the unit files again"),
    cmd("daemon-reexec", Verb::Reexec, (0, 0), "", "replace the manager by the installed one"),
    cmd("reexec", Verb::Reexec, (0, 0), "", ""),
    cmd("upgrade", Verb::Upgrade, (1, 1), "FILE|DIR", "try another version of ours, install it if it is good"),
    cmd("default", Verb::Enter("default.target"), (0, 0), "", "isolate default.target"),
    cmd("rescue", Verb::Enter("rescue.target"), (0, 0), "", "isolate rescue.target"),
    cmd("emergency", Verb::Enter("emergency.target"), (0, 0), "", "isolate emergency.target"),
    cmd("poweroff", Verb::Shutdown(ShutdownKind::PowerOff), (0, 0), "", "stop everything and switch off (--force: no stopping)"),
    cmd("reboot", Verb::Shutdown(ShutdownKind::Reboot), (0, 0), "", "stop everything and start again"),
    cmd("halt", Verb::Shutdown(ShutdownKind::Halt), (0, 0), "", "stop everything and stand still"),
    cmd("kexec", Verb::Shutdown(ShutdownKind::Kexec), (0, 0), "", "stop everything and enter the loaded kernel"),
    cmd("help", Verb::Help, (0, MANY), "[COMMAND…]", "this overview, or what one command takes and does"),
    cmd("version", Verb::Version, (0, 0), "", "versions of sctl and of the manager"),
];
