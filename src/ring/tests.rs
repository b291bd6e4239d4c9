//! Tests of the ring against a fake PTY: a model, full, damage, memory. Crashes are in `crash_tests.rs`.

use super::{
    fake::{FakePty, Packet},
    layout,
    memory::FILE_BYTES,
    *,
};
use crate::model::Wall;
use proptest::prelude::*;
use std::{collections::VecDeque, os::unix::fs::FileExt};

pub(super) const ID: SessionId = SessionId([7; 16]);

pub(super) fn at(log: u64) -> Stamp {
    Stamp { wall: Wall(-(log as i64)), log: LogTime(log) }
}

/// What the memfd of a ring holds now.
pub(super) fn image(ring: &Ring) -> Vec<u8> {
    let mut image = vec![0; FILE_BYTES];
    std::fs::File::from(ring.fd().try_clone().unwrap()).read_exact_at(&mut image, 0).unwrap();
    image
}

/// A memfd that holds this, as a killed owner would leave it.
pub(super) fn memfd(image: &[u8]) -> OwnedFd {
    let fd = Memory::create().unwrap().fd().try_clone().unwrap();
    std::fs::File::from(fd.try_clone().unwrap()).write_all_at(image, 0).unwrap();
    fd
}

/// Land or fail.
fn output(ring: &mut Ring, bytes: &[u8], log: u64) -> Record {
    match ring.land(&FakePty::of([Packet::Output(Bytes::copy_from_slice(bytes))]), at(log)).unwrap() {
        Landed::Output(record) => record,
        other => panic!("{other:?}"),
    }
}

fn adopt_again(ring: Ring) -> (Ring, Adopted) {
    let fd = ring.fd().try_clone().unwrap();
    drop(ring);
    Ring::adopt(fd).unwrap()
}

#[test]
fn each_packet_lands_as_what_it_is() {
    let record = |seq, body: &[u8]| {
        Landed::Output(Record { seq: Seq(seq), kind: Kind::Output, at: at(1), body: Bytes::copy_from_slice(body) })
    };
    let cases = [
        (Packet::Output(Bytes::from("hello")), vec![record(1, b"hello"), Landed::Nothing]),
        (Packet::Output(vec![0xFF; 5].into()), vec![record(1, &[0xFF; 5]), Landed::Nothing]),
        (
            Packet::Output(vec![b'x'; 4000].into()),
            vec![record(1, &[b'x'; 3840]), record(2, &[b'x'; 160]), Landed::Nothing],
        ),
        (Packet::Control(8), vec![Landed::Control(8), Landed::Nothing]),
        (Packet::Control(0), vec![Landed::Control(0), Landed::Nothing]),
        (Packet::ControlBefore(4, Bytes::from("kept")), vec![Landed::Control(4), record(1, b"kept"), Landed::Nothing]),
        (Packet::Short(Bytes::from("short")), vec![record(1, b"short"), Landed::Nothing]),
        (Packet::HangUp, vec![Landed::Closed, Landed::Closed]),
    ];
    for (packet, wanted) in cases {
        let mut ring = Ring::create(ID, Seq(1)).unwrap();
        let source = FakePty::of([packet.clone()]);
        let got: Vec<Landed> = wanted.iter().map(|_| ring.land(&source, at(1)).unwrap()).collect();
        assert_eq!(got, wanted, "{packet:?}");
        let records: Vec<Record> = wanted
            .into_iter()
            .filter_map(|l| match l {
                Landed::Output(record) => Some(record),
                _ => None,
            })
            .collect();
        let (_, adopted) = adopt_again(ring);
        assert_eq!(adopted.records, records, "{packet:?}");
    }
}

#[test]
fn output_leaves_the_reserve_to_the_rest() {
    let mut ring = Ring::create(ID, Seq(1)).unwrap();
    while !ring.is_full_for_output() {
        output(&mut ring, &[b'x'; MAX_LANDING], 1);
    }
    assert_eq!(ring.land(&FakePty::of([Packet::Output(Bytes::from("x"))]), at(1)).unwrap(), Landed::Full);
    for _ in 0..2 {
        ring.put(Kind::Input, &[b'i'; 32 * KIB - 64], at(2)).unwrap();
    }
    assert_eq!(ring.put(Kind::Input, &[b'i'; 32 * KIB], at(3)), Err(Full));
    let last = Seq(ring.next_seq().0 - 1);
    let (mut ring, adopted) = adopt_again(ring);
    assert_eq!(adopted.records.len() as u64, last.0);
    ring.release(Seq(20));
    assert!(!ring.is_full_for_output());
    output(&mut ring, b"again", 4);
    ring.release(Seq(u64::MAX));
    assert!(ring.is_empty());
    assert_eq!(ring.put(Kind::Input, &vec![b'i'; MAX_BODY + 1], at(5)), Err(Full));
    ring.put(Kind::Input, &vec![b'i'; MAX_BODY], at(5)).unwrap();
}

#[test]
fn no_ring_holds_more_than_max_records() {
    let mut ring = Ring::create(ID, Seq(1)).unwrap();
    let mut records = 0;
    while ring.put(Kind::Typed, b"", at(1)).is_ok() {
        records += 1;
    }
    assert!(records <= MAX_RECORDS && records + 2 > MAX_RECORDS, "{records}");
}

#[test]
fn numbers_modes_and_time_survive_an_empty_ring() {
    let mut ring = Ring::create(ID, Seq(41)).unwrap();
    output(&mut ring, b"a", 9);
    ring.release(Seq(41));
    ring.set_modes(0b101);
    ring.pulse().beat(LogTime(77));
    let (mut ring, adopted) = adopt_again(ring);
    let wanted = Adopted { id: ID, records: vec![], log_time: LogTime(77), modes: 0b101, next: Seq(42), lost: None };
    assert_eq!(adopted, wanted);
    assert_eq!(output(&mut ring, b"b", 80).seq, Seq(42));
    assert_eq!(adopt_again(ring).1.log_time, LogTime(80));
}

#[test]
fn drained_memory_is_given_back() {
    let pages = |ring: &Ring| rustix::fs::fstat(ring.fd()).unwrap().st_blocks * 512 / 4096;
    let mut ring = Ring::create(ID, Seq(1)).unwrap();
    for round in 1..=40 {
        while !ring.is_full_for_output() {
            output(&mut ring, &[round as u8; MAX_LANDING], round);
        }
        let kept = ring.next_seq().0 - 3;
        ring.release(Seq(kept));
        ring.tidy();
        assert!(pages(&ring) <= 8, "three records stay, {} pages", pages(&ring));
        let (again, adopted) = adopt_again(ring);
        assert_eq!(adopted.records.iter().map(|r| r.seq.0).collect::<Vec<_>>(), [kept + 1, kept + 2]);
        assert!(adopted.records.iter().all(|r| *r.body == [round as u8; MAX_LANDING]));
        ring = again;
    }
    ring.release(Seq(u64::MAX));
    ring.tidy();
    assert!(pages(&ring) <= 2, "header page and the page of the head, {} pages", pages(&ring));
}

#[test]
fn other_files_are_refused() {
    let good = image(&Ring::create(ID, Seq(1)).unwrap());
    let word = |offset: usize, value: u64| {
        let mut image = good.clone();
        image[offset..offset + 8].copy_from_slice(&value.to_ne_bytes());
        image
    };
    let cases = [
        (word(layout::MAGIC, 1), "not a crash ring: it has no magic number"),
        (
            word(layout::VERSION, 2),
            "the crash ring has version 2, this program reads versions up to 1: use the newer termalive",
        ),
        (word(layout::VERSION, 0), "the crash ring is damaged: the check of its header page doesn't hold"),
        (word(layout::ID, 1), "the crash ring is damaged: the check of its header page doesn't hold"),
        (word(layout::SIZE, 4096), "the crash ring is damaged: the check of its header page doesn't hold"),
        (word(layout::TAIL, 8), "the crash ring is damaged: head and tail don't fit together"),
        (word(layout::HEAD, RING_BYTES as u64), "the crash ring is damaged: head and tail don't fit together"),
        (word(layout::HEAD, 7), "the crash ring is damaged: head and tail don't fit together"),
        (word(layout::HEAD, u64::MAX - 7), "the crash ring is damaged: head and tail don't fit together"),
        (word(layout::NEXT, u64::MAX), "the crash ring is damaged: its numbering is impossible"),
    ];
    for (image, wanted) in cases {
        assert_eq!(Ring::adopt(memfd(&image)).err().map(|e| e.to_string()).as_deref(), Some(wanted));
    }
    let unsealed = rustix::fs::memfd_create(c"test", rustix::fs::MemfdFlags::ALLOW_SEALING).unwrap();
    std::fs::File::from(unsealed.try_clone().unwrap()).write_all_at(&good, 0).unwrap();
    assert!(matches!(Ring::adopt(unsealed), Err(RingError::NotARing(_))));
    assert!(matches!(Ring::adopt(rustix::pipe::pipe().unwrap().0), Err(RingError::NotARing(_))));
}

#[test]
fn damage_cuts_off_and_is_named() {
    let mut ring = Ring::create(ID, Seq(1)).unwrap();
    let mut starts = Vec::new();
    for seq in 1..=9 {
        starts.push(ring.head);
        output(&mut ring, &[seq; 100], seq.into());
    }
    let whole = image(&ring);
    for (index, start) in starts.iter().enumerate() {
        for byte in 0..32 {
            let mut image = whole.clone();
            image[memory::DATA_AT + *start as usize + byte] ^= 0x10;
            let (mut ring, adopted) = Ring::adopt(memfd(&image)).unwrap();
            assert_eq!(adopted.records.len(), index, "byte {byte}");
            let (from, to) = adopted.lost.unwrap();
            assert!(from.0 == index as u64 + 1 && to >= Seq(9) && adopted.next == to.next(), "{adopted:?}");
            output(&mut ring, b"goes on", 50);
            let (_, again) = adopt_again(ring);
            assert_eq!((again.records.len(), again.lost), (index + 1, None));
        }
    }
}

/// What a test does with a ring.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Land(Packet),
    Put(u8, usize),
    Release(usize),
    Beat,
    Modes(u64),
    Adopt,
}

pub(super) fn ops() -> impl Strategy<Value = Op> {
    let bytes = |n: std::ops::Range<usize>| (any::<u8>(), n).prop_map(|(byte, n)| Bytes::from(vec![byte; n]));
    prop_oneof![
        4 => bytes(3000..3841).prop_map(|b| Op::Land(Packet::Output(b))),
        3 => bytes(1..300).prop_map(|b| Op::Land(Packet::Output(b))),
        1 => bytes(1..300).prop_map(|b| Op::Land(Packet::Short(b))),
        1 => (1u8..0x80).prop_map(|c| Op::Land(Packet::Control(c))),
        1 => (1u8..0x80, bytes(1..4095)).prop_map(|(c, b)| Op::Land(Packet::ControlBefore(c, b))),
        3 => (2u8..11, 0usize..200).prop_map(|(k, n)| Op::Put(k, n)),
        1 => (2u8..11, 0..32 * KIB).prop_map(|(k, n)| Op::Put(k, n)),
        2 => (0usize..80).prop_map(Op::Release),
        1 => Just(Op::Release(usize::MAX)),
        1 => Just(Op::Beat),
        1 => any::<u64>().prop_map(Op::Modes),
        1 => Just(Op::Adopt),
    ]
}

/// A ring as simple as can be.
#[derive(Clone, Debug, PartialEq, Default)]
pub(super) struct Model {
    pub(super) records: VecDeque<Record>,
    pub(super) next: u64,
    pub(super) modes: u64,
    pub(super) log: u64,
}

impl Model {
    fn push(&mut self, kind: Kind, body: Bytes, at: Stamp) -> Record {
        let record = Record { seq: Seq(self.next), kind, at, body };
        self.next += 1;
        self.log = self.log.max(at.log.0);
        self.records.push_back(record.clone());
        record
    }

    fn free(&self) -> usize {
        let used: usize = self.records.iter().map(|r| record_bytes(r.body.len())).sum();
        RING_BYTES - HEADER_BYTES - used
    }

    /// What adoption has to give, or what is wrong.
    pub(super) fn agrees(&self, got: &Adopted) -> Result<(), String> {
        let short = |r: &Record| (r.seq.0, r.kind, r.body.len(), r.at.log.0);
        let found: Vec<_> = got.records.iter().map(short).collect();
        let wanted: Vec<_> = self.records.iter().map(short).collect();
        if !self.records.iter().eq(&got.records) {
            return Err(format!("records (bodies may differ)\nfound  {found:?}\nwanted {wanted:?}"));
        }
        let found = (got.id, got.next, got.modes, got.log_time, got.lost);
        let wanted = (ID, Seq(self.next), self.modes, LogTime(self.log), None);
        if found == wanted { Ok(()) } else { Err(format!("found  {found:?}\nwanted {wanted:?}")) }
    }
}

/// Does the same with a ring and its model.
pub(super) fn run(ring: &mut Ring, model: &mut Model, op: &Op, now: Stamp) {
    match op {
        Op::Land(packet) => {
            let source = FakePty::of([packet.clone()]);
            let full = model.free() < RESERVE_BYTES + record_bytes(MAX_LANDING);
            let got = ring.land(&source, now).unwrap();
            let wanted = match packet {
                _ if full => Landed::Full,
                Packet::Output(out) | Packet::Short(out) => Landed::Output(model.push(Kind::Output, out.clone(), now)),
                Packet::Control(byte) | Packet::ControlBefore(byte, _) => Landed::Control(*byte),
                Packet::HangUp => Landed::Closed,
            };
            assert_eq!(got, wanted);
        }
        Op::Put(kind, len) => {
            let (kind, body) = (Kind::from_u8(*kind).unwrap(), Bytes::from(vec![*kind; *len]));
            let fits = record_bytes(body.len()) <= model.free();
            let wanted = fits.then(|| model.push(kind, body.clone(), now)).ok_or(Full);
            assert_eq!(ring.put(kind, &body, now), wanted);
        }
        Op::Release(n) => {
            let n = (*n).min(model.records.len());
            let gone: Vec<Record> = model.records.drain(..n).collect();
            if let Some(last) = gone.last() {
                ring.release(last.seq);
            }
        }
        Op::Beat => {
            model.log = model.log.max(now.log.0);
            ring.pulse().beat(now.log);
        }
        Op::Modes(modes) => {
            model.modes = *modes;
            ring.set_modes(*modes);
        }
        Op::Adopt => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_ring_is_its_model(first in 1u64..1000, ops in prop::collection::vec(ops(), 1..600)) {
        let mut ring = Ring::create(ID, Seq(first)).unwrap();
        let mut model = Model { next: first, ..Model::default() };
        for (now, op) in ops.iter().enumerate() {
            run(&mut ring, &mut model, op, at(now as u64));
            prop_assert_eq!(ring.next_seq(), Seq(model.next));
            prop_assert_eq!(ring.is_empty(), model.records.is_empty());
            if matches!(op, Op::Adopt) {
                let (again, adopted) = adopt_again(ring);
                model.agrees(&adopted).unwrap();
                ring = again;
            }
        }
        model.agrees(&adopt_again(ring).1).unwrap();
    }

    #[test]
    fn damage_never_panics(
        ops in prop::collection::vec(ops(), 1..120),
        damage in prop::collection::vec((prop_oneof![0usize..96, memory::DATA_AT..FILE_BYTES], any::<u8>()), 1..200),
    ) {
        let mut ring = Ring::create(ID, Seq(1)).unwrap();
        let mut model = Model { next: 1, ..Model::default() };
        ops.iter().enumerate().for_each(|(now, op)| run(&mut ring, &mut model, op, at(now as u64)));
        let mut image = image(&ring);
        // Most of it behind the check of the header page, so that it isn't all refused there.
        let keep = damage.len() % 2 == 0;
        for (place, byte) in damage {
            if !keep || place >= memory::DATA_AT {
                image[place] = byte;
            }
        }
        if let Ok((mut ring, adopted)) = Ring::adopt(memfd(&image)) {
            prop_assert!(adopted.records.windows(2).all(|w| w[0].seq < w[1].seq));
            prop_assert!(adopted.records.iter().all(|r| r.seq < adopted.next));
            let _ = ring.put(Kind::Typed, b"x", at(1));
            ring.release(Seq(u64::MAX));
            prop_assert!(ring.is_empty());
            ring.pulse().beat(LogTime(1));
            prop_assert_eq!(output(&mut ring, b"goes on", 2).seq, Seq(ring.next_seq().0 - 1));
        }
    }
}
