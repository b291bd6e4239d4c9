//! What is printed of a reading, and in which frames.
//!
//! Pure. Rows, bytes and events come from `machine` in the order of the log, frames go to the client. It must never cut a
//! data frame where the next one couldn't be told from it by its place: a client that goes on at a frame's `next` misses
//! nothing and gets nothing twice. What stands before `after` isn't printed: the client has it.

use super::{
    Before, Frame,
    chars::Chars,
    lines::timestamp,
    tail::{Piece, Tail, after},
};
use crate::{
    model::{Cursor, KIB, LogTime, Name, Seq, Wall},
    wire::{Content, DataLine, EventLine, Line},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;

/// A batch of rows from this size on is a frame, in bytes. 64 KiB: so that a client shows long output as it comes.
const FRAME: usize = 64 * KIB;

/// The printer of a reading.
#[derive(Debug)]
pub(super) struct Writer {
    session: Name,
    content: Content,
    after: Cursor,
    tail: Option<Tail>,
    batch: Option<Batch>,
    chars: Chars,
    /// Of the record that is printed, where times are wanted.
    log: Option<LogTime>,
}

#[derive(Debug)]
struct Batch {
    content: String,
    seq: Seq,
    wall: Wall,
    next: Cursor,
}

impl Writer {
    pub(super) fn new(session: Name, content: Content, after: Cursor, lines: Option<u64>) -> Writer {
        Writer { session, content, after, tail: lines.map(Tail::new), batch: None, chars: Chars::default(), log: None }
    }

    /// What is printed from here on was read at this time, and says so.
    pub(super) fn at(&mut self, log: LogTime) {
        self.log = Some(log);
    }

    /// What stood on the screen at the start.
    pub(super) fn before(&mut self, start: Cursor, before: Before, out: &mut Vec<Frame>) {
        let Before { drawn, at } = before;
        let content = match self.content {
            Content::Base64 => STANDARD.encode(drawn),
            Content::Chars => self.chars.push(start, &drawn).0,
            _ => return,
        };
        self.at(at.log);
        out.push(self.data(content, start.seq, at.wall, start));
    }

    /// A row, or what is new of it, that ends at `next`; `lf`: it is whole. It was read with record `seq`.
    pub(super) fn row(&mut self, next: Cursor, text: &str, lf: bool, seq: Seq, wall: Wall, out: &mut Vec<Frame>) {
        if next <= self.after {
            return;
        }
        let content = if lf { format!("{text}\n") } else { text.to_owned() };
        if !content.is_empty() {
            self.piece(Piece::Row { content, seq, wall, next }, out);
        }
    }

    /// Bytes as the program wrote them.
    pub(super) fn bytes(&mut self, at: Cursor, bytes: &Bytes, wall: Wall, out: &mut Vec<Frame>) {
        let known = match self.after.seq.cmp(&at.seq) {
            std::cmp::Ordering::Less => 0,
            std::cmp::Ordering::Equal => self.after.byte.saturating_sub(at.byte) as usize,
            std::cmp::Ordering::Greater => bytes.len(),
        };
        if known < bytes.len() && self.content != Content::None {
            self.piece(Piece::Bytes { at: after(at, known), bytes: bytes.slice(known..), wall }, out);
        }
    }

    /// An event; of one that stands before `after` the client knows.
    pub(super) fn event(&mut self, line: EventLine, out: &mut Vec<Frame>) {
        if Cursor::at(line.seq) >= self.after {
            self.piece(Piece::Event(line), out);
        }
    }

    /// The end of the log was reached: from here on everything is printed.
    pub(super) fn release(&mut self, out: &mut Vec<Frame>) {
        for piece in self.tail.take().map(Tail::into_pieces).unwrap_or_default() {
            self.put(piece, out);
        }
    }

    /// What is printed so far goes out, unless a later row, which comes at `later` at the least, may have the same place.
    pub(super) fn flush_before(&mut self, later: Cursor, out: &mut Vec<Frame>) {
        if self.batch.as_ref().is_some_and(|batch| batch.next < later) {
            self.flush(out);
        }
    }

    fn flush(&mut self, out: &mut Vec<Frame>) {
        if let Some(Batch { content, seq, wall, next, .. }) = self.batch.take() {
            out.push(self.data(content, seq, wall, next));
        }
    }

    /// The last frame before the end. `whole`: nothing can come after it. Where to go on, if it isn't at the end.
    pub(super) fn finish(&mut self, whole: bool, seq: Seq, wall: Wall, out: &mut Vec<Frame>) -> Option<Cursor> {
        self.release(out);
        self.flush(out);
        let held = self.chars.held()?;
        if !whole {
            return Some(held);
        }
        let content = self.chars.finish()?;
        let frame = self.data(content, seq, wall, Cursor::at(seq.next()));
        out.push(frame);
        None
    }

    fn piece(&mut self, piece: Piece, out: &mut Vec<Frame>) {
        match &mut self.tail {
            Some(tail) => tail.push(piece),
            None => self.put(piece, out),
        }
    }

    fn put(&mut self, piece: Piece, out: &mut Vec<Frame>) {
        match piece {
            Piece::Row { content, seq, wall, next } => self.batch(content, seq, wall, next, out),
            Piece::Bytes { at, bytes, wall } => {
                let (content, next) = match self.content {
                    Content::Raw | Content::Rows | Content::None => return out.push(Frame::Raw { at, bytes }),
                    Content::Base64 => (STANDARD.encode(&bytes), after(at, bytes.len())),
                    Content::Chars => self.chars.push(at, &bytes),
                };
                if !content.is_empty() {
                    let frame = self.data(content, at.seq, wall, next);
                    out.push(frame);
                }
            }
            Piece::Event(line) => {
                self.flush(out);
                out.push(Frame::Line(Line::Other(line)));
            }
        }
    }

    fn batch(&mut self, content: String, seq: Seq, wall: Wall, next: Cursor, out: &mut Vec<Frame>) {
        let full = |batch: &Batch| batch.next < next && (batch.seq != seq || batch.content.len() >= FRAME);
        if self.batch.as_ref().is_some_and(full) {
            self.flush(out);
        }
        match &mut self.batch {
            Some(batch) => {
                batch.content.push_str(&content);
                (batch.seq, batch.wall, batch.next) = (seq, wall, next);
            }
            None => self.batch = Some(Batch { content, seq, wall, next }),
        }
    }

    fn data(&self, content: String, seq: Seq, wall: Wall, next: Cursor) -> Frame {
        let ts = timestamp(wall);
        Frame::Line(Line::Data(DataLine {
            ts,
            session: self.session.clone(),
            seq,
            content,
            next: Some(next),
            log: self.log,
        }))
    }
}
