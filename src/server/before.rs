//! What stood on a session's screen where a replay of a part of its log begins.
//!
//! Blocking: the run is read from its beginning, which is looked for backwards. Nothing but the log is asked, so the same
//! place gives the same screen.

use super::failed;
use super::resolve::Ground;
use crate::follow::Before;
use crate::model::{Cursor, Event, GapReason, Kind, MIB, Record, Seq, Size};
use crate::terminal::Vt;
use crate::wire::ApiError;

/// A page of the log.
const PAGE: usize = MIB;
/// Records that are looked through at once, backwards: some 16 MiB of a flood, a day of an agent.
const BACK: u64 = 4096;

/// The terminal's size at a place, and what draws its screen; nothing where it is blank.
pub(super) fn before(ground: &Ground, at: Cursor) -> Result<(Size, Option<Before>), ApiError> {
    let mut size = ground.snapshot.summary.size;
    let mut next = run_start(ground, at)?;
    let (mut vt, mut stamp, mut is_blank) = (Vt::new(size), None, true);
    while next <= at.seq && stamp.is_none() {
        let page = ground.view.read(next, PAGE).map_err(failed)?;
        let Some(last) = page.last() else { break };
        next = last.seq.next();
        for record in &page {
            let upto = if record.seq < at.seq { record.body.len() } else { at.byte as usize };
            if record.seq >= at.seq {
                stamp = Some(record.at); // the replay begins with this one
            }
            if record.seq > at.seq || (record.seq == at.seq && at.byte == 0) {
                break;
            }
            is_blank &= !take(&mut vt, &mut size, record, upto);
        }
    }
    let drawn = stamp.filter(|_| !is_blank).map(|at| Before { drawn: vt.dump(), at });
    Ok((size, drawn))
}

/// Shows a record to the screen, of output only the first bytes. True for output.
fn take(vt: &mut Vt, size: &mut Size, record: &Record, upto: usize) -> bool {
    if record.kind == Kind::Output {
        vt.feed(record.at.log, &record.body[..upto.min(record.body.len())]);
        vt.answers(); // they were given once
        return true;
    }
    match record.event() {
        Ok(Event::Starting { size: new, .. }) => (*vt, *size) = (Vt::new(new), new),
        Ok(Event::Resize(new)) => {
            *size = new;
            vt.resize(new);
        }
        _ => {}
    }
    false
}

/// The record with which the run began that a place lies in.
fn run_start(ground: &Ground, at: Cursor) -> Result<Seq, ApiError> {
    let newest = ground.snapshot.summary.run_start;
    if newest <= at.seq {
        return Ok(newest);
    }
    let mut end = at.seq.0.saturating_add(1);
    while end > 1 {
        let mut begin = end.saturating_sub(BACK).max(1);
        let (mut next, mut found) = (begin, None);
        while next < end {
            let page = ground.view.read(Seq(next), PAGE).map_err(failed)?;
            match page.first().map(Record::event) {
                Some(Ok(Event::Gap { reason: GapReason::Retention, .. })) => return Ok(Seq(next)), // nothing stands before
                Some(Ok(Event::Gap { from, .. })) if next == begin => begin = begin.min(from.0),
                _ => {}
            }
            let starts = page.iter().filter(|record| record.seq.0 < end && record.kind == Kind::Starting);
            found = starts.last().map(|record| record.seq).or(found);
            next = page.last().map_or(end, |last| last.seq.0 + 1);
        }
        if let Some(found) = found {
            return Ok(found);
        }
        end = begin;
    }
    Ok(Seq(1))
}
