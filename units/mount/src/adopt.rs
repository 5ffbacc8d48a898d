//! Taking over what an earlier process of the helper left in its journal.

use crate::helper::{Mounts, PATIENCE};
use crate::record::{Record, State};
use platform::{clock, process};
use units::journal::{Remembered, SlotId, SlotState, key};
use units::runtime::Context;
use units::wire::helper::FromHelper;

impl Mounts {
    /// All units are loaded: takes over what an earlier process left, and tells the manager all.
    pub(crate) fn sync(&mut self, ctx: &mut Context<'_>) {
        if !std::mem::replace(&mut self.adopted, true) {
            self.watch_table(ctx);
            self.adopt_records(ctx);
            self.compare(ctx);
        }
        for unit in self.units.iter().filter(|unit| !unit.record.is_blank()) {
            ctx.send(FromHelper::Report(unit.report()));
        }
    }

    fn adopt_records(&mut self, ctx: &mut Context<'_>) {
        let (left, _) = ctx.journal.remembered::<Record>();
        let slots = ctx.journal.slots.in_use();
        let mut busy = Vec::new();
        for record in left {
            let name = record.unit.clone();
            busy.extend(record.state.is_busy().then(|| name.clone()));
            self.entry(&name).record = record;
        }
        let mut followed = Vec::new();
        for name in busy {
            followed.extend(self.adopt_command(ctx, &name, &slots));
        }
        // Of commands whose result is on record already.
        for slot in slots.iter().filter(|slot| !followed.contains(slot)) {
            ctx.journal.slots.revoke(*slot);
            ctx.journal.slots.release(*slot);
        }
    }

    /// A command was under way: follows it, or begins it if it is proven that it has not begun.
    fn adopt_command(
        &mut self,
        ctx: &mut Context<'_>,
        name: &str,
        slots: &[SlotId],
    ) -> Option<SlotId> {
        let unit = self.entry(name);
        let (number, state) = (unit.record.number, unit.record.state);
        let journal = &mut ctx.journal.slots;
        let slot = slots.iter().copied().find(|slot| {
            let attempt = journal.attempt(*slot);
            attempt.unit == key(name) && attempt.index == number
        });
        let told = slot.map(|slot| (slot, journal.revoke(slot)));
        match told {
            Some((slot, SlotState::Exited(proc, status))) => {
                unit.slot = Some(slot);
                self.process_ended(ctx, name, proc, status);
                Some(slot)
            }
            Some((
                slot,
                SlotState::Filled(proc) | SlotState::Started(proc) | SlotState::Failed(proc, _),
            )) => {
                unit.slot = Some(slot);
                unit.record.process = Some(proc);
                let alive = process::is_alive(proc.into());
                unit.lost = (!alive).then(|| clock::now().saturating_add(PATIENCE));
                ctx.send(FromHelper::Watch { proc });
                self.record(ctx, name);
                Some(slot)
            }
            _ if state == State::Unmounting => {
                self.unmount(ctx, name);
                self.entry(name).slot
            }
            _ if state == State::Mounting && self.is_mounted(name) => {
                self.ended(ctx, name, "", String::new());
                None
            }
            _ => {
                self.fork(ctx, name, Self::action(state));
                self.entry(name).slot
            }
        }
    }
}
