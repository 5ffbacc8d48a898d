//! `sctl verify` on trees below a root.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(missing_docs, dead_code, unreachable_pub)]

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use support::{Root, Run};

const UNITS: &str = "usr/lib/sysmaster/system";

/// A root whose `/bin/true` can be run.
fn root() -> Root {
    let root = Root::empty();
    root.file("bin/true", "");
    let program = root.0.join("bin/true");
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
    for target in ["sysinit", "basic", "shutdown", "multi-user"] {
        let text = "[Unit]\nDescription=x\nDefaultDependencies=no\n";
        root.file(&format!("{UNITS}/{target}.target"), text);
    }
    root
}

impl Root {
    fn unit(&self, name: &str, unit: &str, own: &str) {
        let text = format!("[Unit]\n{unit}\n[Service]\nExecStart=/bin/true\n{own}");
        self.file(&format!("{UNITS}/{name}.service"), &text);
    }

    fn verify(&self, args: &[&str]) -> Run {
        self.sctl(&[&["verify"], args].concat())
    }
}

#[test]
fn a_tree_without_faults_says_nothing() {
    let root = root();
    root.unit("good", "After=basic.target", "");
    root.unit("t@", "Description=%i", "");
    let run = root.verify(&[]);
    assert_eq!((run.code, run.out.as_str()), (0, ""), "{}", run.err);
    assert_eq!(run.err, "6 units: 0 errors, 0 warnings\n");
}

#[test]
fn everything_wrong_is_found_at_once_with_file_and_line() {
    let root = root();
    root.unit(
        "value",
        "Requires=x",
        "TimeoutStartSec=soon\nFrobnicate=yes\n",
    );
    root.unit("need", "Requires=gone.service\nWants=lost.service", "");
    root.file(
        &format!("{UNITS}/prog.service"),
        "[Service]\nExecStart=/bin/none\nExecStop=-/bin/no\n",
    );
    root.file(&format!("{UNITS}/header.service"), "[Service\n");
    root.file(
        "etc/sysmaster/system/need.service.d/x.conf",
        "[Unit]\nNope=1\n",
    );
    let run = root.verify(&[]);
    assert_eq!(run.code, 1);
    let out = run.out;
    for part in [
        "/header.service:1: error: found “[Service”",
        "/value.service:2: error: Requires=: found “x”",
        "/value.service:5: error: TimeoutStartSec=: ",
        "/value.service:6: warning: unknown name “Frobnicate”",
        "/need.service: error: Requires=gone.service: there is no such unit",
        "/need.service: warning: Wants=lost.service: there is no such unit",
        "/need.service.d/x.conf:2: warning: unknown directive “Nope”",
        "/prog.service: error: its program /bin/none does not exist",
    ] {
        assert!(out.contains(part), "{part}\n{out}");
    }
    assert!(!out.contains("/bin/no "), "{out}");
    assert_eq!(out.lines().count(), 8, "{out}");
    assert_eq!(run.err, "8 units: 5 errors, 3 warnings\n", "{out}");
}

#[test]
fn a_cycle_is_explained_link_by_link_and_only_where_it_can_happen() {
    let root = root();
    root.unit("a", "After=b.service\nWants=b.service", "");
    root.unit("b", "Before=c.service\nAfter=c.service", "");
    root.unit("c", "", "");
    let run = root.verify(&["a"]);
    assert_eq!(
        (run.code, run.out.as_str()),
        (0, ""),
        "nobody starts both b and c"
    );
    root.unit("a", "After=b.service\nWants=b.service c.service", "");
    let run = root.verify(&["a"]);
    assert_eq!(run.code, 1);
    assert!(
        run.out.contains(
            "b.service comes after c.service (After= of b.service), \
             c.service comes after b.service (Before= of b.service)"
        ),
        "{}",
        run.out
    );
    assert_eq!(root.verify(&[]).out.matches("ordering cycle").count(), 1);
}

#[test]
fn what_is_not_carried_out_is_folded_by_file() {
    let root = root();
    root.unit(
        "many",
        "",
        "PrivateNetwork=yes\nProtectClock=yes\nProtectClock=no\nKeyringMode=private\n",
    );
    let run = root.verify(&["many"]);
    assert_eq!(run.code, 0);
    assert_eq!(
        run.out,
        "/usr/lib/sysmaster/system/many.service: not carried out:\n    \
         PrivateNetwork= (5), ProtectClock= (6), ProtectClock= (7), KeyringMode= (8)\n"
    );
    let json: serde_json::Value =
        serde_json::from_str(&root.verify(&["--json", "many"]).out).unwrap();
    assert_eq!((&json["good"], &json["errors"]), (&true.into(), &0.into()));
    assert_eq!(json["findings"].as_array().unwrap().len(), 4);
    assert_eq!(json["findings"][0]["kind"], "unsupported");
    assert_eq!(json["findings"][0]["line"], 5);
}

#[test]
fn types_without_a_helper_are_told_once() {
    let root = root();
    for name in ["a", "b"] {
        root.file(
            &format!("{UNITS}/{name}.timer"),
            "[Timer]\nOnBootSec=1\nOnBotSec=2\n",
        );
    }
    let run = root.verify(&[]);
    assert_eq!(run.code, 0);
    assert!(
        run.out
            .contains("a.timer:3: warning: unknown name “OnBotSec” in [Timer]"),
        "{}",
        run.out
    );
    assert!(
        run.out
            .ends_with("no helper for type timer: 2 units cannot be started\n"),
        "{}",
        run.out
    );
    root.file("usr/lib/sysmaster/helpers/timer", "");
    assert!(!root.verify(&[]).out.contains("no helper"));
}

#[test]
fn sockets_are_read_as_their_helper_reads_them() {
    let root = root();
    root.unit("s", "", "");
    root.file(
        &format!("{UNITS}/s.socket"),
        "[Socket]\nListenStream=/run/s\nBacklog=many\nListenStraem=x\n",
    );
    let run = root.verify(&["s.socket"]);
    assert_eq!(run.code, 1);
    for part in ["s.socket:3: error: Backlog=", "s.socket:4: warning: "] {
        assert!(run.out.contains(part), "{part}: {}", run.out);
    }
}

#[test]
fn a_file_is_read_with_its_neighbours() {
    let root = root();
    root.file(
        "srv/x/one.service",
        "[Unit]\nRequires=two.service\n[Service]\nExecStart=/bin/true\n",
    );
    let path = root.0.join("srv/x/one.service");
    let one = path.to_str().unwrap();
    assert_eq!(root.verify(&[one]).code, 1);
    root.file("srv/x/two.service", "[Service]\nExecStart=/bin/true\n");
    let run = root.verify(&[one]);
    assert_eq!((run.code, run.out.as_str()), (0, ""));
    assert_eq!(root.verify(&["/none/x.service"]).code, 5);
    assert_eq!(root.verify(&["gone.service"]).code, 1);
}

#[test]
fn a_missing_sysinit_target_is_told_once() {
    let root = root();
    fs::remove_file(root.0.join(UNITS).join("sysinit.target")).unwrap();
    root.unit("a", "", "");
    root.unit("b", "", "");
    let out = root.verify(&[]).out;
    assert!(
        out.starts_with("sysinit.target: error: there is no such unit"),
        "{out}"
    );
    assert_eq!(out.lines().count(), 1, "{out}");
}

#[test]
fn a_link_to_nothing_and_a_masked_need() {
    let root = root();
    let etc = root.0.join("etc/sysmaster/system");
    fs::create_dir_all(etc.join("multi-user.target.wants")).unwrap();
    symlink(
        "/usr/lib/sysmaster/system/gone.service",
        etc.join("multi-user.target.wants/gone.service"),
    )
    .unwrap();
    symlink("/dev/null", etc.join("off.service")).unwrap();
    root.unit("a", "Requires=off.service", "");
    let out = root.verify(&[]).out;
    assert!(
        out.contains("multi-user.target: warning: Wants=gone.service: there is no such unit"),
        "{out}"
    );
    assert!(
        out.contains("a.service: error: Requires=off.service: the unit is masked"),
        "{out}"
    );
}
