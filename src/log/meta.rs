//! The small store beside the log: sessions, idempotency keys, turns, summaries, keyframes.
//!
//! Specs, keys and desired state are truth and written here first; turns, summaries and keyframes are derived from the log
//! and may be missing after a crash. Sessions that a damaged one has lost come back from their plain copy (`copy`). The
//! writer thread alone changes it (a table has one writer); boot and look-ups by key read it directly. It must never hold
//! values above 4 KiB in one entry (`entry` cuts them), nor an unbounded number of keys.

mod fleets;
mod renew;
mod session;
mod summaries;

use super::{
    Options, StoreDown,
    copy::{self, Copy},
    disk,
    entry::{self, Draft, NEWER},
    lock, salvage,
    sled::{Closed, Table},
};
use crate::model::{Key, MIB, Seq, SessionId, Wall};
use bytes::Bytes;
use renew::{put_back, renew};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
pub use session::{Desired, Fate, Membership, SessionMeta};
use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

/// The answer that was given under an idempotency key.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct KeyEntry {
    /// A hash of the request's body: another body under the same key is a conflict.
    pub request: String,
    /// The answer.
    pub answer: serde_json::Value,
    /// When.
    pub wall: Wall,
}

/// Idempotency keys that are kept at most: with 300 bytes each, 30 MiB. The oldest go first.
pub const KEYS: usize = 100_000;
/// How long an idempotency key is kept at least, if there aren't more than [`KEYS`].
pub const KEY_AGE: Duration = Duration::from_secs(86400);

const CACHE_BYTES: u64 = 4 * MIB as u64; // what is in use is small, and read once
const SESSION: u8 = b's';
const SUMMARY: u8 = b'u';
const TURN: u8 = b't';
const KEYFRAME: u8 = b'f';
const KEY: u8 = b'k';
const KEY_BY_TIME: u8 = b'w';
const FLEET: u8 = b'g';

/// Changes of [`Meta`] that happen all or not at all.
#[derive(Clone, Debug, Default)]
pub struct MetaBatch {
    changes: Vec<Change>,
    /// Of sessions, for the copy; true: a tombstone.
    entries: Vec<(SessionId, bool, Vec<u8>)>,
    durable: bool,
}

#[derive(Clone, Debug)]
enum Change {
    Put(Vec<u8>, Vec<u8>),
    Key(Key, Wall, Vec<u8>),
    Drop(Vec<u8>),
}

impl MetaBatch {
    /// No change yet.
    pub fn new() -> MetaBatch {
        MetaBatch::default()
    }

    /// Adds or replaces a session. Makes the batch durable.
    #[must_use]
    pub fn put_session(mut self, session: &SessionMeta) -> MetaBatch {
        self.durable = true;
        self.entries.push((session.id, session.removed, json(session)));
        self.put(name(SESSION, session.id), json(session))
    }

    /// Adds or replaces an idempotency key. Makes the batch durable.
    #[must_use]
    pub fn put_key(mut self, key: &Key, entry: &KeyEntry) -> MetaBatch {
        self.durable = true;
        self.changes.push(Change::Key(key.clone(), entry.wall, json(entry)));
        self
    }

    /// Keeps a turn (JSON, derived).
    #[must_use]
    pub fn put_turn(self, id: SessionId, turn: u64, json: &[u8]) -> MetaBatch {
        self.put(turn_name(id, turn), json.to_vec())
    }

    /// Keeps a screen as it was after record `seq` (derived).
    #[must_use]
    pub fn put_keyframe(self, id: SessionId, seq: Seq, frame: &[u8]) -> MetaBatch {
        self.put(keyframe_name(id, seq), frame.to_vec())
    }

    /// Drops one.
    #[must_use]
    pub fn drop_keyframe(mut self, id: SessionId, seq: Seq) -> MetaBatch {
        self.changes.push(Change::Drop(keyframe_name(id, seq)));
        self
    }

    /// Drops all turns of a session, its summary and its keyframes.
    #[must_use]
    pub fn drop_turns(mut self, id: SessionId) -> MetaBatch {
        self.changes.push(Change::Drop(name(TURN, id)));
        self.changes.push(Change::Drop(name(SUMMARY, id)));
        self.changes.push(Change::Drop(name(KEYFRAME, id)));
        self
    }

    fn put(mut self, name: Vec<u8>, value: Vec<u8>) -> MetaBatch {
        self.changes.push(Change::Put(name, value));
        self
    }
}

/// The store. Reads are direct and block; changes go through [`super::Writer::commit`].
pub struct Meta {
    table: Table,
    dir: PathBuf,
    options: Options,
    /// How many idempotency keys there are; also keeps changes apart.
    keys: Mutex<usize>,
    removed: Mutex<HashSet<SessionId>>,
    copy: Mutex<Copy>,
}

impl Meta {
    /// Opens or makes it in the folder `state`. A damaged one goes to `quarantine/`: sessions come back from it as far as it
    /// can be read and from their copy, keys as far as it can be read. Blocking.
    pub fn open(state: &Path, options: &Options) -> Result<Meta, StoreDown> {
        disk::prepare(state, options)?;
        salvage::tidy(state)?;
        let dir = state.join("meta");
        let copied = copy::load(state);
        let lost = !dir.exists() && !copied.is_empty();
        let opened = match Table::open(&dir, CACHE_BYTES) {
            Ok(table) => match read_whole(&table) {
                Ok(sessions) => Ok((table, sessions)),
                Err(down) if down.why.contains(NEWER) => return Err(down),
                Err(down) => Err((Some(table), down.why)),
            },
            Err(Closed::Down(down)) => return Err(down),
            Err(Closed::Damaged(why)) => Err((None, why)),
        };
        let (table, mut sessions) = match opened {
            Ok(opened) => opened,
            Err((table, why)) => {
                let table = renew(state, &dir, table, &why)?;
                let sessions = read_whole(&table)?;
                (table, sessions)
            }
        };
        let back = put_back(&table, &mut sessions, copied)?;
        if back > 0 {
            let why = if lost { "its folder is gone" } else { "it had lost them" };
            tracing::error!("{}: {back} sessions were put back from sessions.jsonl: {why}", dir.display());
        }
        table.sync()?;
        let keys = entry::under(&table, vec![KEY_BY_TIME]).try_fold(0, |n, entry| entry.map(|_| n + 1))?;
        let removed = sessions.iter().filter(|s| s.removed).map(|s| s.id).collect();
        let copy = Mutex::new(Copy::open(state, &sessions)?);
        let (keys, removed) = (Mutex::new(keys), Mutex::new(removed));
        Ok(Meta { table, dir, options: options.clone(), keys, removed, copy })
    }

    /// Sessions of which a tombstone is left.
    pub fn removed(&self) -> HashSet<SessionId> {
        lock(&self.removed).clone()
    }

    /// What is wrong with a copy of one, if anything.
    pub(super) fn look(copy: &Path) -> Result<Option<String>, StoreDown> {
        let looked = match Table::open_there(copy, CACHE_BYTES) {
            Ok(table) => read_whole(&table).map(drop),
            Err(Closed::Damaged(why)) => return Ok(Some(why)),
            Err(Closed::Down(down)) => Err(down),
        };
        match looked {
            Ok(()) => Ok(None),
            Err(down) if down.why.contains(NEWER) => Err(down),
            Err(down) => Ok(Some(down.why)),
        }
    }

    /// Every session, tombstones too.
    pub fn sessions(&self) -> Result<Vec<SessionMeta>, StoreDown> {
        sessions_in(&self.table)
    }

    /// One session.
    pub fn session(&self, id: SessionId) -> Result<Option<SessionMeta>, StoreDown> {
        entry::get(&self.table, &name(SESSION, id))?.map(|value| parse_session(&self.table, &value)).transpose()
    }

    /// A turn.
    pub fn turn(&self, id: SessionId, turn: u64) -> Result<Option<Bytes>, StoreDown> {
        Ok(entry::get(&self.table, &turn_name(id, turn))?.map(Bytes::from))
    }

    /// The newest keyframe of a session that isn't after record `upto`.
    pub fn keyframe(&self, id: SessionId, upto: Seq) -> Result<Option<Bytes>, StoreDown> {
        let above = keyframe_name(id, upto.next());
        let Some((key, _)) = self.table.before(&above)? else { return Ok(None) };
        match key.split_last_chunk::<4>() {
            Some((found, _)) if found.starts_with(&name(KEYFRAME, id)) => {
                Ok(entry::get(&self.table, found)?.map(Bytes::from))
            }
            _ => Ok(None),
        }
    }

    /// After which records there are keyframes of a session.
    pub fn keyframes(&self, id: SessionId) -> Result<Vec<Seq>, StoreDown> {
        let prefix = name(KEYFRAME, id);
        let mut seqs = Vec::new();
        for found in entry::under(&self.table, prefix.clone()) {
            let (key, _) = found?;
            if let Some((seq, part)) = key[prefix.len()..].split_first_chunk::<8>()
                && part == [0; 4]
            {
                seqs.push(Seq(u64::from_be_bytes(*seq)));
            }
        }
        Ok(seqs)
    }

    /// The answer given under a key: of the last 24 hours, perhaps of before.
    pub fn key(&self, key: &Key) -> Result<Option<KeyEntry>, StoreDown> {
        entry::get(&self.table, &key_name(key))?.map(|value| parse(&self.table, &value)).transpose()
    }

    /// Applies a batch and makes it durable if it has to be. Blocking; for boot, before a writer runs.
    pub fn apply(&self, batch: &MetaBatch) -> Result<(), StoreDown> {
        self.apply_all(std::slice::from_ref(batch))?;
        self.sync_all(std::slice::from_ref(batch))
    }

    /// Applies batches in order, together. What they change survives SIGKILL.
    pub(super) fn apply_all(&self, batches: &[MetaBatch]) -> Result<(), StoreDown> {
        if batches.iter().all(|b| b.changes.is_empty()) {
            return Ok(());
        }
        disk::need(&self.dir, 0, &self.options)?;
        let mut count = lock(&self.keys);
        let mut draft = Draft::new(&self.table);
        let mut keys: HashMap<&Key, Wall> = HashMap::new();
        for change in batches.iter().flat_map(|b| &b.changes) {
            match change {
                Change::Put(name, value) => draft.put(name, value)?,
                Change::Drop(prefix) => draft.drop_under(prefix)?,
                Change::Key(key, wall, value) => {
                    let before = match keys.insert(key, *wall) {
                        Some(before) => Some(before),
                        None => self.key(key)?.map(|entry| entry.wall),
                    };
                    match before {
                        Some(before) => draft.changes.remove(&by_time(before, key)),
                        None => *count += 1,
                    }
                    draft.changes.put(&by_time(*wall, key), &[]);
                    draft.put(&key_name(key), value)?;
                }
            }
        }
        if let Some(now) = keys.values().max() {
            *count -= self.drop_old_keys(&mut draft, *count, *now, &keys)?;
        }
        self.table.apply(draft.changes)?;
        let entries = || batches.iter().flat_map(|batch| &batch.entries);
        lock(&self.removed).extend(entries().filter(|(_, removed, _)| *removed).map(|(id, ..)| *id));
        lock(&self.copy).add(entries().map(|(.., json)| &json[..]));
        Ok(())
    }

    /// What these batches have changed survives a power loss, where one of them has to.
    pub(super) fn sync_all(&self, batches: &[MetaBatch]) -> Result<(), StoreDown> {
        if batches.iter().any(|batch| batch.durable) { self.table.sync() } else { Ok(()) }
    }

    fn drop_old_keys(
        &self,
        draft: &mut Draft<'_>,
        count: usize,
        now: Wall,
        fresh: &HashMap<&Key, Wall>,
    ) -> Result<usize, StoreDown> {
        let oldest = Wall(now.0.saturating_sub(KEY_AGE.as_micros() as i64));
        let mut dropped = 0;
        for found in entry::under(&self.table, vec![KEY_BY_TIME]) {
            let (place, _) = found?;
            if count - dropped <= KEYS && place[..] >= by_time(oldest, &Key(String::new()))[..] {
                break;
            }
            let key = Key(String::from_utf8_lossy(&place[9..]).into_owned());
            if !fresh.contains_key(&key) {
                draft.changes.remove(&place);
                draft.remove(&key_name(&key))?;
                dropped += 1;
            }
        }
        Ok(dropped)
    }
}

fn parse_session(table: &Table, value: &[u8]) -> Result<SessionMeta, StoreDown> {
    #[derive(Deserialize)]
    struct Version {
        v: u32,
    }
    match parse::<SessionMeta>(table, value) {
        Ok(session) if session.v <= SessionMeta::VERSION => Ok(session),
        known => match parse(table, value)? {
            Version { v } if v > SessionMeta::VERSION => {
                let why = format!("{NEWER} a session (version {v}; this one reads 1): use that one");
                Err(disk::down(table.dir(), why))
            }
            Version { .. } => known,
        },
    }
}

fn parse<T: DeserializeOwned>(table: &Table, value: &[u8]) -> Result<T, StoreDown> {
    serde_json::from_slice(value).map_err(|e| disk::down(table.dir(), format!("an entry can't be read: {e}")))
}

fn sessions_in(table: &Table) -> Result<Vec<SessionMeta>, StoreDown> {
    entry::all(table, vec![SESSION]).map(|found| parse_session(table, &found?.1)).collect()
}

/// Every session; fails where any page can't be read. Small: keys are the most of it.
fn read_whole(table: &Table) -> Result<Vec<SessionMeta>, StoreDown> {
    entry::under(table, Vec::new()).try_for_each(|found| found.map(drop))?;
    sessions_in(table)
}

fn name(prefix: u8, id: SessionId) -> Vec<u8> {
    [&[prefix], &id.0[..]].concat()
}

fn turn_name(id: SessionId, turn: u64) -> Vec<u8> {
    [&name(TURN, id)[..], &turn.to_be_bytes()].concat()
}

fn keyframe_name(id: SessionId, seq: Seq) -> Vec<u8> {
    [&name(KEYFRAME, id)[..], &seq.0.to_be_bytes()].concat()
}

fn key_name(key: &Key) -> Vec<u8> {
    [&[KEY], key.0.as_bytes()].concat()
}

/// Sorts by time, also before 1970.
fn by_time(wall: Wall, key: &Key) -> Vec<u8> {
    let time = (wall.0 as u64) ^ (1 << 63);
    [&[KEY_BY_TIME], &time.to_be_bytes()[..], key.0.as_bytes()].concat()
}

fn json(value: &impl Serialize) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "plain structs with string keys: nothing in them fails to serialize")]
    serde_json::to_vec(value).expect("these types are always JSON")
}
