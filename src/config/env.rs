//! The environment as a value, so that everything that depends on it can be tried with any.
//!
//! Only [`Env::from_process`] reads the process's own. It keeps the names that configuration and paths use, no others.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
};

/// Variables by name. An empty value counts as unset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Env(BTreeMap<String, OsString>);

const NAMES: [&str; 7] = ["HOME", "TMPDIR", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "NO_COLOR", "TERM"];
const PREFIX: &str = "TERMALIVE_";

impl Env {
    /// What the process was started with.
    pub fn from_process() -> Env {
        Env::from_pairs(std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            (name.starts_with(PREFIX) || NAMES.contains(&name.as_str())).then_some((name, value))
        }))
    }

    /// From a list.
    pub fn from_pairs<N: Into<String>, V: Into<OsString>>(pairs: impl IntoIterator<Item = (N, V)>) -> Env {
        Env(pairs.into_iter().map(|(n, v)| (n.into(), v.into())).filter(|(_, v)| !v.is_empty()).collect())
    }

    /// A variable's value.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(name).map(OsString::as_os_str)
    }

    /// A variable's value where it is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(OsStr::to_str)
    }

    /// True for `1`, `true` and everything else that isn't `0`, `false`, `no` or empty.
    pub fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|v| !["0", "false", "no"].iter().any(|off| v == *off))
    }

    /// All variables whose name starts with `prefix`, with the rest of the name.
    pub fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a OsStr)> {
        self.0.iter().filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_os_str())))
    }
}
