//! One socket unit: its record, its file, and its listeners on their way into our hands.

use crate::config::Config;
use crate::record::{Record, State};
use platform::clock;
use platform::poll::Interest;
use std::os::fd::OwnedFd;
use std::path::Path;
use units::fault;
use units::runtime::{Context, hash128, kind};
use units::state::Report;
use units::wire::helper::{FromHelper, Label, Sockets as Offer};

/// One listener on its way into our hands.
#[derive(Debug)]
pub(crate) enum Slot {
    /// init was asked for it.
    Asked,
    /// It was made, and init was asked to keep it.
    Made(OwnedFd),
    /// In init's keeping, and open here.
    Here(OwnedFd),
}

/// One unit.
#[derive(Debug)]
pub(crate) struct Unit {
    pub(crate) record: Record,
    pub(crate) config: Option<Config>,
    /// Why it cannot be started, if its last configuration was not good.
    pub(crate) broken: String,
    pub(crate) slots: Vec<Slot>,
    /// Answers still to come for listeners that were asked for and are not wanted any more: init may
    /// have dropped what they bring. They come before those that are wanted.
    pub(crate) stale: Vec<u16>,
    /// For tokens; never given twice.
    pub(crate) number: u32,
    /// What it triggers is up, or on its way.
    pub(crate) served: bool,
    /// Its listeners are in the poller.
    pub(crate) watched: bool,
}

pub(crate) fn label(unit: &str, index: u16) -> Label {
    Label {
        kind: kind::SOCKET_UNIT,
        hash: hash128(unit.as_bytes()),
        index,
    }
}

impl Unit {
    pub(crate) fn new(name: &str, number: u32) -> Self {
        Self {
            record: Record {
                unit: name.into(),
                ..Record::default()
            },
            config: None,
            broken: String::new(),
            slots: Vec::new(),
            stale: Vec::new(),
            number,
            served: false,
            watched: false,
        }
    }

    pub(crate) fn token(&self, index: usize) -> u64 {
        u64::from(self.number) << 8 | index as u64
    }

    pub(crate) fn is_complete(&self) -> bool {
        !self.slots.is_empty() && self.slots.iter().all(|slot| matches!(slot, Slot::Here(_)))
    }

    pub(crate) fn enter(&mut self, state: State) {
        self.record.state = state;
        self.record.since = clock::now();
    }

    pub(crate) fn report(&self) -> Report {
        let record = &self.record;
        let sub = match record.state {
            State::Dead => "dead",
            State::Opening => "start-pre",
            State::Listening if self.served => "running",
            State::Listening => "listening",
            State::Failed => "failed",
        };
        let result = match record.why.as_str() {
            "" => "success",
            why => why,
        };
        Report {
            unit: record.unit.clone(),
            invocation: record.invocation,
            seq: record.seq,
            outcome: record.outcome,
            active: record.state.active(),
            sub: sub.into(),
            result: result.into(),
            detail: record.detail.clone(),
            status: match record.state {
                State::Listening => ["Listening on ", &record.places].concat(),
                _ => String::new(),
            },
            since: record.since,
            ..Report::default()
        }
    }

    pub(crate) fn offer(&self, count: u16) -> FromHelper {
        FromHelper::Offer(Offer {
            from: self.record.unit.clone(),
            to: self.record.to.clone(),
            name: self.record.name.clone(),
            count,
        })
    }

    /// It listens, although nothing is on record of it.
    pub(crate) fn take_up(&mut self, count: u16) {
        self.enter(State::Listening);
        let Some(config) = &self.config else { return };
        let record = &mut self.record;
        record.count = count;
        record.to.clone_from(&config.to);
        record.name.clone_from(&config.name);
        record.paths = config.removed();
        record.places = config.places();
    }

    pub(crate) fn clear_slots(&mut self) {
        for (slot, index) in self.slots.drain(..).zip(0..) {
            if matches!(slot, Slot::Asked) {
                self.stale.push(index);
            }
        }
    }

    /// Asks init for every listener. What it does not have is made.
    pub(crate) fn ask(&mut self, ctx: &mut Context<'_>) {
        self.clear_slots();
        for index in 0..self.record.count {
            self.slots.push(Slot::Asked);
            ctx.fetch(label(&self.record.unit, index));
        }
    }

    /// Waits for something to come in while nothing serves, and only then.
    pub(crate) fn look(&mut self, ctx: &mut Context<'_>) {
        let wanted = self.record.state == State::Listening && !self.served && self.is_complete();
        if wanted == self.watched {
            return;
        }
        self.watched = wanted;
        for (index, slot) in self.slots.iter().enumerate() {
            let Slot::Here(fd) = slot else { continue };
            let done = if wanted {
                ctx.watch(fd, self.token(index), Interest::READ)
            } else {
                ctx.unwatch(fd)
            };
            if let Err(error) = done {
                let text = format!("it cannot be seen when something comes in: {error}");
                ctx.log(3, &self.record.unit, text);
            }
        }
    }

    /// Lets everything go: nobody can connect any more. To be called with the record stored, and
    /// again if what it tells init may have been lost.
    pub(crate) fn release(&mut self, ctx: &mut Context<'_>) {
        self.look(ctx);
        self.clear_slots();
        for index in 0..self.record.count {
            ctx.send(FromHelper::Drop {
                label: label(&self.record.unit, index),
            });
        }
        ctx.send(self.offer(0));
        fault::boundary();
        for path in &self.record.paths {
            let _ = std::fs::remove_file(path);
        }
    }

    /// The listener was not kept, or what was kept is another: makes it.
    pub(crate) fn make(&self, index: usize, ctx: &mut Context<'_>) -> Result<OwnedFd, String> {
        let config = self.config.as_ref();
        let listener = config.and_then(|config| config.listeners.get(index));
        let (Some(config), Some(listener)) = (config, listener) else {
            return Err("a listener is lost, and its file does not describe it any more".into());
        };
        let unit = &self.record.unit;
        let mut warn = |text| ctx.log(4, unit, text);
        let made = listener
            .open(config, &mut warn)
            .and_then(|fd| Ok((fd.try_clone()?, fd)));
        fault::boundary();
        match made {
            Ok((copy, fd)) => {
                ctx.keep(label(unit, index as u16), copy);
                Ok(fd)
            }
            Err(error) => Err(format!("cannot listen on {}: {error}", listener.describe())),
        }
    }

    /// Makes a listener in place of one that is here, and has init keep it.
    pub(crate) fn make_again(&mut self, index: usize, ctx: &mut Context<'_>) -> Result<(), String> {
        let made = self.make(index, ctx)?;
        if let Some(slot) = self.slots.get_mut(index)
            && let Slot::Here(old) = std::mem::replace(slot, Slot::Made(made))
            && self.watched
        {
            let _ = ctx.unwatch(&old);
        }
        // Nothing is watched until init has it.
        self.look(ctx);
        Ok(())
    }

    /// One more trigger; whether that is too many.
    pub(crate) fn count_trigger(&mut self) -> bool {
        let (interval, burst) = self.config.as_ref().map_or((0, 0), |config| config.limit);
        if interval == 0 || burst == 0 {
            return false;
        }
        let now = clock::now();
        let (since, count) = &mut self.record.triggers;
        if now.saturating_sub(*since) >= interval {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        *count > burst
    }

    /// Whether a descriptor that init kept is the listener: at a start it must be what the file
    /// describes, afterwards it is what it is.
    pub(crate) fn accepts(&self, index: usize, fd: &OwnedFd) -> bool {
        if fault::without("keeping") {
            return false;
        }
        let listener = self.config.as_ref().and_then(|c| c.listeners.get(index));
        match (self.record.state, listener) {
            (State::Opening, Some(listener)) => listener.is(fd),
            (_, Some(listener)) if self.record.state.is_down() => listener.is(fd),
            (state, _) => state == State::Listening,
        }
    }
}

pub(crate) fn make_links(config: &Config) -> Result<(), String> {
    let Some(target) = config.listeners.iter().find_map(|l| l.path()) else {
        return Ok(());
    };
    for link in &config.links {
        let link = Path::new(link);
        if std::fs::symlink_metadata(link).is_ok_and(|found| found.is_symlink()) {
            let _ = std::fs::remove_file(link);
        }
        std::os::unix::fs::symlink(target, link)
            .map_err(|error| format!("the link {} cannot be made: {error}", link.display()))?;
    }
    Ok(())
}
