//! Values of the command line, checked before any host is asked or started.
//!
//! Pure. Each refusal is one sentence that says how to write it; clap puts the option's name before it.

use crate::model::{Cursor, parse_duration, signal_name, signal_number};
use crate::terminal::keys::{KeyError, key_bytes};
use jiff::Timestamp;
use std::{net::SocketAddr, time::Duration};

/// `k=v`.
pub(super) type Pair = (String, String);

/// The longest label key or value. 256 bytes: a path or a commit fits, a file doesn't.
const LABEL_MAX: usize = 256;
/// The shortest watchdog: rows are judged when they have stood for 100 ms.
const WATCHDOG_MIN: Duration = Duration::from_millis(100);

/// `--label k=v`.
pub(super) fn label(text: &str) -> Result<Pair, String> {
    let refuse = || format!("bad label {text:?}: write KEY=VALUE, such as team=web, without control characters");
    let (key, value) = text.split_once('=').ok_or_else(refuse)?;
    let fits = |part: &str| part.len() <= LABEL_MAX && !part.chars().any(char::is_control);
    let named = !key.is_empty() && !key.contains(char::is_whitespace);
    if named && fits(key) && fits(value) { Ok((key.to_owned(), value.to_owned())) } else { Err(refuse()) }
}

/// A duration, kept as text: the host reads it again.
pub(super) fn duration_text(text: &str) -> Result<String, String> {
    parse_duration(text).map(|_| text.to_owned()).map_err(|e| e.to_string())
}

/// A duration.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|e| e.to_string())
}

/// `--watchdog 5m`: shorter is any pause.
pub(super) fn watchdog(text: &str) -> Result<Duration, String> {
    let refuse = || format!("bad watchdog {text:?}: it takes any pause for a hang: write a duration of 100ms or more");
    Some(duration(text)?).filter(|quiet| *quiet >= WATCHDOG_MIN).ok_or_else(refuse)
}

/// `--backoff 1s..60s`.
pub(super) fn backoff(text: &str) -> Result<(Duration, Duration), String> {
    let refuse = || format!("bad back-off {text:?}: write the first and the longest delay, such as 1s..60s");
    let (min, max) = text.split_once("..").ok_or_else(refuse)?;
    let (min, max) = (parse_duration(min).map_err(|_| refuse())?, parse_duration(max).map_err(|_| refuse())?);
    if min <= max { Ok((min, max)) } else { Err(refuse()) }
}

/// `--since`.
pub(super) fn since(text: &str) -> Result<String, String> {
    let fits = match text {
        "start" | "last-send" | "now" => true,
        _ => match text.strip_prefix("turn:") {
            Some(turn) => turn.parse::<u64>().is_ok_and(|n| n > 0),
            None => is_point(text) || parse_duration(text).is_ok(),
        },
    };
    fits.then(|| text.to_owned()).ok_or_else(|| {
        format!(
            "bad point {text:?}: write start, last-send, turn:N, now, a duration such as 10m, a time such as \
             2026-02-01T03:40:00Z, or a cursor such as @12"
        )
    })
}

/// `--since` of all sessions together.
pub(super) fn moment(text: &str) -> Result<String, String> {
    let fits = text.parse::<Timestamp>().is_ok() || parse_duration(text).is_ok();
    fits.then(|| text.to_owned()).ok_or_else(|| {
        format!("bad time {text:?}: write a duration such as 7d, or a time such as 2026-02-01T03:40:00Z")
    })
}

/// `--to`.
pub(super) fn to(text: &str) -> Result<String, String> {
    is_point(text).then(|| text.to_owned()).ok_or_else(|| {
        format!("bad point {text:?}: write a time such as 2026-02-01T03:40:00Z, or a cursor such as @12")
    })
}

fn is_point(text: &str) -> bool {
    text.parse::<Cursor>().is_ok() || text.parse::<Timestamp>().is_ok()
}

/// `--keys`: names as the host knows them, such as `ctrl+c`, `up`, `f5`, `x`.
pub(super) fn key(text: &str) -> Result<String, String> {
    key_bytes(text, false).map(|_| text.to_owned()).map_err(|why| match why {
        KeyError::Unknown { like: None, .. } => {
            format!("{why}: write enter, ctrl+c, alt+x, up, pageup, escape, f5 or a character")
        }
        _ => why.to_string(),
    })
}

/// `--signal`: a name with or without SIG, in any case, or a number; given on as its name.
pub(super) fn signal(text: &str) -> Result<String, String> {
    signal_number(text).map(signal_name).map_err(|e| e.to_string())
}

/// `--listen`.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok(address),
        _ => Err(format!("bad address {text:?}: write a literal address and a port, such as 127.0.0.1:7777")),
    }
}

/// `--set KEY=VALUE`.
pub(super) fn setting(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((key, _)) if !key.is_empty() => Ok(text.to_owned()),
        _ => Err(format!("bad setting {text:?}: write KEY=VALUE, such as store.segment_bytes=64MiB")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table<T>(check: impl Fn(&str) -> Result<T, String>, good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(check(text).is_ok(), "{text:?} is refused");
        }
        for text in bad {
            let error = check(text).err().unwrap_or_else(|| panic!("{text:?} is taken"));
            assert!(error.contains(&format!("{text:?}")) && error.contains("write"), "{error}");
        }
    }

    #[test]
    fn values_are_checked() {
        table(label, &["a=b", "a=", "team/x=a=b"], &["a", "=b", "", "a b=c", "a=\x1b"]);
        table(watchdog, &["100ms", "5m", "30"], &["", "0", "99ms", "x"]);
        table(backoff, &["1s..60s", "1..1", "500ms..2m"], &["1s", "2s..1s", "..", "1s..x"]);
        table(
            since,
            &[
                "start",
                "last-send",
                "now",
                "turn:1",
                "10m",
                "30",
                "@12",
                "@12.7",
                "2026-02-01T03:40:00Z",
                "2026-02-01T03:40:00.5+01:00",
            ],
            &["", "turn:", "turn:0", "turn:x", "@", "@x", "yesterday", "-1s"],
        );
        table(moment, &["7d", "90", "2026-02-01T03:40:00Z"], &["start", "@1", "", "yesterday"]);
        table(to, &["@12", "2026-02-01T03:40:00Z"], &["10m", "start", ""]);
        table(signal, &["INT", "sigterm", "9", "SigUsr1"], &["", "SIG", "0", "65", "FOO", "-9"]);
        table(address, &["127.0.0.1:7777", "[::1]:1"], &["", "7777", ":7777", "localhost:7777", "127.0.0.1:0"]);
        table(setting, &["a.b=c", "a="], &["a", "=", ""]);
        assert_eq!(signal("sigint").unwrap(), "INT");
        assert!(["enter", "ctrl+c", "x", "F5"].iter().all(|name| key(name).is_ok()));
        assert!(key("entr").unwrap_err().contains("enter"));
        assert!(key("nonsense").unwrap_err().contains("write enter"));
    }
}
