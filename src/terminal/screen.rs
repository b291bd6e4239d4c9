//! The emulator and what has been made of it: which row is open, which rows were handed out, what is to be judged.
//!
//! `rows` feeds it pieces of the stream and tells it place and time; `handler` sees each step of the emulator before and
//! after it is taken. It never reads a clock. Only text and cursor are emulated: colours, titles, queries and clipboard say
//! nothing about rows.

use super::{
    ROW_CUT, Row, RowEvent, SETTLE,
    area::Area,
    forward::{Forward, boundary},
    frames::{Frames, Out, last_line},
    seen::{Look, fresh},
    text::{blank, push_cells, push_lines},
};
use crate::model::{Cursor, LogTime, Size};
use alacritty_terminal::{
    event::VoidListener,
    grid::{Charsets, Dimensions, Grid},
    index::Line,
    term::{
        Config, Term, TermMode,
        cell::{Cell, Flags},
    },
    vte::ansi::{ClearMode, Handler},
};
use std::{ops::Range, time::Duration};

/// The emulator and its readings.
pub(super) struct Screen {
    pub(super) term: Term<VoidListener>,
    pub(super) flow: Flow,
    /// After the last character written, as one reads: what is overwritten before it was to be seen.
    pub(super) pen: (i32, usize),
    /// What the main screen was, while the alternate one is shown.
    main: Option<Main>,
    pub(super) ids: u64,
    /// Lines that scroll, as the emulator has them.
    pub(super) region: Range<i32>,
    /// In a synchronized update, until this time at the latest.
    pub(super) sync: Option<LogTime>,
    /// When something visible changed that hasn't been looked at since.
    changed: Option<LogTime>,
    pub(super) now: LogTime,
    /// Where the piece begins that is being fed, and where a row that is final by it ends.
    pub(super) mark: Cursor,
    pub(super) end: Cursor,
    /// Where the piece ends, if a line feed ends it.
    pub(super) line_end: Option<Cursor>,
    pub(super) out: Vec<RowEvent>,
    /// A row was final since reading began, before the program painted.
    printed: bool,
}

/// How the program writes.
pub(super) enum Flow {
    /// Row after row.
    Forward(Forward),
    /// Anywhere on the screen.
    Frames(Frames),
}

struct Main {
    flow: Flow,
    /// What will be final when the reading ends.
    pending: Vec<Out>,
    /// The terminal's size has changed since.
    resized: bool,
}

/// A synchronized update that isn't ended is ended after so long: as alacritty does.
pub(super) const SYNC_MAX: Duration = Duration::from_millis(150);

/// Lines kept above the screen while it is resized: more than a full screen of the largest size can wrap into.
const RESIZE_LINES: usize = 1 << 20;

impl Screen {
    pub(super) fn new(size: Size) -> Screen {
        let area = Area::new(size);
        Screen {
            term: Term::new(Config { scrolling_history: 0, ..Config::default() }, &area, VoidListener),
            flow: Flow::Forward(Forward { fresh: true, ..Forward::begin(0, 0) }),
            pen: (0, 0),
            main: None,
            ids: 1,
            region: 0..area.screen_lines() as i32,
            sync: None,
            changed: None,
            now: LogTime::default(),
            mark: Cursor::default(),
            end: Cursor::default(),
            line_end: None,
            out: Vec::new(),
            printed: false,
        }
    }

    pub(super) fn grid(&self) -> &Grid<Cell> {
        self.term.grid()
    }

    pub(super) fn lines(&self) -> i32 {
        self.term.screen_lines() as i32
    }

    /// The cursor's line and column.
    pub(super) fn cursor(&self) -> (i32, usize) {
        let point = self.grid().cursor.point;
        (point.line.0, point.column.0)
    }

    pub(super) fn columns(&self) -> usize {
        self.term.columns()
    }

    /// The cursor's column, or the number of columns where a character would wrap.
    pub(super) fn column(&self) -> usize {
        self.cursor().1 + usize::from(self.grid().cursor.input_needs_wrap)
    }

    pub(super) fn alternate(&self) -> bool {
        self.term.mode().contains(TermMode::ALT_SCREEN)
    }

    pub(super) fn paints(&self) -> bool {
        matches!(self.flow, Flow::Frames(_))
    }

    /// Something visible changes.
    pub(super) fn change(&mut self) {
        self.changed = Some(self.now);
    }

    /// What was changed unseen is seen from now on.
    pub(super) fn shown(&mut self) {
        self.changed = self.changed.map(|_| self.now);
    }

    /// When something changed last that hasn't been looked at.
    pub(super) fn changed_at(&mut self, changed: Option<LogTime>) {
        self.changed = changed;
    }

    /// True when the row has just begun and plain text is a row as it stands.
    pub(super) fn fresh(&self) -> bool {
        let Flow::Forward(row) = &self.flow else { return false };
        let mode = self.term.mode();
        row.fresh
            && self.columns() > 1 // where the first column is the last one, no column says whether a character would wrap
            && mode.contains(TermMode::LINE_WRAP)
            && !mode.contains(TermMode::INSERT)
            && self.grid().cursor.charsets == Charsets::default()
    }

    /// A row of plain text that the emulator hasn't seen is final.
    pub(super) fn plain_row(&mut self, text: String, end: Cursor) {
        let Flow::Forward(row) = &mut self.flow else { return };
        let id = std::mem::replace(&mut row.id, fresh(&mut self.ids));
        self.change();
        self.printed = true;
        self.hand_out(RowEvent::Final, Out::next(id, text), end);
    }

    /// The emulator has seen lines that were final before; returns when something changed last.
    pub(super) fn caught_up(&mut self) -> Option<LogTime> {
        let (line, _) = self.cursor();
        if let Flow::Forward(row) = &self.flow {
            self.flow = Flow::Forward(Forward { fresh: true, ..Forward::begin(row.id, line) });
        }
        self.pen = (line, 0);
        self.changed
    }

    pub(super) fn final_rows(&mut self, rows: Vec<Out>, end: Cursor) {
        rows.into_iter().for_each(|row| self.hand_out(RowEvent::Final, row, end));
    }

    fn hand_out(&mut self, event: fn(Row) -> RowEvent, row: Out, end: Cursor) {
        self.hand_out_before(event, row, 0, end);
    }

    fn hand_out_before(&mut self, event: fn(Row) -> RowEvent, row: Out, blanks: usize, end: Cursor) {
        let Out { id, above, mut text, more } = row;
        while text.len() > ROW_CUT {
            let rest = text.split_off(boundary(&text, ROW_CUT));
            self.out.push(event(Row { id, above, text, blanks: 0, more: true, end }));
            text = rest;
        }
        self.out.push(event(Row { id, above, text, blanks, more, end }));
    }

    /// What is about to be rewritten is looked at, or has stood; not in the middle of a synchronized update.
    pub(super) fn look(&mut self) {
        if self.sync.is_none() {
            self.look_at(self.mark, false);
        }
    }

    /// A synchronized update has ended: what stands there is a whole frame.
    pub(super) fn look_whole(&mut self) {
        self.look_at(self.mark, true);
    }

    fn look_at(&mut self, end: Cursor, whole: bool) {
        let grid = self.term.grid();
        let look = Look { at: self.now, changed: self.changed.unwrap_or(self.now), whole };
        let judged = match &mut self.flow {
            Flow::Forward(row) => row.judge(grid).map(|text| Out::next(row.id, text)).into_iter().collect(),
            Flow::Frames(frames) => frames.look(grid, look, &mut self.ids),
        };
        let open = if judged.is_empty() { String::new() } else { self.open_text() };
        let visible = open.trim_end_matches(' ').len();
        for row in judged {
            let blanks = if row.text == open[..visible] { open.len() - visible } else { 0 };
            self.hand_out_before(RowEvent::Judged, row, blanks, end);
        }
    }

    /// When there is something to settle.
    pub(super) fn deadline(&self) -> Option<LogTime> {
        let quiet = self.changed?.after(SETTLE);
        Some(self.sync.map_or(quiet, |end| end.max(quiet)))
    }

    /// The deadline has come.
    pub(super) fn settle(&mut self, end: Cursor) {
        self.sync = None;
        self.look_at(end, false);
        if let Flow::Frames(frames) = &mut self.flow {
            frames.quiet();
        }
        self.changed = None;
    }

    /// From here on the program is taken to paint the screen.
    pub(super) fn turn_to_frames(&mut self) {
        let Flow::Forward(row) = &self.flow else { return };
        row.mark_wraps(self.term.grid_mut());
        self.look();
        let Flow::Forward(row) = &mut self.flow else { return };
        let open = (!row.old).then(|| (row.top, row.id, std::mem::take(&mut row.off)));
        let unseen = (row.written > 0).then_some(row.top..row.bottom + 1);
        let mut frames = Frames::stands(self.term.grid(), open, self.printed, self.now, &mut self.ids);
        unseen.into_iter().flatten().for_each(|line| frames.unsee(line));
        self.flow = Flow::Frames(frames);
    }

    /// What stands on the screen is old.
    pub(super) fn baseline(&mut self) {
        if let Some(main) = &mut self.main {
            main.pending.clear();
            match &mut main.flow {
                Flow::Forward(row) => row.old = true,
                Flow::Frames(frames) => frames.all_done(),
            }
        }
        self.changed = None;
        self.printed = false;
        let (line, _) = self.cursor();
        let grid = self.term.grid();
        let last = last_line(grid, line);
        let off = match &mut self.flow {
            Flow::Forward(row) => std::mem::take(&mut row.off),
            Flow::Frames(_) => String::new(),
        };
        let free = self.region == (0..self.lines()) && (last + 1..self.lines()).all(|l| blank(grid, l));
        self.flow = if !self.alternate() && free {
            Flow::Forward(Forward::stands(fresh(&mut self.ids), off, grid, line))
        } else {
            Flow::Frames(Frames::stands(grid, None, false, self.now, &mut self.ids))
        };
    }

    /// See [`super::Rows::all_old`].
    pub(super) fn all_old(&mut self, end: Cursor) {
        self.look_at(end, true);
        if let Flow::Frames(frames) = &mut self.flow {
            frames.all_done();
        }
    }

    /// See [`super::Rows::clear_below`].
    pub(super) fn clear_below(&mut self) {
        if !self.alternate() && self.cursor().1 == 0 {
            self.term.clear_screen(ClearMode::Below);
        }
    }

    /// See [`super::Rows::new_row`].
    pub(super) fn new_row(&mut self) {
        let (line, column) = self.cursor();
        if column > 0 || !blank(self.term.grid(), line) {
            return;
        }
        if line > 0 {
            let grid = self.term.grid_mut();
            let last = grid.last_column();
            grid[Line(line - 1)][last].flags.remove(Flags::WRAPLINE);
        }
        if let Flow::Forward(row) = &self.flow
            && row.bottom >= line
        {
            self.flow = Flow::Forward(Forward::begin(fresh(&mut self.ids), line));
        }
    }

    /// The text of the cursor's row, up to the cursor or the last visible character.
    pub(super) fn open_text(&self) -> String {
        let (line, column) = self.cursor();
        let mut text = String::new();
        let grid = self.grid();
        let row = match &self.flow {
            Flow::Forward(row) => row.clone(),
            Flow::Frames(_) => {
                let mut row = Forward::begin(0, line);
                row.measure(grid, line, 0);
                row
            }
        };
        text.push_str(&row.off);
        for l in row.top..line {
            push_cells(grid, l, grid.columns(), &mut text);
        }
        let before = text.len();
        let column = column + usize::from(grid.cursor.input_needs_wrap);
        push_cells(grid, line, column, &mut text);
        let mut whole = text[..before].to_owned();
        push_lines(grid, line, row.bottom.max(line), usize::MAX, &mut whole);
        if whole.len() > text.len() { whole } else { text }
    }

    /// The reading ends.
    pub(super) fn finish(&mut self, end: Cursor) {
        let mut rows = self.main.as_mut().map(|m| std::mem::take(&mut m.pending)).unwrap_or_default();
        rows.append(&mut self.pending());
        self.changed = None;
        self.final_rows(rows, end);
    }

    /// What is final when nothing comes any more.
    fn pending(&mut self) -> Vec<Out> {
        let grid = self.term.grid();
        match &mut self.flow {
            Flow::Frames(frames) => frames.finish(grid, self.now, &mut self.ids),
            Flow::Forward(row) if row.old => Vec::new(),
            Flow::Forward(row) => {
                let text = row.text(grid, row.bottom);
                row.old = true;
                if text.is_empty() { Vec::new() } else { vec![Out::next(row.id, text)] }
            }
        }
    }

    /// The alternate screen is about to be shown.
    pub(super) fn enter_alternate(&mut self) {
        if let Flow::Forward(row) = &self.flow {
            row.mark_wraps(self.term.grid_mut());
        }
        self.look();
        let flow = Flow::Frames(Frames::blank(self.term.screen_lines()));
        let kept = match &self.flow {
            Flow::Forward(row) => Flow::Forward(row.clone()),
            Flow::Frames(frames) => Flow::Frames(frames.clone()),
        };
        let pending = self.pending();
        self.main = Some(Main { flow: kept, pending, resized: false });
        self.flow = flow;
        self.pen = (0, 0);
    }

    /// The alternate screen is about to be left: it was looked at, and is not printed.
    pub(super) fn leave_alternate(&mut self) {
        self.look();
    }

    /// The main screen is shown again.
    pub(super) fn back_on_main(&mut self) {
        let Some(main) = self.main.take() else { return };
        self.flow = main.flow;
        self.pen = self.cursor();
        if main.resized {
            self.adopt_size();
        }
        if self.region != (0..self.lines()) {
            self.turn_to_frames(); // left behind by the program on the other screen
        }
    }

    /// The terminal has a new size.
    pub(super) fn resize(&mut self, size: Size) {
        self.look();
        if let Flow::Forward(row) = &self.flow {
            row.mark_wraps(self.term.grid_mut());
        }
        let area = Area::new(size);
        self.term.set_options(Config { scrolling_history: RESIZE_LINES, ..Config::default() });
        self.term.resize(area);
        self.region = 0..self.lines();
        self.pen = self.cursor();
        if let Some(main) = &mut self.main {
            main.resized = true;
        }
        self.adopt_size();
    }

    /// The screen has another size, lines pushed off by it stand in the history.
    fn adopt_size(&mut self) {
        let pushed = if self.alternate() { 0 } else { self.term.history_size() as i32 };
        let (line, _) = self.cursor();
        let grid = self.term.grid();
        let rows = match &mut self.flow {
            Flow::Frames(frames) => frames.resized(grid, pushed, self.now, &mut self.ids),
            Flow::Forward(row) => {
                row.fresh = false;
                row.measure(grid, line, -pushed);
                (row.top..0).for_each(|l| push_cells(grid, l, grid.columns(), &mut row.off));
                row.top = row.top.max(0);
                Vec::new()
            }
        };
        if !self.alternate() {
            self.term.set_options(Config { scrolling_history: 0, ..Config::default() });
        }
        self.final_rows(rows, self.end);
    }

    /// The next part of the open row when that no longer fits a row, with the length of the text that comes after it.
    pub(super) fn cut(&mut self) -> Option<(Row, usize)> {
        let Flow::Forward(row) = &mut self.flow else { return None };
        let text = row.cut()?;
        let rest = row.text(self.term.grid(), row.bottom).len();
        let Out { id, above, text, .. } = Out::next(row.id, text);
        Some((Row { id, above, text, blanks: 0, more: true, end: Cursor::default() }, rest))
    }

    /// The row that the cursor has left is final, and blank ones up to line `to`, where the next begins.
    pub(super) fn leave_row(&mut self, line: i32, to: i32, end: Cursor) {
        let Flow::Forward(row) = &mut self.flow else { return };
        let text = row.text(self.term.grid(), line);
        let id = row.id;
        self.printed = true;
        self.hand_out(RowEvent::Final, Out::next(id, text), end);
        for _ in line + 1..to {
            let id = fresh(&mut self.ids);
            self.hand_out(RowEvent::Final, Out::next(id, String::new()), end);
        }
        self.flow = Flow::Forward(Forward::begin(fresh(&mut self.ids), to));
        self.pen = (to, 0);
    }
}
