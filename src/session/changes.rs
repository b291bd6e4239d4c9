//! What happened to sessions lately, for those who watch all of them.
//!
//! The truth is in the logs; this is the newest of it, a bounded ring that is empty when a host starts. Actors note changes
//! as they put them into a log, which never waits; readers pull, at their own pace. A reader whose place has gone out of the
//! ring has to look at how sessions stand and go on from there.

use super::clock::wall_now;
use crate::model::{Event, Name, Seq, SessionId, Size, Status, Wall};
use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::watch;

/// Changes that are kept: some 500 KiB; what a hundred busy sessions do in some minutes.
const KEPT: usize = 4096;

/// Characters of a sender's name or a reason that are kept: the longest session name fits, and a path of some depth.
const TEXT: usize = 256;

/// The ring. One of a host.
pub struct Changes {
    kept: Mutex<Kept>,
    newest: watch::Sender<u64>,
}

#[derive(Default)]
struct Kept {
    changes: VecDeque<Noted>,
    /// How many there ever were: the number of the newest.
    count: u64,
}

/// A change.
#[derive(Clone, Debug)]
pub struct Noted {
    /// From 1, without holes, in this host.
    pub n: u64,
    /// Whose.
    pub session: Name,
    /// The session behind the name.
    pub id: SessionId,
    /// Its record; the newest one where it has none of its own.
    pub seq: Seq,
    /// When.
    pub wall: Wall,
    /// What.
    pub what: What,
}

/// What changed.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "as in the events of the log")]
pub enum What {
    Created,
    Starting { run: u32, size: Size },
    Started { run: u32, pid: u32 },
    Resized(Size),
    Turn { turn: u64, from: String },
    Exited { run: u32, status: Status, last: bool },
    Restarting { run: u32, after: Duration },
    Hung { run: u32, quiet: Duration },
    Failed { reason: String },
    Removed,
}

impl What {
    /// The change that an event of a log is, if it is one.
    pub(super) fn of(event: &Event) -> Option<What> {
        Some(match event {
            Event::Starting { run, size } => What::Starting { run: *run, size: *size },
            Event::Started { run, pid, .. } => What::Started { run: *run, pid: *pid },
            Event::Resize(size) => What::Resized(*size),
            Event::Input { turn: Some(turn), part: (0, _), from, .. } => What::Turn { turn: *turn, from: cut(from) },
            Event::Exited { run, status, last } => What::Exited { run: *run, status: *status, last: *last },
            Event::Restarting { run, after } => What::Restarting { run: *run, after: *after },
            Event::Hung { run, quiet } => What::Hung { run: *run, quiet: *quiet },
            _ => return None,
        })
    }
}

/// As much of a text as is kept: a caller may give itself any name.
pub(super) fn cut(text: &str) -> String {
    text.chars().take(TEXT).collect()
}

impl Default for Changes {
    fn default() -> Self {
        Changes { kept: Mutex::default(), newest: watch::Sender::new(0) }
    }
}

impl Changes {
    /// Adds a change; the oldest goes when there are too many. Never waits for a reader.
    pub fn note(&self, session: &Name, id: SessionId, seq: Seq, what: What) {
        let n = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.count += 1;
            let n = kept.count;
            if kept.changes.len() == KEPT {
                kept.changes.pop_front();
            }
            kept.changes.push_back(Noted { n, session: session.clone(), id, seq, wall: wall_now(), what });
            n
        };
        self.newest.send_if_modified(|newest| std::mem::replace(newest, n.max(*newest)) < n);
    }

    /// Changes after number `after`, at most `most`; nothing at all where some of them are gone, or it names one to come.
    pub fn read(&self, after: u64, most: usize) -> Option<Vec<Noted>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = usize::try_from(kept.count.checked_sub(after)?).ok()?;
        let start = kept.changes.len().checked_sub(missing)?;
        Some(kept.changes.range(start..).take(most).cloned().collect())
    }

    /// The number of the newest change, and word of new ones.
    pub fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_goes_on_where_it_was_or_is_told_that_it_cannot() {
        let changes = Changes::default();
        let name: Name = "a".parse().unwrap();
        let numbers =
            |after, most| changes.read(after, most).map(|found| found.iter().map(|c| c.n).collect::<Vec<_>>());
        assert_eq!(numbers(0, 9), Some(vec![]));
        assert_eq!(numbers(1, 9), None);
        for _ in 0..3 {
            changes.note(&name, SessionId([1; 16]), Seq(1), What::Created);
        }
        assert_eq!(numbers(0, 2), Some(vec![1, 2]));
        assert_eq!((numbers(2, 9), numbers(3, 9), numbers(4, 9)), (Some(vec![3]), Some(vec![]), None));
        for _ in 0..KEPT {
            changes.note(&name, SessionId([1; 16]), Seq(1), What::Removed);
        }
        assert_eq!((numbers(2, 1), numbers(3, 1)), (None, Some(vec![4])));
        assert_eq!(*changes.newest().borrow(), 3 + KEPT as u64);
    }
}
