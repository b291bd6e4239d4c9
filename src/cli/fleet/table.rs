//! From TOML to words with types: which keys there are, and what may stand behind them. Pure.

use super::super::check;
use crate::model::{Group, Name, RawString, RestartMode, Size, Strategy};
use crate::wire::NewSession;
use std::{collections::BTreeMap, time::Duration};
use toml::{Table, Value, de::DeTable};

/// What stands in a file.
pub(super) struct Written {
    pub(super) name: Option<String>,
    pub(super) sessions: Vec<(Name, Keys)>,
    pub(super) groups: BTreeMap<Name, Group>,
    /// Sessions and groups as they stand there.
    pub(super) order: Vec<Name>,
}

/// The keys of a session.
#[derive(Default)]
pub(super) struct Keys {
    pub(super) session: NewSession,
    pub(super) restart: Option<RestartMode>,
    pub(super) backoff: Option<(Duration, Duration)>,
    pub(super) max_restarts: Option<u32>,
    pub(super) within: Option<Duration>,
}

const TOP: [&str; 3] = ["name", "sessions", "groups"];
const SESSION: [&str; 14] = [
    "command",
    "argv",
    "cwd",
    "env",
    "size",
    "labels",
    "restart",
    "backoff",
    "max_restarts",
    "within",
    "restart_command",
    "stop_signal",
    "stop_timeout",
    "watchdog",
];
const GROUP: [&str; 5] = ["strategy", "max_restarts", "within", "backoff", "members"];
/// How alike an unknown key and a known one must be for a suggestion (Jaro-Winkler, 0 to 1).
const ALIKE: f64 = 0.8;

pub(super) fn read(text: &str) -> Result<Written, String> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        let at = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = at.matches('\n').count() + 1;
        format!("line {line}: {}", error.message().replace('\n', " "))
    })?;
    known(&table, &TOP, "")?;
    let name = table.get("name").map(|value| named("name", value, word)).transpose()?;
    let mut written = Written { name, sessions: Vec::new(), groups: BTreeMap::new(), order: Vec::new() };
    for (place, name, keys) in parts(&table, "sessions")? {
        known(keys, &SESSION, &place)?;
        let mut session = Keys::default();
        for (key, value) in keys {
            put(&mut session, key, value).map_err(|why| format!("{place}{key}: {why}"))?;
        }
        written.sessions.push((name, session));
    }
    for (place, name, keys) in parts(&table, "groups")? {
        known(keys, &GROUP, &place)?;
        let mut group = Group::of(Vec::new());
        for (key, value) in keys {
            set(&mut group, key, value).map_err(|why| format!("{place}{key}: {why}"))?;
        }
        written.groups.insert(name, group);
    }
    if written.sessions.is_empty() {
        return Err("no sessions: write [sessions.NAME] and under it command = \"…\"".to_owned());
    }
    written.order = order(text);
    Ok(written)
}

/// The order in which names stand in a text that has been read.
fn order(text: &str) -> Vec<Name> {
    let Ok(table) = DeTable::parse(text) else { return Vec::new() };
    let inner = table.get_ref().iter().filter(|(key, _)| matches!(key.get_ref().as_ref(), "sessions" | "groups"));
    let mut places: Vec<(usize, Name)> = inner
        .filter_map(|(_, value)| value.get_ref().as_table())
        .flat_map(|part| part.iter())
        .filter_map(|(key, _)| Some((key.span().start, key.get_ref().parse().ok()?)))
        .collect();
    places.sort();
    places.into_iter().map(|(_, name)| name).collect()
}

/// The tables under `sessions` or `groups`: where each is, its name, its keys.
fn parts<'a>(table: &'a Table, part: &str) -> Result<Vec<(String, Name, &'a Table)>, String> {
    let Some(value) = table.get(part) else { return Ok(Vec::new()) };
    let inner = value.as_table().ok_or_else(|| format!("{part}: write [{part}.NAME]"))?;
    let one = |(name, value): (&String, &'a Value)| {
        let checked: Name = name.parse().map_err(|e: crate::model::NameError| format!("{part}: {e}"))?;
        let keys = value.as_table().ok_or_else(|| format!("{part}.{name}: write [{part}.{name}] and keys under it"))?;
        Ok((format!("{part}.{name}."), checked, keys))
    };
    inner.iter().map(one).collect()
}

fn known(table: &Table, keys: &[&str], place: &str) -> Result<(), String> {
    let Some(key) = table.keys().find(|key| !keys.contains(&key.as_str())) else { return Ok(()) };
    let alike = |known: &&&str| strsim::jaro_winkler(known, key);
    let near = keys.iter().max_by(|a, b| alike(a).total_cmp(&alike(b))).filter(|near| alike(near) >= ALIKE);
    let near = near.map(|near| format!(" (did you mean {near:?}?)"));
    Err(format!("unknown key {:?}{}", format!("{place}{key}"), near.unwrap_or_default()))
}

fn put(keys: &mut Keys, key: &str, value: &Value) -> Result<(), String> {
    let session = &mut keys.session;
    match key {
        "command" => session.command = Some(text(value)?).filter(|text| !text.trim().is_empty()),
        "argv" => session.argv = Some(list(value)?.iter().map(|word| RawString::from(word.as_str())).collect()),
        "cwd" => session.cwd = Some(RawString::from(text(value)?.as_str())),
        "env" => {
            session.set_env = pairs(value)?.into_iter().map(|(k, v)| variable(&k, &v)).collect::<Result<_, _>>()?
        }
        "size" => session.size = Some(text(value)?.parse::<Size>().map_err(|e| e.to_string())?),
        "labels" => {
            let labels = pairs(value)?.into_iter().map(|(k, v)| check::label(&format!("{k}={v}")));
            session.labels = labels.collect::<Result<_, _>>()?;
        }
        "restart" => keys.restart = Some(mode(&text(value)?)?),
        "backoff" => keys.backoff = Some(check::backoff(&text(value)?)?),
        "max_restarts" => keys.max_restarts = Some(number(value)?),
        "within" => keys.within = Some(duration(value)?),
        "restart_command" => session.restart_command = Some(text(value)?),
        "stop_signal" => session.stop_signal = Some(check::signal(&word(value)?)?),
        "stop_timeout" => session.stop_timeout_ms = Some(millis(duration(value)?)),
        "watchdog" => session.watchdog_ms = Some(millis(duration(value)?)),
        _ => {} // refused before
    }
    Ok(())
}

fn set(group: &mut Group, key: &str, value: &Value) -> Result<(), String> {
    match key {
        "strategy" => {
            let written = text(value)?;
            let all = [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne];
            let found = all.into_iter().find(|strategy| strategy.as_str() == written);
            group.strategy = found
                .ok_or_else(|| format!("{written:?} is no strategy: write one_for_one, one_for_all or rest_for_one"))?;
        }
        "max_restarts" => group.max_restarts = number(value)?,
        "within" => group.within = duration(value)?,
        "backoff" => (group.backoff_min, group.backoff_max) = check::backoff(&text(value)?)?,
        "members" => {
            let names =
                list(value)?.into_iter().map(|name| name.parse().map_err(|e: crate::model::NameError| e.to_string()));
            group.members = names.collect::<Result<_, _>>()?;
        }
        _ => {} // refused before
    }
    Ok(())
}

fn mode(text: &str) -> Result<RestartMode, String> {
    match text {
        "never" => Ok(RestartMode::Never),
        "on-failure" => Ok(RestartMode::OnFailure),
        "always" => Ok(RestartMode::Always),
        other => Err(format!("{other:?} is no restart mode: write never, on-failure or always")),
    }
}

fn named<T>(key: &str, value: &Value, read: impl Fn(&Value) -> Result<T, String>) -> Result<T, String> {
    read(value).map_err(|why| format!("{key}: {why}"))
}

fn text(value: &Value) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| format!("{} doesn't fit here: write text in quotes", shown(value)))
}

/// Text, or a number as text.
fn word(value: &Value) -> Result<String, String> {
    match value {
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(on) => Ok(on.to_string()),
        other => text(other),
    }
}

fn list(value: &Value) -> Result<Vec<String>, String> {
    let list = value.as_array().ok_or_else(|| format!("{} is no list: write [\"…\", \"…\"]", shown(value)))?;
    list.iter().map(text).collect()
}

fn pairs(value: &Value) -> Result<Vec<(String, String)>, String> {
    let table = value.as_table().ok_or_else(|| format!("{} is no table: write {{ KEY = \"VALUE\" }}", shown(value)))?;
    table.iter().map(|(key, value)| Ok((key.clone(), word(value)?))).collect()
}

fn variable(name: &str, value: &str) -> Result<(RawString, RawString), String> {
    let fits =
        !name.is_empty() && !name.contains(['=', '\0']) && !name.contains(char::is_whitespace) && !value.contains('\0');
    fits.then(|| (name.into(), value.into())).ok_or_else(|| format!("{name:?} is no variable"))
}

fn number(value: &Value) -> Result<u32, String> {
    let number = value.as_integer().and_then(|number| u32::try_from(number).ok());
    number.ok_or_else(|| format!("{} is no number from 0 on", shown(value)))
}

fn duration(value: &Value) -> Result<Duration, String> {
    check::duration(&word(value)?)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn shown(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Table(_) => "a table".to_owned(),
        plain => super::super::out::one_line(&plain.to_string()),
    }
}
