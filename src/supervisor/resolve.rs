//! From what a caller asks for to what is executed. Looks at the file system (PATH), so it runs on a blocking thread.

use crate::model::{MIB, RawString, Size, Spec};
use crate::wire::NewSession;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

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
    let size: usize = argv.iter().map(|a| a.0.len() + 1).sum::<usize>()
        + env.iter().map(|(k, v)| k.0.len() + v.0.len() + 2).sum::<usize>();
    if size > MAX_ARGUMENTS {
        return Err(ResolveError::CannotStart("Argument list too long (os error 7)".to_owned()));
    }
    if argv.iter().chain([&cwd]).any(|a| a.0.contains(&0)) {
        return Err(ResolveError::Usage("a command or directory can't contain a NUL byte".to_owned()));
    }
    if request.labels.len() > MAX_LABELS {
        return Err(ResolveError::Usage(format!("at most {MAX_LABELS} labels")));
    }
    let path = variable("PATH").map_or_else(|| DEFAULT_PATH.into(), |p| p.to_os());
    Ok(Spec {
        program: look_up(&argv[0], &path, Path::new(&cwd.to_os()))?,
        command,
        argv,
        cwd,
        env,
        umask: request.umask.unwrap_or(0o022) & 0o777,
        size: request.size.unwrap_or(defaults.size),
        labels: request.labels.clone(),
        restart: request.restart.unwrap_or_default(),
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
        (Some(command), None) => {
            let has_syntax = command.contains(|c| SHELL_SYNTAX.contains(c));
            let argv: Vec<RawString> = match has_syntax {
                true => vec!["sh".into(), "-c".into(), command.as_str().into()],
                false => command.split_ascii_whitespace().map(RawString::from).collect(),
            };
            if argv.is_empty() {
                Err(ResolveError::Usage("the command is empty".to_owned()))
            } else {
                Ok((command.clone(), argv))
            }
        }
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
    fn what_cannot_start_is_said_in_the_systems_words() {
        let defaults = Defaults { size: Size { cols: 80, rows: 24 } };
        for (command, words) in [("nonesuch-program", "No such file or directory"), ("", "empty")] {
            let error = resolve(&request(Some(command), None), &defaults).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
