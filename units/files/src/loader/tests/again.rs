//! What is read again by `daemon-reload`, and that nothing else is.

use super::*;

/// The units that a reload has changed, of these.
fn reload(loader: &mut Loader, units: &[&str]) -> Vec<String> {
    let units: Vec<UnitName> = units.iter().map(|unit| name(unit)).collect();
    let changed = loader.reload(&Tree::unit_path(), &units);
    for unit in &changed {
        loader.load(unit);
    }
    changed.into_iter().map(String::from).collect()
}

#[test]
fn changes_on_disk_are_noticed_and_only_they() {
    let tree = Tree::new();
    tree.write("usr/lib/u/a.service", SERVICE);
    tree.write("usr/lib/u/b.service", SERVICE);
    tree.write("etc/u/a.service.d/x.conf", "[Service]\nA=1\n");
    let mut loader = tree.loader();
    let (a, b) = (name("a.service"), name("b.service"));
    assert!(!loader.changed(&a));
    loader.load(&a);
    loader.load(&b);
    assert!(!loader.changed(&a) && !loader.changed(&b));
    tree.write("etc/u/a.service.d/y.conf", "[Service]\nA=2\n");
    assert!(loader.changed(&a) && !loader.changed(&b));
    assert_eq!(
        reload(&mut loader, &["a.service", "b.service"]),
        ["a.service"]
    );
    loader.load(&a);
    loader.load(&b);
    assert!(!loader.changed(&a));
    tree.write("etc/u/a.service.d/x.conf", "[Service]\nA=longer\n");
    assert!(loader.changed(&a));
    tree.write("etc/u/b.service", SERVICE);
    assert!(loader.changed(&b));
}

/// A machine with three services and the target that wants them, all loaded.
fn machine(tree: &Tree) -> (Loader, [&'static str; 4]) {
    let units = ["a.service", "b.service", "c.service", "t.target"];
    for unit in &units[..3] {
        tree.write(&format!("usr/lib/u/{unit}"), SERVICE);
        tree.link(
            &format!("etc/u/t.target.wants/{unit}"),
            &format!("/usr/lib/u/{unit}"),
        );
    }
    tree.write("usr/lib/u/t.target", "[Unit]\n");
    let mut loader = tree.loader();
    for unit in units {
        loader.load(&name(unit));
    }
    (loader, units)
}

#[test]
fn nothing_changed_is_nothing_read() {
    let tree = Tree::new();
    let (mut loader, units) = machine(&tree);
    assert!(reload(&mut loader, &units).is_empty());
}

#[test]
fn an_edited_file_is_read_and_no_other() {
    let tree = Tree::new();
    let (mut loader, units) = machine(&tree);
    tree.write("usr/lib/u/b.service", format!("{SERVICE}A=1\n"));
    assert_eq!(reload(&mut loader, &units), ["b.service"]);
    assert!(reload(&mut loader, &units).is_empty(), "once");
}

#[test]
fn a_file_of_the_same_size_and_time_in_place_of_another_is_read() {
    let tree = Tree::new();
    let (mut loader, units) = machine(&tree);
    let path = tree.path().join("usr/lib/u/a.service");
    let time = std::fs::metadata(&path).unwrap().modified().unwrap();
    let copy = tree.path().join("copy");
    std::fs::write(&copy, SERVICE).unwrap();
    std::fs::File::options()
        .write(true)
        .open(&copy)
        .unwrap()
        .set_modified(time)
        .unwrap();
    std::fs::rename(&copy, &path).unwrap();
    assert_eq!(reload(&mut loader, &units), ["a.service"]);
}

#[test]
fn what_the_directories_give_a_unit_counts_as_its_own() {
    let tree = Tree::new();
    let (mut loader, units) = machine(&tree);
    tree.write("etc/u/a.service.d/x.conf", "[Service]\nA=1\n");
    assert_eq!(reload(&mut loader, &units), ["a.service"]);
    tree.link("etc/u/alias.service", "/usr/lib/u/b.service");
    assert_eq!(reload(&mut loader, &units), ["b.service"]);
    tree.write("etc/u/c.service", SERVICE);
    assert_eq!(reload(&mut loader, &units), ["c.service"]);
    tree.write("usr/lib/u/d.service", SERVICE);
    tree.link("etc/u/t.target.wants/d.service", "/usr/lib/u/d.service");
    assert_eq!(reload(&mut loader, &units), ["t.target"]);
    tree.write("run/u/service.d/all.conf", "[Service]\nA=2\n");
    assert_eq!(
        reload(&mut loader, &units),
        ["a.service", "b.service", "c.service"]
    );
}

#[test]
fn a_file_that_comes_or_goes_is_read() {
    let tree = Tree::new();
    let (mut loader, _) = machine(&tree);
    loader.load(&name("new.service"));
    let units = ["a.service", "b.service", "new.service"];
    tree.write("etc/u/new.service", SERVICE);
    std::fs::remove_file(tree.path().join("usr/lib/u/b.service")).unwrap();
    assert_eq!(reload(&mut loader, &units), ["b.service", "new.service"]);
    assert_eq!(
        loader.load(&name("b.service")).spec.load,
        LoadState::NotFound
    );
}

/// A target comes after what it pulls in, unless that comes after the target.
#[test]
fn a_target_follows_the_order_of_what_it_pulls_in() {
    let tree = Tree::new();
    let (mut loader, units) = machine(&tree);
    let after =
        |loader: &mut Loader| deps(&loader.load(&name("t.target")).spec, DepKind::After).len();
    assert_eq!(after(&mut loader), 3);
    tree.write(
        "usr/lib/u/a.service",
        "[Unit]\nAfter=t.target\n[Service]\nExecStart=/bin/x\n",
    );
    assert_eq!(reload(&mut loader, &units), ["a.service", "t.target"]);
    assert_eq!(after(&mut loader), 2);
}

#[test]
fn a_directory_of_the_path_that_comes_later_counts() {
    let tree = Tree::new();
    tree.write("usr/lib/u/a.service", SERVICE);
    let mut loader = tree.loader();
    let (a, b) = (name("a.service"), name("b.service"));
    loader.load(&a);
    assert_eq!(loader.load(&b).spec.load, LoadState::NotFound);
    assert!(!tree.0.join("run/u").exists());
    tree.write("run/u/b.service", SERVICE);
    assert!(loader.changed(&b));
    let units = ["a.service", "b.service"];
    assert_eq!(reload(&mut loader, &units), ["b.service"]);
    assert!(loader.load(&b).spec.load.is_loaded());
}

#[test]
fn a_unit_whose_file_comes_later_is_found_and_everything_else_waits_for_the_reload() {
    let tree = Tree::new();
    let (mut loader, mut units) = machine(&tree);
    let b = name("b.service");
    tree.write("etc/u/a.service.d/x.conf", "[Service]\nA=1\n");
    assert!(!loader.appeared(&b), "it always was there");
    let new = name("new.service");
    assert!(!loader.appeared(&new), "still none");
    assert_eq!(loader.load(&new).spec.load, LoadState::NotFound);
    tree.write("run/u/new.service", SERVICE);
    assert!(loader.appeared(&new) && !loader.appeared(&new));
    assert!(loader.load(&new).spec.load.is_loaded());
    assert!(loader.changed(&name("a.service")) && !loader.changed(&b));
    units[1] = "new.service";
    // (What came in between is read once more: at the last reload it was not there.)
    assert_eq!(reload(&mut loader, &units), ["a.service", "new.service"]);
    assert!(!loader.changed(&name("a.service")));
}
