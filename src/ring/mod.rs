//! The crash ring: what a session read or typed and the store does not have yet. It survives the host.
//!
//! A ring is a memfd of one header page and [`RING_BYTES`] of data; the keeper holds a copy of the fd. Records stand one
//! after the other; a record is published by moving `head` behind it and dropped by moving `tail` behind it. A process
//! can be killed between any two of its stores, and what [`Ring::adopt`] then finds is always whole:
//!
//! | found at `head`                    | what happened                         | adoption              |
//! |------------------------------------|---------------------------------------|-----------------------|
//! | empty                              | nothing was under way                 | –                     |
//! | `WRITING`                          | a [`Ring::put`], perhaps half copied  | dropped               |
//! | `LANDING n`, packet byte 0xFF      | nothing was read                      | dropped               |
//! | `LANDING n`, packet byte 0x00      | read(2) took exactly n bytes          | published             |
//! | `LANDING n`, any other packet byte | a control byte alone was read         | dropped               |
//!
//! Data comes from a [`PtySource`] (straight into the mapping) and from the session's actor, and goes to the session's
//! tail and the log writer as [`Record`]s. A ring must never have two owners, never wait, and never lose a byte that
//! was read: it is the only copy until the store has it.

mod adopt;
mod layout;
mod memory;
#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

use crate::model::{KIB, Kind, LogTime, Record, Seq, SessionId, Stamp};
use bytes::Bytes;
use layout::{HEADER_BYTES, Header, PACKET_AT, State, record_bytes};
use memory::Memory;
use std::{
    io,
    num::NonZeroU16,
    os::fd::OwnedFd,
    sync::{Arc, Weak},
};

pub use adopt::{Adopted, RingError};

/// Data in a ring: 5 s of the busiest agent seen, 3 ms of a flood. A power of two.
pub const RING_BYTES: usize = 256 * KIB;
/// Bytes kept for what isn't output, so that a flood never keeps an input or an exit from being recorded: two inputs.
pub const RESERVE_BYTES: usize = 64 * KIB;
/// The longest body [`Ring::put`] can ever take. Callers split far below it: what exceeds [`RESERVE_BYTES`] can starve.
pub const MAX_BODY: usize = RING_BYTES - 2 * HEADER_BYTES;
/// Records a ring can hold at most: how far numbering jumps when a ring is lost, so that no seq means two things.
pub const MAX_RECORDS: u64 = (RING_BYTES / HEADER_BYTES) as u64;
/// The most that is read at once: a read from a PTY gives at most 4,095 bytes, packet byte included.
pub const MAX_LANDING: usize = 3840;

const FIRST_RECORD: u64 = record_bytes(64) as u64; // two records take more: no first one has a body of less than 24 bytes
const GIVE_BACK: u64 = 64 * KIB as u64; // drained bytes that make a hole worth a system call in the way of the data
const GIVE_BACK_IDLE: u64 = memory::PAGE; // the same when it is tidied: one call a second is always cheap

/// Where a ring reads from: a PTY in packet mode (TIOCPKT), or a fake.
pub trait PtySource {
    /// What a read would give. An error EIO says: hung up and nothing to read.
    fn pending(&self) -> io::Result<Pending>;
    /// One read(2) that doesn't wait.
    fn read(&self, buf: &mut [u8]) -> io::Result<usize>;
}

/// What waits on a PTY.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pending {
    /// So many bytes of output (FIONREAD), after one packet byte.
    Bytes(NonZeroU16),
    /// A packet control byte alone (POLLPRI).
    ControlOnly,
    /// Nothing now.
    Nothing,
}

/// What came of [`Ring::land`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Landed {
    /// Output was read and is in the ring.
    Output(Record),
    /// A packet control byte (TIOCPKT_*) was read and nothing else; go on reading. 0: an empty packet.
    Control(u8),
    /// Nothing waits: wait for an edge.
    Nothing,
    /// No process has the other side open and all it wrote was read (EIO). Not final: it can be opened again.
    Closed,
    /// No room for output: nothing was read. Go on after a [`Ring::release`].
    Full,
}

/// The ring has no room for this record now; go on after a [`Ring::release`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session's crash ring is full")]
pub struct Full;

/// A crash ring in the hands of its one owner, the session's actor. It can move to another thread, not be shared.
///
/// Positions count bytes since the ring was made and never wrap; a place in the data is a position modulo its size.
#[derive(Debug)]
pub struct Ring {
    memory: Arc<Memory>,
    id: SessionId,
    tail: u64,
    head: u64,
    next: Seq,
    given_back: u64, // up to here pages were given back
}

impl Ring {
    /// A new ring for session `id`; its first record gets the number `first`.
    pub fn create(id: SessionId, first: Seq) -> io::Result<Ring> {
        let memory = Arc::new(Memory::create()?);
        layout::write_page(&memory, id, first);
        Ok(Ring { memory, id, tail: 0, head: 0, next: first, given_back: 0 })
    }

    /// Takes over a ring whose owner is gone. What was read or written whole is there, what was not is dropped.
    ///
    /// The caller makes sure that the former owner can't run any more (its pidfd says so).
    pub fn adopt(fd: OwnedFd) -> Result<(Ring, Adopted), RingError> {
        adopt::adopt(fd)
    }

    /// The memfd, to be handed to the keeper.
    pub fn fd(&self) -> &Arc<OwnedFd> {
        self.memory.fd()
    }

    /// The session it belongs to.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// The number the next record gets.
    pub fn next_seq(&self) -> Seq {
        self.next
    }

    /// True when nothing waits for the store.
    pub fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    /// True when at most one record was ever put into it: that of the beginning of its run.
    pub fn is_young(&self) -> bool {
        self.head <= FIRST_RECORD
    }

    /// True when [`Ring::land`] would read nothing for lack of room.
    pub fn is_full_for_output(&self) -> bool {
        self.free() < RESERVE_BYTES + record_bytes(MAX_LANDING)
    }

    /// One read, straight into the ring, recorded with the time `at`.
    pub fn land(&mut self, src: &impl PtySource, at: Stamp) -> io::Result<Landed> {
        if self.is_full_for_output() {
            return Ok(Landed::Full);
        }
        let n = match src.pending() {
            Ok(Pending::Bytes(n)) => usize::from(n.get()).min(MAX_LANDING),
            Ok(Pending::ControlOnly) => 0,
            Ok(Pending::Nothing) => return Ok(Landed::Nothing),
            Err(error) => return closed_or(error),
        };
        let header = Header { state: State::Landing, kind: Kind::Output as u8, len: n, seq: self.next, at };
        header.write(&self.memory, self.head);
        let read = self.memory.fill(self.head + PACKET_AT, n + 1, |window| {
            let got = read_once(src, window)?.min(window.len());
            Ok(window[..got].split_first().map(|(packet, body)| (*packet, Bytes::copy_from_slice(body))))
        });
        match read {
            Ok(Some((layout::DATA, body))) if !body.is_empty() => {
                if body.len() < n {
                    Header { len: body.len(), ..header }.restate(&self.memory, self.head);
                }
                Ok(Landed::Output(self.publish(Kind::Output, body, at)))
            }
            Ok(Some((control, _))) => {
                self.abandon();
                Ok(Landed::Control(control))
            }
            Ok(None) => {
                self.abandon();
                Ok(Landed::Closed)
            }
            Err(error) => {
                self.abandon();
                closed_or(error)
            }
        }
    }

    /// Records something that isn't output. It is in the ring when this returns.
    pub fn put(&mut self, kind: Kind, body: &[u8], at: Stamp) -> Result<Record, Full> {
        if record_bytes(body.len()) > self.free() {
            return Err(Full);
        }
        let header = Header { state: State::Writing, kind: kind as u8, len: body.len(), seq: self.next, at };
        header.write(&self.memory, self.head);
        self.memory.fill(self.head + HEADER_BYTES as u64, body.len(), |window| window.copy_from_slice(body));
        Ok(self.publish(kind, Bytes::copy_from_slice(body), at))
    }

    /// Everything up to and with `upto` is in the store: makes room.
    pub fn release(&mut self, upto: Seq) {
        let (mut tail, mut log) = (self.tail, LogTime::default());
        while tail < self.head {
            match Header::read(&self.memory, tail) {
                Some(header) if header.seq <= upto => {
                    tail += record_bytes(header.len) as u64;
                    log = log.max(header.at.log);
                }
                Some(_) => break,
                // Somebody wrote into it: no way from record to record is left, but all of it can go at its end.
                None if self.next.0 <= upto.0.saturating_add(1) => tail = self.head,
                None => break,
            }
        }
        if tail == self.tail {
            return;
        }
        advance(&self.memory, log); // what the records told is kept before they are gone: the time, and for the last, its number
        if tail == self.head {
            self.memory.store(layout::NEXT, self.next.0);
        }
        self.memory.store(layout::TAIL, tail);
        self.tail = tail;
        if self.is_empty() {
            self.give_back(GIVE_BACK);
        }
    }

    /// Its heartbeat, for whoever beats for many rings.
    pub fn pulse(&self) -> Pulse {
        Pulse(Arc::downgrade(&self.memory))
    }

    /// Gives drained memory back, to the page.
    pub fn tidy(&mut self) {
        self.give_back(GIVE_BACK_IDLE);
    }

    /// Keeps the terminal's modes as of the last record, so that typing right after an adoption is right.
    pub fn set_modes(&mut self, modes: u64) {
        self.memory.store(layout::MODES, modes);
    }

    /// What [`Ring::set_modes`] kept, 0 at first.
    pub fn modes(&self) -> u64 {
        self.memory.load(layout::MODES)
    }

    fn free(&self) -> usize {
        // One header is always left: behind the newest record stands a state word that says what is under way.
        RING_BYTES - HEADER_BYTES - (self.head - self.tail) as usize
    }

    fn publish(&mut self, kind: Kind, body: Bytes, at: Stamp) -> Record {
        let head = self.head + record_bytes(body.len()) as u64;
        layout::clear(&self.memory, head); // else old bytes could pass for a state
        self.memory.store(layout::HEAD, head);
        self.head = head;
        let record = Record { seq: self.next, kind, at, body };
        self.next = self.next.next();
        record
    }

    fn abandon(&mut self) {
        layout::clear(&self.memory, self.head);
    }

    fn give_back(&mut self, at_least: u64) {
        if self.tail - self.given_back < at_least {
            return;
        }
        // Pages that the head has come round to are in use again.
        let reused = (self.head + HEADER_BYTES as u64).saturating_sub(RING_BYTES as u64);
        let from = self.given_back.max(reused).next_multiple_of(memory::PAGE);
        let to = self.tail - self.tail % memory::PAGE;
        // A hole that can't be made costs memory, nothing else: the next try comes with the next drain.
        if from >= to || self.memory.punch(from, to).is_ok() {
            self.given_back = self.given_back.max(to);
        }
    }
}

/// The heartbeat of a ring. It keeps no ring alive.
#[derive(Debug)]
pub struct Pulse(Weak<Memory>);

impl Pulse {
    /// The session's time has come to `log`. False: the ring is gone. Only on the thread of the ring's owner, which
    /// advances the same word.
    pub fn beat(&self, log: LogTime) -> bool {
        self.0.upgrade().is_some_and(|memory| {
            advance(&memory, log);
            true
        })
    }
}

fn advance(memory: &Memory, log: LogTime) {
    if log.0 > memory.load(layout::HEARTBEAT) {
        memory.store(layout::HEARTBEAT, log.0);
    }
}

fn read_once(src: &impl PtySource, buf: &mut [u8]) -> io::Result<usize> {
    loop {
        match src.read(buf) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

fn closed_or(error: io::Error) -> io::Result<Landed> {
    match error {
        e if e.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => Ok(Landed::Closed),
        e if e.kind() == io::ErrorKind::WouldBlock => Ok(Landed::Nothing),
        e => Err(e),
    }
}
