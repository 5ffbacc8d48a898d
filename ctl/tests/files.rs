//! Commands on the files of an installation that does not run.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(missing_docs, dead_code, unreachable_pub)]

mod support;

use std::fs;
use support::Root;

/// A root with a few units.
fn root() -> Root {
    let root = Root::empty();
    let units = "usr/lib/sysmaster/system";
    root.file(&format!("{units}/web.service"), "[Unit]\nDescription=Web\n[Service]\nExecStart=/bin/web\n[Install]\nWantedBy=multi-user.target\n");
    root.file(
        &format!("{units}/static.service"),
        "[Service]\nExecStart=/bin/true\n",
    );
    root.file(
        &format!("{units}/multi-user.target"),
        "[Unit]\nDescription=Many\n",
    );
    root
}

#[test]
fn enable_and_disable() {
    let root = root();
    let state = |unit: &str| root.sctl(&["is-enabled", unit]);
    assert_eq!(
        (state("web").code, state("web").out.as_str()),
        (1, "disabled\n")
    );
    let run = root.sctl(&["enable", "web"]);
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(
        run.err
            .starts_with("made /etc/sysmaster/system/multi-user.target.wants/web.service -> "),
        "{}",
        run.err
    );
    assert!(
        root.0
            .join("etc/sysmaster/system/multi-user.target.wants/web.service")
            .is_symlink()
    );
    assert_eq!(
        (state("web").code, state("web").out.as_str()),
        (0, "enabled\n")
    );
    assert_eq!(
        root.sctl(&["enable", "web"]).err,
        "",
        "nothing to do a second time"
    );
    let run = root.sctl(&["disable", "web", "--json"]);
    assert_eq!(
        run.out,
        "{\"links\":[{\"link\":\"/etc/sysmaster/system/multi-user.target.wants/web.service\",\"target\":null}],\"notes\":[]}\n"
    );
    assert_eq!(state("web").code, 1);
    assert_eq!(
        (state("static").code, state("static").out.as_str()),
        (0, "static\n")
    );
    assert_eq!(
        (state("nix").code, state("nix").out.as_str()),
        (4, "not-found\n")
    );
    assert_eq!(root.sctl(&["enable", "nix"]).code, 1);
    assert_eq!(
        root.sctl(&["enable", "--now", "web"]).code,
        1,
        "not for another root"
    );
}

#[test]
fn a_link_that_leads_there_by_another_way_is_no_obstacle() {
    let root = root();
    let wants = root.0.join("etc/sysmaster/system/multi-user.target.wants");
    fs::create_dir_all(&wants).unwrap();
    std::os::unix::fs::symlink(
        "../../../../usr/lib/sysmaster/system/web.service",
        wants.join("web.service"),
    )
    .unwrap();
    assert_eq!(root.sctl(&["is-enabled", "web"]).out, "enabled\n");
    let run = root.sctl(&["enable", "web"]);
    assert_eq!(run.code, 0, "{}", run.err);
}

#[test]
fn mask_and_unmask() {
    let root = root();
    assert_eq!(root.sctl(&["mask", "web"]).code, 0);
    assert_eq!(root.sctl(&["is-enabled", "web"]).out, "masked\n");
    assert_eq!(root.sctl(&["is-enabled", "web"]).code, 1);
    assert_eq!(root.sctl(&["unmask", "web"]).code, 0);
    assert_eq!(root.sctl(&["is-enabled", "web"]).out, "disabled\n");
}

#[test]
fn the_list_of_unit_files() {
    let root = root();
    root.sctl(&["enable", "-q", "web"]);
    let run = root.sctl(&["list-unit-files"]);
    assert_eq!(
        run.out,
        "\
UNIT FILE          STATE
multi-user.target  static
static.service     static
web.service        enabled
"
    );
    assert_eq!(
        root.sctl(&["list-unit-files", "--no-legend", "w*"]).out,
        "web.service  enabled\n"
    );
    assert_eq!(
        root.sctl(&["list-unit-files", "--state=enabled", "--json"])
            .out,
        "[{\"state\":\"enabled\",\"unit\":\"web.service\"}]\n"
    );
}

#[test]
fn cat_shows_the_file_and_its_dropins() {
    let root = root();
    root.file(
        "etc/sysmaster/system/web.service.d/10-nice.conf",
        "[Service]\nNice=5\n",
    );
    let run = root.sctl(&["cat", "web"]);
    assert_eq!(run.code, 0);
    assert!(
        run.out
            .starts_with("# /usr/lib/sysmaster/system/web.service\n[Unit]\n"),
        "{}",
        run.out
    );
    assert!(
        run.out
            .ends_with("\n# /etc/sysmaster/system/web.service.d/10-nice.conf\n[Service]\nNice=5\n"),
        "{}",
        run.out
    );
    assert_eq!(root.sctl(&["cat", "nix"]).code, 1);
}

#[test]
fn the_default_target() {
    let root = root();
    assert_eq!(root.sctl(&["get-default"]).code, 1);
    assert_eq!(root.sctl(&["set-default", "multi-user"]).code, 0);
    assert_eq!(root.sctl(&["get-default"]).out, "multi-user.target\n");
    assert_eq!(root.sctl(&["set-default", "web.service"]).code, 1);
}
