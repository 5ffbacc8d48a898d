//! Ordering cycles among units that are started together.
//!
//! The order of all loaded units is one graph. A cycle in it does harm only if one transaction can
//! hold all its units, so it is looked for among what each of the units that were asked for pulls
//! in; but only if there is a cycle at all. Each is told once, link by link, with whose directive
//! says so.

use unit_files::loader::Loaded;
use units::collections::{Map, Set};
use units::name::UnitName;
use units::spec::DepKind;

/// Who comes after whom, and who pulls in whom.
pub struct Graph<'a> {
    units: &'a [Loaded],
    /// For each unit those it comes after, and whether its own file says so.
    after: Vec<Map<usize, bool>>,
    pulls: Vec<Vec<usize>>,
}

impl<'a> Graph<'a> {
    /// The graph of these units; names that lead to none of them do not count.
    pub fn of(units: &'a [Loaded], known: &Map<UnitName, usize>) -> Self {
        let mut after = vec![Map::new(); units.len()];
        let mut pulls = vec![Vec::new(); units.len()];
        for (at, unit) in units.iter().enumerate() {
            for (kind, name) in &unit.spec.deps {
                let Some(&other) = known.get(name).filter(|other| **other != at) else {
                    continue;
                };
                let (later, earlier) = match kind {
                    DepKind::After => (at, other),
                    DepKind::Before => (other, at),
                    kind if kind.pulls_in() => {
                        if let Some(list) = pulls.get_mut(at) {
                            list.push(other);
                        }
                        continue;
                    }
                    _ => continue,
                };
                if let Some(list) = after.get_mut(later) {
                    let own = *kind == DepKind::After;
                    let said = list.entry(earlier).or_insert(own);
                    *said |= own;
                }
            }
        }
        Self {
            units,
            after,
            pulls,
        }
    }

    /// The cycles that starting one of these units meets: a unit on it, and the whole in words.
    pub fn cycles(&self, roots: &[usize]) -> Vec<(usize, String)> {
        let everything: Set<usize> = (0..self.units.len()).collect();
        if self.cycles_within(&everything).is_empty() {
            return Vec::new();
        }
        let mut found = Set::new();
        for root in roots {
            found.extend(self.cycles_within(&self.closure(*root)));
        }
        found
            .iter()
            .filter_map(|cycle| Some((*cycle.first()?, self.words(cycle))))
            .collect()
    }

    /// What starting a unit pulls in, itself included.
    fn closure(&self, root: usize) -> Set<usize> {
        let mut all = Set::from_iter([root]);
        let mut queue = vec![root];
        while let Some(at) = queue.pop() {
            for other in self.pulls.get(at).into_iter().flatten() {
                if all.insert(*other) {
                    queue.push(*other);
                }
            }
        }
        all
    }

    /// The cycles a walk through the order of these units meets, each from its smallest unit on.
    fn cycles_within(&self, set: &Set<usize>) -> Set<Vec<usize>> {
        let mut found = Set::new();
        let mut done = Set::new();
        for &root in set {
            // The way from the root, each with the units still to be looked at.
            let mut way: Vec<(usize, Vec<usize>)> = Vec::new();
            if !done.contains(&root) {
                way.push((root, self.earlier(root, set)));
            }
            while let Some((at, rest)) = way.last_mut() {
                let Some(next) = rest.pop() else {
                    done.insert(*at);
                    way.pop();
                    continue;
                };
                if let Some(begin) = way.iter().position(|(on, _)| *on == next) {
                    let cycle = way.iter().skip(begin).map(|(on, _)| *on).collect();
                    found.insert(from_smallest(cycle));
                } else if !done.contains(&next) {
                    way.push((next, self.earlier(next, set)));
                }
            }
        }
        found
    }

    fn earlier(&self, at: usize, set: &Set<usize>) -> Vec<usize> {
        let all = self.after.get(at).into_iter().flat_map(Map::keys);
        all.filter(|other| set.contains(other)).copied().collect()
    }

    fn name(&self, at: usize) -> &str {
        self.units.get(at).map_or("", |unit| unit.spec.id.as_str())
    }

    /// `a comes after b (After= of a), b comes after a (Before= of a)`.
    fn words(&self, cycle: &[usize]) -> String {
        let mut text = String::from("ordering cycle: ");
        let next = cycle.iter().skip(1).chain(cycle.first());
        for (i, (&later, &earlier)) in cycle.iter().zip(next).enumerate() {
            if i > 0 {
                text.push_str(", ");
            }
            let own = self.after.get(later).and_then(|list| list.get(&earlier));
            let (key, who) = match own {
                Some(true) => ("After=", later),
                _ => ("Before=", earlier),
            };
            let (later, earlier, who) = (self.name(later), self.name(earlier), self.name(who));
            text.extend([later, " comes after ", earlier, " (", key, " of ", who, ")"]);
        }
        text
    }
}

/// The same cycle, beginning with its smallest unit.
fn from_smallest(mut cycle: Vec<usize>) -> Vec<usize> {
    let least = cycle.iter().enumerate().min_by_key(|(_, unit)| **unit);
    let at = least.map_or(0, |(at, _)| at);
    cycle.rotate_left(at);
    cycle
}
