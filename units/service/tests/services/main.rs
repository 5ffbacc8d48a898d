//! Services with real processes, over both transports, with control groups and without.
//!
//! The scenarios run one after the other in one process with one thread, because the helper forks
//! and because this process plays init for what it leaves behind. Root is needed for users and
//! control groups; what lacks it says so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod life;
mod matrix;
mod rig;
mod setup;
mod speech;

use rig::{Rig, Transport};
use std::panic::{AssertUnwindSafe, catch_unwind};

type Scenario = (&'static str, fn(&mut Rig));

fn main() {
    if let Ok(directory) = std::env::var("RIG_HELPER") {
        helper(&directory);
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().map(String::as_str) == Some("notify") {
        speech::client(&arguments[1..]);
        return;
    }
    if arguments.iter().any(|argument| argument == "--list") {
        return;
    }
    platform::process::become_subreaper().unwrap();
    let filter = arguments
        .iter()
        .find(|argument| !argument.starts_with('-'))
        .cloned();
    let filter = filter.unwrap_or_default();
    let scenarios: Vec<Scenario> = [life::ALL, setup::ALL, speech::ALL, matrix::ALL].concat();
    let (mut passed, mut failed) = (0, Vec::new());
    for (transport, word) in [
        (Transport::Here, "in-process"),
        (Transport::Process, "socket"),
    ] {
        for (name, scenario) in &scenarios {
            for (groups, kind) in [(true, "cgroup"), (false, "session")] {
                let name = format!("{name} ({word}, {kind})");
                if !name.contains(&filter) {
                    continue;
                }
                let run = || {
                    let mut rig = Rig::new(transport, groups);
                    scenario(&mut rig);
                };
                let good = catch_unwind(AssertUnwindSafe(run)).is_ok();
                println!("test {name} ... {}", if good { "ok" } else { "FAILED" });
                if good { passed += 1 } else { failed.push(name) }
            }
        }
    }
    let word = if failed.is_empty() { "ok" } else { "FAILED" };
    let count = failed.len();
    println!("\ntest result: {word}. {passed} passed; {count} failed; 0 ignored\n");
    for name in &failed {
        println!("failed: {name}");
    }
    std::process::exit(i32::from(!failed.is_empty()));
}

/// This executable as a helper process.
fn helper(directory: &str) -> ! {
    let directory = std::path::Path::new(directory);
    let services = unit_service::Services::new(&directory.join("notify"));
    let settings = units::runtime::Settings {
        fallback: directory.into(),
        ..units::runtime::Settings::new("test")
    };
    let path = directory.join("helper");
    std::process::exit(units::runtime::socket::run_at(
        Box::new(services),
        settings,
        &path,
    ));
}
