//! What leaves the log for other eyes: recordings, text, lines of JSON, bytes; and the pace of a replay.
//!
//! Pure. Lines and bytes of a reading come in, in the order of the log, bytes of a file go out. It must never show what was
//! typed: an input may hold secrets, and what the program echoed is output.

mod asciicast;
mod jsonl;
mod pace;
mod text;

pub use asciicast::Asciicast;
pub use jsonl::{Shown, shown};
pub use pace::Pace;
pub use text::Text;

use crate::wire::{Content, FollowQuery, Hello, Line};

/// What a file of a session looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A recording that `asciinema` and its kin play, version 2.
    AsciicastV2,
    /// Rows as a person reads them.
    Text,
    /// Lines of JSON with every event.
    Jsonl,
    /// The bytes that the program wrote.
    Raw,
}

impl Format {
    /// What it needs of a reading.
    pub fn ask(self, query: &mut FollowQuery) {
        let all = matches!(self, Format::AsciicastV2 | Format::Jsonl);
        query.content = match self {
            Format::AsciicastV2 => Content::Chars,
            Format::Text | Format::Jsonl => Content::Rows,
            Format::Raw => Content::Raw,
        };
        (query.events_all, query.times) = (all, self == Format::AsciicastV2);
    }
}

/// A file being written, from the lines of one reading.
#[derive(Debug)]
pub enum Export {
    /// See [`Format::AsciicastV2`].
    AsciicastV2(Asciicast),
    /// See [`Format::Text`].
    Text(Text),
    /// See [`Format::Jsonl`].
    Jsonl,
    /// See [`Format::Raw`].
    Raw,
}

impl Export {
    /// Begins a file about a session that ran `command`.
    pub fn new(format: Format, session: &str, command: &str) -> Export {
        match format {
            Format::AsciicastV2 => Export::AsciicastV2(Asciicast::new(session, command)),
            Format::Text => Export::Text(Text::default()),
            Format::Jsonl => Export::Jsonl,
            Format::Raw => Export::Raw,
        }
    }

    /// The first frame of the reading.
    pub fn hello(&mut self, hello: &Hello) {
        if let (Export::AsciicastV2(cast), Some(size)) = (self, hello.size) {
            cast.size(size);
        }
    }

    /// The next line of the reading.
    pub fn line(&mut self, line: &Line, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        match self {
            Export::AsciicastV2(cast) => cast.line(line, out)?,
            Export::Text(text) => text.line(line, out),
            Export::Jsonl => {
                if let Some(shown) = shown(line) {
                    serde_json::to_writer(&mut *out, &shown)?;
                    out.push(b'\n');
                }
            }
            Export::Raw => {}
        }
        Ok(())
    }

    /// The next bytes of the reading.
    pub fn bytes(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(bytes);
    }

    /// The end of the file.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        match self {
            Export::AsciicastV2(cast) => cast.finish(out)?,
            Export::Text(text) => text.finish(out),
            Export::Jsonl | Export::Raw => {}
        }
        Ok(())
    }
}
