//! Values of `meta`, cut into pieces of at most 4 KiB: larger ones would become blob files, which sled never syncs.
//!
//! An entry `name` lies under `name ‖ part` (u32, big-endian), the first piece with a head of version, length and checksum.
//! It must never hand out a value that isn't what was written: the checksum is over the whole.

use super::{
    StoreDown, disk,
    sled::{Changes, Table, Value},
};
use std::collections::HashMap;

const VERSION: u8 = 1;
const HEAD: usize = 9;
const PIECE: usize = 4096;
/// How the refusal of a later release's words begins: they aren't damage.
pub(super) const NEWER: &str = "a newer termalive wrote";

/// Changes that are being put together. Looks at the table for what they replace.
pub(super) struct Draft<'a> {
    table: &'a Table,
    pub(super) changes: Changes,
    /// Pieces of the entries changed so far.
    pieces: HashMap<Vec<u8>, u32>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(table: &'a Table) -> Draft<'a> {
        Draft { table, changes: Changes::default(), pieces: HashMap::new() }
    }

    /// Adds or replaces an entry.
    pub(super) fn put(&mut self, name: &[u8], value: &[u8]) -> Result<(), StoreDown> {
        let mut whole = Vec::with_capacity(HEAD + value.len());
        whole.push(VERSION);
        whole.extend_from_slice(&(value.len() as u32).to_le_bytes());
        whole.extend_from_slice(&crc32c::crc32c(value).to_le_bytes());
        whole.extend_from_slice(value);
        let before = self.count(name)?;
        let mut parts = 0;
        for (part, piece) in (0..).zip(whole.chunks(PIECE)) {
            self.changes.put(&at(name, part), piece);
            parts = part + 1;
        }
        (parts..before).for_each(|part| self.changes.remove(&at(name, part)));
        self.pieces.insert(name.to_vec(), parts);
        Ok(())
    }

    /// Removes an entry.
    pub(super) fn remove(&mut self, name: &[u8]) -> Result<(), StoreDown> {
        (0..self.count(name)?).for_each(|part| self.changes.remove(&at(name, part)));
        self.pieces.insert(name.to_vec(), 0);
        Ok(())
    }

    /// Removes all entries whose names start so.
    pub(super) fn drop_under(&mut self, prefix: &[u8]) -> Result<(), StoreDown> {
        for found in under(self.table, prefix.to_vec()) {
            self.changes.remove(&found?.0);
        }
        let new: Vec<Vec<u8>> = self.pieces.keys().filter(|name| name.starts_with(prefix)).cloned().collect();
        new.iter().try_for_each(|name| self.remove(name))
    }

    fn count(&self, name: &[u8]) -> Result<u32, StoreDown> {
        if let Some(parts) = self.pieces.get(name) {
            return Ok(*parts);
        }
        let first = self.table.get(&at(name, 0))?;
        Ok(first.and_then(|piece| Head::read(&piece)).map_or(0, |head| head.parts()))
    }
}

#[derive(Clone, Copy)]
struct Head {
    version: u8,
    len: usize,
    crc: u32,
}

impl Head {
    fn read(piece: &[u8]) -> Option<Head> {
        let (head, _) = piece.split_first_chunk::<HEAD>()?;
        let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| head[at + i]));
        Some(Head { version: head[0], len: word(1) as usize, crc: word(5) })
    }

    fn parts(self) -> u32 {
        (HEAD + self.len).div_ceil(PIECE) as u32
    }
}

/// An entry's value.
pub(super) fn get(table: &Table, name: &[u8]) -> Result<Option<Vec<u8>>, StoreDown> {
    table.get(&at(name, 0))?.map(|first| join(table, name, &first)).transpose()
}

/// Name and value of all entries whose names start so.
pub(super) fn all(table: &Table, prefix: Vec<u8>) -> impl Iterator<Item = Result<(Vec<u8>, Vec<u8>), StoreDown>> {
    under(table, prefix).filter_map(move |found| {
        let (key, first) = match found {
            Ok(found) => found,
            Err(down) => return Some(Err(down)),
        };
        let name = key.strip_suffix(&0u32.to_be_bytes())?;
        Some(join(table, name, &first).map(|value| (name.to_vec(), value)))
    })
}

/// As [`all`], without those that can't be read.
pub(super) fn readable(table: &Table, prefix: Vec<u8>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let keys: Vec<Value> = under(table, prefix).map_while(Result::ok).map(|(key, _)| key).collect();
    let names = keys.iter().filter_map(|key| key.strip_suffix(&0u32.to_be_bytes()[..]));
    names.filter_map(|name| Some((name.to_vec(), get(table, name).ok()??))).collect()
}

/// Everything that starts so, as it lies in the table.
pub(super) fn under(table: &Table, prefix: Vec<u8>) -> impl Iterator<Item = Result<(Value, Value), StoreDown>> {
    table
        .range(prefix.clone()..)
        .take_while(move |found| found.as_ref().map_or(true, |(key, _)| key.starts_with(&prefix)))
}

fn join(table: &Table, name: &[u8], first: &[u8]) -> Result<Vec<u8>, StoreDown> {
    let damaged = || disk::down(table.dir(), "damaged: an entry isn't whole");
    let head = Head::read(first).ok_or_else(damaged)?;
    if head.version > VERSION {
        let why = format!("{NEWER} an entry (version {}; this one reads {VERSION}): use that one", head.version);
        return Err(disk::down(table.dir(), why));
    }
    let mut value = first[HEAD..].to_vec();
    for part in 1..head.parts() {
        value.extend_from_slice(&table.get(&at(name, part))?.ok_or_else(damaged)?);
    }
    if value.len() != head.len || crc32c::crc32c(&value) != head.crc {
        return Err(damaged());
    }
    Ok(value)
}

fn at(name: &[u8], part: u32) -> Vec<u8> {
    [name, &part.to_be_bytes()].concat()
}
