//! Configuration and commands; what the helper does is tested with real mounts (`qemu-tests/tests/mounts.rs`).

use crate::command::{Action, arguments};
use crate::config::{self, Config};
use units::wire::helper::{RawEntry, Severity, UnitSource};

fn source(unit: &str, text: &str) -> UnitSource {
    let entries = text.lines().zip(1..).filter_map(|(line, number)| {
        let (key, value) = line.split_once('=')?;
        Some(RawEntry {
            section: "Mount".into(),
            key: key.into(),
            value: value.into(),
            file: 0,
            line: number,
        })
    });
    UnitSource {
        unit: unit.into(),
        files: vec!["/test".into()],
        entries: entries.collect(),
        ..UnitSource::default()
    }
}

fn worst(unit: &str, text: &str) -> Option<Severity> {
    let reading = config::read(&source(unit, text), false).unwrap();
    let worst = reading.findings.iter().map(|found| found.severity);
    worst.min_by_key(|severity| *severity as u8)
}

fn config(text: &str) -> Config {
    config::read(&source("a-b.mount", text), false)
        .unwrap()
        .config
}

#[test]
fn what_can_be_mounted() {
    for text in [
        "What=/dev/sda1\nWhere=/a/b",
        "What=tmpfs\nWhere=/a//b/\nType=tmpfs\nOptions=size=1m",
        "What=LABEL=x y\nTimeoutSec=0\nDirectoryMode=0700",
        "What=//server/share\nSloppyOptions=yes\nLazyUnmount=yes\nForceUnmount=yes\nReadWriteOnly=yes",
    ] {
        assert_eq!(worst("a-b.mount", text), None, "{text}");
    }
    for text in [
        "",
        "Where=/a/b",
        "What=x\nWhere=/a/c",
        "What=x\nWhere=a/b",
        "What=x\nWhere=/a/../b",
        "What=-x",
        "What=x\nType=-o",
        "What=x\nOptions=-o",
        "What=x\nLazyUnmount=perhaps",
        "What=x\nDirectoryMode=9",
        "What=x\nTimeoutSec=soon",
    ] {
        assert_eq!(worst("a-b.mount", text), Some(Severity::Error), "{text}");
    }
    assert_eq!(
        worst("a-b.mount", "What=x\nKillMode=none"),
        Some(Severity::Unsupported)
    );
    assert_eq!(worst("-.mount", "What=x\nWhere=/"), None);
}

#[test]
fn the_name_is_the_place() {
    assert_eq!(config("What=x").point, "/a/b");
    let reading = config::read(
        &source("srv-x\\x20y.mount", "What=x\nWhere=/srv/x y"),
        false,
    )
    .unwrap();
    assert_eq!(
        (reading.config.point.as_str(), reading.findings.len()),
        ("/srv/x y", 0)
    );
}

#[test]
fn commands_as_mount_and_umount_want_them() {
    let of = |text: &str, action| arguments(&config(text), action).join(" ");
    assert_eq!(
        of("What=/dev/x\nType=ext4", Action::Mount),
        "mount /dev/x /a/b -t ext4"
    );
    assert_eq!(
        of(
            "What=x\nOptions=ro,x-systemd.after=y,nofail,_netdev,sync",
            Action::Mount
        ),
        "mount x /a/b -o ro,sync"
    );
    assert_eq!(
        of("What=x\nOptions=ro", Action::Remount),
        "mount x /a/b -o remount,ro"
    );
    assert_eq!(of("What=x", Action::Remount), "mount x /a/b -o remount");
    assert_eq!(
        of("What=x\nSloppyOptions=1\nReadWriteOnly=1", Action::Mount),
        "mount x /a/b -s -w"
    );
    assert_eq!(of("What=x", Action::Unmount), "umount /a/b");
    assert_eq!(
        of("What=x\nLazyUnmount=1\nForceUnmount=1", Action::Unmount),
        "umount /a/b -l -f"
    );
}
