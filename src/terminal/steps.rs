//! What the emulator's steps do to rows: the part of `handler` that isn't a list of steps.

use super::{
    RowEvent,
    forward::Forward,
    screen::{Flow, Screen},
    seen::fresh,
    text::{any_visible, blank, visible},
};
use alacritty_terminal::{
    grid::Dimensions,
    index::{Column, Line},
    term::TermMode,
    vte::ansi::Handler,
};
use std::ops::Range;
use unicode_width::UnicodeWidthChar;

/// Combining characters kept on one cell: a flood of them must not grow one cell without end. 16: twice what scripts use.
const MARKS_MAX: usize = 16;

impl Screen {
    /// A character that may wrap, be wide, or combine.
    pub(super) fn input_with_care(&mut self, c: char) {
        let Some(width) = c.width() else { return };
        let cursor = &self.grid().cursor;
        let (line, column, needs_wrap) = (cursor.point.line.0, cursor.point.column.0, cursor.input_needs_wrap);
        if width == 0 {
            let before = column.saturating_sub(usize::from(!needs_wrap));
            let row = &self.grid()[Line(line)];
            let marks = |column: usize| row[Column(column)].zerowidth().map_or(0, <[char]>::len);
            if marks(before).max(marks(before.saturating_sub(1))) < MARKS_MAX {
                self.touch(line, column + 1);
                self.term.input(c);
            }
            return;
        }
        let wide_at_end = width > 1 && column + 1 >= self.term.columns();
        if self.term.mode().contains(TermMode::LINE_WRAP) && (needs_wrap || wide_at_end) {
            self.before_wrap();
            self.touch(self.wrapped_to(line), width);
        } else {
            self.before_write(line, column, c);
            self.touch(line, column + width);
        }
        self.term.input(c);
    }

    /// A character is about to be written into a cell.
    #[inline]
    pub(super) fn before_write(&mut self, line: i32, column: usize, c: char) {
        if (line, column) < self.pen {
            let cell = &self.grid()[Line(line)][Column(column)];
            if visible(cell) && cell.c != c {
                self.overwriting(line, column);
            }
        }
        self.touch(line, column + 1);
    }

    /// What stands on the line is about to be overwritten or erased, for the first time since the cursor went back.
    fn overwriting(&mut self, line: i32, column: usize) {
        self.pen = (line, column);
        let columns = self.term.columns();
        let look = match &mut self.flow {
            Flow::Forward(row) => !row.too_long_to_judge(columns),
            Flow::Frames(frames) => frames.news(line..line + 1),
        };
        if look {
            self.look();
        }
    }

    /// Something visible is written on the line, before column `end`.
    #[inline]
    pub(super) fn touch(&mut self, line: i32, end: usize) {
        match &mut self.flow {
            Flow::Forward(row) => row.touch(line, end),
            Flow::Frames(frames) => frames.write(line),
        }
        self.pen = self.pen.max((line, end));
        self.change();
    }

    /// The line the cursor is on after wrapping at `line`.
    fn wrapped_to(&self, line: i32) -> i32 {
        if line + 1 == self.region.end { line } else { (line + 1).min(self.lines() - 1) }
    }

    /// The cursor is about to go on in the next line of the same row.
    pub(super) fn before_wrap(&mut self) {
        let (line, _) = self.cursor();
        let (scrolls, to) = (line + 1 == self.region.end, self.wrapped_to(line));
        match &mut self.flow {
            Flow::Forward(row) if scrolls => {
                self.pen.0 -= 1;
                row.scroll(self.term.grid());
            }
            Flow::Forward(row) if to > row.bottom => row.grow(to),
            Flow::Forward(_) => (),
            Flow::Frames(_) if scrolls => self.before_scroll(self.region.start, 1),
            Flow::Frames(_) => (),
        }
    }

    /// A step that only moves the cursor.
    pub(super) fn moving(&mut self, step: impl FnOnce(&mut Screen)) {
        let (from, _) = self.cursor();
        step(self);
        let (to, column) = self.cursor();
        match &mut self.flow {
            Flow::Frames(frames) => {
                if to < from && frames.written {
                    self.look();
                }
            }
            Flow::Forward(row) if to > row.bottom => {
                let (bottom, end) = (row.bottom, self.end);
                self.leave_row(bottom, to, end);
            }
            Flow::Forward(row) => {
                row.fresh &= column == 0 && to == row.top;
                if to < row.top {
                    self.turn_to_frames();
                }
            }
        }
    }

    /// The region from line `top` on is about to scroll up by `n` lines.
    pub(super) fn before_scroll(&mut self, top: i32, n: usize) {
        let region = top..self.region.end;
        let n = n.min(region.len()) as i32;
        if n == 0 {
            return;
        }
        let lost = top > 0 || self.alternate();
        self.pen.0 -= n;
        let Flow::Frames(frames) = &mut self.flow else { return };
        if lost && frames.news(top..top + n) {
            self.look();
        }
        let Flow::Frames(frames) = &mut self.flow else { return };
        if lost {
            frames.scroll_lost(region, n);
            return;
        }
        let rows = frames.scroll_off(self.term.grid(), n, &mut self.ids);
        frames.stale(region.end - n..self.region.end);
        frames.stale(region.end..self.term.screen_lines() as i32);
        self.change();
        self.final_rows(rows, self.end);
    }

    /// The region from line `top` on is about to be pushed down by `n` lines.
    pub(super) fn before_push_down(&mut self, top: i32, n: usize) {
        let region = top..self.region.end;
        let n = n.min(region.len()) as i32;
        self.before_wipe_lines(region.end - n..region.end, region);
    }

    /// Lines `wiped` are about to go, and all in `changed` to change.
    pub(super) fn before_wipe_lines(&mut self, wiped: Range<i32>, changed: Range<i32>) {
        if wiped.is_empty() {
            return;
        }
        match &self.flow {
            Flow::Forward(row) => {
                // Rows above are final, and nothing of another row stands below.
                let mut lines = wiped.start.max(row.top)..wiped.end.min(row.bottom + 1);
                if let Some(line) = lines.find(|l| !blank(self.grid(), *l)) {
                    self.before_erase(line, 0..self.term.columns(), true);
                }
            }
            Flow::Frames(frames) => {
                if frames.news(wiped) {
                    self.look();
                }
            }
        }
        if let Flow::Frames(frames) = &mut self.flow {
            frames.stale(changed);
            self.change();
        }
    }

    /// Cells of a line are about to be erased or moved. `behind`: what stands there is what was to be seen only if the
    /// cursor has gone back; else it is what a rewriting hasn't reached.
    pub(super) fn before_erase(&mut self, line: i32, columns: Range<usize>, behind: bool) {
        if !any_visible(self.grid(), line, columns.clone()) {
            return;
        }
        if !behind || (line, columns.start) < self.pen {
            self.overwriting(line, columns.start);
        }
        match &mut self.flow {
            Flow::Forward(row) => row.touch(line, 0),
            Flow::Frames(frames) => frames.stale(line..line + 1),
        }
        self.change();
    }

    /// The whole screen is about to be wiped; afterwards the cursor is on a line of it.
    pub(super) fn before_wipe_all(&mut self, line: i32) {
        self.look();
        let wiped = (0..self.lines()).any(|line| !blank(self.grid(), line));
        self.pen = (line, 0);
        let alternate = self.alternate();
        let rows = match &mut self.flow {
            Flow::Forward(_) => {
                self.flow = Flow::Forward(Forward::begin(fresh(&mut self.ids), line));
                Vec::new()
            }
            Flow::Frames(_) if alternate => Vec::new(),
            Flow::Frames(frames) => frames.wipe(self.term.grid(), self.now),
        };
        if let Flow::Frames(frames) = &mut self.flow {
            frames.stale(0..self.term.screen_lines() as i32);
        }
        self.change();
        self.final_rows(rows, self.end);
        if wiped {
            self.out.push(RowEvent::Wiped);
        }
    }

    /// DECCOLM: the emulator keeps its size, but clears the screen.
    pub(super) fn column_mode(&mut self, step: impl FnOnce(&mut Screen)) {
        self.before_wipe_all(0);
        self.region = 0..self.lines();
        step(self);
    }
}
