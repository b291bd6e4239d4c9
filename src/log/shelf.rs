//! Open segments: the newest, and a few older ones for readers.
//!
//! A segment is open at most once in a process (sled locks its file), so one that is still read stays known after it left
//! the shelf. The writer never waits here for a segment that is being opened for a reader.

use super::{
    lock,
    sled::{Closed, Table},
};
use std::{
    collections::{HashMap, VecDeque},
    path::PathBuf,
    sync::{Arc, Mutex, Weak},
};

pub(super) struct Shelf {
    folder: PathBuf,
    keep: usize,
    cache_bytes: u64,
    open: Mutex<Open>,
    /// Held while an older segment is opened, which may take seconds.
    opening: Mutex<()>,
}

struct Open {
    newest: (u64, Arc<Table>),
    /// Least recently used first.
    older: VecDeque<(u64, Arc<Table>)>,
    /// Every older one that someone still holds.
    known: HashMap<u64, Weak<Table>>,
}

impl Shelf {
    pub(super) fn new(folder: PathBuf, n: u64, newest: Table, keep: usize, cache_bytes: u64) -> Shelf {
        let open = Open { newest: (n, Arc::new(newest)), older: VecDeque::new(), known: HashMap::new() };
        Shelf { folder, keep: keep.max(1), cache_bytes, open: Mutex::new(open), opening: Mutex::new(()) }
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
        let mut open = lock(&self.open);
        let (before, closed) = std::mem::replace(&mut open.newest, (n, table.clone()));
        let evicted = open.keep_older(before, closed, self.keep);
        drop(open);
        drop(evicted); // closes a table: not under the lock
        table
    }

    /// Lets go of an older segment: its folder is another one now, or gone.
    pub(super) fn forget(&self, n: u64) {
        let mut open = lock(&self.open);
        open.known.remove(&n);
        let gone = open.older.iter().position(|(m, _)| *m == n).and_then(|at| open.older.remove(at));
        drop(open);
        drop(gone); // closes a table: not under the lock
    }

    /// A segment by number, opened if it isn't.
    pub(super) fn get(&self, n: u64) -> Result<Arc<Table>, Closed> {
        if let Some(table) = lock(&self.open).find(n) {
            return Ok(table);
        }
        let _one_at_a_time = lock(&self.opening);
        if let Some(table) = lock(&self.open).find(n) {
            return Ok(table);
        }
        let table = Arc::new(Table::open_there(&self.dir(n), self.cache_bytes)?);
        let evicted = lock(&self.open).keep_older(n, table.clone(), self.keep);
        drop(evicted);
        Ok(table)
    }
}

impl Open {
    fn find(&mut self, n: u64) -> Option<Arc<Table>> {
        if self.newest.0 == n {
            return Some(self.newest.1.clone());
        }
        if let Some(at) = self.older.iter().position(|(m, _)| *m == n) {
            let entry = self.older.remove(at)?;
            self.older.push_back(entry.clone());
            return Some(entry.1);
        }
        self.known.get(&n)?.upgrade()
    }

    fn keep_older(&mut self, n: u64, table: Arc<Table>, keep: usize) -> Option<(u64, Arc<Table>)> {
        self.known.retain(|_, t| t.strong_count() > 0);
        self.known.insert(n, Arc::downgrade(&table));
        self.older.push_back((n, table));
        if self.older.len() > keep { self.older.pop_front() } else { None }
    }
}
