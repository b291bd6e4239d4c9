//! The frame codec: records of one session to values of at most 4 KiB, and back. `docs/format.md` gives the layout.
//!
//! Pure: no file, no clock. It must never panic on what it reads, whatever that is, and never make a frame above
//! [`FRAME_BYTES`]: larger values become blob files in sled, which are never synced. Records come from the writer and go
//! to the store's segments; a record that doesn't fit in a frame is continued in further frames (parts).
//!
//! A frame says whose it is, how long it is and which record stood before it: so it can be found in a damaged file without
//! its key, and a reader sees that another frame is missing.

use super::{
    lz::{Lz, Unlz, is_dense},
    varint::{read_varint, unzigzag, varint, zigzag},
};
use crate::model::{KIB, Kind, LogTime, Record, Seq, SessionId, Stamp, Wall};
use bytes::Bytes;

/// The version written, and the newest that is read.
pub const VERSION: u8 = 2;
/// The most a frame takes in the store, bytes: with values up to here sled makes no blob files.
pub const FRAME_BYTES: usize = 4 * KIB;
/// The most a frame holds before compression, bytes: what a reader has to unpack for one record.
pub const RAW_BYTES: usize = 32 * KIB;

const HEADER: usize = 76;
const HEADER_1: usize = 48; // of version 1, which says neither whose it is nor what stood before it
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
    /// Whose it is (not in version 1).
    pub id: Option<SessionId>,
    /// The session's last record before this frame, 0: none (not in version 1).
    pub before: Option<Seq>,
    /// When its first record happened.
    pub at: Stamp,
    codec: u8,
    raw_len: usize,
    /// Where the payload begins and ends.
    payload: (usize, usize),
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
    /// Whose records these are, and the last one before them.
    id: SessionId,
    before: Seq,
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
        let (id, before) = (SessionId([0; 16]), Seq(0));
        Encoder { raw: Vec::new(), frame: Vec::new(), lz: Lz::default(), id, before, ratio: 0.5 }
    }
}

impl Encoder {
    /// Puts records of session `id` (rising seqs, `before` is the last one earlier) into frames; `put` gets each with the
    /// number of its first record and the part of that record's body it starts with.
    pub fn encode(&mut self, id: SessionId, before: Seq, records: &[&Record], mut put: impl FnMut(Seq, u32, &[u8])) {
        (self.id, self.before) = (id, before);
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
                count = 1;
            } else {
                put(first.record.seq, 0, &self.frame);
            }
            self.before = rest[count - 1].record.seq;
            rest = &rest[count..];
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
        f.extend_from_slice(&self.before.0.to_le_bytes());
        f.extend_from_slice(&self.id.0);
        f.extend_from_slice(&(payload.len() as u16).to_le_bytes());
        f.extend_from_slice(&[0, 0]);
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
        let (head, _) = frame.split_first_chunk::<HEADER_1>().ok_or(damaged("it is too short"))?;
        if head[CRC_AT..CRC_AT + 4] != crc(frame).to_le_bytes() {
            return Err(damaged("its checksum differs"));
        }
        if head[0] > VERSION {
            return Err(FrameError::TooNew(head[0]));
        }
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| head[at + i]));
        let half = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        let mut read = Head {
            codec: head[1],
            goes_on: head[2] & GOES_ON != 0,
            count: half(8),
            raw_len: usize::from(half(10)),
            part: word(12) as u32,
            first: Seq(word(16)),
            last: Seq(word(24)),
            at: Stamp { wall: Wall(word(32) as i64), log: LogTime(word(40)) },
            id: None,
            before: None,
            payload: (HEADER_1, frame.len()),
        };
        if head[0] > 1 {
            let more: &[u8; HEADER] = frame.first_chunk().ok_or(damaged("it is too short"))?;
            let len = stored_bytes(more);
            if len != frame.len() {
                return Err(damaged("its length differs"));
            }
            read.before = Some(Seq(u64::from_le_bytes(std::array::from_fn(|i| more[48 + i]))));
            read.id = Some(SessionId(std::array::from_fn(|i| more[56 + i])));
            read.payload = (HEADER, len);
        }
        Ok(read)
    }
}

/// How long the frame is that this header belongs to, if it is one.
fn stored_bytes(header: &[u8; HEADER]) -> usize {
    HEADER + usize::from(u16::from_le_bytes([header[72], header[73]]))
}

/// Whole frames of version 2 in any bytes, such as a damaged file, with their places: what has a right checksum is one.
pub fn carve(bytes: &[u8]) -> impl Iterator<Item = (usize, Head, &[u8])> {
    let found = |at: usize| {
        let header: &[u8; HEADER] = bytes.get(at..)?.first_chunk()?;
        if header[1] > ZSTD || header[2] > GOES_ON || header[3] != 0 {
            return None;
        }
        let frame = bytes.get(at..at + stored_bytes(header)).filter(|frame| frame.len() <= FRAME_BYTES)?;
        Some((at, Head::read(frame).ok()?, frame))
    };
    memchr::memchr_iter(VERSION, bytes).filter_map(found)
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
        let payload = &frame[head.payload.0..head.payload.1];
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
    let (mut seq, mut at) = (head.first, head.at);
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

#[cfg(test)]
mod tests;
