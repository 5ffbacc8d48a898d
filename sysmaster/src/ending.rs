//! What a unit's end means for the machine: `FailureAction=` and its kin, carried out.
//!
//! The plain actions are an ordinary shutdown; the forced ones leave the stopping to init, which
//! sends signals to what is left; the immediate ones do not even wait for that. The shutdown is
//! recorded, and init told, before the records of the unit's end: a manager that dies in between
//! leaves a machine that goes down. The units are stopped once the engine has said everything else.
//!
//! init finds what it needs at the very end in two files beside our sockets, as systemd's does:
//! [`ARGUMENT`] for the kernel's reboot, [`STATUS`] for whoever runs the container.

use crate::manager::Manager;
use engine::api::{Cause, UnitId};
use init_wire::flags;
use platform::kernel::{self, End};
use units::spec::{Action, UnitSpec};
use units::state::Exit;
use units::wire::control::ShutdownKind;

/// Below the directory of our sockets: the argument of the kernel's reboot.
const ARGUMENT: &str = "reboot-param";
/// There too: the exit status of init in a container.
const STATUS: &str = "exit-status";

/// What a unit's file says about the machine's end besides the actions.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ending {
    argument: Box<str>,
    timeout_argument: Box<str>,
    failure_status: Option<u8>,
    success_status: Option<u8>,
}

impl Ending {
    /// `None` if it says nothing.
    pub fn of(spec: &UnitSpec) -> Option<Box<Self>> {
        let ending = Self {
            argument: spec.reboot_argument.as_str().into(),
            timeout_argument: spec.job_timeout_argument.as_str().into(),
            failure_status: spec.failure_exit_status,
            success_status: spec.success_exit_status,
        };
        (ending != Self::default()).then(|| Box::new(ending))
    }
}

/// How much is left undone on the way down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Haste {
    /// Every unit is stopped in its order.
    None,
    /// init ends all processes.
    Forced,
    /// The kernel is told at once.
    Immediate,
}

/// What an action comes down to. There is no soft reboot here: the machine is rebooted; and outside
/// a container nobody takes an exit status: it is powered off, as systemd does.
fn meaning(action: Action) -> Option<(ShutdownKind, Haste)> {
    use ShutdownKind::{Halt, Kexec, PowerOff, Reboot};
    Some(match action {
        Action::None => return None,
        Action::Exit | Action::Poweroff => (PowerOff, Haste::None),
        Action::ExitForce | Action::PoweroffForce => (PowerOff, Haste::Forced),
        Action::PoweroffImmediate => (PowerOff, Haste::Immediate),
        Action::Reboot | Action::SoftReboot => (Reboot, Haste::None),
        Action::RebootForce | Action::SoftRebootForce => (Reboot, Haste::Forced),
        Action::RebootImmediate => (Reboot, Haste::Immediate),
        Action::Kexec => (Kexec, Haste::None),
        Action::KexecForce => (Kexec, Haste::Forced),
        Action::Halt => (Halt, Haste::None),
        Action::HaltForce => (Halt, Haste::Forced),
        Action::HaltImmediate => (Halt, Haste::Immediate),
    })
}

/// Why, in words, and by which directive.
fn reason(cause: Cause) -> (&'static str, &'static str) {
    match cause {
        Cause::Failed => (" failed", "FailureAction="),
        Cause::Succeeded => (" is done", "SuccessAction="),
        Cause::StartLimit => (" was started too often", "StartLimitAction="),
        Cause::JobTimeout => (": its job took too long", "JobTimeoutAction="),
    }
}

impl Manager {
    /// Does to the machine what a unit's file says. Of several at once the first counts.
    pub(crate) fn act(&mut self, unit: UnitId, action: Action, cause: Cause) {
        let Some((kind, haste)) = meaning(action) else {
            return;
        };
        if self.boot.record.shutdown.is_some() {
            return;
        }
        let name = self.name_of(unit).unwrap_or_default();
        let (why, directive) = reason(cause);
        let text = [&name, why, ": ", action.as_str(), " (", directive, ")"].concat();
        self.log(1, &name, &text);
        let line = self.console.note(&text);
        self.show(&line);
        let argument = self.reboot_argument(unit, cause);
        if matches!(action, Action::Exit | Action::ExitForce) {
            let status = self.exit_status(unit, cause);
            self.leave_for_init(STATUS, &status.to_string());
        }
        if kind == ShutdownKind::Reboot && !argument.is_empty() {
            self.leave_for_init(ARGUMENT, &argument);
        }
        if haste == Haste::Immediate {
            let end = match kind {
                ShutdownKind::Reboot => End::Reboot(argument),
                ShutdownKind::Halt => End::Halt,
                _ => End::PowerOff,
            };
            if let Err(error) = kernel::end(&end) {
                let text = format!("the kernel cannot be told at once: {error}");
                self.log(2, &name, &text);
            }
        }
        self.decide_shutdown(kind, haste != Haste::None);
    }

    fn reboot_argument(&mut self, unit: UnitId, cause: Cause) -> String {
        let Some(ending) = &self.info(unit).ending else {
            return String::new();
        };
        match cause {
            Cause::JobTimeout => ending.timeout_argument.to_string(),
            _ => ending.argument.to_string(),
        }
    }

    /// What the file says, else how the main process ended.
    fn exit_status(&mut self, unit: UnitId, cause: Cause) -> u8 {
        let info = self.info(unit);
        let said = info.ending.as_ref().and_then(|ending| match cause {
            Cause::Succeeded => ending.success_status,
            Cause::Failed => ending.failure_status,
            _ => None,
        });
        let of_main = match info.report.as_ref().and_then(|report| report.exit) {
            Some(Exit::Code(code)) => code,
            Some(Exit::Signal(_) | Exit::Core(_)) => 255,
            None => u8::from(cause != Cause::Succeeded),
        };
        said.unwrap_or(of_main)
    }

    fn leave_for_init(&mut self, file: &str, text: &str) {
        let container = self
            .init
            .as_ref()
            .is_some_and(|init| init.hello().flags & flags::CONTAINER != 0);
        if file == STATUS && !container {
            self.log(5, "", "outside a container an exit is a power-off");
            return;
        }
        let path = self.run_dir.join(file);
        if let Err(error) = std::fs::write(&path, text) {
            let text = format!("{}: {error}: init will not know of it", path.display());
            self.log(3, "", &text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use units::name::UnitName;

    #[test]
    fn every_action_has_a_meaning() {
        for (name, kind, haste) in [
            ("reboot", ShutdownKind::Reboot, Haste::None),
            ("reboot-force", ShutdownKind::Reboot, Haste::Forced),
            ("reboot-immediate", ShutdownKind::Reboot, Haste::Immediate),
            ("poweroff", ShutdownKind::PowerOff, Haste::None),
            ("poweroff-force", ShutdownKind::PowerOff, Haste::Forced),
            (
                "poweroff-immediate",
                ShutdownKind::PowerOff,
                Haste::Immediate,
            ),
            ("exit", ShutdownKind::PowerOff, Haste::None),
            ("exit-force", ShutdownKind::PowerOff, Haste::Forced),
            ("halt", ShutdownKind::Halt, Haste::None),
            ("halt-force", ShutdownKind::Halt, Haste::Forced),
            ("halt-immediate", ShutdownKind::Halt, Haste::Immediate),
            ("kexec", ShutdownKind::Kexec, Haste::None),
            ("kexec-force", ShutdownKind::Kexec, Haste::Forced),
            ("soft-reboot", ShutdownKind::Reboot, Haste::None),
            ("soft-reboot-force", ShutdownKind::Reboot, Haste::Forced),
        ] {
            let action = Action::from_name(name).unwrap();
            assert_eq!(meaning(action), Some((kind, haste)), "{name}");
            assert_eq!(action.as_str(), name);
        }
        assert_eq!(meaning(Action::None), None);
    }

    #[test]
    fn a_file_that_says_nothing_takes_no_room() {
        let mut spec = UnitSpec::new(UnitName::new("a.service").unwrap());
        assert_eq!(Ending::of(&spec), None);
        spec.reboot_argument = "x".into();
        assert!(Ending::of(&spec).is_some());
    }
}
