//! The modes that decide how something is typed, read from raw output without an emulator.
//!
//! Runs over every byte in a session's actor, a flood included: it must never look at plain text more than memchr does,
//! allocate, or depend on chunking. Data comes from the PTY and goes to `paste` and `keys`; between hosts it travels as a
//! number in the ring's header, an unfinished escape sequence included.

use memchr::memchr;

/// What the program has asked of the terminal, and how far an escape sequence has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Modes {
    set: u8,
    /// Of the sequence being read: the modes it names.
    named: u8,
    number: u16,
    place: Place,
}

const BRACKETED: u8 = 1;
const APP_CURSOR: u8 = 2;
const ALTERNATE: u8 = 4;
const ALL: u8 = BRACKETED | APP_CURSOR | ALTERNATE;

/// Where in a sequence the next byte stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
enum Place {
    /// Not in a sequence that matters.
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// After ESC and an intermediate byte.
    Intermediate,
    /// After CSI.
    Csi,
    /// After `CSI ?`.
    Private,
    /// After `CSI !`.
    Bang,
    /// In a CSI that changes none of our modes.
    Other,
}

impl Modes {
    /// The program wants pasted text in brackets (?2004).
    pub fn bracketed_paste(&self) -> bool {
        self.set & BRACKETED != 0
    }

    /// The program wants application cursor keys (?1).
    pub fn application_cursor(&self) -> bool {
        self.set & APP_CURSOR != 0
    }

    /// The program uses the alternate screen (?1049, ?1047, ?47).
    pub fn alternate_screen(&self) -> bool {
        self.set & ALTERNATE != 0
    }

    /// Takes the next bytes of output.
    pub fn scan(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = &bytes[self.scan_to_paste(bytes)..];
        }
    }

    /// Takes the next bytes up to where the program turns bracketed paste on or off, or all. Returns how many those were.
    pub fn scan_to_paste(&mut self, bytes: &[u8]) -> usize {
        let before = self.bracketed_paste();
        let mut at = 0;
        while at < bytes.len() {
            if self.place == Place::Text {
                match memchr(0x1b, &bytes[at..]) {
                    None => return bytes.len(),
                    Some(i) => at += i + 1,
                }
                self.place = Place::Escape;
                continue;
            }
            self.step(bytes[at]);
            at += 1;
            if self.bracketed_paste() != before {
                return at;
            }
        }
        at
    }

    /// As a number: bits 0-2 modes, 3-5 named, 6-8 place, 9-24 number.
    pub fn pack(&self) -> u64 {
        u64::from(self.set) | u64::from(self.named) << 3 | (self.place as u64) << 6 | u64::from(self.number) << 9
    }

    /// From [`Modes::pack`]'s number; bits that mean nothing are ignored.
    pub fn unpack(packed: u64) -> Modes {
        use Place::*;
        let bits = |shift: u32, mask: u64| (packed >> shift) & mask;
        let place = [Text, Escape, Intermediate, Csi, Private, Bang, Other];
        Modes {
            set: bits(0, 7) as u8,
            named: bits(3, 7) as u8,
            place: place.get(bits(6, 7) as usize).copied().unwrap_or_default(),
            number: bits(9, 0xffff) as u16,
        }
    }

    /// One byte inside a sequence, with the transitions of Williams's parser that matter here.
    fn step(&mut self, byte: u8) {
        match byte {
            0x1b => self.place = Place::Escape,
            0x18 | 0x1a => self.place = Place::Text,
            0x00..=0x1f | 0x7f.. => (),
            _ => match self.place {
                Place::Text => (),
                Place::Escape => self.escape(byte),
                Place::Intermediate if byte >= 0x30 => self.place = Place::Text,
                Place::Intermediate => (),
                Place::Csi => self.csi(byte),
                Place::Private => self.private(byte),
                Place::Bang => {
                    if byte == b'p' {
                        self.set &= ALTERNATE; // DECSTR leaves the screen as it is
                    }
                    self.place = if byte >= 0x40 { Place::Text } else { Place::Other };
                }
                Place::Other if byte >= 0x40 => self.place = Place::Text,
                Place::Other => (),
            },
        }
    }

    fn escape(&mut self, byte: u8) {
        self.place = match byte {
            b'[' => Place::Csi,
            0x20..=0x2f => Place::Intermediate,
            _ => Place::Text,
        };
        if byte == b'c' {
            *self = Modes::default(); // RIS
        }
    }

    fn csi(&mut self, byte: u8) {
        (self.named, self.number) = (0, 0);
        self.place = match byte {
            b'?' => Place::Private,
            b'!' => Place::Bang,
            0x40.. => Place::Text,
            _ => Place::Other,
        };
    }

    fn private(&mut self, byte: u8) {
        match byte {
            b'0'..=b'9' => self.number = self.number.saturating_mul(10).saturating_add(u16::from(byte - b'0')),
            b';' => self.name(),
            b'h' | b'l' => {
                self.name();
                self.set = if byte == b'h' { self.set | self.named } else { self.set & !self.named } & ALL;
                self.place = Place::Text;
            }
            0x40.. => self.place = Place::Text,
            _ => self.place = Place::Other,
        }
    }

    fn name(&mut self) {
        self.named |= match self.number {
            1 => APP_CURSOR,
            2004 => BRACKETED,
            47 | 1047 | 1049 => ALTERNATE,
            _ => 0,
        };
        self.number = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(modes: &Modes) -> String {
        let letters =
            [(modes.bracketed_paste(), 'b'), (modes.application_cursor(), 'c'), (modes.alternate_screen(), 'a')];
        letters.iter().filter(|(on, _)| *on).map(|(_, c)| *c).collect()
    }

    #[test]
    fn modes_follow_the_output() {
        let table: &[(&[u8], &str)] = &[
            (b"plain", ""),
            (b"\x1b[?2004h$ ", "b"),
            (b"\x1b[?2004h\x1b[?2004l", ""),
            (b"\x1b[?1h\x1b=", "c"),
            (b"\x1b[?1049h\x1b[?1;2004h", "bca"),
            (b"\x1b[?1049h\x1b[?47l", ""),
            (b"\x1b[?25;2004;7h", "b"),
            (b"\x1b[2004h\x1b[1h", ""),
            (b"\x1b[?2004$p", ""),
            (b"\x1b[?2004\x1b[?1h", "c"),
            (b"\x1b[?20\n04h", "b"),
            (b"\x1b[?20\x1804h", ""),
            (b"\x1b[>2004h", ""),
            (b"\x1b]0;[?2004h\x07", ""),
            (b"\x1b[?2004;1;1049h\x1bc", ""),
            (b"\x1b[?2004;1;1049h\x1b[!p", "a"),
            (b"\x1b[?2004h\x1b(c\x1b#8", "b"),
            (b"\x1b[?99999h\x1b[?66536h", ""),
        ];
        for (bytes, expected) in table {
            let mut modes = Modes::default();
            modes.scan(bytes);
            assert_eq!(shown(&modes), *expected, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    proptest! {
        #[test]
        fn any_chunking_and_packing_gives_the_same(
            words in prop::collection::vec(prop::sample::select(vec![
                &b"\x1b"[..], b"[", b"?", b"2004", b"1", b"1049", b";", b"h", b"l", b"c", b"!p", b"x\n", b"\x18", b"\xc3\xa9", b"$",
            ]), 0..60),
            cut in 1usize..7,
        ) {
            let bytes = words.concat();
            let mut whole = Modes::default();
            whole.scan(&bytes);
            let mut parts = Modes::default();
            for part in bytes.chunks(cut) {
                parts.scan(part);
                parts = Modes::unpack(parts.pack());
            }
            prop_assert_eq!(whole, parts);
        }
    }
}
