//! Bytes that are nearly always text: arguments, paths, environment.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::{ffi::OsString, os::unix::ffi::OsStringExt};

/// Bytes, shown in JSON as a string where they are UTF-8, else as `{"base64": …}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RawString(pub Vec<u8>);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Shape {
    Text(String),
    Bytes { base64: String },
}

impl RawString {
    /// The text a person sees: what isn't UTF-8 becomes U+FFFD.
    pub fn lossy(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }

    /// As the system wants it.
    pub fn to_os(&self) -> OsString {
        OsString::from_vec(self.0.clone())
    }
}

impl From<&str> for RawString {
    fn from(s: &str) -> Self {
        RawString(s.as_bytes().to_vec())
    }
}

impl From<OsString> for RawString {
    fn from(s: OsString) -> Self {
        RawString(s.into_vec())
    }
}

impl std::fmt::Debug for RawString {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.lossy())
    }
}

impl Serialize for RawString {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => Shape::Text(text.to_owned()),
            Err(_) => Shape::Bytes { base64: STANDARD.encode(&self.0) },
        }
        .serialize(s)
    }
}

impl<'de> Deserialize<'de> for RawString {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(RawString(match Shape::deserialize(d)? {
            Shape::Text(text) => text.into_bytes(),
            Shape::Bytes { base64 } => STANDARD.decode(base64).map_err(D::Error::custom)?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_json() {
        for bytes in [&b"plain"[..], b"", b"\xff\xfe", "ä".as_bytes()] {
            let raw = RawString(bytes.to_vec());
            let json = serde_json::to_string(&raw).unwrap();
            assert_eq!(serde_json::from_str::<RawString>(&json).unwrap(), raw, "{json}");
        }
    }
}
