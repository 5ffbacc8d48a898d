//! What the manager says of a unit: its configuration, that it goes, and the commands.

use crate::config;
use crate::effects::stop_waiting;
use crate::machine::Event;
use crate::services::Services;
use crate::spawn;
use platform::{cgroup, process};
use units::file::first_error;
use units::runtime::Context;
use units::state::{Invocation, Outcome, Whom};
use units::wire::helper::{About, Command, FromHelper, HelperConfig, UnitSource, Verb};

/// Why a start is refused.
const FULL: &str = "the journal of the service helper is full, and what is started must be in it";

impl Services {
    pub(crate) fn configure(&mut self, settings: &HelperConfig) {
        self.shared.environment.clone_from(&settings.environment);
        self.shared.score = platform::child::OomScore::own();
        self.shared.undo = spawn::undo(self.shared.score.as_ref());
        self.shared.root = match settings.cgroup_root.as_str() {
            "" => None,
            root => Some(root.into()),
        };
        if self.shared.root.is_some() {
            self.mount = cgroup::detect()
                .map(|found| found.mount)
                .unwrap_or_default();
        }
        self.settings = settings.clone();
    }

    pub(crate) fn load(&mut self, ctx: &mut Context<'_>, source: &UnitSource) {
        let reading = config::read(source, &self.settings);
        let bad = first_error(&reading.findings, &source.files);
        let at = self.entry(&source.unit);
        let Some(service) = self.get_mut(at) else {
            return;
        };
        service.loaded = true;
        let can_reload = reading.config.policy.can_reload();
        // With errors, what runs goes on by its old configuration.
        if bad.is_none() || service.config.is_none() && service.run.state.is_down() {
            service.config = Some(Box::new(reading.config));
        }
        service.broken = bad.map(String::into_boxed_str);
        ctx.send(FromHelper::Loaded {
            unit: source.unit.clone(),
            findings: reading.findings,
            implied: reading.implied,
            can_reload,
        });
    }

    pub(crate) fn unload(&mut self, ctx: &mut Context<'_>, unit: &str) {
        let Some(at) = self.by_name(unit) else { return };
        if self
            .get(at)
            .is_some_and(|service| !service.run.state.is_down())
        {
            return;
        }
        self.drop_socket(ctx, at);
        self.drop_deposits(ctx, at, None);
        if let Some(service) = self.get_mut(at) {
            stop_waiting(service, ctx);
        }
        ctx.journal.forget(unit);
        self.remove(at);
    }

    pub(crate) fn command(&mut self, ctx: &mut Context<'_>, command: &Command) {
        let at = self.entry(&command.unit);
        let Some(service) = self.get_mut(at) else {
            return;
        };
        let (seq, invocation) = (command.seq, command.invocation);
        if let Verb::Kill { whom, signal } = command.verb {
            if seq > service.run.kill_seq {
                service.run.kill_seq = seq;
                self.record(ctx, at);
                self.kill(ctx, at, whom, signal);
            }
            return self.report(ctx, at);
        }
        if seq <= service.run.seq {
            return self.report(ctx, at);
        }
        let about = service.about.take().unwrap_or_default();
        service.restarting = about.restarting;
        match command.verb {
            Verb::Start => {
                self.monitor(at, &about);
                self.start(ctx, at, seq, invocation);
            }
            Verb::Stop => self.feed(ctx, at, Event::Stop { seq }),
            Verb::Reload => self.feed(ctx, at, Event::Reload { seq }),
            _ => self.feed(ctx, at, Event::ResetFailed { seq }),
        }
    }

    fn start(&mut self, ctx: &mut Context<'_>, at: u32, seq: u64, invocation: Invocation) {
        let Some(service) = self.get_mut(at) else {
            return;
        };
        let down = service.run.state.is_down();
        let broken = match (&service.broken, &service.config) {
            (Some(why), _) => Some(why.to_string()),
            (None, None) => Some("the service helper was not told its configuration".into()),
            (None, Some(_)) => None,
        };
        if let Some(why) = broken.filter(|_| down) {
            return self.refuse(ctx, at, seq, invocation, why);
        }
        // What cannot be remembered must not be begun; what runs goes on.
        if down && ctx.journal.is_full() {
            self.record(ctx, at);
            if ctx.journal.is_full() {
                return self.refuse(ctx, at, seq, invocation, FULL.into());
            }
        }
        let Some(service) = self.get_mut(at) else {
            return;
        };
        if down {
            let cgroup = service
                .config
                .as_ref()
                .map(|config| config.cgroup.to_string());
            service.run.cgroup = cgroup.unwrap_or_default();
        }
        self.feed(ctx, at, Event::Start { seq, invocation });
    }

    /// Something to know about a unit's next command. A unit that is up has had its start, from
    /// another helper process.
    pub(crate) fn about(&mut self, about: About) {
        let at = self.entry(&about.unit);
        let down = self.get(at).is_none_or(|s| s.run.state.is_down());
        if !down {
            self.monitor(at, &about);
        }
        if let Some(service) = self.get_mut(at) {
            service.about = Some(about);
        }
    }

    /// Notes how the unit ended whose end starts this one.
    fn monitor(&mut self, at: u32, about: &About) {
        let other = self.by_name(&about.triggered_by);
        let variables = other.and_then(|other| self.get(other)).map(spawn::monitor);
        if let Some(service) = self.get_mut(at) {
            service.monitor = variables.unwrap_or_default();
        }
    }

    /// A start that is not even begun.
    fn refuse(
        &mut self,
        ctx: &mut Context<'_>,
        at: u32,
        seq: u64,
        invocation: Invocation,
        why: String,
    ) {
        if let Some(service) = self.get_mut(at) {
            service.run.seq = seq;
            service.run.invocation = invocation;
            service.run.outcome = Outcome::Failed;
            service.run.detail = why;
        }
        self.record(ctx, at);
        self.report(ctx, at);
    }

    fn kill(&mut self, ctx: &mut Context<'_>, at: u32, whom: Whom, number: u8) {
        let root = self.shared.root.clone();
        let Some(service) = self.get_mut(at) else {
            return;
        };
        let named = match whom {
            Whom::All => [service.run.main, service.run.control],
            Whom::Main => [service.run.main, None],
            Whom::Control => [None, service.run.control],
        };
        let mut reached = false;
        for proc in named.iter().flatten() {
            reached |= process::kill((*proc).into(), i32::from(number)).is_ok();
        }
        if whom == Whom::All {
            reached |= service.signal_rest(root.as_deref(), &[i32::from(number)]);
        }
        if !reached {
            let unit = service.run.unit.clone();
            let text = format!("no process of it was there to take signal {number}");
            ctx.send(FromHelper::Log {
                level: 5,
                unit,
                text,
            });
        }
    }
}
