//! A terminal that is fed from a session's log, record by record, and the keyframes that spare reading it all again.
//!
//! Blocking where the store is read: for blocking threads, but for [`Picture::take`]. It must never write to the log or to
//! a PTY. Keyframes are derived data: one that is missing, damaged or of another version is passed over.

use super::view::{LogView, Unreadable};
use crate::log::{Meta, MetaBatch, Writer};
use crate::model::{Cursor, Event, KIB, Kind, LogTime, MIB, Record, Seq, Size};
use crate::terminal::Vt;
use crate::wire::{Screen, ScreenCursor};
use serde::{Deserialize, Serialize};

/// A screen that goes on with the log.
pub struct Picture {
    vt: Vt,
    size: Size,
    run: u32,
    next: Seq,
    /// Bytes since the last keyframe.
    fresh: usize,
    answers: Vec<Answer>,
}

/// What the terminal says to a program that asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The output that asked.
    pub of: Seq,
    /// What is to be typed.
    pub text: String,
}

/// What redraws a session's screen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Redrawn {
    /// For a terminal of this size: clears it, and brings it to the state of the session's.
    pub bytes: Vec<u8>,
    /// The terminal's.
    pub size: Size,
    /// The first byte that isn't in it: reading goes on here.
    pub next: Cursor,
    /// The newest run in it.
    pub run: u32,
}

/// The log is read in pages of so many bytes.
const PAGE: usize = MIB;
/// A keyframe after so many bytes that were read: they feed in some 100 ms.
const KEYFRAME_EACH: usize = 16 * MIB;
/// Keyframes of one session; of more, every other one goes: older ones lie further apart.
const KEYFRAMES: usize = 32;
/// A larger one isn't kept: a common one has 5 KiB.
const KEYFRAME_BYTES: usize = 256 * KIB;
/// Less than this isn't worth a keyframe: it is read in a moment.
const WORTH_A_KEYFRAME: usize = 256 * KIB;
/// Answers that wait to be fetched; the oldest go first. A program asks a handful at once.
const ANSWERS: usize = 64;

#[derive(Serialize, Deserialize)]
struct Head {
    v: u32,
    seq: Seq,
    run: u32,
    size: Size,
}

const VERSION: u32 = 1;

impl Picture {
    /// Blank, before record `from`.
    pub fn blank(from: Seq, size: Size) -> Picture {
        Picture { vt: Vt::new(size), size, run: 0, next: from, fresh: 0, answers: Vec::new() }
    }

    /// From the newest keyframe up to record `upto`, else blank before record `from`. Blocking.
    pub fn nearest(meta: &Meta, view: &LogView, from: Seq, upto: Seq, size: Size) -> Picture {
        let kept = match meta.keyframe(view.id(), upto) {
            Ok(kept) => kept,
            Err(e) => {
                tracing::debug!(error = %e, "a keyframe can't be read: the log is");
                None
            }
        };
        kept.and_then(|frame| Picture::load(&frame))
            .filter(|picture| picture.next >= from)
            .unwrap_or_else(|| Picture::blank(from, size))
    }

    fn load(frame: &[u8]) -> Option<Picture> {
        let end = memchr::memchr(b'\n', frame)?;
        let head: Head = serde_json::from_slice(&frame[..end]).ok().filter(|head: &Head| head.v == VERSION)?;
        let mut vt = Vt::new(head.size);
        vt.feed(LogTime::default(), &frame[end + 1..]);
        vt.answers();
        Some(Picture { vt, size: head.size, run: head.run, next: head.seq.next(), fresh: 0, answers: Vec::new() })
    }

    /// The screen as it stands, with its place.
    fn keyframe(&mut self) -> Option<(Seq, Vec<u8>)> {
        let seq = self.last();
        let head = Head { v: VERSION, seq, run: self.run, size: self.size };
        let mut frame = serde_json::to_vec(&head).ok()?;
        frame.push(b'\n');
        frame.extend_from_slice(&self.vt.dump());
        (frame.len() <= KEYFRAME_BYTES).then_some((seq, frame))
    }

    /// The first record that isn't in it.
    pub fn next(&self) -> Seq {
        self.next
    }

    /// The last record in it.
    pub fn last(&self) -> Seq {
        Seq(self.next.0.saturating_sub(1))
    }

    /// Takes the next record.
    pub fn take(&mut self, record: &Record) {
        self.take_until(record, record.body.len());
    }

    /// Takes the next record, of output only the first bytes.
    fn take_until(&mut self, record: &Record, byte: usize) {
        self.next = record.seq.next();
        if record.kind == Kind::Output {
            let body = &record.body[..byte.min(record.body.len())];
            self.vt.feed(record.at.log, body);
            self.fresh += body.len();
            self.answers.extend(self.vt.answers().into_iter().map(|text| Answer { of: record.seq, text }));
            self.answers.drain(..self.answers.len().saturating_sub(ANSWERS));
            return;
        }
        match record.event() {
            Ok(Event::Starting { run, size }) => {
                (self.vt, self.size, self.run) = (Vt::new(size), size, run);
                self.answers.clear();
            }
            Ok(Event::Resize(size)) => {
                self.size = size;
                self.vt.resize(size);
            }
            _ => {} // nothing that is seen; or of a newer version
        }
    }

    /// Reads on until record `upto` is in it, and saves keyframes on the way. Blocking.
    pub fn read_on(&mut self, view: &LogView, upto: Seq, keep: &Keep) -> Result<(), Unreadable> {
        while self.next <= upto {
            let page = view.read(self.next, PAGE)?;
            if page.is_empty() {
                break; // lost: a gap says so
            }
            for record in page.iter().take_while(|record| record.seq <= upto) {
                self.take(record);
            }
            if page.first().is_some_and(|record| record.seq > upto) {
                break;
            }
            if self.fresh >= KEYFRAME_EACH {
                self.save(view, keep);
            }
        }
        Ok(())
    }

    /// Reads on to a place: whole records before it, and of its own record the bytes before it. Blocking.
    pub fn read_on_to(&mut self, view: &LogView, place: Cursor, keep: &Keep) -> Result<(), Unreadable> {
        self.read_on(view, Seq(place.seq.0.saturating_sub(1)), keep)?;
        if place.byte > 0
            && let Some(record) = view.one(place.seq)?
        {
            self.take_until(&record, place.byte as usize);
        }
        Ok(())
    }

    /// Keeps a keyframe, when enough was read since the last one. Blocking.
    pub fn save_if_worth_it(&mut self, view: &LogView, keep: &Keep) {
        if self.fresh >= WORTH_A_KEYFRAME {
            self.save(view, keep);
        }
    }

    fn save(&mut self, view: &LogView, keep: &Keep) {
        self.fresh = 0;
        if view.feed().is_closed() {
            return; // the session is removed: nothing of it is kept
        }
        let Some((seq, frame)) = self.keyframe() else { return };
        let id = view.id();
        let mut batch = MetaBatch::new().put_keyframe(id, seq, &frame);
        let kept = keep.meta.keyframes(id).unwrap_or_default();
        if kept.len() >= KEYFRAMES {
            batch = kept.iter().step_by(2).fold(batch, |batch, seq| batch.drop_keyframe(id, *seq));
        }
        if !keep.writer.offer(batch) {
            tracing::debug!("a keyframe was not saved: the writer is busy");
        }
    }

    /// Time has come to `now`, and nothing more was written.
    pub fn settle(&mut self, now: LogTime) {
        self.vt.settle(now);
    }

    /// As users see it.
    pub fn screen(&mut self) -> Screen {
        let shown = self.vt.shown();
        Screen {
            cols: shown.cols,
            rows: shown.rows,
            cursor: ScreenCursor { x: shown.x, y: shown.y, visible: shown.visible },
            title: shown.title,
            alternate: shown.alternate,
            lines: shown.lines,
            seq: self.last().0,
        }
    }

    /// The rows with their colours.
    pub fn painted(&mut self) -> Vec<u8> {
        self.vt.painted()
    }

    /// For a terminal that wants to go on from here.
    pub fn redrawn(&mut self) -> Redrawn {
        Redrawn { bytes: self.vt.dump(), size: self.size, next: Cursor::at(self.next), run: self.run }
    }

    /// What was to be answered since the last call.
    pub fn answers(&mut self) -> Vec<Answer> {
        std::mem::take(&mut self.answers)
    }
}

/// Where keyframes are kept.
#[derive(Clone)]
pub struct Keep {
    /// Read directly.
    pub meta: std::sync::Arc<Meta>,
    /// Written by the writer alone.
    pub writer: Writer,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Stamp;

    const SIZE: Size = Size { cols: 20, rows: 4 };

    fn record(seq: u64, event: Event) -> Record {
        let (kind, body) = event.encode();
        Record { seq: Seq(seq), kind, at: Stamp::default(), body }
    }

    fn output(seq: u64, text: &str) -> Record {
        record(seq, Event::Output(text.as_bytes().to_vec().into()))
    }

    fn story() -> Vec<Record> {
        let small = Size { cols: 10, rows: 3 };
        vec![
            record(1, Event::Starting { run: 1, size: SIZE }),
            output(2, "\x1b]0;one\x07first run \x1b[6n"),
            record(3, Event::Starting { run: 2, size: SIZE }),
            output(4, "a \x1b[31mred\x1b["),
            output(5, "m word\r\n\x1b[6n\x1b[c"),
            record(6, Event::Resize(small)),
            output(9, "\x1b[?1049h\x1b[2;2Hfull"),
        ]
    }

    #[test]
    fn it_follows_the_log() {
        let mut picture = Picture::blank(Seq(1), SIZE);
        let mut seen = Vec::new();
        for record in story() {
            picture.take(&record);
            let screen = picture.screen();
            seen.push((screen.seq, screen.cols, screen.title.clone(), screen.text()));
        }
        let text = |i: usize| seen[i].3.as_str();
        assert_eq!((text(1), text(2), text(3), text(4)), ("first run\n", "", "a red\n", "a red word\n"));
        assert_eq!((seen[1].2.as_str(), seen[2].2.as_str()), ("one", ""));
        assert_eq!((seen[5].1, seen[6].0, text(6)), (10, 9, "\n full\n"));
        let answers = picture.answers();
        let texts: Vec<_> = answers.iter().map(|a| (a.of.0, a.text.as_str())).collect();
        assert_eq!(texts, [(5, "\x1b[2;1R"), (5, "\x1b[?6c")], "a run's questions end with it");
        assert_eq!(picture.redrawn().next, Cursor::at(Seq(10)));
    }

    #[test]
    fn a_keyframe_goes_on_as_if_all_had_been_read() {
        let story = story();
        for cut in 0..=story.len() {
            let mut whole = Picture::blank(Seq(1), SIZE);
            story[..cut].iter().for_each(|r| whole.take(r));
            let (seq, frame) = whole.keyframe().unwrap();
            let mut later = Picture::load(&frame).unwrap();
            assert_eq!((later.next(), seq), (whole.next(), whole.last()));
            story[cut..].iter().for_each(|r| {
                whole.take(r);
                later.take(r);
            });
            assert_eq!(whole.screen(), later.screen());
            assert_eq!(whole.redrawn(), later.redrawn());
        }
        for damaged in ["", "{}\n", "{\"v\":2,\"seq\":1,\"run\":1,\"size\":{\"cols\":1,\"rows\":1}}\nx"] {
            assert!(Picture::load(damaged.as_bytes()).is_none());
        }
    }
}
