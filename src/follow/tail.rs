//! The last rows of what would be printed, while the log is read up to its end for `lines`.
//!
//! Pure. Printed pieces come in from `writer` and go back to it when the end is reached. It must never hold more than
//! [`MAX_BYTES`]: of a longer tail the oldest rows are left out.

use super::plan::MAX_LINES;
use crate::{
    model::{Cursor, MIB, Seq, Wall},
    wire::EventLine,
};
use bytes::Bytes;
use std::collections::VecDeque;

/// The most that is held, in bytes. 64 MiB: what a client waits for without asking for less.
const MAX_BYTES: usize = 64 * MIB;
/// What a piece costs besides its content.
const COST: usize = 96;

/// A printed piece.
#[derive(Debug)]
pub(super) enum Piece {
    Row { content: String, seq: Seq, wall: Wall, next: Cursor },
    Bytes { at: Cursor, bytes: Bytes, wall: Wall },
    Event(EventLine),
}

/// The last pieces.
#[derive(Debug)]
pub(super) struct Tail {
    pieces: VecDeque<Piece>,
    most: u64,
    line_feeds: u64,
    ends_open: bool,
    size: usize,
}

impl Tail {
    pub(super) fn new(lines: u64) -> Tail {
        Tail { pieces: VecDeque::new(), most: lines.min(MAX_LINES), line_feeds: 0, ends_open: false, size: 0 }
    }

    pub(super) fn push(&mut self, piece: Piece) {
        if let Some(content) = piece.content() {
            self.line_feeds += piece.line_feeds();
            self.ends_open = content.last().is_some_and(|byte| *byte != b'\n');
        }
        self.size += piece.size();
        self.pieces.push_back(piece);
        while self.line_feeds + u64::from(self.ends_open) > self.most || self.size > MAX_BYTES {
            if !self.drop_row() {
                break;
            }
        }
    }

    pub(super) fn into_pieces(self) -> VecDeque<Piece> {
        self.pieces
    }

    /// Forgets the oldest row.
    fn drop_row(&mut self) -> bool {
        while let Some(piece) = self.pieces.pop_front() {
            self.size -= piece.size();
            self.line_feeds -= piece.line_feeds();
            let Piece::Bytes { at, bytes, wall } = &piece else {
                if piece.line_feeds() > 0 {
                    return true;
                }
                continue;
            };
            let Some(cut) = memchr::memchr(b'\n', bytes) else { continue };
            let rest = Piece::Bytes { at: after(*at, cut + 1), bytes: bytes.slice(cut + 1..), wall: *wall };
            if cut + 1 < bytes.len() {
                self.size += rest.size();
                self.line_feeds += rest.line_feeds();
                self.pieces.push_front(rest);
            }
            return true;
        }
        self.ends_open = false;
        false
    }
}

/// So many bytes further in the same record.
pub(super) fn after(at: Cursor, bytes: usize) -> Cursor {
    Cursor { byte: at.byte.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX)), ..at }
}

impl Piece {
    fn content(&self) -> Option<&[u8]> {
        match self {
            Piece::Row { content, .. } => Some(content.as_bytes()),
            Piece::Bytes { bytes, .. } => Some(bytes),
            Piece::Event(_) => None,
        }
    }

    fn line_feeds(&self) -> u64 {
        match self {
            Piece::Row { content, .. } => u64::from(content.ends_with('\n')),
            Piece::Bytes { bytes, .. } => memchr::memchr_iter(b'\n', bytes).count() as u64,
            Piece::Event(_) => 0,
        }
    }

    fn size(&self) -> usize {
        COST + self.content().map_or(COST, <[u8]>::len)
    }
}
