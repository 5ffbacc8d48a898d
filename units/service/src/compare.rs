//! What is recorded of services compared with what the kernel says, when the manager asks for it.
//!
//! What differs is adopted or cleaned up by rule, and told. Nothing here disturbs what runs as it should: only
//! processes in the group of a unit that is down are ended, and only if its own settings would have ended them.

use crate::adopt::PATIENCE;
use crate::context::Sort;
use crate::policy::KillMode;
use crate::run::Role;
use crate::service::Socket;
use crate::services::Services;
use platform::{clock, files, process};
use std::path::Path;
use units::runtime::Context;

impl Services {
    /// Compares all of them.
    pub(crate) fn compare(&mut self, ctx: &mut Context<'_>) {
        for (unit, how) in self.adopt_strangers(ctx) {
            let found = "processes in its group, and nothing is on record of it";
            ctx.differs(&unit, "process", found.into(), &how);
        }
        for at in self.numbers() {
            for role in [Role::Main, Role::Control] {
                self.compare_process(ctx, at, role);
            }
            self.compare_group(ctx, at);
            self.compare_socket(ctx, at);
            self.compare_directories(ctx, at);
            self.index(at);
        }
    }

    /// A process that is on record must be there, if only as a zombie that will be reaped.
    fn compare_process(&mut self, ctx: &mut Context<'_>, at: u32, role: Role) {
        let Some(service) = self.get_mut(at) else {
            return;
        };
        let Some(proc) = service.proc(role).filter(|proc| proc.start != 0) else {
            return;
        };
        let there = process::start_time(proc.pid) == Some(proc.start);
        if there || service.lost(role).is_some() {
            return;
        }
        *service.lost(role) = Some(clock::now().saturating_add(PATIENCE));
        let found = [
            "process ",
            &proc.pid.to_string(),
            " is gone, and nobody has said how it ended",
        ];
        let done = "its end is waited for, five seconds; then it counts as interrupted";
        ctx.differs(&service.run.unit, "process", found.concat(), done);
    }

    /// A unit that is down has no processes, and no group.
    fn compare_group(&mut self, ctx: &mut Context<'_>, at: u32) {
        let root = self.shared.root.clone();
        let root = root.as_deref();
        let Some(service) = self.get_mut(at) else {
            return;
        };
        let run = &service.run;
        let Some(config) = &service.config else {
            return;
        };
        if !run.state.is_down() || run.wish.is_some() {
            return;
        }
        let kill = config.policy.kill;
        let members = service.members(root);
        if members.is_empty() {
            let path = service.group_path(root);
            if path.is_some_and(|path| files::exists(&path)) {
                service.remove_group(root);
                let found = "an empty group of a unit that is down";
                ctx.differs(&service.run.unit, "cgroup", found.into(), "removed");
            }
            return;
        }
        let found = [
            &members.len().to_string(),
            " processes in the group of a unit that is down",
        ]
        .concat();
        let whole = matches!(kill.mode, KillMode::ControlGroup | KillMode::Mixed);
        let done = if whole && kill.kill {
            if service.kill_group(root).is_none() {
                service.signal_rest(root, &[platform::signal::SIGKILL]);
            }
            "killed"
        } else {
            "left alone, as KillMode= and SendSIGKILL= say"
        };
        ctx.differs(&service.run.unit, "process", found, done);
    }

    /// What a service says goes to a path.
    fn compare_socket(&mut self, ctx: &mut Context<'_>, at: u32) {
        let directory = self.shared.notify.clone();
        let Some(service) = self.get_mut(at) else {
            return;
        };
        let path = crate::sockets::path(&directory, &service.run.unit);
        if !matches!(service.socket, Socket::Open(_)) || files::exists(&path) {
            return;
        }
        let unit = service.run.unit.clone();
        // What was said before is in the old one.
        self.read_socket(ctx, at);
        if let Some(service) = self.get_mut(at)
            && !service.held
            && let Socket::Open(old) = std::mem::replace(&mut service.socket, Socket::None)
        {
            let _ = ctx.unwatch(&old);
            self.prepare_socket(ctx, at);
            let found = "its notify socket has no path any more: it cannot say anything";
            ctx.differs(&unit, "socket", found.into(), "made anew");
        }
    }

    /// What a unit that is up was given in `/run`.
    fn compare_directories(&mut self, ctx: &mut Context<'_>, at: u32) {
        let Some(service) = self.get(at) else { return };
        let Some(config) = &service.config else {
            return;
        };
        if !service.run.state.active().is_up() {
            return;
        }
        let lists = config.context.directories.iter();
        let runtime = lists.filter(|list| list.sort == Sort::Runtime);
        for name in runtime.flat_map(|list| &list.names) {
            let path = Path::new(Sort::Runtime.root()).join(&**name);
            if !files::exists(&path) {
                let found = [&path.to_string_lossy(), " (RuntimeDirectory=) is gone"].concat();
                let done = "told: the next start makes it";
                ctx.differs(&service.run.unit, "directory", found, done);
            }
        }
    }
}
