//! Named keys (`enter`, `ctrl+c`, `alt+left`) to the bytes a terminal types for them.
//!
//! For `send --keys`. Encodings are xterm's in its normal modes (`ctlseqs`, "PC-Style Function Keys"); of the modes only
//! application cursor keys (?1) changes anything. Must never guess: a key without bytes of its own is an error, so that
//! nothing else is typed in its place.

/// Why a key can't be typed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No such name.
    #[error("no key {key:?}{}", like.as_ref().map(|l| format!(" (did you mean {l:?}?)")).unwrap_or_default())]
    Unknown {
        /// As given.
        key: String,
        /// The nearest name.
        like: Option<String>,
    },
    /// The key exists, but a terminal in normal modes types nothing of its own for it.
    #[error("a terminal types nothing of its own for {key:?}{}", like.as_ref().map(|l| format!("; try {l:?}")).unwrap_or_default())]
    NoBytes {
        /// As given.
        key: String,
        /// What often does the same.
        like: Option<String>,
    },
}

/// The bytes of one key: a name (any case), one character (as it is), or modifiers and one of them, joined by `+` or `-`.
///
/// `application_cursor`: the program asked for application cursor keys (?1), which changes unmodified arrows, home and end.
pub fn key_bytes(key: &str, application_cursor: bool) -> Result<Vec<u8>, KeyError> {
    let (mods, base) = split(key).ok_or_else(|| unknown(key))?;
    let no_bytes = |like: Option<&str>| KeyError::NoBytes { key: key.to_owned(), like: like.map(str::to_owned) };
    match base {
        Base::Char(c) => char_bytes(c, mods).ok_or_else(|| no_bytes(None)),
        Base::Named(Name::Cursor(last)) => Ok(match (mods.number(), application_cursor) {
            (1, true) => vec![ESC, b'O', last],
            (1, false) => vec![ESC, b'[', last],
            (m, _) => format!("\x1b[1;{m}{}", char::from(last)).into_bytes(),
        }),
        Base::Named(Name::Function(last)) => Ok(match mods.number() {
            1 => vec![ESC, b'O', last],
            m => format!("\x1b[1;{m}{}", char::from(last)).into_bytes(),
        }),
        Base::Named(Name::Tilde(n)) => Ok(match mods.number() {
            1 => format!("\x1b[{n}~").into_bytes(),
            m => format!("\x1b[{n};{m}~").into_bytes(),
        }),
        Base::Named(Name::Plain(plain)) => plain_bytes(plain, mods).ok_or_else(|| {
            no_bytes(match plain {
                Plain::Enter => Some("alt+enter"),
                Plain::Tab => Some("shift+tab"),
                _ => None,
            })
        }),
    }
}

const ESC: u8 = 0x1b;
const DEL: u8 = 0x7f;

#[derive(Clone, Copy, Default)]
struct Mods {
    shift: bool,
    alt: bool,
    ctrl: bool,
}

impl Mods {
    /// xterm's modifier parameter: 1 is none.
    fn number(self) -> u8 {
        1 + u8::from(self.shift) + 2 * u8::from(self.alt) + 4 * u8::from(self.ctrl)
    }
}

#[derive(Clone, Copy)]
enum Base {
    Char(char),
    Named(Name),
}

#[derive(Clone, Copy)]
enum Name {
    /// CSI or SS3 and this letter.
    Cursor(u8),
    /// SS3 and this letter: F1 to F4.
    Function(u8),
    /// CSI, this number, `~`.
    Tilde(u8),
    Plain(Plain),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Plain {
    Enter,
    Tab,
    Escape,
    Space,
    Backspace,
}

/// Every name, the first of each meaning being the one to suggest.
const NAMES: &[(&str, Name)] = &[
    ("enter", Name::Plain(Plain::Enter)),
    ("return", Name::Plain(Plain::Enter)),
    ("tab", Name::Plain(Plain::Tab)),
    ("esc", Name::Plain(Plain::Escape)),
    ("escape", Name::Plain(Plain::Escape)),
    ("space", Name::Plain(Plain::Space)),
    ("backspace", Name::Plain(Plain::Backspace)),
    ("bspace", Name::Plain(Plain::Backspace)),
    ("delete", Name::Tilde(3)),
    ("del", Name::Tilde(3)),
    ("insert", Name::Tilde(2)),
    ("ins", Name::Tilde(2)),
    ("up", Name::Cursor(b'A')),
    ("down", Name::Cursor(b'B')),
    ("right", Name::Cursor(b'C')),
    ("left", Name::Cursor(b'D')),
    ("home", Name::Cursor(b'H')),
    ("end", Name::Cursor(b'F')),
    ("pageup", Name::Tilde(5)),
    ("pgup", Name::Tilde(5)),
    ("pagedown", Name::Tilde(6)),
    ("pgdn", Name::Tilde(6)),
    ("f1", Name::Function(b'P')),
    ("f2", Name::Function(b'Q')),
    ("f3", Name::Function(b'R')),
    ("f4", Name::Function(b'S')),
    ("f5", Name::Tilde(15)),
    ("f6", Name::Tilde(17)),
    ("f7", Name::Tilde(18)),
    ("f8", Name::Tilde(19)),
    ("f9", Name::Tilde(20)),
    ("f10", Name::Tilde(21)),
    ("f11", Name::Tilde(23)),
    ("f12", Name::Tilde(24)),
];

/// Modifiers and what they modify.
fn split(key: &str) -> Option<(Mods, Base)> {
    let mut mods = Mods::default();
    let mut rest = key;
    loop {
        let mut chars = rest.chars();
        if let (Some(c), None) = (chars.next(), chars.next()) {
            return (!c.is_control()).then_some((mods, Base::Char(c)));
        }
        let lower = rest.to_ascii_lowercase();
        if let Some((_, name)) = NAMES.iter().find(|(n, _)| *n == lower) {
            return Some((mods, Base::Named(*name)));
        }
        let (modifier, tail) = rest.split_at_checked(rest.find(['+', '-'])?)?;
        match modifier.to_ascii_lowercase().as_str() {
            "ctrl" | "control" => mods.ctrl = true,
            "alt" | "meta" | "option" => mods.alt = true,
            "shift" => mods.shift = true,
            _ => return None,
        }
        rest = tail.get(1..)?;
    }
}

fn char_bytes(c: char, mods: Mods) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    if mods.alt {
        out.push(ESC);
    }
    if mods.ctrl {
        out.push(control(c)?);
        return Some(out);
    }
    let c = match (mods.shift, c.is_ascii_alphabetic()) {
        (true, true) => c.to_ascii_uppercase(),
        (true, false) => return None, // what shift makes of it depends on the keyboard
        (false, _) => c,
    };
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    Some(out)
}

/// What a terminal types for ctrl and a character.
fn control(c: char) -> Option<u8> {
    Some(match c {
        'a'..='z' | 'A'..='Z' | '[' | '\\' | ']' | '^' | '_' | '@' => u8::try_from(c).ok()? & 0x1f,
        '2' | ' ' => 0,
        '3'..='7' => 0x1b + (u8::try_from(c).ok()? - b'3'),
        '8' | '?' => DEL,
        '/' | '-' => 0x1f,
        _ => return None,
    })
}

fn plain_bytes(plain: Plain, mods: Mods) -> Option<Vec<u8>> {
    let bytes: &[u8] = match (plain, mods.ctrl, mods.shift) {
        (Plain::Enter, false, false) => b"\r",
        (Plain::Tab, false, false) => b"\t",
        (Plain::Tab, false, true) => b"\x1b[Z",
        (Plain::Escape, false, false) => b"\x1b",
        (Plain::Space, false, _) => b" ",
        (Plain::Space, true, false) => b"\0",
        (Plain::Backspace, false, false) => b"\x7f",
        (Plain::Backspace, true, false) => b"\x08",
        _ => return None,
    };
    let mut out = if mods.alt { vec![ESC] } else { Vec::new() };
    out.extend_from_slice(bytes);
    Some(out)
}

fn unknown(key: &str) -> KeyError {
    let lower = key.to_ascii_lowercase();
    let (prefix, last) = match lower.rfind(['+', '-']) {
        Some(i) => lower.split_at(i + 1),
        None => ("", lower.as_str()),
    };
    let like = NAMES
        .iter()
        .map(|(name, _)| (strsim::damerau_levenshtein(name, last), *name))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, name)| *distance <= name.len() / 2)
        .map(|(_, name)| format!("{prefix}{name}"))
        .filter(|like| split(like).is_some());
    KeyError::Unknown { key: key.to_owned(), like }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_typed_as_xterm_does() {
        let table: &[(&str, &[u8])] = &[
            ("enter", b"\r"),
            ("Enter", b"\r"),
            ("tab", b"\t"),
            ("shift+tab", b"\x1b[Z"),
            ("esc", b"\x1b"),
            ("space", b" "),
            ("ctrl+space", b"\0"),
            ("backspace", b"\x7f"),
            ("alt+backspace", b"\x1b\x7f"),
            ("delete", b"\x1b[3~"),
            ("shift+delete", b"\x1b[3;2~"),
            ("up", b"\x1b[A"),
            ("ctrl+right", b"\x1b[1;5C"),
            ("alt+shift+end", b"\x1b[1;4F"),
            ("pageup", b"\x1b[5~"),
            ("f1", b"\x1bOP"),
            ("shift+f4", b"\x1b[1;2S"),
            ("f12", b"\x1b[24~"),
            ("ctrl+c", b"\x03"),
            ("ctrl-C", b"\x03"),
            ("control+[", b"\x1b"),
            ("ctrl+?", b"\x7f"),
            ("ctrl+-", b"\x1f"),
            ("alt+x", b"\x1bx"),
            ("alt+enter", b"\x1b\r"),
            ("ctrl+alt+d", b"\x1b\x04"),
            ("shift+a", b"A"),
            ("a", b"a"),
            ("+", b"+"),
            ("-", b"-"),
            ("alt++", b"\x1b+"),
            ("é", "é".as_bytes()),
        ];
        for (key, bytes) in table {
            assert_eq!(key_bytes(key, false).as_deref(), Ok(*bytes), "{key}");
        }
        for (key, bytes) in
            [("up", &b"\x1bOA"[..]), ("home", b"\x1bOH"), ("ctrl+up", b"\x1b[1;5A"), ("f5", b"\x1b[15~")]
        {
            assert_eq!(key_bytes(key, true).as_deref(), Ok(bytes), "{key} in application mode");
        }
    }

    #[test]
    fn what_is_no_key_is_named_with_what_may_be_meant() {
        let table = [
            ("entr", r#"no key "entr" (did you mean "enter"?)"#),
            ("ctrl+pgupp", r#"no key "ctrl+pgupp" (did you mean "ctrl+pgup"?)"#),
            ("hello world", r#"no key "hello world""#),
            ("", r#"no key """#),
            ("ctrl+", r#"no key "ctrl+""#),
            ("\n", r#"no key "\n""#),
            ("f13", r#"no key "f13" (did you mean "f1"?)"#),
            ("shift+enter", r#"a terminal types nothing of its own for "shift+enter"; try "alt+enter""#),
            ("ctrl+é", r#"a terminal types nothing of its own for "ctrl+é""#),
            ("shift+1", r#"a terminal types nothing of its own for "shift+1""#),
        ];
        for (key, error) in table {
            assert_eq!(key_bytes(key, false).unwrap_err().to_string(), error);
        }
    }
}
