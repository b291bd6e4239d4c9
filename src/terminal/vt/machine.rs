//! The emulator, and beside it what it keeps to itself: margins, tab stops, titles, the main screen under the alternate one.
//!
//! The parser calls it; each step goes on to the emulator. It must never hold more than bounded memory for what a program
//! sends, so titles, keyboard modes, links and combining characters are cut here. Answers to queries are made by `answers`.

use super::{
    super::area::Area,
    cells::{mend, mend_all},
    keys::Keys,
};
use crate::model::Size;
use alacritty_terminal::{
    event::VoidListener,
    grid::{Dimensions, Grid},
    index::{Column, Line},
    term::{
        Config, Osc52, Term, TermMode,
        cell::{Cell, Flags},
    },
    vte::ansi::{
        Attr, CharsetIndex, ClearMode, CursorShape, CursorStyle, Handler, Hyperlink, KeyboardModes,
        KeyboardModesApplyBehavior, LineClearMode, Mode, NamedPrivateMode, PrivateMode, Rgb, StandardCharset,
        TabulationClearMode,
    },
};
use std::ops::Range;
use unicode_width::UnicodeWidthChar;

/// The emulator and what stands beside it.
pub(super) struct Machine {
    pub(super) term: Term<VoidListener>,
    /// Lines that scroll, as the emulator has them.
    pub(super) region: Range<i32>,
    pub(super) tabs: Vec<bool>,
    /// Which character set is shifted in.
    pub(super) shifted: CharsetIndex,
    /// The cursor's style, where the program has set one.
    pub(super) style: Option<CursorStyle>,
    pub(super) title: Option<String>,
    /// Titles that were pushed; those from before the first title are none.
    pub(super) titles: Vec<Option<String>>,
    pub(super) keys: Keys,
    /// What stands below the alternate screen, while that is shown.
    pub(super) main: Option<Grid<Cell>>,
    pub(super) answers: Vec<String>,
}

/// A longer title is cut, bytes: no window shows more.
const TITLE_MAX: usize = 4096;
/// Titles a program may push: more is a program that forgets to pop.
const STACK_MAX: usize = 32;
/// A longer link is none, bytes: as browsers.
const LINK_MAX: usize = 4096;
/// Combining characters in one cell: more than any script has.
const MARKS_MAX: usize = 16;
/// Answers that wait to be taken: a program asks a handful and reads them. More of them are dropped.
const ANSWERS_MAX: usize = 64;

/// DEC's private modes that the emulator has as a flag.
pub(super) const PRIVATE: &[(NamedPrivateMode, TermMode)] = &[
    (NamedPrivateMode::CursorKeys, TermMode::APP_CURSOR),
    (NamedPrivateMode::Origin, TermMode::ORIGIN),
    (NamedPrivateMode::LineWrap, TermMode::LINE_WRAP),
    (NamedPrivateMode::ShowCursor, TermMode::SHOW_CURSOR),
    (NamedPrivateMode::ReportMouseClicks, TermMode::MOUSE_REPORT_CLICK),
    (NamedPrivateMode::ReportCellMouseMotion, TermMode::MOUSE_DRAG),
    (NamedPrivateMode::ReportAllMouseMotion, TermMode::MOUSE_MOTION),
    (NamedPrivateMode::ReportFocusInOut, TermMode::FOCUS_IN_OUT),
    (NamedPrivateMode::Utf8Mouse, TermMode::UTF8_MOUSE),
    (NamedPrivateMode::SgrMouse, TermMode::SGR_MOUSE),
    (NamedPrivateMode::AlternateScroll, TermMode::ALTERNATE_SCROLL),
    (NamedPrivateMode::UrgencyHints, TermMode::URGENCY_HINTS),
    (NamedPrivateMode::SwapScreenAndSetRestoreCursor, TermMode::ALT_SCREEN),
    (NamedPrivateMode::BracketedPaste, TermMode::BRACKETED_PASTE),
];

impl Machine {
    pub(super) fn new(size: Size) -> Machine {
        let area = Area::new(size);
        let config = Config { scrolling_history: 0, osc52: Osc52::Disabled, ..Config::default() };
        Machine {
            term: Term::new(config, &area, VoidListener),
            region: 0..area.screen_lines() as i32,
            tabs: tabs(area.columns()),
            shifted: CharsetIndex::default(),
            style: None,
            title: None,
            titles: Vec::new(),
            keys: Keys::default(),
            main: None,
            answers: Vec::new(),
        }
    }

    pub(super) fn lines(&self) -> i32 {
        self.term.screen_lines() as i32
    }

    pub(super) fn is(&self, mode: TermMode) -> bool {
        self.term.mode().contains(mode)
    }

    /// The cursor's line and column.
    pub(super) fn cursor(&self) -> (i32, usize) {
        let point = self.term.grid().cursor.point;
        (point.line.0, point.column.0)
    }

    /// True when only text and line feeds decide what will stand on the screen.
    pub(super) fn scrolls_whole(&self) -> bool {
        self.region == (0..self.lines())
    }

    pub(super) fn resize(&mut self, size: Size) {
        let area = Area::new(size);
        self.term.resize(area);
        self.region = 0..self.lines();
        let mut column = self.tabs.len();
        self.tabs.resize_with(area.columns(), || {
            column += 1;
            (column - 1).is_multiple_of(TAB)
        });
        if let Some(main) = &mut self.main {
            main.resize(true, area.screen_lines(), area.columns());
            mend_all(main);
            main.saved_cursor = main.cursor.clone();
        }
        mend_all(self.term.grid_mut());
    }

    pub(super) fn answer(&mut self, text: String) {
        if self.answers.len() < ANSWERS_MAX {
            self.answers.push(text);
        }
    }

    /// Halves of wide characters in the cursor's line become blanks, as terminals do; marks of wrapping that were moved go.
    fn mend(&mut self) {
        let (line, _) = self.cursor();
        mend(self.term.grid_mut(), line);
    }

    fn enter_alternate(&mut self) {
        let mut main = self.term.grid().clone();
        main.saved_cursor = main.cursor.clone();
        self.term.set_private_mode(NamedPrivateMode::SwapScreenAndSetRestoreCursor.into());
        self.term.grid_mut().saved_cursor = Default::default(); // nothing stays of what was there before
        self.main = Some(main);
        self.keys.swap();
    }

    fn leave_alternate(&mut self) {
        self.term.unset_private_mode(NamedPrivateMode::SwapScreenAndSetRestoreCursor.into());
        let grid = self.term.grid_mut();
        mend_all(grid);
        grid.saved_cursor = grid.cursor.clone(); // where it was saved when the alternate screen came, also after a resize
        self.main = None;
        self.keys.swap();
        self.confine();
    }

    /// In origin mode the cursor stays between the margins.
    fn confine(&mut self) {
        if self.is(TermMode::ORIGIN) {
            let line = &mut self.term.grid_mut().cursor.point.line;
            *line = Line(line.0.clamp(self.region.start, self.region.end - 1));
        }
    }

    /// True when the cell that the next combining character goes to has enough of them.
    fn crowded(&self) -> bool {
        let grid = self.term.grid();
        let (line, column) = self.cursor();
        let row = &grid[Line(line)];
        let mut at = column.saturating_sub(usize::from(!grid.cursor.input_needs_wrap));
        if row[Column(at)].flags.contains(Flags::WIDE_CHAR_SPACER) {
            at = at.saturating_sub(1);
        }
        row[Column(at)].zerowidth().is_some_and(|marks| marks.len() >= MARKS_MAX)
    }
}

const TAB: usize = 8;

fn tabs(columns: usize) -> Vec<bool> {
    (0..columns).map(|column| column.is_multiple_of(TAB)).collect()
}

fn cut(mut text: String, max: usize) -> String {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

/// Steps that the emulator takes alone.
macro_rules! pass_on {
    ($($name:ident($($arg:ident: $type:ty),*);)*) => {
        $(#[inline]
        fn $name(&mut self, $($arg: $type),*) {
            self.term.$name($($arg),*);
        })*
    };
}

/// Steps that can break wide characters of the cursor's line.
macro_rules! pass_on_and_mend {
    ($($name:ident($($arg:ident: $type:ty),*);)*) => {
        $(fn $name(&mut self, $($arg: $type),*) {
            self.term.$name($($arg),*);
            self.mend();
        })*
    };
}

impl Handler for Machine {
    pass_on! {
        goto(line: i32, column: usize);
        goto_line(line: i32);
        goto_col(column: usize);
        move_up(n: usize);
        move_down(n: usize);
        move_forward(n: usize);
        move_backward(n: usize);
        move_down_and_cr(n: usize);
        move_up_and_cr(n: usize);
        put_tab(n: u16);
        backspace();
        carriage_return();
        linefeed();
        newline();
        scroll_up(n: usize);
        scroll_down(n: usize);
        insert_blank_lines(n: usize);
        delete_lines(n: usize);
        save_cursor_position();
        reverse_index();
        terminal_attribute(attribute: Attr);
        set_mode(mode: Mode);
        unset_mode(mode: Mode);
        set_keypad_application_mode();
        unset_keypad_application_mode();
        configure_charset(index: CharsetIndex, charset: StandardCharset);
        set_color(index: usize, color: Rgb);
        reset_color(index: usize);
        decaln();
    }

    pass_on_and_mend! {
        insert_blank(n: usize);
        erase_chars(n: usize);
        delete_chars(n: usize);
        clear_line(mode: LineClearMode);
    }

    #[inline]
    fn input(&mut self, c: char) {
        if c >= '\u{a0}' && c.width() == Some(0) && self.crowded() {
            return;
        }
        self.term.input(c);
        if self.is(TermMode::INSERT) {
            self.mend();
        }
    }

    fn restore_cursor_position(&mut self) {
        self.term.restore_cursor_position();
        self.confine();
    }

    fn move_backward_tabs(&mut self, n: u16) {
        self.term.move_backward_tabs(n.min(self.tabs.len() as u16));
        self.term.grid_mut().cursor.input_needs_wrap = false;
    }

    fn move_forward_tabs(&mut self, n: u16) {
        self.term.move_forward_tabs(n.min(self.tabs.len() as u16));
    }

    fn clear_screen(&mut self, mode: ClearMode) {
        let above = matches!(mode, ClearMode::Above);
        self.term.clear_screen(mode);
        self.mend();
        if above && self.cursor().0 == 1 {
            self.term.grid_mut().reset_region(Line(0)..Line(1)); // the emulator forgets it
        }
    }

    fn set_horizontal_tabstop(&mut self) {
        let (_, column) = self.cursor();
        self.tabs[column] = true;
        self.term.set_horizontal_tabstop();
    }

    fn clear_tabs(&mut self, mode: TabulationClearMode) {
        match mode {
            TabulationClearMode::Current => {
                let (_, column) = self.cursor();
                self.tabs[column] = false;
            }
            TabulationClearMode::All => self.tabs.fill(false),
        }
        self.term.clear_tabs(mode);
    }

    fn set_scrolling_region(&mut self, top: usize, bottom: Option<usize>) {
        let lines = self.lines() as usize;
        let bottom = bottom.unwrap_or(lines).min(lines);
        if top < bottom {
            self.region = top as i32 - 1..bottom as i32;
            self.term.set_scrolling_region(top, Some(bottom));
        }
    }

    fn reset_state(&mut self) {
        self.term.reset_state();
        self.region = 0..self.lines();
        self.tabs = tabs(self.term.columns());
        self.shifted = CharsetIndex::default();
        (self.style, self.title, self.main) = (None, None, None);
        self.titles.clear();
        self.keys = Keys::default();
    }

    fn set_private_mode(&mut self, mode: PrivateMode) {
        match mode {
            PrivateMode::Named(NamedPrivateMode::SwapScreenAndSetRestoreCursor) if !self.is(TermMode::ALT_SCREEN) => {
                self.enter_alternate();
            }
            PrivateMode::Named(NamedPrivateMode::ColumnMode) => self.region = 0..self.lines(),
            PrivateMode::Named(NamedPrivateMode::BlinkingCursor) => {
                self.style.get_or_insert_default().blinking = true;
            }
            _ => {}
        }
        self.term.set_private_mode(mode);
    }

    fn unset_private_mode(&mut self, mode: PrivateMode) {
        match mode {
            PrivateMode::Named(NamedPrivateMode::SwapScreenAndSetRestoreCursor) if self.is(TermMode::ALT_SCREEN) => {
                self.leave_alternate();
            }
            PrivateMode::Named(NamedPrivateMode::ColumnMode) => self.region = 0..self.lines(),
            PrivateMode::Named(NamedPrivateMode::BlinkingCursor) => {
                self.style.get_or_insert_default().blinking = false;
            }
            _ => {}
        }
        self.term.unset_private_mode(mode);
    }

    fn set_active_charset(&mut self, index: CharsetIndex) {
        self.shifted = index;
        self.term.set_active_charset(index);
    }

    fn set_cursor_style(&mut self, style: Option<CursorStyle>) {
        self.style = style;
    }

    fn set_cursor_shape(&mut self, shape: CursorShape) {
        self.style.get_or_insert_default().shape = shape;
    }

    fn set_hyperlink(&mut self, link: Option<Hyperlink>) {
        let size = |link: &Hyperlink| link.uri.len() + link.id.as_ref().map_or(0, String::len);
        self.term.set_hyperlink(link.filter(|link| size(link) <= LINK_MAX));
    }

    fn set_title(&mut self, title: Option<String>) {
        self.title = title.map(|title| cut(title, TITLE_MAX));
    }

    fn push_title(&mut self) {
        if self.titles.len() == STACK_MAX {
            self.titles.remove(0);
        }
        self.titles.push(self.title.clone());
    }

    fn pop_title(&mut self) {
        if let Some(title) = self.titles.pop() {
            self.title = title;
        }
    }

    fn push_keyboard_mode(&mut self, mode: KeyboardModes) {
        self.keys.push(mode);
    }

    fn pop_keyboard_modes(&mut self, n: u16) {
        self.keys.pop(usize::from(n));
    }

    fn set_keyboard_mode(&mut self, mode: KeyboardModes, how: KeyboardModesApplyBehavior) {
        self.keys.set(mode, how);
    }

    fn identify_terminal(&mut self, intermediate: Option<char>) {
        self.identify(intermediate);
    }

    fn device_status(&mut self, what: usize) {
        self.status(what);
    }

    fn report_mode(&mut self, mode: Mode) {
        self.say_mode(mode);
    }

    fn report_private_mode(&mut self, mode: PrivateMode) {
        self.say_private_mode(mode);
    }

    fn dynamic_color_sequence(&mut self, prefix: String, index: usize, terminator: &str) {
        self.say_color(&prefix, index, terminator);
    }

    fn text_area_size_pixels(&mut self) {
        self.say_pixels();
    }

    fn text_area_size_chars(&mut self) {
        self.say_size();
    }
}
