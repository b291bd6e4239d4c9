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
    path::{Path, PathBuf},
};

const FILE: &str = "sessions.jsonl";
/// A copy that is so much larger than what it says is written anew: factor, and bytes on top.
const SLACK: (u64, u64) = (4, 256 * 1024);

/// The copy, open to be added to.
pub(super) struct Copy {
    path: PathBuf,
    file: Option<File>,
}

/// What the copy says of a session. It is read whole only where it is needed: every start comes by here.
pub(super) struct Copied {
    pub(super) removed: bool,
    json: Vec<u8>,
}

impl Copied {
    /// The entry; nothing where it isn't one.
    pub(super) fn read(&self) -> Option<SessionMeta> {
        serde_json::from_slice(&self.json).ok()
    }
}

/// The last entry of each session in the copy.
pub(super) fn load(state: &Path) -> BTreeMap<SessionId, Copied> {
    #[derive(Deserialize)]
    struct Known {
        v: u32,
        id: SessionId,
        removed: bool,
    }
    let text = fs::read(state.join(FILE)).unwrap_or_default();
    let lines = text.split(|byte| *byte == b'\n').filter_map(|line| {
        let (crc, json) = line.split_at_checked(9)?;
        let crc = u32::from_str_radix(std::str::from_utf8(crc).ok()?.trim_end(), 16).ok()?;
        let known: Known = (crc32c::crc32c(json) == crc).then(|| serde_json::from_slice(json).ok())??;
        let entry = Copied { removed: known.removed, json: json.to_vec() };
        (known.v <= SessionMeta::VERSION).then_some((known.id, entry))
    });
    lines.collect()
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
