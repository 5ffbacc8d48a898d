//! Random changes of an input, for the short runs: from a seed, the same on every machine.

use fastrand::Rng;

/// Words that mean something to somebody, so that a change makes one of them now and then.
const WORDS: &[&[u8]] = &[
    b"\n",
    b"=",
    b"%",
    b"\\",
    b"\\\n",
    b"\"",
    b"'",
    b"[",
    b"]",
    b" ; ",
    b"${",
    b"\0",
    b"\xff",
    b"\xff\xff\xff\xff\x0f",
    b"\x80\x80\x80\x80\x04",
    b"[Unit]\n",
    b"[Service]\n",
    b"ExecStart=",
    b"infinity",
    b"../",
    b"/",
    b"@",
    b".service",
];

/// Longest input that comes out.
const LONGEST: usize = 16 << 10;

/// One to eight changes of an input; `others` lends parts of itself.
pub fn changed(rng: &mut Rng, input: &[u8], others: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..rng.u32(1..=8) {
        once(rng, &mut bytes, others);
    }
    bytes.truncate(LONGEST);
    bytes
}

fn once(rng: &mut Rng, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
    let at = rng.usize(0..=bytes.len());
    let to = (at + rng.usize(0..=16)).min(bytes.len());
    match rng.u32(0..8) {
        0 if at < bytes.len() => bytes[at] ^= 1 << rng.u32(0..8),
        1 if at < bytes.len() => bytes[at] = rng.u8(..),
        2 => drop(bytes.drain(at..to)),
        3 => {
            let word = WORDS[rng.usize(0..WORDS.len())];
            bytes.splice(at..at, word.iter().copied());
        }
        4 => {
            let part = bytes[at..to].to_vec();
            let place = rng.usize(0..=bytes.len());
            bytes.splice(place..place, part);
        }
        5 if rng.u8(..) < 64 => bytes.truncate(at),
        6 if !others.is_empty() => {
            let other = &others[rng.usize(0..others.len())];
            let from = rng.usize(0..=other.len());
            let end = (from + rng.usize(0..=64)).min(other.len());
            bytes.splice(at..to, other[from..end].iter().copied());
        }
        _ => {
            let fresh: Vec<u8> = (0..rng.usize(1..=8)).map(|_| rng.u8(..)).collect();
            bytes.splice(at..at, fresh);
        }
    }
}
