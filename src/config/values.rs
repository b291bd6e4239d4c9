//! From words to types: the one place that knows each key.
//!
//! Pure. Data comes from `load` with its source, goes out as [`Config`]; what can't be is refused with key, source and how
//! to write it.

use super::load::{Setting, Settings};
use super::{
    Config, ConfigError, HostConfig, LogConfig, LogFormat, SendConfig, SessionConfig, StoreConfig, WaitConfig,
    parse_bytes,
};
use crate::model::{KIB, format_duration, parse_duration};
use std::{fmt::Display, time::Duration};
use toml::Value;

/// The smallest segment. 256 KiB: one crash ring; a smaller one would be closed by a single flush.
const SEGMENT_MIN: u64 = 256 * KIB as u64;
/// The shortest age of a segment. 1 s: opening a store takes some milliseconds.
const AGE_MIN: Duration = Duration::from_secs(1);
/// The least that can be kept, bytes. 4 MiB: its segments are twice a crash ring.
const KEEP_MIN: u64 = 4 * 1024 * KIB as u64;
/// The shortest time that can be kept. 1 min: closing segments every few seconds is all that less would do.
const KEEP_AGE_MIN: Duration = Duration::from_secs(60);
/// How no limit is written.
const NONE: &str = "none";
/// The shortest commit interval. 1 ms: about one fsync of a fast disk.
const COMMIT_MIN: Duration = Duration::from_millis(1);
/// The longest commit interval. 10 s: more is more loss at a power failure than anyone means.
const COMMIT_MAX: Duration = Duration::from_secs(10);
/// The longest pause before Enter. 10 s: longer than any program's paste detection by far.
const ENTER_MAX: Duration = Duration::from_secs(10);
/// The longest grace between two signals. 1 h: a `stop` must end one day.
const GRACE_MAX: Duration = Duration::from_secs(3600);

/// Gives every key its type.
pub(super) fn config(settings: &Settings) -> Result<Config, ConfigError> {
    let duration = |key: &str, min: Duration, max: Duration| {
        read(settings, key, |text| {
            let value = parse_duration(text).map_err(say)?;
            let fits = (min..=max).contains(&value);
            fits.then_some(value).ok_or_else(|| {
                format!("{text:?} is out of bounds: {} to {}", format_duration(min), format_duration(max))
            })
        })
    };
    let bytes = |key: &str, min: u64| {
        read(settings, key, |text| {
            let value = parse_bytes(text).map_err(say)?;
            if value >= min { Ok(value) } else { Err(format!("{text:?} is too small: at least {min} bytes")) }
        })
    };
    let is_none = |key: &str| settings.get(key).is_some_and(|s| s.value.as_str() == Some(NONE));
    let limit = |key: &str| if is_none(key) { Ok(None) } else { bytes(key, KEEP_MIN).map(Some) };
    Ok(Config {
        host: HostConfig {
            log: read(settings, "host.log", log_filter)?,
            log_format: read(settings, "host.log_format", |text| match text {
                "text" => Ok(LogFormat::Text),
                "json" => Ok(LogFormat::Json),
                other => Err(format!("{other:?} is neither text nor json")),
            })?,
        },
        store: StoreConfig {
            segment_bytes: bytes("store.segment_bytes", SEGMENT_MIN)?,
            segment_age: duration("store.segment_age", AGE_MIN, Duration::MAX)?,
            commit_interval: duration("store.commit_interval", COMMIT_MIN, COMMIT_MAX)?,
            min_free: bytes("store.min_free", 0)?,
        },
        log: LogConfig {
            keep_bytes: limit("log.keep_bytes")?,
            keep_session_bytes: limit("log.keep_session_bytes")?,
            keep_age: match is_none("log.keep_age") {
                true => None,
                false => Some(duration("log.keep_age", KEEP_AGE_MIN, Duration::MAX)?),
            },
        },
        session: SessionConfig {
            size: read(settings, "session.size", |text| text.parse().map_err(say))?,
            stop_grace: duration("session.stop_grace", Duration::ZERO, GRACE_MAX)?,
        },
        send: SendConfig {
            enter_delay: duration("send.enter_delay", Duration::ZERO, ENTER_MAX)?,
            timeout: duration("send.timeout", Duration::ZERO, Duration::MAX)?,
        },
        wait: WaitConfig { first: duration("wait.first", Duration::ZERO, Duration::MAX)? },
    })
}

/// What the host would ignore in silence is refused here.
fn log_filter(text: &str) -> Result<String, String> {
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(why) => Err(format!("{text:?}: {why}: write a level such as info, or \"info,termalive::log=debug\"")),
    }
}

fn say(error: impl Display) -> String {
    error.to_string()
}

fn read<T>(settings: &Settings, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, ConfigError> {
    let Some(Setting { value, origin }) = settings.get(key) else {
        let origin = super::Origin::Default;
        return Err(ConfigError::Value { key: key.to_owned(), origin, why: "has no default".to_owned() });
    };
    let text = match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        other => Err(format!("a {} doesn't fit here: write text or a number", other.type_str())),
    };
    text.and_then(|text| parse(&text)).map_err(|why| ConfigError::Value {
        key: key.to_owned(),
        origin: origin.clone(),
        why,
    })
}
