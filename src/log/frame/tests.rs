//! Frames there and back, damaged ones, newer ones.

use super::*;
use proptest::prelude::*;

type Stored = Vec<(Seq, u32, Vec<u8>)>;

const ID: SessionId = SessionId([3; 16]);

fn store(encoder: &mut Encoder, records: &[Record]) -> Stored {
    let mut frames = Vec::new();
    let records: Vec<&Record> = records.iter().collect();
    encoder.encode(ID, Seq(0), &records, |seq, part, f| frames.push((seq, part, f.to_vec())));
    frames
}

fn load(frames: &Stored) -> Vec<Record> {
    let mut joined: Vec<Record> = Vec::new();
    let mut decoder = Decoder::new();
    for (seq, part, frame) in frames {
        let (head, records) = decoder.decode(frame).unwrap();
        assert_eq!((head.first, head.part), (*seq, *part));
        for (i, record) in records.into_iter().enumerate() {
            match joined.last_mut() {
                Some(before) if i == 0 && *part > 0 => before.body = [&before.body[..], &record.body].concat().into(),
                _ => joined.push(record),
            }
        }
    }
    joined
}

fn noise(len: usize, mut seed: u64) -> Vec<u8> {
    let mut next = || {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..200),
        2 => (0usize..4000, any::<u64>()).prop_map(|(n, seed)| noise(n, seed)),
        2 => (0usize..4000).prop_map(|n| b"termalive keeps a log. ".iter().copied().cycle().take(n).collect()),
        1 => (0usize..200_000, any::<u64>()).prop_map(|(n, seed)| noise(n, seed)),
        1 => (0usize..200_000).prop_map(|n| vec![b'x'; n]),
        1 => (0usize..60_000, any::<u64>()).prop_map(|(n, s)| noise(n, s).iter().map(|b| b % 16 + 64).collect()),
    ]
}

fn record() -> impl Strategy<Value = (u64, u8, i64, u64, Vec<u8>)> {
    (1u64..1 << 40, 1u8..=10, any::<i64>(), any::<u64>(), body())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 64 } else { 2000 }))]

    #[test]
    fn records_survive_their_frames(parts in proptest::collection::vec(record(), 0..30)) {
        let mut seq = 0;
        let records: Vec<Record> = parts.into_iter().map(|(jump, kind, wall, log, body)| {
            seq += jump;
            let at = Stamp { wall: Wall(wall), log: LogTime(log) };
            Record { seq: Seq(seq), kind: Kind::from_u8(kind).unwrap(), at, body: body.into() }
        }).collect();
        let frames = store(&mut Encoder::default(), &records);
        prop_assert!(frames.iter().all(|(_, _, f)| f.len() <= FRAME_BYTES));
        prop_assert!(frames.is_sorted_by(|a, b| (a.0, a.1) < (b.0, b.1)), "keys rise");
        let mut before = Seq(0);
        for (seq, part, frame) in &frames {
            let head = Head::read(frame).unwrap();
            prop_assert!(head.id == Some(ID) && (head.before == Some(before) || *part > 0 && head.before < Some(*seq)));
            before = head.last;
        }
        let heap = frames.iter().map(|(_, _, f)| [&[VERSION, 0, 1][..], f].concat()).collect::<Vec<_>>().concat();
        let carved: Stored = carve(&heap).map(|(_, head, f)| (head.first, head.part, f.to_vec())).collect();
        prop_assert_eq!(&carved, &frames);
        prop_assert_eq!(load(&frames), records);
    }

    #[test]
    fn damage_is_an_error(at in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<prop::sample::Index>()) {
        let body = Bytes::from(noise(700, 3).iter().map(|b| b % 32).collect::<Vec<_>>());
        let records = [1, 5].map(|s| Record { seq: Seq(s), kind: Kind::Output, at: Stamp::default(), body: body.clone() });
        let frames = store(&mut Encoder::default(), &records);
        let mut frame = frames[0].2.clone();
        let cut = &frame[..cut.index(frame.len())];
        prop_assert!(matches!(Decoder::new().decode(cut), Err(FrameError::Damaged(_))));
        let at = at.index(frame.len());
        frame[at] ^= 1 << bit;
        prop_assert!(matches!(Decoder::new().decode(&frame), Err(FrameError::Damaged(_))));
    }

    #[test]
    fn bytes_with_a_right_checksum_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), count in 0u8..5) {
        let (version, rest) = (1 + count % 2, bytes.len().saturating_sub(36) as u16);
        let mut frame = vec![version, bytes.first().map_or(0, |b| b % 3), 0, 0, 0, 0, 0, 0, count, 0];
        frame.extend(rest.to_le_bytes());
        frame.extend(bytes);
        if version == 2 && let Some(len) = frame.get_mut(72..74) {
            len.copy_from_slice(&rest.saturating_sub(28).to_le_bytes());
        }
        if frame.len() > CRC_AT + 4 {
            let right = crc(&frame).to_le_bytes();
            frame[CRC_AT..CRC_AT + 4].copy_from_slice(&right);
        }
        let _ = Decoder::new().decode(&frame);
    }
}

fn one(seq: u64, body: Vec<u8>) -> Record {
    Record { seq: Seq(seq), kind: Kind::Output, at: Stamp::default(), body: body.into() }
}

#[test]
fn a_newer_version_is_refused_with_a_sentence() {
    let mut frame = store(&mut Encoder::default(), &[one(1, b"x".to_vec())]).remove(0).2;
    frame[0] = VERSION + 1;
    let right = crc(&frame).to_le_bytes();
    frame[CRC_AT..CRC_AT + 4].copy_from_slice(&right);
    let refused = Decoder::new().decode(&frame).unwrap_err();
    assert_eq!(refused, FrameError::TooNew(3));
    assert!(refused.to_string().contains("newer termalive"), "{refused}");
}

#[test]
fn an_unknown_kind_is_left_out() {
    let mut frame = store(&mut Encoder::default(), &[one(1, noise(100, 1)), one(2, noise(100, 2))]).remove(0).2;
    assert_eq!((frame[1], frame[HEADER + 1]), (RAW, Kind::Output as u8));
    frame[HEADER + 1] = 200;
    let right = crc(&frame).to_le_bytes();
    frame[CRC_AT..CRC_AT + 4].copy_from_slice(&right);
    let (head, records) = Decoder::new().decode(&frame).unwrap();
    assert_eq!((head.count, head.last), (2, Seq(2)));
    assert_eq!(records, [one(2, noise(100, 2))]);
}

#[test]
fn frames_are_well_filled() {
    let mut encoder = Encoder::default();
    let text = |i: u64| (0..).flat_map(move |n: u64| format!("{:x} file-{n} compiled\n", i * n * 7919).into_bytes());
    let records: Vec<Record> = (1..400).map(|i| one(i, text(i).take(3840).collect())).collect();
    let frames = store(&mut encoder, &records);
    let mean = frames.iter().map(|(_, _, f)| f.len()).sum::<usize>() / frames.len();
    assert!(mean > FRAME_BYTES / 2, "{mean} bytes a frame, {} frames", frames.len());
}
