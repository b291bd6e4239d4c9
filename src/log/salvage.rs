//! What can be saved of a damaged segment.
//!
//! Frames are found in the bytes of its file by themselves: each says whose it is and has a checksum, so neither sled's
//! pages nor keys are needed. They go into a new table that takes the segment's place; the damaged folder goes to
//! `quarantine/`. What can't be found is seen by readers as a gap, because every frame names the record before it. It must
//! never change or delete the damaged file, nor leave the segment missing, wherever it is interrupted.

use super::{
    Options, StoreDown, disk,
    frame::{FRAME_BYTES, FrameError, Head, carve},
    index::Ranges,
    key::FrameKey,
    sled::{Changes, Closed, MARK, Table},
};
use crate::model::{MIB, Seq, SessionId};
use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

/// A file in the folder of a segment that was saved: it isn't tried again, what is missing in it is lost.
const SAVED: &str = "salvaged";
/// So much of a damaged file is looked at together.
const WINDOW: usize = 8 * MIB;
/// Frames that are written together, bytes.
const BATCH_BYTES: usize = 4 * MIB;

/// True for a segment that was saved once.
pub(super) fn was_saved(dir: &Path) -> bool {
    dir.join(SAVED).exists()
}

/// Puts a damaged segment aside and what can be read of it in its place. `known`: what it held, by another account;
/// `open`: its table where that is open. What the new one holds, with what is known to be missing.
pub(super) fn save(
    state: &Path,
    dir: &Path,
    known: Option<&Ranges>,
    open: Option<&Table>,
    options: &Options,
    why: &str,
) -> Result<Ranges, StoreDown> {
    let said = |e: io::Error| disk::down(dir, e);
    let db = dir.join("db");
    disk::need(state, fs::metadata(&db).map_or(0, |m| m.len()), options)?;
    let (part, saved) = (dir.with_extension("part"), dir.with_extension("saved"));
    remove(&part)?;
    let new = Table::open(&part, options.cache_bytes).map_err(|closed| closed.into_down(&part))?;
    let mut filler = Filler::new(&new);
    match open {
        Some(table) => filler.take_old_frames(table)?,
        None => match Table::open_there(dir, options.cache_bytes) {
            Ok(table) => filler.take_old_frames(&table)?,
            Err(_) => tracing::debug!("{} can't be opened: its frames are looked for in its bytes", dir.display()),
        },
    }
    if db.exists() {
        windows(&db, |bytes| filler.take_carved(bytes, |_| Ok(true)))?;
    }
    let frames = filler.finish()?;
    new.sync()?;
    let mut ranges = Ranges::scan(&new, true)?;
    known.cloned().or_else(|| Ranges::load(dir)).iter().for_each(|known| ranges.widen(known));
    ranges.save(&part)?;
    disk::write_whole(&part.join(SAVED), format!("{why}\n").as_bytes()).map_err(said)?;
    drop(new);
    fs::rename(&part, &saved).map_err(said)?;
    disk::quarantine(state, dir, why)?;
    finish(dir, &saved)?;
    tracing::warn!("{frames} frames of it were saved; what is missing shows as a gap");
    Ok(ranges)
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

/// Puts frames back that stand in the file of an open table and that it doesn't find: sled takes a damaged part of its file
/// for one that was never written, without a word. How many there were.
pub(super) fn refill(table: &Table) -> Result<u64, StoreDown> {
    let mut filler = Filler::new(table);
    windows(&table.dir().join("db"), |bytes| {
        filler.take_carved(bytes, |at| {
            let Some((key, frame)) = table.before(&FrameKey { part: u32::MAX, ..at.key }.bytes())? else {
                return Ok(true);
            };
            let covers = FrameKey::parse(&key).is_some_and(|key| key.id == at.key.id)
                && Head::read(&frame).is_ok_and(|head| head.last >= at.last);
            Ok(!covers)
        })
    })?;
    let frames = filler.finish()?;
    if frames > 0 {
        table.sync()?;
    }
    Ok(frames)
}

/// A frame that was found.
struct Found {
    key: FrameKey,
    last: Seq,
}

/// Puts frames into a table: of several under one key the one that reaches further.
struct Filler<'a> {
    table: &'a Table,
    batch: HashMap<FrameKey, (Seq, Vec<u8>)>,
    bytes: usize,
    frames: u64,
    /// Records of which there are parts that don't belong together.
    torn: HashSet<(SessionId, Seq)>,
}

impl<'a> Filler<'a> {
    fn new(table: &'a Table) -> Filler<'a> {
        Filler { table, batch: HashMap::new(), bytes: 0, frames: 0, torn: HashSet::new() }
    }

    /// Frames of version 1 don't say whose they are: they are taken as far as the table can be read.
    fn take_old_frames(&mut self, table: &Table) -> Result<(), StoreDown> {
        for entry in table.range(MARK.to_vec()..) {
            let Ok((key, frame)) = entry else { break };
            if let (Some(key), Ok(head)) = (FrameKey::parse(&key), Head::read(&frame))
                && head.id.is_none()
            {
                self.take(Found { key, last: head.last }, &frame)?;
            }
        }
        Ok(())
    }

    fn take_carved(
        &mut self,
        bytes: &[u8],
        wanted: impl Fn(&Found) -> Result<bool, StoreDown>,
    ) -> Result<(), StoreDown> {
        for (_, head, frame) in carve(bytes) {
            let Some(id) = head.id else { continue };
            let found = Found { key: FrameKey { id, seq: head.first, part: head.part }, last: head.last };
            if wanted(&found)? {
                self.take(found, frame)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, found: Found, frame: &[u8]) -> Result<(), StoreDown> {
        let stored = self.table.get(&found.key.bytes())?.filter(|frame| Head::read(frame).is_ok());
        let other = self.batch.get(&found.key).map(|(_, frame)| &frame[..]).or(stored.as_deref());
        if let Some(other) = other {
            let head = Head::read(other).ok();
            if other != frame && head.is_some_and(|h| h.last == found.last && (h.part > 0 || h.goes_on)) {
                self.torn.insert((found.key.id, found.key.seq));
            }
            if head.is_some_and(|head| head.last >= found.last) {
                return Ok(());
            }
        }
        self.bytes += frame.len();
        self.frames += 1;
        self.batch.insert(found.key, (found.last, frame.to_vec()));
        if self.bytes >= BATCH_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), StoreDown> {
        let mut changes = Changes::default();
        let mut batch: Vec<_> = self.batch.drain().collect();
        batch.sort_unstable_by_key(|(key, _)| key.bytes()); // sled's pages fill in order
        batch.iter().for_each(|(key, (_, frame))| changes.put(&key.bytes(), frame));
        self.bytes = 0;
        self.table.apply(changes)
    }

    fn finish(mut self) -> Result<u64, StoreDown> {
        self.write()?;
        let mut changes = Changes::default();
        for (id, seq) in std::mem::take(&mut self.torn) {
            let parts =
                FrameKey { id, seq, part: 0 }.bytes().to_vec()..=FrameKey { id, seq, part: u32::MAX }.bytes().to_vec();
            for entry in self.table.range(parts) {
                changes.remove(&entry?.0);
                self.frames -= 1;
            }
        }
        self.table.apply(changes)?;
        Ok(self.frames)
    }
}

/// Shows a file piece by piece; a frame lies whole in one of them at least.
fn windows(file: &Path, mut see: impl FnMut(&[u8]) -> Result<(), StoreDown>) -> Result<(), StoreDown> {
    let said = |e: io::Error| disk::down(file, e);
    let mut input = File::open(file).map_err(said)?;
    let mut bytes = Vec::with_capacity(WINDOW + FRAME_BYTES);
    loop {
        let before = bytes.len();
        (&mut input).take(WINDOW as u64).read_to_end(&mut bytes).map_err(said)?;
        if bytes.len() == before {
            return Ok(());
        }
        see(&bytes)?;
        bytes.drain(..bytes.len().saturating_sub(FRAME_BYTES));
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

/// Reads every frame of a table.
pub(super) fn check(n: u64, table: &Table) -> Result<Checked, StoreDown> {
    const SAID: usize = 20; // more of the same helps nobody
    let mut checked =
        Checked { segment: n, bytes: table.bytes(), salvaged: was_saved(table.dir()), ..Checked::default() };
    let damage = |checked: &mut Checked, what: String| {
        if checked.damage.len() < SAID {
            checked.damage.push(what);
        }
    };
    let mut before: Option<(SessionId, Seq)> = None;
    for entry in table.range(MARK.to_vec()..) {
        let (key, frame) = match entry {
            Ok((key, _)) if *key == *MARK => continue,
            Ok(entry) => entry,
            Err(down) => {
                damage(&mut checked, down.why);
                break;
            }
        };
        let Some(at) = FrameKey::parse(&key) else {
            damage(&mut checked, "a key isn't one of a frame".to_owned());
            continue;
        };
        checked.frames += 1;
        let place = || format!("session {} at @{}", at.id, at.seq.0);
        match Head::read(&frame) {
            Err(newer @ FrameError::TooNew(_)) => return Err(disk::down(table.dir(), newer)),
            Err(why) => damage(&mut checked, format!("{}: {why}", place())),
            Ok(head) if head.id.is_some_and(|id| id != at.id) || head.first != at.seq => {
                damage(&mut checked, format!("{}: its key is another one's", place()));
            }
            Ok(head) => {
                let last = before.filter(|(id, _)| *id == at.id).map(|(_, last)| last);
                checked.sessions += usize::from(last.is_none());
                if let (Some(last), Some(before)) = (last, head.before)
                    && before > last
                {
                    damage(&mut checked, format!("{}: @{} to @{} are missing", place(), last.0 + 1, before.0));
                }
                before = Some((at.id, head.last.max(last.unwrap_or_default())));
            }
        }
    }
    Ok(checked)
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
