//! Speeds of the store, on demand: `cargo test --release --test store_numbers -- --ignored --nocapture --test-threads 1`.
//! No test here asserts a time.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic, its helpers too")]

#[path = "store_common/mod.rs"]
mod store;

use std::{
    fs,
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};
use store::{Dice, id};
use termalive::{
    log::{
        EventLog, Feed, Meta, MetaBatch, Options, SegmentStore, Writer, WriterOptions,
        frame::{Decoder, Encoder},
    },
    model::{KIB, MIB, Record, Seq},
};

const BODY: usize = 3840; // the most a PTY gives at once

#[expect(clippy::print_stdout, reason = "that is what it is for")]
fn say(text: std::fmt::Arguments<'_>) {
    println!("{text}");
}

fn kinds(bytes: usize) -> [(&'static str, Vec<u8>); 2] {
    [("text", Dice(7).text(bytes)), ("noise", Dice(9).noise(bytes))]
}

fn records(data: &[u8], first: u64) -> Vec<Record> {
    data.chunks(BODY).enumerate().map(|(i, body)| store::record(first + i as u64, body.to_vec())).collect()
}

fn mb_per_s(bytes: usize, since: Instant) -> f64 {
    bytes as f64 / 1e6 / since.elapsed().as_secs_f64()
}

#[test]
#[ignore = "a measurement"]
fn codec() {
    for (name, data) in kinds(128 * MIB) {
        let records = records(&data, 1);
        let (mut encoder, mut frames) = (Encoder::default(), Vec::new());
        let start = Instant::now();
        for page in records.chunks(34) {
            encoder.encode(id(1), Seq(0), &page.iter().collect::<Vec<_>>(), |_, _, f| frames.push(f.to_vec()));
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

/// The most memory this process had, and starts counting anew.
fn peak_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<u64>().ok());
    let _ = fs::write("/proc/self/clear_refs", "5");
    peak.unwrap_or(0) / 1024
}

#[test]
#[ignore = "a measurement"]
fn append_and_read() {
    const ROUNDS: u64 = 8;
    for (name, data) in kinds(128 * MIB) {
        let state = tempfile::tempdir().unwrap();
        let log = SegmentStore::open(state.path(), Options::default()).unwrap();
        peak_mib();
        let before = peak_mib();
        let (start, mut synced, mut seq) = (Instant::now(), Instant::now(), 1);
        for _ in 0..ROUNDS {
            for half_ring in data.chunks(128 * KIB) {
                let batch: Vec<_> = records(half_ring, seq).into_iter().map(|r| (id(1), r)).collect();
                seq += batch.len() as u64;
                log.append(&batch).unwrap();
                if synced.elapsed() >= Duration::from_millis(100) {
                    log.sync().unwrap();
                    synced = Instant::now();
                }
            }
        }
        log.sync().unwrap();
        let bytes = data.len() * ROUNDS as usize;
        let (write, peak, stats) = (mb_per_s(bytes, start), peak_mib(), log.stats());
        let start = Instant::now();
        drop(log);
        let closed = start.elapsed();
        let start = Instant::now();
        let log = SegmentStore::open(state.path(), Options::default()).unwrap();
        let opened = start.elapsed();
        let (start, mut from, mut read) = (Instant::now(), Seq(0), 0);
        let mut slowest = Duration::ZERO;
        loop {
            let one = Instant::now();
            let page = log.read(id(1), from, 256 * KIB).unwrap();
            slowest = slowest.max(one.elapsed());
            let Some(last) = page.last() else { break };
            from = last.seq.next();
            read += page.iter().map(|r| r.body.len()).sum::<usize>();
        }
        assert_eq!(read, bytes);
        say(format_args!(
            "{name}: append {write:.0} MB/s, peak {} MiB over {before}, {stats:?}, close {closed:.2?}, open {opened:.2?}, read \
             {:.0} MB/s, slowest page {slowest:.2?}, peak with reading {} MiB",
            peak - before,
            mb_per_s(bytes, start),
            peak_mib()
        ));
    }
}

#[test]
#[ignore = "a measurement"]
fn meta_grows() {
    let state = tempfile::tempdir().unwrap();
    let meta = Meta::open(state.path(), &Options::default()).unwrap();
    let start = Instant::now();
    for round in 1..=200u64 {
        for session in 0..200u8 {
            let batch = MetaBatch::new().save_summary(id(session), &Dice(round).text(700));
            meta.apply(&batch).unwrap();
        }
        if round % 20 == 0 {
            say(format_args!(
                "{} summaries of 140 KB in all: {} KiB, {:.2?}",
                round * 200,
                std::fs::metadata(state.path().join("meta/db")).map_or(0, |m| m.len()) / 1024,
                start.elapsed()
            ));
        }
    }
}

#[test]
#[ignore = "a measurement"]
fn through_feed_and_writer() {
    for (name, data) in kinds(256 * MIB) {
        let state = tempfile::tempdir().unwrap();
        let log = Arc::new(SegmentStore::open(state.path(), Options::default()).unwrap());
        let meta = Arc::new(Meta::open(state.path(), &Options::default()).unwrap());
        let writer = Writer::start(log, meta, WriterOptions::default(), |down| panic!("{down}")).unwrap();
        let feed = Feed::new(id(1), Seq(0));
        writer.attach(&feed);
        let records = records(&data, 1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let start = Instant::now();
        runtime.block_on(async {
            let mut written = feed.written();
            let last = records.len() as u64;
            for record in records {
                let seq = record.seq.0;
                feed.push(record);
                written.wait_for(|w| w.0 + 68 > seq).await.unwrap(); // a ring of 256 KiB
            }
            writer.durable_upto(&feed, Seq(last)).await.unwrap();
        });
        say(format_args!("{name}: push to durable {:.0} MB/s", mb_per_s(data.len(), start)));
        writer.shutdown().unwrap();
    }
}

#[test]
#[ignore = "a measurement"]
fn idle_sessions() {
    const SESSIONS: usize = 10_000;
    let rss = || {
        let statm = fs::read_to_string("/proc/self/statm").unwrap();
        statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
    };
    let before = rss();
    let feeds: Vec<_> = (0..SESSIONS).map(|n| Feed::new(id(n as u8), Seq(0))).collect();
    say(format_args!("{} bytes a session without a tail", (rss() - before) / SESSIONS));
    drop(feeds);
}
