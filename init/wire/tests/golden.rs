//! Golden vectors: the bytes of every frame, as first released. A failing line means that an
//! init and a manager of different builds no longer understand each other: add a variant instead.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use init_wire::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn to(frame: ToManager, golden: &str) {
    let mut buf = [0; FRAME_MAX];
    let bytes = frame.encode(&mut buf).unwrap();
    let mut postcard = [0; FRAME_MAX];
    assert_eq!(
        bytes,
        &*postcard::to_slice(&frame, &mut postcard).unwrap(),
        "{frame:?}"
    );
    assert_eq!(hex(bytes), golden, "{frame:?}");
    assert_eq!(ToManager::decode(bytes), Some(frame));
    let mut longer = bytes.to_vec();
    longer.extend_from_slice(b"later");
    assert_eq!(
        ToManager::decode(&longer),
        Some(frame),
        "additions at the end are ignored"
    );
    for cut in 0..bytes.len() {
        assert_eq!(
            ToManager::decode(&bytes[..cut]),
            None,
            "{frame:?} cut to {cut}"
        );
    }
}

fn from(frame: FromManager<'_>, golden: &str) {
    let mut buf = [0; FRAME_MAX];
    let bytes = frame.encode(&mut buf).unwrap();
    let mut postcard = [0; FRAME_MAX];
    assert_eq!(
        bytes,
        &*postcard::to_slice(&frame, &mut postcard).unwrap(),
        "{frame:?}"
    );
    assert_eq!(hex(bytes), golden, "{frame:?}");
    assert_eq!(FromManager::decode(bytes), Some(frame));
    let mut longer = bytes.to_vec();
    longer.extend_from_slice(b"later");
    assert_eq!(
        FromManager::decode(&longer),
        Some(frame),
        "additions at the end are ignored"
    );
    for cut in 0..bytes.len() {
        assert_eq!(
            FromManager::decode(&bytes[..cut]),
            None,
            "{frame:?} cut to {cut}"
        );
    }
}

const HASH: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
const LABEL: Label = Label {
    kind: Kind::NOTIFY,
    hash: HASH,
    index: 300,
};

fn hello(before: Before, shutdown: Option<Shutdown>) -> ToManager {
    ToManager::Hello(Hello {
        version: 1,
        build: *b"0123abcd",
        epoch: 200,
        flags: flags::SAFE_MODE | flags::CONTAINER,
        before,
        shutdown,
        capacity: 8192,
        kept: 7,
        discarded: 0,
        waiting: 2,
    })
}

#[test]
fn to_manager() {
    to(
        hello(Before::Nobody, None),
        "00013031323361626364c8010c00008040070002",
    );
    let shutdown = Some(Shutdown {
        ending: Ending::Kexec,
        left_ms: 90_000,
    });
    to(
        hello(Before::Asked, shutdown),
        "00013031323361626364c8010c01010390bf058040070002",
    );
    to(
        hello(Before::Outsider { status: 9 }, None),
        "00013031323361626364c8010c0212008040070002",
    );
    to(
        hello(Before::Fault { status: 11 }, None),
        "00013031323361626364c8010c0316008040070002",
    );
    to(
        hello(Before::Hung, None),
        "00013031323361626364c8010c04008040070002",
    );
    to(
        hello(Before::NotStarted { status: 127 << 8 }, None),
        "00013031323361626364c8010c0580fc03008040070002",
    );
    to(
        ToManager::Exited(Exit {
            seq: 300,
            pid: 4711,
            start: 123_456,
            status: 256,
        }),
        "01ac02e724c0c4078004",
    );
    to(ToManager::Discarded { count: 5 }, "0205");
    to(ToManager::Signal { signo: 15 }, "030f");
    to(
        ToManager::Kept { label: LABEL },
        "0405000102030405060708090a0b0c0d0e0fac02",
    );
    to(
        ToManager::Full { label: LABEL },
        "0505000102030405060708090a0b0c0d0e0fac02",
    );
    to(
        ToManager::Refused {
            label: LABEL,
            why: Refusal::NotOne,
        },
        "0605000102030405060708090a0b0c0d0e0fac0200",
    );
    to(
        ToManager::Refused {
            label: LABEL,
            why: Refusal::Quota,
        },
        "0605000102030405060708090a0b0c0d0e0fac0201",
    );
    to(
        ToManager::Refused {
            label: LABEL,
            why: Refusal::Kind,
        },
        "0605000102030405060708090a0b0c0d0e0fac0202",
    );
    to(
        ToManager::Fd { label: LABEL },
        "0705000102030405060708090a0b0c0d0e0fac02",
    );
    to(
        ToManager::NotFound { label: LABEL },
        "0805000102030405060708090a0b0c0d0e0fac02",
    );
    to(
        ToManager::Listed { label: LABEL },
        "0905000102030405060708090a0b0c0d0e0fac02",
    );
    to(ToManager::ListEnd { count: 1 }, "0a01");
    to(ToManager::Ping { nonce: 77 }, "0b4d");
    to(ToManager::WatchdogArmed { timeout_ms: 30_000 }, "0cb0ea01");
    to(
        ToManager::Failed {
            request: Request::Reexec,
            errno: 2,
        },
        "0d0004",
    );
    to(
        ToManager::Failed {
            request: Request::SwitchRoot,
            errno: 22,
        },
        "0d012c",
    );
    to(
        ToManager::Failed {
            request: Request::Watchdog,
            errno: 0,
        },
        "0d0200",
    );
    to(ToManager::Dropped { count: 3 }, "0e03");
}

#[test]
fn from_manager() {
    from(
        FromManager::Hello {
            version: 1,
            build: *b"0123abcd",
            epoch: 200,
        },
        "00013031323361626364c801",
    );
    from(FromManager::Ack { seq: 300 }, "01ac02");
    from(FromManager::Pong { nonce: 77 }, "024d");
    from(
        FromManager::Keep { label: LABEL },
        "0305000102030405060708090a0b0c0d0e0fac02",
    );
    from(
        FromManager::Drop { label: LABEL },
        "0405000102030405060708090a0b0c0d0e0fac02",
    );
    from(
        FromManager::DropOwner {
            kind: Kind::SERVICE,
            hash: HASH,
        },
        "0506000102030405060708090a0b0c0d0e0f",
    );
    from(
        FromManager::Fetch { label: LABEL },
        "0605000102030405060708090a0b0c0d0e0fac02",
    );
    from(FromManager::List { kind: Kind::ANY }, "0700");
    from(
        FromManager::Shutdown {
            ending: Ending::Poweroff,
            deadline_ms: 90_000,
        },
        "080090bf05",
    );
    from(
        FromManager::Shutdown {
            ending: Ending::Reboot,
            deadline_ms: 0,
        },
        "080100",
    );
    from(
        FromManager::Shutdown {
            ending: Ending::Halt,
            deadline_ms: 1,
        },
        "080201",
    );
    from(FromManager::Finish, "09");
    from(
        FromManager::SwitchRoot {
            root: b"/sysroot",
            init: b"/sbin/init",
        },
        "0a082f737973726f6f740a2f7362696e2f696e6974",
    );
    from(FromManager::Reexec, "0b");
    from(FromManager::Watchdog { timeout_ms: 30_000 }, "0cb0ea01");
    from(FromManager::Ready, "0d");
    from(FromManager::Taken { signo: 15 }, "0e0f");
    from(FromManager::WatchdogAtReboot { ms: 600_000 }, "0fc0cf24");
}

#[test]
fn hash_is_fnv1a_128() {
    // From the reference: the empty string gives the offset basis.
    assert_eq!(hex(&hash128(b"")), "6c62272e07bb014262b821756295c58d");
    assert_eq!(hex(&hash128(b"a")), "d228cb696f1a8caf78912b704e4a8964");
    assert_ne!(
        Label::of(Kind::NOTIFY, "a.service"),
        Label::of(Kind::NOTIFY, "b.service")
    );
}

#[test]
fn what_is_no_frame_is_none() {
    assert_eq!(ToManager::decode(&[]), None);
    assert_eq!(FromManager::decode(&[]), None);
    assert_eq!(
        FromManager::decode(&[200, 1]),
        None,
        "a variant from the future"
    );
    assert_eq!(FromManager::decode(&[0x80; FRAME_MAX]), None);
    assert_eq!(
        FromManager::decode(&[9; FRAME_MAX + 1]),
        None,
        "longer than a frame"
    );
    let path = core::str::from_utf8(&[b'x'; FRAME_MAX]).unwrap();
    let mut buf = [0; FRAME_MAX];
    assert!(
        FromManager::SwitchRoot {
            root: path.as_bytes(),
            init: b"/"
        }
        .encode(&mut buf)
        .is_none()
    );
}

#[test]
fn random_bytes_never_panic() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    println!("seed {seed:#x}");
    let mut bytes = [0u8; 64];
    for _ in 0..200_000 {
        for byte in &mut bytes {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            *byte = seed as u8;
        }
        bytes[0] %= 24;
        let length = usize::from(bytes[1]) % bytes.len();
        let bytes = &bytes[..length];
        // Both decoders agree on what is a frame, and on which.
        let derived = postcard::take_from_bytes(bytes)
            .ok()
            .map(|(frame, _)| frame);
        assert_eq!(ToManager::decode(bytes), derived, "{bytes:?}");
        let derived = postcard::take_from_bytes(bytes)
            .ok()
            .map(|(frame, _)| frame);
        assert_eq!(FromManager::decode(bytes), derived, "{bytes:?}");
    }
}
