//! Which segments go: a table, and what holds for any store.

use super::*;
use proptest::prelude::*;

fn id(n: u8) -> SessionId {
    SessionId([n; 16])
}

/// Segment `n`, 10 bytes and a day older than the next, with (session, last, bytes).
fn holding(n: u64, age: u64, parts: &[(u8, u64, u64)]) -> Holding {
    let parts: Vec<_> = parts.iter().map(|(s, last, bytes)| (id(*s), Seq(*last), *bytes)).collect();
    Holding { n, bytes: parts.iter().map(|p| p.2).sum(), age: Duration::from_secs(age), parts }
}

#[test]
fn limits_take_the_oldest() {
    let closed = [
        holding(1, 30, &[(1, 10, 50), (2, 5, 10)]),
        holding(2, 20, &[(1, 20, 60)]),
        holding(3, 10, &[(1, 30, 40), (3, 9, 20)]),
    ];
    let newest = holding(4, 0, &[(1, 40, 10), (2, 6, 10)]);
    let none = Limits::default();
    let bytes = |n| Limits { bytes: Some(n), ..none };
    let session = |n| Limits { session_bytes: Some(n), ..none };
    let age = |n| Limits { age: Some(Duration::from_secs(n)), ..none };
    type Case<'a> = (Limits, &'a [u8], &'a [(u8, u64)], &'a [u64]);
    let table: [Case<'_>; 11] = [
        (none, &[], &[], &[]),
        (none, &[1], &[], &[2]),
        (none, &[1, 2], &[], &[1, 2]),
        (bytes(200), &[], &[], &[]),
        (bytes(199), &[], &[(1, 10), (2, 5)], &[1]),
        (bytes(139), &[1], &[(2, 5)], &[1, 2]),
        (bytes(1), &[], &[(1, 30), (2, 5), (3, 9)], &[1, 2, 3]),
        (session(110), &[], &[(1, 10)], &[]),
        (session(50), &[], &[(1, 20)], &[2]),
        (age(20), &[], &[(1, 20), (2, 5)], &[1, 2]),
        (age(31), &[], &[], &[]),
    ];
    for (limits, removed, take, delete) in table {
        let removed = removed.iter().map(|n| id(*n)).collect();
        let made = plan(&closed, &newest, &limits, &Marks::default(), &removed);
        let expected = take.iter().map(|(s, upto)| (id(*s), Seq(*upto))).collect();
        assert_eq!(made, Plan { take: expected, delete: delete.to_vec() }, "{limits:?} {removed:?}");
        let marks = Marks::default().with(&made.take, Wall(1), |_| false);
        let again = plan(&closed, &newest, &limits, &marks, &removed);
        assert_eq!((again.take.len(), again.delete), (0, made.delete), "decided again: {limits:?}");
    }
}

proptest! {
    #[test]
    fn what_is_kept_fits_and_nothing_else_goes(
        sizes in proptest::collection::vec(proptest::collection::vec((0u8..4, 1u64..100), 1..4), 0..12),
        limit in 0u64..1500,
    ) {
        let mut next = 0;
        let mut segments: Vec<Holding> = sizes.iter().zip(1..).map(|(parts, n)| {
            let mut parts: Vec<(u8, u64, u64)> = parts.iter().map(|(s, bytes)| { next += 10; (*s, next, *bytes) }).collect();
            parts.dedup_by_key(|p| p.0);
            holding(n, 100 - n, &parts)
        }).collect();
        let newest = segments.pop().unwrap_or_else(|| holding(1, 0, &[]));
        let limits = Limits { bytes: Some(limit), ..Limits::default() };
        let made = plan(&segments, &newest, &limits, &Marks::default(), &HashSet::new());
        let kept: u64 = segments.iter().filter(|s| !made.delete.contains(&s.n)).map(|s| s.bytes).sum();
        prop_assert!(kept + newest.bytes <= limit.max(newest.bytes));
        prop_assert_eq!(&made.delete, &(1..=made.delete.len() as u64).collect::<Vec<_>>(), "the oldest");
        if let Some(last) = made.delete.last() {
            let with_one_more = kept + newest.bytes + segments[*last as usize - 1].bytes;
            prop_assert!(with_one_more > limit, "one segment too many went");
        }
    }
}

#[test]
fn segments_are_small_enough_for_their_limits() {
    const MIB: u64 = 1 << 20;
    let limits = |bytes, session_bytes| Limits { bytes, session_bytes, age: None };
    for (limits, expected) in [
        (limits(None, None), 512 * MIB),
        (limits(Some(10 << 30), None), 512 * MIB),
        (limits(Some(64 * MIB), None), 8 * MIB),
        (limits(Some(64 * MIB), Some(16 * MIB)), 2 * MIB),
        (limits(Some(1), None), MIB / 4),
    ] {
        assert_eq!(limits.segment_bytes(512 * MIB), expected, "{limits:?}");
    }
}
