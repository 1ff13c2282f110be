//! Ten million and more damaged messages, made of recorded ones: at least a million for every decoder, which is every type
//! of message and every attribute. What must hold is the fuzz target's.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing)]

extern crate ocicat_bgp_wire as bgp_wire;

#[path = "../../../tests/fuzz/targets/bgp.rs"]
mod target;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{SystemTime, UNIX_EPOCH};

/// Of every decoder.
const EACH: u32 = 1_000_000;
/// Attribute type codes that have a decoder.
const ATTRIBUTES: [u8; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 14, 15, 16, 17, 18, 32];
/// Where the body of a message begins.
const BODY: usize = 19;

/// A message with the octet before it that says what was negotiated: see the target.
fn corpus() -> Vec<Vec<u8>> {
    include_str!("../corpus/messages.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let [_, session, hex]: [&str; 3] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
            let bit = |sign: char, n: u8| u8::from(session.contains(sign)) << n;
            let mut message = vec![bit('2', 0) | bit('p', 1) | bit('n', 2) | bit('e', 3)];
            let octets = (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap());
            message.extend(octets);
            message
        })
        .collect()
}

/// Small random numbers, fast (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next()).unwrap() % end.max(1)
    }

    fn octet(&mut self) -> u8 {
        self.next() as u8
    }
}

/// Damages the octets of `at` in a few places, mostly keeping lengths.
fn damage(message: &mut Vec<u8>, at: std::ops::Range<usize>, random: &mut Random) {
    for _ in 0..1 + random.below(3) {
        let place = at.start + random.below(at.len());
        let Some(octet) = message.get_mut(place) else { continue };
        match random.below(8) {
            0 => *octet = octet.wrapping_add(1),
            1 => *octet = octet.wrapping_sub(1),
            2 => *octet = 0,
            3 => *octet = 0xff,
            4 | 5 => *octet ^= 1 << random.below(8),
            _ => *octet = random.octet(),
        }
    }
    // Sometimes an octet more or less, so that every length is wrong.
    match random.below(32) {
        0 => message.insert(at.start, random.octet()),
        1 => drop(message.remove(at.start)),
        _ => {}
    }
}

/// The header's length says what is there, unless it shall not.
fn mend_length(message: &mut [u8]) {
    if let Ok(len) = u16::try_from(message.len() - 1) {
        message[17..19].copy_from_slice(&len.to_be_bytes());
    }
}

/// Where attributes with this code lie in an UPDATE, header included.
fn places(message: &[u8], code: u8) -> Option<std::ops::Range<usize>> {
    let mut at = 1 + BODY + 4 + usize::from(u16::from_be_bytes([message[20], message[21]]));
    let end = at + usize::from(u16::from_be_bytes([message[at - 2], message[at - 1]]));
    while at < end {
        let extended = message[at] & 0x10 != 0;
        let len = if extended {
            4 + usize::from(u16::from_be_bytes([message[at + 2], message[at + 3]]))
        } else {
            3 + usize::from(message[at + 2])
        };
        if message[at + 1] == code {
            return Some(at..at + len);
        }
        at += len;
    }
    None
}

/// Runs `times` damaged messages; `what` is damaged in each.
fn run(name: &str, messages: &[(Vec<u8>, std::ops::Range<usize>)], times: u32, seed: u64) {
    assert!(!messages.is_empty(), "the corpus has nothing for {name}");
    // Long messages say what short ones say, slowly.
    let mut messages: Vec<_> = messages.iter().collect();
    messages.sort_by_key(|(message, _)| message.len());
    messages.truncate(40);
    let mut random = Random(seed | 1);
    let mut damaged = Vec::new();
    for round in 0..times {
        let (message, at) = &messages[random.below(messages.len())];
        damaged.clone_from(message);
        damage(&mut damaged, at.clone(), &mut random);
        if random.below(16) != 0 {
            mend_length(&mut damaged);
        }
        let held = catch_unwind(AssertUnwindSafe(|| target::run(&damaged)));
        assert!(held.is_ok(), "{name}, seed {seed:#x}, round {round}: {damaged:02x?}");
    }
}

#[test]
fn recorded_messages_hold() {
    corpus().iter().for_each(|message| target::run(message));
}

#[test]
fn millions_of_damaged_messages_are_no_harm() {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    println!("seed {seed:#x}");
    let corpus = corpus();
    let of_type = |kind: u8| -> Vec<_> {
        let found = corpus.iter().filter(|message| message[BODY] == kind);
        found.map(|message| (message.clone(), 1 + BODY..message.len())).collect()
    };
    let mut work: Vec<(String, Vec<_>)> = Vec::new();
    for (kind, name) in [(1, "OPEN"), (2, "UPDATE"), (3, "NOTIFICATION"), (5, "ROUTE-REFRESH")] {
        work.push((name.to_owned(), of_type(kind)));
    }
    let headers = corpus.iter().map(|message| (message.clone(), 1..1 + BODY)).collect();
    work.push(("header".to_owned(), headers));
    for code in ATTRIBUTES {
        let updates = corpus.iter().filter(|message| message[BODY] == 2);
        let found = updates.filter_map(|message| Some((message.clone(), places(message, code)?))).collect();
        work.push((format!("attribute {code}"), found));
    }
    let half = work.len().div_ceil(2);
    std::thread::scope(|scope| {
        for part in work.chunks(half) {
            scope.spawn(move || part.iter().for_each(|(name, messages)| run(name, messages, EACH, seed)));
        }
    });
}
