//! The helper and control channels: frames keep their bytes, and no bytes hurt a reader.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::fmt::Write;
use units::state::{
    ActiveState, Exit, Invocation, JobMode, JobResult, JobVerb, Outcome, ProcId, Report,
};
use units::wire::control::{Reply, Request};
use units::wire::helper::{Command, FromHelper, LOAD, ToHelper, UnitSource, Verb};
use units::wire::{MAX_FRAME, WireError, decode, encode};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// By its first byte a helper tells a unit from what cannot wait for its journal.
#[test]
fn a_load_begins_with_its_byte() {
    let load = ToHelper::Load(UnitSource {
        unit: "a.service".into(),
        files: Vec::new(),
        entries: Vec::new(),
        description: "A".into(),
        cgroup: String::new(),
    });
    assert_eq!(encode(&load).unwrap()[0], LOAD);
}

/// A helper of the previous version must understand these for ever.
#[test]
fn frames_keep_their_bytes() {
    let start = ToHelper::Command(Command {
        unit: "a.service".into(),
        invocation: Invocation(0x0102),
        seq: 1 << 32 | 7,
        verb: Verb::Start,
    });
    assert_eq!(
        hex(&encode(&start).unwrap()),
        "0409612e736572766963658202878080801000"
    );
    let exited = ToHelper::Exited {
        proc: ProcId { pid: 300, start: 5 },
        status: 9,
    };
    assert_eq!(hex(&encode(&exited).unwrap()), "05ac020512");
    assert_eq!(hex(&encode(&ToHelper::Quit).unwrap()), "0b");
    let pong = FromHelper::Pong { nonce: 1 };
    assert_eq!(hex(&encode(&pong).unwrap()), "0b01");
    let jobs = Request::Jobs {
        verb: JobVerb::Restart,
        units: vec!["a".into()],
        mode: JobMode::Replace,
        wait: true,
    };
    assert_eq!(hex(&encode(&jobs).unwrap()), "06030101610101");
    assert_eq!(hex(&encode(&Request::Reexec).unwrap()), "0b");
    assert_eq!(hex(&encode(&Reply::End).unwrap()), "0b");
    let atomic = Request::Atomic {
        units: vec!["a".into()],
        mode: JobMode::Replace,
        wait: true,
    };
    assert_eq!(hex(&encode(&atomic).unwrap()), "0d0101610101");
    let undone = Reply::Undone {
        unit: "a".into(),
        result: JobResult::Failed,
        detail: "b".into(),
        stopped: vec!["c".into()],
    };
    assert_eq!(hex(&encode(&undone).unwrap()), "0c0161030162010163");
}

#[test]
fn a_report_survives_the_way() {
    let report = Report {
        unit: "nginx.service".into(),
        outcome: Outcome::Interrupted,
        active: ActiveState::Reloading,
        exit: Some(Exit::Core(11)),
        deadline: Some(u64::MAX),
        ..Report::default()
    };
    let bytes = encode(&FromHelper::Report(report.clone())).unwrap();
    assert_eq!(
        decode::<FromHelper>(&bytes).unwrap(),
        FromHelper::Report(report)
    );
}

#[test]
fn a_later_version_may_append() {
    let mut bytes = encode(&ToHelper::Ping { nonce: 9 }).unwrap();
    bytes.extend_from_slice(b"more");
    assert_eq!(
        decode::<ToHelper>(&bytes).unwrap(),
        ToHelper::Ping { nonce: 9 }
    );
}

#[test]
fn a_gigabyte_that_is_not_there_is_malformed() {
    // `ListUnits` whose list claims 2^30 entries.
    let bytes = [2, 0x80, 0x80, 0x80, 0x80, 0x04];
    assert_eq!(decode::<Request>(&bytes), Err(WireError::Malformed));
    assert_eq!(
        decode::<Request>(&vec![0; MAX_FRAME + 1]),
        Err(WireError::TooLong)
    );
    assert_eq!(decode::<Request>(&[]), Err(WireError::Malformed));
    assert_eq!(
        decode::<Request>(&[0xff, 0xff, 0x03]),
        Err(WireError::Malformed)
    );
}

/// Every prefix and every damaged byte of a frame decodes or is refused; nothing else happens.
#[test]
fn damaged_frames_are_refused_or_harmless() {
    let unit = "x".repeat(200);
    let frame = FromHelper::Report(Report {
        unit,
        status: "ok".into(),
        ..Report::default()
    });
    let bytes = encode(&frame).unwrap();
    for cut in 0..bytes.len() {
        let _ = decode::<FromHelper>(&bytes[..cut]);
    }
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            let _ = decode::<FromHelper>(&damaged);
            let _ = decode::<Request>(&damaged);
            let _ = decode::<ToHelper>(&damaged);
        }
    }
}

#[test]
fn random_bytes_are_refused_or_harmless() {
    let mut state: u64 = 0x5eed;
    println!("seed {state:#x}");
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..20_000 {
        let bytes: Vec<u8> = (0..next() % 64).map(|_| next() as u8).collect();
        let _ = decode::<Request>(&bytes);
        let _ = decode::<Reply>(&bytes);
        let _ = decode::<ToHelper>(&bytes);
        let _ = decode::<FromHelper>(&bytes);
    }
}
