//! Cells that steps of the emulator leave behind broken, and what terminals make of them.

use alacritty_terminal::{
    grid::{Dimensions, Grid},
    index::Line,
    term::cell::{Cell, Flags},
};

/// [`mend`] for all lines, and cursors that wait to wrap somewhere else than in the last column.
pub(super) fn mend_all(grid: &mut Grid<Cell>) {
    (0..grid.screen_lines() as i32).for_each(|line| mend(grid, line));
    let last = grid.last_column();
    for cursor in [&mut grid.cursor, &mut grid.saved_cursor] {
        cursor.input_needs_wrap &= cursor.point.column == last;
    }
}

/// Halves of wide characters become blanks; marks of wrapping that were moved from the last column go.
pub(super) fn mend(grid: &mut Grid<Cell>, line: i32) {
    let special = Flags::WIDE_CHAR | Flags::WIDE_CHAR_SPACER | Flags::LEADING_WIDE_CHAR_SPACER | Flags::WRAPLINE;
    let last = grid.last_column().0;
    if !grid[Line(line)][..].iter().any(|cell| cell.flags.intersects(special)) {
        return;
    }
    let row = &mut grid[Line(line)][..];
    for at in 0..row.len() {
        let is = |at: usize, flag: Flags| row.get(at).is_some_and(|cell: &Cell| cell.flags.contains(flag));
        let lone_wide = is(at, Flags::WIDE_CHAR) && !is(at + 1, Flags::WIDE_CHAR_SPACER);
        let lone_spacer = is(at, Flags::WIDE_CHAR_SPACER) && (at == 0 || !is(at - 1, Flags::WIDE_CHAR));
        if lone_wide {
            row[at].clear_wide();
        }
        if lone_spacer {
            row[at].flags.remove(Flags::WIDE_CHAR_SPACER);
        }
        if at < last {
            row[at].flags.remove(Flags::WRAPLINE | Flags::LEADING_WIDE_CHAR_SPACER);
        }
    }
}
