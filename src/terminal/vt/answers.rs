//! What the terminal says when a program asks it: where the cursor is, what it is, its colours, sizes and modes.
//!
//! Only text is made here, in the order asked; whether anybody types it is decided elsewhere. What isn't answered: whether
//! kitty's keyboard protocol is there (the terminal of a person who attaches later may not have it), the clipboard.

use super::machine::{Machine, PRIVATE};
use alacritty_terminal::{
    grid::Dimensions,
    term::TermMode,
    vte::ansi::{Mode, NamedColor, NamedMode, NamedPrivateMode, PrivateMode, Rgb},
};

/// The text is light …
const FOREGROUND: Rgb = Rgb { r: 0xd8, g: 0xd8, b: 0xd8 };
/// … on dark: what most terminals of people who use agents have.
const BACKGROUND: Rgb = Rgb { r: 0x18, g: 0x18, b: 0x18 };
/// A cell's width and height where pixels are asked for. Nobody sees them: a common font's.
const CELL: (usize, usize) = (8, 16);

impl Machine {
    /// DA1: a VT102; DA2: nothing that a program would look for.
    pub(super) fn identify(&mut self, intermediate: Option<char>) {
        match intermediate {
            None => self.answer("\x1b[?6c".to_owned()),
            Some('>') => self.answer("\x1b[>0;1;1c".to_owned()),
            Some(_) => {}
        }
    }

    pub(super) fn status(&mut self, what: usize) {
        match what {
            5 => self.answer("\x1b[0n".to_owned()),
            6 => {
                let (line, column) = self.cursor();
                let top = if self.is(TermMode::ORIGIN) { self.region.start } else { 0 };
                self.answer(format!("\x1b[{};{}R", line - top + 1, column + 1));
            }
            _ => {}
        }
    }

    pub(super) fn say_mode(&mut self, mode: Mode) {
        let state = match mode {
            Mode::Named(NamedMode::Insert) => set(self.is(TermMode::INSERT)),
            Mode::Named(NamedMode::LineFeedNewLine) => set(self.is(TermMode::LINE_FEED_NEW_LINE)),
            Mode::Unknown(_) => UNKNOWN,
        };
        self.answer(format!("\x1b[{};{state}$y", mode.raw()));
    }

    pub(super) fn say_private_mode(&mut self, mode: PrivateMode) {
        let state = match mode {
            PrivateMode::Named(NamedPrivateMode::SyncUpdate) => set(false),
            PrivateMode::Named(NamedPrivateMode::BlinkingCursor) => set(self.style.is_some_and(|s| s.blinking)),
            PrivateMode::Named(named) => {
                let flag = PRIVATE.iter().find(|(mode, _)| *mode == named).map(|(_, flag)| *flag);
                flag.map_or(UNKNOWN, |flag| set(self.is(flag)))
            }
            PrivateMode::Unknown(_) => UNKNOWN,
        };
        self.answer(format!("\x1b[?{};{state}$y", mode.raw()));
    }

    pub(super) fn say_color(&mut self, prefix: &str, index: usize, terminator: &str) {
        let Rgb { r, g, b } = self.term.colors()[index].unwrap_or_else(|| default_color(index));
        self.answer(format!("\x1b]{prefix};rgb:{r:02x}{r:02x}/{g:02x}{g:02x}/{b:02x}{b:02x}{terminator}"));
    }

    pub(super) fn say_pixels(&mut self) {
        let (width, height) = (self.term.columns() * CELL.0, self.term.screen_lines() * CELL.1);
        self.answer(format!("\x1b[4;{height};{width}t"));
    }

    pub(super) fn say_size(&mut self) {
        self.answer(format!("\x1b[8;{};{}t", self.term.screen_lines(), self.term.columns()));
    }
}

const UNKNOWN: u8 = 0;

fn set(on: bool) -> u8 {
    if on { 1 } else { 2 }
}

/// The palette of xterm: 16 colours, a cube, a grey ramp.
fn default_color(index: usize) -> Rgb {
    const BASE: [u32; 16] = [
        0x000000, 0xcd0000, 0x00cd00, 0xcdcd00, 0x0000ee, 0xcd00cd, 0x00cdcd, 0xe5e5e5, 0x7f7f7f, 0xff0000, 0x00ff00,
        0xffff00, 0x5c5cff, 0xff00ff, 0x00ffff, 0xffffff,
    ];
    let step = |n: usize| if n == 0 { 0 } else { (55 + 40 * n) as u8 };
    match index {
        0..16 => {
            let [_, r, g, b] = BASE[index].to_be_bytes();
            Rgb { r, g, b }
        }
        16..232 => Rgb { r: step((index - 16) / 36), g: step((index - 16) / 6 % 6), b: step((index - 16) % 6) },
        232..256 => {
            let grey = (8 + 10 * (index - 232)) as u8;
            Rgb { r: grey, g: grey, b: grey }
        }
        _ if index == NamedColor::Background as usize => BACKGROUND,
        _ => FOREGROUND,
    }
}
