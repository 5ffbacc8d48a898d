//! Graphs of any size, for what is counted: time, instructions, bytes.
#![allow(dead_code)]

use engine::api::{Backing, Input};
use engine::{Config, Engine};
use units::name::UnitName;
use units::spec::{DepKind, LoadState, UnitSpec};

pub fn name(text: &str) -> UnitName {
    UnitName::new(text).unwrap()
}

/// What the services of a graph depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// On nothing; nobody wants them.
    Bare,
    /// By default dependencies; a target wants them and comes after them.
    Service,
    /// The same, and all but every tenth require their predecessor and come after it.
    Chain,
}

fn loaded(text: &str) -> UnitSpec {
    let mut spec = UnitSpec::new(name(text));
    spec.load = LoadState::Loaded;
    spec
}

fn service(i: usize, shape: Shape) -> UnitSpec {
    let mut spec = loaded(&format!("s{i}.service"));
    if shape == Shape::Bare {
        return spec;
    }
    spec.add_dep(DepKind::Requires, name("sysinit.target"));
    spec.add_dep(DepKind::After, name("sysinit.target"));
    spec.add_dep(DepKind::After, name("basic.target"));
    spec.add_dep(DepKind::Conflicts, name("shutdown.target"));
    spec.add_dep(DepKind::Before, name("shutdown.target"));
    if shape == Shape::Chain && !i.is_multiple_of(10) {
        let before = name(&format!("s{}.service", i - 1));
        spec.add_dep(DepKind::Requires, before.clone());
        spec.add_dep(DepKind::After, before);
    }
    spec
}

/// An engine with `n` services and `all.target`.
pub fn build(n: usize, shape: Shape) -> Engine {
    let mut engine = Engine::new(Config {
        epoch: 1,
        max_jobs: 1_000_000,
    });
    let mut load = |spec: UnitSpec, backing| {
        let input = Input::Loaded {
            spec: Box::new(spec),
            backing,
        };
        engine.step(0, input, &mut || 1, &mut Vec::new());
    };
    let mut all = loaded("all.target");
    for target in ["sysinit.target", "basic.target", "shutdown.target"] {
        load(loaded(target), Backing::Engine);
    }
    for i in 0..n {
        let spec = service(i, shape);
        if shape != Shape::Bare {
            all.add_dep(DepKind::Wants, spec.id.clone());
            all.add_dep(DepKind::After, spec.id.clone());
        }
        load(spec, Backing::Helper);
    }
    load(all, Backing::Engine);
    // The first input that is no Loaded puts the edges in order: not part of a transaction.
    engine.step(0, Input::Tick, &mut || 1, &mut Vec::new());
    engine
}
