//! Durations as people write them: `500ms 10s 2m 1h 3d`, a bare number is seconds.

use std::time::Duration;

/// Why a duration is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad duration {0:?}: write 500ms, 10s, 2m, 1h, 3d or a number of seconds")]
pub struct DurationError(String);

const UNITS: [(&str, f64); 5] = [("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86400.0)];
const LONGEST: f64 = 100.0 * 365.0 * 86400.0; // a hundred years: more is a typing error, and would overflow log time

/// Reads a duration; a fraction such as `1.5s` is allowed.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let refuse = || DurationError(text.to_owned());
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "" => 1.0,
        _ => UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(refuse)?.1,
    };
    let seconds = number.parse::<f64>().map_err(|_| refuse())? * factor;
    if seconds <= LONGEST { Ok(Duration::from_secs_f64(seconds)) } else { Err(refuse()) }
}

/// Writes a duration in the shortest of the same forms.
pub fn format_duration(d: Duration) -> String {
    let ms = d.as_millis();
    match ms {
        0 => "0s".to_owned(),
        _ if ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        _ if ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        _ if ms.is_multiple_of(1000) => format!("{}s", ms / 1000),
        _ => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (text, ms) in
            [("500ms", 500), ("10s", 10_000), ("2m", 120_000), ("1h", 3_600_000), ("7", 7000), ("1.5s", 1500), ("0", 0)]
        {
            let d = parse_duration(text).unwrap();
            assert_eq!(d.as_millis(), ms, "{text}");
            assert_eq!(parse_duration(&format_duration(d)).unwrap(), d, "{text}");
        }
        for bad in ["", "s", "-1", "1x", "1 s", "1e9", "99999999999h", ".", "1.2.3", "inf"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
