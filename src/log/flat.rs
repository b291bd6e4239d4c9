//! A closed segment, read without sled: its frames are found in the bytes of its file by themselves.
//!
//! sled writes when it opens a store: where it finds damage it zeroes up to 512 KiB behind it. So it never opens a closed
//! segment again; a flipped bit costs the one frame it is in. Frames of which there are several under one key (sled moves
//! them about; a killed host may have written some in vain) hold the same records, or one goes further: that one counts.
//! It must never write to that file. Data comes from it, goes to pages and to salvage; where the frames stand is kept beside
//! it (`places`) once a reader has looked.

use super::{
    Options, StoreDown, disk,
    frame::{FRAME_BYTES, Head, carve},
    key::FrameKey,
    places::{self, Place, Places},
};
use crate::model::{MIB, Seq};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// So much of a file is looked at together.
const WINDOW: usize = 8 * MIB;

/// Where frames stand.
pub(super) struct Flat {
    dir: PathBuf,
    file: Option<File>,
    /// By key. 48 bytes a frame: 768 KiB for 64 MiB of full ones.
    frames: Places,
}

impl Flat {
    /// One that nobody writes to any more. The first reader finds every frame, others know from it.
    pub(super) fn open(dir: &Path, options: &Options) -> Result<Flat, StoreDown> {
        let file = open_db(dir)?;
        let len = file.as_ref().map(File::metadata).transpose().map_err(|e| disk::down(dir, e))?.map(|db| db.len());
        if let Some(frames) = len.and_then(|len| places::load(dir, len)) {
            return Ok(Flat { dir: dir.to_owned(), file, frames });
        }
        let flat = Flat::find(dir, file)?;
        len.into_iter().for_each(|len| places::save(dir, len, &flat.frames, options));
        Ok(flat)
    }

    /// One as its bytes are.
    pub(super) fn scan(dir: &Path) -> Result<Flat, StoreDown> {
        Flat::find(dir, open_db(dir)?)
    }

    /// Finds every frame. A file that is gone has none.
    fn find(dir: &Path, file: Option<File>) -> Result<Flat, StoreDown> {
        let mut found: BTreeMap<FrameKey, Place> = BTreeMap::new();
        if let Some(file) = &file {
            windows(file, |start, bytes| {
                for (at, head, frame) in carve(bytes) {
                    let Some(id) = head.id else { continue };
                    let key = FrameKey { id, seq: head.first, part: head.part };
                    let place = Place { last: head.last, at: start + at as u64, len: frame.len() as u16 };
                    if found.get(&key).is_none_or(|known| known.last < head.last) {
                        found.insert(key, place);
                    }
                }
            })
            .map_err(|e| disk::down(dir, e))?;
        }
        Ok(Flat { dir: dir.to_owned(), file, frames: found.into_iter().collect() })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What it has survives a power loss.
    pub(super) fn sync(&self) -> Result<(), StoreDown> {
        self.file.as_ref().map_or(Ok(()), File::sync_data).map_err(|e| disk::down(&self.dir, e))
    }

    /// Keys with the last record and the length of each frame.
    pub(super) fn keys(&self) -> impl Iterator<Item = (FrameKey, Seq, u64)> {
        self.frames.iter().map(|(key, place)| (*key, place.last, u64::from(place.len)))
    }

    /// Frames from `from` on, in order of keys.
    pub(super) fn range(&self, from: FrameKey) -> impl Iterator<Item = Result<(FrameKey, Vec<u8>), StoreDown>> {
        let start = self.frames.partition_point(|(key, _)| *key < from);
        self.frames[start..].iter().map(|(key, place)| {
            let mut frame = vec![0; usize::from(place.len)];
            let file = self.file.as_ref().ok_or_else(|| disk::down(&self.dir, "its file is gone"))?;
            file.read_exact_at(&mut frame, place.at).map_err(|e| disk::down(&self.dir, e))?;
            Ok((*key, frame))
        })
    }

    /// The frame with the greatest key below `key`, and its last record.
    pub(super) fn before(&self, key: FrameKey) -> Option<(FrameKey, Seq)> {
        let at = self.frames.partition_point(|(k, _)| *k < key);
        self.frames[..at].last().map(|(key, place)| (*key, place.last))
    }
}

/// The file; none where it is gone.
fn open_db(dir: &Path) -> Result<Option<File>, StoreDown> {
    match File::open(dir.join("db")) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(disk::down(dir, e)),
    }
}

/// Shows a file piece by piece, with each piece's place; a frame lies whole in one of them at least.
fn windows(file: &File, mut see: impl FnMut(u64, &[u8])) -> io::Result<()> {
    let mut input = file;
    let mut bytes = Vec::with_capacity(WINDOW + FRAME_BYTES);
    let mut start = 0;
    loop {
        let before = bytes.len();
        (&mut input).take(WINDOW as u64).read_to_end(&mut bytes)?;
        if bytes.len() == before {
            return Ok(());
        }
        see(start, &bytes);
        let done = bytes.len().saturating_sub(FRAME_BYTES);
        bytes.drain(..done);
        start += done as u64;
    }
}

/// True when no frame says that another stood before it which isn't there; `first` are those that begin a session here.
pub(super) fn is_chained(flat: &Flat) -> Result<bool, StoreDown> {
    let mut before: Option<(FrameKey, Seq)> = None;
    for entry in flat.range(FrameKey::FIRST) {
        let (key, frame) = entry?;
        let Ok(head) = Head::read(&frame) else { return Ok(false) };
        if let Some((_, last)) = before.filter(|(other, _)| other.id == key.id)
            && head.part == 0
            && head.before > Some(last)
        {
            return Ok(false);
        }
        let last = before.filter(|(other, _)| other.id == key.id).map_or(head.last, |(_, last)| last.max(head.last));
        before = Some((key, last));
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SessionId;
    use std::fs;

    #[test]
    fn who_has_looked_leaves_the_places_for_this_file_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (db, dir) = (dir.path().join("db"), dir.path());
        let options = Options { min_free: 0, ballast_bytes: 0, ..Options::default() };
        let count = |what: Result<Flat, StoreDown>| what.unwrap().keys().count();
        assert_eq!(count(Flat::open(dir, &options)), 0, "it is gone");
        fs::write(&db, "no frame").unwrap();
        assert_eq!(count(Flat::open(dir, &options)), 0);
        assert_eq!(places::load(dir, 8), Some(Vec::new()), "it was looked at");
        let key = FrameKey { id: SessionId([1; 16]), seq: Seq(1), part: 0 };
        places::save(dir, 8, &[(key, Place { last: Seq(1), at: 0, len: 8 })], &options);
        assert_eq!(count(Flat::open(dir, &options)), 1, "nobody looks again");
        assert_eq!(count(Flat::scan(dir)), 0);
        fs::write(&db, "no frame!").unwrap();
        assert_eq!(count(Flat::open(dir, &options)), 0, "it is another file");
    }
}
