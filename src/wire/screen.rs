//! The screen of a session.

use super::{ApiError, Code};
use serde::{Deserialize, Serialize};

/// `GET …/screen?format=json`, `screen --json`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Screen {
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
    /// Where the cursor is.
    pub cursor: ScreenCursor,
    /// The window's title, empty when the program set none.
    pub title: String,
    /// The alternate screen is shown, as full-screen programs do.
    pub alternate: bool,
    /// All rows from the top, trailing blanks removed; a wide character stands once and takes two columns.
    pub lines: Vec<String>,
    /// The last record of the log that is in it.
    pub seq: u64,
}

/// A cursor on the screen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ScreenCursor {
    /// Column, from 0.
    pub x: u16,
    /// Row, from 0.
    pub y: u16,
    /// It is shown.
    pub visible: bool,
}

impl Screen {
    /// The rows as text, blank ones at the end left out.
    pub fn text(&self) -> String {
        let end = self.lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
        self.lines[..end].iter().flat_map(|line| [line.as_str(), "\n"]).collect()
    }
}

/// What `GET …/screen` is asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ScreenQuery {
    /// RFC 3339 or `@SEQ`; without it now.
    pub at: Option<String>,
    /// In which form.
    pub format: ScreenFormat,
}

/// How a screen is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ScreenFormat {
    /// The rows, blank ones at the end left out.
    #[default]
    Text,
    /// A [`Screen`].
    Json,
    /// The rows with their colours.
    Ansi,
}

const FORMATS: [(&str, ScreenFormat); 3] =
    [("text", ScreenFormat::Text), ("json", ScreenFormat::Json), ("ansi", ScreenFormat::Ansi)];

impl ScreenQuery {
    /// From a URL's query; unknown names are ignored.
    pub fn from_query(query: &str) -> Result<ScreenQuery, ApiError> {
        let mut parsed = ScreenQuery::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "at" => parsed.at = Some(value.into_owned()),
                "format" => match FORMATS.iter().find(|(word, _)| *word == value) {
                    Some((_, format)) => parsed.format = *format,
                    None => {
                        let what = format!("bad format {value:?}");
                        return Err(ApiError::new(Code::Usage, what).hint("one of text, json, ansi"));
                    }
                },
                _ => {}
            }
        }
        Ok(parsed)
    }

    /// As a URL's query.
    pub fn to_query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if let Some((word, _)) = FORMATS.iter().find(|(_, format)| *format == self.format) {
            query.append_pair("format", word);
        }
        if let Some(at) = &self.at {
            query.append_pair("at", at);
        }
        query.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_survives_the_url() {
        for (_, format) in FORMATS {
            for at in [None, Some("@12.3".to_owned()), Some("2026-02-01T03:40:00+01:00".to_owned())] {
                let query = ScreenQuery { at, format };
                assert_eq!(ScreenQuery::from_query(&query.to_query()), Ok(query.clone()));
            }
        }
        assert_eq!(ScreenQuery::from_query("format=html").unwrap_err().code, Code::Usage);
    }

    #[test]
    fn blank_rows_at_the_end_are_left_out() {
        let cursor = ScreenCursor { x: 0, y: 0, visible: true };
        for (lines, text) in [(&["a", "", "b", "", ""][..], "a\n\nb\n"), (&["", ""], ""), (&[], "")] {
            let lines = lines.iter().map(|l| l.to_string()).collect();
            let screen = Screen { cols: 2, rows: 2, cursor, title: String::new(), alternate: false, lines, seq: 1 };
            assert_eq!(screen.text(), text);
        }
    }
}
