//! What the loaded unit files say of each other, found without the engine's help.

use std::collections::BTreeMap;
use units::name::UnitName;
use units::spec::{DepKind, UnitSpec};

/// Whether the unit said it, or the other one did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Of,
    To,
}

/// All dependencies, at both ends. What can be said from either side (`Before` and `After`, say) is
/// kept under one of its names.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    edges: BTreeMap<UnitName, Vec<(DepKind, End, UnitName)>>,
}

/// The unit a name is known for, where it is an alias.
fn real<'a>(aliases: &BTreeMap<&UnitName, &'a UnitName>, name: &'a UnitName) -> &'a UnitName {
    aliases.get(name).copied().unwrap_or(name)
}

impl Graph {
    /// Of these files.
    pub fn new<'a>(specs: impl Iterator<Item = &'a UnitSpec> + Clone) -> Self {
        let mut graph = Self::default();
        let named = |spec: &'a UnitSpec| spec.names.iter().map(move |name| (name, &spec.id));
        let aliases: BTreeMap<_, _> = specs.clone().flat_map(named).collect();
        for spec in specs {
            for (kind, other) in &spec.deps {
                let other = real(&aliases, other);
                if *other == spec.id {
                    continue;
                }
                let (kind, turned) = match kind {
                    DepKind::Before => (DepKind::After, true),
                    DepKind::ReloadPropagatedFrom => (DepKind::PropagatesReloadTo, true),
                    DepKind::StopPropagatedFrom => (DepKind::PropagatesStopTo, true),
                    kind => (*kind, false),
                };
                let (from, to) = if turned {
                    (other, &spec.id)
                } else {
                    (&spec.id, other)
                };
                graph.add(from, (kind, End::Of, to.clone()));
                graph.add(to, (kind, End::To, from.clone()));
            }
        }
        graph
    }

    fn add(&mut self, unit: &UnitName, edge: (DepKind, End, UnitName)) {
        self.edges.entry(unit.clone()).or_default().push(edge);
    }

    fn ends(&self, unit: &UnitName, kind: DepKind, end: End) -> impl Iterator<Item = &UnitName> {
        let edges = self.edges.get(unit).map_or(&[][..], Vec::as_slice);
        edges
            .iter()
            .filter(move |edge| (edge.0, edge.1) == (kind, end))
            .map(|edge| &edge.2)
    }

    /// Units this one depends on in this way.
    pub fn of(&self, unit: &UnitName, kind: DepKind) -> impl Iterator<Item = &UnitName> {
        self.ends(unit, kind, End::Of)
    }

    /// Units that depend on this one in this way.
    pub fn to(&self, unit: &UnitName, kind: DepKind) -> impl Iterator<Item = &UnitName> {
        self.ends(unit, kind, End::To)
    }

    /// Whether it depends on the other in this way.
    pub fn has(&self, unit: &UnitName, kind: DepKind, other: &UnitName) -> bool {
        self.of(unit, kind).any(|end| end == other)
    }
}
