//! What clients ask for, and the answers that take more than one turn.

use crate::answers;
use crate::client::{Answer, Awaited, LOW_WATER};
use crate::crashes::Step;
use crate::effects::rejection;
use crate::manager::Manager;
use crate::server::NOTE_EVERY;
use engine::api::{Input, JobId, Rejection, Ticket, UnitId};
use platform::clock;
use units::name::UnitName;
use units::state::{Invocation, JobMode, JobVerb, Whom};
use units::wire::control::{ErrorKind, Reply, Request};
use units::wire::helper::{Command, ToHelper, Verb};

/// Units one request may name.
const MOST_UNITS: usize = 1024;

/// Why a request is refused.
type Refusal = (ErrorKind, String);

/// A request in words, for what is said of one that did harm: what it is and the first unit. Each kind has words of
/// its own: what is put in quarantine by them must not take another one along.
fn words(request: &Request) -> String {
    let (what, unit) = match request {
        Request::Hello { .. } => ("greeting", None),
        Request::Manager => ("status", None),
        Request::ListUnits { patterns, .. } => ("list-units", patterns.first()),
        Request::ListJobs => ("list-jobs", None),
        Request::Show { unit } => ("show", Some(unit)),
        Request::Dependencies { unit, .. } => ("list-dependencies", Some(unit)),
        Request::Jobs { verb, units, .. } => (verb.as_str(), units.first()),
        Request::Atomic { units, .. } => ("start --atomic", units.first()),
        Request::Plan { units, .. } => ("plan", units.first()),
        Request::History { units } => ("why", units.first()),
        Request::Cancel { .. } => ("cancel", None),
        Request::Kill { unit, .. } => ("kill", Some(unit)),
        Request::ResetFailed { .. } => ("reset-failed", None),
        Request::Crashes => ("crashes", None),
        Request::Reconcile => ("reconcile", None),
        Request::Reload => ("daemon-reload", None),
        Request::Reexec => ("daemon-reexec", None),
        Request::Upgrade { .. } => ("upgrade", None),
        Request::UpgradeState => ("upgrade state", None),
        Request::Shutdown { .. } => ("shutdown", None),
    };
    match unit {
        Some(unit) => [what, " ", unit].concat(),
        None => what.into(),
    }
}

impl Manager {
    /// Answers a request, or begins to.
    pub(crate) fn on_request(&mut self, serial: u32, request: Request) {
        let words = words(&request);
        let answered = if self.takes_off(Step::Request, &words) {
            self.answer(serial, request)
        } else {
            let text = "this request killed the manager twice and is in quarantine (sctl crashes)";
            Err((ErrorKind::Internal, text.into()))
        };
        self.lands();
        if let Err((kind, message)) = answered
            && let Some(client) = self.server.client(serial)
        {
            client.refuse(kind, message);
        }
    }

    fn answer(&mut self, serial: u32, request: Request) -> Result<(), Refusal> {
        match request {
            Request::Hello { .. } => {}
            request if self.waits_to_try(&request) => {
                self.begin_answer(serial, Answer::Held(request));
            }
            Request::Manager => {
                let info = self.manager_info();
                self.say(serial, vec![Reply::Manager(info)]);
            }
            Request::ListUnits { patterns, all } => self.list_units(serial, patterns, all)?,
            Request::ListJobs => {
                let jobs = self.job_lines().into_iter().map(Reply::Job).collect();
                self.say(serial, jobs);
            }
            Request::Show { unit } => self.show_unit(serial, &unit)?,
            Request::Dependencies { unit, reverse, all } => {
                let id = self.known_unit(serial, &unit)?;
                let edges = self.dependency_tree(id, reverse, all);
                self.say(serial, edges);
            }
            Request::Jobs {
                verb,
                units,
                mode,
                wait,
            } => {
                self.queue_jobs(serial, verb, &units, mode, wait)?;
            }
            Request::Atomic { units, mode, wait } => {
                self.start_atomically(serial, &units, mode, wait)?;
            }
            Request::Plan {
                verb,
                units,
                mode,
                atomic,
            } => {
                let names = self.load_named(&units)?;
                let plan = self.engine.plan(&names, verb, mode, atomic);
                let frames = self.planned(plan.map_err(rejection)?);
                self.say(serial, frames);
            }
            Request::History { units } => self.tell_history(serial, &units)?,
            Request::Cancel { jobs } => self.cancel_jobs(serial, &jobs)?,
            Request::Kill { unit, whom, signal } => self.kill(serial, &unit, whom, signal)?,
            Request::ResetFailed { units } => self.reset_failed(serial, &units)?,
            Request::Crashes => {
                let lines = self.crash_lines().into_iter().map(Reply::Crash).collect();
                self.say(serial, lines);
            }
            Request::Reconcile => {
                self.reconcile();
                self.begin_answer(serial, Answer::Comparison);
            }
            Request::Reload => {
                self.regenerate_and_reload();
                self.begin_answer(serial, Answer::Reload);
            }
            Request::Reexec => {
                self.reexec(crate::upgrade::TRIAL)?;
                self.say(serial, Vec::new());
            }
            Request::Upgrade { only, seconds } => {
                self.begin_upgrade(&only, seconds, true)?;
                self.say(serial, Vec::new());
            }
            Request::UpgradeState => {
                let line = self.upgrade_line();
                self.say(serial, vec![Reply::Upgrade(line)]);
            }
            Request::Shutdown { kind, force } => {
                self.shut_down(kind, force);
                self.say(serial, Vec::new());
            }
        }
        Ok(())
    }

    fn list_units(&mut self, serial: u32, patterns: Vec<String>, all: bool) -> Result<(), Refusal> {
        check_patterns(&patterns)?;
        let ids: Vec<_> = self.engine.units().map(|view| view.id).collect();
        let rest = ids.into_iter();
        let answer = Answer::Units {
            rest,
            patterns,
            all,
        };
        self.begin_answer(serial, answer);
        Ok(())
    }

    fn show_unit(&mut self, serial: u32, unit: &str) -> Result<(), Refusal> {
        let id = self.known_unit(serial, unit)?;
        let Some((detail, findings)) = self.detail(id) else {
            return Err((ErrorKind::NotFound, format!("{unit} is not loaded")));
        };
        let frames = vec![Reply::Detail(detail), Reply::Findings(findings)];
        self.say(serial, frames);
        Ok(())
    }

    fn tell_history(&mut self, serial: u32, units: &[String]) -> Result<(), Refusal> {
        check_count(units)?;
        let ids = units.iter().map(|unit| self.known_unit(serial, unit));
        let mut ids = ids.collect::<Result<Vec<_>, _>>()?;
        if units.is_empty() {
            ids = self.engine.units().map(|view| view.id).collect();
        }
        let frames = ids.into_iter().filter_map(|id| self.history(id));
        let frames = frames.map(Reply::History).collect();
        self.say(serial, frames);
        Ok(())
    }

    fn begin_answer(&mut self, serial: u32, answer: Answer) {
        if let Some(client) = self.server.client(serial) {
            client.answer = answer;
        }
    }

    /// Answers with these frames and `End`.
    fn say(&mut self, serial: u32, frames: Vec<Reply>) {
        self.begin_answer(serial, Answer::Frames(frames.into_iter()));
    }

    /// Goes on with the answer that is under way, as far as the client's queue has room.
    pub(crate) fn go_on(&mut self, serial: u32) {
        let Some(client) = self.server.client(serial) else {
            return;
        };
        let mut answer = std::mem::take(&mut client.answer);
        if let Answer::Held(request) = answer {
            if self.waits_to_try(&request) {
                return self.begin_answer(serial, Answer::Held(request));
            }
            self.on_request(serial, request);
            return self.go_on(serial);
        }
        let done = match &mut answer {
            Answer::Idle | Answer::Held(_) => return,
            Answer::Reload => self.generating.is_none(),
            Answer::Comparison => {
                let Some(frames) = self.comparison_answer() else {
                    return self.begin_answer(serial, Answer::Comparison);
                };
                self.begin_answer(serial, frames);
                return self.go_on(serial);
            }
            Answer::Frames(frames) => loop {
                if client.waiting() >= LOW_WATER {
                    break false;
                }
                match frames.next() {
                    Some(frame) => client.push(&frame),
                    None => break true,
                }
            },
            Answer::Units {
                rest,
                patterns,
                all,
            } => self.go_on_units(serial, rest, patterns, *all),
            Answer::Jobs(jobs) => self.go_on_jobs(serial, jobs),
        };
        if let Some(client) = self.server.client(serial) {
            if done {
                client.push(&Reply::End);
            } else {
                client.answer = answer;
            }
        }
    }

    fn go_on_units(
        &mut self,
        serial: u32,
        rest: &mut std::vec::IntoIter<UnitId>,
        patterns: &[String],
        all: bool,
    ) -> bool {
        for unit in rest {
            let line = self.unit_line(unit);
            let Some(client) = self.server.client(serial) else {
                return true;
            };
            if let Some(line) = line.filter(|line| answers::wanted(line, patterns, all)) {
                client.push(&Reply::Unit(line));
            }
            if client.waiting() >= LOW_WATER {
                return false;
            }
        }
        true
    }

    fn go_on_jobs(&mut self, serial: u32, jobs: &mut Awaited) -> bool {
        if jobs.refused {
            return true;
        }
        if !jobs.tickets.is_empty() {
            return false;
        }
        if !jobs.wait || !jobs.is_open() {
            return true;
        }
        let now = clock::now();
        if now >= jobs.note_at {
            jobs.note_at = now + NOTE_EVERY;
            let mut waited = jobs.jobs.clone();
            if let Some(more) = jobs.atomic.and_then(|one| self.engine.atomic_jobs(one)) {
                waited = more.collect();
            }
            let waited = waited.into_iter().take(16);
            let lines = waited.filter_map(|job| self.job_line(job)).collect();
            if let Some(client) = self
                .server
                .client(serial)
                .filter(|c| c.waiting() < LOW_WATER)
            {
                client.push(&Reply::Waiting(lines));
            }
        }
        false
    }

    /// The unit a client names, loaded if need be, also if its file was just written. The public socket loads nothing.
    fn known_unit(&mut self, serial: u32, unit: &str) -> Result<UnitId, Refusal> {
        let name = unit_name(unit)?;
        let control = self
            .server
            .client(serial)
            .is_some_and(|client| client.control);
        let known = |manager: &Self| {
            manager
                .engine
                .find(&name)
                .filter(|view| view.load.is_some())
                .map(|view| view.id)
        };
        if control && (self.loader.appeared(&name) || known(self).is_none()) {
            self.load_unit(&name);
        }
        match known(self) {
            Some(id) => Ok(id),
            None => Err((ErrorKind::NotFound, format!("{name} is not loaded"))),
        }
    }

    fn queue_jobs(
        &mut self,
        serial: u32,
        verb: JobVerb,
        units: &[String],
        mode: JobMode,
        wait: bool,
    ) -> Result<(), Refusal> {
        self.room_for(verb)?;
        let names = self.load_named(units)?;
        let mut tickets = Vec::new();
        for name in &names {
            let ticket = self.server.ticket(serial);
            tickets.push((ticket, String::from(name.as_str())));
        }
        self.await_jobs(serial, tickets.clone(), wait);
        for (name, (ticket, _)) in names.into_iter().zip(tickets) {
            self.inputs.push_back(Input::Enqueue {
                ticket,
                unit: name,
                verb,
                mode,
            });
        }
        self.pump();
        Ok(())
    }

    /// Stopping is always possible: it makes room.
    fn room_for(&mut self, verb: JobVerb) -> Result<(), Refusal> {
        if verb == JobVerb::Stop || self.has_room() {
            return Ok(());
        }
        let text = "the state store is full: nothing new is started; stop something first";
        Err((ErrorKind::Busy, text.into()))
    }

    /// The units a client names, with what their start may need loaded.
    fn load_named(&mut self, units: &[String]) -> Result<Vec<UnitName>, Refusal> {
        check_count(units)?;
        let names = units.iter().map(|unit| unit_name(unit));
        let names = names.collect::<Result<Vec<_>, _>>()?;
        for name in &names {
            self.load_for(name);
        }
        Ok(names)
    }

    fn await_jobs(&mut self, serial: u32, tickets: Vec<(Ticket, String)>, wait: bool) {
        let asked = Awaited {
            tickets,
            wait,
            note_at: clock::now() + NOTE_EVERY,
            ..Awaited::default()
        };
        self.begin_answer(serial, Answer::Jobs(asked));
    }

    /// One ticket, and one transaction, for all units.
    fn start_atomically(
        &mut self,
        serial: u32,
        units: &[String],
        mode: JobMode,
        wait: bool,
    ) -> Result<(), Refusal> {
        self.room_for(JobVerb::Start)?;
        let names = self.load_named(units)?;
        let ticket = self.server.ticket(serial);
        self.await_jobs(serial, vec![(ticket, units.join(" "))], wait);
        self.inputs.push_back(Input::Atomic {
            ticket,
            units: names,
            mode,
        });
        self.pump();
        Ok(())
    }

    /// The engine carries an atomic start out. (No unit's name has a space in it.)
    pub(crate) fn atomic_opened(&mut self, ticket: Ticket, transaction: u32) {
        let Some(client) = self.server.redeem(ticket) else {
            return;
        };
        let Answer::Jobs(jobs) = &mut client.answer else {
            return;
        };
        let asked = jobs
            .tickets
            .pop()
            .map(|(_, units)| units)
            .unwrap_or_default();
        jobs.atomic = (transaction != 0).then_some(transaction);
        let mut replies = Vec::new();
        for unit in asked.split(' ').map(String::from) {
            let view = UnitName::new(&unit)
                .ok()
                .and_then(|name| self.engine.find(&name));
            let job = view.and_then(|view| view.job).map(|job| job.id);
            jobs.jobs.extend(job);
            let job = job.map_or(0, |job| job.0);
            replies.push(Reply::Queued { unit, job });
        }
        for reply in &replies {
            client.push(reply);
        }
    }

    /// The engine has queued what somebody asked for.
    pub(crate) fn ticket_queued(&mut self, ticket: Ticket, job: Option<JobId>) {
        if ticket.0 < crate::boot::FIRST_TICKET {
            self.own_ticket_queued(ticket, job);
            return;
        }
        let Some(client) = self.server.redeem(ticket) else {
            return;
        };
        let Answer::Jobs(jobs) = &mut client.answer else {
            return;
        };
        let Some(at) = jobs.tickets.iter().position(|(known, _)| *known == ticket) else {
            return;
        };
        let (_, unit) = jobs.tickets.remove(at);
        jobs.jobs.extend(job);
        client.push(&Reply::Queued {
            unit,
            job: job.map_or(0, |job| job.0),
        });
    }

    /// The engine has refused it. The answer ends with that; jobs already queued stay.
    pub(crate) fn ticket_rejected(&mut self, ticket: Ticket, reason: Rejection) {
        if ticket.0 < crate::boot::FIRST_TICKET {
            self.own_ticket_rejected(ticket, reason);
            return;
        }
        let (kind, message) = rejection(reason);
        if let Some(client) = self.server.redeem(ticket)
            && matches!(client.answer, Answer::Jobs(_))
        {
            client.refuse(kind, message);
        }
    }

    fn cancel_jobs(&mut self, serial: u32, jobs: &[u32]) -> Result<(), Refusal> {
        let known: Vec<JobId> = self.engine.jobs().map(|job| job.id).collect();
        if let Some(job) = jobs.iter().find(|job| !known.contains(&JobId(**job))) {
            return Err((ErrorKind::NotFound, format!("there is no job {job}")));
        }
        let chosen = known
            .iter()
            .filter(|job| jobs.is_empty() || jobs.contains(&job.0));
        for job in chosen {
            self.inputs.push_back(Input::Cancel { job: *job });
        }
        self.say(serial, Vec::new());
        Ok(())
    }

    /// Passes a signal on to a unit's helper. It changes no state by itself, so the engine is not
    /// asked, and the command has no sequence of its own.
    fn kill(&mut self, serial: u32, unit: &str, whom: Whom, signal: u8) -> Result<(), Refusal> {
        if !(1..=64).contains(&signal) {
            let message = format!("found signal {signal}, expected 1 to 64");
            return Err((ErrorKind::BadRequest, message));
        }
        let id = self.known_unit(serial, unit)?;
        let Some(view) = self.engine.unit(id) else {
            return Err((ErrorKind::NotFound, format!("{unit} is not loaded")));
        };
        let (name, invocation, seq) = (view.name.as_str().to_owned(), view.invocation, view.seq);
        if invocation == Invocation::default() {
            return Err((ErrorKind::Unsupported, format!("{name} has no processes")));
        }
        let index = self.helpers.find(answers::type_of(&name));
        let synced = |index: &usize| {
            self.helpers
                .get(*index)
                .is_some_and(crate::helpers::Helper::synced)
        };
        let Some(index) = index.filter(synced) else {
            let message = format!("the helper of {name} is not in contact at the moment");
            return Err((ErrorKind::Busy, message));
        };
        let verb = Verb::Kill { whom, signal };
        let command = Command {
            unit: name,
            invocation,
            seq,
            verb,
        };
        self.tell_helper(index, &ToHelper::Command(command));
        self.say(serial, Vec::new());
        Ok(())
    }

    fn reset_failed(&mut self, serial: u32, units: &[String]) -> Result<(), Refusal> {
        check_count(units)?;
        let mut chosen = Vec::new();
        if units.is_empty() {
            self.lift_quarantine(None);
            self.forget_taken_back();
        }
        for unit in units {
            let name = unit_name(unit)?;
            self.lift_quarantine(Some(name.as_str()));
            match self.engine.find(&name) {
                Some(view) => chosen.push(view.id),
                None => return Err((ErrorKind::NotFound, format!("{name} is not loaded"))),
            }
        }
        if units.is_empty() {
            chosen = self.engine.units().map(|view| view.id).collect();
        }
        for unit in chosen {
            self.inputs.push_back(Input::ResetFailed { unit });
        }
        self.say(serial, Vec::new());
        Ok(())
    }
}

fn unit_name(text: &str) -> Result<UnitName, Refusal> {
    UnitName::new(text).map_err(|error| (ErrorKind::BadRequest, error.to_string()))
}

fn check_count(units: &[String]) -> Result<(), Refusal> {
    if units.len() > MOST_UNITS {
        let message = format!("found {} units, expected at most {MOST_UNITS}", units.len());
        return Err((ErrorKind::BadRequest, message));
    }
    Ok(())
}

fn check_patterns(patterns: &[String]) -> Result<(), Refusal> {
    check_count(patterns)?;
    match patterns.iter().find(|pattern| pattern.len() > 256) {
        Some(_) => {
            let message = "found a pattern of more than 256 bytes, longer than any unit's name";
            Err((ErrorKind::BadRequest, message.into()))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use units::wire::control::ShutdownKind;

    #[test]
    fn what_is_in_quarantine_is_one_kind_of_request_and_no_other() {
        let unit = || "a.service".to_owned();
        let units = || vec![unit()];
        let (mode, wait) = (JobMode::Replace, false);
        let (verb, patterns) = (JobVerb::Start, units());
        let (whom, signal) = (Whom::All, 15);
        let (reverse, all, atomic) = (false, false, false);
        let (only, seconds) = (String::new(), 1);
        let (kind, force) = (ShutdownKind::Reboot, false);
        let jobs = |verb| Request::Jobs {
            verb,
            units: units(),
            mode,
            wait,
        };
        let requests = [
            Request::Hello { version: 1 },
            Request::Manager,
            Request::ListUnits { patterns, all },
            Request::ListJobs,
            Request::Show { unit: unit() },
            Request::Dependencies {
                unit: unit(),
                reverse,
                all,
            },
            jobs(JobVerb::Start),
            jobs(JobVerb::Stop),
            Request::Atomic {
                units: units(),
                mode,
                wait,
            },
            Request::Plan {
                verb,
                units: units(),
                mode,
                atomic,
            },
            Request::History { units: units() },
            Request::Cancel { jobs: vec![1] },
            Request::Kill {
                unit: unit(),
                whom,
                signal,
            },
            Request::ResetFailed { units: units() },
            Request::Crashes,
            Request::Reconcile,
            Request::Reload,
            Request::Reexec,
            Request::Upgrade { only, seconds },
            Request::UpgradeState,
            Request::Shutdown { kind, force },
        ];
        let mut all: Vec<String> = requests.iter().map(words).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), requests.len(), "{all:?}");
    }
}
