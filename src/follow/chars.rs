//! Bytes as text, UTF-8 never cut: the end of a character may come with the next record.
//!
//! Pure. Bytes come from `writer` and go back to it as text. What is no UTF-8 is U+FFFD. It must never hold more than the
//! three bytes that a character may lack its end by.

use super::tail::after;
use crate::model::Cursor;

/// A decoder and the beginning of a character that it holds.
#[derive(Debug, Default)]
pub(super) struct Chars {
    held: Vec<u8>,
    from: Cursor,
}

impl Chars {
    /// The text up to the last whole character, and the place after it.
    pub(super) fn push(&mut self, at: Cursor, bytes: &[u8]) -> (String, Cursor) {
        let before = self.held.len();
        self.held.extend_from_slice(bytes);
        let mut text = String::with_capacity(self.held.len());
        let mut rest = self.held.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (valid, invalid) = rest.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    let Some(length) = error.error_len() else {
                        rest = invalid;
                        break;
                    };
                    text.push(char::REPLACEMENT_CHARACTER);
                    rest = &invalid[length..];
                }
            }
        }
        let done = self.held.len() - rest.len();
        if done >= before {
            self.from = after(at, done - before);
        }
        self.held.drain(..done);
        (text, self.from)
    }

    /// Where the held beginning of a character stands.
    pub(super) fn held(&self) -> Option<Cursor> {
        (!self.held.is_empty()).then_some(self.from)
    }

    /// Nothing comes any more.
    pub(super) fn finish(&mut self) -> Option<String> {
        let held = std::mem::take(&mut self.held);
        (!held.is_empty()).then(|| char::REPLACEMENT_CHARACTER.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Seq;

    #[test]
    fn characters_are_never_cut() {
        let mut chars = Chars::default();
        let at = |seq, byte| Cursor { seq: Seq(seq), byte };
        assert_eq!(chars.push(at(1, 0), b"a\xe2"), ("a".into(), at(1, 1)));
        assert_eq!(chars.push(at(2, 0), b"\x82"), (String::new(), at(1, 1)));
        assert_eq!(chars.push(at(3, 5), b"\xacb\xff"), ("€b\u{fffd}".into(), at(3, 8)));
        assert_eq!(chars.push(at(4, 0), b"\xf0x"), ("\u{fffd}x".into(), at(4, 2)));
        assert_eq!((chars.held(), chars.finish()), (None, None));
        chars.push(at(5, 0), b"x\xf0\x9f");
        assert_eq!((chars.held(), chars.finish().as_deref()), (Some(at(5, 1)), Some("\u{fffd}")));
    }
}
