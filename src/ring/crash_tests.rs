//! Kills the owner of a ring, in thought, after each of its stores and in the middle of each copy.
//!
//! The memory's journal holds every store in order; each beginning of it is what a killed owner can leave behind.

use super::{
    fake::{FakePty, Packet},
    layout,
    memory::{DATA_AT, FILE_BYTES},
    tests::{ID, Model, Op, at, image, memfd, run},
    *,
};
use proptest::prelude::*;

/// Stores one entry of a journal; what lies in the second mapping lands where it belongs.
fn apply(image: &mut [u8], offset: usize, bytes: &[u8]) {
    for (i, byte) in bytes.iter().enumerate() {
        let place = offset + i;
        image[if place < FILE_BYTES { place } else { place - RING_BYTES }] = *byte;
    }
}

/// Adopts an image; adopting can be killed as well, and what was adopted goes on.
fn check(image: &[u8], wanted: &[&Model]) {
    let (ring, adopted) = Ring::adopt(memfd(image)).unwrap();
    let wrong: Vec<String> = wanted.iter().map_while(|model| model.agrees(&adopted).err()).collect();
    assert!(wrong.len() < wanted.len(), "{}", wrong.join("\n"));
    let stores = ring.memory.journal.lock().unwrap().clone();
    let mut killed = image.to_vec();
    for (offset, bytes) in stores {
        let (_, again) = Ring::adopt(memfd(&killed)).unwrap();
        assert_eq!(again, adopted);
        apply(&mut killed, offset, &bytes);
    }
    assert_eq!(Ring::adopt(memfd(&killed)).unwrap().1, adopted);
}

/// Runs the operations and kills the owner everywhere in the last one.
fn kill_everywhere(ops: &[Op]) {
    let mut ring = Ring::create(ID, Seq(1)).unwrap();
    let mut model = Model { next: 1, ..Model::default() };
    let Some((last, before_it)) = ops.split_last() else { return };
    if matches!(last, Op::Land(Packet::Short(_))) {
        return; // no kernel reads short; killed right then, the record would be as long as announced
    }
    before_it.iter().enumerate().for_each(|(now, op)| run(&mut ring, &mut model, op, at(now as u64)));
    let mut left = image(&ring);
    ring.memory.journal.lock().unwrap().clear();
    let before = model.clone();
    run(&mut ring, &mut model, last, at(ops.len() as u64));
    let after = &model;
    let landing = matches!(last, Op::Land(Packet::Output(_))) && before != *after;
    let mut was_read = false;
    for (offset, bytes) in ring.memory.journal.lock().unwrap().iter() {
        let either = [&before, after];
        check(
            &left,
            if was_read {
                &either[1..]
            } else if landing {
                &either[..1]
            } else {
                &either
            },
        );
        // Words are stored whole at multiples of 8; a packet byte and what was read behind it stand right before one.
        let is_copy = *offset >= DATA_AT && (bytes.len() != 8 || offset % 8 != 0);
        if is_copy && !landing {
            let mut half = left.clone();
            apply(&mut half, *offset, &bytes[..bytes.len() / 2]);
            check(&half, &either);
        }
        apply(&mut left, *offset, bytes);
        was_read |= is_copy && landing;
    }
    check(&left, &[after]);
    assert_eq!(left, image(&ring), "the journal is everything");
}

#[test]
fn a_kill_anywhere_is_understood() {
    let fill = |n: usize| std::iter::repeat_n(Op::Land(Packet::Output(vec![b'f'; MAX_LANDING].into())), n);
    let output = |n: usize| Op::Land(Packet::Output(vec![0xFF; n].into()));
    let lasts = [
        output(1),
        output(7), // with its packet byte as long as a word
        output(100),
        output(MAX_LANDING),
        Op::Land(Packet::Control(8)),
        Op::Land(Packet::ControlBefore(4, Bytes::from("kept"))),
        Op::Land(Packet::HangUp),
        Op::Put(2, 0),
        Op::Put(3, 1000),
        Op::Put(2, 32 * KIB),
        Op::Release(1),
        Op::Release(usize::MAX),
        Op::Beat,
        Op::Modes(3),
    ];
    // From an empty ring, a filled one, a drained one, and one whose next record lies over the end of the data.
    let firsts: [Vec<Op>; 4] = [
        vec![],
        fill(9).collect(),
        fill(9).chain([Op::Release(9)]).collect(),
        fill(40).chain([Op::Release(38), Op::Beat]).chain(fill(27)).chain([Op::Put(3, 100)]).collect(),
    ];
    for first in &firsts {
        for last in &lasts {
            kill_everywhere(&[first.as_slice(), std::slice::from_ref(last)].concat());
        }
    }
}

#[test]
fn the_packet_byte_decides() {
    let mut ring = Ring::create(ID, Seq(5)).unwrap();
    ring.put(Kind::Input, b"typed", at(1)).unwrap();
    let pos = ring.head;
    ring.land(&FakePty::of([Packet::Output("landed".into())]), at(2)).unwrap();
    let mut left = image(&ring);
    apply(&mut left, layout::HEAD, &pos.to_ne_bytes()); // as before it was published
    for (packet, published) in [(layout::NOT_READ, false), (layout::DATA, true), (1, false), (8, false), (0x7F, false)]
    {
        apply(&mut left, DATA_AT + (pos + PACKET_AT) as usize, &[packet]);
        let (_, adopted) = Ring::adopt(memfd(&left)).unwrap();
        let bodies: Vec<&[u8]> = adopted.records.iter().map(|r| &*r.body).collect();
        assert_eq!(bodies == [&b"typed"[..], b"landed"], published, "packet byte {packet:#x}");
        assert_eq!(adopted.records.len(), 1 + usize::from(published));
        assert_eq!(adopted.next, Seq(6 + u64::from(published)));
        assert_eq!(adopted.log_time, LogTime(1 + u64::from(published)), "the time in its header");
    }
}

#[test]
fn old_bytes_never_pass_for_a_state() {
    let mut ring = Ring::create(ID, Seq(1)).unwrap();
    let behind = ring.head + record_bytes(5) as u64;
    let forged = Header { state: State::Landing, kind: Kind::Output as u8, len: 3, seq: Seq(2), at: at(1) };
    forged.write(&ring.memory, behind);
    ring.memory.store_at(behind + PACKET_AT - 7, 0);
    assert!(Header::read(&ring.memory, behind).is_some() && layout::packet_byte(&ring.memory, behind) == layout::DATA);
    ring.put(Kind::Input, b"12345", at(1)).unwrap();
    let (_, adopted) = Ring::adopt(memfd(&image(&ring))).unwrap();
    assert_eq!((adopted.records.len(), adopted.next, adopted.lost), (1, Seq(2), None));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_kill_after_any_history_is_understood(ops in prop::collection::vec(super::tests::ops(), 1..250)) {
        kill_everywhere(&ops);
    }
}
