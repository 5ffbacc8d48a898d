//! Every command and option is in the overview, the manual, the reference and all completions.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(missing_docs, dead_code, unreachable_pub)]

mod support;

use support::sctl_alone;

const DOCUMENTS: [(&str, &str); 5] = [
    (
        "ctl/completions/sctl.bash",
        include_str!("../completions/sctl.bash"),
    ),
    (
        "ctl/completions/_sctl",
        include_str!("../completions/_sctl"),
    ),
    (
        "ctl/completions/sctl.fish",
        include_str!("../completions/sctl.fish"),
    ),
    ("ctl/man/sctl.1", include_str!("../man/sctl.1")),
    (
        "docs/reference/sctl.md",
        include_str!("../../docs/reference/sctl.md"),
    ),
];

/// The words a text consists of, with their hyphens.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
}

/// Commands, and options without their dashes, of `sctl help`.
fn known() -> (Vec<String>, Vec<String>) {
    let help = sctl_alone(&["help"], None).out;
    let lines = help
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let first = lines.filter_map(|line| line.split_whitespace().next());
    let commands: Vec<String> = first
        .filter(|word| !word.starts_with('-'))
        .map(String::from)
        .collect();
    let options = words(&help).filter_map(|word| word.strip_prefix("--"));
    let mut options: Vec<String> = options
        .filter(|word| !word.is_empty())
        .map(String::from)
        .collect();
    options.sort();
    options.dedup();
    (commands, options)
}

#[test]
fn all_documents_know_all_commands_and_options() {
    let (commands, options) = known();
    assert!(
        commands.len() > 40 && options.len() > 20,
        "{commands:?} {options:?}"
    );
    let mut missing = Vec::new();
    for (path, text) in DOCUMENTS {
        let text = text.replace('\\', "");
        // fish names options without their dashes.
        let dashes = if path.ends_with(".fish") { "" } else { "--" };
        let has = |wanted: &str| words(&text).any(|word| word == wanted);
        for command in commands.iter().filter(|command| !has(command)) {
            missing.push(format!("{path}: {command}"));
        }
        for option in options
            .iter()
            .filter(|option| !has(&format!("{dashes}{option}")))
        {
            missing.push(format!("{path}: --{option}"));
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn what_the_completions_offer_is_understood() {
    let (_, bash) = DOCUMENTS[0];
    let offered = words(bash).filter(|word| word.starts_with("--") && word.len() > 4);
    for option in
        offered.filter(|word| !["--no-legend", "--plain", "--help", "--version"].contains(word))
    {
        let run = sctl_alone(&[option, "help"], None);
        assert!(
            !run.err.contains("there is no option"),
            "{option}: {}",
            run.err
        );
    }
}

/// What stands between two texts, word by word, sorted.
fn between<'a>(text: &'a str, begin: &str, end: &str) -> Vec<&'a str> {
    let (_, rest) = text.split_once(begin).unwrap();
    let (list, _) = rest.split_once(end).unwrap();
    let mut words: Vec<&str> = words(list).filter(|word| !word.is_empty()).collect();
    words.sort_unstable();
    words
}

#[test]
fn the_completions_offer_every_command_and_nothing_else() {
    let (mut commands, _) = known();
    commands.sort_unstable();
    let [(_, bash), (_, zsh), (_, fish), ..] = DOCUMENTS;
    assert_eq!(between(bash, "local commands='", "'"), commands);
    assert_eq!(between(zsh, "commands=(", ")"), commands);
    let mut offered = between(fish, "set -l about_units", "set -l");
    offered.extend(between(fish, "set -l about_files", "set -l"));
    offered.extend(between(fish, "set -l alone", "complete"));
    offered.sort_unstable();
    assert_eq!(offered, commands);
}

#[test]
fn every_command_has_a_help_of_its_own() {
    let (commands, _) = known();
    for command in &commands {
        let run = sctl_alone(&["help", command], None);
        let first = format!("sctl [OPTION…] {command}");
        assert!(run.code == 0 && run.out.starts_with(&first), "{}", run.out);
        assert_eq!(sctl_alone(&[command, "--help"], None).out, run.out);
    }
    let of = |command| sctl_alone(&["help", command], None).out;
    assert!(of("start").contains("--atomic") && !of("start").contains("--trial"));
    assert!(of("mask").contains("--now") && of("mask").contains("--runtime"));
    assert_eq!(of("condrestart"), of("try-restart"));
    let unknown = sctl_alone(&["help", "strat"], None);
    assert_eq!(unknown.code, 1);
    assert!(
        unknown.err.contains("did you mean start?"),
        "{}",
        unknown.err
    );
}
