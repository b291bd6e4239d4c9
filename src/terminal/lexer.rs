//! Cuts a stream into pieces whose effect on rows can be placed to the byte: lines, runs of text, escape sequences.
//!
//! Follows the states of `vte`'s parser only as far as the cutting needs; it must never decide what a sequence does. Bytes
//! come from `rows`, pieces go to the emulator's parser, each in one call.

/// What a piece is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Piece {
    /// Text that a line feed ends, and that line feed.
    Line,
    /// Text that goes on in the next bytes, or that a control byte ends (which isn't part of it).
    Run,
    /// One control byte, or an escape sequence (or a part of one, at the end of the bytes).
    Control,
}

/// Where the next byte stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Place {
    #[default]
    Ground,
    Escape,
    Intermediate,
    Csi,
    /// A string that BEL ends, too.
    Osc,
    /// DCS, SOS, PM, APC.
    String,
}

/// The cutter; its state is where in a sequence the last bytes ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Lexer {
    place: Place,
    /// Bytes of the sequence so far.
    len: usize,
}

/// A longer sequence is broken off, as CAN does: the parser keeps an OSC whole. 16 MiB: an image in an OSC fits.
const SEQUENCE_MAX: usize = 16 * crate::model::MIB;

impl Lexer {
    /// True when the next byte is not inside an escape sequence.
    pub(super) fn ground(&self) -> bool {
        self.place == Place::Ground
    }

    /// True, once, when the last piece was broken off for its length.
    pub(super) fn broken_off(&mut self) -> bool {
        let broken = self.len >= SEQUENCE_MAX;
        if broken {
            self.len = 0;
        }
        broken
    }

    /// The length and kind of the first piece. `bytes` is not empty.
    pub(super) fn next(&mut self, bytes: &[u8]) -> (usize, Piece) {
        if self.place != Place::Ground {
            return (self.sequence(bytes), Piece::Control);
        }
        let Some(i) = find_control(bytes) else { return (bytes.len(), Piece::Run) };
        match (bytes[i], bytes.get(i + 1)) {
            (b'\n', _) => (i + 1, Piece::Line),
            (b'\r', Some(b'\n')) => (i + 2, Piece::Line),
            _ if i > 0 => (i, Piece::Run),
            (0x1b, _) => {
                (self.place, self.len) = (Place::Escape, 0);
                (1 + self.sequence(&bytes[1..]), Piece::Control)
            }
            _ => (1, Piece::Control),
        }
    }

    /// The length up to the sequence's end or a line feed (or VT, FF) inside it.
    fn sequence(&mut self, bytes: &[u8]) -> usize {
        for (i, byte) in bytes.iter().enumerate() {
            self.place = self.step(*byte);
            self.len += 1;
            if self.len >= SEQUENCE_MAX {
                self.place = Place::Ground;
            }
            if self.place == Place::Ground || matches!(byte, b'\n' | 0x0b | 0x0c) {
                return i + 1;
            }
        }
        bytes.len()
    }

    fn step(&self, byte: u8) -> Place {
        match (self.place, byte) {
            (_, 0x1b) => Place::Escape,
            (_, 0x18 | 0x1a) => Place::Ground,
            (Place::Escape, 0x20..=0x2f) => Place::Intermediate,
            (Place::Escape, b'[') => Place::Csi,
            (Place::Escape, b']') => Place::Osc,
            (Place::Escape, b'P' | b'X' | b'^' | b'_') => Place::String,
            (Place::Escape | Place::Intermediate, 0x30..=0x7e) => Place::Ground,
            (Place::Csi, 0x40..=0x7e) => Place::Ground,
            (Place::Osc, 0x07) => Place::Ground,
            // 0x9c ends some of the strings in vte and not others: staying here is safe, the next ESC leaves.
            (place, _) => place,
        }
    }
}

/// The first control byte other than a tab.
fn find_control(bytes: &[u8]) -> Option<usize> {
    /// Bytes looked at together: a loop without a way out in the middle is compiled to vector instructions.
    const BLOCK: usize = 32;
    let control = |b: &u8| *b < 0x20 && *b != b'\t';
    let blocks = bytes.chunks_exact(BLOCK);
    let clean = blocks.take_while(|block| !block.iter().fold(false, |any, b| any | control(b))).count() * BLOCK;
    bytes[clean..].iter().position(control).map(|i| clean + i)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(bytes: &[u8]) -> String {
        let (mut lexer, mut rest, mut shown) = (Lexer::default(), bytes, Vec::new());
        while !rest.is_empty() {
            let (n, piece) = lexer.next(rest);
            shown.push(format!("{piece:?}{:?}", String::from_utf8_lossy(&rest[..n])));
            rest = &rest[n..];
        }
        shown.join(" ")
    }

    #[test]
    fn pieces_end_where_rows_can_end() {
        let table: &[(&[u8], &str)] = &[
            (b"a\tb\r\nc", r#"Line"a\tb\r\n" Run"c""#),
            (b"50%\r60%\r\n", r#"Run"50%" Control"\r" Line"60%\r\n""#),
            (b"a\x1b[1;31mb\n", r#"Run"a" Control"\u{1b}[1;31m" Line"b\n""#),
            (b"\x1b[2\nJx", r#"Control"\u{1b}[2\n" Control"J" Run"x""#),
            (b"\x1b]0;t\nx\x07y", r#"Control"\u{1b}]0;t\n" Control"x\u{7}" Run"y""#),
            (b"\x1bPq\x1b\\x", r#"Control"\u{1b}Pq\u{1b}\\" Run"x""#),
            (b"\x1b(0q\x08", r#"Control"\u{1b}(0" Run"q" Control"\u{8}""#),
            (b"\x1b[\x18x", r#"Control"\u{1b}[\u{18}" Run"x""#),
            (
                b"0123456789012345678901234567890123456789\x0b",
                r#"Run"0123456789012345678901234567890123456789" Control"\u{b}""#,
            ),
        ];
        for (bytes, expected) in table {
            assert_eq!(cut(bytes), *expected);
        }
    }
}
