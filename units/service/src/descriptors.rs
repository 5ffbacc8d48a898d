//! The descriptors a service starts with: what socket units listen on for it, and what it has
//! deposited itself (`FDSTORE=1`).
//!
//! Both are in init's keeping under labels of their unit, and fetched from there.
//!
//! * *Listening descriptors* are fetched for each start. A fork of `ExecStart=` that has to wait for
//!   them stands in the unit's record as announced and in no slot: a helper that is killed meanwhile
//!   leaves it to its successor, which fetches again. One that init does not have fails the start.
//!   They come first, from descriptor 3 on, in the order of the units' names and listeners.
//! * *Deposits* follow them in the order of their numbers. They are open here too, unless
//!   `FDPOLL=0` watched for the end of their other side, and fetched once by each helper process.
//!   What init refuses, or no longer has, is forgotten.
//!
//! A deposit is safe as soon as it is in the notify socket, which init has: the datagram stays there until init
//! has the descriptor as well, and what the service says after it waits. So a descriptor sent with
//! `BARRIER=1`, which is closed when it is read, tells that everything deposited before is in init's keeping.

use crate::context::Preserve;
use crate::machine::Event;
use crate::notify::Said;
use crate::run::{At, Awaited, Role};
use crate::service::Service;
use crate::services::{Services, Token};
use platform::fd::{self, Kind};
use platform::poll::Interest;
use std::os::fd::OwnedFd;
use units::runtime::Context;
use units::wire::helper::{FromHelper, Label, Sockets};

/// Deposits of one unit at most, whatever `FileDescriptorStoreMax=` says: their numbers are part of
/// the poller's tokens. init sets a lower limit, an eighth of its capacity.
pub const MOST: u16 = 4096;

/// A listening descriptor on its way.
#[derive(Debug)]
pub enum Listening {
    /// init was asked for it.
    Asked(Label),
    /// It is here.
    Here(OwnedFd),
    /// init does not have it.
    Missing,
}

/// A deposit.
#[derive(Debug)]
pub struct Deposit {
    /// Number of its label.
    pub number: u16,
    /// Open here as well; `None` until init has given it back.
    pub fd: Option<OwnedFd>,
    /// init has it.
    pub safe: bool,
}

fn listening_label(from: &str, index: u16) -> Label {
    Label {
        kind: init_wire::Kind::SOCKET_UNIT.0,
        hash: init_wire::hash128(from.as_bytes()),
        index,
    }
}

fn deposit_label(unit: &str, number: u16) -> Label {
    Label {
        kind: init_wire::Kind::SERVICE.0,
        hash: init_wire::hash128(unit.as_bytes()),
        index: number,
    }
}

impl Service {
    /// What its main process gets, in order: descriptor and name.
    pub(crate) fn passed(&self) -> Vec<(&OwnedFd, &str)> {
        let names = self
            .offers
            .iter()
            .flat_map(|offer| (0..offer.count).map(|_| offer.name.as_str()));
        let listening = self.listening.iter().zip(names);
        let listening = listening.filter_map(|(listening, name)| match listening {
            Listening::Here(fd) => Some((fd, name)),
            _ => None,
        });
        let deposits = self.deposits.iter().filter_map(|deposit| {
            let named = self.run.stored.iter().find(|(_, n)| *n == deposit.number);
            Some((
                deposit.fd.as_ref()?,
                named.map_or("stored", |(name, _)| name),
            ))
        });
        listening.chain(deposits).collect()
    }

    fn awaits_descriptors(&self) -> bool {
        let asked = |listening: &Listening| matches!(listening, Listening::Asked(_));
        self.listening.iter().any(asked) || self.deposits.iter().any(|one| one.fd.is_none())
    }
}

impl Services {
    /// A socket unit has listening descriptors for a service, or has them no more.
    pub(crate) fn offered(&mut self, sockets: Sockets) {
        let Some(service) = self.by_name(&sockets.to).and_then(|at| self.get_mut(at)) else {
            return;
        };
        service.offers.retain(|known| known.from != sockets.from);
        if sockets.count > 0 {
            service.offers.push(sockets);
            service.offers.sort_by(|a, b| a.from.cmp(&b.from));
        }
    }

    /// Whether everything the start command is to get is here. If not it is asked for, and the fork
    /// comes when it is.
    pub(crate) fn has_descriptors(
        &mut self,
        ctx: &mut Context<'_>,
        at: u32,
        fork: (Role, At, bool),
    ) -> Result<bool, String> {
        let Some(service) = self.get_mut(at) else {
            return Ok(true);
        };
        let wanted: usize = service.offers.iter().map(|o| usize::from(o.count)).sum();
        if service.waiting.is_none() && wanted > 0 {
            service.clear_listening();
            for offer in &service.offers {
                for index in 0..offer.count {
                    let label = listening_label(&offer.from, index);
                    service.listening.push(Listening::Asked(label));
                    ctx.fetch(label);
                }
            }
        }
        if service.awaits_descriptors() {
            service.waiting = Some(fork);
            return Ok(false);
        }
        service.waiting = None;
        let lost = |listening: &Listening| matches!(listening, Listening::Missing);
        if service.listening.iter().any(lost) {
            service.clear_listening();
            return Err("init does not have what its socket units listen on".into());
        }
        Ok(true)
    }

    /// The fork that waited for descriptors, if it is still wanted.
    fn go_on(&mut self, ctx: &mut Context<'_>, at: u32) {
        let Some(service) = self.get_mut(at) else {
            return;
        };
        let Some((role, which, watch)) = service.waiting.filter(|_| !service.awaits_descriptors())
        else {
            return;
        };
        if service.run.awaited != Awaited::Fork(role, which) {
            service.waiting = None;
            service.clear_listening();
            return;
        }
        if let Some(event) = self.fork_start(ctx, at, role, which, watch) {
            self.feed(ctx, at, event);
        }
    }

    /// init has given back a descriptor that is none of ours to listen on notifications, or does not
    /// have it.
    pub(crate) fn descriptor_came(
        &mut self,
        ctx: &mut Context<'_>,
        label: Label,
        fd: Option<OwnedFd>,
    ) {
        let deposit = |service: &Service| deposit_label(&service.run.unit, label.index) == label;
        if let Some(at) = self.find(deposit) {
            self.deposit_came(ctx, at, label.index, fd);
            return self.go_on(ctx, at);
        }
        let late = self.find(|service| service.stale.contains(&label));
        if let Some(service) = late.and_then(|at| self.get_mut(at)) {
            let at = service.stale.iter().position(|stale| *stale == label);
            at.map(|at| service.stale.swap_remove(at));
            return;
        }
        let asked = |listening: &Listening| matches!(listening, Listening::Asked(l) if *l == label);
        let Some(at) = self.find(|service| service.listening.iter().any(asked)) else {
            return;
        };
        let slot = self
            .get_mut(at)
            .and_then(|service| service.listening.iter_mut().find(|slot| asked(slot)));
        if let Some(slot) = slot {
            *slot = fd.map_or(Listening::Missing, Listening::Here);
        }
        self.go_on(ctx, at);
    }

    fn deposit_came(&mut self, ctx: &mut Context<'_>, at: u32, number: u16, fd: Option<OwnedFd>) {
        let Some(service) = self.get_mut(at) else {
            return;
        };
        let Some(place) = service.deposits.iter_mut().find(|d| d.number == number) else {
            return;
        };
        if fd.is_some() {
            place.fd = fd;
            place.safe = true;
            self.watch_deposit(ctx, at, number);
        } else {
            self.forget_deposit(ctx, at, number, "init does not have it any more");
        }
    }

    /// Asks for the deposits of a service that was taken over.
    pub(crate) fn fetch_deposits(&mut self, ctx: &mut Context<'_>, at: u32) {
        let Some(service) = self.get_mut(at) else {
            return;
        };
        if units::fault::without("deposits") {
            return;
        }
        for (_, number) in &service.run.stored {
            service.deposits.push(Deposit {
                number: *number,
                fd: None,
                safe: true,
            });
            ctx.fetch(deposit_label(&service.run.unit, *number));
        }
        service.deposits.sort_by_key(|deposit| deposit.number);
    }

    /// What a service says about its descriptors, and those that came with it.
    pub(crate) fn said_descriptors(
        &mut self,
        ctx: &mut Context<'_>,
        at: u32,
        said: &Said,
        fds: Vec<OwnedFd>,
    ) {
        if said.remove {
            self.drop_deposits(ctx, at, Some(&said.name));
        }
        if said.store {
            for fd in fds {
                self.deposit(ctx, at, said, fd);
            }
        }
        // What came with a barrier is closed: everything before it is safe.
    }

    /// Keeps one descriptor, as far as the service may and its type is harmless: a file or directory
    /// would pin its file system, a device its driver. One that is kept already stays as it is: a
    /// notification may be read twice.
    fn deposit(&mut self, ctx: &mut Context<'_>, at: u32, said: &Said, fd: OwnedFd) {
        let harmless = matches!(
            fd::kind(&fd),
            Ok(Kind::Socket | Kind::Pipe | Kind::Memory | Kind::Anonymous)
        );
        let Some(service) = self.get_mut(at) else {
            return;
        };
        let context = service.config.as_ref().map(|config| &config.context);
        let max = context.map_or(0, |context| context.store_max).min(MOST);
        let known =
            |deposit: &Deposit| deposit.fd.as_ref().is_some_and(|own| fd::is_same(own, &fd));
        if service.deposits.iter().any(known) {
            return;
        }
        let number = (0..max).find(|number| !service.deposits.iter().any(|d| d.number == *number));
        let number = match number {
            Some(number) if harmless => number,
            None => {
                let text = "a descriptor was not kept: FileDescriptorStoreMax= is reached";
                return self.complain(ctx, at, text);
            }
            Some(_) => {
                let text = "a descriptor was not kept: it would pin a file or device";
                return self.complain(ctx, at, text);
            }
        };
        let Ok(copy) = fd.try_clone() else { return };
        let run = &mut service.run;
        run.stored.push((said.name.clone(), number));
        run.unwatched.retain(|other| *other != number);
        if said.unwatched {
            run.unwatched.push(number);
        }
        let label = deposit_label(&run.unit, number);
        service.deposits.push(Deposit {
            number,
            fd: Some(fd),
            safe: false,
        });
        service.deposits.sort_by_key(|deposit| deposit.number);
        self.record(ctx, at);
        ctx.keep(label, copy);
        self.watch_deposit(ctx, at, number);
    }

    /// Waits for the end of a deposit's other side, unless the service said `FDPOLL=0`. What cannot
    /// be waited for (memory) stays until it is removed.
    fn watch_deposit(&mut self, ctx: &mut Context<'_>, at: u32, number: u16) {
        let Some(service) = self.get(at) else { return };
        let deposit = service.deposits.iter().find(|d| d.number == number);
        let Some(fd) = deposit.and_then(|deposit| deposit.fd.as_ref()) else {
            return;
        };
        if !service.run.unwatched.contains(&number) {
            let _ = ctx.watch(fd, Token::Deposit(at, number).number(), Interest::HANGUP);
        }
    }

    /// init has answered about a deposit.
    pub(crate) fn deposit_kept(&mut self, ctx: &mut Context<'_>, label: Label, no: Option<&str>) {
        let Some(at) = self.find(|s| deposit_label(&s.run.unit, label.index) == label) else {
            return;
        };
        if let Some(why) = no {
            return self.forget_deposit(ctx, at, label.index, why);
        }
        let Some(service) = self.get_mut(at) else {
            return;
        };
        for deposit in &mut service.deposits {
            deposit.safe |= deposit.number == label.index;
        }
        self.read_on(ctx, at);
    }

    /// The other side of a deposit is gone.
    pub(crate) fn deposit_ended(&mut self, ctx: &mut Context<'_>, at: u32, number: u16) {
        if let Some(service) = self.get(at) {
            ctx.send(FromHelper::Drop {
                label: deposit_label(&service.run.unit, number),
            });
        }
        self.forget_deposit(ctx, at, number, "");
    }

    fn forget_deposit(&mut self, ctx: &mut Context<'_>, at: u32, number: u16, why: &str) {
        let Some(service) = self.get_mut(at) else {
            return;
        };
        let known = service.run.stored.iter().any(|(_, other)| *other == number);
        service.run.stored.retain(|(_, other)| *other != number);
        service.let_go(ctx, number);
        if known && !why.is_empty() {
            let text = ["a deposited descriptor is not kept: ", why].concat();
            ctx.log(4, &service.run.unit, text);
        }
        self.record(ctx, at);
        self.read_on(ctx, at);
    }

    /// Drops what a service has deposited: of this name, or all.
    pub(crate) fn drop_deposits(&mut self, ctx: &mut Context<'_>, at: u32, name: Option<&str>) {
        let Some(service) = self.get_mut(at) else {
            return;
        };
        let stored = std::mem::take(&mut service.run.stored);
        let (gone, left): (Vec<_>, Vec<_>) = stored
            .into_iter()
            .partition(|(own, _)| name.is_none_or(|name| name == own));
        service.run.stored = left;
        if gone.is_empty() {
            return;
        }
        let unit = service.run.unit.clone();
        for (_, number) in gone {
            service.let_go(ctx, number);
            ctx.send(FromHelper::Drop {
                label: deposit_label(&unit, number),
            });
        }
        self.record(ctx, at);
        self.read_on(ctx, at);
    }

    /// The invocation is over: what it deposited is dropped, as `FileDescriptorStorePreserve=` says.
    pub(crate) fn release_deposits(&mut self, ctx: &mut Context<'_>, at: u32, restarting: bool) {
        let config = self.get(at).and_then(|service| service.config.as_ref());
        let drop = match config.map(|config| config.context.store_preserve) {
            Some(Preserve::Yes) => false,
            Some(Preserve::No) => true,
            Some(Preserve::Restart) | None => !restarting,
        };
        if drop {
            self.drop_deposits(ctx, at, None);
        }
    }

    /// The fork of a start command, with what it is to get; `None` if that is awaited.
    pub(crate) fn fork_start(
        &mut self,
        ctx: &mut Context<'_>,
        at: u32,
        role: Role,
        which: At,
        watch: bool,
    ) -> Option<Event<'static>> {
        let event = match self.has_descriptors(ctx, at, (role, which, watch)) {
            Ok(true) => self.fork(ctx, at, role, which, watch),
            Ok(false) => return None,
            Err(why) => Event::NotForked(why),
        };
        if let Some(service) = self.get_mut(at) {
            service.clear_listening();
        }
        Some(event)
    }
}

impl Service {
    /// Closes a deposit here. init holds it too, so the poller has to be told.
    fn let_go(&mut self, ctx: &mut Context<'_>, number: u16) {
        for deposit in self.deposits.iter().filter(|d| d.number == number) {
            if let Some(fd) = &deposit.fd {
                let _ = ctx.unwatch(fd);
            }
        }
        self.deposits.retain(|deposit| deposit.number != number);
    }

    fn clear_listening(&mut self) {
        for one in self.listening.drain(..) {
            if let Listening::Asked(label) = one {
                self.stale.push(label);
            }
        }
    }

    /// Whether init has all that was deposited.
    pub(crate) fn all_safe(&self) -> bool {
        self.deposits.iter().all(|deposit| deposit.safe)
    }
}
