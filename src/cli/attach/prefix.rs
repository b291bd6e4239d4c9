//! What is typed, between the user's terminal and the session: finds the prefix key and what follows it.
//!
//! Pure: bytes in, bytes to type out. Must never hold a byte back that isn't the prefix (Escape has to arrive at once), nor
//! look for keys inside a paste. A program may have the terminal send keys as sequences (kitty's protocol, xterm's
//! modifyOtherKeys): the prefix is found in these forms, too. Data comes from the terminal, goes to `client::Attach`.

const PASTE_BEGIN: &[u8] = b"\x1b[200~";
const PASTE_END: &[u8] = b"\x1b[201~";
/// Keys of their own in kitty's protocol: shift, ctrl and the like, left and right.
const MODIFIER_KEYS: std::ops::RangeInclusive<u32> = 57441..=57454;
/// Modifiers that make a key another one: shift, alt, ctrl, super, hyper, meta; not the locks.
const MODIFIERS: u32 = 0x3f;
const CTRL: u32 = 4;

/// The machine.
#[derive(Clone, Debug)]
pub(super) struct Prefix {
    key: u8,
    armed: bool,
    /// How much of the mark that begins or ends a paste was just typed.
    marked: usize,
    pasting: bool,
}

/// What a piece of the input is.
enum Token {
    /// A key that was pressed: as the byte a plain terminal sends, where it is one.
    Press(Option<u8>),
    /// A key let go, or a modifier alone.
    Aside,
    /// The mouse, focus, an answer to a question, the start of a paste.
    Other,
}

impl Prefix {
    /// With the prefix key as its control byte.
    pub(super) fn new(key: u8) -> Prefix {
        Prefix { key, armed: false, marked: 0, pasting: false }
    }

    /// Takes what was typed; what goes to the session comes to `out`. True: detach, the rest is dropped.
    pub(super) fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> bool {
        while !bytes.is_empty() {
            if self.pasting {
                self.pass(&bytes[..1], out);
                bytes = &bytes[1..];
                continue;
            }
            let (length, token) = token(bytes);
            let (piece, rest) = bytes.split_at(length);
            bytes = rest;
            match (token, self.armed) {
                (Token::Press(Some(key)), false) if key == self.key => self.armed = true,
                (Token::Press(Some(b'd' | b'D')), true) => return true,
                (Token::Press(key), true) => {
                    self.armed = false;
                    if key == Some(self.key) {
                        self.pass(piece, out);
                    }
                }
                (Token::Aside, true) => {}
                (Token::Press(_) | Token::Aside, false) | (Token::Other, _) => self.pass(piece, out),
            }
        }
        false
    }

    fn pass(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(piece);
        for byte in piece {
            let mark = if self.pasting { PASTE_END } else { PASTE_BEGIN };
            self.marked = match *byte {
                byte if byte == mark[self.marked] => self.marked + 1,
                0x1b => 1,
                _ => 0,
            };
            if self.marked == mark.len() {
                self.marked = 0;
                self.pasting = !self.pasting;
                self.armed = false;
            }
        }
    }
}

/// The first piece of `bytes`, which are not empty, and its length.
fn token(bytes: &[u8]) -> (usize, Token) {
    match bytes {
        [0x1b, b'[', rest @ ..] => match rest.iter().position(|b| (0x40..=0x7e).contains(b)) {
            Some(end) => (end + 3, csi(&rest[..end], rest[end])),
            None => (bytes.len(), Token::Other), // the rest of it comes later
        },
        [0x1b, b'O', _, ..] => (3, Token::Press(None)),
        [0x1b, b']' | b'P' | b'_', ..] => {
            // an answer of the terminal; up to ST or BEL, or what is there of it
            let end = bytes.iter().position(|b| *b == 0x07).map(|at| at + 1);
            let st = bytes.windows(2).position(|w| w == b"\x1b\\").map(|at| at + 2);
            let length = end.into_iter().chain(st).min().unwrap_or(bytes.len());
            (length, Token::Other)
        }
        [first, rest @ ..] if *first >= 0xc0 => {
            let more = rest
                .iter()
                .take((first.leading_ones() as usize).saturating_sub(1))
                .take_while(|b| **b & 0xc0 == 0x80)
                .count();
            (1 + more, Token::Press(None))
        }
        [first, ..] => (1, Token::Press(Some(*first))),
        [] => (0, Token::Other),
    }
}

fn csi(params: &[u8], last: u8) -> Token {
    let text = std::str::from_utf8(params).unwrap_or_default();
    let field = |n: usize| text.split(';').nth(n).unwrap_or_default();
    let number = |part: Option<&str>| part.and_then(|p| p.parse::<u32>().ok());
    let first = |n: usize| number(field(n).split(':').next());
    match last {
        b'u' if !text.starts_with(['?', '>', '<', '=']) => {
            let event = number(field(1).split(':').nth(1)).unwrap_or(1);
            key(first(0).unwrap_or(0), first(1).unwrap_or(1), event)
        }
        b'~' if first(0) == Some(27) => key(first(2).unwrap_or(0), first(1).unwrap_or(1), 1),
        b'~' if matches!(first(0), Some(200 | 201)) => Token::Other,
        b'~' | b'A'..=b'F' | b'H' | b'P'..=b'S' | b'Z' if !text.starts_with(['?', '>', '<']) => {
            match (last, number(field(1).split(':').nth(1))) {
                (_, Some(3)) => Token::Aside,
                (b'R', _) if text.contains(';') && first(0) != Some(1) => Token::Other, // the cursor's position
                _ => Token::Press(None),
            }
        }
        _ => Token::Other,
    }
}

fn key(code: u32, modifiers: u32, event: u32) -> Token {
    if event == 3 || MODIFIER_KEYS.contains(&code) {
        return Token::Aside;
    }
    let plain = u8::try_from(code).ok().filter(u8::is_ascii);
    Token::Press(match (modifiers.saturating_sub(1) & MODIFIERS, plain) {
        (0 | 1, Some(byte)) => Some(byte),
        (CTRL, Some(byte @ b'@'..=b'~')) => Some(byte & 0x1f),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const B: u8 = 2;

    fn typed(parts: &[&[u8]]) -> (String, bool) {
        let (mut prefix, mut out) = (Prefix::new(B), Vec::new());
        let detached = parts.iter().any(|part| prefix.feed(part, &mut out));
        (String::from_utf8_lossy(&out).into_owned(), detached)
    }

    #[test]
    fn the_prefix_is_found_and_all_else_passes() {
        let table: &[(&[&[u8]], &str, bool)] = &[
            (&[b"ls\r"], "ls\r", false),
            (&[b"a\x02d", b"b"], "a", true),
            (&[b"a\x02", b"d"], "a", true),
            (&[b"a\x02D"], "a", true),
            (&[b"a\x02\x02b"], "a\x02b", false),
            (&[b"\x02\x02d"], "\x02d", false),
            (&[b"a\x02xd"], "ad", false),
            (&[b"\x02\xc3\xa9d"], "d", false),
            (&[b"\x02\x1b[Ad"], "d", false),
            (&[b"\x02\x1bOAd"], "d", false),
            (&[b"\x1b"], "\x1b", false),
            (&[b"\x1b", b"[", b"A"], "\x1b[A", false),
            // the mouse, focus and answers come in between
            (&[b"\x02\x1b[<0;3;4Md"], "\x1b[<0;3;4M", true),
            (&[b"\x02\x1b[I\x1b[?62;c\x1b[12;40Rd"], "\x1b[I\x1b[?62;c\x1b[12;40R", true),
            (&[b"\x1b]11;rgb:0/0/0\x07\x02d"], "\x1b]11;rgb:0/0/0\x07", true),
            // a paste is nobody's key
            (&[b"\x1b[200~a\x02d\x1b[201~b"], "\x1b[200~a\x02d\x1b[201~b", false),
            (&[b"\x1b[20", b"0~\x02d\x1b[2", b"01~", b"\x02d"], "\x1b[200~\x02d\x1b[201~", true),
            (&[b"\x1b[200~\x1b\x1b[201~\x02d"], "\x1b[200~\x1b\x1b[201~", true),
            // kitty's protocol: press, let go, modifiers, repeats, locks
            (&[b"\x1b[98;5u\x1b[100u"], "", true),
            (&[b"\x1b[57442;5u\x1b[98;5:1u\x1b[98;5:3u\x1b[57442;1:3u\x1b[100;1:1u"], "\x1b[57442;5u", true),
            (&[b"\x1b[98;69u\x1b[100;65u"], "", true),
            (&[b"\x1b[98;5u\x1b[98;5u"], "\x1b[98;5u", false),
            (&[b"\x1b[98;1u\x1b[100u"], "\x1b[98;1u\x1b[100u", false),
            (&[b"\x1b[98;7u"], "\x1b[98;7u", false),
            (&[b"\x1b[98;5:3u"], "\x1b[98;5:3u", false),
            (&[b"\x1b[?1u\x02d"], "\x1b[?1u", true),
            // modifyOtherKeys
            (&[b"\x1b[27;5;98~d"], "", true),
            (&[b"\x1b[27;5;97~"], "\x1b[27;5;97~", false),
        ];
        for (parts, out, detached) in table {
            assert_eq!(typed(parts), ((*out).to_owned(), *detached), "{parts:?}");
        }
    }

    proptest! {
        #[test]
        fn without_the_prefix_everything_passes_at_once(bytes in prop::collection::vec(any::<u8>(), 0..60), cut in 1usize..9) {
            let bytes: Vec<u8> = bytes.into_iter().filter(|b| *b != B).collect();
            let (mut prefix, mut out) = (Prefix::new(B), Vec::new());
            for part in bytes.chunks(cut) {
                let before = out.len();
                // digits may spell the prefix as a sequence; such input is rare enough to leave out
                prop_assume!(!part.windows(2).any(|w| w == b"98") && !part.contains(&b'u'));
                prop_assert!(!prefix.feed(part, &mut out));
                prop_assert_eq!(&out[before..], part);
            }
        }
    }
}
