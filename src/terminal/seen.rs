//! What is known of a screen's rows, and what is new when the screen has changed.
//!
//! A screen program repaints: a row that stood on the screen before must not look new because it was written again, or
//! because it has moved. So two screens are compared as two sequences of rows, as `diff` does with files. Pure: rows in,
//! news out; texts are known by their hash.

use super::SETTLE;
use crate::model::LogTime;
use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Range;
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
    /// perhaps one of the two is about to be repainted. Not judged before a frame has ended, or it has stood for [`SETTLE`].
    Double,
    /// It no longer stands on the screen: it isn't new when it comes back to its place.
    Gone(Gone),
}

/// How a row has gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Gone {
    since: LogTime,
    how: How,
    /// It went as a [`Kind::Double`]: it hasn't been judged.
    double: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum How {
    /// Another stands in its place.
    Replaced,
    /// Its place was cleared: a repaint may write it again.
    Cleared,
    /// The program has scrolled, and it was above what still stands there.
    Above,
}

impl Seen {
    /// It stands on the screen.
    pub(super) fn here(&self) -> bool {
        !matches!(self.kind, Kind::Gone(_))
    }

    /// Its text and where it stands.
    pub(super) fn place(&self) -> Now {
        Now { hash: self.hash, line: self.line, height: self.height }
    }

    /// What it is when it still stands there or comes back.
    fn back(&self) -> Kind {
        match self.kind {
            Kind::Double | Kind::Gone(Gone { double: true, .. }) => Kind::Double,
            Kind::Here | Kind::Gone(_) => Kind::Here,
        }
    }

    /// The screen being quiet, it isn't waited for any longer.
    pub(super) fn given_up(&self) -> bool {
        matches!(self.kind, Kind::Gone(Gone { how: How::Replaced | How::Cleared, .. }))
    }
}

/// Texts of rows that have gone while others moved up, by their hashes: what a program that scrolls back can show again.
#[derive(Clone, Debug, Default)]
pub(super) struct Left {
    hashes: VecDeque<u64>,
}

/// How many of them are remembered. 1,024: forty screens of the usual height.
const LEFT_MAX: usize = 1024;

impl Left {
    fn note(&mut self, hash: u64) {
        self.hashes.push_back(hash);
        if self.hashes.len() > LEFT_MAX {
            self.hashes.pop_front();
        }
    }
}

/// When the screen is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) at: LogTime,
    /// When the screen changed last.
    pub(super) changed: LogTime,
    /// The program has said that the frame is whole: nothing that stands there is about to be repainted.
    pub(super) whole: bool,
}

/// A row as it stands on the screen now. Blank ones are left out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) hash: u64,
    pub(super) line: i64,
    pub(super) height: i64,
}

/// A row that was cleared is forgotten after so long, when the screen is never quiet for [`SETTLE`] (which forgets at once):
/// longer than a repaint in several frames takes.
const CLEARED_LIFE: Duration = Duration::from_millis(300);
/// A row that was replaced is forgotten after so long. One agent scrolls back and on again by frames 10 ms apart; a state
/// that comes back (`ready`, `working`, `ready`) takes longer.
const REPLACED_LIFE: Duration = Duration::from_millis(60);
/// Rows that have gone and are remembered, beside twice as many as stand on the screen: the last ones, since each look
/// passes over all of them.
const GONE_MAX: usize = 32;
/// Above so many pairs rows are matched greedily (a screen of 256 rows that all differ: 65,536 steps).
const PAIRS_MAX: usize = 1 << 16;

/// Brings `seen` up to date with the screen. Returns the places in `seen` of rows to be judged, in order.
///
/// `blank` tells whether nothing stands on a line now.
pub(super) fn update(
    seen: &mut Vec<Seen>,
    left: &mut Left,
    now: &[Now],
    look: Look,
    blank: impl Fn(i64) -> bool,
    ids: &mut u64,
) -> Vec<usize> {
    let pairs = pair(seen, left, now);
    if pairs.iter().zip(now).any(|(p, n)| p.is_some_and(|i| n.line < seen[i].line)) {
        let stay: HashSet<usize> = pairs.iter().flatten().copied().collect();
        let gone = seen.iter().enumerate().filter(|(i, row)| row.here() && !stay.contains(i));
        gone.for_each(|(_, row)| left.note(row.hash));
    }
    let double = |hash: u64| pairs.iter().zip(now).any(|(p, n)| n.hash == hash && p.is_some_and(|i| seen[i].here()));
    let (mut next, mut news): (Vec<Seen>, Vec<i64>) = (Vec::with_capacity(now.len()), Vec::new());
    let scrolled = pairs.iter().zip(now).find_map(|(p, n)| p.map(|i| (i, n))).filter(|(i, n)| n.line < seen[*i].line);
    let leave = |i: usize| {
        let how = match &seen[i] {
            _ if scrolled.is_some_and(|(first, _)| i < first) => How::Above,
            row if (row.line..row.line + row.height).all(&blank) => How::Cleared,
            _ => How::Replaced,
        };
        gone(&seen[i], how, look.at)
    };
    let mut passed = 0;
    for (j, row) in now.iter().enumerate() {
        // What was there comes before what is new in its place: most screens grow downwards.
        let anchor = pairs[j..].iter().find_map(|p| *p).unwrap_or(seen.len());
        next.extend((passed..anchor).filter_map(leave));
        passed = anchor;
        let Now { hash, line, height } = *row;
        if let Some(i) = pairs[j] {
            passed = i + 1;
            next.push(Seen { line, height, kind: seen[i].back(), ..seen[i].clone() });
            continue;
        }
        let rewritten =
            seen.iter().find(|s| s.line == line && s.here() && !s.done && !now.iter().any(|n| n.hash == s.hash));
        let id = rewritten.map_or_else(|| fresh(ids), |s| s.id);
        let kind = if double(hash) { Kind::Double } else { Kind::Here };
        if kind == Kind::Here {
            news.push(line);
        }
        next.push(Seen { hash, line, height, id, done: false, since: look.changed, kind });
    }
    next.extend((passed..seen.len()).filter_map(leave));
    settle_doubles(&mut next, look, &mut news);
    keep_ids_apart(&mut next, ids);
    forget_oldest(&mut next, 2 * now.len() + GONE_MAX);
    *seen = next;
    seen.iter().enumerate().filter(|(_, s)| s.here() && news.contains(&s.line)).map(|(i, _)| i).collect()
}

/// A row that no longer stands on the screen, if it is to be remembered.
fn gone(row: &Seen, how: How, at: LogTime) -> Option<Seen> {
    let gone = match row.kind {
        Kind::Gone(gone) if how != How::Above => gone,
        _ => Gone { since: at, how, double: row.back() == Kind::Double },
    };
    let kept = match gone.how {
        How::Above => true,
        How::Cleared => at < gone.since.after(CLEARED_LIFE),
        How::Replaced => at < gone.since.after(REPLACED_LIFE),
    };
    kept.then(|| Seen { kind: Kind::Gone(gone), ..row.clone() })
}

/// A row that has come back may find that the one in its place has taken its id.
fn keep_ids_apart(rows: &mut [Seen], ids: &mut u64) {
    let mut taken = HashSet::with_capacity(rows.len());
    for row in rows.iter_mut().filter(|row| row.here()) {
        if !taken.insert(row.id) {
            row.id = fresh(ids);
        }
    }
}

/// Leaves at most `max` of the rows that have gone.
fn forget_oldest(rows: &mut Vec<Seen>, max: usize) {
    let since = |row: &Seen| match row.kind {
        Kind::Gone(gone) => Some(gone.since),
        _ => None,
    };
    let mut times: Vec<LogTime> = rows.iter().filter_map(since).collect();
    let Some(mut over) = times.len().checked_sub(max).filter(|over| *over > 0) else { return };
    let (_, limit, _) = times.select_nth_unstable(over - 1);
    let limit = *limit;
    rows.retain(|row| {
        let drop = over > 0 && since(row).is_some_and(|since| since <= limit);
        over -= usize::from(drop);
        !drop
    });
}

/// Of two rows with the same text one has gone, and no row that stood there before is between them: then the other is that
/// one, moved. Or both have stood, at the end of a frame: then it is new.
fn settle_doubles(rows: &mut Vec<Seen>, look: Look, news: &mut Vec<i64>) {
    let mut moved: Vec<(usize, usize)> = Vec::new();
    for i in (0..rows.len()).filter(|i| rows[*i].kind == Kind::Double) {
        let twin = |j: &usize| {
            rows[*j].hash == rows[i].hash
                && matches!(rows[*j].kind, Kind::Gone(g) if g.since == look.at)
                && moved.iter().all(|(_, taken)| taken != j)
        };
        let stood = |row: &Seen| row.kind == Kind::Here && (row.done || row.since < rows[i].since);
        let before = (0..i).rev().take_while(|j| !stood(&rows[*j])).find(twin);
        let after = || (i + 1..rows.len()).take_while(|j| !stood(&rows[*j])).find(twin);
        moved.extend(before.or_else(after).map(|j| (i, j)));
    }
    for &(i, old) in &moved {
        let Seen { id, done, since, .. } = rows[old];
        rows[i] = Seen { id, done, since, kind: rows[old].back(), ..rows[i].clone() };
    }
    for row in rows.iter_mut().filter(|row| row.kind == Kind::Double) {
        if look.whole || look.at >= row.since.after(SETTLE) {
            row.kind = Kind::Here;
            news.push(row.line);
        }
    }
    let mut i = 0;
    rows.retain(|_| {
        i += 1;
        !moved.iter().any(|(_, old)| *old == i - 1)
    });
}

/// For each row on the screen the place in `seen` of the row it is. First among those that stood there; then, between two of
/// those, among those that have gone.
fn pair(seen: &[Seen], left: &Left, now: &[Now]) -> Vec<Option<usize>> {
    let here: Vec<usize> = (0..seen.len()).filter(|i| seen[*i].here()).collect();
    let old: Vec<Now> = here.iter().map(|i| seen[*i].place()).collect();
    let mut pairs: Vec<Option<usize>> = moved(&old, now, left).into_iter().map(|p| p.map(|i| here[i])).collect();
    if here.len() == seen.len() || pairs.iter().all(Option::is_some) {
        return pairs;
    }
    between(&mut pairs, |gap, after, before, pairs| come_back(seen, (after, before), &now[gap], pairs));
    pairs
}

/// Calls `fill` for each stretch of rows without a pair: where it is, the pairs after which and before which it is, the stretch.
fn between(
    pairs: &mut [Option<usize>],
    mut fill: impl FnMut(Range<usize>, Option<usize>, Option<usize>, &mut [Option<usize>]),
) {
    let mut j = 0;
    while j < pairs.len() {
        if pairs[j].is_some() {
            j += 1;
            continue;
        }
        let end = (j..pairs.len()).find(|j| pairs[*j].is_some()).unwrap_or(pairs.len());
        let after = j.checked_sub(1).and_then(|j| pairs[j]);
        let before = pairs.get(end).copied().flatten();
        fill(j..end, after, before, &mut pairs[j..end]);
        j = end;
    }
}

/// For each of `new` the place in `old` of the row it is. As many as can be, unless that takes a part of a transcript that is
/// said again, word for word, for the old one moved down: a transcript grows at its end, so a row that would be new above what
/// has moved down must be one that had `left`, and not one which stood below and can have moved up.
fn moved(old: &[Now], new: &[Now], left: &Left) -> Vec<Option<usize>> {
    let most = align(old, new, |_, _| true);
    let last_down = most.iter().zip(new).rposition(|(p, n)| p.is_some_and(|i| n.line > old[i].line));
    let Some(last_down) = last_down else { return most };
    let mut up = align(old, new, |a, b| b.line <= a.line);
    if !(0..last_down).any(|j| up[j].is_some() && most[j].is_none() && !left.hashes.contains(&new[j].hash)) {
        return most;
    }
    between(&mut up, |gap, after, before, pairs| {
        let low = after.map_or(0, |i| i + 1);
        let rest = align(&old[low..before.unwrap_or(old.len())], &new[gap], |_, _| true);
        pairs.iter_mut().zip(rest).for_each(|(pair, i)| *pair = i.map(|i| low + i));
    });
    up
}

/// Rows that have come back between two that stand (places in `seen`): next to one of these as before, or where the screen
/// was cleared.
fn come_back(seen: &[Seen], (after, before): (Option<usize>, Option<usize>), now: &[Now], pairs: &mut [Option<usize>]) {
    let (mut low, mut high) = (after.map_or(0, |i| i + 1), before.unwrap_or(seen.len()));
    let (mut first, mut end) = (0, now.len());
    let same = |i: usize, j: usize| !seen[i].here() && seen[i].hash == now[j].hash;
    while after.is_some() && low < high && first < end && same(low, first) {
        pairs[first] = Some(low);
        (low, first) = (low + 1, first + 1);
    }
    while before.is_some() && low < high && first < end && same(high - 1, end - 1) {
        (high, end) = (high - 1, end - 1);
        pairs[end] = Some(high);
    }
    let cleared = |i: &usize| matches!(seen[*i].kind, Kind::Gone(Gone { how: How::Cleared, .. }));
    let cleared: Vec<usize> = (low..high).filter(cleared).collect();
    let old: Vec<Now> = cleared.iter().map(|i| seen[*i].place()).collect();
    for (pair, i) in pairs[first..end].iter_mut().zip(align(&old, &now[first..end], |_, _| true)) {
        *pair = i.map(|i| cleared[i]);
    }
}

/// The next id.
pub(super) fn fresh(ids: &mut u64) -> u64 {
    *ids += 1;
    *ids - 1
}

/// For each of `new` the place in `old` of a row with the same text which it `can` be, both in order: a longest common subsequence.
pub(super) fn align(old: &[Now], new: &[Now], can: impl Fn(&Now, &Now) -> bool) -> Vec<Option<usize>> {
    let same = |a: &Now, b: &Now| a.hash == b.hash && can(a, b);
    let head = old.iter().zip(new).take_while(|(a, b)| same(a, b)).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(a, b)| same(a, b)).count();
    let (middle_old, middle_new) = (&old[head..old.len() - tail], &new[head..new.len() - tail]);
    let mut pairs: Vec<Option<usize>> = (0..head).map(Some).collect();
    let middle = if middle_old.len() * middle_new.len() <= PAIRS_MAX {
        common(middle_old, middle_new, same)
    } else {
        greedy(middle_old, middle_new, same)
    };
    pairs.extend(middle.into_iter().map(|p| p.map(|i| i + head)));
    pairs.extend((old.len() - tail..old.len()).map(Some));
    pairs
}

fn common(old: &[Now], new: &[Now], same: impl Fn(&Now, &Now) -> bool) -> Vec<Option<usize>> {
    if old.is_empty() || new.is_empty() {
        return vec![None; new.len()];
    }
    let width = new.len() + 1;
    let mut best = vec![0u16; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            best[i * width + j] = if same(&old[i], &new[j]) {
                best[(i + 1) * width + j + 1] + 1
            } else {
                best[(i + 1) * width + j].max(best[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, vec![None; new.len()]);
    while i < old.len() && j < new.len() {
        if same(&old[i], &new[j]) {
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

fn greedy(old: &[Now], new: &[Now], same: impl Fn(&Now, &Now) -> bool) -> Vec<Option<usize>> {
    let mut places: HashMap<u64, Vec<usize>> = HashMap::new();
    for (i, row) in old.iter().enumerate() {
        places.entry(row.hash).or_default().push(i);
    }
    let mut from = 0;
    let next = |row: &Now| {
        let i = *places.get(&row.hash)?.iter().find(|i| **i >= from && same(&old[**i], row))?;
        from = i + 1;
        Some(i)
    };
    new.iter().map(next).collect()
}
