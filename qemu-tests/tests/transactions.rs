//! Transactions over the real binaries: atomic starts, also when the manager dies in the middle.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(missing_docs)]

use qemu_tests::{Machine, Setup};

/// `x` is up before; `a` needs `x` and `y`; `b` follows `a`; `c` waits for a file, then ends as the
/// file says.
fn units(setup: &Setup) {
    let service = |more: &str, exec: &str| format!("[Unit]\n{more}[Service]\n{exec}\n");
    let wait = "until [ -s /tmp/c ]; do sleep 0.02; done; read -r how < /tmp/c; exit $how";
    setup
        .wanted("x.service", &service("", "ExecStart=/bin/sleep 1000"))
        .unit("y.service", &service("", "ExecStart=/bin/sleep 1001"))
        .unit(
            "a.service",
            &service(
                "Requires=x.service y.service\nAfter=x.service y.service\n",
                "ExecStart=/bin/sleep 1002\nExecStopPost=/bin/sh -c 'echo a >> /tmp/stops'",
            ),
        )
        .unit(
            "b.service",
            &service(
                "After=a.service\n",
                "ExecStart=/bin/sleep 1003\nExecStopPost=/bin/sh -c 'echo b >> /tmp/stops'",
            ),
        )
        .unit(
            "c.service",
            &service(
                "After=b.service\n",
                &format!("Type=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c '{wait}'"),
            ),
        );
}

/// What `c` shall do.
fn c_ends_with(machine: &Machine, status: &str) {
    std::fs::write(machine.path("tmp/c"), status).unwrap();
}

fn rolled_back(machine: &Machine) {
    for unit in ["a.service", "b.service", "y.service"] {
        machine.wait_state(unit, "inactive");
    }
    machine.wait_state("c.service", "failed");
    machine.wait_state("x.service", "active");
    assert_eq!(
        machine.read("tmp/stops"),
        "b\na\n",
        "in reverse order, once"
    );
    machine.wait("no job is left", || {
        machine.sctl(&["list-jobs", "--json"]).out == "[]\n"
    });
}

#[test]
fn all_or_none() {
    println!("start --atomic: all up; or what it started is stopped again, in reverse order");
    let Some(setup) = Setup::new() else { return };
    units(&setup);
    let mut machine = setup.boot();
    machine.wait_state("x.service", "active");
    let x = machine.property("x.service", "MainPID");
    c_ends_with(&machine, "3\n");
    let answer = machine.sctl(&["start", "--atomic", "c", "b", "a"]);
    assert_eq!(answer.code, 1, "{answer:?}");
    let (first, rest) = answer.err.split_once('\n').unwrap();
    assert!(
        first.starts_with("c.service: start did not succeed: exit-code"),
        "{answer:?}"
    );
    assert!(
        rest.contains("rolled back: stopped again: b.service, a.service, y.service"),
        "{answer:?}"
    );
    rolled_back(&machine);
    assert_eq!(
        machine.property("x.service", "MainPID"),
        x,
        "it was up before"
    );

    c_ends_with(&machine, "0\n");
    assert_eq!(machine.sctl(&["start", "--atomic", "c", "b", "a"]).code, 0);
    for unit in ["a", "b", "c", "y"] {
        assert_eq!(machine.property(unit, "ActiveState"), "active");
    }
    machine.power_off();
}

#[test]
fn a_manager_killed_in_the_middle_forgets_nothing() {
    println!(
        "start --atomic, SIGKILL to the manager: the next one rolls back, and the client hears of it"
    );
    let Some(setup) = Setup::new() else { return };
    units(&setup);
    let mut machine = setup.boot();
    machine.wait_state("x.service", "active");
    let x = machine.property("x.service", "MainPID");
    std::thread::scope(|scope| {
        let client = scope.spawn(|| machine.sctl(&["start", "--atomic", "c", "b", "a"]));
        machine.wait_state("b.service", "active");
        let manager = machine.manager().expect("a manager");
        manager.signal(9);
        machine.wait("another manager", || {
            machine
                .manager()
                .is_some_and(|next| next.id() != manager.id())
        });
        c_ends_with(&machine, "3\n");
        let answer = client.join().unwrap();
        assert_eq!(answer.code, 1, "{answer:?}");
        assert!(
            answer
                .err
                .contains("rolled back: stopped again: b.service, a.service"),
            "{answer:?}"
        );
    });
    rolled_back(&machine);
    assert_eq!(
        machine.property("x.service", "MainPID"),
        x,
        "it was up before"
    );
    machine.power_off();
}

fn json(machine: &Machine, args: &[&str]) -> String {
    let answer = machine.sctl(args);
    assert_eq!(answer.code, 0, "{args:?}: {answer:?}");
    answer.out
}

#[test]
fn a_plan_comes_true_and_does_nothing() {
    println!("plan: shows what start does, in its waves, and does nothing of it");
    let Some(setup) = Setup::new() else { return };
    units(&setup);
    let mut machine = setup.boot();
    machine.wait_state("default.target", "active");
    c_ends_with(&machine, "0\n");
    let plan = json(&machine, &["plan", "start", "c", "b", "a"]);
    let wave = |row: &str| {
        let found = plan.lines().any(|line| line.trim_start().starts_with(row));
        assert!(found, "no {row}: {plan}");
    };
    assert!(plan.contains(": 4 jobs in 4 waves\n"), "{plan}");
    wave("1 ─ y.service");
    wave("2 ─ a.service");
    wave("4 ─ c.service");
    assert!(
        plan.contains("← a.service (Requires)") && plan.contains("x.service"),
        "{plan}"
    );
    assert_eq!(machine.property("a.service", "ActiveState"), "inactive");
    assert_eq!(machine.sctl(&["list-jobs", "--json"]).out, "[]\n");
    assert_eq!(machine.sctl(&["plan", "start", "nothere"]).code, 5);
    assert_eq!(machine.sctl(&["start", "c", "b", "a"]).code, 0);
    let plan = json(&machine, &["plan", "stop", "a"]);
    assert!(plan.contains("a.service: 1 job in 1 wave"), "{plan}");
    machine.power_off();
}

#[test]
fn the_next_manager_still_knows_why() {
    println!("why: who wanted it, who is to blame, what it waits for; after a SIGKILL as before");
    let Some(setup) = Setup::new() else { return };
    units(&setup);
    setup
        .wanted(
            "bad.service",
            "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'exit 3'\n",
        )
        .wanted(
            "needs.service",
            "[Unit]\nRequires=bad.service\nAfter=bad.service\n[Service]\nExecStart=/bin/sleep 1\n",
        )
        .wanted(
            "cond.service",
            "[Unit]\nConditionPathExists=/nothing\n[Service]\nExecStart=/bin/true\n",
        );
    let mut machine = setup.boot();
    machine.wait_state("default.target", "active");
    assert_eq!(machine.sctl(&["start", "--no-block", "c"]).code, 0);
    machine.wait_state("c.service", "activating");
    let told = |unit: &str, lines: &[&str]| {
        let out = json(&machine, &["why", unit]);
        for line in lines {
            assert!(out.contains(line), "{line} in {out}");
        }
    };
    let condition = "cond.service:2: PathExists=/nothing does not hold";
    let all = || {
        let because = "because   multi-user.target has Wants=";
        told("x", &[because, "because   the machine booted to it"]);
        told(
            "bad",
            &["start: failed", "result    exit-code", "exit status 3"],
        );
        told(
            "needs",
            &["start: dependency", "blame     bad.service is failed"],
        );
        told("cond", &["start: skipped", condition, because]);
        told(
            "c",
            &[
                "c.service start, under way",
                "somebody's command: sctl start c.service",
            ],
        );
        told("b", &["nothing and nobody asked for it"]);
    };
    all();
    let began = machine.property("x.service", "ActiveEnterTimestampMonotonic");
    let manager = machine.manager().expect("a manager");
    manager.signal(9);
    machine.wait("another manager", || {
        machine
            .manager()
            .is_some_and(|next| next.id() != manager.id())
    });
    all();
    assert_eq!(
        machine.property("x.service", "ActiveEnterTimestampMonotonic"),
        began
    );
    assert!(machine.sctl(&["boot-chart"]).out.contains("x.service"));
    machine.power_off();
}
