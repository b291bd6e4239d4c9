//! Where the frames of a closed segment stand, as a file beside it: who reads a few frames needn't look for all of them.
//!
//! Derived from the segment's bytes: it may be deleted at any time and is made again by the next reader. One that is damaged,
//! or of another `db`, is none. What it leads to is checked as a frame: it can't make anything be believed. Data comes from a
//! scan (`flat`), goes to the next host's readers.

use super::{
    Options, disk,
    key::FrameKey,
    varint::{read_varint, unzigzag, varint, zigzag},
};
use crate::model::{Seq, SessionId};
use std::{fs, path::Path};

const FILE: &str = "places";
const MAGIC: &[u8; 8] = b"places 1";

/// Where a frame stands in the file, and its last record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) last: Seq,
    pub(super) at: u64,
    pub(super) len: u16,
}

/// Frames in the order of their keys.
pub(super) type Places = Vec<(FrameKey, Place)>;

/// From the file beside a `db` of so many bytes, if it is there and sound.
pub(super) fn load(dir: &Path, db_bytes: u64) -> Option<Places> {
    decode(&fs::read(dir.join(FILE)).ok()?, db_bytes)
}

/// Writes that file, where there is room. Without it reading takes longer, nothing else.
pub(super) fn save(dir: &Path, db_bytes: u64, places: &[(FrameKey, Place)], options: &Options) {
    let bytes = encode(places, db_bytes);
    let written = disk::need(dir, bytes.len() as u64, options)
        .and_then(|()| disk::write_whole(&dir.join(FILE), &bytes).map_err(|e| disk::down(dir, e)));
    if let Err(why) = written {
        tracing::debug!(error = %why, "where its frames stand isn't kept");
    }
}

fn encode(places: &[(FrameKey, Place)], db_bytes: u64) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    varint(&mut out, db_bytes);
    for session in places.chunk_by(|(a, _), (b, _)| a.id == b.id) {
        out.extend_from_slice(&session[0].0.id.0);
        varint(&mut out, session.len() as u64);
        let (mut seq, mut at) = (0, 0);
        for (key, place) in session {
            varint(&mut out, key.seq.0 - seq);
            varint(&mut out, u64::from(key.part));
            varint(&mut out, place.last.0.wrapping_sub(key.seq.0));
            varint(&mut out, zigzag(place.at as i64 - at));
            varint(&mut out, u64::from(place.len));
            (seq, at) = (key.seq.0, place.at as i64);
        }
    }
    out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
    out
}

fn decode(file: &[u8], db_bytes: u64) -> Option<Places> {
    let (content, sum) = file.split_last_chunk::<4>()?;
    let mut rest = content.strip_prefix(MAGIC)?;
    if crc32c::crc32c(content) != u32::from_le_bytes(*sum) || read_varint(&mut rest)? != db_bytes {
        return None;
    }
    let mut places = Places::new();
    while !rest.is_empty() {
        let (id, after) = rest.split_first_chunk::<16>()?;
        rest = after;
        let (mut seq, mut at) = (0u64, 0i64);
        for _ in 0..read_varint(&mut rest)? {
            seq = seq.checked_add(read_varint(&mut rest)?)?;
            let part = u32::try_from(read_varint(&mut rest)?).ok()?;
            let last = Seq(seq.wrapping_add(read_varint(&mut rest)?));
            at = at.checked_add(unzigzag(read_varint(&mut rest)?))?;
            let len = u16::try_from(read_varint(&mut rest)?).ok()?;
            let place = Place { last, at: u64::try_from(at).ok()?, len };
            places.push((FrameKey { id: SessionId(*id), seq: Seq(seq), part }, place));
        }
    }
    Some(places)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn some() -> impl Strategy<Value = Places> {
        let frame = (0u8..4, any::<u64>(), 0u32..3, any::<u64>(), 0u64..1 << 40, any::<u16>());
        proptest::collection::btree_map(
            (0u8..4, any::<u64>(), 0u32..3),
            frame.prop_map(|(.., last, at, len)| Place { last: Seq(last), at, len }),
            0..50,
        )
        .prop_map(|frames| {
            let key = |(id, seq, part)| FrameKey { id: SessionId([id; 16]), seq: Seq(seq), part };
            frames.into_iter().map(|(at, place)| (key(at), place)).collect()
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(places in some(), db in any::<u64>()) {
            prop_assert_eq!(decode(&encode(&places, db), db), Some(places));
        }

        #[test]
        fn a_file_with_one_bit_wrong_or_cut_off_or_of_another_db_is_none(
            places in some(), at in any::<prop::sample::Index>(), bit in 0u8..8,
        ) {
            let file = encode(&places, 7);
            prop_assert_eq!(decode(&file, 8), None);
            prop_assert_eq!(decode(&file[..at.index(file.len())], 7), None);
            let mut wrong = file.clone();
            wrong[at.index(file.len())] ^= 1 << bit;
            prop_assert_eq!(decode(&wrong, 7), None);
        }
    }
}
