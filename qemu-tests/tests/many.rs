//! What a machine with many services asks of its managers. `SYSMASTER_SERVICES=2000` does more.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(missing_docs)]

use qemu_tests::machine::poll;
use qemu_tests::{Machine, Setup};
use std::time::Duration;

/// As many as a busy host starts and adopts in seconds, and enough that this takes a build without optimizations
/// longer than a helper that does nothing is waited for.
const SERVICES: usize = 1000;
/// Longer than anything takes that is not stuck.
const LONG: Duration = Duration::from_secs(120);

fn services() -> usize {
    let asked = std::env::var("SYSMASTER_SERVICES").ok();
    asked.and_then(|n| n.parse().ok()).unwrap_or(SERVICES)
}

fn boot() -> Option<Machine> {
    let setup = Setup::with_faults()?;
    for number in 0..services() {
        let text = "[Service]\nExecStart=/bin/sleep 7700\n";
        setup.wanted(&format!("w{number}.service"), text);
    }
    let machine = setup.strip().boot();
    let up = || machine.sctl(&["is-system-running"]).out == "running\n";
    poll(LONG, || up().then_some(())).expect("everything is up");
    Some(machine)
}

/// All services, as who they are.
fn running(machine: &Machine) -> Vec<platform::process::ProcId> {
    let found = machine.running("sleep 7700");
    found.iter().map(|one| one.id()).collect()
}

#[test]
fn a_helper_that_has_much_to_adopt_is_not_taken_for_hung() {
    let Some(machine) = boot() else { return };
    let before = running(&machine);
    assert_eq!(before.len(), services());
    let program = std::fs::read(machine.path("usr/lib/sysmaster/sysmaster")).unwrap();
    machine.place_version("next", &program, "another");
    let answer = machine.sctl(&["upgrade", "/next", "--trial=2"]);
    assert_eq!(answer.code, 0, "{answer:?}\n{}", machine.console());
    assert_eq!(running(&machine), before);
    let console = machine.console();
    assert!(!console.contains("does not answer"), "{console}");
}
