//! Text out of the emulator's cells.

use alacritty_terminal::{
    grid::{Dimensions, Grid, Row},
    index::{Column, Line},
    term::cell::{Cell, Flags},
};
use std::hash::{DefaultHasher, Hasher};

/// Something a person sees stands in the cell.
pub(super) fn visible(cell: &Cell) -> bool {
    !matches!(cell.c, ' ' | '\t') || cell.zerowidth().is_some_and(|z| !z.is_empty())
}

/// True when the row goes on in the next line.
pub(super) fn wraps(grid: &Grid<Cell>, line: i32) -> bool {
    grid[Line(line)][grid.last_column()].flags.contains(Flags::WRAPLINE)
}

/// Columns up to the last visible one.
pub(super) fn visible_len(row: &Row<Cell>) -> usize {
    (0..row.len()).rev().find(|c| visible(&row[Column(*c)])).map_or(0, |c| c + 1)
}

/// True when a person sees nothing in the line.
pub(super) fn blank(grid: &Grid<Cell>, line: i32) -> bool {
    visible_len(&grid[Line(line)]) == 0
}

/// Appends the text of a line's first `len` columns.
pub(super) fn push_cells(grid: &Grid<Cell>, line: i32, len: usize, out: &mut String) {
    for cell in &grid[Line(line)][..Column(len)] {
        if cell.flags.intersects(Flags::WIDE_CHAR_SPACER | Flags::LEADING_WIDE_CHAR_SPACER) {
            continue;
        }
        out.push(if cell.c == '\t' { ' ' } else { cell.c });
        if let Some(marks) = cell.zerowidth() {
            out.extend(marks);
        }
    }
}

/// Appends the text of lines that make one row: whole but for the trailing blanks of what is visible.
pub(super) fn push_lines(grid: &Grid<Cell>, first: i32, last: i32, out: &mut String) {
    let Some(last) = (first..=last).rev().find(|l| !blank(grid, *l)) else { return };
    for line in first..last {
        push_cells(grid, line, grid.columns(), out);
    }
    push_cells(grid, last, visible_len(&grid[Line(last)]), out);
}

/// A text's number: equal for equal texts, and as good as never for others.
pub(super) fn text_hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}
