//! Keys of frames: session id (16 bytes), first seq (u64), part (u32), numbers big-endian, so that they sort as they run.

use crate::model::{Seq, SessionId};

const LEN: usize = 16 + 8 + 4;

/// Where a frame stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct FrameKey {
    pub(super) id: SessionId,
    /// Its first record.
    pub(super) seq: Seq,
    /// Which part of that record's body it starts with.
    pub(super) part: u32,
}

impl FrameKey {
    /// Not above any.
    pub(super) const FIRST: FrameKey = FrameKey { id: SessionId([0; 16]), seq: Seq(0), part: 0 };

    pub(super) fn bytes(self) -> [u8; LEN] {
        let mut key = [0; LEN];
        key[..16].copy_from_slice(&self.id.0);
        key[16..24].copy_from_slice(&self.seq.0.to_be_bytes());
        key[24..].copy_from_slice(&self.part.to_be_bytes());
        key
    }

    pub(super) fn parse(key: &[u8]) -> Option<FrameKey> {
        let key: &[u8; LEN] = key.try_into().ok()?;
        let (id, rest) = key.split_first_chunk::<16>()?;
        let (seq, part) = rest.split_first_chunk::<8>()?;
        Some(FrameKey {
            id: SessionId(*id),
            seq: Seq(u64::from_be_bytes(*seq)),
            part: u32::from_be_bytes(part.try_into().ok()?),
        })
    }
}

/// The last key a session can have.
pub(super) fn session_end(id: SessionId) -> Vec<u8> {
    FrameKey { id, seq: Seq(u64::MAX), part: u32::MAX }.bytes().to_vec()
}
