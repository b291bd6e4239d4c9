//! Feeding rows and showing what comes out.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::time::Duration;
use termalive::{
    model::{Cursor, LogTime, Seq, Size},
    terminal::{RowEvent, Rows},
};

/// A reading of one record after another.
pub(crate) struct Reading {
    pub(crate) rows: Rows,
    pub(crate) at: Cursor,
    pub(crate) now: LogTime,
    pub(crate) out: Vec<RowEvent>,
}

impl Reading {
    pub(crate) fn new(size: Size) -> Reading {
        Reading { rows: Rows::new(size), at: Cursor::at(Seq(1)), now: LogTime(1), out: Vec::new() }
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.rows.feed(self.at, self.now, bytes, &mut self.out);
        self.at.byte += bytes.len() as u32;
    }

    pub(crate) fn wait(&mut self, ms: u64) {
        self.now = self.now.after(Duration::from_millis(ms));
        self.rows.settle(self.now, &mut self.out);
    }

    pub(crate) fn finish(&mut self) {
        self.rows.finish(&mut self.out);
    }

    pub(crate) fn take_events(&mut self) -> Vec<RowEvent> {
        std::mem::take(&mut self.out)
    }

    pub(crate) fn take(&mut self) -> String {
        show(&std::mem::take(&mut self.out))
    }
}

/// `J` or `F`, the id, `+` for a row that goes on, and the text.
pub(crate) fn show(events: &[RowEvent]) -> String {
    let one = |event: &RowEvent| {
        let (kind, row) = match event {
            RowEvent::Judged(row) => ('J', row),
            RowEvent::Final(row) => ('F', row),
            RowEvent::Wiped => return String::new(),
        };
        format!("{kind}{}{} {}", row.id, if row.more { "+" } else { "" }, row.text)
    };
    events.iter().filter(|event| **event != RowEvent::Wiped).map(one).collect::<Vec<_>>().join("|")
}

/// Each input gives these events up to its end, whole and byte by byte.
pub(crate) fn check(size: Size, table: &[(&str, &str)]) {
    for (bytes, expected) in table {
        for chunk in [bytes.len(), 1, 3] {
            let mut reading = Reading::new(size);
            for part in bytes.as_bytes().chunks(chunk) {
                reading.feed(part);
            }
            reading.finish();
            assert_eq!(reading.take(), *expected, "{bytes:?} in chunks of {chunk}");
        }
    }
}
