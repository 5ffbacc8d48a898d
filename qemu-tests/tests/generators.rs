//! Generators and the first boot, with the real binaries.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(missing_docs)]

use qemu_tests::Setup;

const GENERATORS: &str = "etc/sysmaster/system-generators";

#[test]
fn generated_units_boot_and_a_reload_generates_again_but_a_recovery_does_not() {
    println!("a generator runs at boot and at daemon-reload, and not when the manager is replaced");
    let Some(setup) = Setup::new() else { return };
    setup.script(
        &format!("{GENERATORS}/one"),
        "echo ran >> /run/runs\nmkdir -p $1/multi-user.target.wants\n\
         printf '[Service]\\nExecStart=/bin/sleep 1001\\n' > $1/made.service\n\
         ln -s ../made.service $1/multi-user.target.wants/\n\
         [ ! -e /run/more ] || printf '[Service]\\nExecStart=/bin/sleep 1002\\n' > $1/more.service",
    );
    let mut machine = setup.boot();
    machine.wait_state("made.service", "active");
    assert_eq!(machine.sctl(&["is-enabled", "made"]).out, "generated\n");
    assert_eq!(machine.sctl(&["start", "more"]).code, 5);
    assert!(machine.inside(&["touch", "/run/more"]).status.success());
    assert_eq!(machine.sctl(&["daemon-reload"]).code, 0);
    assert_eq!(
        machine.sctl(&["start", "more"]).code,
        0,
        "the answer came after the generators"
    );
    let runs = machine.read("run/runs");
    assert_eq!(runs, "ran\nran\n");
    let manager = machine.manager().unwrap();
    manager.signal(9);
    machine.wait("another manager", || {
        machine.manager().is_some_and(|new| new.pid != manager.pid)
    });
    machine.wait_state("more.service", "active");
    assert_eq!(machine.read("run/runs"), runs);
    machine.power_off();
}

#[test]
fn a_generator_that_hangs_delays_no_one_who_does_not_boot() {
    println!("while a generator runs the manager answers; when it is killed the boot goes on");
    let Some(setup) = Setup::new() else { return };
    setup
        .script(
            &format!("{GENERATORS}/hangs"),
            "echo > $1/x.target\nexec sleep 1003",
        )
        .wanted("a.service", "[Service]\nExecStart=/bin/sleep 1001\n");
    // Boot returns when the manager answers: it does, and has not begun to boot.
    let mut machine = setup.boot();
    machine.wait("the generator runs", || {
        machine.running("sleep 1003").len() == 1
    });
    assert_eq!(machine.sctl(&["is-active", "a"]).code, 3);
    for one in machine.running("sleep 1003") {
        one.signal(9);
    }
    machine.wait_state("a.service", "active");
    machine.power_off();
}

#[test]
fn the_first_boot_enables_by_preset_and_only_it() {
    println!("first boot: presets, machine id, ConditionFirstBoot");
    let Some(setup) = Setup::new() else { return };
    setup
        .file("etc/machine-id", "uninitialized\n")
        .file(
            "etc/sysmaster/system-preset/1.preset",
            "enable p.service\ndisable *\n",
        )
        .unit(
            "p.service",
            "[Service]\nExecStart=/bin/sleep 1001\n[Install]\nWantedBy=multi-user.target\n",
        )
        .wanted(
            "f.service",
            "[Unit]\nConditionFirstBoot=yes\n[Service]\nExecStart=/bin/sleep 1002\n",
        );
    let mut machine = setup.boot();
    machine.wait_state("p.service", "active");
    machine.wait_state("f.service", "active");
    assert_eq!(machine.read("etc/machine-id").trim().len(), 32);
    machine.wait("the mark goes with the boot's end", || {
        !machine.path("run/sysmaster/first-boot").exists()
    });
    machine.power_off();
}
