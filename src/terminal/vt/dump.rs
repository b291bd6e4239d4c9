//! Bytes that redraw a screen on a fresh terminal of its size, and the same rows for people to print.
//!
//! Goes by what every terminal understands, in an order that leaves the terminal as it was found: both screens, colours,
//! tab stops, modes, margins, saved cursor, cursor. What can't be told to a terminal is left out: which character
//! `REP` would repeat, that the last line is wrapped on a terminal with one line, and that one is at whose end the cursor
//! waits.

use super::super::text::wraps;
use super::machine::{Machine, PRIVATE};
use super::pen::Pen;
use alacritty_terminal::{
    grid::{Charsets, Cursor, Dimensions, Grid},
    index::{Column, Line},
    term::{
        TermMode,
        cell::{Cell, Flags},
    },
    vte::ansi::{CharsetIndex, CursorShape, NamedPrivateMode, StandardCharset},
};
use std::io::Write;

/// To a known state: main screen, no margins, plain text, blank.
const CLEAN: &[u8] =
    b"\x1b[?1049l\x1b[?6l\x1b[4l\x1b[20l\x1b[?7h\x1b[r\x1b(B\x1b)B\x1b*B\x1b+B\x0f\x1b]8;;\x1b\\\x1b[m\x1b[H\x1b[2J";
/// Shorter runs of blanks are written out.
const SKIP: usize = 6;

pub(super) fn dump(machine: &Machine, out: &mut Vec<u8>) {
    out.extend_from_slice(CLEAN);
    let mut drawing = Drawing { out, pen: Pen::default(), charsets: Charsets::default() };
    if let Some(main) = &machine.main {
        drawing.screen(main);
        drawing.place(main, &main.cursor, 0);
        drawing.keys(&machine.keys.other);
        drawing.put(b"\x1b[?1049h");
        drawing.plain();
        drawing.put(b"\x1b[2J");
    } else if !machine.keys.other.is_empty() {
        drawing.put(b"\x1b[?1049h");
        drawing.keys(&machine.keys.other);
        drawing.put(b"\x1b[?1049l");
    }
    let grid = machine.term.grid();
    drawing.screen(grid);
    drawing.keys(&machine.keys.stack);
    drawing.settings(machine);
    drawing.modes(machine);
    drawing.cursors(machine);
    if machine.is(TermMode::INSERT) {
        drawing.put(b"\x1b[4h");
    }
    if machine.shifted == CharsetIndex::G1 {
        drawing.put(b"\x0e");
    }
}

/// The rows with their colours, trailing blanks and blank rows at the end left out.
pub(super) fn painted(machine: &Machine) -> Vec<u8> {
    let grid = machine.term.grid();
    let mut out = Vec::new();
    let end = (0..grid.screen_lines() as i32).rev().find(|l| drawn(grid, *l) > 0).map_or(0, |l| l + 1);
    for line in 0..end {
        let mut drawing = Drawing { out: &mut out, pen: Pen::default(), charsets: Charsets::default() };
        for cell in &grid[Line(line)][..Column(drawn(grid, line))] {
            if !cell.flags.contains(Flags::WIDE_CHAR_SPACER) {
                drawing.cell(cell);
            }
        }
        drawing.plain();
        drawing.put(b"\n");
    }
    out
}

struct Drawing<'a> {
    out: &'a mut Vec<u8>,
    pen: Pen,
    charsets: Charsets,
}

impl Drawing<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn say(&mut self, words: std::fmt::Arguments<'_>) {
        let _ = self.out.write_fmt(words); // a vector takes everything
    }

    fn go(&mut self, line: i32, column: usize) {
        self.say(format_args!("\x1b[{};{}H", line + 1, column + 1));
    }

    fn pen(&mut self, pen: Pen) {
        if pen != self.pen {
            pen.write(&self.pen, self.out);
            self.pen = pen;
        }
    }

    /// Plain text in ASCII.
    fn plain(&mut self) {
        self.pen(Pen::default());
        self.charsets(&Charsets::default());
    }

    fn charsets(&mut self, wanted: &Charsets) {
        use CharsetIndex::{G0, G1, G2, G3};
        for (index, sign) in [(G0, b'('), (G1, b')'), (G2, b'*'), (G3, b'+')] {
            if wanted[index] != self.charsets[index] {
                let set = if wanted[index] == StandardCharset::Ascii { b'B' } else { b'0' };
                self.put(&[0x1b, sign, set]);
            }
        }
        self.charsets = *wanted;
    }

    fn cell(&mut self, cell: &Cell) {
        self.pen(Pen::of(cell));
        let mut text = [0; 4];
        let c = if cell.c == '\t' { ' ' } else { cell.c };
        self.put(c.encode_utf8(&mut text).as_bytes());
        for mark in cell.zerowidth().into_iter().flatten() {
            self.put(mark.encode_utf8(&mut text).as_bytes());
        }
    }

    /// All rows of a blank screen.
    fn screen(&mut self, grid: &Grid<Cell>) {
        let bottom = grid.screen_lines() as i32 - 1;
        let low = bottom > 0 && wraps(grid, bottom);
        if low {
            // only a line that text goes on below is known to be wrapped: it is made one line higher and pushed down
            self.say(format_args!("\x1b[{};{}r", bottom, bottom + 1));
            self.go(bottom - 1, 0);
            self.row(grid, bottom, false);
            self.plain();
            self.put(b" \x1b[T\x1b[r");
        }
        let mut joined = false;
        for line in 0..=bottom {
            if !joined && drawn(grid, line) > 0 && !(low && line == bottom) {
                self.go(line, 0);
            }
            match (low && line == bottom, joined) {
                (true, true) => self.cell(&grid[Line(line)][Column(0)]),
                (true, false) => {}
                (false, _) => self.row(grid, line, joined),
            }
            joined = line < bottom && wraps(grid, line);
        }
        self.plain();
    }

    /// One row; when it is `joined` to the one above, its first cell is written whatever it is.
    fn row(&mut self, grid: &Grid<Cell>, line: i32, joined: bool) {
        let row = &grid[Line(line)];
        let end = drawn(grid, line).max(usize::from(joined));
        let mut column = 0;
        while column < end {
            let cell = &row[Column(column)];
            if cell.flags.contains(Flags::WIDE_CHAR_SPACER) {
                column += 1;
                continue;
            }
            let gap = row[Column(column)..Column(end)].iter().take_while(|cell| blank(cell)).count();
            if gap >= SKIP && column + gap < end && !(joined && column == 0) {
                self.say(format_args!("\x1b[{gap}C"));
                column += gap;
                continue;
            }
            let pushed = cell.flags.contains(Flags::LEADING_WIDE_CHAR_SPACER) && makes_room(grid, line);
            if !pushed {
                self.cell(cell);
            }
            column += 1;
        }
    }

    /// Puts the cursor where it was, with all that goes with it. `top`: the line that counts as the first.
    fn place(&mut self, grid: &Grid<Cell>, cursor: &Cursor<Cell>, top: i32) {
        let (line, column) = (cursor.point.line.0, cursor.point.column.0);
        if cursor.input_needs_wrap && column == grid.last_column().0 {
            let row = &grid[Line(line)];
            let half = row[Column(column)].flags.contains(Flags::WIDE_CHAR_SPACER);
            let at = column - usize::from(half);
            self.go(line - top, at);
            self.charsets(&Charsets::default());
            self.cell(&row[Column(at)]);
        } else {
            self.go(line - top, column);
        }
        self.pen(Pen::of(&cursor.template));
        self.charsets(&cursor.charsets);
    }

    fn keys(&mut self, stack: &[alacritty_terminal::vte::ansi::KeyboardModes]) {
        for modes in stack {
            self.say(format_args!("\x1b[>{}u", modes.bits()));
        }
    }

    fn settings(&mut self, machine: &Machine) {
        let Machine { term, tabs, title, titles, style, keys, .. } = machine;
        if keys.flags != keys.stack.last().copied().unwrap_or_default() {
            self.say(format_args!("\x1b[={};1u", keys.flags.bits()));
        }
        if tabs.iter().enumerate().any(|(column, stop)| *stop != column.is_multiple_of(8)) {
            self.put(b"\x1b[3g");
            for (column, _) in tabs.iter().enumerate().filter(|(_, stop)| **stop) {
                self.go(0, column);
                self.put(b"\x1bH");
            }
        }
        for index in 0..=258 {
            let Some(color) = term.colors()[index] else { continue };
            let (r, g, b) = (color.r, color.g, color.b);
            match index {
                256.. => self.say(format_args!("\x1b]{};rgb:{r:02x}/{g:02x}/{b:02x}\x1b\\", index - 256 + 10)),
                _ => self.say(format_args!("\x1b]4;{index};rgb:{r:02x}/{g:02x}/{b:02x}\x1b\\")),
            }
        }
        for (title, push) in titles.iter().map(|title| (title, "\x1b[22;2t")).chain([(title, "")]) {
            match title {
                Some(title) => self.say(format_args!("\x1b]2;{title}\x1b\\{push}")),
                None => self.put(push.as_bytes()),
            }
        }
        if let Some(style) = style {
            let shape = match style.shape {
                CursorShape::Underline => 3,
                CursorShape::Beam => 5,
                CursorShape::Block | CursorShape::HollowBlock | CursorShape::Hidden => 1,
            };
            self.say(format_args!("\x1b[{} q", shape + u8::from(!style.blinking)));
        }
    }

    /// All modes that don't change how the rest of this is read.
    fn modes(&mut self, machine: &Machine) {
        let usual = TermMode::default();
        for (mode, flag) in PRIVATE {
            let later = matches!(mode, NamedPrivateMode::SwapScreenAndSetRestoreCursor | NamedPrivateMode::Origin);
            if !later && machine.is(*flag) != usual.contains(*flag) {
                let on = if machine.is(*flag) { 'h' } else { 'l' };
                self.say(format_args!("\x1b[?{}{on}", *mode as u16));
            }
        }
        if machine.is(TermMode::APP_KEYPAD) {
            self.put(b"\x1b=");
        }
        if machine.is(TermMode::LINE_FEED_NEW_LINE) {
            self.put(b"\x1b[20h");
        }
        let all = 0..machine.lines();
        if machine.region != all {
            let top = machine.region.start + 1;
            self.say(format_args!("\x1b[{top};{}r", machine.region.end));
        }
    }

    /// Saved cursor and cursor, with margins set.
    fn cursors(&mut self, machine: &Machine) {
        let grid = machine.term.grid();
        let origin = machine.is(TermMode::ORIGIN);
        if grid.saved_cursor != Cursor::default() {
            self.place(grid, &grid.saved_cursor, 0);
            self.put(b"\x1b7");
        }
        if origin {
            self.put(b"\x1b[?6h");
        }
        self.place(grid, &grid.cursor, if origin { machine.region.start } else { 0 });
    }
}

/// Columns of a row that must be written.
fn drawn(grid: &Grid<Cell>, line: i32) -> usize {
    let row = &grid[Line(line)];
    if wraps(grid, line) { row.len() } else { row[..].iter().rposition(|cell| !blank(cell)).map_or(0, |last| last + 1) }
}

/// True for a cell as it stands on a fresh terminal.
fn blank(cell: &Cell) -> bool {
    let marks = cell.zerowidth().is_some_and(|marks| !marks.is_empty());
    matches!(cell.c, ' ' | '\t')
        && !marks
        && Pen::of(cell) == Pen::default()
        && !cell.flags.intersects(Flags::WIDE_CHAR)
}

/// True when the row's last cell is only there because a wide character didn't fit, and writing that makes it again.
fn makes_room(grid: &Grid<Cell>, line: i32) -> bool {
    let next = Line(line + 1);
    if !wraps(grid, line) || next > grid.bottommost_line() {
        return false;
    }
    let (room, wide) = (&grid[Line(line)][grid.last_column()], &grid[next][Column(0)]);
    wide.flags.contains(Flags::WIDE_CHAR) && Pen::of(room) == Pen::of(wide)
}

/// `columns` of one row from column `left` on, with colours; blank after that. A wide character that is cut is left out.
pub(super) fn clipped(machine: &Machine, left: u16, line: u16, columns: u16) -> Vec<u8> {
    let grid = machine.term.grid();
    let (left, line) = (usize::from(left), i32::from(line));
    let end = grid.columns().min(left + usize::from(columns));
    let mut out = Vec::new();
    let mut drawing = Drawing { out: &mut out, pen: Pen::default(), charsets: Charsets::default() };
    if line < grid.screen_lines() as i32 && left < end {
        let row = &grid[Line(line)][Column(left)..Column(end)];
        for (at, cell) in row.iter().enumerate() {
            let half = cell.flags.contains(Flags::WIDE_CHAR_SPACER);
            let cut = cell.flags.contains(Flags::WIDE_CHAR) && at + 1 == row.len();
            match (half, at) {
                (true, 0) => drawing.put(b" "),
                (true, _) => {}
                (false, _) if cut => drawing.put(b" "),
                (false, _) => drawing.cell(cell),
            }
        }
    }
    drawing.plain();
    if end.saturating_sub(left) < usize::from(columns) {
        drawing.put(b"\x1b[K");
    }
    out
}
