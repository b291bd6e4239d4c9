//! Notices that a program may have asked its terminal something, without an emulator.
//!
//! Runs over every byte in a session's actor, a flood included: it must never look at plain text more than memchr does,
//! allocate, or depend on chunking. It may say yes where nothing was asked; it must never say no where the emulator in `vt`
//! answers. Data comes from the PTY; a yes makes the session ask its screen.

use memchr::{memchr, memchr2};

/// How far an escape sequence has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Queries {
    place: Place,
    /// The parameter being read, and the first one.
    number: u16,
    first: Option<u16>,
    private: bool,
    dollar: bool,
    /// A parameter says: synchronized update.
    update: bool,
    /// Asked inside a synchronized update: answered when that ends.
    held: bool,
    /// The last byte of an OSC was `;`, and a parameter of it is `?`.
    separated: bool,
    asks: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Place {
    #[default]
    Text,
    Escape,
    Intermediate,
    Csi,
    Osc,
    /// An OSC that asks nothing.
    String,
}

/// Synchronized updates.
const UPDATE: u16 = 2026;

impl Queries {
    /// Takes the next bytes of output; true when something may be asked, or be answered now, by the last of a sequence.
    pub fn scan(&mut self, mut bytes: &[u8]) -> bool {
        let mut found = false;
        while !bytes.is_empty() {
            let skip = match self.place {
                Place::Text => memchr(0x1b, bytes),
                Place::String => memchr2(0x1b, 0x07, bytes),
                _ => Some(0),
            };
            let Some(skip) = skip else { return found };
            found |= self.step(bytes[skip]);
            bytes = &bytes[skip + 1..];
        }
        found
    }

    fn step(&mut self, byte: u8) -> bool {
        match (self.place, byte) {
            (_, 0x1b) => {
                let asked = self.place == Place::Osc && self.end_osc();
                *self = Queries { place: Place::Escape, held: self.held || asked, ..Queries::default() };
                asked
            }
            (_, 0x18 | 0x1a) => {
                let asked = self.place == Place::Osc && self.end_osc();
                self.place = Place::Text;
                asked
            }
            (Place::Osc, 0x07) => {
                self.place = Place::Text;
                self.ask(self.asks)
            }
            (Place::String, 0x07) => {
                self.place = Place::Text;
                false
            }
            (Place::Text | Place::String, _) => false,
            (_, 0x00..=0x1f) => false,
            (Place::Escape, _) => self.escape(byte),
            (Place::Intermediate, 0x30..=0x7e) => {
                self.place = Place::Text;
                false
            }
            (Place::Intermediate, _) => false,
            (Place::Csi, _) => self.csi(byte),
            (Place::Osc, _) => {
                self.osc(byte);
                false
            }
        }
    }

    fn ask(&mut self, asked: bool) -> bool {
        self.held |= asked;
        asked
    }

    fn end_osc(&mut self) -> bool {
        self.ask(self.asks)
    }

    fn escape(&mut self, byte: u8) -> bool {
        self.place = match byte {
            b'[' => Place::Csi,
            b']' => Place::Osc,
            0x20..=0x2f => Place::Intermediate,
            0x7f.. => Place::Escape,
            _ => Place::Text,
        };
        self.ask(byte == b'Z')
    }

    fn csi(&mut self, byte: u8) -> bool {
        match byte {
            b'0'..=b'9' => {
                self.number = self.number.saturating_mul(10).saturating_add(u16::from(byte - b'0'));
                return false;
            }
            b';' | b':' => self.parameter(),
            b'?' => self.private = true,
            b'$' => self.dollar = true,
            0x40..=0x7e => {
                self.parameter();
                self.place = Place::Text;
                return self.end_csi(byte);
            }
            _ => {}
        }
        false
    }

    fn parameter(&mut self) {
        self.first.get_or_insert(self.number);
        self.update |= self.number == UPDATE;
        self.number = 0;
    }

    fn end_csi(&mut self, byte: u8) -> bool {
        let first = self.first.unwrap_or(0);
        match byte {
            b'l' if self.private && self.update => std::mem::take(&mut self.held),
            b'n' => self.ask(!self.private),
            b'c' => self.ask(first == 0),
            b'p' => self.ask(self.dollar),
            b't' => self.ask(matches!(first, 14 | 18)),
            _ => false,
        }
    }

    fn osc(&mut self, byte: u8) {
        match byte {
            b'0'..=b'9' if self.first.is_none() => {
                self.number = self.number.saturating_mul(10).saturating_add(u16::from(byte - b'0'));
            }
            b';' => {
                self.parameter();
                self.separated = true;
                if !matches!(self.first, Some(4 | 10 | 11 | 12)) {
                    self.place = Place::String;
                }
                return;
            }
            b'?' => self.asks |= self.separated,
            _ if self.first.is_none() => self.place = Place::String,
            _ => {}
        }
        self.separated = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{LogTime, Size},
        terminal::Vt,
    };
    use proptest::prelude::*;

    #[test]
    fn questions_are_noticed() {
        let table: &[(&str, bool)] = &[
            ("plain \x1b[31mred\x1b[0m\x1b]0;ti?;?tle\x07\r\n", false),
            ("\x1b[6n", true),
            ("\x1b[c", true),
            ("\x1b[0c", true),
            ("\x1b[>c", true),
            ("\x1b[?6c", false),
            ("\x1bZ", true),
            ("\x1b(Z", false),
            ("\x1b]11;?\x07", true),
            ("\x1b]10;?\x1b\\", true),
            ("\x1b]11;rgb:1/2/3\x07", false),
            ("\x1b]4;1;?;2;?\x07", true),
            ("\x1b]8;;http://x/?\x07", false),
            ("\x1b[?2004$p", true),
            ("\x1b[!p", false),
            ("\x1b[18t", true),
            ("\x1b[22;0t", false),
            ("\x1b[?2026h\x1b[?2026l", false),
        ];
        for (bytes, expected) in table {
            assert_eq!(Queries::default().scan(bytes.as_bytes()), *expected, "{bytes:?}");
        }
        let mut held = Queries::default();
        assert!(held.scan(b"\x1b[?2026hx\x1b[6n"));
        assert!(held.scan(b"more\x1b[?2026l"), "it is answered when the update ends");
        assert!(!held.scan(b"\x1b[?2026h\x1b[?2026l"));
    }

    const WORDS: &[&str] = &[
        "\x1b",
        "[",
        "]",
        "?",
        "6",
        "5",
        "0",
        "14",
        "18",
        "2026",
        "4",
        "10",
        "11",
        ";",
        ":",
        "n",
        "c",
        "t",
        "p",
        "h",
        "l",
        "$",
        "!",
        ">",
        "Z",
        "(",
        "x",
        "\n",
        "\x07",
        "\x1b\\",
        "\x18",
        "ä",
        "P",
        "\x1b[6n",
        "\x1b[c",
        "\x1b]11;?\x07",
        "\x1b[?2026h",
        "\x1b[?2026l",
    ];

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

        #[test]
        fn what_is_answered_was_noticed(words in prop::collection::vec(prop::sample::select(WORDS), 0..30), cut in 1usize..6) {
            let bytes = words.concat().into_bytes();
            let mut vt = Vt::new(Size { cols: 20, rows: 5 });
            let (mut whole, mut parts) = (Queries::default(), Queries::default());
            let mut noticed = false;
            for part in bytes.chunks(cut) {
                noticed |= parts.scan(part);
                vt.feed(LogTime(1), part);
                if !vt.answers().is_empty() {
                    prop_assert!(noticed);
                    noticed = false;
                }
            }
            whole.scan(&bytes);
            prop_assert_eq!(whole, parts);
        }
    }
}
