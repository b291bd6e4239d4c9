//! Taking over a ring whose owner was killed: walks it from `tail` to `head`, finishes what was under way.
//!
//! Nothing in the memory is trusted: a header page that makes no sense is an error, records are cut off where they stop
//! making sense, and what was cut is named, so that the log can say so. Adoption can be killed as well: it changes
//! the ring only in ways that the next adoption understands.

use super::{
    HEADER_BYTES, MAX_LANDING, RING_BYTES, Ring,
    layout::{self, Header, State, record_bytes},
    memory::Memory,
};
use crate::model::{Kind, LogTime, Record, Seq, SessionId};
use std::{io, os::fd::OwnedFd};

/// What an adopted ring held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Adopted {
    /// The session it belongs to.
    pub id: SessionId,
    /// What was not yet released, in order.
    pub records: Vec<Record>,
    /// The session's time when its owner was last seen: the newest of heartbeat and records.
    pub log_time: LogTime,
    /// What [`Ring::set_modes`] kept.
    pub modes: u64,
    /// The number the next record gets.
    pub next: Seq,
    /// Numbers (first, last) that records cut off because of damage may have had; they are not used again.
    pub lost: Option<(Seq, Seq)>,
}

/// Why a ring can't be adopted.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// Another file, or one that never became a ring.
    #[error("not a crash ring: it has {0}")]
    NotARing(&'static str),
    /// A newer program wrote it.
    #[error("the crash ring has version {found}, this program reads versions up to {known}: use the newer termalive")]
    Newer {
        /// Its version.
        found: u64,
        /// The newest version this program reads.
        known: u64,
    },
    /// The header page makes no sense.
    #[error("the crash ring is damaged: {0}")]
    Damaged(&'static str),
    /// It can't be mapped.
    #[error("the crash ring can't be mapped")]
    Io(#[from] io::Error),
}

pub(super) fn adopt(fd: OwnedFd) -> Result<(Ring, Adopted), RingError> {
    let memory = Memory::open(fd)?.ok_or(RingError::NotARing("another size or no seals"))?;
    let id = check_page(&memory)?;
    let (tail, head) = (memory.load(layout::TAIL), memory.load(layout::HEAD));
    let spare = (RING_BYTES - HEADER_BYTES) as u64;
    if head >= layout::TOO_LARGE || tail > head || head - tail > spare || (head | tail) % 8 != 0 {
        return Err(RingError::Damaged("head and tail don't fit together"));
    }
    let hint = Seq(memory.load(layout::NEXT));
    if hint.0 >= layout::TOO_LARGE {
        return Err(RingError::Damaged("its numbering is impossible"));
    }
    let walked = walk(&memory, tail, head);
    let next = walked.last.map_or(hint, |last| last.next().max(hint));
    let memory = std::sync::Arc::new(memory);
    let mut ring = Ring { memory, id, tail, head, next, given_back: head.saturating_sub(RING_BYTES as u64) };
    let mut records = walked.records;
    let lost = match walked.damaged_at {
        Some(cut) => Some(ring.cut_off(cut)),
        None => ring.finish(&mut records),
    };
    let heartbeat = LogTime(ring.memory.load(layout::HEARTBEAT));
    let log_time = records.iter().map(|r| r.at.log).fold(heartbeat, LogTime::max);
    let adopted = Adopted { id, log_time, modes: ring.modes(), next: ring.next, records, lost };
    Ok((ring, adopted))
}

fn check_page(memory: &Memory) -> Result<SessionId, RingError> {
    if memory.load(layout::MAGIC) != layout::MAGIC_WORD {
        return Err(RingError::NotARing("no magic number"));
    }
    let found = memory.load(layout::VERSION);
    if found > layout::VERSION_NOW {
        return Err(RingError::Newer { found, known: layout::VERSION_NOW });
    }
    let (id, size) = (layout::read_id(memory), memory.load(layout::SIZE));
    if found == 0 || size != RING_BYTES as u64 || memory.load(layout::CHECK) != layout::page_check(id, size) {
        return Err(RingError::Damaged("the check of its header page doesn't hold"));
    }
    Ok(id)
}

struct Walked {
    records: Vec<Record>,
    last: Option<Seq>,
    damaged_at: Option<u64>,
}

fn walk(memory: &Memory, tail: u64, head: u64) -> Walked {
    let mut walked = Walked { records: Vec::new(), last: None, damaged_at: None };
    let mut pos = tail;
    while pos < head {
        let good = Header::read(memory, pos).filter(|header| {
            record_bytes(header.len) as u64 <= head - pos && walked.last.is_none_or(|last| last < header.seq)
        });
        let Some(header) = good else {
            walked.damaged_at = Some(pos);
            break;
        };
        walked.last = Some(header.seq);
        // A kind of a newer program is passed over, as every reader does.
        if let Some(kind) = Kind::from_u8(header.kind) {
            let body = memory.copy(pos + HEADER_BYTES as u64, header.len);
            walked.records.push(Record { seq: header.seq, kind, at: header.at, body });
        }
        pos += record_bytes(header.len) as u64;
    }
    walked
}

impl Ring {
    /// Decides what was under way. Some: it can't be known.
    fn finish(&mut self, records: &mut Vec<Record>) -> Option<(Seq, Seq)> {
        if layout::is_clear(&self.memory, self.head) {
            return None;
        }
        let fits = |h: &Header| h.seq == self.next && record_bytes(h.len) <= self.free();
        match Header::read(&self.memory, self.head).filter(fits) {
            Some(Header { state: State::Writing, .. }) => self.abandon(),
            Some(Header { len: 0, .. }) => self.abandon(), // a control byte was wanted
            Some(Header { len, at, .. }) if len <= MAX_LANDING => {
                match layout::packet_byte(&self.memory, self.head) {
                    layout::DATA => {
                        let body = self.memory.copy(self.head + HEADER_BYTES as u64, len);
                        records.push(self.publish(Kind::Output, body, at));
                    }
                    _ => self.abandon(), // not read, or a control byte alone
                }
            }
            _ => return Some(self.cut_off(self.head)),
        }
        None
    }

    /// Drops everything from `cut` on and passes over the numbers it may have had.
    fn cut_off(&mut self, cut: u64) -> (Seq, Seq) {
        let records = ((self.head - cut) / HEADER_BYTES as u64).max(1) + 1; // and the one under way
        let lost = (self.next, Seq(self.next.0 + records - 1));
        self.next = lost.1.next();
        self.memory.store(layout::NEXT, self.next.0);
        layout::clear(&self.memory, cut);
        self.memory.store(layout::HEAD, cut);
        self.head = cut;
        lost
    }
}
