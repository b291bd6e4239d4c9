//! `new`, `run`: a session. Folder, environment and umask are the caller's, whoever started the host.

use super::{Done, Failure, attach, check, context::Context, context::converse, failed, wrong};
use crate::client::ClientError;
use crate::model::{Exit, Name, RawString, Restart, RestartMode, Size};
use crate::wire::{Code, Created, NewSession, SessionInfo};
use clap::{ArgGroup, Args, ValueEnum};
use rustix::fs::Mode;
use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
    time::Duration,
};

/// So many names are tried where others take them at the same moment.
const NAMES: u32 = 10;

/// Start a session: new NAME -- COMMAND ARGUMENTS…
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("policy").args(["restart", "watchdog"]).multiple(true))]
pub(super) struct NewArgs {
    /// Its name: letters, digits, . _ -
    name: Name,
    /// A command line: split into words, or run by sh -c where it has shell syntax
    #[arg(long, value_name = "STRING", conflicts_with = "argv")]
    command: Option<String>,
    /// The command as words; without any command $SHELL
    #[arg(last = true, value_name = "ARGV")]
    argv: Vec<OsString>,
    /// Where it runs [default: here]
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// Set a variable; K alone takes it from here
    #[arg(short = 'e', long = "env", value_name = "K[=V]", value_parser = clap::value_parser!(OsString))]
    env: Vec<OsString>,
    /// Set the variables of a file: K=V lines, # comments; quotes are part of a value
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Columns and rows [default: 80x24]
    #[arg(long, value_name = "COLSxROWS")]
    size: Option<Size>,
    /// A label to choose it by
    #[arg(long = "label", value_name = "K=V", value_parser = check::label)]
    labels: Vec<check::Pair>,
    /// When to start it again after it ended [default: never; on-failure with --watchdog]
    #[arg(long, value_name = "WHEN")]
    restart: Option<When>,
    /// First and longest delay before a restart [default: 1s..60s]
    #[arg(long, value_name = "D..D", value_parser = check::backoff, requires = "policy")]
    backoff: Option<(Duration, Duration)>,
    /// More restarts than this --within a time: failed [default: 5]
    #[arg(long, value_name = "N", requires = "policy")]
    max_restarts: Option<u32>,
    /// See --max-restarts [default: 10m]
    #[arg(long, value_name = "D", value_parser = check::duration, requires = "policy")]
    within: Option<Duration>,
    /// What runs after the first execute, such as "claude --continue" [default: the same command]
    #[arg(long, value_name = "STRING")]
    restart_command: Option<String>,
    /// What asks it to end, then KILL, such as INT [default: HUP, then TERM, then KILL]
    #[arg(long, value_name = "SIGNAL", value_parser = check::signal)]
    stop_signal: Option<String>,
    /// How long it may take to end before it is killed
    #[arg(long, value_name = "D", value_parser = check::duration)]
    stop_timeout: Option<Duration>,
    /// Restart it when it is at work on what was sent and prints nothing for so long
    #[arg(long, value_name = "D", value_parser = check::watchdog)]
    watchdog: Option<Duration>,
    /// No error when it lives already and agrees
    #[arg(long)]
    exist_ok: bool,
    /// Remove an ended session of that name, and its log, first
    #[arg(long)]
    fresh: bool,
    /// Show it in this terminal; Ctrl+B D detaches
    #[arg(long)]
    attach: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum When {
    Never,
    OnFailure,
    Always,
}

pub(super) fn run(args: NewArgs, context: &mut Context) -> Done {
    let prefix = if args.attach { Some(attach::prepare(context, Some(&args.name))?) } else { None };
    let client = context.client()?;
    let mut request = request(args, client.host.address.is_remote())?;
    if prefix.is_some() && request.size.is_none() && !request.exist_ok {
        request.size = Some(attach::size()); // what it begins with is drawn once
    }
    let created: Created = converse(async { Ok(client.post("/v1/sessions", &request).await?) })?;
    if let Some(prefix) = prefix {
        return attach::enter(client, created.session.name, false, prefix);
    }
    match context.json {
        true => context.out.json(&created.session)?,
        false => context.out.line(created.session.name.as_str())?,
    }
    Ok(Exit::Done)
}

/// Without any command, on a terminal: a new session of `$SHELL`, attached.
pub(super) fn shell(context: &mut Context) -> Done {
    let help = "no command given (termalive --help lists them); on a terminal it is a new session of $SHELL";
    let prefix = attach::prepare(context, None).map_err(|why| match attach::on_terminal() {
        true => why,
        false => wrong(help),
    })?;
    let client = context.client()?;
    let remote = client.host.address.is_remote();
    let base =
        std::env::var_os("SHELL").and_then(|shell| Path::new(&shell).file_name()?.to_str()?.parse::<Name>().ok());
    let base = base.map_or_else(|| "shell".to_owned(), |name| name.to_string());
    let created = converse(async {
        for _ in 0..NAMES {
            let taken: Vec<SessionInfo> = client.get("/v1/sessions?all=1").await?;
            let name = free_name(&base, |name| taken.iter().any(|session| session.name.as_str() == name));
            let request = NewSession {
                name,
                cwd: if remote { None } else { Some(folder(None)?) },
                env: (!remote).then(environment),
                umask: (!remote).then(umask),
                size: Some(attach::size()),
                ..NewSession::default()
            };
            match client.post::<Created>("/v1/sessions", &request).await {
                Err(ClientError::Api(error)) if error.code == Code::Exists => {} // somebody was faster
                created => return Ok(created?.session),
            }
        }
        Err(failed(format!("no name is free: termalive new NAME --attach takes yours (tried {NAMES} names)")))
    })?;
    attach::enter(client, created.name, false, prefix)
}

/// `bash`, `bash-2`, …
fn free_name(base: &str, taken: impl Fn(&str) -> bool) -> String {
    let mut name = base.to_owned();
    for n in 2.. {
        if !taken(&name) {
            break;
        }
        name = format!("{base}-{n}");
    }
    name
}

/// `remote`: folder, environment and umask of this command mean nothing there; the host user's are taken.
pub(super) fn request(args: NewArgs, remote: bool) -> Result<NewSession, Failure> {
    let mut set_env = Vec::new();
    for file in &args.env_file {
        let text = std::fs::read(file).map_err(|why| failed(format!("can't read {}: {why}", file.display())))?;
        set_env.extend(env_file(&text, file)?);
    }
    for pair in &args.env {
        set_env.extend(variable(pair.as_bytes()).map_err(wrong)?);
    }
    let is_blank = |command: &Option<String>| command.as_deref().is_some_and(|command| command.trim().is_empty());
    if is_blank(&args.command) {
        return Err(wrong("the command is empty (leave --command out for $SHELL)"));
    }
    if is_blank(&args.restart_command) {
        return Err(wrong("the restart command is empty (leave --restart-command out for the same command)"));
    }
    let restart = (args.restart.is_some() || args.watchdog.is_some()).then(|| policy(&args));
    Ok(NewSession {
        name: args.name.to_string(),
        command: args.command,
        argv: (!args.argv.is_empty()).then(|| args.argv.into_iter().map(RawString::from).collect()),
        cwd: match (remote, args.cwd) {
            (false, cwd) => Some(folder(cwd.as_deref())?),
            (true, None) => None,
            (true, Some(cwd)) if cwd.is_absolute() => Some(cwd.into_os_string().into()),
            (true, Some(cwd)) => {
                return Err(wrong(format!("--cwd {}: over TCP give the whole path on the host's side", cwd.display())));
            }
        },
        env: (!remote).then(environment),
        set_env,
        umask: (!remote).then(umask),
        size: args.size,
        labels: args.labels.into_iter().collect(),
        restart,
        restart_command: args.restart_command,
        stop_signal: args.stop_signal,
        stop_timeout_ms: args.stop_timeout.map(millis),
        watchdog_ms: args.watchdog.map(millis),
        exist_ok: args.exist_ok,
        fresh: args.fresh,
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn policy(args: &NewArgs) -> Restart {
    let default = Restart::default();
    let (backoff_min, backoff_max) = args.backoff.unwrap_or((default.backoff_min, default.backoff_max));
    Restart {
        mode: match args.restart {
            Some(When::Never) => RestartMode::Never,
            Some(When::OnFailure) => RestartMode::OnFailure,
            Some(When::Always) => RestartMode::Always,
            None => RestartMode::implied(args.watchdog.is_some()),
        },
        backoff_min,
        backoff_max,
        max_restarts: args.max_restarts.unwrap_or(default.max_restarts),
        within: args.within.unwrap_or(default.within),
    }
}

/// `--cwd` as seen from here, or here.
fn folder(cwd: Option<&Path>) -> Result<RawString, Failure> {
    let here = std::env::current_dir();
    let folder = match cwd {
        Some(path) if path.is_absolute() => Ok(path.to_owned()),
        Some(path) => here.map(|here| here.join(path)),
        None => here,
    };
    let why = |why| failed(format!("can't tell the current folder: {why} (give --cwd DIR)"));
    folder.map(|path| path.into_os_string().into()).map_err(why)
}

/// All but the secret for other hosts: it would be kept on disk, for programs that talk to this one.
pub(super) fn environment() -> Vec<(RawString, RawString)> {
    let own = std::env::vars_os().filter(|(name, _)| name != "TERMALIVE_TOKEN");
    own.map(|(name, value)| (name.into(), value.into())).collect()
}

/// The caller's. It can only be read by setting it; this is one thread.
#[allow(clippy::useless_conversion, reason = "a mode has 16 bits on macOS")]
pub(super) fn umask() -> u32 {
    let mask = rustix::process::umask(Mode::from_raw_mode(0o077));
    rustix::process::umask(mask);
    u32::from(mask.as_raw_mode())
}

/// `K=V`; or `K`, which takes the caller's value and is nothing where there is none.
fn variable(pair: &[u8]) -> Result<Option<(RawString, RawString)>, String> {
    let refuse = || format!("bad variable {:?}: write K=V, or K for its value here", String::from_utf8_lossy(pair));
    let (name, value) = match pair.iter().position(|b| *b == b'=') {
        Some(at) => (&pair[..at], Some(pair[at + 1..].to_vec())),
        None => (pair, std::env::var_os(OsStr::from_bytes(pair)).map(OsString::into_vec)),
    };
    if name.is_empty() || name.contains(&0) || name.iter().any(u8::is_ascii_whitespace) {
        return Err(refuse());
    }
    match value {
        Some(value) if value.contains(&0) => Err(refuse()),
        Some(value) => Ok(Some((RawString(name.to_vec()), RawString(value)))),
        None => Ok(None),
    }
}

/// As docker reads them: `K=V` or `K` on a line, the value as it stands, quotes, blanks and `#` included; lines that are blank
/// or begin with `#` are left out.
fn env_file(text: &[u8], path: &Path) -> Result<Vec<(RawString, RawString)>, Failure> {
    let mut out = Vec::new();
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    for (at, line) in text.split(|b| *b == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line).trim_ascii_start();
        if line.is_empty() || line[0] == b'#' {
            continue;
        }
        let place = |why| wrong(format!("{}:{}: {why}", path.display(), at + 1));
        out.extend(variable(line).map_err(place)?);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_read() {
        let pair = |text: &str| variable(text.as_bytes()).map(|v| v.map(|(k, v)| (k.lossy(), v.lossy())));
        let set = |k: &str, v: &str| Ok(Some((k.to_owned(), v.to_owned())));
        assert_eq!(pair("A=b=c"), set("A", "b=c"));
        assert_eq!(pair("A="), set("A", ""));
        assert_eq!(pair("PATH"), set("PATH", &std::env::var("PATH").unwrap()));
        assert_eq!(pair("TERMALIVE_NEVER_SET"), Ok(None));
        for bad in ["", "=x", "A B=c", "A\0=c"] {
            assert!(pair(bad).unwrap_err().contains("K=V"), "{bad:?}");
        }
    }

    #[test]
    fn a_shell_gets_the_first_free_name() {
        let taken = ["bash", "bash-2", "bash-4"];
        assert_eq!(free_name("bash", |name| taken.contains(&name)), "bash-3");
        assert_eq!(free_name("zsh", |name| taken.contains(&name)), "zsh");
    }

    #[test]
    fn a_file_of_variables_is_read() {
        let read = |text: &str| env_file(text.as_bytes(), Path::new("vars"));
        let pairs: Vec<_> = read("\u{feff}# all\nA=1\r\n\n  B=\"x\" # y\n")
            .unwrap()
            .iter()
            .map(|(k, v)| format!("{k:?}{v:?}"))
            .collect();
        assert_eq!(pairs, ["\"A\"\"1\"", "\"B\"\"\\\"x\\\" # y\""]);
        let Err(Failure::Error(error)) = read("A=1\n=2") else { panic!("taken") };
        assert!(error.message.starts_with("vars:2: "), "{error}");
    }
}
