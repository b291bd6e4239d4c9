//! Rows as a person reads them.
//!
//! Pure. Data lines come in, their content goes out; the last row ends with a line feed, too.

use crate::wire::Line;

/// A text file being written.
#[derive(Debug, Default)]
pub struct Text {
    open_row: bool,
}

impl Text {
    /// The next line of the reading.
    pub fn line(&mut self, line: &Line, out: &mut Vec<u8>) {
        if let Line::Data(data) = line
            && let Some(last) = data.content.as_bytes().last()
        {
            self.open_row = *last != b'\n';
            out.extend_from_slice(data.content.as_bytes());
        }
    }

    /// The end.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.open_row) {
            out.push(b'\n');
        }
    }
}
