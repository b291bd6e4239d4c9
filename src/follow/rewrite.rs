//! A screen that is wiped and written anew, the whole transcript with it: what stands above the turn's text is old.
//!
//! Some agents clear terminal and scrollback and print all that was ever said whenever they can't repaint in place. An answer
//! of an earlier turn comes by again then, and looks new. So rows that follow a wipe are kept back until the burst is over,
//! and those above the last place where the turn's own text begins are dropped. Pure: rows and log time in, rows out. It must
//! never keep rows for long, nor drop one where the turn's text isn't shown again.

use crate::{
    model::{Cursor, LogTime},
    stop::{Input, TurnText},
    terminal::{Row, RowEvent, SETTLE},
};
use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

/// A burst ends after so long at the latest: a program that never pauses is believed then. Twice what the longest transcript
/// takes that was seen.
const BURST: Duration = Duration::from_secs(1);
/// Bytes of rows that are kept back at most; with more the burst ends. 4 MiB: a transcript of 50,000 rows.
const KEPT: usize = 4 * crate::model::MIB;
/// Old rows that are remembered by their number, so that they aren't new when they scroll off. As many as the tallest
/// screen has.
const OLD: usize = 1000;

/// Rows, each with the log time at which it came.
pub(super) type Rows = Vec<(RowEvent, LogTime)>;

/// What is kept back, and what was dropped.
#[derive(Debug, Default)]
pub(super) struct Rewrite {
    turn: Option<TurnText>,
    burst: Option<Burst>,
    old: HashMap<u64, String>,
    oldest: VecDeque<u64>,
}

#[derive(Debug)]
struct Burst {
    since: LogTime,
    last: LogTime,
    rows: Rows,
    bytes: usize,
    /// Where the first row ends that is final.
    first: Option<Cursor>,
}

impl Rewrite {
    /// What the turn typed that the reading starts from. Without it nothing is kept back.
    pub(super) fn typed(&mut self, input: &Input) {
        self.turn = TurnText::new(input);
    }

    /// Output came at `now`: what it wrote may not be judged before the screen is quiet.
    pub(super) fn output(&mut self, now: LogTime) {
        if let Some(burst) = &mut self.burst {
            burst.last = now;
        }
    }

    /// Rows that came at `now`; returns those whose time has come.
    pub(super) fn rows(&mut self, rows: Vec<RowEvent>, now: LogTime) -> Rows {
        let mut out = Rows::new();
        for event in rows {
            let row = match &event {
                RowEvent::Wiped => {
                    out.extend(self.release());
                    self.burst = self.turn.as_ref().map(|_| Burst::new(now, now));
                    continue;
                }
                RowEvent::Judged(row) | RowEvent::Final(row) => row,
            };
            if self.is_old(row) {
                continue;
            }
            match &mut self.burst {
                None => out.push((event, now)),
                Some(burst) => {
                    (burst.last, burst.bytes) = (now, burst.bytes + row.text.len());
                    if matches!(event, RowEvent::Final(_)) {
                        burst.first.get_or_insert(row.end);
                    }
                    burst.rows.push((event, now));
                    if burst.bytes > KEPT {
                        out.extend(self.release());
                    }
                }
            }
        }
        out
    }

    /// When the burst is over, if nothing else comes.
    pub(super) fn deadline(&self) -> Option<LogTime> {
        let burst = self.burst.as_ref()?;
        Some(burst.last.after(SETTLE).min(burst.since.after(BURST)))
    }

    /// Where the first row ends that may still be printed.
    pub(super) fn first_end(&self) -> Option<Cursor> {
        self.burst.as_ref()?.first
    }

    /// The burst is over: what of it is new, if the turn's text tells, else all of it.
    pub(super) fn release(&mut self) -> Rows {
        let Some(Burst { mut rows, .. }) = self.burst.take() else { return Rows::new() };
        let shown = self.turn.as_ref().and_then(|turn| rows.iter().rposition(|(event, _)| event.is_row(turn)));
        let new = rows.split_off(shown.unwrap_or(0));
        for (event, _) in rows {
            if let RowEvent::Judged(row) | RowEvent::Final(row) = event {
                self.remember(row);
            }
        }
        new
    }

    /// The program gets the turn's text: what it has written anew up to here was old, but it may not be through.
    pub(super) fn enter(&mut self) -> Rows {
        let goes_on = self.burst.as_ref().map(|burst| Burst::new(burst.since, burst.last));
        let rows = self.release();
        self.burst = goes_on;
        rows
    }

    /// Rows are numbered afresh.
    pub(super) fn new_rows(&mut self) {
        self.old.clear();
        self.oldest.clear();
    }

    /// Leaves out what was dropped before.
    pub(super) fn is_old(&self, row: &Row) -> bool {
        self.old.get(&row.id).is_some_and(|text| *text == row.text)
    }

    fn remember(&mut self, row: Row) {
        if self.old.insert(row.id, row.text).is_none() {
            self.oldest.push_back(row.id);
        }
        if self.oldest.len() > OLD
            && let Some(id) = self.oldest.pop_front()
        {
            self.old.remove(&id);
        }
    }
}

impl Burst {
    fn new(since: LogTime, last: LogTime) -> Burst {
        Burst { since, last, rows: Rows::new(), bytes: 0, first: None }
    }
}

impl RowEvent {
    fn is_row(&self, turn: &TurnText) -> bool {
        matches!(self, RowEvent::Judged(row) | RowEvent::Final(row) if turn.begins_in(&row.text))
    }
}
