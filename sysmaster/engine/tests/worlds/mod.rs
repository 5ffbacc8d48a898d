//! Worlds to play a test in, and what is asked of them afterwards.
#![allow(dead_code)]

use sim::World;
use units::spec::UnitSpec;

/// These units, loaded: each with its file as [`World::unit`] reads it.
pub fn world(units: &[(&str, &str)]) -> World {
    let mut world = World::new();
    for (unit, text) in units {
        world.unit(unit, text);
    }
    for (unit, _) in units {
        world.load(unit);
    }
    world
}

/// Changes a unit's file, and reads it again.
pub fn set(world: &mut World, unit: &str, change: impl FnOnce(&mut UnitSpec)) {
    change(world.specs.get_mut(&sim::name(unit)).unwrap());
    world.load(unit);
}

/// When nothing moves any more, no promise is broken.
#[track_caller]
pub fn calm(world: &mut World) {
    world.check_rest();
    assert!(
        world.broken.is_empty(),
        "{:#?}\n{:#?}",
        world.broken,
        world.trace
    );
}

/// There is this line in the trace.
#[track_caller]
pub fn happened(world: &World, line: &str) {
    let found = world.trace.iter().any(|l| l == line);
    assert!(found, "no “{line}” in {:#?}", world.trace);
}

/// There is none.
#[track_caller]
pub fn did_not_happen(world: &World, line: &str) {
    let found = world.trace.iter().any(|l| l == line);
    assert!(!found, "“{line}” in {:#?}", world.trace);
}
