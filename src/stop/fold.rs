//! Folding: what stays of a text when white space, wrapping and frames are left out, and where it stood.
//!
//! Pure. Rows and typed texts come in, comparable texts go to `echo`. It must never fold a character that people read: an
//! answer that differs from what was sent in one letter is another text.

use std::ops::Range;

/// True for what folding leaves out: blanks, marks without width, frames.
pub(super) fn is_folded(c: char) -> bool {
    let frame = matches!(c, '\u{2500}'..='\u{259F}'); // box drawing and block elements
    let no_width = matches!(c, '\u{200B}'..='\u{200F}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{00AD}');
    frame || no_width || c.is_whitespace() || c.is_control()
}

/// True for what stands before a row's text without being part of it: frames, bullets, quote and prompt signs.
pub(super) fn is_decoration(c: char) -> bool {
    is_folded(c) || matches!(c, '>' | '|' | '*' | '-' | '+' | '.' | '…' | '$' | '#' | '%' | ':') || is_bullet(c)
}

/// True for signs that begin an item of a list or a message.
pub(super) fn is_bullet(c: char) -> bool {
    matches!(
        c,
        '-' | '*'
            | '+'
            | '>'
            | '•'
            | '●'
            | '○'
            | '◦'
            | '▪'
            | '▫'
            | '■'
            | '□'
            | '▶'
            | '▸'
            | '►'
            | '‣'
            | '⁃'
            | '∙'
            | '·'
            | '›'
            | '»'
            | '❯'
            | '❱'
            | '→'
            | '⏺'
            | '⎿'
            | '✦'
            | '◆'
            | '◇'
            | '–'
            | '—'
    )
}

/// True for letters, digits and the underscore: what words are made of.
pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// True when a row is nothing but what was waited for: blanks, bullets and frames left out.
pub fn is_marker_alone(row: &str, marker: &str) -> bool {
    let bare = |text: &str| text.chars().filter(|c| !is_folded(*c)).collect::<String>();
    let (row, marker) = (bare(row), bare(marker));
    row.strip_suffix(marker.as_str()).is_some_and(|before| before.chars().all(|c| is_decoration(c) || c == '`'))
}

/// A row without what folding leaves out, and the place in the row of each byte that stayed.
#[derive(Debug)]
pub(super) struct FoldedRow<'a> {
    pub(super) source: &'a str,
    pub(super) text: String,
    places: Vec<u32>,
    /// Where the leading decoration ends, in `text`.
    pub(super) head: usize,
    /// Where the trailing decoration begins, in `text`.
    pub(super) tail: usize,
}

impl<'a> FoldedRow<'a> {
    pub(super) fn new(source: &'a str) -> FoldedRow<'a> {
        let mut text = String::with_capacity(source.len());
        let mut places = Vec::with_capacity(source.len());
        for (at, c) in source.char_indices().filter(|(_, c)| !is_folded(*c)) {
            text.push(c);
            places.extend((at..at + c.len_utf8()).map(|byte| u32::try_from(byte).unwrap_or(u32::MAX)));
        }
        let head = text.len() - text.trim_start_matches(is_decoration).len();
        let tail = text.trim_end_matches('|').len();
        FoldedRow { source, text, places, head, tail }
    }

    /// Where a range of the folded text stands in the row.
    pub(super) fn range(&self, folded: Range<usize>) -> Range<usize> {
        let place = |at: usize| self.places.get(at).map_or(self.source.len(), |place| *place as usize);
        if folded.is_empty() {
            return place(folded.start)..place(folded.start);
        }
        place(folded.start)..place(folded.end - 1) + 1
    }

    /// The folded text without its decoration; nothing where it has none.
    pub(super) fn bare(&self) -> Option<&str> {
        self.text.get(self.head..self.tail).filter(|bare| bare.len() < self.text.len())
    }

    /// The row before a place of the folded text, and after another.
    pub(super) fn around(&self, folded: Range<usize>) -> (&'a str, &'a str) {
        let range = self.range(folded);
        (&self.source[..range.start], &self.source[range.end..])
    }
}

/// A typed text, folded: its lines that aren't blank, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FoldedText {
    pub(super) text: String,
    pub(super) lines: Vec<Line>,
}

/// Where a line of a typed text ends in the folded text, and how many blank lines follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) end: usize,
    pub(super) blanks: usize,
}

impl FoldedText {
    /// Control characters stand as the terminal driver echoes them: `^C`.
    pub(super) fn new(source: &str) -> FoldedText {
        let mut folded = FoldedText { text: String::new(), lines: Vec::new() };
        for line in source.replace("\r\n", "\n").split(['\n', '\r']) {
            let before = folded.text.len();
            for c in line.chars() {
                match u8::try_from(c) {
                    Ok(control) if control < 0x20 && c != '\t' => folded.text.extend(['^', char::from(control ^ 0x40)]),
                    Ok(0x7f) => folded.text.push_str("^?"),
                    _ if is_folded(c) => {}
                    _ => folded.text.push(c),
                }
            }
            if folded.text.len() > before {
                folded.lines.push(Line { end: folded.text.len(), blanks: 0 });
            } else if let Some(last) = folded.lines.last_mut() {
                last.blanks += 1;
            }
        }
        folded
    }

    /// The first line.
    pub(super) fn first(&self) -> &str {
        &self.text[..self.lines.first().map_or(0, |line| line.end)]
    }

    /// The line in which `at` lies, or which begins there: its bounds.
    pub(super) fn line_at(&self, at: usize) -> Range<usize> {
        let index = self.lines.partition_point(|line| line.end <= at);
        let start = if index == 0 { 0 } else { self.lines[index - 1].end };
        start..self.lines.get(index).map_or(self.text.len(), |line| line.end)
    }

    /// The last line end at or before `at`.
    pub(super) fn line_end_before(&self, at: usize) -> usize {
        let index = self.lines.partition_point(|line| line.end <= at);
        if index == 0 { 0 } else { self.lines[index - 1].end }
    }

    /// How many blank lines stand at a line end.
    pub(super) fn blanks_at(&self, at: usize) -> usize {
        self.lines.iter().find(|line| line.end == at).map_or(0, |line| line.blanks)
    }
}

/// How many bytes two texts have in common at their beginning, whole characters only.
pub(super) fn common(a: &str, b: &str) -> usize {
    let bytes = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    floor(a, bytes)
}

/// The last place between characters at or before `at`.
pub(super) fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// The first place between characters at or after `at`.
pub(super) fn ceil(text: &str, at: usize) -> usize {
    (at..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_fold_and_places_lead_back() {
        let row = FoldedRow::new("│ > say  ö │");
        assert_eq!(row.text, ">sayö");
        assert_eq!(&row.source[row.range(1..6)], "say  ö");
        assert_eq!(row.head, 1);
    }

    #[test]
    fn texts_fold_line_by_line() {
        let text = FoldedText::new("a b\r\n\n\ncd\t\u{3}\n");
        assert_eq!(text.text, "abcd^C");
        assert_eq!(text.lines, [Line { end: 2, blanks: 2 }, Line { end: 6, blanks: 1 }]);
        assert_eq!((text.first(), text.line_at(2), text.line_at(1)), ("ab", 2..6, 0..2));
        assert_eq!((text.line_end_before(5), text.line_end_before(6), text.blanks_at(2)), (2, 6, 2));
    }
}
