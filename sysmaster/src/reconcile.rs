//! What is on record compared with what the kernel says: on demand, and after each recovery.
//!
//! | What differs | Who looks | What is done |
//! |---|---|---|
//! | a process on record is gone, and nobody said how it ended | service helper | its end is waited for, then taken as `interrupted` |
//! | processes in the group of a unit nobody recorded | service helper | adopted |
//! | processes in the group of a unit that is down | service helper | killed, if `KillMode=` and `SendSIGKILL=` would have |
//! | an empty group of a unit that is down | service helper | removed |
//! | the path of a notify socket is gone | service helper | made anew |
//! | a runtime directory of a unit that is up is gone | service helper | told: the next start makes it |
//! | the path of a listener is gone | socket helper | made anew, unless the service has the old one |
//! | a group of a unit that is not loaded | manager | the unit is loaded and adopted; an empty one is removed |
//! | the path of one of our own sockets is gone | manager | made anew |
//! | a restart became due while there was no manager | manager | done at once |
//!
//! The manager looks at its own, then asks the helpers; a helper has said everything when it answers the ping
//! behind the question. Each difference is in the log, and goes to whoever asked.

use crate::client::Answer;
use crate::manager::{Manager, token};
use init_wire::{Kind, Label};
use platform::cgroup::{self, Group};
use platform::poll::Interest;
use platform::socket;
use std::path::Path;
use units::name::UnitName;
use units::wire::control::Reply;
use units::wire::helper::{Difference, ToHelper};

/// Differences that are kept for whoever asked; more are in the log alone.
const MOST: usize = 1000;

/// A comparison, under way or the last one.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    /// One is to follow the recovery.
    pub(crate) due: bool,
    found: Vec<Difference>,
    /// Helpers that have not said everything, and the ping each has to answer.
    open: Vec<(usize, u64)>,
}

impl Manager {
    /// The comparison after a recovery: it looks at every process there is, so whatever waits for us comes first.
    pub(crate) fn compare_if_due(&mut self) {
        if !self.comparison.due || self.exits.held() > 0 {
            return;
        }
        let now = platform::clock::now();
        if self.engine.next_deadline().is_none_or(|due| due > now) {
            self.comparison.due = false;
            self.reconcile();
        }
    }

    /// Begins a comparison, if none is under way.
    pub(crate) fn reconcile(&mut self) {
        if !self.comparison.open.is_empty() {
            return;
        }
        self.comparison.found.clear();
        self.compare_listeners();
        self.compare_groups();
        for index in 0..self.helpers.len() {
            let helper = self.helpers.get_mut(index);
            let Some(helper) = helper.filter(|helper| helper.synced()) else {
                continue;
            };
            let (asked, inside) = (helper.queue(&ToHelper::Reconcile, None), helper.inside);
            let ping = helper.next_ping();
            if inside {
                self.flush_inside(index);
            } else if asked {
                self.comparison.open.push((index, ping));
            }
        }
    }

    /// Something differs.
    pub(crate) fn differs(&mut self, difference: Difference) {
        let Difference {
            unit,
            kind,
            found,
            done,
        } = &difference;
        let text = [kind.as_str(), ": ", found, ": ", done].concat();
        self.log(4, unit, &text);
        if self.comparison.found.len() < MOST {
            self.comparison.found.push(difference);
        }
    }

    fn tell_difference(&mut self, unit: &str, kind: &str, found: String, done: &str) {
        self.differs(Difference {
            unit: unit.into(),
            kind: kind.into(),
            found,
            done: done.into(),
        });
    }

    /// A helper has answered this ping; `None`: it will not answer any more.
    pub(crate) fn compared(&mut self, index: usize, nonce: Option<u64>) {
        let said_all = |(of, ping): &(usize, u64)| *of == index && nonce.is_none_or(|n| n >= *ping);
        self.comparison.open.retain(|open| !said_all(open));
    }

    /// The answer for a client, once everybody has said everything.
    pub(crate) fn comparison_answer(&self) -> Option<Answer> {
        let found = self.comparison.found.iter().cloned();
        let frames: Vec<Reply> = found.map(Reply::Difference).collect();
        let done = self.comparison.open.is_empty();
        done.then(|| Answer::Frames(frames.into_iter()))
    }

    /// Restarts that became due while there was no manager. To be called before the engine thinks.
    pub(crate) fn compare_timers(&mut self) {
        let now = self.started;
        let due = |at: Option<u64>| at.filter(|at| *at < now).map(|at| (now - at) / 1000);
        let units = self.engine.units();
        let late: Vec<(String, u64)> = units
            .filter_map(|unit| Some((unit.name.as_str().into(), due(unit.restart_at)?)))
            .collect();
        for (unit, ms) in late {
            let found = [
                "its restart was due ",
                &ms.to_string(),
                " ms before there was a manager",
            ];
            self.tell_difference(&unit, "timer", found.concat(), "done now");
        }
    }

    fn compare_listeners(&mut self) {
        for (name, mode, number) in [
            ("control", 0o600, token::CONTROL),
            ("public", 0o666, token::PUBLIC),
            ("helper", 0o600, token::HELPERS),
        ] {
            let path = self.run_dir.join(name);
            if platform::files::exists(&path) {
                continue;
            }
            let found = ["nobody can connect: ", &path.to_string_lossy(), " is gone"].concat();
            let made = socket::listen(&path, mode, crate::start::BACKLOG)
                .and_then(|made| Ok((made.try_clone()?, made)));
            let Ok((copy, made)) = made else {
                self.tell_difference("", "socket", found, "it cannot be made");
                continue;
            };
            let place = match number {
                token::CONTROL => &mut self.listeners.control,
                token::PUBLIC => &mut self.listeners.public,
                _ => &mut self.listeners.helper,
            };
            if let Some(old) = place.take() {
                let _ = self.poller.remove(&old);
            }
            let _ = self.poller.add(&made, number, Interest::READ);
            *place = Some(made);
            if let Some(init) = &mut self.init {
                let label = Label::of(Kind::LISTENER, name);
                init.keep(label, copy, crate::init_link::Asker::Nobody);
            }
            self.tell_difference("", "socket", found, "made anew");
        }
    }

    /// Control groups of units nobody has loaded.
    fn compare_groups(&mut self) {
        let mut groups = Vec::new();
        crate::salvage::groups(Path::new(&self.cgroup_root), &mut groups);
        for (name, path) in groups {
            if self.is_loaded(&name) {
                continue;
            }
            let populated = Group::open(&path).and_then(|group| group.is_populated());
            let unit = name.as_str().to_owned();
            if !populated.unwrap_or(false) {
                let _ = cgroup::remove(&path);
                let found = "an empty group of a unit that is not loaded".into();
                self.tell_difference(&unit, "cgroup", found, "removed");
                continue;
            }
            self.load_for(&name);
            let done = match self.is_loaded(&name) {
                true => "the unit is loaded, for its helper to adopt them",
                false => "left alone: there is no such unit",
            };
            let found = "processes in the group of a unit that is not loaded".into();
            self.tell_difference(&unit, "cgroup", found, done);
        }
    }

    fn is_loaded(&self, name: &UnitName) -> bool {
        let view = self.engine.find(name);
        view.is_some_and(|view| view.load.is_some_and(units::spec::LoadState::is_loaded))
    }
}
