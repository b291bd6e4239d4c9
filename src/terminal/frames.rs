//! A program that paints a screen: which rows are new when it has painted a frame, and which have scrolled off.
//!
//! Looked at is the screen as it stands at the end of a frame, never half of a synchronized update; rows are compared with
//! those of the last look (`seen`). Called by `handler` before anything is moved or wiped.

use super::{
    Above,
    seen::{self, Kind, Left, Look, Now, Seen, fresh},
    text::{blank, push_cells, push_lines, text_hash, wraps},
};
use crate::model::LogTime;
use alacritty_terminal::{
    grid::{Dimensions, Grid},
    term::cell::Cell,
};
use std::{ops::Range, time::Duration};

/// A row that is to be handed out.
pub(super) struct Out {
    pub(super) id: u64,
    pub(super) above: Option<Above>,
    pub(super) text: String,
    /// It goes on in the next one.
    pub(super) more: bool,
}

impl Out {
    /// A row below another one.
    pub(super) fn below(above: Option<Above>, id: u64, text: String) -> Out {
        Out { id, above, text, more: false }
    }

    /// The next row of a program that goes forward, where rows are numbered in order.
    pub(super) fn next(id: u64, text: String) -> Out {
        Out::below(id.checked_sub(1).map(|id| Above { id, blanks: 0 }), id, text)
    }
}

/// What is known of a screen.
#[derive(Clone, Debug)]
pub(super) struct Frames {
    seen: Vec<Seen>,
    left: Left,
    /// How many lines have scrolled off: a line's number for `seen` is this plus its place on the screen.
    base: i64,
    lines: Vec<Line>,
    /// Something was written since the last look.
    pub(super) written: bool,
    /// The last row that has scrolled off: its number and where it ended.
    off: Option<(u64, i64)>,
    /// What has scrolled off of the row at the top.
    head: Option<Head>,
    /// The last row that scrolled off was handed out (blank ones after it are, too).
    handed: bool,
    /// Where the rows end that were handed out before painting began, as long as these haven't scrolled off.
    printed: Option<i64>,
}

/// The first lines of a row.
#[derive(Clone, Debug)]
struct Head {
    /// The number of its first line.
    first: i64,
    /// The id under which a part of it was handed out.
    id: Option<u64>,
    text: String,
}

/// What has happened to a line since the last look.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    /// Written on.
    written: bool,
    /// Perhaps another text, by writing, erasing or moving.
    stale: bool,
}

/// A row at the top is handed out in parts of so much text: it is read at each look. 64 KiB: more than a screen of 1,000
/// columns is worth.
const HEAD_CUT: usize = 64 * crate::model::KIB;

/// A row that a clear wipes is final when it has stood so long: somebody could read it. A row of a repaint hasn't, or
/// comes back at once. Unit: log time.
const STOOD: Duration = Duration::from_secs(1);

impl Frames {
    /// A screen of which nothing is known; what stands on it isn't either.
    pub(super) fn blank(lines: usize) -> Frames {
        Frames {
            seen: Vec::new(),
            left: Left::default(),
            base: 0,
            lines: vec![Line { written: false, stale: true }; lines],
            written: false,
            off: None,
            head: None,
            handed: false,
            printed: None,
        }
    }

    /// A screen on which all is final or old, but for the row at `open`, if it is given: its line and its id, and the text
    /// of it that has scrolled off. What stands above it was handed out if something `was_printed`.
    pub(super) fn stands(
        grid: &Grid<Cell>,
        open: Option<(i32, u64, String)>,
        was_printed: bool,
        at: LogTime,
        ids: &mut u64,
    ) -> Frames {
        let mut frames = Frames::blank(grid.screen_lines());
        let open = open.map(|(line, id, off)| {
            frames.head = (!off.is_empty()).then_some(Head { first: -1, id: Some(id), text: off });
            frames.printed = was_printed.then_some(i64::from(line));
            (i64::from(line), id)
        });
        for Now { hash, line, height } in frames.now(grid) {
            let id = open.filter(|(l, _)| *l == line).map(|(_, id)| id);
            let done = id.is_none();
            let id = id.unwrap_or_else(|| fresh(ids));
            frames.seen.push(Seen { hash, line, height, id, done, since: at, kind: Kind::Here });
        }
        frames.lines.fill(Line::default());
        frames
    }

    /// Something is written on a line.
    pub(super) fn write(&mut self, line: i32) {
        self.lines[line as usize] = Line { written: true, stale: true };
        self.written = true;
    }

    /// What stands on a line wasn't looked at.
    pub(super) fn unsee(&mut self, line: i32) {
        self.seen.retain(|s| s.line != i64::from(line));
        self.write(line);
    }

    /// Something was erased or moved on a line.
    pub(super) fn stale(&mut self, lines: Range<i32>) {
        for line in &mut self.lines[lines.start as usize..lines.end as usize] {
            line.stale = true;
        }
    }

    /// True when something was written on one of the lines since the last look.
    pub(super) fn news(&self, lines: Range<i32>) -> bool {
        self.lines[lines.start as usize..lines.end as usize].iter().any(|l| l.written)
    }

    /// Looks at the screen; returns what is to be judged.
    pub(super) fn look(&mut self, grid: &Grid<Cell>, look: Look, ids: &mut u64) -> Vec<Out> {
        if !self.lines.iter().any(|l| l.stale) && !self.seen.iter().any(|s| s.kind == Kind::Double) {
            return Vec::new();
        }
        let now = self.now(grid);
        self.written = false;
        self.lines.fill(Line::default());
        let (base, lines) = (self.base, grid.screen_lines() as i64);
        let is_blank = |line: i64| (base..base + lines).contains(&line) && blank(grid, (line - base) as i32);
        let news = seen::update(&mut self.seen, &mut self.left, &now, look, is_blank, ids);
        news.into_iter().map(|i| self.out(grid, i)).collect()
    }

    /// A row that stands there.
    fn out(&self, grid: &Grid<Cell>, i: usize) -> Out {
        let row = &self.seen[i];
        let above = self.seen[..i].iter().rev().find(|s| s.here()).map(|s| (s.id, s.line + s.height)).or(self.off);
        Out::below(above.map(|above| gap(above, row.line)), row.id, self.text(grid, row))
    }

    /// The screen has been quiet: cleared rows aren't waited for any longer.
    pub(super) fn quiet(&mut self) {
        self.seen.retain(|s| !s.given_up());
    }

    /// All that stands there is old.
    pub(super) fn all_done(&mut self) {
        self.seen.iter_mut().for_each(|s| s.done = true);
    }

    /// `n` lines are about to scroll off the top; returns the rows that are final by it.
    pub(super) fn scroll_off(&mut self, grid: &Grid<Cell>, n: i32, ids: &mut u64) -> Vec<Out> {
        let out = self.lines_off(grid, 0..n, ids);
        self.base += i64::from(n);
        let n = (n as usize).min(self.lines.len());
        self.lines.rotate_left(n);
        let end = self.lines.len() - n;
        self.lines[end..].fill(Line::default());
        let oldest = self.base - self.lines.len() as i64;
        if self.seen.first().is_some_and(|s| s.line < oldest) {
            self.seen.retain(|s| s.line >= oldest);
        }
        out
    }

    /// A part of the screen is about to scroll up, and what leaves it is lost.
    pub(super) fn scroll_lost(&mut self, region: Range<i32>, n: i32) {
        let lines = &mut self.lines[region.start as usize..region.end as usize];
        lines.rotate_left(n as usize);
        let end = lines.len() - n as usize;
        lines[end..].fill(Line::default());
        self.stale(region);
    }

    /// Lines that leave by the top; returns the rows that end on them.
    fn lines_off(&mut self, grid: &Grid<Cell>, lines: Range<i32>, ids: &mut u64) -> Vec<Out> {
        let mut out = Vec::new();
        for line in lines {
            let first = self.base + i64::from(line);
            let mut head = self.head.take().unwrap_or(Head { first, id: None, text: String::new() });
            if wraps(grid, line) {
                push_cells(grid, line, grid.columns(), &mut head.text);
                if head.text.len() >= HEAD_CUT {
                    let id = *head.id.get_or_insert_with(|| fresh(ids));
                    let above = self.off.map(|off| gap(off, head.first));
                    out.push(Out { more: true, ..Out::below(above, id, std::mem::take(&mut head.text)) });
                }
                self.head = Some(head);
                continue;
            }
            push_lines(grid, line, line, usize::MAX, &mut head.text);
            head.text.truncate(head.text.trim_end_matches(' ').len());
            let above = self.off.map(|off| gap(off, head.first));
            match head.id {
                Some(id) => {
                    self.seen.retain(|s| s.id != id);
                    self.off = Some((id, first + 1));
                    out.push(Out::below(above, id, head.text));
                }
                None => out.extend(self.leave((head.first, first), above, head.text, ids)),
            }
        }
        out
    }

    /// The row on lines `first ..= last` has left the screen.
    fn leave(&mut self, (first, last): (i64, i64), above: Option<Above>, text: String, ids: &mut u64) -> Option<Out> {
        self.handed |= self.printed.take_if(|end| *end <= first).is_some();
        if text.is_empty() {
            return self.handed.then(|| Out::below(above, fresh(ids), text));
        }
        let hash = (!self.seen.is_empty()).then(|| text_hash(&text));
        let here = self.seen.iter().position(|s| s.line == first && Some(s.hash) == hash);
        let known = here.or_else(|| self.seen.iter().position(|s| Some(s.hash) == hash));
        let (id, done) = match known.and_then(|i| self.seen.drain(..=i).next_back()) {
            // While it was gone the row in its place may have taken its id.
            Some(row) if !row.here() && self.seen.iter().any(|s| s.id == row.id) => (fresh(ids), row.done),
            Some(row) => (row.id, row.done),
            None => (fresh(ids), false),
        };
        self.handed = !done;
        self.seen.retain(|s| s.here() || s.id != id);
        self.off = Some((id, last + 1));
        (!done).then(|| Out::below(above, id, text))
    }

    /// The screen is about to be cleared; returns the rows that have stood long enough to be final.
    pub(super) fn wipe(&mut self, grid: &Grid<Cell>, at: LogTime) -> Vec<Out> {
        let mut out = Vec::new();
        for i in 0..self.seen.len() {
            let row = &self.seen[i];
            let lines = (row.line - self.base) as usize..(row.line - self.base + row.height) as usize;
            let as_seen = row.kind == Kind::Here && self.lines.get(lines).is_some_and(|l| l.iter().all(|l| !l.stale));
            if as_seen && !row.done && at >= row.since.after(STOOD) {
                out.push(self.out(grid, i));
                self.seen[i].done = true;
            }
        }
        self.head = None;
        out
    }

    /// What is final when the reading ends: all that stands on the screen and isn't final or old, blank rows between two
    /// such rows included.
    pub(super) fn finish(&mut self, grid: &Grid<Cell>, at: LogTime, ids: &mut u64) -> Vec<Out> {
        self.look(grid, Look { at, changed: at, whole: false }, ids);
        let mut out: Vec<Out> = Vec::new();
        let mut next_line = self.handed.then_some(self.base);
        for i in 0..self.seen.len() {
            let row = &self.seen[i];
            if !row.here() {
                continue;
            }
            next_line = next_line.or_else(|| self.printed.take_if(|end| *end <= row.line));
            if row.done {
                next_line = None;
                continue;
            }
            for _ in next_line.unwrap_or(row.line)..row.line {
                out.push(Out::below(None, fresh(ids), String::new()));
            }
            next_line = Some(row.line + row.height);
            out.push(self.out(grid, i));
            self.seen[i].done = true;
        }
        out
    }

    /// The screen has another size, and lines `-pushed .. 0` were pushed off its top. Nothing is new by it.
    pub(super) fn resized(&mut self, grid: &Grid<Cell>, pushed: i32, at: LogTime, ids: &mut u64) -> Vec<Out> {
        let out = self.lines_off(grid, -pushed..0, ids);
        let head = self.head.take();
        let left = std::mem::take(&mut self.left);
        let before = std::mem::replace(self, Frames { head, left, ..Frames::blank(grid.screen_lines()) }).seen;
        let before: Vec<Seen> = before.into_iter().filter(Seen::here).collect();
        let now = self.now(grid);
        let old: Vec<Now> = before.iter().map(Seen::place).collect();
        let pairs = seen::align(&old, &now, |_, _| true);
        let mut near = None;
        for (pair, Now { hash, line, height }) in pairs.into_iter().zip(now) {
            near = pair.or(near.map(|i: usize| (i + 1).min(before.len() - 1))).or((!before.is_empty()).then_some(0));
            let old = near.map(|i| &before[i]);
            let id = pair.map_or_else(|| fresh(ids), |i| before[i].id);
            let (done, since) = old.map_or((false, at), |s| (s.done, s.since));
            self.seen.push(Seen { hash, line, height, id, done, since, kind: Kind::Here });
        }
        self.lines.fill(Line::default());
        out
    }

    /// Rows that aren't blank, as they stand.
    fn now(&self, grid: &Grid<Cell>) -> Vec<Now> {
        let (mut rows, mut first, mut known) = (Vec::new(), 0, self.seen.iter().peekable());
        let mut text = String::new();
        while first < grid.screen_lines() as i32 {
            let last = last_line(grid, first);
            let (line, height) = (self.base + i64::from(first), i64::from(last - first + 1));
            while known.next_if(|s| s.line < line || !s.here()).is_some() {}
            let same = !self.lines[first as usize..=last as usize].iter().any(|l| l.stale);
            let seen = known.peek().filter(|s| same && s.line == line && s.height == height);
            let hash = match seen {
                Some(seen) => Some(seen.hash),
                None if same && first > 0 => None,
                None => {
                    text.clear();
                    self.push_row(grid, first, last, &mut text);
                    (!text.is_empty()).then(|| text_hash(&text))
                }
            };
            rows.extend(hash.map(|hash| Now { hash, line, height }));
            first = last + 1;
        }
        rows
    }

    fn text(&self, grid: &Grid<Cell>, row: &Seen) -> String {
        let first = (row.line - self.base) as i32;
        let mut text = String::new();
        self.push_row(grid, first, first + row.height as i32 - 1, &mut text);
        text
    }

    /// The text of the row on lines `first ..= last`, with what has scrolled off of it.
    fn push_row(&self, grid: &Grid<Cell>, first: i32, last: i32, text: &mut String) {
        if let (0, Some(head)) = (first, &self.head) {
            text.push_str(&head.text);
        }
        push_lines(grid, first, last, usize::MAX, text);
        text.truncate(text.trim_end_matches(' ').len());
    }
}

/// A row that begins on `line`, below the one that ended before `end`.
fn gap((id, end): (u64, i64), line: i64) -> Above {
    Above { id, blanks: usize::try_from(line - end).unwrap_or(0) }
}

/// The last line of the row that begins on a line.
pub(super) fn last_line(grid: &Grid<Cell>, first: i32) -> i32 {
    let bottom = grid.screen_lines() as i32 - 1;
    (first..bottom).find(|l| !wraps(grid, *l)).unwrap_or(bottom)
}
