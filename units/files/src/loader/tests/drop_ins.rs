//! Drop-ins, and the directories beside a unit, in all their forms (systemd.unit(5)).

use super::*;

/// The value of `A=` that each drop-in of a unit gives, in merge order.
fn values(tree: &Tree, unit: &str) -> String {
    let loaded = tree.load(unit);
    assert_eq!(loaded.spec.load, LoadState::Loaded, "{unit}");
    let values = loaded.entries.iter().filter(|e| e.key == "A");
    values
        .map(|e| e.value.as_str())
        .collect::<Vec<_>>()
        .join(" ")
}

fn drop_in(tree: &Tree, path: &str, value: &str) {
    tree.write(path, format!("[Service]\nA={value}\n"));
}

#[test]
fn drop_in_of_the_unit() {
    let tree = Tree::new();
    tree.write("usr/lib/u/a.service", SERVICE);
    drop_in(&tree, "usr/lib/u/a.service.d/20.conf", "second");
    drop_in(&tree, "etc/u/a.service.d/10.conf", "first");
    drop_in(&tree, "etc/u/a.service.d/30.txt", "other");
    assert_eq!(values(&tree, "a.service"), "first second");
}

#[test]
fn drop_in_of_the_type() {
    let tree = Tree::new();
    tree.write("usr/lib/u/a.service", SERVICE);
    drop_in(&tree, "etc/u/service.d/10.conf", "all");
    drop_in(&tree, "etc/u/service.d/20.conf", "weaker");
    drop_in(&tree, "usr/lib/u/a.service.d/20.conf", "own");
    assert_eq!(values(&tree, "a.service"), "all own");
}

#[test]
fn drop_in_of_a_dash_prefix() {
    let tree = Tree::new();
    tree.write("usr/lib/u/foo-bar-baz.service", SERVICE);
    drop_in(&tree, "usr/lib/u/foo-.service.d/10.conf", "foo");
    drop_in(&tree, "usr/lib/u/foo-bar-.service.d/10.conf", "bar");
    drop_in(&tree, "usr/lib/u/foo-.service.d/20.conf", "foo");
    drop_in(&tree, "usr/lib/u/baz-.service.d/20.conf", "no");
    assert_eq!(values(&tree, "foo-bar-baz.service"), "bar foo");
}

#[test]
fn drop_in_of_template_and_instance() {
    let tree = Tree::new();
    tree.write("usr/lib/u/t@.service", SERVICE);
    drop_in(&tree, "usr/lib/u/t@.service.d/10.conf", "template");
    drop_in(&tree, "usr/lib/u/t@.service.d/20.conf", "template");
    drop_in(&tree, "usr/lib/u/t@i.service.d/20.conf", "instance");
    assert_eq!(values(&tree, "t@i.service"), "template instance");
    assert_eq!(values(&tree, "t@j.service"), "template template");
}

#[test]
fn drop_in_of_every_alias() {
    let tree = Tree::new();
    tree.write("usr/lib/u/t@.service", SERVICE);
    tree.link("usr/lib/u/alias@.service", "t@.service");
    tree.link("etc/u/one@i.service", "/usr/lib/u/t@i.service");
    drop_in(&tree, "etc/u/alias@.service.d/10.conf", "template-alias");
    drop_in(&tree, "etc/u/one@i.service.d/20.conf", "instance-alias");
    assert_eq!(
        values(&tree, "t@i.service"),
        "template-alias instance-alias"
    );
    assert_eq!(
        values(&tree, "one@i.service"),
        "template-alias instance-alias"
    );
    assert_eq!(values(&tree, "alias@j.service"), "template-alias");
}

#[test]
fn drop_in_of_the_same_name_etc_before_run_before_usr() {
    let tree = Tree::new();
    tree.write("etc/u/a.service", SERVICE);
    for (dir, value) in [("usr/lib", "lib"), ("run", "run"), ("etc", "etc")] {
        drop_in(&tree, &format!("{dir}/u/a.service.d/10.conf"), value);
        assert_eq!(values(&tree, "a.service"), value);
    }
}

#[test]
fn drop_in_masked_by_dev_null() {
    let tree = Tree::new();
    tree.write("usr/lib/u/a.service", SERVICE);
    drop_in(&tree, "usr/lib/u/a.service.d/10.conf", "gone");
    drop_in(&tree, "usr/lib/u/service.d/20.conf", "gone");
    tree.link("etc/u/a.service.d/10.conf", "/dev/null");
    tree.link("run/u/a.service.d/20.conf", "/dev/null");
    assert_eq!(values(&tree, "a.service"), "");
}

#[test]
fn drop_in_for_a_unit_without_file_does_not_make_one() {
    let tree = Tree::new();
    drop_in(&tree, "etc/u/none.service.d/10.conf", "x");
    assert_eq!(tree.load("none.service").spec.load, LoadState::NotFound);
    tree.write("etc/u/a.slice.d/10.conf", "[Slice]\nCPUWeight=5\n");
    let slice = tree.load("a.slice");
    assert_eq!(entries(&slice), ["CPUWeight=5@0:2"]);
}

#[test]
fn wants_requires_and_upholds_directories() {
    let tree = Tree::new();
    tree.write("usr/lib/u/a.service", SERVICE);
    tree.link("usr/lib/u/alias.service", "a.service");
    tree.link("etc/u/a.service.wants/w.service", "/usr/lib/u/w.service");
    tree.link("run/u/a.service.requires/r.service", "../r.service");
    tree.link("usr/lib/u/alias.service.upholds/u.service", "../u.service");
    tree.link("usr/lib/u/a.service.wants/gone.service", "../gone.service");
    tree.link("etc/u/a.service.wants/gone.service", "/dev/null");
    let spec = tree.load("a.service").spec;
    assert_eq!(deps(&spec, DepKind::Wants), ["w.service"]);
    assert!(deps(&spec, DepKind::Requires).contains(&"r.service"));
    assert_eq!(deps(&spec, DepKind::Upholds), ["u.service"]);
}

#[test]
fn an_instance_links_into_a_template_of_another_name() {
    let tree = Tree::new();
    tree.write(
        "usr/lib/u/t@.service",
        "[Unit]\nDescription=%i\n[Service]\nA=1\n",
    );
    tree.link("etc/u/alias@one.service", "/usr/lib/u/t@one.service");
    assert_eq!(
        tree.load("alias@one.service").spec.id,
        name("t@one.service")
    );
    assert_eq!(
        tree.load("alias@two.service").spec.load,
        LoadState::NotFound
    );
}

#[test]
fn mask_at_run_time_and_by_an_empty_file() {
    let tree = Tree::new();
    for unit in ["a", "b"] {
        tree.write(&format!("usr/lib/u/{unit}.service"), SERVICE);
    }
    tree.link("run/u/a.service", "/dev/null");
    tree.write("run/u/b.service", "");
    for unit in ["a.service", "b.service"] {
        assert_eq!(tree.load(unit).spec.load, LoadState::Masked, "{unit}");
    }
    // What an administrator writes is stronger than a mask at run time.
    tree.write("etc/u/a.service", SERVICE);
    assert_eq!(tree.load("a.service").spec.load, LoadState::Loaded);
}

#[test]
fn a_linked_unit_may_have_any_name_outside_the_path() {
    let tree = Tree::new();
    tree.write("srv/no_unit_name", SERVICE);
    tree.link("etc/u/app.service", "../../srv/no_unit_name");
    let spec = tree.load("app.service").spec;
    assert_eq!(
        (spec.id, spec.load),
        (name("app.service"), LoadState::Loaded)
    );
}
