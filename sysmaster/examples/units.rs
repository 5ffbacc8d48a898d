//! What unit files cost: prints `BENCH name value` lines, in nanoseconds, for the benchmarks.
//!
//! Loads what `default.target` reaches below a root (the argument, else `/`), as the manager does at
//! boot; then changes one service's file and does what the manager does for `daemon-reload`. Where a
//! nanosecond is an instruction (QEMU with `-icount shift=0`) the figures are exact.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use engine::api::{Backing, Input};
use engine::{Config, Engine, UnitView};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use unit_files::loader::{Loader, Settings};
use units::name::UnitName;
use units::spec::StartLimit;

// As the manager has it: allocation is a good part of loading.
platform::use_heap!();

fn load(loader: &mut Loader, engine: &mut Engine, name: &UnitName) {
    let loaded = loader.load(name);
    let backing = match loaded.spec.id.unit_type() {
        "target" | "slice" => Backing::Engine,
        _ => Backing::Helper,
    };
    let input = Input::Loaded {
        spec: Box::new(loaded.spec),
        backing,
    };
    engine.step(0, input, &mut || 1, &mut Vec::new());
}

fn report(name: &str, since: Instant) {
    println!("BENCH {name} {}", since.elapsed().as_nanos());
}

fn main() {
    let root = std::env::args().nth(1).unwrap_or("/".into());
    let root = Path::new(&root);
    if std::process::id() == 1 {
        // Until the kernel has nothing left to do of its own, which would be counted as well.
        std::thread::sleep(Duration::from_secs(10));
    }
    let path = ["etc", "usr/lib"].map(|dir| PathBuf::from(format!("/{dir}/sysmaster/system")));
    let since = Instant::now();
    let mut loader = Loader::new(Settings {
        root: root.into(),
        unit_path: path.to_vec(),
        strict: false,
        start_limit: StartLimit::default(),
        has_type: |_| true,
    });
    let mut engine = Engine::new(Config::default());
    let target = UnitName::new("default.target").unwrap();
    loop {
        let missing = engine.missing(&target);
        if missing.is_empty() {
            break;
        }
        for name in missing {
            load(&mut loader, &mut engine, &name);
        }
    }
    engine.step(0, Input::Tick, &mut || 1, &mut Vec::new());
    report("load", since);
    let known = |unit: &UnitView<'_>| unit.load.is_some();
    let units = engine.units().filter(known);
    let names: Vec<UnitName> = units.map(|unit| unit.name.clone()).collect();
    println!("BENCH units {}", names.len());

    let service = names.iter().find(|name| name.unit_type() == "service");
    let file = format!("usr/lib/sysmaster/system/{}", service.unwrap());
    let mut file = std::fs::File::options()
        .append(true)
        .open(root.join(file))
        .unwrap();
    file.write_all(b"# changed\n").unwrap();
    let since = Instant::now();
    let changed = loader.reload(&path, &names);
    for name in &changed {
        load(&mut loader, &mut engine, name);
    }
    engine.step(0, Input::Tick, &mut || 1, &mut Vec::new());
    report("reload", since);
    assert_eq!(changed.len(), 1, "{changed:?}");
    println!("BENCH end 1");
}
