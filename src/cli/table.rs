//! A plain table for people: columns aligned, two blanks between, no frame, never wider than the terminal.
//!
//! Pure. Where it doesn't fit, the last column is cut, then columns are left out, the least useful one first. Not on a
//! terminal nothing is cut, and no cell is empty, so that `awk` finds each column where it was.

use std::time::Duration;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// A column.
pub(super) struct Column {
    pub(super) head: &'static str,
    /// The highest number is left out first; 0: never.
    pub(super) spare: u8,
}

/// A cell, and how it looks where there are colours.
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) paint: Option<Paint>,
}

/// Colours, each with the same meaning everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paint {
    Good,
    Busy,
    Bad,
    Quiet,
}

/// Where it is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Style {
    /// Of the terminal; none where it isn't one.
    pub(super) width: Option<usize>,
    pub(super) colour: bool,
}

const GAP: usize = 2;
/// The last column is cut down to so much before another one is left out: a command's first words.
const LAST_MIN: usize = 12;
/// The first column is cut down to no less.
const FIRST_MIN: usize = 8;

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Cell {
        Cell { text: text.into(), paint: None }
    }
}

impl Cell {
    pub(super) fn painted(text: impl Into<String>, paint: Paint) -> Cell {
        Cell { text: text.into(), paint: Some(paint) }
    }
}

/// Head and rows as lines. An empty cell is `-`.
pub(super) fn lines(columns: &[Column], rows: &[Vec<Cell>], style: Style) -> Vec<String> {
    let widest = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.text.width().max(1)).max();
    let widths: Vec<usize> =
        columns.iter().enumerate().map(|(at, column)| widest(at).unwrap_or(0).max(column.head.width())).collect();
    let kept = kept(columns, &widths, style.width);
    let widths = narrow(&kept, widths, style.width);
    let head = kept.iter().map(|at| (*at, columns[*at].head, None)).collect::<Vec<_>>();
    let mut out = vec![line(&head, &widths, Style { colour: false, ..style })];
    out.extend(rows.iter().map(|row| {
        let cells = kept.iter().filter_map(|at| row.get(*at).map(|cell| (*at, cell.text.as_str(), cell.paint)));
        line(&cells.collect::<Vec<_>>(), &widths, style)
    }));
    out
}

/// The columns that fit, the most useful ones first chosen. The last one needs not be whole.
fn kept(columns: &[Column], widths: &[usize], width: Option<usize>) -> Vec<usize> {
    let Some(width) = width else { return (0..columns.len()).collect() };
    let least = |at: usize| if at + 1 == columns.len() { widths[at].min(LAST_MIN) } else { widths[at] } + GAP;
    let mut wanted: Vec<usize> = (0..columns.len()).collect();
    wanted.sort_by_key(|at| columns[*at].spare);
    let (mut kept, mut left) = (Vec::new(), width + GAP);
    for at in wanted {
        if columns[at].spare == 0 || least(at) <= left {
            left = left.saturating_sub(least(at));
            kept.push(at);
        }
    }
    kept.sort_unstable();
    kept
}

/// The first column, the names, gives way where all that can be left out isn't enough.
fn narrow(kept: &[usize], mut widths: Vec<usize>, width: Option<usize>) -> Vec<usize> {
    if let (Some(width), [first, rest @ ..]) = (width, kept) {
        let others: usize =
            rest.iter().map(|at| if *at + 1 == widths.len() { LAST_MIN } else { widths[*at] } + GAP).sum();
        widths[*first] = widths[*first].min(width.saturating_sub(others).max(FIRST_MIN));
    }
    widths
}

fn line(cells: &[(usize, &str, Option<Paint>)], widths: &[usize], style: Style) -> String {
    let (mut out, mut left) = (String::new(), style.width.unwrap_or(usize::MAX));
    for (place, (at, text, paint)) in cells.iter().enumerate() {
        let whole = if *at + 1 == widths.len() { left } else { widths[*at].min(left) };
        let text = cut(if text.is_empty() { "-" } else { text }, whole);
        let used = text.width();
        out.push_str(&paint.map_or_else(|| text.clone(), |paint| paint.on(&text, style)));
        left -= used;
        let blanks = (widths[*at].saturating_sub(used) + GAP).min(left);
        if place + 1 < cells.len() && left > blanks {
            out.push_str(&" ".repeat(blanks));
            left -= blanks;
        } else {
            break;
        }
    }
    out
}

/// At most so many columns of a terminal; what is cut shows it.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut left = width.saturating_sub(1);
    let fits = |c: &char| {
        let wide = c.width().unwrap_or(0);
        let fits = wide <= left;
        left = left.saturating_sub(wide);
        fits
    };
    let mut out: String = text.chars().take_while(fits).collect();
    if width > 0 {
        out.push('…');
    }
    out
}

impl Paint {
    /// The text, painted where there are colours.
    pub(super) fn on(self, text: &str, style: Style) -> String {
        if style.colour { format!("\x1b[{}m{text}\x1b[0m", self.code()) } else { text.to_owned() }
    }

    fn code(self) -> &'static str {
        match self {
            Paint::Good => "32",
            Paint::Busy => "33",
            Paint::Bad => "31",
            Paint::Quiet => "2",
        }
    }
}

/// `name  value` lines, the values under each other.
pub(super) fn pairs(pairs: &[(&str, String)]) -> Vec<String> {
    let width = pairs.iter().map(|(name, _)| name.width()).max().unwrap_or(0) + GAP;
    pairs.iter().map(|(name, value)| format!("{:<width$}{value}", format!("{name}:"), width = width + 1)).collect()
}

/// How long, in the one unit that says most.
pub(super) fn age(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column { head: "NAME", spare: 0 },
        Column { head: "STATE", spare: 1 },
        Column { head: "PID", spare: 2 },
        Column { head: "COMMAND", spare: 0 },
    ];

    fn table(width: Option<usize>, colour: bool) -> Vec<String> {
        let row = |cells: [&str; 4]| cells.into_iter().map(Cell::from).collect::<Vec<_>>();
        let mut rows =
            vec![row(["longer-name", "running", "7", "cargo test --all --release"]), row(["ä名", "", "", ""])];
        rows[0][1].paint = Some(Paint::Good);
        lines(&COLUMNS, &rows, Style { width, colour })
    }

    #[test]
    fn columns_stand_under_their_heads() {
        let full = [
            "NAME         STATE    PID  COMMAND",
            "longer-name  running  7    cargo test --all --release",
            "ä名          -        -    -",
        ];
        assert_eq!(table(None, false), full);
        assert_eq!(table(Some(80), false), full);
        assert_eq!(table(Some(50), false)[1], "longer-name  running  7    cargo test --all --rel…");
        assert_eq!(table(Some(39), false)[1], "longer-name  running  7    cargo test …");
        assert_eq!(table(Some(38), false)[1], "longer-name  running  cargo test --al…");
        assert_eq!(table(Some(33), false)[1], "longer-name  7    cargo test --a…");
        assert_eq!(table(Some(25), false)[1], "longer-name  cargo test …");
        assert_eq!(table(Some(22), false)[1], "longer-…  cargo test …");
        assert_eq!(table(Some(8), false)[1], "longer-…");
        assert_eq!(table(None, true)[1], "longer-name  \x1b[32mrunning\x1b[0m  7    cargo test --all --release");
        for width in 0..60 {
            let lines = table(Some(width), false);
            assert!(lines.iter().all(|line| line.width() <= width && !line.ends_with(' ')), "{width}: {lines:?}");
        }
        assert_eq!(lines(&COLUMNS, &[], Style::default()), ["NAME  STATE  PID  COMMAND"]);
    }

    #[test]
    fn values_stand_under_each_other() {
        assert_eq!(pairs(&[("a", "1".into()), ("long", "2".into())]), ["a:     1", "long:  2"]);
    }

    #[test]
    fn ages_are_short() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (60, "1m"), (7199, "1h"), (172_799, "47h"), (172_800, "2d")] {
            assert_eq!(age(Duration::from_secs(seconds)), text);
        }
    }
}
