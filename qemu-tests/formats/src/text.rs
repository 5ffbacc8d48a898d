//! Unit files and the command lines in them.

use std::fmt::Write;
use units::file::{UnitFile, describe};
use units::name::UnitName;
use units::spec::{LoadState, UnitSpec};
use units::value::exec::{self, Command, Privilege};
use units::value::specifier::{SystemFacts, expand};
use units::value::words::Words;
use units::wire::helper::{Finding, HelperConfig, Severity, UnitSource};

/// A unit file: what was read, written and read again is the same, to the loader and to the type's helper;
/// whatever is said of it has a place in it, and it cannot be used exactly if an error was said.
pub fn unit_file(bytes: &[u8]) {
    let (file, findings, good) = read(bytes);
    let lines = 1 + bytes.iter().filter(|byte| b"\n\r".contains(byte)).count();
    places_are_in_the_file(&findings, lines);
    assert_eq!(
        good,
        !findings
            .iter()
            .any(|finding| finding.severity == Severity::Error)
    );
    for entry in file.entries() {
        assert!(
            !entry.key.is_empty() && !entry.section.is_empty() && !entry.section.starts_with("X-")
        );
        assert!(entry.line >= 1 && entry.line as usize <= lines, "{entry:?}");
        assert!(
            !entry.key.contains(['\n', '\r', '\0']) && !entry.value.contains(['\n', '\r', '\0'])
        );
        assert_eq!(entry.value.trim_matches([' ', '\t']), entry.value);
    }
    let (again, complaints, good) = read(printed(&file).as_bytes());
    assert!(
        good && complaints.is_empty(),
        "what we wrote ourselves: {complaints:?}"
    );
    let content = |file: &UnitFile| -> Vec<[String; 3]> {
        file.entries()
            .map(|e| [e.section.into(), e.key.into(), e.value.into()])
            .collect()
    };
    assert_eq!(content(&file), content(&again));
    assert_eq!(spec(&file, lines), spec(&again, usize::MAX));
    for kind in ["service", "socket", "mount"] {
        as_unit(kind, &file, lines);
    }
}

fn read(bytes: &[u8]) -> (UnitFile, Vec<Finding>, bool) {
    let mut file = UnitFile::new();
    let mut findings = Vec::new();
    let good = file.add(0, bytes, &mut findings);
    (file, findings, good)
}

/// An assignment a line, each under its section. The blank at the end keeps a backslash from continuing.
fn printed(file: &UnitFile) -> String {
    file.entries().fold(String::new(), |mut text, entry| {
        writeln!(text, "[{}]\n{}={} ", entry.section, entry.key, entry.value).unwrap();
        text
    })
}

fn places_are_in_the_file(findings: &[Finding], lines: usize) {
    let files = ["/etc/x.unit".to_owned()];
    for finding in findings {
        assert!(
            finding.file == 0 && finding.line as usize <= lines,
            "{finding:?}"
        );
        let text = describe(finding, &files);
        assert!(
            text.starts_with("/etc/x.unit:") && text.len() > 14,
            "{text}"
        );
        assert!(
            !text.contains(['\n', '\r', '\0', '\x1b']),
            "more than a line, or not for a terminal: {text:?}"
        );
    }
}

/// What the loader makes of `[Unit]`, without the lines.
fn spec(file: &UnitFile, lines: usize) -> (UnitSpec, bool) {
    let mut spec = UnitSpec::new(UnitName::new("fuzz@a-b.service").unwrap());
    spec.fragment = "/etc/x.unit".into();
    let mut findings = Vec::new();
    units::spec::read(&mut spec, file, &SystemFacts, &mut findings);
    places_are_in_the_file(&findings, lines);
    let bad = findings
        .iter()
        .any(|finding| finding.severity == Severity::Error);
    assert_eq!(spec.load.is_loaded(), !bad);
    if let LoadState::BadSetting { reason } = &spec.load {
        assert!(
            reason.starts_with("/etc/x.unit:"),
            "an error without a place: {reason}"
        );
    }
    assert!(spec.deps.is_sorted() && spec.deps.iter().all(|(_, other)| *other != spec.id));
    spec.load = LoadState::Loaded;
    spec.unsupported.clear();
    (spec, bad)
}

/// What the helper of a type makes of the other sections: the same each time, and every finding has its place.
fn as_unit(kind: &str, file: &UnitFile, lines: usize) {
    let own = |entry: &units::file::Entry<'_>| !matches!(entry.section, "Unit" | "Install");
    let source = UnitSource {
        unit: format!("fuzz@a-b.{kind}"),
        files: vec!["/etc/x.unit".into()],
        entries: file
            .entries()
            .filter(own)
            .map(|entry| entry.to_raw())
            .collect(),
        description: "fuzz".into(),
        cgroup: String::new(),
    };
    let findings = match kind {
        "service" => {
            let defaults = HelperConfig::default();
            let read = unit_service::config::read(&source, &defaults);
            assert_eq!(
                read.config,
                unit_service::config::read(&source, &defaults).config
            );
            read.findings
        }
        "socket" => unit_socket::config::read(&source, false).unwrap().findings,
        _ => unit_mount::config::read(&source, false).unwrap().findings,
    };
    places_are_in_the_file(&findings, lines);
}

/// A command line: words that were read, quoted and read again are the same words, commands the same commands;
/// variables that are not there leave nothing behind; specifiers that are escaped mean themselves.
pub fn command_line(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let unit = UnitName::new("fuzz@a-b.service").unwrap();
    let escaped = text.replace('%', "%%");
    assert_eq!(expand(&escaped, &unit, &SystemFacts).unwrap(), text);
    if let Ok(found) = expand(text, &unit, &SystemFacts) {
        assert!(text.contains('%') || found == text);
    }
    if let Ok(words) = Words::new(text).collect::<Result<Vec<_>, _>>() {
        let quoted: Vec<String> = words.iter().map(|word| quote(word)).collect();
        assert_eq!(
            Words::new(&quoted.join(" "))
                .collect::<Result<Vec<_>, _>>()
                .unwrap(),
            words
        );
        // A variable's value falls into words in the same way, whatever it holds.
        assert!(Words::relaxed(&quoted.join("\t")).all(|word| word.is_ok()));
    }
    assert!(Words::relaxed(text).all(|word| word.is_ok()));
    assert!(
        Words::plain(text).filter(Result::is_err).count() <= 1,
        "it stops at the first error"
    );
    match exec::commands(text, &unit, &SystemFacts) {
        Ok(commands) => run(&commands, &unit),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn run(commands: &[Command], unit: &UnitName) {
    let lines: Vec<String> = commands.iter().map(line).collect();
    let again = exec::commands(&lines.join(" ; "), unit, &SystemFacts);
    assert_eq!(again.as_deref(), Ok(commands), "{lines:?}");
    let environment = ["A=one two".to_owned(), "B=".into(), "C=$A ${A} 'x".into()];
    for command in commands {
        assert!(!command.argv.is_empty());
        assert!(command.path.starts_with('/') || !command.path.contains('/'));
        assert!(!command.path.split('/').any(|part| part == ".."));
        let arguments = exec::arguments(&command.argv, &environment);
        if !command.argv.iter().any(|argument| argument.contains('$')) {
            assert_eq!(arguments, command.argv);
        }
    }
}

fn quote(word: &str) -> String {
    format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A command as a line again.
fn line(command: &Command) -> String {
    let mut first = String::from(if command.ignore_failure { "-@" } else { "@" });
    if !command.expand_variables {
        first.push(':');
    }
    first.push_str(match command.privilege {
        Privilege::Unit => "",
        Privilege::Full => "+",
        Privilege::NoUser => "!",
        Privilege::NoUserWithoutAmbient => "!!",
    });
    first.push_str(&command.path.replace('%', "%%"));
    let words = std::iter::once(quote(&first));
    let arguments = command
        .argv
        .iter()
        .map(|argument| quote(&argument.replace('%', "%%")));
    words.chain(arguments).collect::<Vec<_>>().join(" ")
}
