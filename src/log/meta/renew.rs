//! What becomes of a damaged `meta`: the old one goes to `quarantine/`, what can be read of it into a new one, sessions that
//! it has lost come back from their copy.
//!
//! Turns, summaries and keyframes are left behind: they are made again from the log. It must never drop what could be read,
//! nor stop a start. Runs while `meta` is opened, before anything else sees it.

use super::{
    super::{
        StoreDown,
        copy::Copied,
        disk,
        entry::{self, Draft},
        salvage,
        sled::Table,
    },
    CACHE_BYTES, FLEET, KEY, KeyEntry, SESSION, SessionMeta, by_time, json, name,
};
use crate::model::{Key, SessionId};
use std::{collections::BTreeMap, fs, path::Path};

/// Puts a damaged table aside and makes one of what can be read of it.
pub(super) fn renew(state: &Path, dir: &Path, old: Option<Table>, why: &str) -> Result<Table, StoreDown> {
    let said = |e: std::io::Error| disk::down(dir, e);
    let (part, saved) = (dir.with_extension("part"), dir.with_extension("saved"));
    let new = Table::open(&part, CACHE_BYTES).map_err(|closed| closed.into_down(&part))?;
    let (mut sessions, mut keys) = (0, 0);
    if let Some(old) = &old {
        let mut draft = Draft::new(&new);
        for (name, value) in entry::readable(old, vec![SESSION]) {
            draft.put(&name, &value)?;
            sessions += 1;
        }
        for (name, value) in entry::readable(old, vec![FLEET]) {
            draft.put(&name, &value)?;
        }
        for (name, value) in entry::readable(old, vec![KEY]) {
            let entry = serde_json::from_slice::<KeyEntry>(&value);
            if let (Ok(entry), Ok(key)) = (entry, String::from_utf8(name[1..].to_vec())) {
                draft.changes.put(&by_time(entry.wall, &Key(key)), &[]);
                draft.put(&name, &value)?;
                keys += 1;
            }
        }
        new.apply(draft.changes)?;
    }
    new.sync()?;
    drop((old, new));
    fs::rename(&part, &saved).map_err(said)?;
    disk::quarantine(state, dir, why)?;
    salvage::tidy(state)?;
    tracing::error!(
        "of meta {sessions} sessions and {keys} idempotency keys could be read; other keys are forgotten (a request that is \
         repeated under one is done again), turns and summaries are made again from the log"
    );
    Table::open(dir, CACHE_BYTES).map_err(|closed| closed.into_down(dir))
}

/// Puts sessions into a table that only the copy knows; also their removal. How many.
pub(super) fn put_back(
    table: &Table,
    sessions: &mut Vec<SessionMeta>,
    mut copied: BTreeMap<SessionId, Copied>,
) -> Result<usize, StoreDown> {
    let mut draft = Draft::new(table);
    let mut back = 0;
    for session in sessions.iter_mut() {
        if copied.remove(&session.id).is_some_and(|copy| copy.removed) && !session.removed {
            *session = session.clone().tombstone();
            draft.put(&name(SESSION, session.id), &json(session))?;
            back += 1;
        }
    }
    for session in copied.values().filter_map(Copied::read) {
        draft.put(&name(SESSION, session.id), &json(&session))?;
        sessions.push(session);
        back += 1;
    }
    table.apply(draft.changes)?;
    Ok(back)
}
