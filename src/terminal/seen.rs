//! What is known of a screen's rows, and what is new when the screen has changed.
//!
//! A screen program repaints: a row that stood on the screen before must not look new because it was written again, or
//! because it has moved. So two screens are compared as two sequences of rows, as `diff` does with files. Pure: rows in,
//! news out; texts are known by their hash.

use super::SETTLE;
use crate::model::LogTime;
use std::collections::HashMap;
use std::time::Duration;

/// A row that has been looked at.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) hash: u64,
    /// Its first line, counted from where the screen's top was when counting began.
    pub(super) line: i64,
    /// How many lines it takes.
    pub(super) height: i64,
    pub(super) id: u64,
    /// It has been handed out as final, or stood there when reading began.
    pub(super) done: bool,
    /// When it was first seen with this text.
    pub(super) since: LogTime,
    pub(super) kind: Kind,
}

/// How it stands with a seen row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// It stands on the screen.
    Here,
    /// It stands on the screen, and so does another one with the same text, which was there before: perhaps a second one,
    /// perhaps one of the two is about to be repainted. Not judged before it has stood for [`SETTLE`].
    Double,
    /// Its place was cleared: a repaint may write it again.
    Cleared(LogTime),
}

/// A row as it stands on the screen now. Blank ones are left out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) hash: u64,
    pub(super) line: i64,
    pub(super) height: i64,
}

/// What was cleared is forgotten after so long, when the screen is never quiet for [`SETTLE`] (which forgets at once). Long
/// enough for a repaint, shorter than an answer takes.
const CLEARED_LIFE: Duration = Duration::from_secs(1);

/// Above so many pairs rows are matched greedily (a screen of 256 rows that all differ: 65,536 steps).
const PAIRS_MAX: usize = 1 << 16;

/// Brings `seen` up to date with the screen. Returns the places in `seen` of rows to be judged, in order.
///
/// `blank` tells whether nothing stands on a line now.
pub(super) fn update(
    seen: &mut Vec<Seen>,
    now: &[Now],
    at: LogTime,
    changed: LogTime,
    blank: impl Fn(i64) -> bool,
    ids: &mut u64,
) -> Vec<usize> {
    let pairs =
        align(&seen.iter().map(|s| s.hash).collect::<Vec<_>>(), &now.iter().map(|n| n.hash).collect::<Vec<_>>());
    let mut kept = vec![false; seen.len()];
    let here = |hash: u64| pairs.iter().zip(now).any(|(pair, row)| pair.is_some() && row.hash == hash);
    let mut next = Vec::with_capacity(now.len());
    let mut news = Vec::new();
    for (pair, row) in pairs.iter().zip(now) {
        let Now { hash, line, height } = *row;
        if let Some(i) = *pair {
            kept[i] = true;
            let kind = if seen[i].kind == Kind::Double { Kind::Double } else { Kind::Here };
            next.push(Seen { line, height, kind, ..seen[i].clone() });
            continue;
        }
        let rewritten = seen.iter().find(|s| s.line == line && !s.done && !now.iter().any(|n| n.hash == s.hash));
        let id = rewritten.map_or_else(|| fresh(ids), |s| s.id);
        let double = here(hash);
        if !double {
            news.push((line, id));
        }
        let kind = if double { Kind::Double } else { Kind::Here };
        next.push(Seen { hash, line, height, id, done: false, since: changed, kind });
    }
    forget(seen, &kept, &mut next, at, blank);
    for row in next.iter_mut().filter(|s| s.kind == Kind::Double && at >= s.since.after(SETTLE)) {
        row.kind = Kind::Here;
        news.push((row.line, row.id));
    }
    next.sort_by_key(|s| s.line);
    *seen = next;
    seen.iter().enumerate().filter(|(_, s)| news.contains(&(s.line, s.id))).map(|(i, _)| i).collect()
}

/// Rows that no longer stand on the screen: kept a while if their place was cleared; if another with the same text has
/// come, it was this one.
fn forget(seen: &[Seen], kept: &[bool], next: &mut Vec<Seen>, at: LogTime, blank: impl Fn(i64) -> bool) {
    for (old, _) in seen.iter().zip(kept).filter(|(_, kept)| !**kept) {
        if old.kind != Kind::Double
            && let Some(moved) = next.iter_mut().find(|n| n.hash == old.hash && n.kind == Kind::Double)
        {
            (moved.id, moved.done, moved.since, moved.kind) = (old.id, old.done, old.since, Kind::Here);
            continue;
        }
        let since = match old.kind {
            Kind::Cleared(since) => since,
            _ => at,
        };
        if at < since.after(CLEARED_LIFE) && (old.line..old.line + old.height).all(&blank) {
            next.push(Seen { kind: Kind::Cleared(since), ..old.clone() });
        }
    }
}

/// The next id.
pub(super) fn fresh(ids: &mut u64) -> u64 {
    *ids += 1;
    *ids - 1
}

/// For each of `new` the place in `old` of the row it is, both in order: a longest common subsequence.
pub(super) fn align(old: &[u64], new: &[u64]) -> Vec<Option<usize>> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (middle_old, middle_new) = (&old[head..old.len() - tail], &new[head..new.len() - tail]);
    let mut pairs: Vec<Option<usize>> = (0..head).map(Some).collect();
    let middle = if middle_old.len() * middle_new.len() <= PAIRS_MAX {
        common(middle_old, middle_new)
    } else {
        greedy(middle_old, middle_new)
    };
    pairs.extend(middle.into_iter().map(|p| p.map(|i| i + head)));
    pairs.extend((old.len() - tail..old.len()).map(Some));
    pairs
}

fn common(old: &[u64], new: &[u64]) -> Vec<Option<usize>> {
    if old.is_empty() || new.is_empty() {
        return vec![None; new.len()];
    }
    let width = new.len() + 1;
    let mut best = vec![0u16; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            best[i * width + j] = if old[i] == new[j] {
                best[(i + 1) * width + j + 1] + 1
            } else {
                best[(i + 1) * width + j].max(best[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, vec![None; new.len()]);
    while i < old.len() && j < new.len() {
        if old[i] == new[j] {
            pairs[j] = Some(i);
            (i, j) = (i + 1, j + 1);
        } else if best[(i + 1) * width + j] >= best[i * width + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

fn greedy(old: &[u64], new: &[u64]) -> Vec<Option<usize>> {
    let mut places: HashMap<u64, Vec<usize>> = HashMap::new();
    for (i, hash) in old.iter().enumerate() {
        places.entry(*hash).or_default().push(i);
    }
    let mut from = 0;
    let next = |hash: &u64| {
        let i = *places.get(hash)?.iter().find(|i| **i >= from)?;
        from = i + 1;
        Some(i)
    };
    new.iter().map(next).collect()
}
