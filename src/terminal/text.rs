//! Text out of the emulator's cells.

use alacritty_terminal::{
    grid::{Dimensions, Grid, Row},
    index::{Column, Line},
    term::cell::{Cell, Flags},
};
use std::{
    hash::{DefaultHasher, Hasher},
    ops::Range,
};

/// Something a person sees stands in the cell.
pub(super) fn visible(cell: &Cell) -> bool {
    !matches!(cell.c, ' ' | '\t') || cell.zerowidth().is_some_and(|z| !z.is_empty())
}

/// True when the row goes on in the next line.
pub(super) fn wraps(grid: &Grid<Cell>, line: i32) -> bool {
    grid[Line(line)][grid.last_column()].flags.contains(Flags::WRAPLINE)
}

/// Columns up to the last visible one, of the first `within`.
pub(super) fn visible_len(row: &Row<Cell>, within: usize) -> usize {
    let cells = &row[..Column(within.min(row.len()))];
    cells.iter().rposition(visible).map_or(0, |c| c + 1)
}

/// True when a person sees nothing in the line.
pub(super) fn blank(grid: &Grid<Cell>, line: i32) -> bool {
    visible_len(&grid[Line(line)], usize::MAX) == 0
}

/// True when something visible stands in some columns of a line.
pub(super) fn any_visible(grid: &Grid<Cell>, line: i32, columns: Range<usize>) -> bool {
    let row = &grid[Line(line)];
    let columns = Column(columns.start.min(row.len()))..Column(columns.end.min(row.len()));
    row[columns].iter().any(visible)
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

/// Appends the text of lines that make one row, up to the last visible character; on line `last` none stands beyond column
/// `within`.
pub(super) fn push_lines(grid: &Grid<Cell>, first: i32, last: i32, within: usize, out: &mut String) {
    let (mut last, mut len) = (last, visible_len(&grid[Line(last)], within));
    while len == 0 && last > first {
        last -= 1;
        len = visible_len(&grid[Line(last)], usize::MAX);
    }
    for line in first..last {
        push_cells(grid, line, grid.columns(), out);
    }
    push_cells(grid, last, len, out);
}

/// A text's number: equal for equal texts, and as good as never for others.
pub(super) fn text_hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}
