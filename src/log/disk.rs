//! What the store needs of the file system: free space, the ballast, the version file, quarantine, synced directories.
//!
//! It must never delete what may be records: damaged folders are moved, not removed.

use super::{Options, StoreDown};
use crate::model::{KIB, MIB};
use std::{
    fmt::Display,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// The version of the folder as a whole.
pub const VERSION: u32 = 1;
const VERSION_WORDS: &str = "termalive state, version ";

/// The store's end, with what failed.
pub(super) fn down(place: &Path, why: impl Display) -> StoreDown {
    StoreDown { place: place.display().to_string(), why: why.to_string() }
}

/// Makes the folder ready: version checked or written, room enough, ballast kept.
pub(super) fn prepare(state: &Path, options: &Options) -> Result<(), StoreDown> {
    let said = |e: io::Error| down(state, e);
    fs::create_dir_all(state).map_err(said)?;
    let file = state.join("version");
    match fs::read_to_string(&file) {
        Ok(text) => check_version(state, &text)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            write_whole(&file, format!("{VERSION_WORDS}{VERSION}\n").as_bytes()).map_err(said)?;
        }
        Err(e) => return Err(down(&file, e)),
    }
    keep_ballast(&state.join("ballast"), options);
    need(state, 0, options)
}

/// True when a store is there, of a version that is read here.
pub fn is_there(state: &Path) -> Result<bool, StoreDown> {
    match fs::read_to_string(state.join("version")) {
        Ok(text) => check_version(state, &text).map(|()| true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(down(state, e)),
    }
}

fn check_version(state: &Path, text: &str) -> Result<(), StoreDown> {
    match text.trim().strip_prefix(VERSION_WORDS).map(str::parse::<u32>) {
        Some(Ok(version)) if version <= VERSION => Ok(()),
        Some(Ok(version)) => Err(down(
            state,
            format!("a newer termalive wrote it (version {version}; this one reads up to {VERSION}): use that one"),
        )),
        _ => Err(down(state, "its file \"version\" isn't one of termalive: is this the right folder?")),
    }
}

/// Refuses when writing `bytes` would leave less than the limit: sled hangs on a full disk.
pub(super) fn need(place: &Path, bytes: u64, options: &Options) -> Result<(), StoreDown> {
    let free = free(place).map_err(|e| down(place, e))?;
    if free >= options.min_free.saturating_add(bytes) {
        return Ok(());
    }
    let mib = |n: u64| n.div_ceil(MIB as u64);
    let (free, limit, ballast) = (free / MIB as u64, mib(options.min_free), mib(options.ballast_bytes));
    let hint = if options.ballast_bytes > 0 {
        format!(" (its file \"ballast\" may go: {ballast} MiB)")
    } else {
        String::new()
    };
    Err(down(place, format!("{free} MiB are free on its disk and {limit} MiB have to be: make room{hint}")))
}

fn free(place: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(place)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// A file that takes room, so that there is some to be made on a full disk. Written with bytes that don't compress.
fn keep_ballast(file: &Path, options: &Options) {
    let wanted = options.ballast_bytes;
    let there = fs::metadata(file).map_or(0, |m| m.len());
    let room = file.parent().and_then(|dir| free(dir).ok()).unwrap_or(0);
    if there == wanted || room < options.min_free.saturating_add(wanted) {
        return;
    }
    let write = || {
        let mut out = File::create(file)?;
        let mut noise = 1u64;
        let mut block = vec![0u8; 64 * KIB];
        let mut left = wanted as usize;
        while left > 0 {
            for word in block.chunks_exact_mut(8) {
                noise ^= noise << 13;
                noise ^= noise >> 7;
                noise ^= noise << 17;
                word.copy_from_slice(&noise.to_le_bytes());
            }
            let len = left.min(block.len());
            out.write_all(&block[..len])?;
            left -= len;
        }
        out.sync_all()
    };
    if let Err(e) = write() {
        tracing::warn!("no ballast at {}: {e}", file.display());
        let _ = fs::remove_file(file);
    }
}

/// Writes a small file so that it is there whole or not at all.
pub(super) fn write_whole(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = file.with_extension("part");
    let mut out = File::create(&part)?;
    out.write_all(bytes)?;
    out.sync_all()?;
    fs::rename(&part, file)?;
    file.parent().map_or(Ok(()), sync_dir)
}

/// Makes a directory's entries survive a power loss.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The folders in a folder; none where it can't be read.
pub(super) fn subfolders(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect()
}

/// Moves a damaged folder to `quarantine/` under a name that is free, and says so.
pub(super) fn quarantine(state: &Path, dir: &Path, why: &str) -> Result<PathBuf, StoreDown> {
    let said = |e: io::Error| down(dir, e);
    let shelf = state.join("quarantine");
    fs::create_dir_all(&shelf).map_err(said)?;
    let name = dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let free = |n: &u32| !shelf.join(format!("{name}.{n}")).exists();
    let place = shelf.join(format!("{name}.{}", (1..u32::MAX).find(free).unwrap_or(u32::MAX)));
    fs::rename(dir, &place).map_err(said)?;
    sync_dir(&shelf).map_err(said)?;
    dir.parent().map_or(Ok(()), sync_dir).map_err(said)?;
    tracing::error!("{} is damaged ({why}): moved to {}", dir.display(), place.display());
    Ok(place)
}
