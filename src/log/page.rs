//! A page of one session's records, filled from segments in order.

use super::{
    StoreDown, cost, disk,
    frame::{Decoder, Head},
    key::{FrameKey, session_end},
    sled::Table,
};
use crate::model::{Record, Seq, SessionId};

pub(super) struct Page {
    id: SessionId,
    /// The least number wanted next: nothing below is taken, so nothing comes twice.
    next: Seq,
    budget: usize,
    bytes: usize,
    records: Vec<Record>,
    decoder: Decoder,
}

/// A record that comes in parts, and the part that has to follow.
struct Joining {
    record: Record,
    body: Vec<u8>,
    part: u32,
}

impl Page {
    pub(super) fn new(id: SessionId, from: Seq, budget: usize) -> Page {
        Page { id, next: from, budget, bytes: 0, records: Vec::new(), decoder: Decoder::new() }
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= self.budget && !self.records.is_empty()
    }

    pub(super) fn into_records(self) -> Vec<Record> {
        self.records
    }

    /// Takes what a segment has.
    pub(super) fn fill(&mut self, table: &Table) -> Result<(), StoreDown> {
        let damaged = |at: FrameKey, why: &str| {
            let FrameKey { id, seq, part } = at;
            disk::down(table.dir(), format!("damaged at record {} (part {part}) of session {id}: {why}", seq.0))
        };
        let start = self.first_frame(table)?;
        let mut joining: Option<Joining> = None;
        for entry in table.range(start.bytes().to_vec()..=session_end(self.id)) {
            let (key, frame) = entry?;
            let at =
                FrameKey::parse(&key).ok_or_else(|| disk::down(table.dir(), "damaged: a key isn't one of a frame"))?;
            if joining.is_none() && self.is_full() {
                break;
            }
            let (head, records) = self.decoder.decode(&frame).map_err(|e| damaged(at, &e.to_string()))?;
            if (head.first, head.part) != (at.seq, at.part) {
                return Err(damaged(at, "key and frame differ"));
            }
            match (&mut joining, records.first()) {
                (Some(open), Some(more)) if at.part == open.part && at.seq == open.record.seq => {
                    open.body.extend_from_slice(&more.body);
                    open.part += 1;
                }
                (Some(_), _) => return Err(damaged(at, "a part is missing before it")),
                (None, Some(_)) if at.part > 0 => return Err(damaged(at, "its first part is missing")),
                (None, Some(first)) if head.goes_on => {
                    joining = Some(Joining { record: first.clone(), body: first.body.to_vec(), part: 1 });
                }
                (None, _) => records.into_iter().for_each(|record| self.take(record)),
            }
            if let Some(whole) = joining.take_if(|_| !head.goes_on) {
                self.take(Record { body: whole.body.into(), ..whole.record });
            }
        }
        match joining {
            Some(open) => {
                Err(damaged(FrameKey { id: self.id, seq: open.record.seq, part: open.part }, "it is missing"))
            }
            None => Ok(()),
        }
    }

    fn take(&mut self, record: Record) {
        if record.seq >= self.next && !self.is_full() {
            self.next = record.seq.next();
            self.bytes += cost(&record);
            self.records.push(record);
        }
    }

    /// The frame that holds the wanted record, or the next after it.
    fn first_frame(&self, table: &Table) -> Result<FrameKey, StoreDown> {
        let wanted = FrameKey { id: self.id, seq: self.next, part: 0 };
        let above = FrameKey { part: 1, ..wanted }.bytes();
        let Some((key, frame)) = table.before(&above)? else { return Ok(wanted) };
        let Some(at) = FrameKey::parse(&key).filter(|at| at.id == self.id && at.part == 0) else { return Ok(wanted) };
        let last = Head::read(&frame).map_err(|e| disk::down(table.dir(), e))?.last;
        Ok(if last >= self.next { at } else { wanted })
    }
}
