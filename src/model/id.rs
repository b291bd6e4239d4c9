//! What things are called: session ids (random, never reused), names (chosen by people), idempotency keys, processes.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The random 128-bit identity behind a session's name. `rm` and `new` give a new one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct SessionId(pub [u8; 16]);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<SessionId> for String {
    fn from(id: SessionId) -> String {
        id.to_string()
    }
}

impl TryFrom<String> for SessionId {
    type Error = NameError;
    fn try_from(s: String) -> Result<Self, NameError> {
        let mut out = [0; 16];
        if s.len() != 32 || !s.is_ascii() {
            return Err(NameError::Id);
        }
        for (i, byte) in out.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&s[2 * i..2 * i + 2], 16).map_err(|_| NameError::Id)?;
        }
        Ok(SessionId(out))
    }
}

/// A session's name: `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Name(String);

/// Why a name or an id is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not a name.
    #[error("bad name {0:?}: a name starts with a letter or digit and has at most 64 of A-Z a-z 0-9 . _ -")]
    Name(String),
    /// Not 32 hexadecimal digits.
    #[error("bad session id: 32 hexadecimal digits are wanted")]
    Id,
}

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;
    fn from_str(s: &str) -> Result<Self, NameError> {
        let starts = s.starts_with(|c: char| c.is_ascii_alphanumeric());
        let rest = s.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if starts && rest && s.len() <= 64 { Ok(Name(s.to_owned())) } else { Err(NameError::Name(s.to_owned())) }
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;
    fn try_from(s: String) -> Result<Self, NameError> {
        s.parse()
    }
}

impl From<Name> for String {
    fn from(n: Name) -> String {
        n.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An idempotency key, as the client chose it (at most 128 bytes).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Key(pub String);

/// Before the keys of keystrokes: a byte that no key of a request has.
const KEYSTROKES: char = '\u{1}';

impl Key {
    /// Of what an attached client typed: `upto` bytes in all, these being the last.
    pub fn keystrokes(client: &str, upto: u64) -> Key {
        Key(format!("{KEYSTROKES}{client}:{upto}"))
    }

    /// The client and how much it has typed, where this is such a key.
    pub fn of_keystrokes(&self) -> Option<(&str, u64)> {
        let (client, upto) = self.0.strip_prefix(KEYSTROKES)?.rsplit_once(':')?;
        Some((client, upto.parse().ok()?))
    }
}

/// A process that can't be mistaken for a later one with the same pid.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Process {
    /// Its pid.
    pub pid: u32,
    /// Field 22 of `/proc/PID/stat`: clock ticks after boot.
    pub start_time: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["a", "A.b_c-9", "0", &"x".repeat(64)] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in ["", "-a", ".a", "a b", "a/b", "ä", &"x".repeat(65)] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_of_keystrokes_are_told_apart() {
        assert_eq!(Key::keystrokes("a-b", 7).of_keystrokes(), Some(("a-b", 7)));
        assert_eq!(Key("a-b:7".to_owned()).of_keystrokes(), None);
    }

    #[test]
    fn an_id_survives_its_text() {
        let id = SessionId([7; 16]);
        assert_eq!(SessionId::try_from(id.to_string()).unwrap(), id);
        assert!(SessionId::try_from("xyz".to_owned()).is_err());
    }
}
