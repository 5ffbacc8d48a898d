use super::*;
use crate::loader::tests::{Tree, name};

const SERVICE: &str = "[Service]\nExecStart=/x\n[Install]\nWantedBy=multi-user.target\n";

fn installer(tree: &Tree) -> Installer {
    Installer::new(tree.path(), &Tree::unit_path())
}

fn lines(outcome: &Outcome) -> Vec<String> {
    outcome.changes.iter().map(ToString::to_string).collect()
}

fn enable(tree: &Tree, unit: &str) -> Result<Outcome, Error> {
    installer(tree).enable(&[name(unit)])
}

fn disable(tree: &Tree, unit: &str) -> Vec<String> {
    lines(&installer(tree).disable(&[name(unit)]).unwrap())
}

fn state(tree: &Tree, unit: &str) -> &'static str {
    installer(tree).state(&name(unit)).as_str()
}

#[test]
fn enable_and_disable() {
    let tree = Tree::new();
    tree.write(
        "usr/lib/u/a.service",
        "[Service]\nX=1\n[Install]\nAlias=b.service\nWantedBy=multi-user.target\n\
         RequiredBy=r.target\nUpheldBy=p.target\nAlso=c.socket\n",
    );
    tree.write(
        "usr/lib/u/c.socket",
        "[Install]\nWantedBy=sockets.target\nAlso=a.service\n",
    );
    assert_eq!(state(&tree, "a.service"), "disabled");
    let done = enable(&tree, "a.service").unwrap();
    assert_eq!(
        lines(&done),
        [
            "Created symlink /etc/u/b.service → /usr/lib/u/a.service.",
            "Created symlink /etc/u/multi-user.target.wants/a.service → /usr/lib/u/a.service.",
            "Created symlink /etc/u/r.target.requires/a.service → /usr/lib/u/a.service.",
            "Created symlink /etc/u/p.target.upholds/a.service → /usr/lib/u/a.service.",
            "Created symlink /etc/u/sockets.target.wants/c.socket → /usr/lib/u/c.socket."
        ]
    );
    assert!(done.notes.is_empty());
    assert!(enable(&tree, "a.service").unwrap().changes.is_empty());
    assert_eq!(state(&tree, "a.service"), "enabled");
    assert_eq!(state(&tree, "b.service"), "alias");
    assert_eq!(state(&tree, "c.socket"), "enabled");
    assert!(
        enable(&tree, "b.service")
            .unwrap_err()
            .contains("a.service")
    );
    assert_eq!(
        disable(&tree, "a.service"),
        [
            "Removed /etc/u/b.service.",
            "Removed /etc/u/multi-user.target.wants/a.service.",
            "Removed /etc/u/p.target.upholds/a.service.",
            "Removed /etc/u/r.target.requires/a.service.",
            "Removed /etc/u/sockets.target.wants/c.socket."
        ]
    );
    assert_eq!(fs::read_dir(tree.path().join("etc/u")).unwrap().count(), 0);
    assert!(disable(&tree, "a.service").is_empty());
}

#[test]
fn what_is_enabled_is_loaded() {
    let tree = Tree::new();
    tree.write("usr/lib/u/a.service", SERVICE);
    tree.write("usr/lib/u/multi-user.target", "[Unit]\nDescription=x\n");
    enable(&tree, "a.service").unwrap();
    let spec = tree.load("multi-user.target").spec;
    assert!(
        spec.deps
            .contains(&(units::spec::DepKind::Wants, name("a.service")))
    );
}

#[test]
fn templates() {
    let tree = Tree::new();
    tree.write(
        "usr/lib/u/g@.service",
        "[Install]\nWantedBy=%i.target\nDefaultInstance=one\n",
    );
    tree.write("usr/lib/u/n@.service", "[Install]\nWantedBy=x.target\n");
    assert_eq!(
        lines(&enable(&tree, "g@two.service").unwrap()),
        ["Created symlink /etc/u/two.target.wants/g@two.service → /usr/lib/u/g@.service."]
    );
    assert!(
        enable(&tree, "n@.service")
            .unwrap_err()
            .contains("n@name.service")
    );
    assert_eq!(state(&tree, "g@two.service"), "enabled");
    assert_eq!(state(&tree, "g@three.service"), "disabled");
    assert_eq!(state(&tree, "g@.service"), "enabled");
    tree.write("usr/lib/u/p@.timer", "[Install]\nWantedBy=g@.service\n");
    assert_eq!(
        lines(&enable(&tree, "p@.timer").unwrap()),
        ["Created symlink /etc/u/g@.service.wants/p@.timer → /usr/lib/u/p@.timer."]
    );
    let spec = tree.load("g@z.service").spec;
    assert!(
        spec.deps
            .contains(&(units::spec::DepKind::Wants, name("p@z.timer")))
    );
    tree.link("usr/lib/u/alias@.service", "d@.service");
    assert_eq!(state(&tree, "alias@.service"), "not-found");
    tree.write(
        "usr/lib/u/d@.service",
        "[Install]\nWantedBy=x.target\nDefaultInstance=one\n",
    );
    assert_eq!(
        lines(&enable(&tree, "d@.service").unwrap()),
        ["Created symlink /etc/u/x.target.wants/d@one.service → /usr/lib/u/d@.service."]
    );
    assert_eq!(state(&tree, "alias@.service"), "alias");
    enable(&tree, "alias@two.service").unwrap();
    assert_eq!(
        disable(&tree, "d@two.service"),
        ["Removed /etc/u/x.target.wants/d@two.service."]
    );
    assert_eq!(
        disable(&tree, "d@.service"),
        ["Removed /etc/u/x.target.wants/d@one.service."]
    );
}

#[test]
fn masks_and_links() {
    let tree = Tree::new();
    tree.write("usr/lib/u/a.service", SERVICE);
    tree.write("etc/u/own.service", SERVICE);
    tree.write("srv/app.service", SERVICE);
    let i = installer(&tree);
    assert_eq!(
        lines(&i.mask(&[name("a.service")]).unwrap()),
        ["Created symlink /etc/u/a.service → /dev/null."]
    );
    assert_eq!(state(&tree, "a.service"), "masked");
    assert!(enable(&tree, "a.service").unwrap_err().contains("masked"));
    assert!(disable(&tree, "a.service").is_empty());
    assert!(
        i.mask(&[name("own.service")])
            .unwrap_err()
            .contains("no link")
    );
    assert_eq!(
        lines(&i.unmask(&[name("a.service")]).unwrap()),
        ["Removed /etc/u/a.service."]
    );
    assert_eq!(state(&tree, "a.service"), "disabled");
    assert_eq!(
        lines(&i.link(&["/srv/app.service"]).unwrap()),
        ["Created symlink /etc/u/app.service → /srv/app.service."]
    );
    assert!(i.link(&["/srv/none.service"]).is_err());
    assert_eq!(state(&tree, "app.service"), "linked");
    let runtime = installer(&tree).runtime(true);
    runtime.enable(&[name("own.service")]).unwrap();
    assert_eq!(state(&tree, "own.service"), "enabled-runtime");
    runtime.mask(&[name("a.service")]).unwrap();
    assert_eq!(state(&tree, "a.service"), "masked-runtime");
}

#[test]
fn states_without_links() {
    let tree = Tree::new();
    tree.write("usr/lib/u/s.service", "[Service]\nX=1\n");
    tree.write("usr/lib/u/i.service", "[Install]\nAlso=s.service\n");
    tree.write("usr/lib/u/b.service", "[Install]\nWantedBy=%F.target\n");
    tree.link("usr/lib/u/t.target.wants/s.service", "../s.service");
    assert_eq!(state(&tree, "s.service"), "static");
    assert_eq!(state(&tree, "i.service"), "indirect");
    assert_eq!(state(&tree, "b.service"), "bad");
    assert_eq!(state(&tree, "none.service"), "not-found");
    let done = enable(&tree, "s.service").unwrap();
    assert!(done.changes.is_empty() && done.notes[0].contains("[Install]"));
    assert_eq!(
        (State::Static.exit_code(), State::NotFound.exit_code()),
        (0, 4)
    );
}

#[test]
fn a_mistake_changes_nothing() {
    let tree = Tree::new();
    tree.write("usr/lib/u/a.service", SERVICE);
    tree.write(
        "usr/lib/u/bad.service",
        "[Install]\nWantedBy=multi-user.target no-unit\n",
    );
    tree.write("etc/u/multi-user.target.wants/taken.service", "a file");
    tree.write("usr/lib/u/taken.service", SERVICE);
    tree.link("etc/u/multi-user.target.wants/other.service", "/elsewhere");
    tree.write("usr/lib/u/other.service", SERVICE);
    let i = installer(&tree);
    for bad in [
        "bad.service",
        "taken.service",
        "other.service",
        "none.service",
    ] {
        assert!(i.enable(&[name("a.service"), name(bad)]).is_err(), "{bad}");
        assert_eq!(state(&tree, "a.service"), "disabled", "{bad}");
    }
    let forced = installer(&tree)
        .force(true)
        .enable(&[name("other.service")])
        .unwrap();
    assert_eq!(forced.changes.len(), 1);
}

#[test]
fn presets() {
    let tree = Tree::new();
    for unit in ["a", "b", "c"] {
        tree.write(&format!("usr/lib/u/{unit}.service"), SERVICE);
    }
    enable(&tree, "b.service").unwrap();
    tree.write(
        "usr/lib/systemd/system-preset/90-x.preset",
        "disable b.*\nenable *\n",
    );
    tree.write(
        "usr/lib/sysmaster/system-preset/10-y.preset",
        "# first\ndisable c.service\n",
    );
    let names = ["a.service", "b.service", "c.service"].map(name);
    let done = installer(&tree).preset(&names).unwrap();
    assert_eq!(
        lines(&done),
        [
            "Removed /etc/u/multi-user.target.wants/b.service.",
            "Created symlink /etc/u/multi-user.target.wants/a.service → /usr/lib/u/a.service."
        ]
    );
    assert_eq!(state(&tree, "c.service"), "disabled");
}

#[test]
fn preset_ignores_masks_and_names_instances() {
    let tree = Tree::new();
    for unit in ["a", "b", "c"] {
        tree.write(&format!("usr/lib/u/{unit}.service"), SERVICE);
    }
    tree.write("usr/lib/u/t@.service", SERVICE);
    tree.link("usr/lib/u/alias.service", "a.service");
    enable(&tree, "b.service").unwrap();
    tree.write(
        "usr/lib/systemd/system-preset/50-x.preset",
        "; a comment\n  # another\nignore b.service\nenable t@.service one two\ndisable c.*\n",
    );
    tree.write("usr/lib/systemd/system-preset/10-y.preset", "disable *\n");
    tree.link("etc/systemd/system-preset/10-y.preset", "/dev/null");
    let i = installer(&tree);
    let done = i.preset(&["b.service", "c.service", "t@.service"].map(name));
    let wants = "/etc/u/multi-user.target.wants/";
    let made =
        |unit: &str| format!("Created symlink {wants}{unit}.service → /usr/lib/u/t@.service.");
    assert_eq!(lines(&done.unwrap()), [made("t@one"), made("t@two")]);
    assert_eq!(state(&tree, "b.service"), "enabled");
    assert!(
        i.preset(&[name("alias.service")])
            .unwrap_err()
            .contains("a.service")
    );
    // An instance that is not listed has no rule.
    assert_eq!(
        i.preset(&[name("t@three.service")]).unwrap().changes.len(),
        1
    );
}

#[test]
fn preset_all_in_its_three_modes() {
    let tree = Tree::new();
    for unit in ["on", "off"] {
        tree.write(&format!("usr/lib/u/{unit}.service"), SERVICE);
    }
    tree.write("usr/lib/u/static.service", "[Service]\nX=1\n");
    tree.write("usr/lib/u/bad.service", "[Install]\nWantedBy=no-unit\n");
    tree.write("usr/lib/u/masked.service", "");
    tree.write("etc/sysmaster/system-preset/1.preset", "disable off.*\n");
    enable(&tree, "off.service").unwrap();
    let all = |mode| installer(&tree).preset_all(mode).unwrap();
    let done = all(PresetMode::EnableOnly);
    assert_eq!(done.changes.len(), 1);
    assert_eq!(done.notes.len(), 1, "{:?}", done.notes);
    assert!(done.notes[0].contains("bad.service"));
    assert_eq!(state(&tree, "off.service"), "enabled");
    disable(&tree, "on.service");
    assert_eq!(all(PresetMode::DisableOnly).changes.len(), 1);
    assert_eq!(
        (state(&tree, "on.service"), state(&tree, "off.service")),
        ("disabled", "disabled")
    );
    enable(&tree, "off.service").unwrap();
    assert_eq!(all(PresetMode::Full).changes.len(), 2);
}
