//! How a ring looks in memory: the header page and the header of a record.
//!
//! A memfd never leaves its machine, so numbers stand in the machine's byte order; it outlives the program that wrote
//! it, so it carries a version, offsets are never given a new meaning, and nothing read from it is trusted unchecked.

use super::{MAX_LANDING, RING_BYTES, memory::Memory};
use crate::model::{LogTime, Seq, SessionId, Stamp, Wall};

// The header page, as offsets of words of 8 bytes.
pub(super) const MAGIC: usize = 0;
pub(super) const VERSION: usize = 8;
pub(super) const ID: usize = 16; // two words
pub(super) const SIZE: usize = 32;
pub(super) const TAIL: usize = 40;
pub(super) const HEAD: usize = 48;
pub(super) const NEXT: usize = 56; // the next number, when no record tells it
pub(super) const HEARTBEAT: usize = 64;
pub(super) const MODES: usize = 72;
pub(super) const CHECK: usize = 80; // crc32c of id and size, which never change

/// What stands at [`MAGIC`].
pub(super) const MAGIC_WORD: u64 = u64::from_ne_bytes(*b"taliring");
/// The version this program writes; older ones are read.
pub(super) const VERSION_NOW: u64 = 1;
/// Positions and numbers from here on are damage: they could overflow.
pub(super) const TOO_LARGE: u64 = 1 << 62;

/// Before a payload: state word, seq, wall, log time, seven bytes unused, and the packet byte right before the payload.
pub(super) const HEADER_BYTES: usize = 40;
/// Where the packet byte stands.
pub(super) const PACKET_AT: u64 = HEADER_BYTES as u64 - 1;
/// The packet byte before data (TIOCPKT_DATA).
pub(super) const DATA: u8 = 0;
/// A packet byte that no kernel writes: nothing was read.
pub(super) const NOT_READ: u8 = 0xFF;

const PACKET_WORD: u64 = 32; // offset in a header of the word that ends in the packet byte
const _: () = assert!(RING_BYTES.is_power_of_two() && HEADER_BYTES.is_multiple_of(8) && MAX_LANDING < 4095);

/// Room a record takes.
pub(super) const fn record_bytes(body: usize) -> usize {
    HEADER_BYTES + body.next_multiple_of(8)
}

/// What a record was when its owner was last seen. A record before `head` is published, whatever its state says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum State {
    Landing = 1,
    Writing = 2,
}

/// The header of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub(super) state: State,
    pub(super) kind: u8,
    pub(super) len: usize,
    pub(super) seq: Seq,
    pub(super) at: Stamp,
}

impl Header {
    /// Writes it; the state comes last, so that a state that is there means that all of it is.
    pub(super) fn write(&self, memory: &Memory, pos: u64) {
        memory.store_at(pos + 8, self.seq.0);
        memory.store_at(pos + 16, self.at.wall.0.cast_unsigned());
        memory.store_at(pos + 24, self.at.log.0);
        memory.store_at(pos + PACKET_WORD, u64::from_ne_bytes([0, 0, 0, 0, 0, 0, 0, NOT_READ]));
        self.restate(memory, pos);
    }

    /// Writes state, kind and length again: one word, so all of them or nothing.
    pub(super) fn restate(&self, memory: &Memory, pos: u64) {
        memory.store_at(pos, self.word());
    }

    /// Reads it; none where no whole header stands.
    pub(super) fn read(memory: &Memory, pos: u64) -> Option<Header> {
        let word = memory.load_at(pos);
        let [state, kind, _, _, l0, l1, l2, l3] = word.to_ne_bytes();
        let state = [State::Landing, State::Writing].into_iter().find(|s| *s as u8 == state)?;
        let len = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).ok()?;
        let seq = Seq(memory.load_at(pos + 8));
        let wall = Wall(memory.load_at(pos + 16).cast_signed());
        let at = Stamp { wall, log: LogTime(memory.load_at(pos + 24)) };
        let header = Header { state, kind, len, seq, at };
        let fits = len <= RING_BYTES - HEADER_BYTES && seq.0 < TOO_LARGE;
        (fits && header.word() == word).then_some(header)
    }

    /// State, kind, 16 bits of a check over the whole header, length.
    fn word(&self) -> u64 {
        let [l0, l1, l2, l3] = (self.len as u32).to_ne_bytes();
        let (state, kind) = (self.state as u8, self.kind);
        let mut all = [0; 30];
        all[..6].copy_from_slice(&[state, kind, l0, l1, l2, l3]);
        all[6..14].copy_from_slice(&self.seq.0.to_ne_bytes());
        all[14..22].copy_from_slice(&self.at.wall.0.to_ne_bytes());
        all[22..].copy_from_slice(&self.at.log.0.to_ne_bytes());
        let [c0, c1, ..] = crc32c::crc32c(&all).to_ne_bytes();
        u64::from_ne_bytes([state, kind, c0, c1, l0, l1, l2, l3])
    }
}

/// The packet byte of the record at `pos`.
pub(super) fn packet_byte(memory: &Memory, pos: u64) -> u8 {
    memory.load_at(pos + PACKET_WORD).to_ne_bytes()[7]
}

/// Says that nothing is under way at `pos`.
pub(super) fn clear(memory: &Memory, pos: u64) {
    memory.store_at(pos, 0);
}

/// True when nothing is under way at `pos`.
pub(super) fn is_clear(memory: &Memory, pos: u64) -> bool {
    memory.load_at(pos) == 0
}

/// Writes the header page of a new ring.
pub(super) fn write_page(memory: &Memory, id: SessionId, first: Seq) {
    let [low, high] = id_words(id);
    memory.store(ID, low);
    memory.store(ID + 8, high);
    memory.store(SIZE, RING_BYTES as u64);
    memory.store(NEXT, first.0);
    memory.store(CHECK, page_check(id, RING_BYTES as u64));
    memory.store(VERSION, VERSION_NOW);
    memory.store(MAGIC, MAGIC_WORD);
}

/// The session id of a header page.
pub(super) fn read_id(memory: &Memory) -> SessionId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&memory.load(ID).to_ne_bytes());
    id[8..].copy_from_slice(&memory.load(ID + 8).to_ne_bytes());
    SessionId(id)
}

/// What has to stand at [`CHECK`].
pub(super) fn page_check(id: SessionId, size: u64) -> u64 {
    u64::from(crc32c::crc32c_append(crc32c::crc32c(&id.0), &size.to_ne_bytes()))
}

fn id_words(SessionId(id): SessionId) -> [u64; 2] {
    let word = |from: usize| u64::from_ne_bytes(std::array::from_fn(|i| id[from + i]));
    [word(0), word(8)]
}
