//! Managers and helpers that die, and what their successors do first.

use super::{Said, World, backing, new_engine};
use engine::api::{Backing, Input};
use std::collections::BTreeSet;
use units::name::UnitName;

impl World {
    /// The manager is killed here and now; after a while another one takes over.
    pub fn crash_now(&mut self) {
        self.cut = None;
        self.crashes += 1;
        self.inbox.clear();
        self.to_helper.clear();
        self.to_manager.clear();
        self.trace.push("crash".into());
        for _ in 0..std::mem::take(&mut self.away) {
            let due = self.helper.due(self.now).next().cloned();
            due.inspect(|unit| self.helper.happen(unit));
        }
        self.epoch += 1;
        self.engine = new_engine(self.epoch);
        self.engine.restore(self.store.values().cloned().collect());
        self.loaded.clear();
        self.watch.crashed(&self.engine, &self.store);
        for unit in self.engine.restored() {
            self.load(unit.as_str());
            self.load_for(&unit);
        }
        self.feed(Input::Tick);
        self.sync_all();
    }

    /// Every helper comes into contact: says what it knows, and that this is all.
    pub fn sync_all(&mut self) {
        let types = self.helper.slots.keys().map(|unit| unit.unit_type());
        let mut types: BTreeSet<String> = types.map(String::from).collect();
        types.insert("service".into());
        types.extend(self.lost.iter().cloned());
        for unit in self.loaded.keys() {
            if backing(unit) == Backing::Helper {
                types.insert(unit.unit_type().into());
            }
        }
        for unit_type in types {
            self.greet(&unit_type);
        }
    }

    /// The helper of a type says what it knows, and that this is all.
    fn greet(&mut self, unit_type: &str) {
        if self.missing.contains(unit_type) {
            let unit_type = unit_type.into();
            return self.feed(Input::HelperMissing { unit_type });
        }
        self.lost.insert(unit_type.into());
        let of_type = |unit: &&UnitName| unit.unit_type() == unit_type;
        let known: Vec<UnitName> = self.helper.slots.keys().filter(of_type).cloned().collect();
        for unit in &known {
            self.report(unit);
        }
        self.to_manager
            .push_back(Said::Synced(unit_type.into(), known));
    }

    /// The helper of a type dies, and its successor comes into contact. Of what it had sent, so many
    /// messages are still read.
    pub fn helper_dies(&mut self, unit_type: &str, keep: usize) {
        if self.missing.contains(unit_type) {
            return;
        }
        self.to_helper
            .retain(|command| command.unit.unit_type() != unit_type);
        let mut kept = 0;
        self.to_manager.retain(|said| {
            let of = match said {
                Said::Report(unit, _) => unit.unit_type(),
                Said::Synced(unit_type, _) => unit_type,
            };
            kept += usize::from(of == unit_type);
            // A helper that died before it was synchronised never was.
            let whole = matches!(said, Said::Report(..));
            of != unit_type || kept <= keep && whole
        });
        self.helper.dies(unit_type);
        self.greet(unit_type);
    }

    /// There is no helper for a type any more.
    pub fn helper_missing(&mut self, unit_type: &str) {
        let other = |unit: &UnitName| unit.unit_type() != unit_type;
        self.to_helper.retain(|command| other(&command.unit));
        self.to_manager.retain(|said| match said {
            Said::Report(unit, _) => other(unit),
            Said::Synced(of, _) => of != unit_type,
        });
        self.helper.slots.retain(|unit, _| other(unit));
        self.lost.insert(unit_type.into());
        self.missing.insert(unit_type.into());
        self.greet(unit_type);
    }
}
