//! Speeds of the store, on demand: `cargo test --release --test store_numbers -- --ignored --nocapture --test-threads 1`.
//! No test here asserts a time.

use bytes::Bytes;
use std::{hint::black_box, io::Write, time::Instant};
use termalive::{
    log::frame::{Decoder, Encoder},
    model::{Kind, LogTime, MIB, Record, Seq, Stamp, Wall},
};

const BODY: usize = 3840; // the most a PTY gives at once

fn say(text: std::fmt::Arguments<'_>) {
    writeln!(std::io::stdout(), "{text}").unwrap();
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % sides
    }
}

/// Coloured lines of a build and a test run, with times, hashes and paths.
fn text(bytes: usize) -> Vec<u8> {
    let words = "error warning unused import borrowed value does not live long enough expected found type struct field \
                 compiling checking finished running passed failed assertion left right thread panicked at stack backtrace \
                 session writer reader frame segment host keeper terminal record cursor budget interval durable";
    let words: Vec<&str> = words.split_whitespace().collect();
    let mut dice = Dice(7);
    let mut out = Vec::with_capacity(bytes + 256);
    while out.len() < bytes {
        write!(out, "\x1b[3{}m{:>12}\x1b[0m ", dice.roll(8), words[dice.roll(words.len() as u64) as usize]).unwrap();
        for _ in 0..4 + dice.roll(8) {
            write!(out, "{} ", words[dice.roll(words.len() as u64) as usize]).unwrap();
        }
        let (file, line, hash) = (dice.roll(400), dice.roll(2000), dice.roll(1 << 31));
        write!(out, "src/module_{file}.rs:{line} [{}.{:03}s] {hash:08x}\r\n", line % 9, line % 1000).unwrap();
    }
    out.truncate(bytes);
    out
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut dice = Dice(9);
    (0..bytes).map(|_| dice.roll(256) as u8).collect()
}

fn records(data: &[u8]) -> Vec<Record> {
    let record = |(i, body): (usize, &[u8])| Record {
        seq: Seq(i as u64 + 1),
        kind: Kind::Output,
        at: Stamp { wall: Wall(1_700_000_000_000_000 + i as i64 * 50), log: LogTime(i as u64 * 50_123) },
        body: Bytes::copy_from_slice(body),
    };
    data.chunks(BODY).enumerate().map(record).collect()
}

fn mb_per_s(bytes: usize, since: Instant) -> f64 {
    bytes as f64 / 1e6 / since.elapsed().as_secs_f64()
}

#[test]
#[ignore = "a measurement"]
fn codec() {
    for (name, data) in [("text", text(128 * MIB)), ("noise", noise(128 * MIB))] {
        let records = records(&data);
        let (mut encoder, mut frames) = (Encoder::default(), Vec::new());
        let start = Instant::now();
        for page in records.chunks(34) {
            encoder.encode(&page.iter().collect::<Vec<_>>(), |_, _, f| frames.push(f.to_vec()));
        }
        let encode = mb_per_s(data.len(), start);
        let stored: usize = frames.iter().map(Vec::len).sum();
        let start = Instant::now();
        let mut decoder = Decoder::new();
        frames.iter().for_each(|f| drop(black_box(decoder.decode(f).unwrap())));
        say(format_args!(
            "{name}: encode {encode:.0} MB/s, decode {:.0} MB/s, {:.2}x, {:.0} bytes a frame",
            mb_per_s(data.len(), start),
            data.len() as f64 / stored as f64,
            stored as f64 / frames.len() as f64
        ));
    }
}
