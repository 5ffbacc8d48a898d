//! Whether a boot is a good one, and what the next boot knows of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(missing_docs)]

use qemu_tests::Setup;
use std::path::{Path, PathBuf};
use std::process::Command;

const UNITS: [&str; 5] = [
    "boot-complete.target",
    "boot-count.service",
    "boot-check.service",
    "boot-success.service",
    "boot-failure.service",
];

fn rootfs(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../rootfs")
        .join(path)
}

/// A machine with these units as an image has them, and enabled.
fn setup() -> Option<Setup> {
    let setup = Setup::new()?;
    let script = std::fs::read_to_string(rootfs("boot-health")).unwrap();
    setup.script("usr/lib/sysmaster/boot-health", &script);
    for unit in UNITS {
        setup.unit(
            unit,
            &std::fs::read_to_string(rootfs(&format!("units/{unit}"))).unwrap(),
        );
    }
    for target in ["local-fs.target", "graphical.target"] {
        setup.unit(target, "[Unit]\nDefaultDependencies=no\n");
    }
    let directory = setup.files().join("etc/sysmaster/system");
    for (target, unit) in [
        ("basic.target.wants", "boot-count.service"),
        ("basic.target.wants", "boot-success.service"),
        ("boot-complete.target.requires", "boot-check.service"),
    ] {
        std::fs::create_dir_all(directory.join(target)).unwrap();
        std::os::unix::fs::symlink(format!("../{unit}"), directory.join(target).join(unit))
            .unwrap();
    }
    for when in ["success", "failure"] {
        setup.script(
            &format!("etc/sysmaster/boot.d/{when}/10-note"),
            "echo \"$1\" >>/run/heard",
        );
    }
    Some(setup)
}

#[test]
fn a_good_boot_is_marked_as_good() {
    println!(
        "all units up: the counter goes back, the hooks of success run once, and after everything else"
    );
    let Some(setup) = setup() else { return };
    setup
        .wanted("slow.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c 'sleep 0.5; echo slow >>/run/heard'\n")
        .file("var/lib/sysmaster/boot/tries", "2\n")
        .file("var/lib/sysmaster/boot/last", "begun\n");
    let machine = setup.boot();
    machine.wait_state("boot-success.service", "active");
    assert_eq!(machine.read("run/heard"), "slow\nsuccess\n");
    assert_eq!(machine.read("var/lib/sysmaster/boot/tries"), "0\n");
    assert_eq!(machine.read("var/lib/sysmaster/boot/last"), "good\n");
    let last = machine.read("run/sysmaster/last-boot");
    assert!(
        last.starts_with("the boot before this one did not come to its end: "),
        "{last}"
    );
    assert_eq!(machine.sctl(&["is-system-running"]).out, "running\n");
}

#[test]
fn a_boot_with_failures_is_not() {
    println!(
        "a unit that fails, a judge that says no: the hooks of failure run, the counter stays"
    );
    for judge in [false, true] {
        let Some(setup) = setup() else { return };
        setup.file("var/lib/sysmaster/boot/tries", "4\n");
        if judge {
            setup.script("etc/sysmaster/boot.d/check/10-judge", "exit 1");
        } else {
            setup.wanted(
                "bad.service",
                "[Service]\nType=oneshot\nExecStart=/bin/false\n",
            );
        }
        let machine = setup.boot();
        machine.wait_state("boot-check.service", "failed");
        machine.wait("the hooks of failure", || {
            machine.read("run/heard") == "failure\n"
        });
        assert_eq!(machine.sctl(&["is-active", "boot-complete.target"]).code, 3);
        assert_eq!(machine.sctl(&["is-active", "boot-success"]).code, 3);
        assert_eq!(machine.read("var/lib/sysmaster/boot/tries"), "5\n");
        let last = machine.read("var/lib/sysmaster/boot/last");
        let why = if judge {
            "failed a script of"
        } else {
            "failed units failed: bad.service"
        };
        assert!(last.starts_with(why), "{last}");
    }
}

/// One step after another, on files of this test's own.
struct Steps {
    dir: PathBuf,
}

impl Steps {
    fn new(name: &str) -> Steps {
        let dir = std::env::temp_dir().join(format!("boot-health-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        for sub in ["bin", "pstore", "watchdog/watchdog0", "hooks/failure"] {
            std::fs::create_dir_all(dir.join(sub)).unwrap();
        }
        let steps = Steps { dir };
        steps.script("bin/sctl", "exit 0");
        steps.script("hooks/failure/tries", "echo \"$1\" >>$BOOT_STATE/../heard");
        steps
    }

    fn script(&self, path: &str, text: &str) {
        let path = self.dir.join(path);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(path, mode).unwrap();
    }

    fn run(&self, step: &str) -> bool {
        let path = |sub: &str| self.dir.join(sub);
        let search = format!("{}:/usr/bin:/bin", path("bin").display());
        let status = Command::new("sh")
            .arg(rootfs("boot-health"))
            .arg(step)
            .env("PATH", search)
            .env("BOOT_STATE", path("state"))
            .env("BOOT_HOOKS", path("hooks"))
            .env("BOOT_LAST", path("last-boot"))
            .env("BOOT_PSTORE", path("pstore"))
            .env("BOOT_SYS", path("watchdog"))
            .env("BOOT_TRIES", "2")
            .status();
        status.unwrap().success()
    }

    /// What a boot says of the one before it.
    fn begin(&self) -> String {
        assert!(self.run("begin"));
        let text = std::fs::read_to_string(self.dir.join("last-boot")).unwrap();
        text.trim().replace("the boot before this one ", "")
    }

    fn heard(&self) -> String {
        std::fs::read_to_string(self.dir.join("heard")).unwrap_or_default()
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn the_next_boot_knows_how_the_last_one_ended() {
    println!("shutdown, loss of power, watchdog, panic, failed units: each is told apart");
    let steps = Steps::new("ends");
    assert_eq!(
        steps.begin(),
        "nothing is known of the boot before this one"
    );
    assert!(steps.run("check") && steps.run("success") && steps.run("end"));
    assert_eq!(steps.begin(), "ended by a shutdown");
    assert!(steps.run("success"));
    let good = "was good, and ended without a shutdown: ";
    assert_eq!(
        steps.begin(),
        format!("{good}power was lost, or it was reset")
    );
    let early = "did not come to its end: ";
    std::fs::write(steps.dir.join("watchdog/watchdog0/bootstatus"), "32\n").unwrap();
    assert_eq!(
        steps.begin(),
        format!("{early}the hardware watchdog reset it")
    );
    std::fs::write(
        steps.dir.join("pstore/dmesg-ramoops-0"),
        "<0>Kernel panic - not syncing\n",
    )
    .unwrap();
    assert_eq!(steps.begin(), format!("{early}the kernel panicked"));
    steps.script("bin/sctl", "echo 'a.service loaded failed failed A'");
    assert!(!steps.run("check"));
    // Its shutdown is not what matters of it.
    assert!(steps.run("failure") && steps.run("end"));
    assert_eq!(steps.begin(), "was not good: units failed: a.service");
}

#[test]
fn after_so_many_tries_somebody_else_is_asked() {
    println!("BOOT_TRIES=2: the third boot runs the hooks with `tries`, a good one begins anew");
    let steps = Steps::new("tries");
    for heard in ["", "", "tries\n", "tries\ntries\n"] {
        steps.begin();
        assert_eq!(steps.heard(), heard);
    }
    assert!(steps.run("success"));
    steps.begin();
    assert_eq!(steps.heard(), "tries\ntries\n");
    // Rubbish is no number.
    std::fs::write(steps.dir.join("state/tries"), "lots\n").unwrap();
    steps.begin();
    assert_eq!(
        std::fs::read_to_string(steps.dir.join("state/tries")).unwrap(),
        "1\n"
    );
}

#[test]
fn a_hook_that_fails_keeps_a_boot_from_being_good() {
    let steps = Steps::new("hook");
    steps.begin();
    std::fs::create_dir_all(steps.dir.join("hooks/success")).unwrap();
    steps.script("hooks/success/mark", "exit 3");
    assert!(!steps.run("success"));
    let tries = std::fs::read_to_string(steps.dir.join("state/tries")).unwrap();
    assert_eq!(tries, "1\n");
}
