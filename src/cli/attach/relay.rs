//! What a program writes, on its way to the user's terminal: as it is, but for what would leave the alternate screen.
//!
//! Pure. An attached terminal shows the session on its alternate screen, whichever screen the program uses, so that
//! everything is as before when it detaches. A program that changes screens, or resets the terminal, is noticed: the caller
//! asks for a redraw. What has to be undone at the end is remembered. It must never change anything else, nor hold back more
//! than an unfinished sequence. Data comes from `client::Attach`, goes to the terminal.

use super::tty::NO_KITTY;
use memchr::{memchr, memchr3};

/// The longest sequence that is looked at. 256 bytes: a list of every mode there is; a longer one passes as it is.
const LONGEST: usize = 256;
/// Where a program goes to another screen, for bytes that draw all of it: a clean one.
const CLEAN: &[u8] = b"\x1b[0m\x1b[r\x1b[H\x1b[2J";

/// The relay; its state is an unfinished sequence.
#[derive(Clone, Debug, Default)]
pub(super) struct Relay {
    place: Place,
    held: Vec<u8>,
    /// What the program has changed in the terminal.
    pub(super) touched: Touched,
    /// Somebody else answers: the program's questions don't reach this terminal.
    pub(super) mute: bool,
}

/// Things that a reset of modes doesn't undo, and that a terminal is asked to undo only where they were done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Touched {
    /// Keyboard modes of kitty's protocol.
    pub(super) kitty: bool,
    /// xterm's modifyOtherKeys.
    pub(super) other_keys: bool,
    /// Colours of the palette, of text, background or cursor.
    pub(super) colours: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Ground,
    Escape,
    Csi,
    /// OSC, DCS and the like; the first is ended by BEL, too.
    String,
}

/// What a whole sequence comes to.
enum Verdict {
    Pass,
    Drop,
    Instead(Vec<u8>),
    /// The screen, or the title, is another one from here on.
    Switch,
}

impl Relay {
    /// Takes output; what goes to the terminal comes to `out`. True when the program went to another screen: what comes after
    /// in `bytes` is lost, the caller asks for a redraw.
    pub(super) fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> bool {
        self.run(bytes, out, false)
    }

    /// As [`Relay::feed`], for bytes that draw a whole screen from anywhere: they stay on the one screen there is.
    pub(super) fn draw(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        (self.place, self.held) = (Place::Ground, Vec::new());
        self.run(bytes, out, true);
    }

    fn run(&mut self, mut bytes: &[u8], out: &mut Vec<u8>, whole: bool) -> bool {
        loop {
            let skip = self.plain(bytes);
            out.extend_from_slice(&bytes[..skip]);
            let Some(byte) = bytes.get(skip) else { return false };
            bytes = &bytes[skip + 1..];
            match self.byte(*byte, out) {
                None => {}
                Some(Verdict::Pass) => out.append(&mut self.held),
                Some(Verdict::Drop) => self.held.clear(),
                Some(Verdict::Instead(other)) => {
                    out.extend(other);
                    self.held.clear();
                }
                Some(Verdict::Switch) => {
                    self.held.clear();
                    if !whole {
                        return true;
                    }
                    out.extend_from_slice(CLEAN);
                    if self.touched.kitty {
                        out.extend_from_slice(NO_KITTY); // each screen has its own
                    }
                }
            }
            if self.held.len() >= LONGEST {
                out.append(&mut self.held); // its end passes as well
            }
        }
    }

    /// How many bytes pass without a look at them.
    fn plain(&self, bytes: &[u8]) -> usize {
        let end = match self.place {
            Place::Ground => memchr(0x1b, bytes),
            Place::String if self.held.is_empty() => memchr3(0x1b, 0x07, 0x18, bytes),
            _ => return 0,
        };
        end.unwrap_or(bytes.len())
    }

    /// The next byte of a sequence. Nothing while it isn't whole.
    fn byte(&mut self, byte: u8, out: &mut Vec<u8>) -> Option<Verdict> {
        if byte == 0x1b {
            let before = if self.place == Place::String { self.string() } else { Verdict::Pass };
            if !matches!(before, Verdict::Drop) {
                out.append(&mut self.held);
            }
            (self.place, self.held) = (Place::Escape, vec![byte]);
            return None;
        }
        let passing = self.held.is_empty() && self.place != Place::Ground; // it was too long to be held
        self.held.push(byte);
        let verdict = match (self.place, byte) {
            (_, 0x18 | 0x1a) | (Place::Ground, _) => Verdict::Pass,
            (Place::Escape, b'[') => return self.go(Place::Csi),
            (Place::Escape, b']' | b'P' | b'X' | b'^' | b'_') => return self.go(Place::String),
            (Place::Escape, b'c') if self.held.len() == 2 => Verdict::Switch,
            (Place::Escape, 0x30..=0x7e) => Verdict::Pass,
            (Place::Csi, 0x40..=0x7e) if passing => Verdict::Pass,
            (Place::Csi, 0x40..=0x7e) => self.csi(byte),
            (Place::String, 0x07) => self.string(),
            _ if passing => {
                out.append(&mut self.held);
                return None;
            }
            _ => return None,
        };
        self.place = Place::Ground;
        Some(verdict)
    }

    fn go(&mut self, place: Place) -> Option<Verdict> {
        self.place = place;
        None
    }

    /// A whole CSI sequence.
    fn csi(&mut self, last: u8) -> Verdict {
        let params = &self.held[2..self.held.len() - 1];
        match (params, last) {
            ([b'?', modes @ ..], b'h' | b'l') => private_modes(modes, last),
            (b"3", b'J') => Verdict::Drop, // the scrollback is the user's, not the program's
            // so is the title that was put aside first; where the program takes one of its own back, the redraw has it
            ([b'2', b'2', ..], b't') => Verdict::Drop,
            ([b'2', b'3', ..], b't') => Verdict::Switch,
            ([b'>' | b'=' | b'<', ..], b'u') => {
                self.touched.kitty = true;
                Verdict::Pass
            }
            ([b'>', ..], b'm') => {
                self.touched.other_keys = true;
                Verdict::Pass
            }
            _ if self.mute && is_question(params, last) => Verdict::Drop,
            _ => Verdict::Pass,
        }
    }

    /// A whole string, without what ended it.
    fn string(&mut self) -> Verdict {
        let body = self.held.get(2..).unwrap_or_default();
        let number = body.split(|b| *b == b';').next().unwrap_or_default();
        let asks = match self.held.get(1) {
            Some(b']') => body.split(|b| *b == b';').any(|part| part.strip_suffix(b"\x07").unwrap_or(part) == b"?"),
            Some(b'P') => body.starts_with(b"+q") || body.starts_with(b"$q"),
            _ => false,
        };
        if asks {
            return if self.mute { Verdict::Drop } else { Verdict::Pass };
        }
        self.touched.colours |=
            self.held.get(1) == Some(&b']') && [&b"4"[..], b"10", b"11", b"12", b"17", b"19"].contains(&number);
        Verdict::Pass
    }
}

/// `CSI ? modes h` or `l`, without those that leave this screen or change the terminal's width.
fn private_modes(modes: &[u8], last: u8) -> Verdict {
    let screen = |mode: &&[u8]| matches!(*mode, b"47" | b"1047" | b"1049");
    let listed: Vec<&[u8]> = modes.split(|b| *b == b';').collect();
    let kept: Vec<&[u8]> = listed.iter().copied().filter(|mode| !screen(mode) && *mode != b"3").collect();
    match (listed.iter().any(screen), kept.len() == listed.len()) {
        (true, _) => Verdict::Switch,
        (false, true) => Verdict::Pass,
        (false, false) if kept.is_empty() => Verdict::Drop,
        (false, false) => Verdict::Instead([b"\x1b[?", kept.join(&b';').as_slice(), &[last]].concat()),
    }
}

/// True for what a terminal answers.
fn is_question(params: &[u8], last: u8) -> bool {
    let first = params.split(|b| *b == b';').next().unwrap_or_default();
    match last {
        b'c' | b'n' => true,
        b'p' => params.ends_with(b"$"),
        b'q' | b'x' => params.first() == Some(&b'>') || last == b'x',
        b'u' => params == b"?",
        b't' => matches!(first, b"11" | b"13" | b"14" | b"15" | b"16" | b"18" | b"19" | b"20" | b"21"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn relayed(bytes: &[u8], cut: usize, mute: bool) -> (String, bool) {
        let (mut relay, mut out) = (Relay { mute, ..Relay::default() }, Vec::new());
        let switched = bytes.chunks(cut).any(|part| relay.feed(part, &mut out));
        (String::from_utf8_lossy(&out).into_owned(), switched)
    }

    #[test]
    fn all_passes_but_what_leaves_the_screen() {
        let table: &[(&[u8], &str, bool)] = &[
            (b"a\x1b[1;31mb\r\n", "a\x1b[1;31mb\r\n", false),
            (b"\x1b[?25l\x1b[?2004h\x1b7\x1b(0q\x1b(B", "\x1b[?25l\x1b[?2004h\x1b7\x1b(0q\x1b(B", false),
            (b"\x1b]0;title\x07x\x1b]2;t\x1b\\y", "\x1b]0;title\x07x\x1b]2;t\x1b\\y", false),
            (b"\x1bPq\x07#1\x1b\\y", "\x1bPq\x07#1\x1b\\y", false),
            (b"a\x1b[?1049hb", "a", true),
            (b"a\x1b[?1;1049;25lb", "a", true),
            (b"a\x1b[?47hb", "a", true),
            (b"a\x1bcb", "a", true),
            (b"a\x1b(cb", "a\x1b(cb", false),
            (b"a\x1b[?3hb\x1b[?3;40lc", "ab\x1b[?40lc", false),
            (b"\x1b[2J\x1b[3J\x1b[J", "\x1b[2J\x1b[J", false),
            (b"a\x1b[22;0tb\x1b[23;2tc", "ab", true),
            (b"\x1b[\x1b[?1049h", "\x1b[", true),
            (b"\x1b[12\x18m\x1b\x1b[m", "\x1b[12\x18m\x1b\x1b[m", false),
            (b"\x1b[c\x1b[6n\x1b]11;?\x07\x1b[?u", "\x1b[c\x1b[6n\x1b]11;?\x07\x1b[?u", false),
        ];
        for (bytes, out, switched) in table {
            for cut in [1, 2, 3, 100] {
                assert_eq!(relayed(bytes, cut, false), ((*out).to_owned(), *switched), "{bytes:?} by {cut}");
            }
        }
    }

    #[test]
    fn questions_are_kept_from_a_terminal_that_is_not_to_answer() {
        let bytes = b"a\x1b[c\x1b[>0c\x1b[6nb\x1b]11;?\x07c\x1b]4;1;?\x1b\\d\x1b[?2026$pe\x1bP+q544e\x1b\\f\x1b[?u\x1b[14t\x1b[>q\x1b[5 qg";
        for cut in [1, 5, 200] {
            assert_eq!(relayed(bytes, cut, true).0, "abc\x1b\\de\x1b\\f\x1b[5 qg", "by {cut}");
        }
    }

    #[test]
    fn what_has_to_be_undone_is_remembered() {
        let table: &[(&[u8], [bool; 3])] = &[
            (b"\x1b[>1u\x1b[>4;2m", [true, true, false]),
            (b"\x1b]10;?\x07\x1b]0;4\x07\x1b[?u", [false, false, false]),
            (b"\x1b]11;#ffffff\x07", [false, false, true]),
        ];
        for (bytes, [kitty, other_keys, colours]) in table {
            let mut relay = Relay::default();
            relay.feed(bytes, &mut Vec::new());
            let touched = Touched { kitty: *kitty, other_keys: *other_keys, colours: *colours };
            assert_eq!(relay.touched, touched, "{bytes:?}");
        }
    }

    #[test]
    fn a_drawing_stays_on_its_screen_and_begins_anywhere() {
        let (mut relay, mut out) = (Relay::default(), Vec::new());
        relay.feed(b"x\x1b[3", &mut out);
        relay.draw(b"main\x1b[?1049hother", &mut out);
        assert_eq!(String::from_utf8_lossy(&out), format!("xmain{}other", String::from_utf8_lossy(CLEAN)));
        out.clear();
        relay.draw(b"\x1b[>1u\x1b[?1049lx", &mut out);
        let clean = [CLEAN, NO_KITTY].concat();
        assert_eq!(out, [b"\x1b[>1u", clean.as_slice(), b"x"].concat(), "the other screen's keyboard isn't this one's");
    }

    #[test]
    fn a_long_sequence_passes() {
        let long =
            [b"\x1b[".to_vec(), b"1;".repeat(400), b"mx\x1b]52;c;".to_vec(), b"A".repeat(2000), b"\x07y".to_vec()];
        let long = long.concat();
        for cut in [1, 7, 5000] {
            assert_eq!(relayed(&long, cut, true).0.as_bytes(), long, "by {cut}");
        }
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same(
            words in prop::collection::vec(prop::sample::select(vec![
                &b"\x1b"[..], b"[", b"?", b"1049", b"3", b";", b"h", b"J", b"]", b"\x07", b"\x1b\\", b"x\n", b"\x18", b"\xc3\xa9", b"P",
            ]), 0..60),
            cut in 1usize..7,
        ) {
            let bytes = words.concat();
            prop_assert_eq!(relayed(&bytes, cut, true), relayed(&bytes, 10_000, true));
        }
    }
}
