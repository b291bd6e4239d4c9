//! How a reading looks: text, bytes, or lines of JSON.

use super::{super::out, Failure, Format};
use crate::export;
use crate::wire::{EventLine, Line};

/// Writes lines and bytes in one format.
pub(super) struct Printer<'a> {
    out: &'a mut out::Out,
    format: Format,
    quiet: bool,
}

impl<'a> Printer<'a> {
    pub(super) fn new(out: &'a mut out::Out, format: Format, quiet: bool) -> Printer<'a> {
        Printer { out, format, quiet }
    }

    /// Output as it was.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.quiet { Ok(()) } else { self.out.write(bytes) }
    }

    /// A line, as the format has it.
    pub(super) fn line(&mut self, line: &Line) -> Result<(), Failure> {
        if self.quiet {
            return Ok(());
        }
        match self.format {
            Format::Json => self.json(line),
            Format::Text | Format::Raw => match line {
                Line::Data(data) => self.out.write(data.content.as_bytes()),
                Line::Other(event) if event.event == "gap" => {
                    self.out.flush()?;
                    out::note(&gap(event));
                    Ok(())
                }
                _ => Ok(()),
            },
        }
    }

    pub(super) fn waits(&self) -> bool {
        self.out.waits()
    }

    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush()
    }

    /// Rows end with a line feed, the unfinished one, too.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        if self.format == Format::Text && self.out.open_row {
            self.out.write(b"\n")?;
        }
        self.out.flush()
    }

    fn json(&mut self, line: &Line) -> Result<(), Failure> {
        match export::shown(line) {
            Some(shown) => self.out.json(&shown),
            None => Ok(()),
        }
    }
}

/// What is missing, for people.
pub(in super::super) fn gap(event: &EventLine) -> String {
    let field = |names: [&str; 2]| {
        let value = names.iter().find_map(|name| event.detail.get(*name));
        value.map_or_else(|| "?".to_owned(), |v| v.as_str().map_or_else(|| v.to_string(), str::to_owned))
    };
    format!(
        "output of {} is missing here: events {} to {} ({})",
        event.session,
        field(["from_seq", "from"]),
        field(["to_seq", "to"]),
        field(["reason", "why"])
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn text_is_rows_alone() {
        let mut out = out::Out::default();
        let mut printer = Printer::new(&mut out, Format::Text, false);
        for line in [
            json!({"event":"data","ts":"T","session":"p","seq":1,"content":"row\n"}),
            json!({"event":"started","ts":"T","session":"p","seq":2,"run":2}),
            json!({"event":"data","ts":"T","session":"p","seq":3,"content":">>>"}),
        ] {
            printer.line(&serde_json::from_value(line).unwrap()).unwrap();
        }
        assert!(out.open_row);
        assert_eq!(out.take(), "row\n>>>");
    }
}
