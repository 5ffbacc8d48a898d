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
