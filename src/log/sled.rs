//! One sled database, made safe to live with. The only file that names sled.
//!
//! What sled 0.34.7 does, and what is done about it here: its `flush` is `sync_file_range`, never an fsync (so
//! [`Table::sync`] does one of its own on the `db` file); values above some 8 KiB end in blob files that are never synced
//! (so callers keep values at 4 KiB); opening a damaged store may panic (so every call is guarded); a full disk makes an
//! insert hang (so callers look at the free space first: `disk`); killed while it writes a snapshot, it takes the unfinished
//! file for one and the store for damaged (so that file goes before it opens). It must never be written to by two threads, and never
//! lets a panic out.

use super::{StoreDown, disk};
use std::{
    cell::Cell,
    fs::{self, File},
    io::ErrorKind,
    ops::RangeBounds,
    os::unix::fs::MetadataExt,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::Once,
    thread,
    time::Duration,
};

/// Stands in every table: sled takes a damaged file for an empty one, without a word.
pub(super) const MARK: &[u8] = &[0];

/// A file in the folder of a table that can't be written to any more.
const DAMAGED: &str = "damaged";

/// A value as it lies in sled's cache.
pub(super) type Value = sled::IVec;

/// How a snapshot's name ends until it is whole.
const UNFINISHED: &str = "generating";

/// How long to wait for the lock of a table that is just being closed: a segment of an older release that a reader still
/// holds, or `meta` right after it was renewed. Closed segments of this release are read without sled.
const CLOSING: (u32, Duration) = (100, Duration::from_millis(20));

/// Extra look-ups of each entry that is read in a row. sled looks at a cache shard's size at every 64th access only, so
/// pages read once each pile up to 500 MiB a segment; with two touches it is some 15 MiB, at no cost to be measured.
const TOUCHES: u32 = 2;

/// A database with one tree.
pub(super) struct Table {
    db: sled::Db,
    file: File,
    dir: PathBuf,
}

/// Changes of a table that happen all or not at all.
#[derive(Default)]
pub(super) struct Changes(sled::Batch);

/// Why a table doesn't open.
pub(super) enum Closed {
    /// Its files are damaged: put them aside.
    Damaged(String),
    /// Something else, such as a lock or a full disk.
    Down(StoreDown),
}

impl Changes {
    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) {
        self.0.insert(key, value);
    }

    pub(super) fn remove(&mut self, key: &[u8]) {
        self.0.remove(key);
    }
}

impl Table {
    /// Opens a table; makes one where there is none, whole or not at all, on disk when this returns.
    pub(super) fn open(dir: &Path, cache_bytes: u64) -> Result<Table, Closed> {
        if dir.exists() { Table::open_there(dir, cache_bytes) } else { Table::make(dir, cache_bytes, None) }
    }

    /// Makes a table, with a file beside it. It stays open while its folder gets its name: opening it a second time would
    /// write to it, and a power loss then can leave what sled doesn't read.
    pub(super) fn make(dir: &Path, cache_bytes: u64, beside: Option<(&str, &[u8])>) -> Result<Table, Closed> {
        let down = |e| Closed::Down(disk::down(dir, e));
        let new = dir.with_extension("new");
        if new.exists() {
            fs::remove_dir_all(&new).map_err(down)?; // of a host that was killed just here: nothing is in it
        }
        let table = Table::open_any(&new, cache_bytes)?;
        let mut changes = Changes::default();
        changes.put(MARK, &[1]);
        table.apply(changes).map_err(Closed::Down)?;
        let sync = || {
            if let Some((name, bytes)) = beside {
                disk::write_whole(&new.join(name), bytes)?;
            }
            File::open(new.join("db"))?.sync_all()?;
            File::open(new.join("conf"))?.sync_all()?;
            disk::sync_dir(&new.join("blobs"))?;
            disk::sync_dir(&new)?;
            fs::rename(&new, dir)?;
            dir.parent().map_or(Ok(()), disk::sync_dir)
        };
        sync().map_err(down)?;
        Ok(Table { dir: dir.to_owned(), ..table })
    }

    /// Opens a table that is there.
    pub(super) fn open_there(dir: &Path, cache_bytes: u64) -> Result<Table, Closed> {
        if let Ok(why) = fs::read_to_string(dir.join(DAMAGED)) {
            return Err(Closed::Damaged(why.trim_end().to_owned()));
        }
        if !dir.join("db").exists() {
            return Err(Closed::Damaged("its file \"db\" is gone".to_owned()));
        }
        let table = Table::open_any(dir, cache_bytes)?;
        match table.get(MARK) {
            Ok(Some(_)) => Ok(table),
            Ok(None) => Err(Closed::Damaged("nothing in it can be found".to_owned())),
            Err(down) => Err(Closed::Damaged(down.why)),
        }
    }

    fn open_any(dir: &Path, cache_bytes: u64) -> Result<Table, Closed> {
        drop_unfinished(dir).map_err(|e| Closed::Down(disk::down(dir, e)))?;
        let open = || {
            let config = sled::Config::new().path(dir).cache_capacity(cache_bytes).flush_every_ms(None);
            let db = config.open()?;
            let file = File::open(dir.join("db"))?;
            Ok((db, file))
        };
        match open_patiently(open) {
            Ok((db, file)) => Ok(Table { db, file, dir: dir.to_owned() }),
            Err(failed) if failed.is_damage() => Err(Closed::Damaged(failed.to_string())),
            Err(failed) => Err(Closed::Down(disk::down(dir, failed))),
        }
    }

    /// Its folder.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        disk_bytes(&self.dir)
    }

    /// Applies changes and hands them to the kernel: they survive SIGKILL when this returns.
    pub(super) fn apply(&self, changes: Changes) -> Result<(), StoreDown> {
        let apply = || {
            self.db.apply_batch(changes.0)?;
            self.db.flush().map(|_| ())
        };
        quietly(apply).map_err(|failed| {
            if failed.is_damage() {
                self.mark_damaged(&failed);
            }
            disk::down(&self.dir, failed)
        })
    }

    /// The next who opens it finds that it can't be written to, and saves what is in it.
    fn mark_damaged(&self, why: &Failed) {
        if let Err(e) = disk::write_whole(&self.dir.join(DAMAGED), format!("{why}\n").as_bytes()) {
            tracing::error!("{} is damaged ({why}), and that can't be written down: {e}", self.dir.display());
        }
    }

    /// What was applied survives a power loss when this returns.
    pub(super) fn sync(&self) -> Result<(), StoreDown> {
        self.file.sync_data().map_err(|e| disk::down(&self.dir, e))
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Value>, StoreDown> {
        self.guarded(|| self.db.get(key))
    }

    /// The entry with the greatest key below `key`.
    pub(super) fn before(&self, key: &[u8]) -> Result<Option<(Value, Value)>, StoreDown> {
        self.guarded(|| self.db.get_lt(key))
    }

    /// The entry with the least key above `key`.
    pub(super) fn after(&self, key: &[u8]) -> Result<Option<(Value, Value)>, StoreDown> {
        self.guarded(|| self.db.get_gt(key))
    }

    /// Entries in order of keys; ends at the first error.
    pub(super) fn range(
        &self,
        keys: impl RangeBounds<Vec<u8>>,
    ) -> impl Iterator<Item = Result<(Value, Value), StoreDown>> {
        let mut entries = self.db.range(keys);
        let mut over = false;
        std::iter::from_fn(move || {
            if over {
                return None;
            }
            let entry = self.guarded(|| entries.next().transpose()).transpose();
            if let Some(Ok((key, _))) = &entry {
                for _ in 0..TOUCHES {
                    self.guarded(|| self.db.contains_key(key)).ok();
                }
            }
            over = !matches!(entry, Some(Ok(_)));
            entry
        })
    }

    fn guarded<T>(&self, call: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreDown> {
        quietly(call).map_err(|failed| disk::down(&self.dir, failed))
    }
}

/// Bytes the files of a table take.
pub(super) fn disk_bytes(dir: &Path) -> u64 {
    const BLOCK: u64 = 512; // the unit of st_blocks, whatever the file system's is
    fs::metadata(dir.join("db")).map_or(0, |m| m.blocks() * BLOCK)
}

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("{0}")]
    Sled(sled::Error),
    #[error("it panicked: {0}")]
    Panic(String),
}

impl Failed {
    fn is_damage(&self) -> bool {
        match self {
            Failed::Sled(sled::Error::Io(e)) => is_damage(e),
            Failed::Sled(_) | Failed::Panic(_) => true,
        }
    }
}

fn is_damage(e: &std::io::Error) -> bool {
    matches!(e.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::InvalidInput)
}

/// Takes away a snapshot that was being written when a host was killed: the one before it is still there.
fn drop_unfinished(dir: &Path) -> std::io::Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == UNFINISHED) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn open_patiently<T>(mut open: impl FnMut() -> sled::Result<T>) -> Result<T, Failed> {
    for _ in 0..CLOSING.0 {
        match quietly(&mut open) {
            Err(Failed::Sled(sled::Error::Io(e))) if e.to_string().contains("acquire lock") => thread::sleep(CLOSING.1),
            other => return other,
        }
    }
    quietly(open)
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs a call of sled's; a panic becomes an error and isn't printed.
fn quietly<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, Failed> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                before(info)
            }
        }));
    });
    QUIET.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(call));
    QUIET.set(false);
    match result {
        Ok(result) => result.map_err(Failed::Sled),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            Err(Failed::Panic(text.unwrap_or_else(|| "no message".to_owned())))
        }
    }
}
