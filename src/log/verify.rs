//! A look at a whole store from outside, whether or not a host runs: it changes nothing.
//!
//! Segments are read as bytes; `meta` is opened as a copy, since sled writes to what it opens. Where a host runs, the newest
//! segment and `meta` change under the look: of them only what can be found is counted.

use super::{
    Checked, Meta, StoreDown, disk,
    index::Ranges,
    salvage,
    segment::{Segment, is_flat},
    sled::Closed,
};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// What a look found besides segments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// What is wrong with `meta`; nothing where it is whole or wasn't looked at.
    pub meta: Option<String>,
    /// Folders in `quarantine/`.
    pub quarantine: Vec<String>,
}

/// Looks at the store in `state`, segment by segment. `live`: a host runs there. Blocking, for long.
pub fn verify(state: &Path, live: bool, mut each: impl FnMut(Checked)) -> Result<Verified, StoreDown> {
    let mut verified = Verified::default();
    if !disk::is_there(state)? {
        return Ok(verified);
    }
    let number = |dir: &PathBuf| dir.file_name()?.to_str()?.parse::<u64>().ok();
    let mut segments: Vec<(u64, PathBuf)> =
        disk::subfolders(&state.join("segments")).into_iter().filter_map(|dir| Some((number(&dir)?, dir))).collect();
    segments.sort_unstable();
    let newest = segments.last().map(|(n, _)| *n);
    for (n, dir) in segments {
        let written_to = live && newest == Some(n);
        if written_to && !is_flat(&dir) {
            continue; // of an older release, and in use
        }
        let known = if written_to { Ranges::default() } else { Ranges::load(&dir).unwrap_or_default() };
        let mut checked = match Segment::look(&dir) {
            _ if !dir.exists() => continue, // retention took it meanwhile
            Ok(segment) => salvage::check(n, &segment, &known)?,
            Err(Closed::Down(down)) => return Err(down),
            Err(Closed::Damaged(why)) => Checked { segment: n, damage: vec![why], ..Checked::default() },
        };
        let unreadable = !dir.join("db").exists() && !checked.salvaged;
        checked.damage.extend(unreadable.then(|| "its file \"db\" is gone".to_owned()));
        if written_to || checked.salvaged {
            checked.damage.clear(); // frames that are just being written; or known to be lost
        }
        each(checked);
    }
    let meta = state.join("meta");
    if !live && meta.exists() {
        verified.meta = look_at_meta(&meta)?;
    }
    verified.quarantine = disk::subfolders(&state.join("quarantine"))
        .iter()
        .filter_map(|dir| Some(dir.file_name()?.to_string_lossy().into_owned()))
        .collect();
    verified.quarantine.sort();
    Ok(verified)
}

fn look_at_meta(meta: &Path) -> Result<Option<String>, StoreDown> {
    let said = |e: io::Error| disk::down(meta, e);
    let copy = meta.with_extension("part");
    if copy.exists() {
        fs::remove_dir_all(&copy).map_err(said)?;
    }
    fs::create_dir_all(copy.join("blobs")).map_err(said)?;
    for entry in fs::read_dir(meta).map_err(said)? {
        let entry = entry.map_err(said)?;
        if entry.file_type().map_err(said)?.is_file() {
            fs::copy(entry.path(), copy.join(entry.file_name())).map_err(said)?;
        }
    }
    let looked = Meta::look(&copy);
    fs::remove_dir_all(&copy).map_err(said)?;
    looked
}
