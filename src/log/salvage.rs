//! What can be saved of a damaged segment.
//!
//! Frames are found in the bytes of its file by themselves: each says whose it is and has a checksum, so neither sled's
//! pages nor keys are needed. They go into a new table that takes the segment's place; the damaged folder goes to
//! `quarantine/`. What can't be found is seen by readers as a gap, because every frame names the record before it. It must
//! never change or delete the damaged file, nor leave the segment missing, wherever it is interrupted.

use super::{
    Options, StoreDown, disk,
    flat::Flat,
    frame::{FrameError, Head},
    index::Ranges,
    key::FrameKey,
    segment::{FORMAT, Frame, Segment, is_flat},
    sled::{Changes, Closed, Table, disk_bytes},
};
use crate::model::{MIB, Seq, SessionId};
use std::{fs, io, path::Path};

/// A file in the folder of a segment that was saved: it isn't tried again, what is missing in it is lost.
const SAVED: &str = "salvaged";
/// Frames that are written together, bytes.
const BATCH_BYTES: usize = 4 * MIB;

/// True for a segment that was saved once.
pub(super) fn was_saved(dir: &Path) -> bool {
    dir.join(SAVED).exists()
}

/// Puts a damaged segment aside and what can be read of it in its place. `known`: what it held, by another account. What
/// the new one holds, with what is known to be missing.
pub(super) fn save(
    state: &Path,
    dir: &Path,
    known: Option<&Ranges>,
    options: &Options,
    why: &str,
) -> Result<Ranges, StoreDown> {
    let said = |e: io::Error| disk::down(dir, e);
    let db = dir.join("db");
    disk::need(state, fs::metadata(&db).map_or(0, |m| m.len()), options)?;
    let (part, saved) = (dir.with_extension("part"), dir.with_extension("saved"));
    remove(&part)?;
    let flat = Flat::scan(dir)?; // before any table is opened: sled writes when it opens
    let new = Table::open(&part, options.cache_bytes).map_err(|closed| closed.into_down(&part))?;
    let mut frames = put_all(&new, &mut flat.range(FrameKey::FIRST))?;
    let flat_before = is_flat(dir);
    if !flat_before && let Ok(old) = Table::open_there(dir, options.cache_bytes) {
        let old = Segment::Table(std::sync::Arc::new(old));
        let readable = &mut old.range(FrameKey { part: 1, ..FrameKey::FIRST }).map_while(Result::ok).map(Ok);
        frames += put_all(&new, readable)?; // those of version 1 don't say whose they are: their keys do
    }
    new.sync()?;
    let mut ranges = Ranges::scan(&new, true)?;
    known.cloned().or_else(|| Ranges::load(dir)).iter().for_each(|known| ranges.widen(known));
    ranges.save(&part)?;
    if flat_before {
        disk::write_whole(&part.join(FORMAT.0), FORMAT.1).map_err(said)?;
    }
    disk::write_whole(&part.join(SAVED), format!("{why}\n").as_bytes()).map_err(said)?;
    drop((flat, new));
    fs::rename(&part, &saved).map_err(said)?;
    disk::quarantine(state, dir, why)?;
    finish(dir, &saved)?;
    tracing::warn!("{frames} frames of it were saved; what is missing shows as a gap");
    Ok(ranges)
}

/// Puts frames that are whole into a table; how many.
fn put_all(table: &Table, frames: &mut dyn Iterator<Item = Frame>) -> Result<u64, StoreDown> {
    let (mut changes, mut bytes, mut count) = (Changes::default(), 0, 0);
    for entry in frames {
        let (key, frame) = entry?;
        if Head::read(&frame).is_err() {
            continue;
        }
        changes.put(&key.bytes(), &frame);
        count += 1;
        bytes += frame.len();
        if bytes >= BATCH_BYTES {
            table.apply(std::mem::take(&mut changes))?;
            bytes = 0;
        }
    }
    table.apply(changes).map(|()| count)
}

/// After an interruption: finishes what was whole, removes what wasn't, in the folder of the segments.
pub(super) fn tidy(folder: &Path) -> Result<(), StoreDown> {
    for dir in disk::subfolders(folder) {
        match dir.extension().and_then(|e| e.to_str()) {
            Some("part" | "old") => remove(&dir)?,
            Some("saved") => match dir.with_extension("") {
                place if place.exists() => remove(&dir)?,
                place => finish(&place, &dir)?,
            },
            _ => {}
        }
    }
    Ok(())
}

fn finish(place: &Path, saved: &Path) -> Result<(), StoreDown> {
    let said = |e: io::Error| disk::down(place, e);
    fs::rename(saved, place).map_err(said)?;
    place.parent().map_or(Ok(()), disk::sync_dir).map_err(said)
}

fn remove(dir: &Path) -> Result<(), StoreDown> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(disk::down(dir, e)),
        _ => Ok(()),
    }
}

/// What a look at every frame of a segment found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Its number.
    pub segment: u64,
    /// Frames in it.
    pub frames: u64,
    /// Sessions in it.
    pub sessions: usize,
    /// Bytes on disk.
    pub bytes: u64,
    /// What is wrong, by session where that is known; nothing: it is whole.
    pub damage: Vec<String>,
    /// It was put together from a damaged one: what is missing in it is gone.
    pub salvaged: bool,
}

/// Reads every frame of a segment. `known`: what it should hold.
pub(super) fn check(n: u64, segment: &Segment, known: &Ranges) -> Result<Checked, StoreDown> {
    let dir = segment.dir();
    let mut checked = Checked { segment: n, bytes: disk_bytes(dir), salvaged: was_saved(dir), ..Checked::default() };
    let mut ends: std::collections::HashMap<SessionId, Seq> = std::collections::HashMap::new();
    for entry in segment.range(FrameKey { part: 1, ..FrameKey::FIRST }) {
        let (at, frame) = match entry {
            Ok(entry) => entry,
            Err(down) => {
                checked.damaged(down.why);
                break;
            }
        };
        checked.frames += 1;
        let place = || format!("session {} at @{}", at.id, at.seq.0);
        match Head::read(&frame) {
            Err(newer @ FrameError::TooNew(_)) => return Err(disk::down(dir, newer)),
            Err(why) => checked.damaged(format!("{}: {why}", place())),
            Ok(head) => {
                let last = ends.get(&at.id).copied();
                if let (Some(last), Some(before)) = (last, head.before)
                    && before > last
                    && head.part == 0
                {
                    checked.damaged(format!("session {}: @{} to @{} are missing", at.id, last.0 + 1, before.0));
                }
                ends.insert(at.id, head.last.max(last.unwrap_or_default()));
            }
        }
    }
    checked.sessions = ends.len();
    for (id, range) in known.iter().filter(|(id, range)| ends.get(id) < Some(&range.last)) {
        let from = ends.get(&id).map_or(range.first, |last| last.next());
        checked.damaged(format!("session {id}: @{} to @{} are missing", from.0, range.last.0));
    }
    Ok(checked)
}

impl Checked {
    fn damaged(&mut self, what: String) {
        const SAID: usize = 20; // more of the same helps nobody
        if self.damage.len() < SAID {
            self.damage.push(what);
        }
    }
}

impl Closed {
    /// For a table that was just made, where damage can't be.
    pub(super) fn into_down(self, dir: &Path) -> StoreDown {
        match self {
            Closed::Down(down) => down,
            Closed::Damaged(why) => disk::down(dir, why),
        }
    }
}
