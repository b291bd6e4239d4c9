//! From what a caller asks for to what is executed. Looks at the file system (PATH), so it runs on a blocking thread.

use crate::model::{Care, MIB, Program, RawString, Restart, RestartMode, Size, Spec, signal_number};
use crate::wire::NewSession;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What fills the gaps of a request.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// The terminal's size.
    pub size: Size,
}

/// Why a request can't become a session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The request is malformed.
    #[error("{0}")]
    Usage(String),
    /// The command can't be started.
    #[error("{0}")]
    CannotStart(String),
}

/// The kernel refuses more; also what is kept for later runs has a bound.
const MAX_ARGUMENTS: usize = 6 * MIB;
const MAX_LABELS: usize = 64;
/// Of the host's own environment not for sessions: a secret for other hosts, and the way to the keeper.
const PRIVATE: [&str; 2] = ["TERMALIVE_TOKEN", "TERMALIVE_KEEPER_FD"];
/// What a shell would do something with: such a STRING isn't split but run by `sh -c`.
const SHELL_SYNTAX: &str = "|&;<>()$`\\\"'*?[]#~=%!{}\n";
/// The shortest watchdog: rows are judged when they have stood for 100 ms.
const WATCHDOG_MIN: Duration = Duration::from_millis(100);
/// Where `sh` looks when there is no PATH.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Decides what is executed, where, with which environment.
pub fn resolve(request: &NewSession, defaults: &Defaults) -> Result<Spec, ResolveError> {
    let env = environment(request);
    let variable = |name: &str| env.iter().find(|(k, _)| k.0 == name.as_bytes()).map(|(_, v)| v.clone());
    let cwd = match &request.cwd {
        Some(cwd) => cwd.clone(),
        None => variable("HOME").unwrap_or_else(|| "/".into()),
    };
    let (command, argv) = words(request, variable("SHELL"))?;
    let again = request.restart_command.as_deref().map(split).transpose()?;
    let later = again.iter().flatten();
    let size: usize = argv.iter().chain(later.clone()).map(|a| a.0.len() + 1).sum::<usize>()
        + env.iter().map(|(k, v)| k.0.len() + v.0.len() + 2).sum::<usize>();
    if size > MAX_ARGUMENTS {
        return Err(ResolveError::CannotStart("Argument list too long (os error 7)".to_owned()));
    }
    if argv.iter().chain(later).chain([&cwd]).any(|a| a.0.contains(&0)) {
        return Err(ResolveError::Usage("a command or directory can't contain a NUL byte".to_owned()));
    }
    if request.labels.len() > MAX_LABELS {
        return Err(ResolveError::Usage(format!("at most {MAX_LABELS} labels")));
    }
    let path = variable("PATH").map_or_else(|| DEFAULT_PATH.into(), |p| p.to_os());
    let look_up = |name: &RawString| look_up(name, &path, Path::new(&cwd.to_os()));
    let again = match (again, &request.restart_command) {
        (Some(argv), Some(command)) => Some(Program { program: look_up(&argv[0])?, command: command.clone(), argv }),
        _ => None,
    };
    Ok(Spec {
        program: look_up(&argv[0])?,
        command,
        argv,
        umask: request.umask.unwrap_or(0o022) & 0o777,
        size: request.size.unwrap_or(defaults.size),
        labels: request.labels.clone(),
        restart: restart(request),
        care: care(request, again)?,
        cwd,
        env,
    })
}

fn restart(request: &NewSession) -> Restart {
    let implied = RestartMode::implied(request.watchdog_ms.is_some());
    request.restart.unwrap_or(Restart { mode: implied, ..Restart::default() })
}

fn care(request: &NewSession, again: Option<Program>) -> Result<Care, ResolveError> {
    let watchdog = request.watchdog_ms.map(Duration::from_millis);
    if watchdog.is_some_and(|quiet| quiet < WATCHDOG_MIN) {
        let why = format!("a watchdog of less than {} ms takes any pause for a hang", WATCHDOG_MIN.as_millis());
        return Err(ResolveError::Usage(why));
    }
    let stop_signal = request.stop_signal.as_deref().map(signal_number).transpose();
    Ok(Care {
        again,
        stop_signal: stop_signal.map_err(|e| ResolveError::Usage(e.to_string()))?,
        stop_timeout: request.stop_timeout_ms.map(Duration::from_millis),
        watchdog,
    })
}

fn environment(request: &NewSession) -> Vec<(RawString, RawString)> {
    let own = || {
        let shown = std::env::vars_os().filter(|(k, _)| !PRIVATE.iter().any(|private| k == private));
        shown.map(|(k, v)| (k.into(), v.into())).collect()
    };
    let mut env: Vec<(RawString, RawString)> = request.env.clone().unwrap_or_else(own);
    for (key, value) in &request.set_env {
        env.retain(|(k, _)| k != key);
        env.push((key.clone(), value.clone()));
    }
    env.retain(|(k, _)| !k.0.is_empty() && !k.0.contains(&b'=') && !k.0.contains(&0));
    env
}

fn words(request: &NewSession, shell: Option<RawString>) -> Result<(String, Vec<RawString>), ResolveError> {
    match (&request.command, &request.argv) {
        (Some(_), Some(_)) => Err(ResolveError::Usage("give a command string or a list of words, not both".to_owned())),
        (Some(command), None) => Ok((command.clone(), split(command)?)),
        (None, Some(argv)) if argv.first().is_some_and(|a| !a.0.is_empty()) => {
            let shown: Vec<String> = argv.iter().map(RawString::lossy).collect();
            Ok((shell_words::join(shown), argv.clone()))
        }
        (None, Some(_)) => Err(ResolveError::Usage("the command is empty".to_owned())),
        (None, None) => {
            let shell = shell.filter(|s| !s.0.is_empty()).unwrap_or_else(|| "/bin/sh".into());
            Ok((shell.lossy(), vec![shell]))
        }
    }
}

/// The words of a STRING: itself split, or what gives it to a shell.
fn split(command: &str) -> Result<Vec<RawString>, ResolveError> {
    let argv: Vec<RawString> = match command.contains(|c| SHELL_SYNTAX.contains(c)) {
        _ if command.trim().is_empty() => Vec::new(),
        true => vec!["sh".into(), "-c".into(), command.into()],
        false => command.split_ascii_whitespace().map(RawString::from).collect(),
    };
    if argv.is_empty() { Err(ResolveError::Usage("the command is empty".to_owned())) } else { Ok(argv) }
}

/// As `execvp` does, with the caller's PATH and from the caller's directory.
fn look_up(name: &RawString, path: &OsString, cwd: &Path) -> Result<RawString, ResolveError> {
    let file = PathBuf::from(name.to_os());
    if name.0.contains(&b'/') {
        return Ok(RawString(cwd.join(file).into_os_string().into_vec())); // exec itself says what is wrong with it
    }
    let mut refused = None;
    for folder in std::env::split_paths(path) {
        let candidate = cwd.join(folder).join(&file);
        match std::fs::metadata(&candidate) {
            Ok(meta) if meta.is_file() && is_executable(&meta) => {
                return Ok(RawString(candidate.into_os_string().into_vec()));
            }
            Ok(_) => refused = refused.or(Some(candidate)),
            Err(_) => {}
        }
    }
    Err(ResolveError::CannotStart(match refused {
        Some(candidate) => format!("{}: Permission denied (os error 13)", candidate.display()),
        None => format!("{}: No such file or directory (os error 2): not in PATH", name.lossy()),
    }))
}

fn is_executable(meta: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    meta.permissions().mode() & 0o111 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(command: Option<&str>, argv: Option<&[&str]>) -> NewSession {
        NewSession {
            command: command.map(str::to_owned),
            argv: argv.map(|a| a.iter().map(|s| RawString::from(*s)).collect()),
            cwd: Some("/".into()),
            env: Some(vec![("PATH".into(), "/bin:/usr/bin".into()), ("SHELL".into(), "/bin/bash".into())]),
            ..NewSession::default()
        }
    }

    #[test]
    fn a_command_is_split_or_given_to_a_shell() {
        let defaults = Defaults { size: Size { cols: 80, rows: 24 } };
        for (command, argv, want) in [
            (Some("cat -n"), None, vec!["cat", "-n"]),
            (Some("cat | tr a b"), None, vec!["sh", "-c", "cat | tr a b"]),
            (Some("A=1 cat"), None, vec!["sh", "-c", "A=1 cat"]),
            (None, Some(&["cat", "a b"][..]), vec!["cat", "a b"]),
            (None, None, vec!["/bin/bash"]),
        ] {
            let spec = resolve(&request(command, argv), &defaults).unwrap();
            assert_eq!(spec.argv, want.iter().map(|s| RawString::from(*s)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_restart_command_is_resolved_as_the_command_is() {
        let defaults = Defaults { size: Size { cols: 80, rows: 24 } };
        let with = |again: &str| {
            let request = NewSession { restart_command: Some(again.to_owned()), ..request(Some("cat"), None) };
            resolve(&request, &defaults).map(|spec| spec.care.again.unwrap())
        };
        let words = |again: &str| with(again).unwrap().argv.iter().map(RawString::lossy).collect::<Vec<_>>();
        assert_eq!(words("cat -n"), ["cat", "-n"]);
        assert_eq!(words("cat | cat"), ["sh", "-c", "cat | cat"]);
        assert!(with("cat -n").unwrap().program.lossy().ends_with("/cat"));
        assert!(matches!(with(" "), Err(ResolveError::Usage(_))));
        assert!(matches!(with("nonesuch-program"), Err(ResolveError::CannotStart(_))));
    }

    #[test]
    fn how_a_run_is_looked_after_is_checked() {
        let defaults = Defaults { size: Size { cols: 80, rows: 24 } };
        let base = || request(Some("cat"), None);
        let given = NewSession {
            stop_signal: Some("sigint".to_owned()),
            stop_timeout_ms: Some(0),
            watchdog_ms: Some(300_000),
            ..base()
        };
        let spec = resolve(&given, &defaults).unwrap();
        assert_eq!((spec.care.stop_signal, spec.care.stop_timeout), (Some(2), Some(Duration::ZERO)));
        assert_eq!(spec.care.watchdog, Some(Duration::from_secs(300)));
        assert_eq!(spec.restart.mode, RestartMode::OnFailure, "a watchdog alone restarts");
        let never = NewSession { restart: Some(Restart::default()), ..given };
        assert_eq!(resolve(&never, &defaults).unwrap().restart.mode, RestartMode::Never, "what was asked for stands");
        for bad in [
            NewSession { stop_signal: Some("NOPE".to_owned()), ..base() },
            NewSession { watchdog_ms: Some(0), ..base() },
            NewSession { watchdog_ms: Some(99), ..base() },
        ] {
            assert!(matches!(resolve(&bad, &defaults), Err(ResolveError::Usage(_))));
        }
    }

    #[test]
    fn what_cannot_start_is_said_in_the_systems_words() {
        let defaults = Defaults { size: Size { cols: 80, rows: 24 } };
        for (command, words) in [("nonesuch-program", "No such file or directory"), ("", "empty")] {
            let error = resolve(&request(Some(command), None), &defaults).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
