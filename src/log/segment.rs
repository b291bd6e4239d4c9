//! One segment for readers: an open table (the newest), a closed one's file, or a closed one of an older release.
//!
//! Everything that reads frames asks this; it must never write to them.

use super::{
    Options, StoreDown, disk,
    flat::Flat,
    frame::Head,
    key::FrameKey,
    sled::{Closed, Table},
};
use crate::model::Seq;
use std::{path::Path, sync::Arc};

/// A file in the folder of every segment whose frames can be found by themselves; older segments need their table.
pub(super) const FORMAT: (&str, &[u8]) = ("format", b"frames 2\n");

/// A frame's key and its bytes.
pub(super) type Frame = Result<(FrameKey, Vec<u8>), StoreDown>;

/// See the module.
#[derive(Clone)]
pub(super) enum Segment {
    /// Written to, or written by an older release.
    Table(Arc<Table>),
    /// Closed.
    Flat(Arc<Flat>),
}

impl Segment {
    /// Opens a closed one.
    pub(super) fn open(dir: &Path, cache_bytes: u64, options: &Options) -> Result<Segment, Closed> {
        match is_flat(dir) {
            true => Flat::open(dir, options).map(|flat| Segment::Flat(Arc::new(flat))).map_err(Closed::Down),
            false => Table::open_there(dir, cache_bytes).map(|table| Segment::Table(Arc::new(table))),
        }
    }

    /// One as its bytes are, nothing beside it is believed or made.
    pub(super) fn look(dir: &Path) -> Result<Segment, Closed> {
        match is_flat(dir) {
            true => Flat::scan(dir).map(|flat| Segment::Flat(Arc::new(flat))).map_err(Closed::Down),
            false => Table::open_there(dir, 0).map(|table| Segment::Table(Arc::new(table))),
        }
    }

    pub(super) fn dir(&self) -> &Path {
        match self {
            Segment::Table(table) => table.dir(),
            Segment::Flat(flat) => flat.dir(),
        }
    }

    /// Key and bytes of each frame from `from` on. A key that isn't one is an error.
    pub(super) fn range(&self, from: FrameKey) -> Box<dyn Iterator<Item = Frame> + '_> {
        match self {
            Segment::Flat(flat) => Box::new(flat.range(from)),
            Segment::Table(table) => Box::new(table.range(from.bytes().to_vec()..).map(|entry| {
                let (key, frame) = entry?;
                let key = FrameKey::parse(&key).ok_or_else(|| disk::down(table.dir(), "a key isn't one of a frame"))?;
                Ok((key, frame.to_vec()))
            })),
        }
    }

    /// The frame with the greatest key below `key`, and its last record; nothing of one that is damaged.
    pub(super) fn before(&self, key: FrameKey) -> Result<Option<(FrameKey, Option<Seq>)>, StoreDown> {
        match self {
            Segment::Flat(flat) => Ok(flat.before(key).map(|(key, last)| (key, Some(last)))),
            Segment::Table(table) => {
                let Some((key, frame)) = table.before(&key.bytes())? else { return Ok(None) };
                Ok(FrameKey::parse(&key).map(|key| (key, Head::read(&frame).ok().map(|head| head.last))))
            }
        }
    }
}

/// True for a segment whose frames can be found by themselves.
pub(super) fn is_flat(dir: &Path) -> bool {
    dir.join(FORMAT.0).exists()
}
