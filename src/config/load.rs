//! From four sources to one table of settings: each value with where it came from, so that an error can say it.
//!
//! [`Config::merge`] is pure. [`Config::load`] is the thin shell that reads the file. Data comes from TOML text, variables
//! and flags, goes to `values`, which gives the words their types.

use super::{Config, DEFAULTS, Env, values};
use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
};
use toml::{Table, Value};

/// A file that was read.
#[derive(Clone, Debug)]
pub struct FileText {
    /// Where.
    pub path: PathBuf,
    /// What stood in it.
    pub text: String,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The built-in defaults.
    Default,
    /// The user's file.
    File(PathBuf),
    /// A variable.
    Variable(String),
    /// A flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("the built-in defaults"),
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::Variable(name) => write!(f, "the variable {name}"),
            Origin::Flag(flag) => write!(f, "--set {flag}"),
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that was asked for by name, or exists, can't be read.
    #[error("can't read the configuration {path}: {why}", path = path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        why: io::Error,
    },
    /// Not TOML.
    #[error("{origin} isn't valid TOML: {why}")]
    Syntax {
        /// Which source.
        origin: Origin,
        /// The parser's reason with its place, in one line.
        why: String,
    },
    /// No such setting.
    #[error("unknown key {key:?} in {origin}{}", near.as_ref().map(|n| format!(" (did you mean {n:?}?)")).unwrap_or_default())]
    UnknownKey {
        /// As written.
        key: String,
        /// In which source.
        origin: Origin,
        /// A key that looks like it.
        near: Option<String>,
    },
    /// A value that can't be.
    #[error("{key} in {origin}: {why}")]
    Value {
        /// The key.
        key: String,
        /// In which source.
        origin: Origin,
        /// What is wrong and how to write it.
        why: String,
    },
    /// Not KEY=VALUE.
    #[error("bad setting {0:?}: write --set KEY=VALUE, such as --set store.segment_bytes=64MiB")]
    Flag(String),
}

impl ConfigError {
    /// True when the command line itself is wrong.
    pub fn is_usage(&self) -> bool {
        match self {
            ConfigError::Flag(_) => true,
            ConfigError::UnknownKey { origin, .. } | ConfigError::Value { origin, .. } => {
                matches!(origin, Origin::Flag(_))
            }
            ConfigError::Unreadable { .. } | ConfigError::Syntax { .. } => false,
        }
    }
}

/// A value and its source.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// All settings by dotted key.
pub(super) type Settings = BTreeMap<String, Setting>;

/// Variables that set a key start with it.
const VARIABLES: &str = "TERMALIVE_CFG_";

/// How alike an unknown key and a known one must be for a suggestion (Jaro-Winkler, 0 to 1). Below it the guess is noise.
const ALIKE: f64 = 0.85;

impl Config {
    /// Merges defaults, the user's file, `TERMALIVE_CFG_*` and `KEY=VALUE` flags; later ones win.
    pub fn merge(file: Option<&FileText>, env: &Env, flags: &[String]) -> Result<Config, ConfigError> {
        let mut settings = Settings::new();
        for (key, value) in flatten(DEFAULTS, &Origin::Default)? {
            settings.insert(key, Setting { value, origin: Origin::Default });
        }
        if let Some(file) = file {
            let origin = Origin::File(file.path.clone());
            for (key, value) in flatten(&file.text, &origin)? {
                put(&mut settings, key, value, origin.clone())?;
            }
        }
        for (name, value) in env.with_prefix(VARIABLES) {
            let origin = Origin::Variable(format!("{VARIABLES}{name}"));
            let key = name.to_ascii_lowercase().replace("__", ".");
            put(&mut settings, key, Value::String(value.to_string_lossy().into_owned()), origin)?;
        }
        for flag in flags {
            let (key, value) = flag.split_once('=').ok_or_else(|| ConfigError::Flag(flag.clone()))?;
            put(&mut settings, key.to_owned(), Value::String(value.to_owned()), Origin::Flag(flag.clone()))?;
        }
        values::config(&settings)
    }

    /// Finds and reads the user's file, then [`Config::merge`]. `explicit` is `--config`; a file that is named must exist.
    pub fn load(explicit: Option<&Path>, env: &Env, flags: &[String]) -> Result<Config, ConfigError> {
        let (path, named) = match user_file(explicit, env) {
            Some(found) => found,
            None => return Config::merge(None, env, flags),
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => Config::merge(Some(&FileText { path, text }), env, flags),
            Err(why) if why.kind() == io::ErrorKind::NotFound && !named => Config::merge(None, env, flags),
            Err(why) => Err(ConfigError::Unreadable { path, why }),
        }
    }
}

/// Where the user's file is, and whether somebody asked for it by name.
fn user_file(explicit: Option<&Path>, env: &Env) -> Option<(PathBuf, bool)> {
    if let Some(path) = explicit {
        return Some((path.to_owned(), true));
    }
    if let Some(path) = env.get("TERMALIVE_CONFIG") {
        return Some((PathBuf::from(path), true));
    }
    let xdg = env.get("XDG_CONFIG_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let folder = xdg.or_else(|| Some(Path::new(env.get("HOME")?).join(".config")))?;
    Some((folder.join("termalive").join("termalive.toml"), false))
}

fn put(settings: &mut Settings, key: String, value: Value, origin: Origin) -> Result<(), ConfigError> {
    match settings.get_mut(&key) {
        Some(setting) => *setting = Setting { value, origin },
        None => {
            let near = settings
                .keys()
                .map(|known| (strsim::jaro_winkler(known, &key), known))
                .filter(|(alike, _)| *alike >= ALIKE)
                .max_by(|a, b| a.0.total_cmp(&b.0))
                .map(|(_, known)| known.clone());
            return Err(ConfigError::UnknownKey { key, origin, near });
        }
    }
    Ok(())
}

/// The leaves of a TOML text by dotted key.
fn flatten(text: &str, origin: &Origin) -> Result<Vec<(String, Value)>, ConfigError> {
    let table = text.parse::<Table>().map_err(|error| ConfigError::Syntax {
        origin: origin.clone(),
        why: format!("{}{}", line_of(text, error.span()), error.message()),
    })?;
    let mut leaves = Vec::new();
    let mut open = vec![(String::new(), table)];
    while let Some((prefix, table)) = open.pop() {
        for (name, value) in table {
            let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
            match value {
                Value::Table(inner) => open.push((key, inner)),
                leaf => leaves.push((key, leaf)),
            }
        }
    }
    Ok(leaves)
}

fn line_of(text: &str, span: Option<std::ops::Range<usize>>) -> String {
    let Some(before) = span.and_then(|s| text.get(..s.start)) else { return String::new() };
    format!("line {}: ", before.matches('\n').count() + 1)
}

#[cfg(test)]
mod tests;
