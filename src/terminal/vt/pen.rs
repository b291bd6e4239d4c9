//! Attributes and colours of text, and the sequences that set them.
//!
//! Colons where a terminal that doesn't know underline styles would take semicolons for something else.

use alacritty_terminal::{
    term::cell::{Cell, Flags, Hyperlink},
    vte::ansi::{Color, NamedColor},
};
use std::io::Write;

/// How a cell is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Pen {
    fg: Color,
    bg: Color,
    flags: Flags,
    underline: Option<Color>,
    link: Option<Hyperlink>,
}

impl Default for Pen {
    fn default() -> Pen {
        Pen::of(&Cell::default())
    }
}

const STYLES: &[(Flags, &str)] = &[
    (Flags::BOLD, ";1"),
    (Flags::DIM, ";2"),
    (Flags::ITALIC, ";3"),
    (Flags::UNDERLINE, ";4"),
    (Flags::DOUBLE_UNDERLINE, ";4:2"),
    (Flags::UNDERCURL, ";4:3"),
    (Flags::DOTTED_UNDERLINE, ";4:4"),
    (Flags::DASHED_UNDERLINE, ";4:5"),
    (Flags::INVERSE, ";7"),
    (Flags::HIDDEN, ";8"),
    (Flags::STRIKEOUT, ";9"),
];

impl Pen {
    pub(super) fn of(cell: &Cell) -> Pen {
        let cells = Flags::WIDE_CHAR | Flags::WIDE_CHAR_SPACER | Flags::LEADING_WIDE_CHAR_SPACER | Flags::WRAPLINE;
        Pen {
            fg: cell.fg,
            bg: cell.bg,
            flags: cell.flags - cells,
            underline: cell.underline_color(),
            link: cell.hyperlink(),
        }
    }

    /// The change from `before`.
    pub(super) fn write(&self, before: &Pen, out: &mut Vec<u8>) {
        let colors = |pen: &Pen| (pen.fg, pen.bg, pen.flags, pen.underline);
        if colors(self) != colors(before) {
            out.extend_from_slice(b"\x1b[0");
            for (_, code) in STYLES.iter().filter(|(flag, _)| self.flags.contains(*flag)) {
                out.extend_from_slice(code.as_bytes());
            }
            color(self.fg, 30, out);
            color(self.bg, 40, out);
            match self.underline {
                Some(Color::Indexed(n)) => say(out, format_args!(";58:5:{n}")),
                Some(Color::Spec(c)) => say(out, format_args!(";58:2::{}:{}:{}", c.r, c.g, c.b)),
                Some(Color::Named(_)) | None => {} // no sequence sets a named one
            }
            out.push(b'm');
        }
        if self.link != before.link {
            match &self.link {
                Some(link) => say(out, format_args!("\x1b]8;id={};{}\x1b\\", link.id(), link.uri())),
                None => out.extend_from_slice(b"\x1b]8;;\x1b\\"),
            }
        }
    }
}

fn color(color: Color, base: u8, out: &mut Vec<u8>) {
    match color {
        Color::Named(NamedColor::Foreground | NamedColor::Background) => {}
        Color::Named(name) => match name as usize {
            n @ 0..8 => say(out, format_args!(";{}", usize::from(base) + n)),
            n @ 8..16 => say(out, format_args!(";{}", usize::from(base) + 60 + n - 8)),
            _ => {} // dim ones are made when drawing, not set
        },
        Color::Indexed(n) => say(out, format_args!(";{};5;{n}", base + 8)),
        Color::Spec(c) => say(out, format_args!(";{};2;{};{};{}", base + 8, c.r, c.g, c.b)),
    }
}

fn say(out: &mut Vec<u8>, words: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(words); // a vector takes everything
}
