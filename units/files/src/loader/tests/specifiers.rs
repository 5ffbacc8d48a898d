//! Every specifier of systemd.unit(5).

use super::*;

/// Letter, and what it stands for in the unit below; `None`: the machine's, only asked for.
const SPECIFIERS: [(char, Option<&str>); 40] = [
    ('a', None),
    ('A', Some("7.1")),
    ('b', None),
    ('B', Some("b42")),
    ('C', Some("/var/cache")),
    ('d', Some("/run/credentials/my-app@dev-x\\x2dy.service")),
    ('D', Some("/usr/share")),
    ('E', Some("/etc")),
    ('f', Some("/dev/x-y")),
    ('g', Some("root")),
    ('G', Some("0")),
    ('h', Some("/root")),
    ('H', None),
    ('i', Some("dev-x\\x2dy")),
    ('I', Some("dev/x-y")),
    ('j', Some("app")),
    ('J', Some("app")),
    ('l', None),
    ('L', Some("/var/log")),
    ('m', Some("0123456789abcdef0123456789abcdef")),
    ('M', Some("tiny-image")),
    ('n', Some("my-app@dev-x\\x2dy.service")),
    ('N', Some("my-app@dev-x\\x2dy")),
    ('o', Some("tiny")),
    ('p', Some("my-app")),
    ('P', Some("my/app")),
    ('q', Some("My board")),
    ('s', Some("/bin/sh")),
    ('S', Some("/var/lib")),
    ('t', Some("/run")),
    ('T', Some("/tmp")),
    ('u', Some("root")),
    ('U', Some("0")),
    ('v', None),
    ('V', Some("/var/tmp")),
    ('w', Some("13")),
    ('W', Some("edge")),
    ('y', Some("/usr/lib/u/my-app@.service")),
    ('Y', Some("/usr/lib/u")),
    ('%', Some("%")),
];

#[test]
fn every_specifier() {
    let tree = Tree::new();
    tree.write(
        "usr/lib/os-release",
        "ID=tiny\nVERSION_ID=13\nBUILD_ID=b42\nVARIANT_ID=edge\nIMAGE_ID=tiny-image\n\
         IMAGE_VERSION=7.1\n",
    );
    tree.write("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    tree.write("etc/machine-info", "PRETTY_HOSTNAME=\"My board\"\n");
    for (letter, want) in SPECIFIERS {
        let text = format!("[Unit]\nDescription=%{letter}\n[Service]\nX=1\n");
        tree.write("usr/lib/u/my-app@.service", text);
        let loaded = tree.load("my-app@dev-x\\x2dy.service");
        assert!(
            loaded.findings.is_empty(),
            "%{letter}: {:?}",
            loaded.findings
        );
        let found = loaded.spec.description;
        match want {
            Some(want) => assert_eq!(found, want, "%{letter}"),
            None => assert!(
                !found.is_empty() && !found.contains('%'),
                "%{letter}: {found}"
            ),
        }
    }
}

#[test]
fn a_host_without_a_pretty_name_has_its_short_one() {
    let tree = Tree::new();
    tree.write(
        "usr/lib/u/a.service",
        "[Unit]\nDescription=%q|%l\n[Service]\nX=1\n",
    );
    let text = tree.load("a.service").spec.description;
    let (pretty, short) = text.split_once('|').unwrap();
    assert_eq!(pretty, short);
}

#[test]
fn an_unknown_specifier_is_an_error_and_no_machine_id_too() {
    let tree = Tree::new();
    for bad in ["%F", "%m"] {
        tree.write(
            "usr/lib/u/a.service",
            format!("[Unit]\nWants=x{bad}.service\n"),
        );
        let LoadState::BadSetting { reason } = tree.load("a.service").spec.load else {
            panic!("{bad}")
        };
        assert!(reason.contains("a.service:2: Wants=: "), "{reason}");
    }
}
