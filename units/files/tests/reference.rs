//! The reference keeps up with the code: every directive has a row with its test, and every test it names exists.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

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

/// What a text of the reference links to: `[name](file.rs)`.
fn links(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let all = text.match_indices("](").map(|(at, _)| {
        let (before, after) = text.split_at(at);
        let name = before.rsplit('[').next().unwrap();
        (name, after[2..].split(')').next().unwrap())
    });
    all.filter(|(_, target)| target.ends_with(".rs"))
}

/// The source of a test, written by hand or in a table of tests; `None` if there is none of this name.
fn source_of(name: &str, target: &str) -> Option<String> {
    let file = reference().join(target);
    let source = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{target}: {error}"));
    let by_hand = format!("fn {name}(");
    let begin = source.find(&by_hand);
    let begin = begin.or_else(|| source.find(&format!("    {name} \"")))?;
    let text = &source[begin..];
    Some(text[..text.find("\n}\n").unwrap_or(text.len())].to_owned())
}

#[test]
fn every_test_the_reference_names_exists() {
    let mut count = 0;
    for (page, text) in pages() {
        for (name, target) in links(&text) {
            let page = page.display();
            let there = source_of(name, target).is_some();
            assert!(there, "{page}: no test {name} in {target}");
            count += 1;
        }
    }
    assert!(count > 100, "{count}");
}

/// `OnFailure` as tests are called: `on_failure`.
fn snake(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

#[test]
fn every_directive_of_unit_and_install_has_a_row_with_a_test_of_its_own() {
    let page = fs::read_to_string(reference().join("unit.md")).unwrap();
    let names = ["Unit", "Install"]
        .into_iter()
        .flat_map(units::directives::names);
    for name in names.filter(|name| !OLD.contains(name)) {
        let quoted = format!("`{name}`");
        let mut rows = page.lines().filter(|line| line.starts_with("| `"));
        let row = rows.find(|line| line.split('|').nth(1).unwrap().contains(&quoted));
        let row = row.unwrap_or_else(|| panic!("unit.md has no row for {name}"));
        // Called after it, or with a unit that says it.
        let of_it = |(test, target): (&str, &str)| {
            test.contains(&snake(name))
                || source_of(test, target).is_some_and(|text| text.contains(&format!("{name}=")))
        };
        assert!(
            links(row).any(of_it),
            "{name} has no test of its own: {row}"
        );
    }
}

/// Every source of the repository, one after the other.
fn sources(directory: &Path, all: &mut String) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() && name != "target" && name != "dist" && name != ".git" {
            sources(&path, all);
        } else if path.extension().is_some_and(|e| e == "rs") {
            all.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_test_reliability_names_exists() {
    let root = reference().join("../..");
    let mut all = String::new();
    sources(&root, &mut all);
    let page = fs::read_to_string(root.join("docs/reliability.md")).unwrap();
    // Names of tests are the words with two underscores and more; an ellipsis stands for the rest of one.
    let words = page.split('`').skip(1).step_by(2);
    let named = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_…".contains(c);
    let names: Vec<&str> = words
        .filter(|word| word.matches('_').count() > 1 && word.chars().all(named))
        .collect();
    assert!(names.len() > 30, "{names:?}");
    let functions = all
        .split("fn ")
        .skip(1)
        .filter_map(|rest| rest.split('(').next());
    let functions: Vec<&str> = functions.collect();
    for name in names {
        let (begin, end) = name.split_once('…').unwrap_or((name, name));
        let mut like = functions
            .iter()
            .filter(|f| f.starts_with(begin) && f.ends_with(end));
        assert!(like.next().is_some(), "reliability.md: no test {name}");
    }
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
