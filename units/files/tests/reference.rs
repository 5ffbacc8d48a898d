//! The reference keeps up with the code: every directive is in it, and every test it names exists.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use units::spec::ConditionKind;

/// Older spellings, which systemd no longer documents.
const OLD: [&str; 7] = [
    "BindTo",
    "OnFailureIsolate",
    "PropagateReloadFrom",
    "PropagateReloadTo",
    "RequiresOverridable",
    "RequisiteOverridable",
    "StartLimitInterval",
];

fn reference() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference")
}

fn pages() -> Vec<(PathBuf, String)> {
    let files = fs::read_dir(reference())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let pages = files.filter(|path| path.extension().is_some_and(|e| e == "md"));
    pages
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect()
}

#[test]
fn every_directive_of_unit_and_install_is_in_the_reference() {
    let text: String = pages().into_iter().map(|(_, text)| text).collect();
    let words: BTreeSet<&str> = text.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let conditions = ConditionKind::names().map(|name| format!("Condition{name}"));
    let names = ["Unit", "Install"]
        .into_iter()
        .flat_map(units::directives::names);
    let missing: Vec<String> = names
        .filter(|name| !OLD.contains(name))
        .map(str::to_owned)
        .chain(conditions)
        .filter(|name| !words.contains(name.as_str()))
        .collect();
    assert!(missing.is_empty(), "not in docs/reference: {missing:?}");
}

#[test]
fn every_test_the_reference_names_exists() {
    let mut count = 0;
    for (page, text) in pages() {
        // `[name](path.rs)`
        for (before, after) in text.match_indices("](").map(|(at, _)| text.split_at(at)) {
            let name = before.rsplit('[').next().unwrap();
            let target = after[2..].split(')').next().unwrap();
            if !target.ends_with(".rs") {
                continue;
            }
            let file = page.parent().unwrap().join(target);
            let source = fs::read_to_string(&file)
                .unwrap_or_else(|error| panic!("{}: {target}: {error}", page.display()));
            // By hand, or by a table of tests.
            let by_hand = source.contains(&format!("fn {name}("));
            let by_table = source.contains(&format!("    {name} \""));
            assert!(
                by_hand || by_table,
                "{}: no test {name} in {target}",
                page.display()
            );
            count += 1;
        }
    }
    assert!(count > 50, "{count}");
}

#[test]
fn every_kind_of_condition_has_a_test_of_its_own() {
    let page = fs::read_to_string(reference().join("unit-files.md")).unwrap();
    for name in ConditionKind::names() {
        let row = page
            .lines()
            .find(|line| line.starts_with(&format!("| `Condition{name}` ")));
        let row = row.unwrap_or_else(|| panic!("Condition{name} has no row"));
        assert!(row.contains(".rs)"), "{row}");
    }
}
