//! The durable store: a folder of segments, each a sled table of frames. Truth; everything else can be made from it.
//!
//! Records come from the writer thread (the only one that appends) and go to readers on a blocking pool. The newest
//! segment is open; a full or old one is closed, gets an index beside it and is opened again only when it is read. It must
//! never hand out a record twice or out of order, nor let two segments hold parts of one record. What retention took or
//! damage destroyed comes as a `gap` record (`page`); a segment in which something is missing is put aside, and what can
//! be read of it takes its place (`salvage`).

use super::{
    EventLog, Limits, StoreDown, disk,
    frame::Encoder,
    index::{FILE as INDEX, Index, Range, Ranges},
    key::FrameKey,
    lock,
    page::Page,
    retention::{Holding, Marks, plan},
    salvage::{self, Checked},
    segment::{self, Segment},
    shelf::Shelf,
    sled::{Changes, Closed, Table, disk_bytes},
};
use crate::failpoint::reached;
use crate::model::{MIB, Record, Seq, SessionId, Wall};
use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

mod open;

/// How a store is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// A segment is closed when it has so many bytes (or an eighth of the least limit) …
    pub segment_bytes: u64,
    /// … or is so old.
    pub segment_age: Duration,
    /// Older segments that stay open for readers.
    pub open_older: usize,
    /// Cache of the newest segment, bytes: with more, sled takes more memory and isn't faster.
    pub cache_bytes: u64,
    /// Bytes that must be free on the disk for a batch to be written.
    pub min_free: u64,
    /// Size of the ballast file, bytes; 0: none.
    pub ballast_bytes: u64,
    /// How much is kept.
    pub limits: Limits,
    /// Begin another segment when the store is opened, so that sled never opens one that a power loss or the years may have
    /// damaged (it would zero what stands behind). Needless where another host wrote to it a moment ago.
    pub fresh_segment: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            segment_bytes: 64 * MIB as u64, // opened in some 40 ms after a crash; 160 of them in what is kept by default
            segment_age: Duration::from_secs(86400),
            open_older: 2,
            cache_bytes: 16 * MIB as u64,
            min_free: 64 * MIB as u64,
            ballast_bytes: 16 * MIB as u64,
            limits: Limits::default(),
            fresh_segment: true,
        }
    }
}

/// Cache of an older segment that is open for readers, bytes: they page through, nothing is read twice.
const OLDER_CACHE_BYTES: u64 = 2 * MIB as u64;
/// Raw bytes of one batch: what sled has to hold at once. A batch of the writer with more goes in several.
const BATCH_BYTES: usize = 4 * MIB;
/// A reader whose segment was taken away under it looks again, so often: retention takes segments far more slowly.
const LOOKS: usize = 8;

/// What a store takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Segments, the newest among them.
    pub segments: usize,
    /// Bytes on disk.
    pub bytes: u64,
}

/// The store of records on disk.
pub struct SegmentStore {
    state: PathBuf,
    options: Options,
    shelf: Shelf,
    index: Mutex<Index>,
    writing: Mutex<Writing>,
    /// Held while segments are deleted or saved.
    sweeping: Mutex<()>,
    /// Segments begun by this host; rung at each.
    begun: Mutex<u64>,
    bell: Condvar,
    /// See [`SegmentStore::is_tail_unknown`].
    tail_unknown: bool,
}

struct Writing {
    encoder: Encoder,
    /// When the newest segment was made.
    since: SystemTime,
}

impl SegmentStore {
    /// What it takes: one stat(2) a segment.
    pub fn stats(&self) -> Stats {
        let numbers: Vec<u64> = lock(&self.index).segments.keys().copied().collect();
        let bytes = numbers.iter().map(|n| disk_bytes(&self.shelf.dir(*n))).sum();
        Stats { segments: numbers.len(), bytes }
    }

    /// Sessions with records.
    pub fn sessions(&self) -> HashSet<SessionId> {
        lock(&self.index).segments.values().flat_map(|ranges| ranges.iter().map(|(id, _)| id)).collect()
    }

    /// True when the newest records may be missing without a trace: the newest segment was damaged. Numbers above the last
    /// one known may have been given.
    pub fn is_tail_unknown(&self) -> bool {
        self.tail_unknown
    }

    /// The newest segment; a new one if that is full or old.
    fn newest(&self, writing: &mut Writing) -> Result<(u64, Arc<Table>), StoreDown> {
        let (n, table) = self.shelf.newest();
        let age = self.options.limits.segment_age(self.options.segment_age);
        let old = writing.since.elapsed().is_ok_and(|elapsed| elapsed >= age);
        if !old && table.bytes() < self.options.limits.segment_bytes(self.options.segment_bytes) {
            return Ok((n, table));
        }
        self.roll(writing)
    }

    /// Closes the newest segment, unless nothing is in it, and begins another.
    fn roll(&self, writing: &mut Writing) -> Result<(u64, Arc<Table>), StoreDown> {
        let (n, table) = self.shelf.newest();
        writing.since = SystemTime::now();
        let ranges = lock(&self.index).segments.get(&n).cloned().unwrap_or_default();
        if ranges.is_empty() {
            return Ok((n, table));
        }
        table.sync()?;
        ranges.save(table.dir())?;
        reached("segment closed");
        let new = open::make(&self.shelf.dir(n + 1), &self.options)?;
        reached("segment made");
        lock(&self.index).segments.insert(n + 1, Ranges::default());
        let table = self.shelf.roll(n + 1, new);
        *lock(&self.begun) += 1;
        self.bell.notify_all();
        Ok((n + 1, table))
    }

    fn append_some(&self, writing: &mut Writing, records: &[&(SessionId, Record)]) -> Result<(), StoreDown> {
        let raw: usize = records.iter().map(|(_, r)| r.body.len()).sum();
        disk::need(&self.state, raw as u64, &self.options)?;
        let (n, table) = self.newest(writing)?;
        let mut changes = Changes::default();
        let mut added = Vec::new();
        for run in records.chunk_by(|a, b| a.0 == b.0) {
            let id = run[0].0;
            let run: Vec<&Record> = run.iter().map(|(_, record)| record).collect();
            let before = lock(&self.index).last(id).unwrap_or_default();
            let mut bytes = 0;
            let put = |seq, part, frame: &[u8]| {
                bytes += frame.len() as u64;
                changes.put(&FrameKey { id, seq, part }.bytes(), frame);
            };
            writing.encoder.encode(id, before, &run, put);
            added.push((id, Range { first: run[0].seq, last: run[run.len() - 1].seq, bytes }));
        }
        table.apply(changes)?;
        let mut index = lock(&self.index);
        let ranges = index.segments.entry(n).or_default();
        added.into_iter().for_each(|(id, range)| ranges.add(id, range));
        Ok(())
    }

    /// Takes from segment `n` what it has; false when that isn't there any more.
    fn fill(&self, page: &mut Page, n: u64, last: Seq) -> Result<bool, StoreDown> {
        let place = page.place();
        for saved in [false, true] {
            let Some(segment) = self.segment(n)? else { return Ok(false) };
            let why = match page.fill(&segment, last) {
                Ok(true) => return Ok(true),
                Ok(false) if saved || salvage::was_saved(segment.dir()) => return Ok(true), // the gaps are in the page
                Ok(false) => "records are missing in it".to_owned(),
                Err(down) if saved => return Err(down),
                Err(down) => down.why,
            };
            page.go_back(place);
            drop(segment);
            self.save(n, &why)?;
        }
        Ok(false)
    }

    /// An open segment; nothing when it is gone.
    fn segment(&self, n: u64) -> Result<Option<Segment>, StoreDown> {
        for saved in [false, true] {
            if !self.shelf.dir(n).exists() {
                return Ok(None);
            }
            match self.shelf.get(n) {
                Ok(segment) => return Ok(Some(segment)),
                Err(Closed::Down(down)) => return Err(down),
                Err(Closed::Damaged(why)) if saved => return Err(disk::down(&self.shelf.dir(n), why)),
                Err(Closed::Damaged(why)) => self.save(n, &why)?,
            }
        }
        Ok(None)
    }

    /// Saves what can be read of a segment, once; readers of it look again.
    fn save(&self, n: u64, why: &str) -> Result<(), StoreDown> {
        if self.shelf.newest().0 == n {
            self.roll(&mut lock(&self.writing))?; // what comes goes into a sound one
        }
        let _one_at_a_time = lock(&self.sweeping);
        let dir = self.shelf.dir(n);
        let Some(known) = lock(&self.index).segments.get(&n).cloned() else { return Ok(()) };
        if salvage::was_saved(&dir) {
            return Ok(());
        }
        let save = || salvage::save(&self.state, &dir, Some(&known), &self.options, why);
        let saved = self.shelf.swap(n, save)?;
        lock(&self.index).segments.insert(n, saved);
        Ok(())
    }

    /// Writes down what the newest segment holds, so that the next host knows when something is missing. For an orderly end.
    pub fn close(&self) -> Result<(), StoreDown> {
        let _writing = lock(&self.writing);
        let (n, table) = self.shelf.newest();
        table.sync()?;
        let ranges = lock(&self.index).segments.get(&n).cloned().unwrap_or_default();
        if ranges.is_empty() { Ok(()) } else { ranges.save(table.dir()) }
    }

    /// Puts every segment aside in which something is missing, and what can be read of it in its place. Which ones.
    pub fn salvage(&self) -> Result<Vec<Checked>, StoreDown> {
        let mut damaged = Vec::new();
        self.check(|checked| damaged.extend((!checked.damage.is_empty() && !checked.salvaged).then_some(checked)))?;
        damaged.iter().try_for_each(|checked| self.save(checked.segment, &checked.damage[0]))?;
        Ok(damaged)
    }

    /// Takes away what the limits say, and what was removed. Called beside the writer; it waits for nobody but a reader that
    /// opens a segment, or saves a damaged one.
    pub fn sweep(&self, removed: &HashSet<SessionId>, now: Wall) -> Result<(), StoreDown> {
        if self.options.limits.age.is_some() {
            self.newest(&mut lock(&self.writing))?; // an old one is closed, also when nobody writes
        }
        let _one_at_a_time = lock(&self.sweeping);
        let (mut holdings, marks) = {
            let index = lock(&self.index);
            let all = index.segments.iter().map(|(n, ranges)| (*n, ranges.iter().collect::<Vec<_>>()));
            (all.collect::<Vec<_>>(), index.marks.clone())
        };
        let Some((newest, parts)) = holdings.pop() else { return Ok(()) };
        let holding = |(n, parts): (u64, Vec<(SessionId, Range)>)| {
            let dir = self.shelf.dir(n);
            let closed = fs::metadata(dir.join(INDEX)).and_then(|m| m.modified()).ok();
            let age = closed.and_then(|at| at.elapsed().ok()).unwrap_or_default();
            let parts = parts.into_iter().map(|(id, range)| (id, range.last, range.bytes)).collect();
            Holding { n, bytes: disk_bytes(&dir), age, parts }
        };
        let closed: Vec<Holding> = holdings.into_iter().map(holding).collect();
        let made = plan(&closed, &holding((newest, parts)), &self.options.limits, &marks, removed);
        if !made.take.is_empty() {
            let forget = |id| removed.contains(&id);
            let marks = marks.with(&made.take, now, forget);
            marks.save(&self.state)?;
            lock(&self.index).marks = marks;
        }
        for n in made.delete {
            lock(&self.index).segments.remove(&n);
            let (dir, old) = (self.shelf.dir(n), self.shelf.dir(n).with_extension("old"));
            let moved = self.shelf.swap(n, || fs::rename(&dir, &old));
            moved.and_then(|()| fs::remove_dir_all(&old)).map_err(|e| disk::down(&dir, e))?;
            tracing::info!(segment = n, "a segment was taken away by retention");
        }
        Ok(())
    }

    /// Waits until another segment than the `seen`th is begun, or so long; how many were.
    pub(super) fn wait_begun(&self, seen: u64, most: Duration) -> u64 {
        let wait = |begun| self.bell.wait_timeout_while(begun, most, |n| *n == seen);
        *wait(lock(&self.begun)).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Ends a wait.
    pub(super) fn ring(&self) {
        *lock(&self.begun) += 1;
        self.bell.notify_all();
    }

    /// Looks at every frame, segment by segment, oldest first. Blocking, for long.
    pub fn check(&self, mut each: impl FnMut(Checked)) -> Result<(), StoreDown> {
        let all: Vec<(u64, Ranges)> = lock(&self.index).segments.iter().map(|(n, r)| (*n, r.clone())).collect();
        for (n, known) in all {
            match self.shelf.get(n) {
                _ if !self.shelf.dir(n).exists() => {} // retention took it meanwhile
                Ok(segment) => each(salvage::check(n, &segment, &known)?),
                Err(Closed::Down(down)) => return Err(down),
                Err(Closed::Damaged(why)) => {
                    let bytes = disk_bytes(&self.shelf.dir(n));
                    each(Checked { segment: n, bytes, damage: vec![why], ..Checked::default() });
                }
            }
        }
        Ok(())
    }
}

impl EventLog for SegmentStore {
    fn append(&self, batch: &[(SessionId, Record)]) -> Result<(), StoreDown> {
        let mut writing = lock(&self.writing);
        let mut records: Vec<&(SessionId, Record)> = batch.iter().collect();
        records.sort_by_key(|(id, _)| *id); // stable: seqs stay in order; nothing to do when sessions come in runs
        let mut rest = &records[..];
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = rest.iter().take_while(|(_, record)| {
                bytes += record.body.len();
                bytes <= BATCH_BYTES
            });
            let (some, later) = rest.split_at(fits.count().max(1));
            self.append_some(&mut writing, some)?;
            rest = later;
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreDown> {
        self.shelf.newest().1.sync() // those before it were synced when they were closed
    }

    /// Closes the newest segment when its cache is full: sled keeps that for as long as it is open. Floods with rests in between
    /// make four times as many segments by it, at most.
    fn rest(&self) {
        let mut writing = lock(&self.writing);
        if self.shelf.newest().1.bytes() < self.options.cache_bytes {
            return;
        }
        let rolled = disk::need(&self.state, 0, &self.options).and_then(|()| self.roll(&mut writing));
        if let Err(error) = rolled {
            tracing::warn!(%error, "the newest segment of the log stays open: another one can't be made now");
        }
    }

    fn read(&self, id: SessionId, from: Seq, budget: usize) -> Result<Vec<Record>, StoreDown> {
        for _ in 0..LOOKS {
            let (segments, taken) = {
                let index = lock(&self.index);
                (index.holding(id, from), index.marks.of(id))
            };
            let mut page = Page::new(id, from, budget, taken);
            let mut gone = false;
            for (n, last) in segments {
                gone = !self.fill(&mut page, n, last)?;
                if gone || page.is_full() {
                    break; // what the page has stands before what is gone: the next one begins there
                }
            }
            if !gone || !page.is_empty() {
                return Ok(page.into_records());
            }
        }
        Err(disk::down(&self.state, "segments go faster than they can be read: is a limit of the log too small?"))
    }

    fn last(&self, id: SessionId) -> Result<Option<Seq>, StoreDown> {
        Ok(lock(&self.index).last(id))
    }
}
