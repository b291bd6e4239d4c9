//! The durable store: a folder of segments, each a sled table of frames. Truth; everything else can be made from it.
//!
//! Records come from the writer thread (the only one that appends) and go to readers on a blocking pool. The newest
//! segment is open; a full or old one is closed, gets an index beside it and is opened again only when it is read. It must
//! never hand out a record twice or out of order, nor let two segments hold parts of one record.

use super::{
    EventLog, StoreDown, disk,
    frame::Encoder,
    index::{Index, Ranges},
    key::FrameKey,
    lock,
    page::Page,
    shelf::Shelf,
    sled::{Changes, Closed, Table, disk_bytes},
};
use crate::model::{MIB, Record, Seq, SessionId};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

/// How a store is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// A segment is closed when it has so many bytes …
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
}

impl Default for Options {
    fn default() -> Self {
        Options {
            segment_bytes: 512 * MIB as u64,
            segment_age: Duration::from_secs(86400),
            open_older: 2,
            cache_bytes: 16 * MIB as u64,
            min_free: 64 * MIB as u64,
            ballast_bytes: 16 * MIB as u64,
        }
    }
}

/// Cache of an older segment that is open for readers, bytes: they page through, nothing is read twice.
const OLDER_CACHE_BYTES: u64 = 2 * MIB as u64;
/// Raw bytes of one batch: what sled has to hold at once. A batch of the writer with more goes in several.
const BATCH_BYTES: usize = 4 * MIB;

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
}

struct Writing {
    encoder: Encoder,
    /// When the newest segment was made.
    since: SystemTime,
}

impl SegmentStore {
    /// Opens or makes the store in the folder `state`. Damaged segments go to `quarantine/`. Blocking.
    pub fn open(state: &Path, options: Options) -> Result<SegmentStore, StoreDown> {
        disk::prepare(state, &options)?;
        let folder = state.join("segments");
        fs::create_dir_all(&folder).and_then(|()| disk::sync_dir(state)).map_err(|e| disk::down(&folder, e))?;
        let mut index = Index::default();
        for dir in subfolders(&state.join("quarantine")) {
            Ranges::load(&dir).into_iter().for_each(|ranges| index.lose(ranges));
        }
        let mut numbers: Vec<u64> = subfolders(&folder).iter().filter_map(|dir| number(dir)).collect();
        numbers.sort_unstable();
        let mut newest = None;
        for (n, is_last) in numbers.iter().rev().zip(std::iter::once(true).chain(std::iter::repeat(false))) {
            let dir = folder.join(n.to_string());
            if let Some(ranges) = Ranges::load(&dir).filter(|_| !is_last) {
                index.segments.insert(*n, ranges);
                continue;
            }
            let cache = if is_last { options.cache_bytes } else { OLDER_CACHE_BYTES };
            match open_whole(&dir, cache) {
                Ok((table, ranges)) if is_last => {
                    index.segments.insert(*n, ranges);
                    newest = Some((*n, table));
                }
                Ok((_, ranges)) => {
                    ranges.save(&dir)?;
                    index.segments.insert(*n, ranges);
                }
                Err(Closed::Damaged(why)) => {
                    Ranges::load(&dir).into_iter().for_each(|ranges| index.lose(ranges));
                    disk::quarantine(state, &dir, &why)?;
                }
                Err(Closed::Down(down)) => return Err(down),
            }
        }
        let (n, table) = match newest {
            Some(newest) => newest,
            None => {
                let n = numbers.last().map_or(1, |n| n + 1);
                index.segments.insert(n, Ranges::default());
                (n, make(&folder.join(n.to_string()), &options)?)
            }
        };
        table.sync()?; // a host that was killed may not have: from here on all that is stored is durable
        let since = made(table.dir());
        Ok(SegmentStore {
            shelf: Shelf::new(folder, n, table, options.open_older, OLDER_CACHE_BYTES),
            state: state.to_owned(),
            index: Mutex::new(index),
            writing: Mutex::new(Writing { encoder: Encoder::default(), since }),
            options,
        })
    }

    /// What it takes: one stat(2) a segment.
    pub fn stats(&self) -> Stats {
        let numbers: Vec<u64> = lock(&self.index).segments.keys().copied().collect();
        let bytes = numbers.iter().map(|n| disk_bytes(&self.shelf.dir(*n))).sum();
        Stats { segments: numbers.len(), bytes }
    }

    /// The newest segment; a new one if that is full or old.
    fn newest(&self, writing: &mut Writing) -> Result<(u64, Arc<Table>), StoreDown> {
        let (n, table) = self.shelf.newest();
        let old = writing.since.elapsed().is_ok_and(|age| age >= self.options.segment_age);
        if !old && table.bytes() < self.options.segment_bytes {
            return Ok((n, table));
        }
        let ranges = lock(&self.index).segments.get(&n).cloned().unwrap_or_default();
        if ranges.is_empty() {
            writing.since = SystemTime::now();
            return Ok((n, table));
        }
        table.sync()?;
        ranges.save(table.dir())?;
        let new = make(&self.shelf.dir(n + 1), &self.options)?;
        lock(&self.index).segments.insert(n + 1, Ranges::default());
        writing.since = SystemTime::now();
        Ok((n + 1, self.shelf.roll(n + 1, new)))
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
            added.push((id, run[0].seq, run[run.len() - 1].seq));
            let put = |seq, part, frame: &[u8]| changes.put(&FrameKey { id, seq, part }.bytes(), frame);
            writing.encoder.encode(&run, put);
        }
        table.apply(changes)?;
        let mut index = lock(&self.index);
        let ranges = index.segments.entry(n).or_default();
        added.into_iter().for_each(|(id, first, last)| ranges.add(id, first, last));
        Ok(())
    }

    /// An open segment; `None` when it turned out to be damaged and was put aside.
    fn table(&self, n: u64) -> Result<Option<Arc<Table>>, StoreDown> {
        match self.shelf.get(n) {
            Ok(table) => Ok(Some(table)),
            Err(Closed::Down(down)) => Err(down),
            Err(Closed::Damaged(why)) => {
                let mut index = lock(&self.index);
                if let Some(ranges) = index.segments.remove(&n) {
                    index.lose(ranges);
                    disk::quarantine(&self.state, &self.shelf.dir(n), &why)?;
                }
                Ok(None)
            }
        }
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

    fn read(&self, id: SessionId, from: Seq, budget: usize) -> Result<Vec<Record>, StoreDown> {
        let segments = lock(&self.index).holding(id, from);
        let mut page = Page::new(id, from, budget);
        for n in segments {
            if let Some(table) = self.table(n)? {
                page.fill(&table)?;
            }
            if page.is_full() {
                break;
            }
        }
        Ok(page.into_records())
    }

    fn last(&self, id: SessionId) -> Result<Option<Seq>, StoreDown> {
        Ok(lock(&self.index).last(id))
    }
}

fn open_whole(dir: &Path, cache: u64) -> Result<(Table, Ranges), Closed> {
    let table = Table::open(dir, cache)?;
    let ranges = Ranges::scan(&table).map_err(|down| Closed::Damaged(down.why))?;
    Ok((table, ranges))
}

fn make(dir: &Path, options: &Options) -> Result<Table, StoreDown> {
    Table::open(dir, options.cache_bytes).map_err(|closed| match closed {
        Closed::Down(down) => down,
        Closed::Damaged(why) => disk::down(dir, why),
    })
}

/// When a segment was made: sled writes `conf` once.
fn made(dir: &Path) -> SystemTime {
    fs::metadata(dir.join("conf")).and_then(|m| m.modified()).unwrap_or_else(|_| SystemTime::now())
}

fn subfolders(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect()
}

fn number(dir: &Path) -> Option<u64> {
    dir.file_name()?.to_str()?.parse().ok()
}
