//! How a store is opened: leftovers are tidied, damaged segments saved, the newest looked at closely where nobody wrote to
//! it just now.

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
        let (mut newest, mut tail_unknown) = (None, false);
        for (n, is_last) in numbers.iter().rev().zip(std::iter::once(true).chain(std::iter::repeat(false))) {
            let dir = folder.join(n.to_string());
            if let Some(ranges) = Ranges::load(&dir).filter(|_| !is_last) {
                index.segments.insert(*n, ranges);
                continue;
            }
            match open_whole(&dir, is_last, &options) {
                Ok((table, ranges, refilled)) if is_last => {
                    tail_unknown |= refilled;
                    index.segments.insert(*n, ranges);
                    newest = Some((*n, table));
                }
                Ok((_, ranges, _)) => {
                    ranges.save(&dir)?;
                    index.segments.insert(*n, ranges);
                }
                Err(Closed::Damaged(why)) => {
                    tail_unknown |= is_last;
                    let saved = salvage::save(state, &dir, None, None, &options, &why)?;
                    index.segments.insert(*n, saved);
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
            sweeping: Mutex::default(),
            begun: Mutex::default(),
            bell: Condvar::default(),
            options,
            tail_unknown,
        })
    }
}

/// A table, what is in it, and whether frames had to be put back into it.
fn open_whole(dir: &Path, is_last: bool, options: &Options) -> Result<(Table, Ranges, bool), Closed> {
    let cache = if is_last { options.cache_bytes } else { OLDER_CACHE_BYTES };
    let table = Table::open(dir, cache)?;
    let damaged = |down: StoreDown| Closed::Damaged(down.why);
    let mut refilled = 0;
    if is_last && options.look_closely {
        refilled = salvage::refill(&table).map_err(damaged)?;
        if refilled > 0 {
            tracing::warn!("{}: {refilled} frames that sled had lost were put back", dir.display());
        }
    }
    let ranges = Ranges::scan(&table, options.limits.session_bytes.is_some()).map_err(damaged)?;
    Ok((table, ranges, refilled > 0))
}

pub(super) fn make(dir: &Path, options: &Options) -> Result<Table, StoreDown> {
    Table::open(dir, options.cache_bytes).map_err(|closed| closed.into_down(dir))
}

/// When a segment was made: sled writes `conf` once.
fn made(dir: &Path) -> SystemTime {
    fs::metadata(dir.join("conf")).and_then(|m| m.modified()).unwrap_or_else(|_| SystemTime::now())
}

fn number(dir: &Path) -> Option<u64> {
    dir.file_name()?.to_str()?.parse().ok()
}
