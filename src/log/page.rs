//! A page of one session's records, filled from segments in order.
//!
//! Every frame says which record stood before it: a record that should be there and isn't becomes part of a `gap` record,
//! made here, never a silent hole. Such a gap has the number of the last record that is lost, and the time of the record
//! that follows it. It must never hand out a record twice, out of order, or of a frame whose checksum differs.

use super::{
    StoreDown, cost, disk,
    frame::{Decoder, FrameError, Head},
    key::FrameKey,
    retention::Taken,
    segment::Segment,
};
use crate::model::{Event, GapReason, Record, Seq, SessionId, Stamp};

pub(super) struct Page {
    id: SessionId,
    /// The least number wanted next: nothing below is taken, so nothing comes twice.
    next: Seq,
    budget: usize,
    bytes: usize,
    records: Vec<Record>,
    /// Places of the gaps made here.
    gaps: Vec<usize>,
    taken: Option<Taken>,
    decoder: Decoder,
}

/// A record that comes in parts, and the part that has to follow.
struct Joining {
    record: Record,
    body: Vec<u8>,
    part: u32,
}

/// Where a page stood, to be gone back to.
#[derive(Clone, Copy)]
pub(super) struct Place {
    next: Seq,
    bytes: usize,
    records: usize,
    gaps: usize,
}

impl Page {
    /// Begins with a gap where retention took what is asked for.
    pub(super) fn new(id: SessionId, from: Seq, budget: usize, taken: Option<Taken>) -> Page {
        let (records, gaps) = (Vec::new(), Vec::new());
        let next = from.max(Seq(1)); // the first there can be
        let mut page = Page { id, next, budget, bytes: 0, records, gaps, taken, decoder: Decoder::new() };
        if let Some(taken) = taken.filter(|taken| from <= taken.upto) {
            page.gap(taken.upto);
        }
        page
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= self.budget && !self.records.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(super) fn place(&self) -> Place {
        Place { next: self.next, bytes: self.bytes, records: self.records.len(), gaps: self.gaps.len() }
    }

    pub(super) fn go_back(&mut self, place: Place) {
        (self.next, self.bytes) = (place.next, place.bytes);
        self.records.truncate(place.records);
        self.gaps.truncate(place.gaps);
    }

    /// The records; gaps with the time of what follows, else of what stood before, else of when they were made.
    pub(super) fn into_records(mut self) -> Vec<Record> {
        for at in self.gaps.into_iter().rev() {
            let neighbour = self.records.get(at + 1).or_else(|| self.records.get(at.checked_sub(1)?));
            let known = neighbour.map(|r| r.at).or(self.taken.map(|t| Stamp { wall: t.at, ..Stamp::default() }));
            self.records[at].at = known.unwrap_or_default();
        }
        self.records
    }

    /// Takes what a segment has, up to the session's last record in it. False when something is missing: gaps were made.
    pub(super) fn fill(&mut self, segment: &Segment, last: Seq) -> Result<bool, StoreDown> {
        let start = self.first_frame(segment)?;
        let mut joining: Option<Joining> = None;
        let mut whole = true;
        for entry in segment.range(start) {
            let (at, frame) = entry?;
            if at.id != self.id || at.seq > last {
                break; // what is being appended just now comes with the next look, whole
            }
            if joining.is_none() && self.is_full() {
                return Ok(whole);
            }
            let Some((head, records)) = self.read(segment, at, &frame)? else {
                (whole, joining) = (false, None);
                continue;
            };
            if let Some(open) = joining.as_mut().filter(|open| at.seq == open.record.seq && at.part == open.part) {
                records.iter().take(1).for_each(|more| open.body.extend_from_slice(&more.body));
                open.part += 1;
                if let Some(done) = joining.take_if(|_| !head.goes_on) {
                    self.take(Record { body: done.body.into(), ..done.record });
                    self.pass(head.last);
                }
                continue;
            }
            whole &= joining.take().is_none() && at.part == 0;
            if at.part > 0 {
                continue; // its first part is missing
            }
            let before = head.before.or((!whole).then(|| Seq(at.seq.0.saturating_sub(1))));
            if let Some(before) = before.filter(|before| *before >= self.next) {
                whole = false;
                self.gap(before);
            }
            match records.first() {
                Some(first) if head.goes_on => {
                    joining = Some(Joining { record: first.clone(), body: first.body.to_vec(), part: 1 });
                }
                _ => {
                    records.into_iter().for_each(|record| self.take(record));
                    self.pass(head.last);
                }
            }
        }
        if !self.is_full() && last >= self.next {
            whole = false;
            self.gap(last);
        }
        Ok(whole)
    }

    /// What a frame says and its records; nothing when it is damaged.
    fn read(
        &mut self,
        segment: &Segment,
        at: FrameKey,
        frame: &[u8],
    ) -> Result<Option<(Head, Vec<Record>)>, StoreDown> {
        match self.decoder.decode(frame) {
            Ok((head, records)) => {
                let belongs = (head.first, head.part) == (at.seq, at.part) && head.id.is_none_or(|id| id == at.id);
                Ok(belongs.then_some((head, records)))
            }
            Err(FrameError::Damaged(_)) => Ok(None),
            Err(newer) => Err(disk::down(segment.dir(), newer)),
        }
    }

    fn take(&mut self, record: Record) {
        if record.seq >= self.next && !self.is_full() {
            self.next = record.seq.next();
            self.bytes += cost(&record);
            self.records.push(record);
        }
    }

    /// A frame up to `last` was read; records of kinds this code doesn't know don't count as lost.
    fn pass(&mut self, last: Seq) {
        if !self.is_full() {
            self.next = self.next.max(last.next());
        }
    }

    /// All from the wanted record to `to` are lost. Costs nothing, so that what follows it comes with it.
    fn gap(&mut self, to: Seq) {
        if self.is_full() {
            return;
        }
        let by_retention = self.taken.is_some_and(|taken| to <= taken.upto);
        let reason = if by_retention { GapReason::Retention } else { GapReason::Corrupt };
        let (kind, body) = Event::Gap { from: self.next, to, reason }.encode();
        self.gaps.push(self.records.len());
        self.records.push(Record { seq: to, kind, at: Stamp::default(), body });
        self.next = to.next();
    }

    /// The frame that holds the wanted record, or the next after it.
    fn first_frame(&self, segment: &Segment) -> Result<FrameKey, StoreDown> {
        let wanted = FrameKey { id: self.id, seq: self.next, part: 0 };
        let before = segment.before(FrameKey { part: 1, ..wanted })?;
        let Some((at, last)) = before.filter(|(at, _)| at.id == self.id && at.part == 0) else { return Ok(wanted) };
        Ok(if last.is_some_and(|last| last < self.next) { wanted } else { at })
    }
}
