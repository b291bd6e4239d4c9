//! A terminal's size as the emulator takes it.

use crate::model::Size;
use alacritty_terminal::grid::Dimensions;

/// The emulator's least number of columns (a wide character takes two).
const COLUMNS_MIN: usize = 2;

/// A size as the emulator takes it.
#[derive(Clone, Copy)]
pub(super) struct Area {
    columns: usize,
    lines: usize,
}

impl Area {
    pub(super) fn new(size: Size) -> Area {
        Area { columns: usize::from(size.cols).max(COLUMNS_MIN), lines: usize::from(size.rows).max(1) }
    }
}

impl Dimensions for Area {
    fn total_lines(&self) -> usize {
        self.lines
    }

    fn screen_lines(&self) -> usize {
        self.lines
    }

    fn columns(&self) -> usize {
        self.columns
    }
}
