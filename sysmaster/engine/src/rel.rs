//! Relations between units, and the edges that carry them.
//!
//! systemd's dependency kinds come in pairs: what one unit says of another, and the same seen from
//! the other end (`Requires` and `RequiredBy`). `Before` and `After` are such a pair, too, and
//! both can be written. The numbers are in the order the engine wants a unit's edges in: first
//! what a start pulls in, last the order.

use units::spec::DepKind;

/// How a unit is related to another: the dependency kinds and their inverses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)] // The directives of the same name, and systemd's words for the inverses.
#[repr(u8)]
pub enum Rel {
    Requires,
    Requisite,
    Wants,
    BindsTo,
    PartOf,
    Upholds,
    Conflicts,
    OnFailure,
    OnSuccess,
    PropagatesReloadTo,
    PropagatesStopTo,
    Triggers,
    /// The same from both ends.
    JoinsNamespaceOf,
    RequiredBy,
    RequisiteOf,
    WantedBy,
    BoundBy,
    ConsistsOf,
    UpheldBy,
    ConflictedBy,
    OnFailureOf,
    OnSuccessOf,
    ReloadPropagatedFrom,
    StopPropagatedFrom,
    TriggeredBy,
    Before,
    After,
}

impl Rel {
    /// All of them.
    pub const ALL: [Self; 27] = [
        Self::Requires,
        Self::Requisite,
        Self::Wants,
        Self::BindsTo,
        Self::PartOf,
        Self::Upholds,
        Self::Conflicts,
        Self::OnFailure,
        Self::OnSuccess,
        Self::PropagatesReloadTo,
        Self::PropagatesStopTo,
        Self::Triggers,
        Self::JoinsNamespaceOf,
        Self::RequiredBy,
        Self::RequisiteOf,
        Self::WantedBy,
        Self::BoundBy,
        Self::ConsistsOf,
        Self::UpheldBy,
        Self::ConflictedBy,
        Self::OnFailureOf,
        Self::OnSuccessOf,
        Self::ReloadPropagatedFrom,
        Self::StopPropagatedFrom,
        Self::TriggeredBy,
        Self::Before,
        Self::After,
    ];

    /// Of a set of relations.
    pub(crate) fn bit(self) -> u32 {
        1 << self as u32
    }

    /// The same relation seen from the other end.
    pub fn inverse(self) -> Self {
        match self {
            Self::Requires => Self::RequiredBy,
            Self::Requisite => Self::RequisiteOf,
            Self::Wants => Self::WantedBy,
            Self::BindsTo => Self::BoundBy,
            Self::PartOf => Self::ConsistsOf,
            Self::Upholds => Self::UpheldBy,
            Self::Conflicts => Self::ConflictedBy,
            Self::OnFailure => Self::OnFailureOf,
            Self::OnSuccess => Self::OnSuccessOf,
            Self::PropagatesReloadTo => Self::ReloadPropagatedFrom,
            Self::PropagatesStopTo => Self::StopPropagatedFrom,
            Self::Triggers => Self::TriggeredBy,
            Self::JoinsNamespaceOf => Self::JoinsNamespaceOf,
            Self::RequiredBy => Self::Requires,
            Self::RequisiteOf => Self::Requisite,
            Self::WantedBy => Self::Wants,
            Self::BoundBy => Self::BindsTo,
            Self::ConsistsOf => Self::PartOf,
            Self::UpheldBy => Self::Upholds,
            Self::ConflictedBy => Self::Conflicts,
            Self::OnFailureOf => Self::OnFailure,
            Self::OnSuccessOf => Self::OnSuccess,
            Self::ReloadPropagatedFrom => Self::PropagatesReloadTo,
            Self::StopPropagatedFrom => Self::PropagatesStopTo,
            Self::TriggeredBy => Self::Triggers,
            Self::Before => Self::After,
            Self::After => Self::Before,
        }
    }

    /// systemd's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requires => "Requires",
            Self::Requisite => "Requisite",
            Self::Wants => "Wants",
            Self::BindsTo => "BindsTo",
            Self::PartOf => "PartOf",
            Self::Upholds => "Upholds",
            Self::Conflicts => "Conflicts",
            Self::OnFailure => "OnFailure",
            Self::OnSuccess => "OnSuccess",
            Self::PropagatesReloadTo => "PropagatesReloadTo",
            Self::PropagatesStopTo => "PropagatesStopTo",
            Self::Triggers => "Triggers",
            Self::JoinsNamespaceOf => "JoinsNamespaceOf",
            Self::RequiredBy => "RequiredBy",
            Self::RequisiteOf => "RequisiteOf",
            Self::WantedBy => "WantedBy",
            Self::BoundBy => "BoundBy",
            Self::ConsistsOf => "ConsistsOf",
            Self::UpheldBy => "UpheldBy",
            Self::ConflictedBy => "ConflictedBy",
            Self::OnFailureOf => "OnFailureOf",
            Self::OnSuccessOf => "OnSuccessOf",
            Self::ReloadPropagatedFrom => "ReloadPropagatedFrom",
            Self::StopPropagatedFrom => "StopPropagatedFrom",
            Self::TriggeredBy => "TriggeredBy",
            Self::Before => "Before",
            Self::After => "After",
        }
    }

    /// What a dependency kind is in the graph; `None` if the engine has no use for it.
    pub(crate) fn of(kind: DepKind) -> Option<Self> {
        Some(match kind {
            DepKind::Requires => Self::Requires,
            DepKind::Requisite => Self::Requisite,
            DepKind::Wants => Self::Wants,
            DepKind::BindsTo => Self::BindsTo,
            DepKind::PartOf => Self::PartOf,
            DepKind::Upholds => Self::Upholds,
            DepKind::Conflicts => Self::Conflicts,
            DepKind::Before => Self::Before,
            DepKind::After => Self::After,
            DepKind::OnFailure => Self::OnFailure,
            DepKind::OnSuccess => Self::OnSuccess,
            DepKind::PropagatesReloadTo => Self::PropagatesReloadTo,
            DepKind::ReloadPropagatedFrom => Self::ReloadPropagatedFrom,
            DepKind::PropagatesStopTo => Self::PropagatesStopTo,
            DepKind::StopPropagatedFrom => Self::StopPropagatedFrom,
            DepKind::Triggers => Self::Triggers,
            DepKind::JoinsNamespaceOf => Self::JoinsNamespaceOf,
            DepKind::Slice => return None,
        })
    }
}

/// This end declared the edge.
pub(crate) const OURS: u8 = 1;
/// The other end did.
pub(crate) const THEIRS: u8 = 2;

/// A relation to a unit. Eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    pub rel: Rel,
    pub to: u32,
    /// Who declared it: [`OURS`], [`THEIRS`] or both; nobody, if it is on its way out.
    pub by: u8,
}

impl Edge {
    /// What the array is sorted by: kind, then unit.
    #[inline(always)]
    pub fn key(self) -> u64 {
        (self.rel as u64) << 32 | u64::from(self.to)
    }

    /// Whether it is still declared by one of its ends.
    pub fn is_declared(self) -> bool {
        self.by != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_relations_are_their_places() {
        for (at, rel) in Rel::ALL.into_iter().enumerate() {
            assert_eq!(rel as usize, at);
            assert_eq!(rel.inverse().inverse(), rel);
        }
        assert_eq!(core::mem::size_of::<Edge>(), 8);
    }
}
