//! Open segments: the newest, and a few older ones for readers.
//!
//! The writer never waits here for a segment that is being opened for a reader.

use super::{
    Options, lock,
    segment::Segment,
    sled::{Closed, Table},
};
use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Arc, Mutex},
};

pub(super) struct Shelf {
    folder: PathBuf,
    /// Of an older segment that sled has to read.
    cache_bytes: u64,
    options: Options,
    open: Mutex<Open>,
    /// Held while an older segment is opened or swapped, which may take seconds.
    opening: Mutex<()>,
}

struct Open {
    newest: (u64, Arc<Table>),
    /// Least recently used first.
    older: VecDeque<(u64, Segment)>,
}

impl Shelf {
    pub(super) fn new(folder: PathBuf, n: u64, newest: Table, cache_bytes: u64, options: Options) -> Shelf {
        let open = Open { newest: (n, Arc::new(newest)), older: VecDeque::new() };
        Shelf { folder, cache_bytes, options, open: Mutex::new(open), opening: Mutex::new(()) }
    }

    pub(super) fn dir(&self, n: u64) -> PathBuf {
        self.folder.join(n.to_string())
    }

    pub(super) fn newest(&self) -> (u64, Arc<Table>) {
        lock(&self.open).newest.clone()
    }

    /// Puts a new segment in the place of the newest.
    pub(super) fn roll(&self, n: u64, table: Table) -> Arc<Table> {
        let table = Arc::new(table);
        let before = std::mem::replace(&mut lock(&self.open).newest, (n, table.clone()));
        drop(before); // closes a table: not under the lock
        table
    }

    /// Changes an older segment's folder for another one, or for none. Nobody has it open then but who had it before, and nobody
    /// opens it, or writes beside it what was true of the one before.
    pub(super) fn swap<T>(&self, n: u64, change: impl FnOnce() -> T) -> T {
        let _nobody_opens = lock(&self.opening);
        let mut open = lock(&self.open);
        let gone = open.older.iter().position(|(m, _)| *m == n).and_then(|at| open.older.remove(at));
        drop(open);
        drop(gone); // closes a table: not under the lock
        change()
    }

    /// A segment by number, opened if it isn't.
    pub(super) fn get(&self, n: u64) -> Result<Segment, Closed> {
        if let Some(segment) = lock(&self.open).find(n) {
            return Ok(segment);
        }
        let _one_at_a_time = lock(&self.opening);
        if let Some(segment) = lock(&self.open).find(n) {
            return Ok(segment);
        }
        let segment = Segment::open(&self.dir(n), self.cache_bytes, &self.options)?;
        let mut open = lock(&self.open);
        open.older.push_back((n, segment.clone()));
        let evicted = if open.older.len() > self.options.open_older.max(1) { open.older.pop_front() } else { None };
        drop(open);
        drop(evicted);
        Ok(segment)
    }
}

impl Open {
    fn find(&mut self, n: u64) -> Option<Segment> {
        if self.newest.0 == n {
            return Some(Segment::Table(self.newest.1.clone()));
        }
        let at = self.older.iter().position(|(m, _)| *m == n)?;
        let entry = self.older.remove(at)?;
        self.older.push_back(entry.clone());
        Some(entry.1)
    }
}
