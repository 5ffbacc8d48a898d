//! Generators as real processes below a root.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use unit_files::config::Config;
use unit_files::generate::{Circumstances, has_work};
use unit_files::loader::{Loader, Settings};
use units::name::UnitName;
use units::spec::StartLimit;

const DIR: &str = "usr/lib/sysmaster/system-generators";

struct Tree(PathBuf);

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Tree {
    fn new() -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("generate-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn script(&self, path: &str, text: &str) {
        // Written by another process: one that is open for writing cannot be executed, and a
        // fork of a test beside this one may hold it open.
        let body = self.write(&format!("{path}.text"), &format!("#!/bin/sh\n{text}\n"));
        let path = self.0.join(path);
        let done = Command::new("cp").args([&body, &path]).status().unwrap();
        assert!(done.success());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        fs::remove_file(body).unwrap();
    }

    /// What the program has to say, line by line.
    fn generate(&self, more: &[&str]) -> Vec<String> {
        let output = Command::new(env!("CARGO_BIN_EXE_sysmaster-generate"))
            .arg("--root")
            .arg(&self.0)
            .args(more)
            .output()
            .unwrap();
        assert!(output.status.success());
        String::from_utf8_lossy(&output.stderr)
            .lines()
            .map(str::to_owned)
            .collect()
    }

    fn there(&self, path: &str) -> bool {
        self.0.join("run/sysmaster").join(path).exists()
    }

    fn description(&self, unit: &str) -> String {
        let mut loader = Loader::new(Settings {
            root: self.0.clone(),
            unit_path: Config::default().search_path(),
            strict: false,
            start_limit: StartLimit::default(),
            has_type: |_| true,
        });
        loader.load(&UnitName::new(unit).unwrap()).spec.description
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn nothing_to_generate_starts_nothing() {
    let tree = Tree::new();
    let config = Config::default();
    let work = |index: &dyn Fn(&str) -> bool| {
        let about = Circumstances {
            root: &tree.0,
            config: &config,
            command_line: "console=ttyS0 quiet",
        };
        has_work(&about, index)
    };
    assert!(!work(&|_| false));
    assert!(work(&|name| name == "serial-getty@.service"));
    tree.write(&format!("{DIR}/no-program"), "x");
    assert!(!work(&|_| false));
    tree.script("etc/sysmaster/system-generators/one", "");
    assert!(work(&|_| false));
}

#[test]
fn generators_run_together_with_three_directories() {
    let tree = Tree::new();
    tree.script(
        &format!("{DIR}/one"),
        "echo '[Unit]' > $1/n.target; echo > $2/e.target; echo > $3/l.target; env > $1/env",
    );
    // Each waits for what the other does: one after the other they would never end.
    tree.script(
        &format!("{DIR}/two"),
        "touch $1/two; while [ ! -e $1/three ]; do :; done",
    );
    tree.script(
        &format!("{DIR}/three"),
        "touch $1/three; while [ ! -e $1/two ]; do :; done",
    );
    tree.script(&format!("{DIR}/bad"), "exit 3");
    tree.script(&format!("{DIR}/masked"), "touch $1/masked");
    fs::create_dir_all(tree.0.join("etc/sysmaster/system-generators")).unwrap();
    symlink(
        "/dev/null",
        tree.0.join("etc/sysmaster/system-generators/masked"),
    )
    .unwrap();
    tree.script(
        "etc/sysmaster/system-generators/hidden",
        "touch $1/stronger",
    );
    tree.script(&format!("{DIR}/hidden"), "touch $1/weaker");
    tree.write("run/sysmaster/generator/old.target", "x");
    let said = tree.generate(&["--first-boot"]);
    assert!(
        said.iter()
            .any(|line| line.contains("bad failed with status 3")),
        "{said:?}"
    );
    for path in [
        "generator/n.target",
        "generator.early/e.target",
        "generator.late/l.target",
        "generator/two",
        "generator/three",
        "generator/stronger",
    ] {
        assert!(tree.there(path), "{path}");
    }
    for path in [
        "generator/old.target",
        "generator/masked",
        "generator/weaker",
    ] {
        assert!(!tree.there(path), "{path}");
    }
    let env = fs::read_to_string(tree.0.join("run/sysmaster/generator/env")).unwrap();
    for line in [
        "SYSTEMD_SCOPE=system\n",
        "SYSTEMD_FIRST_BOOT=1\n",
        "SYSTEMD_IN_INITRD=0\n",
        "SYSTEMD_ARCHITECTURE=",
    ] {
        assert!(env.contains(line), "{line} {env}");
    }
}

#[test]
fn what_is_generated_has_its_place_and_goes_with_its_generator() {
    let tree = Tree::new();
    let unit = |text: &str| format!("[Unit]\nDescription={text}\n[Service]\nExecStart=/x\n");
    tree.write("etc/sysmaster/system/a.service", &unit("admin"));
    tree.write("usr/lib/sysmaster/system/b.service", &unit("vendor"));
    for (kind, number, want) in [
        ("normal", 1, ["admin", "normal", "normal"]),
        ("early", 2, ["early", "early", "early"]),
        ("late", 3, ["admin", "vendor", "late"]),
    ] {
        let text = format!(
            "for u in a b c; do printf '[Unit]\\nDescription={kind}\\n' > ${number}/$u.service; done"
        );
        tree.script("etc/sysmaster/system-generators/g", &text);
        assert_eq!(tree.generate(&[]), Vec::<String>::new());
        let found = ["a.service", "b.service", "c.service"].map(|unit| tree.description(unit));
        assert_eq!(found, want);
    }
    fs::remove_file(tree.0.join("etc/sysmaster/system-generators/g")).unwrap();
    tree.generate(&[]);
    assert_eq!(tree.description("c.service"), "c.service");
    assert!(
        !tree.there("generator.late"),
        "empty directories are not left behind"
    );
}

#[test]
fn generators_of_systemd_run_where_their_directory_is_named() {
    let tree = Tree::new();
    tree.script(
        "usr/lib/systemd/system-generators/g",
        "echo '[Unit]' > $1/g.target",
    );
    tree.generate(&[]);
    assert!(!tree.there("generator/g.target"));
    tree.write(
        "etc/sysmaster/system.conf",
        "[Manager]\nGeneratorPath=/usr/lib/systemd/system-generators\n",
    );
    tree.generate(&[]);
    assert!(tree.there("generator/g.target"));
}

/// LSB headers, facilities, links of run levels: as units beside native ones.
#[test]
fn init_scripts_become_units() {
    let tree = Tree::new();
    let header = "### BEGIN INIT INFO\n# Provides: web www\n# Required-Start: $network $remote_fs db\n\
                  # Short-Description: A web server\n### END INIT INFO\n";
    tree.script("etc/init.d/web", header);
    tree.script("etc/init.d/native", "");
    tree.write(
        "usr/lib/sysmaster/system/native.service",
        "[Service]\nExecStart=/x\n",
    );
    fs::create_dir_all(tree.0.join("etc/rc3.d")).unwrap();
    symlink("../init.d/web", tree.0.join("etc/rc3.d/S20web")).unwrap();
    assert_eq!(tree.generate(&[]), Vec::<String>::new());
    assert_eq!(tree.description("web.service"), "LSB: A web server");
    assert_eq!(tree.description("www.service"), "LSB: A web server");
    assert!(tree.there("generator.late/multi-user.target.wants/web.service"));
    assert!(!tree.there("generator.late/native.service"));
    tree.write(
        "etc/sysmaster/system.conf",
        "[Manager]\nBuiltinGenerators=getty\n",
    );
    tree.generate(&[]);
    assert!(!tree.there("generator.late/web.service"));
}

#[test]
fn a_wrong_call_is_an_error() {
    let program = Path::new(env!("CARGO_BIN_EXE_sysmaster-generate"));
    let status = Command::new(program).arg("--frobnicate").status().unwrap();
    assert_eq!(status.code(), Some(2));
}
