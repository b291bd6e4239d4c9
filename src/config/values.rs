//! From words to types: the one place that knows each key.
//!
//! Pure. Data comes from `load` with its source, goes out as [`Config`]; what can't be is refused with key, source and how
//! to write it.

use super::load::{Setting, Settings};
use super::{
    AskConfig, AttachConfig, Config, ConfigError, HostConfig, HttpConfig, LogConfig, LogFormat, SendConfig,
    SessionConfig, StoreConfig, WaitConfig, parse_bytes,
};
use crate::model::{KIB, format_duration, parse_duration};
use std::{fmt::Display, net::SocketAddr, time::Duration};
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
/// The shortest host.log. 4 KiB: some dozen lines.
const HOST_LOG_MIN: u64 = 4 * KIB as u64;
/// The longest time an ask may take where nothing is said. 1 d: longer than any connection lives.
const ASK_MAX: Duration = Duration::from_secs(86_400);
/// The shortest silence that ends a reply. 100 ms: a row is looked at after so long.
const QUIET_MIN: Duration = Duration::from_millis(100);
/// The most connections over TCP. 65,536: each takes a descriptor and some 20 KiB.
const CONNECTIONS_MAX: usize = 65_536;

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
            log_bytes: bytes("host.log_bytes", HOST_LOG_MIN)?,
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
        attach: AttachConfig { prefix: read(settings, "attach.prefix", control_key)? },
        wait: WaitConfig { first: duration("wait.first", Duration::ZERO, Duration::MAX)? },
        ask: AskConfig {
            timeout: duration("ask.timeout", Duration::ZERO, ASK_MAX)?,
            quiet: duration("ask.quiet", QUIET_MIN, Duration::MAX)?,
        },
        http: http(settings)?,
    })
}

fn http(settings: &Settings) -> Result<HttpConfig, ConfigError> {
    let count = |key: &str| {
        read(settings, key, |text| match text.parse() {
            Ok(number @ 1..=CONNECTIONS_MAX) => Ok(number),
            _ => Err(format!("{text:?} is no number from 1 to {CONNECTIONS_MAX}")),
        })
    };
    let insecure = read(settings, "http.insecure", |text| match text {
        "true" => Ok(true),
        "false" => Ok(false),
        other => Err(format!("{other:?} is neither true nor false")),
    })?;
    Ok(HttpConfig {
        listen: read_list(settings, "http.listen", |text| address(text, insecure))?,
        insecure,
        allowed_hosts: read_list(settings, "http.allowed_hosts", host)?,
        allowed_origins: read_list(settings, "http.allowed_origins", origin)?,
        max_connections: count("http.max_connections")?,
        max_per_peer: count("http.max_per_peer")?,
        max_follows: count("http.max_follows")?,
    })
}

/// A literal address: a name could mean another one after each restart, and so would port 0.
fn address(text: &str, insecure: bool) -> Result<SocketAddr, String> {
    let why = |what: &str| format!("{text:?} {what}: write an address and a port, such as 127.0.0.1:7777");
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() == 0 => Err(why("has port 0, which would be another one after each restart")),
        Ok(address) if !insecure && !address.ip().to_canonical().is_loopback() => Err(format!(
            "{text} can be reached by others, and nothing would be encrypted: listen at 127.0.0.1 behind a tunnel or a \
             proxy, or say --insecure (http.insecure = true)"
        )),
        Ok(address) => Ok(address),
        Err(_) => Err(why("is no address to listen at")),
    }
}

fn host(text: &str) -> Result<String, String> {
    let fits = !text.contains(|c: char| c.is_whitespace() || "/@*".contains(c));
    fits.then(|| text.to_ascii_lowercase()).ok_or_else(|| {
        format!("{text:?} is no host: write a name, with a port where it must be that one, such as box.example:8443")
    })
}

fn origin(text: &str) -> Result<String, String> {
    let authority = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let fits = authority.is_some_and(|a| !a.is_empty() && !a.contains(['/', '*', '@']));
    fits.then(|| text.to_ascii_lowercase())
        .ok_or_else(|| format!("{text:?} is no origin: write it as a browser says it, such as https://box.example"))
}

/// `ctrl+b` and the like, as the byte it types.
fn control_key(text: &str) -> Result<u8, String> {
    let lower = text.to_ascii_lowercase();
    match lower.strip_prefix("ctrl+").or_else(|| lower.strip_prefix("ctrl-")).map(str::as_bytes) {
        Some([key @ (b'a'..=b'z' | b'\\' | b']' | b'^' | b'_' | b'@')]) => Ok(key.to_ascii_uppercase() & 0x1f),
        _ => Err(format!("{text:?} is no key with ctrl: write ctrl+b, ctrl+a, ctrl+\\ or the like")),
    }
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
    one(settings, key, |value| word(value).and_then(|text| parse(&text)))
}

/// A list; in a variable or a flag its parts stand between commas.
fn read_list<T>(
    settings: &Settings,
    key: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, ConfigError> {
    one(settings, key, |value| match value {
        Value::Array(parts) => parts.iter().map(|part| word(part).and_then(|text| parse(text.trim()))).collect(),
        other => word(other)?.split(',').map(str::trim).filter(|part| !part.is_empty()).map(&parse).collect(),
    })
}

fn one<T>(settings: &Settings, key: &str, parse: impl Fn(&Value) -> Result<T, String>) -> Result<T, ConfigError> {
    let Some(Setting { value, origin }) = settings.get(key) else {
        let origin = super::Origin::Default;
        return Err(ConfigError::Value { key: key.to_owned(), origin, why: "has no default".to_owned() });
    };
    parse(value).map_err(|why| ConfigError::Value { key: key.to_owned(), origin: origin.clone(), why })
}

fn word(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(on) => Ok(on.to_string()),
        other => Err(format!("a {} doesn't fit here: write text or a number", other.type_str())),
    }
}
