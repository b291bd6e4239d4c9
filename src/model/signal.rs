//! Signals by name: as people write them, and as they are shown.

const NAMES: [(&str, i32); 20] = [
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ABRT", libc::SIGABRT),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("CHLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("WINCH", libc::SIGWINCH),
    ("URG", libc::SIGURG),
    ("IO", libc::SIGIO),
    ("PWR", libc::SIGPWR),
];
/// The highest signal number.
const HIGHEST: i32 = 64;

/// Why a signal is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown signal {0:?}: write INT, TERM, USR1, 15, …")]
pub struct SignalError(String);

/// `INT`, `SIGINT`, `int` or `2`.
pub fn signal_number(text: &str) -> Result<i32, SignalError> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let by_name = NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    let digits = name.bytes().all(|b| b.is_ascii_digit());
    let by_number = name.parse().ok().filter(|number| digits && (1..=HIGHEST).contains(number));
    by_name.or(by_number).ok_or_else(|| SignalError(text.to_owned()))
}

/// Its name without SIG; a number where it has none.
pub fn signal_name(number: i32) -> String {
    let known = NAMES.iter().find(|(_, known)| *known == number);
    known.map_or_else(|| number.to_string(), |(name, _)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for text in ["INT", "SIGINT", "int", "sigint", "2"] {
            assert_eq!(signal_number(text), Ok(2), "{text}");
        }
        for bad in ["", "SIG", "NOPE", "0", "65", "+2", "-1", "1.5"] {
            assert!(signal_number(bad).is_err(), "{bad}");
        }
        for (name, number) in NAMES {
            assert_eq!((signal_number(name), signal_name(number)), (Ok(number), name.to_owned()));
        }
        assert_eq!(signal_name(40), "40");
    }
}
