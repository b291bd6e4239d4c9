//! A text as a program takes it when it is typed: newlines as Enter, in brackets where the program asked for them.
//!
//! For `send`. Must never let a control byte through (one could end the brackets, or act as a key): refused with its
//! position, before anything is typed.

/// Before a pasted text, for a program that asked for it (?2004).
const PASTE_BEGIN: &[u8] = b"\x1b[200~";
/// After it.
const PASTE_END: &[u8] = b"\x1b[201~";

/// A text that can't be typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the text has a control byte 0x{byte:02x} at byte {at}: only tab and newline can be typed; use --keys or --raw"
)]
pub struct ControlByte {
    /// Where, from 0.
    pub at: usize,
    /// Which.
    pub byte: u8,
}

/// The bytes to type for a text.
///
/// A newline is typed as CR, in brackets too, as xterm, VTE and tmux paste it: to most programs LF is Ctrl+J, not Enter.
/// An empty text is nothing, without brackets.
pub fn typed_bytes(text: &[u8], bracketed: bool) -> Result<Vec<u8>, ControlByte> {
    let refused = |b: u8| (b < 0x20 && b != b'\t' && b != b'\n') || b == 0x7f;
    if let Some(at) = text.iter().position(|b| refused(*b)) {
        return Err(ControlByte { at, byte: text[at] });
    }
    let mut out = Vec::with_capacity(text.len() + PASTE_BEGIN.len() + PASTE_END.len());
    let bracketed = bracketed && !text.is_empty();
    if bracketed {
        out.extend_from_slice(PASTE_BEGIN);
    }
    out.extend(text.iter().map(|b| if *b == b'\n' { b'\r' } else { *b }));
    if bracketed {
        out.extend_from_slice(PASTE_END);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_typed_as_a_terminal_pastes_it() {
        let table: &[(&[u8], bool, &[u8])] = &[
            (b"hello", false, b"hello"),
            (b"hello", true, b"\x1b[200~hello\x1b[201~"),
            (b"a\n\tb\n", false, b"a\r\tb\r"),
            (b"a\nb", true, b"\x1b[200~a\rb\x1b[201~"),
            (b"", true, b""),
            ("é\u{1F600}".as_bytes(), false, "é\u{1F600}".as_bytes()),
            (b"\xff\x9b", false, b"\xff\x9b"),
        ];
        for (text, bracketed, bytes) in table {
            assert_eq!(typed_bytes(text, *bracketed).as_deref(), Ok(*bytes));
        }
    }

    #[test]
    fn control_bytes_are_refused_with_their_place() {
        for (text, at, byte) in [(&b"ab\x1b[201~"[..], 2, 0x1b), (b"\r", 0, 0x0d), (b"x\x7f", 1, 0x7f), (b"\n\0", 1, 0)]
        {
            assert_eq!(typed_bytes(text, true), Err(ControlByte { at, byte }));
        }
    }
}
