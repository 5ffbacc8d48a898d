//! Every setting of the manager is in its manual.
#![allow(missing_docs, clippy::unwrap_used)]

const MANUAL: &str = include_str!("../../../docs/man/sysmaster.8");

/// The names in the arms of a `match` over settings.
fn settings(source: &str) -> Vec<&str> {
    let arms = source
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with('"'));
    let arms = arms.filter_map(|line| line.split_once("=>").map(|(names, _)| names));
    let names = arms.flat_map(|names| names.split('"'));
    names
        .filter(|name| name.len() > 1 && name.starts_with(|c: char| c.is_ascii_uppercase()))
        .collect()
}

#[test]
fn every_setting_is_explained() {
    let config = settings(include_str!("../src/config.rs"));
    let watchdog = settings(include_str!("../src/watchdog.rs"));
    assert!(
        config.len() > 10 && watchdog.len() >= 5,
        "{config:?} {watchdog:?}"
    );
    for name in config.iter().chain(&watchdog) {
        assert!(MANUAL.contains(&format!("{name}=")), "{name}");
    }
}

#[test]
fn every_generator_that_is_built_in_is_named() {
    let (_, after) = MANUAL.split_once("BuiltinGenerators=").unwrap();
    let (of_it, _) = after.split_once("run;").unwrap();
    for name in unit_files::config::BUILTIN_GENERATORS {
        assert!(of_it.split_whitespace().any(|word| word == name), "{name}");
    }
}
