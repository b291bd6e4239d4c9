//! A plain copy of every session's entry in `meta`: what can't be made again from the log is not lost with one database.
//!
//! `sessions.jsonl` in the state folder: a line for each change, a checksum and the entry; the last of a session counts.
//! It is written behind `meta` and read only when `meta` has lost something. Damaged lines are passed over.

use super::{SessionMeta, StoreDown, disk};
use crate::model::SessionId;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    ops::Range,
    path::{Path, PathBuf},
};

/// A checksum and a blank, before each entry.
const SUM: usize = 9;
const FILE: &str = "sessions.jsonl";
/// A copy that is so much larger than what it says is written anew: factor, and bytes on top.
const SLACK: (u64, u64) = (4, 256 * 1024);

/// The copy, open to be added to.
pub(super) struct Copy {
    path: PathBuf,
    file: Option<File>,
}

/// The last entry of each session in the copy. What is whole is read only where it is needed: every start comes by here.
pub(super) struct Copied {
    text: Vec<u8>,
    entries: BTreeMap<SessionId, Entry>,
}

struct Entry {
    removed: bool,
    json: Range<usize>,
}

pub(super) fn load(state: &Path) -> Copied {
    #[derive(Deserialize)]
    struct Known {
        v: u32,
        id: SessionId,
        removed: bool,
    }
    let text = fs::read(state.join(FILE)).unwrap_or_default();
    let mut entries = BTreeMap::new();
    let mut end = 0;
    for line in text.split(|byte| *byte == b'\n') {
        let from = end + SUM;
        end += line.len();
        let json = from..end;
        end += 1;
        let Some((sum, entry)) = line.split_at_checked(SUM) else { continue };
        let sum = std::str::from_utf8(sum).ok().and_then(|sum| u32::from_str_radix(sum.trim_end(), 16).ok());
        if sum != Some(crc32c::crc32c(entry)) {
            continue;
        }
        if let Ok(Known { v: ..=SessionMeta::VERSION, id, removed }) = serde_json::from_slice(entry) {
            entries.insert(id, Entry { removed, json });
        }
    }
    Copied { text, entries }
}

impl Copied {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes an entry out: whether it is a tombstone. Nothing where there is none.
    pub(super) fn take(&mut self, id: SessionId) -> Option<bool> {
        self.entries.remove(&id).map(|entry| entry.removed)
    }

    /// All that weren't taken.
    pub(super) fn rest(&self) -> impl Iterator<Item = SessionMeta> {
        self.entries.values().filter_map(|entry| serde_json::from_slice(self.text.get(entry.json.clone())?).ok())
    }
}

impl Copy {
    /// Opens the copy for more; first makes it whole where it is missing or much too long.
    pub(super) fn open(state: &Path, sessions: &[SessionMeta]) -> Result<Copy, StoreDown> {
        let path = state.join(FILE);
        let whole: Vec<u8> =
            sessions.iter().filter_map(|s| serde_json::to_vec(s).ok()).flat_map(|json| line(&json)).collect();
        let there = fs::metadata(&path).map_or(0, |m| m.len());
        if there < whole.len() as u64 || there > whole.len() as u64 * SLACK.0 + SLACK.1 {
            disk::write_whole(&path, &whole).map_err(|e| disk::down(&path, e))?;
        }
        let file = File::options().append(true).create(true).open(&path).map_err(|e| disk::down(&path, e))?;
        Ok(Copy { path, file: Some(file) })
    }

    /// Adds entries. A copy that can't be written is given up for this host: `meta` has them.
    pub(super) fn add<'a>(&mut self, entries: impl Iterator<Item = &'a [u8]>) {
        let Some(file) = &mut self.file else { return };
        let lines: Vec<u8> = entries.flat_map(line).collect();
        if let Err(e) = file.write_all(&lines) {
            tracing::warn!("{}: {e}: no copy of the sessions' entries is kept", self.path.display());
            self.file = None;
            let _ = fs::remove_file(&self.path); // an old one would be believed
        }
    }
}

fn line(json: &[u8]) -> Vec<u8> {
    [format!("{:08x} ", crc32c::crc32c(json)).as_bytes(), json, b"\n"].concat()
}
