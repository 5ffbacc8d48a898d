use super::*;
use alloc::vec;

fn read(bytes: &[u8]) -> (UnitFile, Vec<Finding>, bool) {
    let mut unit = UnitFile::new();
    let mut findings = Vec::new();
    let ok = unit.add(0, bytes, &mut findings);
    (unit, findings, ok)
}

/// Entries as `section.key=value@line`.
fn lines(unit: &UnitFile) -> Vec<String> {
    unit.entries()
        .map(|e| format!("{}.{}={}@{}", e.section, e.key, e.value, e.line))
        .collect()
}

fn clean(text: &str) -> Vec<String> {
    let (unit, findings, ok) = read(text.as_bytes());
    assert!(ok && findings.is_empty(), "{findings:?}");
    lines(&unit)
}

#[test]
fn sections_comments_and_white_space() {
    let text =
        "# c\n; c\n[Unit]\n\n  Description =  a b # not a comment  \n\t;c\nA==b\n[Service]\nX=";
    assert_eq!(
        clean(text),
        [
            "Unit.Description=a b # not a comment@5",
            "Unit.A==b@7",
            "Service.X=@9"
        ]
    );
}

#[test]
fn continuation_lines_join_with_a_space_and_skip_comments() {
    let text =
        "[S]\nA=one \\\n  two\\\n# no \\\n; no\n\tthree\nB=x\\\\\nC=y\\\\\\\nz\nD=\\\n\nE=end\\";
    assert_eq!(
        clean(text),
        [
            "S.A=one  two three@2",
            "S.B=x\\\\@7",
            "S.C=y\\\\ z@8",
            "S.D=@10",
            "S.E=end@12"
        ]
    );
}

#[test]
fn a_header_may_be_continued_and_a_backslash_before_a_blank_is_not_one() {
    assert_eq!(clean("[S]\nA=a\\ \nB=b\n"), ["S.A=a\\@2", "S.B=b@3"]);
}

#[test]
fn line_ends_and_byte_order_mark() {
    let want = ["U.A=1 2@2", "U.B=3@4"];
    assert_eq!(clean("\u{feff}[U]\nA=1\\\n2\nB=3\n"), want);
    assert_eq!(clean("[U]\r\nA=1\\\r\n2\r\nB=3\r\n"), want);
    assert_eq!(clean("[U]\rA=1\\\r2\rB=3"), want);
}

#[test]
fn what_is_ignored_is_said() {
    let (unit, mut findings, ok) = read(b"A=1\n[U]\nnonsense\n=x\nB=\xff\n# \xff\nC=ok\n");
    assert!(ok);
    assert_eq!(lines(&unit), ["U.C=ok@7"]);
    let at: Vec<u32> = findings.iter().map(|f| f.line).collect();
    assert_eq!(at, [1, 3, 4, 5]);
    assert!(findings.iter().all(|f| f.severity == Severity::Warning));
    assert!(findings[1].text.contains("“nonsense”") && findings[1].text.contains("Key=value"));
    let files = vec!["/etc/x.service".into()];
    assert!(describe(&findings[3], &files).starts_with("/etc/x.service:5: found “B="));
    // Of these none is an error; what is of no line has no number.
    assert_eq!(first_error(&findings, &files), None);
    findings.push(Finding::of_unit("it listens on nothing"));
    let error = first_error(&findings, &files);
    assert_eq!(error.unwrap(), "/etc/x.service: it listens on nothing");
}

#[test]
fn names_with_control_characters_are_none_and_not_repeated_as_they_are() {
    let (unit, findings, ok) = read(b"[U\x1b]\nA=1\n[U]\nB\x07=2\nC=\x1bok\n");
    assert!(ok);
    assert_eq!(lines(&unit), ["U.C=\u{1b}ok@5"]);
    let at: Vec<u32> = findings.iter().map(|f| f.line).collect();
    assert_eq!(at, [1, 4]);
    assert!(findings.iter().all(|f| !f.text.contains(char::is_control)));
}

#[test]
fn foreign_sections_are_dropped() {
    assert_eq!(clean("[X-Mine]\nrubbish\nA=1\n[U]\nB=2\n"), ["U.B=2@5"]);
}

#[test]
fn drop_ins_add_up_and_an_empty_value_begins_anew() {
    let mut unit = UnitFile::new();
    let mut findings = Vec::new();
    assert!(unit.add(0, b"[S]\nE=1\nE=2\nT=a\n", &mut findings));
    assert!(unit.add(1, b"[S]\nE=\nE=3\n[T]\nE=no\n", &mut findings));
    assert!(unit.add(2, b"[S]\nE=4\nT=b\n", &mut findings));
    let got: Vec<_> = unit
        .list("S", "E")
        .iter()
        .map(|e| (e.value, e.file, e.line))
        .collect();
    assert_eq!(got, [("3", 1, 3), ("4", 2, 2)]);
    assert_eq!(unit.last("S", "T").map(|e| e.value), Some("b"));
    assert_eq!(unit.last("S", "U"), None);
    assert_eq!(unit.section("T").count(), 1);
}

fn fails(bytes: &[u8], line: u32, text: &str) {
    let (_, findings, ok) = read(bytes);
    assert!(!ok);
    let error = findings
        .iter()
        .find(|f| f.severity == Severity::Error)
        .unwrap();
    assert_eq!(error.line, line);
    assert!(error.text.contains(text), "{}", error.text);
}

#[test]
fn errors_name_their_line() {
    fails(b"[U]\nA=1\n[U\n", 3, "section header");
    fails(b"[]\n", 1, "section header");
    fails(b"[U]\nA=\0\n", 2, "NUL");
}

#[test]
fn limits_hold() {
    fails(&vec![b'a'; 10 * 1024 * 1024], 0, "4 MiB");
    let mut long = b"[U]\nA=".to_vec();
    long.resize(4 + MAX_LINE, b'x');
    assert!(read(&long).2);
    long.push(b'x');
    fails(&long, 2, "1 MiB");
    let joined = [
        b"[U]\nA=".to_vec(),
        b"xxxxxxxxx\\\n".repeat(MAX_LINE / 10 + 1),
    ]
    .concat();
    fails(&joined, 2, "1 MiB");
    fails(
        &[b"[U]\n".to_vec(), b"A=\n".repeat(MAX_ENTRIES + 1)].concat(),
        65_538,
        "65536",
    );
    let sections: String = (0..300).map(|i| format!("[S{i}]\n")).collect();
    fails(sections.as_bytes(), 257, "256");
}

#[test]
fn binary_garbage_is_answered_in_a_few_lines() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let seed = state;
    for round in 0..200 {
        let garbage: Vec<u8> = (0..4096)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                // Every second round without NUL, so that all of it is looked at.
                (state as u8).max(round % 2)
            })
            .collect();
        let (unit, findings, _) = read(&garbage);
        assert!(findings.len() <= MAX_FINDINGS + 2, "seed {seed:#x}");
        assert!(!findings.is_empty(), "seed {seed:#x} round {round}");
        let _ = lines(&unit);
    }
}

#[test]
fn every_prefix_of_a_file_is_read_without_harm() {
    let text =
        "\u{feff}[Unit]\r\nDescription=ä \\\r\n# c\r\n b\n[Service]\nExecStart=/x \\\\\\\n y\n";
    for end in 0..=text.len() {
        let (unit, _, _) = read(&text.as_bytes()[..end]);
        let _ = lines(&unit);
    }
}
