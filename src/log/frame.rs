//! The frame codec: records of one session to values of at most 4 KiB, and back. `docs/format.md` gives the layout.
//!
//! Pure: no file, no clock. It must never panic on what it reads, whatever that is, and never make a frame above
//! [`FRAME_BYTES`]: larger values become blob files in sled, which are never synced. Records come from the writer and go
//! to the store's segments; a record that doesn't fit in a frame is continued in further frames (parts).

use super::lz::{Lz, Unlz, is_dense};
use crate::model::{KIB, Kind, LogTime, Record, Seq, Stamp, Wall};
use bytes::Bytes;

/// The version written, and the newest that is read.
pub const VERSION: u8 = 1;
/// The most a frame takes in the store, bytes: with values up to here sled makes no blob files.
pub const FRAME_BYTES: usize = 4 * KIB;
/// The most a frame holds before compression, bytes: what a reader has to unpack for one record.
pub const RAW_BYTES: usize = 32 * KIB;

const HEADER: usize = 48;
const ROOM: usize = FRAME_BYTES - HEADER;
const CRC_AT: usize = 4; // and after it: bytes 0..8 keep their meaning in every version
const RAW: u8 = 0;
const ZSTD: u8 = 1;
const GOES_ON: u8 = 1; // flag: the last record's body goes on in the next part
const HEAD_MAX: usize = 41; // a record's head at its longest: four varints of 10 bytes and the kind
const LEARN_FROM: usize = 2 * KIB; // smaller frames compress worse and say nothing about a flood
const SLACK: f32 = 0.97; // aim below a full frame: a second try costs as much as the first

/// What a frame says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// The first record's number.
    pub first: Seq,
    /// The last record's number.
    pub last: Seq,
    /// Part of the first record's body, from 0.
    pub part: u32,
    /// True when the last record's body goes on in the next part.
    pub goes_on: bool,
    /// How many records (kinds this code doesn't know too).
    pub count: u16,
    codec: u8,
    raw_len: usize,
    wall: Wall,
    log: LogTime,
}

/// Why a frame can't be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// Written by a later release.
    #[error(
        "a record was written by a newer termalive (frame version {0}; this one reads up to {VERSION}): use that one"
    )]
    TooNew(u8),
    /// The bytes aren't what was written.
    #[error("a frame is damaged: {0}")]
    Damaged(&'static str),
}

/// Makes frames. Keeps its zstd context and what it learnt about how well the data compresses.
pub struct Encoder {
    raw: Vec<u8>,
    frame: Vec<u8>,
    lz: Lz,
    /// Stored size over raw size that is expected of data that isn't dense.
    ratio: f32,
}

/// Reads frames. Keeps its zstd context.
pub struct Decoder {
    lz: Unlz,
}

/// A record, or a part of one.
#[derive(Clone, Copy)]
struct Piece<'a> {
    record: &'a Record,
    body: &'a [u8],
    dense: bool,
}

impl Default for Encoder {
    fn default() -> Self {
        Encoder { raw: Vec::new(), frame: Vec::new(), lz: Lz::default(), ratio: 0.5 }
    }
}

impl Encoder {
    /// Puts records of one session (rising seqs) into frames; `put` gets each with the number of its first record and the
    /// part of that record's body it starts with.
    pub fn encode(&mut self, records: &[&Record], mut put: impl FnMut(Seq, u32, &[u8])) {
        let pieces: Vec<Piece<'_>> =
            records.iter().map(|r| Piece { record: r, body: &r.body, dense: is_dense(&r.body) }).collect();
        let mut rest = &pieces[..];
        while let [first, ..] = rest {
            let mut count = self.fitting(rest);
            while count > 0 && !self.seal(&rest[..count], 0, false) {
                count = self.fitting(&rest[..count - 1]); // the ratio is learnt: a second try nearly always fits
            }
            if count == 0 {
                self.in_parts(*first, &mut put);
                rest = &rest[1..];
            } else {
                put(first.record.seq, 0, &self.frame);
                rest = &rest[count..];
            }
        }
    }

    /// How many pieces likely fill a frame: at least one if there is one that can fit.
    fn fitting(&self, pieces: &[Piece<'_>]) -> usize {
        let (mut raw, mut stored) = (0, 0.0);
        let fits = pieces.iter().take_while(|p| {
            let len = p.body.len() + HEAD_MAX / 3;
            raw += p.body.len() + HEAD_MAX;
            stored += if p.dense { len as f32 / SLACK } else { len as f32 * self.ratio };
            raw <= RAW_BYTES && stored <= ROOM as f32 * SLACK
        });
        match (fits.count(), pieces.first()) {
            (0, Some(p)) if p.body.len() + HEAD_MAX <= RAW_BYTES => 1,
            (count, _) => count,
        }
    }

    /// One record over several frames.
    fn in_parts(&mut self, whole: Piece<'_>, put: &mut impl FnMut(Seq, u32, &[u8])) {
        let mut rest = whole.body;
        let mut part = 0;
        while !rest.is_empty() {
            let mut len = if whole.dense { ROOM - HEAD_MAX } else { RAW_BYTES - HEAD_MAX }.min(rest.len());
            while !self.seal(&[Piece { body: &rest[..len], ..whole }], part, len < rest.len()) {
                len = (len / 2).max(ROOM - HEAD_MAX).min(rest.len()); // that much fits as it is
            }
            put(whole.record.seq, part, &self.frame);
            rest = &rest[len..];
            part += 1;
        }
    }

    /// Makes one frame of all the pieces in `self.frame`; false when they don't fit.
    fn seal(&mut self, pieces: &[Piece<'_>], part: u32, goes_on: bool) -> bool {
        let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else { return false };
        lay_out(pieces, &mut self.raw);
        let dense = self.raw.len() <= ROOM && pieces.iter().all(|p| p.dense);
        let packed = if dense { None } else { self.lz.pack(&self.raw) };
        if let Some(packed) = packed.filter(|_| self.raw.len() >= LEARN_FROM) {
            let now = (packed.len() as f32 / self.raw.len() as f32).clamp(0.02, 1.0);
            self.ratio = if now > self.ratio { now } else { (self.ratio + now) / 2.0 };
        }
        let (codec, payload) = match packed {
            Some(packed) if packed.len() < self.raw.len() => (ZSTD, packed),
            _ => (RAW, &self.raw[..]),
        };
        if payload.len() > ROOM {
            return false;
        }
        let f = &mut self.frame;
        f.clear();
        f.extend_from_slice(&[VERSION, codec, if goes_on { GOES_ON } else { 0 }, 0, 0, 0, 0, 0]);
        f.extend_from_slice(&(pieces.len() as u16).to_le_bytes());
        f.extend_from_slice(&(self.raw.len() as u16).to_le_bytes());
        f.extend_from_slice(&part.to_le_bytes());
        f.extend_from_slice(&first.record.seq.0.to_le_bytes());
        f.extend_from_slice(&last.record.seq.0.to_le_bytes());
        f.extend_from_slice(&first.record.at.wall.0.to_le_bytes());
        f.extend_from_slice(&first.record.at.log.0.to_le_bytes());
        f.extend_from_slice(payload);
        let crc = crc(f);
        f[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        true
    }
}

/// What stands in a frame before compression: all heads, then all bodies.
fn lay_out(pieces: &[Piece<'_>], raw: &mut Vec<u8>) {
    raw.clear();
    let mut before = pieces.first().map(|p| (p.record.seq, p.record.at)).unwrap_or_default();
    for Piece { record, body, .. } in pieces {
        varint(raw, record.seq.0.wrapping_sub(before.0.0));
        raw.push(record.kind as u8);
        varint(raw, zigzag(record.at.wall.0.wrapping_sub(before.1.wall.0)));
        varint(raw, zigzag(record.at.log.0.wrapping_sub(before.1.log.0) as i64));
        varint(raw, body.len() as u64);
        before = (record.seq, record.at);
    }
    pieces.iter().for_each(|p| raw.extend_from_slice(p.body));
}

impl Head {
    /// Reads and checks a frame's header and checksum.
    pub fn read(frame: &[u8]) -> Result<Head, FrameError> {
        let damaged = FrameError::Damaged;
        let (head, _) = frame.split_first_chunk::<HEADER>().ok_or(damaged("it is too short"))?;
        if head[CRC_AT..CRC_AT + 4] != crc(frame).to_le_bytes() {
            return Err(damaged("its checksum differs"));
        }
        if head[0] > VERSION {
            return Err(FrameError::TooNew(head[0]));
        }
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| head[at + i]));
        let half = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        Ok(Head {
            codec: head[1],
            goes_on: head[2] & GOES_ON != 0,
            count: half(8),
            raw_len: usize::from(half(10)),
            part: word(12) as u32,
            first: Seq(word(16)),
            last: Seq(word(24)),
            wall: Wall(word(32) as i64),
            log: LogTime(word(40)),
        })
    }
}

impl Decoder {
    /// A decoder.
    pub fn new() -> Decoder {
        Decoder { lz: Unlz::default() }
    }

    /// Reads a frame. Records of a kind this code doesn't know are left out. The last record's body is a part when the
    /// head says that it goes on, the first one's when `part` isn't 0.
    pub fn decode(&mut self, frame: &[u8]) -> Result<(Head, Vec<Record>), FrameError> {
        let damaged = FrameError::Damaged;
        let head = Head::read(frame)?;
        let payload = &frame[HEADER..];
        let raw = match head.codec {
            RAW => Bytes::copy_from_slice(payload),
            ZSTD => self.lz.unpack(payload, head.raw_len).ok_or(damaged("it can't be decompressed"))?.into(),
            _ => return Err(damaged("its codec is unknown")),
        };
        if raw.len() != head.raw_len {
            return Err(damaged("its length differs"));
        }
        let records = records(&head, &raw).ok_or(damaged("its records don't fit together"))?;
        Ok((head, records))
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder::new()
    }
}

fn records(head: &Head, raw: &Bytes) -> Option<Vec<Record>> {
    let mut heads = &raw[..];
    let (mut seq, mut at) = (head.first, Stamp { wall: head.wall, log: head.log });
    let mut found = Vec::with_capacity(usize::from(head.count).min(raw.len()));
    for _ in 0..head.count {
        seq = Seq(seq.0.wrapping_add(read_varint(&mut heads)?));
        let kind = Kind::from_u8(*heads.split_off_first()?);
        at.wall.0 = at.wall.0.wrapping_add(unzigzag(read_varint(&mut heads)?));
        at.log.0 = at.log.0.wrapping_add(unzigzag(read_varint(&mut heads)?) as u64);
        let len = usize::try_from(read_varint(&mut heads)?).ok()?;
        found.push((seq, kind, at, len));
    }
    let mut start = raw.len() - heads.len();
    let mut records = Vec::with_capacity(found.len());
    for (seq, kind, at, len) in found {
        let end = start.checked_add(len).filter(|end| *end <= raw.len())?;
        if let Some(kind) = kind {
            records.push(Record { seq, kind, at, body: raw.slice(start..end) });
        }
        start = end;
    }
    (start == raw.len() && seq == head.last).then_some(records)
}

fn crc(frame: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&frame[..CRC_AT]), &frame[CRC_AT + 4..])
}

fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)) as u64
}

fn unzigzag(n: u64) -> i64 {
    (n >> 1) as i64 ^ -((n & 1) as i64)
}

fn varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut n = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.split_off_first()?;
        n |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(n);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Stored = Vec<(Seq, u32, Vec<u8>)>;

    fn store(encoder: &mut Encoder, records: &[Record]) -> Stored {
        let mut frames = Vec::new();
        encoder.encode(&records.iter().collect::<Vec<_>>(), |seq, part, f| frames.push((seq, part, f.to_vec())));
        frames
    }

    fn load(frames: &Stored) -> Vec<Record> {
        let mut joined: Vec<Record> = Vec::new();
        let mut decoder = Decoder::new();
        for (seq, part, frame) in frames {
            let (head, records) = decoder.decode(frame).unwrap();
            assert_eq!((head.first, head.part), (*seq, *part));
            for (i, record) in records.into_iter().enumerate() {
                match joined.last_mut() {
                    Some(before) if i == 0 && *part > 0 => {
                        before.body = [&before.body[..], &record.body].concat().into()
                    }
                    _ => joined.push(record),
                }
            }
        }
        joined
    }

    fn noise(len: usize, mut seed: u64) -> Vec<u8> {
        let mut next = || {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 56) as u8
        };
        (0..len).map(|_| next()).collect()
    }

    fn body() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            4 => proptest::collection::vec(any::<u8>(), 0..200),
            2 => (0usize..4000, any::<u64>()).prop_map(|(n, seed)| noise(n, seed)),
            2 => (0usize..4000).prop_map(|n| b"termalive keeps a log. ".iter().copied().cycle().take(n).collect()),
            1 => (0usize..200_000, any::<u64>()).prop_map(|(n, seed)| noise(n, seed)),
            1 => (0usize..200_000).prop_map(|n| vec![b'x'; n]),
            1 => (0usize..60_000, any::<u64>()).prop_map(|(n, s)| noise(n, s).iter().map(|b| b % 16 + 64).collect()),
        ]
    }

    fn record() -> impl Strategy<Value = (u64, u8, i64, u64, Vec<u8>)> {
        (1u64..1 << 40, 1u8..=10, any::<i64>(), any::<u64>(), body())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 64 } else { 2000 }))]

        #[test]
        fn records_survive_their_frames(parts in proptest::collection::vec(record(), 0..30)) {
            let mut seq = 0;
            let records: Vec<Record> = parts.into_iter().map(|(jump, kind, wall, log, body)| {
                seq += jump;
                let at = Stamp { wall: Wall(wall), log: LogTime(log) };
                Record { seq: Seq(seq), kind: Kind::from_u8(kind).unwrap(), at, body: body.into() }
            }).collect();
            let frames = store(&mut Encoder::default(), &records);
            prop_assert!(frames.iter().all(|(_, _, f)| f.len() <= FRAME_BYTES));
            prop_assert!(frames.is_sorted_by(|a, b| (a.0, a.1) < (b.0, b.1)), "keys rise");
            prop_assert_eq!(load(&frames), records);
        }

        #[test]
        fn damage_is_an_error(at in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<prop::sample::Index>()) {
            let body = Bytes::from(noise(700, 3).iter().map(|b| b % 32).collect::<Vec<_>>());
            let records = [1, 5].map(|s| Record { seq: Seq(s), kind: Kind::Output, at: Stamp::default(), body: body.clone() });
            let frames = store(&mut Encoder::default(), &records);
            let mut frame = frames[0].2.clone();
            let cut = &frame[..cut.index(frame.len())];
            prop_assert!(matches!(Decoder::new().decode(cut), Err(FrameError::Damaged(_))));
            let at = at.index(frame.len());
            frame[at] ^= 1 << bit;
            prop_assert!(matches!(Decoder::new().decode(&frame), Err(FrameError::Damaged(_))));
        }

        #[test]
        fn bytes_with_a_right_checksum_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), count in 0u8..5) {
            let mut frame = vec![VERSION, bytes.first().map_or(0, |b| b % 3), 0, 0, 0, 0, 0, 0, count, 0];
            frame.extend((bytes.len().saturating_sub(36) as u16).to_le_bytes());
            frame.extend(bytes);
            if frame.len() > CRC_AT + 4 {
                let right = crc(&frame).to_le_bytes();
                frame[CRC_AT..CRC_AT + 4].copy_from_slice(&right);
            }
            let _ = Decoder::new().decode(&frame);
        }
    }

    fn one(seq: u64, body: Vec<u8>) -> Record {
        Record { seq: Seq(seq), kind: Kind::Output, at: Stamp::default(), body: body.into() }
    }

    #[test]
    fn a_newer_version_is_refused_with_a_sentence() {
        let mut frame = store(&mut Encoder::default(), &[one(1, b"x".to_vec())]).remove(0).2;
        frame[0] = VERSION + 1;
        let right = crc(&frame).to_le_bytes();
        frame[CRC_AT..CRC_AT + 4].copy_from_slice(&right);
        let refused = Decoder::new().decode(&frame).unwrap_err();
        assert_eq!(refused, FrameError::TooNew(2));
        assert!(refused.to_string().contains("newer termalive"), "{refused}");
    }

    #[test]
    fn an_unknown_kind_is_left_out() {
        let mut frame = store(&mut Encoder::default(), &[one(1, noise(100, 1)), one(2, noise(100, 2))]).remove(0).2;
        assert_eq!((frame[1], frame[HEADER + 1]), (RAW, Kind::Output as u8));
        frame[HEADER + 1] = 200;
        let right = crc(&frame).to_le_bytes();
        frame[CRC_AT..CRC_AT + 4].copy_from_slice(&right);
        let (head, records) = Decoder::new().decode(&frame).unwrap();
        assert_eq!((head.count, head.last), (2, Seq(2)));
        assert_eq!(records, [one(2, noise(100, 2))]);
    }

    #[test]
    fn frames_are_well_filled() {
        let mut encoder = Encoder::default();
        let text =
            |i: u64| (0..).flat_map(move |n: u64| format!("{:x} file-{n} compiled\n", i * n * 7919).into_bytes());
        let records: Vec<Record> = (1..400).map(|i| one(i, text(i).take(3840).collect())).collect();
        let frames = store(&mut encoder, &records);
        let mean = frames.iter().map(|(_, _, f)| f.len()).sum::<usize>() / frames.len();
        assert!(mean > FRAME_BYTES / 2, "{mean} bytes a frame, {} frames", frames.len());
    }
}
