//! How a store is opened: leftovers are tidied, damaged segments saved, the newest looked at closely where nobody wrote to
//! it just now.

use super::super::flat::{self, Flat};
use super::*;

impl SegmentStore {
    /// Opens or makes the store in the folder `state`. Damaged segments go to `quarantine/`; what can be read of them
    /// stays. Blocking.
    pub fn open(state: &Path, options: Options) -> Result<SegmentStore, StoreDown> {
        disk::prepare(state, &options)?;
        let folder = state.join("segments");
        fs::create_dir_all(&folder).and_then(|()| disk::sync_dir(state)).map_err(|e| disk::down(&folder, e))?;
        salvage::tidy(&folder)?;
        let mut index = Index { marks: Marks::load(state)?, ..Index::default() };
        let mut numbers: Vec<u64> = disk::subfolders(&folder).iter().filter_map(|dir| number(dir)).collect();
        numbers.sort_unstable();
        let (mut newest, mut tail_unknown) = (None, state.join(UNSURE).exists());
        for (n, is_last) in numbers.iter().rev().zip(std::iter::once(true).chain(std::iter::repeat(false))) {
            let dir = folder.join(n.to_string());
            let found = match Ranges::load(&dir) {
                Some(ranges) if !is_last => Ok(ranges),
                known => match is_last && (!options.fresh_segment || !holds_frames(&dir)) {
                    true => Table::open_there(&dir, options.cache_bytes).and_then(|table| {
                        let ranges = scan(&table, &options)?;
                        newest = Some((*n, table));
                        Ok(ranges)
                    }),
                    false => close(&dir, known, is_last.then_some(&mut tail_unknown), &options),
                },
            };
            match found {
                Ok(ranges) => drop(index.segments.insert(*n, ranges)),
                Err(Closed::Damaged(why)) => {
                    tail_unknown |= is_last;
                    if is_last {
                        be_unsure(state)?; // also when this host doesn't come to say it
                    }
                    let saved = salvage::save(state, &dir, None, &options, &why)?;
                    index.segments.insert(*n, saved);
                }
                Err(Closed::Down(down)) => return Err(down),
            }
        }
        if let Some((n, table)) = newest.take_if(|(_, table)| !segment::is_flat(table.dir())) {
            index.segments.get(&n).map_or(Ok(()), |ranges| ranges.save(table.dir()))?; // of an older release: closed
        }
        if tail_unknown {
            be_unsure(state)?;
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
            shelf: Shelf::new(folder, n, table, OLDER_CACHE_BYTES, options.clone()),
            state: state.to_owned(),
            index: Mutex::new(index),
            writing: Mutex::new(Writing { encoder: Encoder::default(), since }),
            sweeping: Mutex::default(),
            begun: Mutex::default(),
            bell: Condvar::default(),
            options,
            tail_unknown,
        })
    }

    /// Numbers go on behind all that may have been given: what [`SegmentStore::is_tail_unknown`] asked for was done.
    pub fn tail_is_named(&self) -> Result<(), StoreDown> {
        match fs::remove_file(self.state.join(UNSURE)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(disk::down(&self.state, e)),
            _ => Ok(()),
        }
    }
}

/// A file in the state folder as long as [`SegmentStore::is_tail_unknown`].
const UNSURE: &str = "unsure";

fn be_unsure(state: &Path) -> Result<(), StoreDown> {
    disk::write_whole(&state.join(UNSURE), b"the newest segment was damaged\n").map_err(|e| disk::down(state, e))
}

/// True for a segment that sled needn't and shouldn't open again. One in which nothing can be found has nothing to lose.
fn holds_frames(dir: &Path) -> bool {
    let found = || Flat::scan(dir).is_ok_and(|flat| flat.keys().next().is_some());
    segment::is_flat(dir) && (dir.join(INDEX).exists() || found())
}

fn scan(table: &Table, options: &Options) -> Result<Ranges, Closed> {
    Ranges::scan(table, options.limits.session_bytes.is_some()).map_err(|down| Closed::Damaged(down.why))
}

/// Makes a segment a closed one. `known`: what it held when its host ended in order; else, where frames are missing in the
/// newest one, its end may be missing as well.
fn close(
    dir: &Path,
    known: Option<Ranges>,
    tail_unknown: Option<&mut bool>,
    options: &Options,
) -> Result<Ranges, Closed> {
    if !segment::is_flat(dir) {
        let table = Table::open_there(dir, OLDER_CACHE_BYTES)?;
        let ranges = scan(&table, options)?;
        return ranges.save(dir).map(|()| ranges).map_err(Closed::Down);
    }
    let flat = Flat::scan(dir).map_err(Closed::Down)?;
    let mut ranges = Ranges::of(&flat);
    match (known, tail_unknown) {
        (Some(known), _) => ranges.widen(&known),
        (None, Some(unknown)) => *unknown = !flat::is_chained(&flat).map_err(Closed::Down)?,
        (None, None) => {}
    }
    flat.sync().and_then(|()| ranges.save(dir)).map(|()| ranges).map_err(Closed::Down)
}

pub(super) fn make(dir: &Path, options: &Options) -> Result<Table, StoreDown> {
    Table::make(dir, options.cache_bytes, Some(segment::FORMAT)).map_err(|closed| closed.into_down(dir))
}

/// When a segment was made: sled writes `conf` once.
fn made(dir: &Path) -> SystemTime {
    fs::metadata(dir.join("conf")).and_then(|m| m.modified()).unwrap_or_else(|_| SystemTime::now())
}

fn number(dir: &Path) -> Option<u64> {
    dir.file_name()?.to_str()?.parse().ok()
}
