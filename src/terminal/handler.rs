//! Each step of the emulator, with what it means for rows, before or after it is taken.
//!
//! The parser calls it. Steps that change neither text nor cursor are left out. It decides only *when* rows are left, looked
//! at or wiped; `forward` and `frames` know what they are.

use super::screen::{Flow, SYNC_MAX, Screen};
use crate::model::Cursor;
use alacritty_terminal::{
    grid::Dimensions,
    index::Line,
    term::TermMode,
    vte::ansi::{
        CharsetIndex, ClearMode, Handler, LineClearMode, Mode, NamedPrivateMode, PrivateMode, StandardCharset,
        TabulationClearMode,
    },
};

impl Handler for Screen {
    #[inline]
    fn input(&mut self, c: char) {
        let cursor = &self.term.grid().cursor;
        let (line, column) = (cursor.point.line.0, cursor.point.column.0);
        if cursor.input_needs_wrap || column + 1 >= self.term.columns() || c >= '\u{300}' {
            return self.input_with_care(c);
        }
        self.before_write(line, column, c);
        self.term.input(c);
    }

    fn put_tab(&mut self, count: u16) {
        if self.grid().cursor.input_needs_wrap {
            self.before_wrap();
        }
        self.term.put_tab(count);
        let (line, column) = self.cursor();
        self.touch(line, column);
    }

    fn linefeed(&mut self) {
        if let Some(end) = self.line_end {
            (self.mark, self.end) = (Cursor { byte: end.byte - 1, ..end }, end);
        }
        let (line, _) = self.cursor();
        let scrolls = line + 1 == self.region.end;
        let to = if scrolls || line + 1 >= self.lines() { line } else { line + 1 };
        match &self.flow {
            Flow::Forward(row) if line < row.bottom && !row.ends_at(self.grid(), line) => (),
            Flow::Forward(_) => {
                let end = self.end;
                self.leave_row(line, to, end);
            }
            Flow::Frames(_) if scrolls => self.before_scroll(self.region.start, 1),
            Flow::Frames(_) => (),
        }
        self.term.linefeed();
        if let Flow::Forward(row) = &mut self.flow {
            row.fresh = row.top == to;
        }
    }

    fn newline(&mut self) {
        self.linefeed();
        if self.term.mode().contains(TermMode::LINE_FEED_NEW_LINE) {
            self.carriage_return();
        }
    }

    #[inline]
    fn carriage_return(&mut self) {
        self.term.carriage_return();
    }

    fn backspace(&mut self) {
        self.term.backspace();
    }

    fn goto(&mut self, line: i32, col: usize) {
        self.moving(|s| s.term.goto(line, col));
    }

    fn goto_line(&mut self, line: i32) {
        self.moving(|s| s.term.goto_line(line));
    }

    fn goto_col(&mut self, col: usize) {
        self.moving(|s| s.term.goto_col(col));
    }

    fn move_up(&mut self, n: usize) {
        self.moving(|s| s.term.move_up(n));
    }

    fn move_down(&mut self, n: usize) {
        self.moving(|s| s.term.move_down(n));
    }

    fn move_forward(&mut self, n: usize) {
        self.moving(|s| s.term.move_forward(n));
    }

    fn move_backward(&mut self, n: usize) {
        self.moving(|s| s.term.move_backward(n));
    }

    fn move_down_and_cr(&mut self, n: usize) {
        self.moving(|s| s.term.move_down_and_cr(n));
    }

    fn move_up_and_cr(&mut self, n: usize) {
        self.moving(|s| s.term.move_up_and_cr(n));
    }

    fn move_backward_tabs(&mut self, n: u16) {
        let n = n.min(self.term.columns() as u16);
        self.moving(|s| s.term.move_backward_tabs(n));
    }

    fn move_forward_tabs(&mut self, n: u16) {
        self.moving(|s| s.term.move_forward_tabs(n));
    }

    fn save_cursor_position(&mut self) {
        self.term.save_cursor_position();
    }

    fn restore_cursor_position(&mut self) {
        self.moving(|s| s.term.restore_cursor_position());
    }

    fn reverse_index(&mut self) {
        let (line, _) = self.cursor();
        if line == self.region.start {
            return self.scroll_down(1);
        }
        self.moving(|s| s.term.reverse_index());
    }

    fn scroll_up(&mut self, n: usize) {
        self.turn_to_frames();
        self.before_scroll(self.region.start, n);
        self.term.scroll_up(n);
    }

    fn scroll_down(&mut self, n: usize) {
        self.turn_to_frames();
        self.before_push_down(self.region.start, n);
        self.term.scroll_down(n);
    }

    fn insert_blank_lines(&mut self, n: usize) {
        self.turn_to_frames();
        let (line, _) = self.cursor();
        if self.region.contains(&line) {
            self.before_push_down(line, n);
        }
        self.term.insert_blank_lines(n);
    }

    fn delete_lines(&mut self, n: usize) {
        self.turn_to_frames();
        let (line, _) = self.cursor();
        if self.region.contains(&line) {
            self.before_wipe_lines(line..(line + n as i32).min(self.region.end), line..self.region.end);
        }
        self.term.delete_lines(n);
    }

    fn insert_blank(&mut self, n: usize) {
        let (line, column) = self.cursor();
        self.before_erase(line, column..self.term.columns(), true);
        self.touch(line, self.term.columns());
        self.term.insert_blank(n);
    }

    fn erase_chars(&mut self, n: usize) {
        let (line, column) = self.cursor();
        self.before_erase(line, column..column + n, true);
        self.term.erase_chars(n);
    }

    fn delete_chars(&mut self, n: usize) {
        let (line, column) = self.cursor();
        self.before_erase(line, column..self.term.columns(), true);
        self.term.delete_chars(n);
    }

    fn clear_line(&mut self, mode: LineClearMode) {
        let (line, column) = self.cursor();
        let columns = self.term.columns();
        match mode {
            LineClearMode::Right if self.grid().cursor.input_needs_wrap => (),
            LineClearMode::Right => self.before_erase(line, column..columns, true),
            LineClearMode::Left => self.before_erase(line, 0..column + 1, false),
            LineClearMode::All => self.before_erase(line, 0..columns, false),
        }
        self.term.clear_line(mode);
    }

    fn clear_screen(&mut self, mode: ClearMode) {
        let (line, column) = self.cursor();
        let (columns, lines) = (self.term.columns(), self.lines());
        match mode {
            ClearMode::Below => {
                self.before_erase(line, column..columns, true);
                self.before_wipe_lines(line + 1..lines, line + 1..lines);
            }
            ClearMode::Above => {
                self.before_erase(line, 0..column + 1, false);
                self.before_wipe_lines(0..line, 0..line);
            }
            ClearMode::All => self.before_wipe_all(line),
            ClearMode::Saved => return, // nothing is kept above the screen
        }
        let above = matches!(mode, ClearMode::Above);
        self.term.clear_screen(mode);
        if above && line == 1 {
            self.term.grid_mut().reset_region(Line(0)..Line(1)); // the emulator forgets it
        }
    }

    fn clear_tabs(&mut self, mode: TabulationClearMode) {
        self.term.clear_tabs(mode);
    }

    fn set_tabs(&mut self, interval: u16) {
        self.term.set_tabs(interval);
    }

    fn set_horizontal_tabstop(&mut self) {
        self.term.set_horizontal_tabstop();
    }

    fn decaln(&mut self) {
        self.turn_to_frames();
        self.before_wipe_lines(0..self.lines(), 0..self.lines());
        self.term.decaln();
    }

    fn reset_state(&mut self) {
        self.sync = None;
        if self.alternate() {
            self.leave_alternate();
            self.back_on_main();
        }
        self.before_wipe_all(0);
        self.term.reset_state();
        self.region = 0..self.lines();
    }

    fn set_mode(&mut self, mode: Mode) {
        self.term.set_mode(mode);
    }

    fn unset_mode(&mut self, mode: Mode) {
        self.term.unset_mode(mode);
    }

    fn set_private_mode(&mut self, mode: PrivateMode) {
        match mode {
            PrivateMode::Named(NamedPrivateMode::SyncUpdate) => {
                self.look();
                self.sync = Some(self.now.after(SYNC_MAX));
            }
            PrivateMode::Named(NamedPrivateMode::SwapScreenAndSetRestoreCursor) if !self.alternate() => {
                self.enter_alternate();
                self.term.set_private_mode(mode);
            }
            PrivateMode::Named(NamedPrivateMode::ColumnMode) => self.column_mode(|s| s.term.set_private_mode(mode)),
            _ => self.moving(|s| s.term.set_private_mode(mode)),
        }
    }

    fn unset_private_mode(&mut self, mode: PrivateMode) {
        match mode {
            PrivateMode::Named(NamedPrivateMode::SyncUpdate) => {
                if self.sync.take().is_some() {
                    self.look_whole();
                    self.shown();
                }
            }
            PrivateMode::Named(NamedPrivateMode::SwapScreenAndSetRestoreCursor) if self.alternate() => {
                self.leave_alternate();
                self.term.unset_private_mode(mode);
                self.back_on_main();
            }
            PrivateMode::Named(NamedPrivateMode::ColumnMode) => self.column_mode(|s| s.term.unset_private_mode(mode)),
            _ => self.moving(|s| s.term.unset_private_mode(mode)),
        }
    }

    fn set_scrolling_region(&mut self, top: usize, bottom: Option<usize>) {
        let lines = self.lines() as usize;
        let bottom = bottom.unwrap_or(lines).min(lines);
        if top >= bottom {
            return;
        }
        let region = top as i32 - 1..bottom as i32;
        if region != (0..self.lines()) {
            self.turn_to_frames();
        }
        self.region = region;
        self.moving(|s| s.term.set_scrolling_region(top, Some(bottom)));
    }

    fn set_active_charset(&mut self, index: CharsetIndex) {
        self.term.set_active_charset(index);
    }

    fn configure_charset(&mut self, index: CharsetIndex, charset: StandardCharset) {
        self.term.configure_charset(index, charset);
    }
}
