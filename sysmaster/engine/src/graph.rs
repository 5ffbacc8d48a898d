//! The arena of units and the edges between them.
//!
//! A unit is a number; its name is kept once here, found by [`Names`], and nothing else in the engine
//! compares strings. Every dependency is kept at both ends: the unit that declares it has
//! the edge, the other one the inverse edge. `Before` and `After` are each other's inverse, so an
//! order that both sides declare is one edge. Each edge knows which of its ends declared it; when
//! a unit is loaded again, only what it declared itself goes.
//!
//! A unit's edges are one array, sorted by kind and then by unit, so that those of one kind are a
//! slice found by bisection: a job on a service does not look at the ten thousand others that also
//! require `basic.target`. Edges are appended as units are loaded; an array that was appended to
//! is put in order once, before the next transaction ([`Arena::settle`]).
//!
//! A name that turns out to be an alias gives its number up: what referred to it is turned to the
//! unit itself, and the number leads there ([`Arena::resolve`]).

use crate::api::Backing;
use crate::job::Job;
use crate::names::Names;
use crate::node::Unit;
use crate::rel::{Edge, OURS, Rel, THEIRS};
use alloc::string::String;
use alloc::vec::Vec;
use units::name::UnitName;
use units::spec::UnitSpec;

/// No unit, no entry.
pub(crate) const NONE: u32 = u32::MAX;

/// A unit type.
#[derive(Debug)]
pub(crate) struct Kind {
    name: String,
    /// There is no helper for it and will be none.
    pub missing: bool,
}

/// All units.
#[derive(Debug)]
pub(crate) struct Arena {
    units: Vec<Unit>,
    /// Their names, by number.
    titles: Vec<UnitName>,
    names: Names,
    /// Queued jobs, in no particular order. A unit knows where its own is.
    pub jobs: Vec<Job>,
    kinds: Vec<Kind>,
    /// Units whose edges are not in order.
    unsorted: Vec<u32>,
    /// Edges changed between units that may have jobs: their blockers are to be counted again.
    pub recount: bool,
    /// Units of which another one declares less than it did: it may have been what needed them.
    pub lost: Vec<u32>,
    /// What a number that was never given out leads to. It has no edges and never changes.
    nobody: Unit,
}

impl Arena {
    /// No units.
    pub fn new() -> Self {
        Self {
            units: Vec::new(),
            titles: Vec::new(),
            names: Names::default(),
            jobs: Vec::new(),
            kinds: Vec::new(),
            unsorted: Vec::new(),
            recount: false,
            lost: Vec::new(),
            nobody: Unit::new(0),
        }
    }

    pub fn len(&self) -> u32 {
        self.units.len() as u32
    }

    #[inline(always)]
    pub fn get(&self, id: u32) -> &Unit {
        self.units.get(id as usize).unwrap_or(&self.nobody)
    }

    /// Its name; empty for a number that was never given out.
    pub fn name(&self, id: u32) -> &str {
        self.title(id).map_or("", UnitName::as_str)
    }

    pub fn title(&self, id: u32) -> Option<&UnitName> {
        self.titles.get(id as usize)
    }

    #[inline(always)]
    pub fn at(&mut self, id: u32) -> &mut Unit {
        match self.units.get_mut(id as usize) {
            Some(unit) => unit,
            None => &mut self.nobody,
        }
    }

    /// The queued job of a unit.
    #[inline(always)]
    pub fn job(&self, id: u32) -> Option<&Job> {
        self.jobs.get(self.get(id).job as usize)
    }

    #[inline(always)]
    pub fn job_mut(&mut self, id: u32) -> Option<&mut Job> {
        let at = self.get(id).job as usize;
        self.jobs.get_mut(at)
    }

    /// Gives a unit that has none its job.
    pub fn put_job(&mut self, job: Job) {
        self.at(job.unit).job = self.jobs.len() as u32;
        self.jobs.push(job);
    }

    /// Takes a unit's job away.
    pub fn take_job(&mut self, id: u32) -> Option<Job> {
        let at = core::mem::replace(&mut self.at(id).job, NONE);
        if at as usize >= self.jobs.len() {
            return None;
        }
        let job = self.jobs.swap_remove(at as usize);
        if let Some(moved) = self.jobs.get(at as usize).map(|job| job.unit) {
            self.at(moved).job = at;
        }
        Some(job)
    }

    /// The number of the unit itself where this one is an alias'. What an alias leads to was none then, so there is
    /// no circle.
    pub fn resolve(&self, mut id: u32) -> u32 {
        while self.get(id).is_alias() {
            id = self.get(id).alias;
        }
        id
    }

    /// The unit of this name, if it was ever mentioned.
    pub fn find(&self, name: &UnitName) -> Option<u32> {
        self.number(name).map(|id| self.resolve(id))
    }

    /// The number of this name, be it an alias.
    fn number(&self, name: &UnitName) -> Option<u32> {
        self.names.get(name, &self.titles)
    }

    /// The unit of this name; made if need be.
    pub fn intern(&mut self, name: &UnitName) -> u32 {
        if let Some(id) = self.find(name) {
            return id;
        }
        let kind = self.kind(name.unit_type());
        let id = self.len();
        self.names.insert(name, id, &self.titles);
        self.units.push(Unit::new(kind));
        self.titles.push(name.clone());
        id
    }

    /// The number of a type.
    pub fn kind(&mut self, name: &str) -> u16 {
        let known = self.kinds.iter().position(|kind| kind.name == name);
        let at = known.unwrap_or_else(|| {
            self.kinds.push(Kind {
                name: String::from(name),
                missing: false,
            });
            self.kinds.len() - 1
        });
        at as u16
    }

    pub fn kind_at(&mut self, kind: u16) -> Option<&mut Kind> {
        self.kinds.get_mut(usize::from(kind))
    }

    /// Whether no helper will ever carry this unit out.
    pub fn is_unsupported(&self, id: u32) -> bool {
        let unit = self.get(id);
        unit.backing == Backing::Helper
            && self
                .kinds
                .get(usize::from(unit.kind))
                .is_some_and(|kind| kind.missing)
    }

    /// Takes a loaded unit in: attributes, aliases, and its edges in place of those it declared
    /// before. Its state and its job stay. Tells aliases that are in use as units of their own.
    pub fn load(&mut self, spec: &UnitSpec, backing: Backing) -> (u32, Vec<UnitName>) {
        let id = self.own(&spec.id);
        self.at(id).take_over(spec, backing);
        let busy = spec
            .names
            .iter()
            .filter(|name| !self.alias(name, id))
            .cloned()
            .collect();
        let mut wanted = Vec::with_capacity(spec.deps.len());
        for (kind, name) in &spec.deps {
            if let Some(rel) = Rel::of(*kind) {
                let to = self.intern(name);
                wanted.push(Edge { rel, to, by: OURS });
            }
        }
        self.declare(id, wanted);
        self.recount |= self.get(id).has_job();
        (id, busy)
    }

    /// Forgets what a unit's file said. Its number and what others say of it stay.
    pub fn unload(&mut self, id: u32) {
        self.declare(id, Vec::new());
        let unit = self.at(id);
        let mut blank = Unit::new(unit.kind);
        blank.edges = core::mem::take(&mut unit.edges);
        blank.recorded = unit.recorded;
        *unit = blank;
        self.unsorted.push(id);
        self.settle();
    }

    /// The number of a unit that is no alias (any more).
    fn own(&mut self, name: &UnitName) -> u32 {
        let id = self.number(name).unwrap_or_else(|| self.intern(name));
        self.at(id).alias = NONE;
        id
    }

    /// Makes a name an alias. False if a unit of that name is in use.
    fn alias(&mut self, name: &UnitName, id: u32) -> bool {
        let old = match self.number(name) {
            None => {
                let new = self.intern(name);
                self.at(new).alias = id;
                return true;
            }
            Some(old) if self.resolve(old) == id => return true,
            Some(old) => old,
        };
        if !self.get(old).at_rest() || self.get(old).has_job() {
            return false;
        }
        self.declare(old, Vec::new());
        let edges = core::mem::take(&mut self.at(old).edges);
        for edge in edges.into_iter().filter(|edge| edge.by != 0) {
            self.remove(edge.to, edge.rel.inverse(), old);
            if edge.to != id {
                self.add(
                    edge.to,
                    Edge {
                        rel: edge.rel.inverse(),
                        to: id,
                        by: OURS,
                    },
                );
                self.add(
                    id,
                    Edge {
                        rel: edge.rel,
                        to: edge.to,
                        by: THEIRS,
                    },
                );
            }
        }
        self.at(old).alias = id;
        self.recount = true;
        true
    }

    fn add(&mut self, id: u32, edge: Edge) {
        let unit = self.at(id);
        unit.edges.push(edge);
        if !unit.unsorted {
            unit.unsorted = true;
            self.unsorted.push(id);
        }
    }

    /// Makes these the edges the unit itself declares. Only differences are touched: loading a
    /// thousand unchanged units again costs no more than looking at them.
    fn declare(&mut self, id: u32, mut wanted: Vec<Edge>) {
        wanted.retain(|edge| edge.to != id);
        sort(&mut wanted);
        self.sort(id);
        let ours = self.get(id).edges.iter().filter(|edge| edge.by & OURS != 0);
        let had: Vec<Edge> = ours.copied().collect();
        let (mut had, mut wanted) = (had.into_iter().peekable(), wanted.into_iter().peekable());
        loop {
            let key = |edge: Option<&Edge>| edge.map_or(u64::MAX, |edge| edge.key());
            let (old, new) = (key(had.peek()), key(wanted.peek()));
            if old == new && had.next().is_none() {
                break;
            } else if old == new {
                wanted.next();
            } else if old < new
                && let Some(Edge { rel, to, .. }) = had.next()
            {
                self.drop_side(id, rel, to, OURS);
                self.drop_side(to, rel.inverse(), id, THEIRS);
                self.lost.push(to);
            } else if let Some(edge) = wanted.next() {
                self.add(id, edge);
                let (rel, by) = (edge.rel.inverse(), THEIRS);
                self.add(edge.to, Edge { rel, to: id, by });
            }
        }
    }

    /// One of the two ends does not declare this edge any more.
    fn drop_side(&mut self, id: u32, rel: Rel, to: u32, side: u8) {
        self.sort(id);
        let unit = self.at(id);
        let found = unit
            .edges
            .binary_search_by_key(&key(rel, to), |edge| edge.key());
        if let Some(edge) = found.ok().and_then(|at| unit.edges.get_mut(at)) {
            edge.by &= !side;
        }
        self.mark_unsorted(id);
    }

    /// Removes an edge whoever declared it.
    fn remove(&mut self, id: u32, rel: Rel, to: u32) {
        for edge in self
            .at(id)
            .edges
            .iter_mut()
            .filter(|e| e.rel == rel && e.to == to)
        {
            edge.by = 0;
        }
        self.mark_unsorted(id);
    }

    /// Notes that an array is to be swept before it is used; until then it can still be searched.
    fn mark_unsorted(&mut self, id: u32) {
        self.unsorted.push(id);
    }

    fn sort(&mut self, id: u32) {
        let unit = self.at(id);
        if unit.unsorted {
            unit.unsorted = false;
            sort(&mut unit.edges);
        }
    }

    /// Puts every array of edges in order. Done before anything is decided by them.
    pub fn settle(&mut self) {
        while let Some(id) = self.unsorted.pop() {
            self.sort(id);
            let unit = self.at(id);
            unit.edges.retain(|edge| edge.by != 0);
            let begin = |rel| unit.edges.partition_point(|edge| edge.rel < rel) as u32;
            unit.order_at = (begin(Rel::Before), begin(Rel::After));
            let rels = unit.edges.iter().map(|edge| edge.rel.bit());
            unit.rels = rels.fold(0, |all, rel| all | rel);
        }
    }

    /// Where among the unit's edges `Before` and `After` begin; they stand together at the end.
    #[inline(always)]
    pub fn order_at(&self, id: u32) -> (usize, usize) {
        let (before, after) = self.get(id).order_at;
        (before as usize, after as usize)
    }

    /// Where the edges of one kind stand in the unit's array.
    pub fn range(&self, id: u32, rel: Rel) -> core::ops::Range<usize> {
        let unit = self.get(id);
        if unit.rels & rel.bit() == 0 {
            return 0..0;
        }
        let edges = &unit.edges;
        let from = edges.partition_point(|edge| edge.rel < rel);
        let rest = edges.get(from..).unwrap_or_default();
        from..from + rest.partition_point(|edge| edge.rel == rel)
    }

    /// The unit at the other end of an edge.
    #[inline(always)]
    pub fn end(&self, id: u32, at: usize) -> u32 {
        self.get(id).edges.get(at).map_or(NONE, |edge| edge.to)
    }

    /// The units in this relation to it.
    pub fn ends(&self, id: u32, rel: Rel) -> impl Iterator<Item = u32> + '_ {
        self.get(id)
            .edges
            .get(self.range(id, rel))
            .unwrap_or_default()
            .iter()
            .map(|edge| edge.to)
    }

    /// Whether it is in this relation to the other.
    pub fn has(&self, id: u32, rel: Rel, to: u32) -> bool {
        self.get(id)
            .edges
            .binary_search_by_key(&key(rel, to), |edge| edge.key())
            .is_ok()
    }

    /// Names reachable from a unit over what its start, success or failure pulls in, that were
    /// never loaded. One bit per unit, and each edge looked at once.
    pub fn missing(&self, name: &UnitName) -> Vec<UnitName> {
        let Some(start) = self.find(name) else {
            return alloc::vec![name.clone()];
        };
        let mut seen = alloc::vec![0u64; self.units.len().div_ceil(64)];
        let mut stack = alloc::vec![start];
        let mut missing = Vec::new();
        while let Some(id) = stack.pop() {
            let bit = 1u64 << (id % 64);
            match seen.get_mut(id as usize / 64) {
                Some(word) if *word & bit == 0 => *word |= bit,
                _ => continue,
            }
            let unit = self.get(id);
            if unit.load.is_none() {
                missing.extend(self.title(id).cloned());
            }
            for edge in unit.edges.iter().filter(|edge| edge.by & OURS != 0) {
                if edge.rel <= Rel::Upholds && edge.rel != Rel::PartOf
                    || matches!(edge.rel, Rel::OnFailure | Rel::OnSuccess)
                {
                    stack.push(edge.to);
                }
            }
        }
        missing
    }
}

fn key(rel: Rel, to: u32) -> u64 {
    Edge { rel, to, by: 0 }.key()
}

/// Puts edges in order; one that is there twice becomes one that both have declared.
fn sort(edges: &mut Vec<Edge>) {
    let key = |edge: &Edge| edge.key();
    if !edges.is_sorted_by_key(key) {
        *edges = by_kind(edges);
    }
    if !edges.is_sorted_by_key(key) {
        edges.sort_by_key(key);
    }
    edges.dedup_by(|next, kept| {
        let same = next.key() == kept.key();
        if same {
            kept.by |= next.by;
        }
        same
    });
}

/// Edges as units are loaded come in the order of these units or the other way round, only mixed: with each kind by
/// itself they are in order.
fn by_kind(edges: &[Edge]) -> Vec<Edge> {
    let mut sorted: Vec<Edge> = Vec::with_capacity(edges.len());
    let mut kinds = edges.iter().fold(0, |all, edge| all | edge.rel.bit());
    while kinds != 0 {
        let kind = kinds.trailing_zeros();
        kinds &= kinds - 1;
        let begin = sorted.len();
        sorted.extend(edges.iter().filter(|edge| edge.rel as u32 == kind));
        let group = sorted.get_mut(begin..).unwrap_or_default();
        if group.first().map(|edge| edge.to) > group.last().map(|edge| edge.to) {
            group.reverse();
        }
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;
    use units::spec::{DepKind, LoadState};

    fn name(s: &str) -> UnitName {
        UnitName::new(s).unwrap()
    }

    fn spec(id: &str, deps: &[(DepKind, &str)]) -> UnitSpec {
        let mut spec = UnitSpec::new(name(id));
        spec.load = LoadState::Loaded;
        spec.deps = deps.iter().map(|(kind, to)| (*kind, name(to))).collect();
        spec
    }

    fn ends(arena: &Arena, id: u32, rel: Rel) -> Vec<&str> {
        arena.ends(id, rel).map(|to| arena.name(to)).collect()
    }

    #[test]
    fn an_order_declared_twice_is_one_edge_and_survives_one_end() {
        let mut arena = Arena::new();
        let (a, _) = arena.load(
            &spec("a.service", &[(DepKind::Before, "b.service")]),
            Backing::Helper,
        );
        let (b, _) = arena.load(
            &spec("b.service", &[(DepKind::After, "a.service")]),
            Backing::Helper,
        );
        arena.settle();
        assert_eq!(ends(&arena, a, Rel::Before), ["b.service"]);
        assert_eq!(ends(&arena, b, Rel::After), ["a.service"]);
        arena.load(&spec("a.service", &[]), Backing::Helper);
        arena.settle();
        assert_eq!(ends(&arena, a, Rel::Before), ["b.service"]);
        arena.load(&spec("b.service", &[]), Backing::Helper);
        arena.settle();
        assert!(arena.get(a).edges.is_empty() && arena.get(b).edges.is_empty());
    }

    #[test]
    fn a_reference_by_alias_leads_to_the_unit() {
        let mut arena = Arena::new();
        let (a, _) = arena.load(
            &spec("a.service", &[(DepKind::Wants, "x.service")]),
            Backing::Helper,
        );
        assert_eq!(arena.missing(&name("a.service")), [name("x.service")]);
        let mut real = spec("b.service", &[]);
        real.names.push(name("x.service"));
        let (b, busy) = arena.load(&real, Backing::Helper);
        assert!(busy.is_empty());
        arena.settle();
        assert_eq!(arena.find(&name("x.service")), Some(b));
        assert_eq!(ends(&arena, a, Rel::Wants), ["b.service"]);
        assert_eq!(ends(&arena, b, Rel::WantedBy), ["a.service"]);
        assert!(arena.missing(&name("a.service")).is_empty());
        // The alias goes: loaded again, the referrer names what it names.
        arena.load(
            &spec("a.service", &[(DepKind::Wants, "b.service")]),
            Backing::Helper,
        );
        arena.settle();
        assert_eq!(ends(&arena, a, Rel::Wants), ["b.service"]);
    }

    #[test]
    fn missing_follows_what_a_start_needs_and_nothing_else() {
        let mut arena = Arena::new();
        let deps = [
            (DepKind::Requires, "r.service"),
            (DepKind::Wants, "w.service"),
            (DepKind::OnFailure, "f.service"),
            (DepKind::After, "after.service"),
            (DepKind::Conflicts, "c.service"),
            (DepKind::PartOf, "p.service"),
        ];
        arena.load(&spec("a.service", &deps), Backing::Helper);
        let mut missing = arena.missing(&name("a.service"));
        missing.sort();
        assert_eq!(
            missing,
            [name("f.service"), name("r.service"), name("w.service")]
        );
        assert_eq!(arena.missing(&name("new.service")), [name("new.service")]);
    }
}
