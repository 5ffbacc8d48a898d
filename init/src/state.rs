//! What init hands to itself over an `exec`: re-exec and switch-root.
//!
//! A sequence of records in a memfd, each two bytes of length (little-endian) and a
//! [`Record`] in the wire's encoding. Append-only like the wire: a record that is not understood is skipped, so an older
//! init can follow a newer one. The descriptors themselves travel by being open; a record that
//! names one which is not open is dropped by the reader.

use init_wire::codec::{Put, Take};
use init_wire::{Before, Exit, Label, Shutdown};

/// First record: which format this is.
pub const MAGIC: u32 = 0x736d_0001;

/// One fact.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Record {
    /// Must be the first.
    Begin {
        /// [`MAGIC`].
        magic: u32,
    },
    /// Counters.
    Counters {
        /// Epoch of the last manager that was spawned.
        epoch: u64,
        /// Number of the next exit.
        next_seq: u64,
        /// Exits nobody was told of.
        discarded: u64,
        /// Signals (bit n: signal n) no manager has taken yet.
        signals: u64,
    },
    /// An exit that is not acknowledged, oldest first.
    Exit(Exit),
    /// A kept descriptor.
    Kept {
        /// Its label.
        label: Label,
        /// Its number.
        fd: i32,
    },
    /// The manager that runs.
    Manager {
        /// Its process id.
        pid: u32,
        /// Its start time.
        start: u64,
        /// init's end of the socketpair.
        fd: i32,
        /// Whether it said `Hello`.
        up: bool,
        /// How many of the exits above it was sent.
        sent: u32,
        /// How the one before it died.
        before: Before,
        /// When it was spawned, in milliseconds since boot.
        since: u64,
    },
    /// A shutdown that was asked for.
    Shutdown {
        /// What.
        shutdown: Shutdown,
    },
    /// The armed hardware watchdog.
    Watchdog {
        /// Its descriptor.
        fd: i32,
        /// Its timeout.
        timeout_ms: u32,
    },
    /// The limit of open files init was born with.
    Limits {
        /// Soft.
        soft: u64,
        /// Hard.
        hard: u64,
    },
    /// Must be the last: everything before it was written.
    End,
}

/// Room that [`write`] needs at most.
pub const ROOM: usize = 96;

/// Appends `record` to `out`; the bytes used, or `None` without room.
pub fn write(record: &Record, out: &mut [u8]) -> Option<usize> {
    let (length, body) = out.split_at_mut_checked(2)?;
    let mut body = Put::new(body);
    match record {
        Record::Begin { magic } => {
            body.u8(0);
            body.num(u64::from(*magic));
        }
        Record::Counters {
            epoch,
            next_seq,
            discarded,
            signals,
        } => {
            body.u8(1);
            for number in [epoch, next_seq, discarded, signals] {
                body.num(*number);
            }
        }
        Record::Exit(exit) => {
            body.u8(2);
            exit.put(&mut body);
        }
        Record::Kept { label, fd } => {
            body.u8(3);
            body.label(label);
            body.int(*fd);
        }
        Record::Manager {
            pid,
            start,
            fd,
            up,
            sent,
            before,
            since,
        } => {
            body.u8(4);
            body.num(u64::from(*pid));
            body.num(*start);
            body.int(*fd);
            body.u8(u8::from(*up));
            body.num(u64::from(*sent));
            before.put(&mut body);
            body.num(*since);
        }
        Record::Shutdown { shutdown } => {
            body.u8(5);
            shutdown.put(&mut body);
        }
        Record::Watchdog { fd, timeout_ms } => {
            body.u8(6);
            body.int(*fd);
            body.num(u64::from(*timeout_ms));
        }
        Record::Limits { soft, hard } => {
            body.u8(7);
            body.num(*soft);
            body.num(*hard);
        }
        Record::End => body.u8(8),
    }
    let used = body.finish()?;
    length.copy_from_slice(&(used as u16).to_le_bytes());
    Some(used + 2)
}

/// What came out of a step of reading.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Read {
    /// A record.
    Record(Record),
    /// One that is not understood.
    Unknown,
    /// The bytes end before the record does.
    More,
}

/// Takes the first record off `bytes`: what it is, and how many bytes it took.
#[must_use]
pub fn read(bytes: &[u8]) -> (Read, usize) {
    let Some((length, rest)) = bytes.split_first_chunk::<2>() else {
        return (Read::More, 0);
    };
    let length = usize::from(u16::from_le_bytes(*length));
    let Some(body) = rest.get(..length) else {
        return (Read::More, 0);
    };
    (decode(body).map_or(Read::Unknown, Read::Record), length + 2)
}

fn decode(body: &[u8]) -> Option<Record> {
    let mut body = Take::new(body);
    let record = match body.u32() {
        0 => Record::Begin { magic: body.u32() },
        1 => Record::Counters {
            epoch: body.u64(),
            next_seq: body.u64(),
            discarded: body.u64(),
            signals: body.u64(),
        },
        2 => Record::Exit(Exit::take(&mut body)),
        3 => Record::Kept {
            label: body.label(),
            fd: body.int(),
        },
        4 => Record::Manager {
            pid: body.u32(),
            start: body.u64(),
            fd: body.int(),
            up: body.bool(),
            sent: body.u32(),
            before: Before::take(&mut body),
            since: body.u64(),
        },
        5 => Record::Shutdown {
            shutdown: Shutdown::take(&mut body),
        },
        6 => Record::Watchdog {
            fd: body.int(),
            timeout_ms: body.u32(),
        },
        7 => Record::Limits {
            soft: body.u64(),
            hard: body.u64(),
        },
        8 => Record::End,
        _ => return None,
    };
    body.finish(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use init_wire::{Ending, Kind};

    #[test]
    fn there_and_back() {
        let records = [
            Record::Begin { magic: MAGIC },
            Record::Counters {
                epoch: u64::MAX,
                next_seq: 7,
                discarded: u64::MAX,
                signals: u64::MAX,
            },
            Record::Exit(Exit {
                seq: u64::MAX,
                pid: u32::MAX,
                start: u64::MAX,
                status: i32::MIN,
            }),
            Record::Kept {
                label: Label {
                    kind: Kind(u16::MAX),
                    hash: [255; 16],
                    index: u16::MAX,
                },
                fd: i32::MAX,
            },
            Record::Manager {
                pid: u32::MAX,
                start: u64::MAX,
                fd: i32::MAX,
                up: true,
                sent: u32::MAX,
                before: Before::Fault { status: i32::MIN },
                since: u64::MAX,
            },
            Record::Shutdown {
                shutdown: Shutdown {
                    ending: Ending::Kexec,
                    left_ms: u32::MAX,
                },
            },
            Record::Watchdog {
                fd: 9,
                timeout_ms: u32::MAX,
            },
            Record::Limits {
                soft: u64::MAX,
                hard: u64::MAX,
            },
            Record::End,
        ];
        let mut all = Vec::new();
        for record in &records {
            let mut buf = [0; ROOM];
            let n = write(record, &mut buf).unwrap();
            all.extend_from_slice(&buf[..n]);
        }
        all.extend_from_slice(&[1, 0, 99]);
        let mut rest = &all[..];
        for record in records {
            let (got, n) = read(rest);
            assert_eq!(got, Read::Record(record));
            rest = &rest[n..];
        }
        assert_eq!(read(rest), (Read::Unknown, 3), "from the future");
        for cut in 0..all.len() - 3 {
            let mut rest = &all[..cut];
            while let (Read::Record(_), n) = read(rest) {
                rest = &rest[n..];
            }
            assert_eq!(read(rest).0, Read::More);
        }
    }
}
