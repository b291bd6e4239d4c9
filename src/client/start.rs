//! Starting the local host: spawn the keeper, wait until the host says that it is up.
//!
//! Called under `start.lock`, so that two commands in the same moment start one host. The keeper is this program again, with
//! nothing of the caller's terminal: no stdin, output to `STATE/host.log`, working folder `/`. Its ready pipe says `R`, or why
//! it can't start.

use super::ClientError;
use crate::config::{Config, Env, Paths};
use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};
use tokio::{io::AsyncReadExt, net::unix::pipe};

/// How long a new host may take until it is up. 60 s: a store of many segments after a power failure.
const READY_PATIENCE: Duration = Duration::from_secs(60);
/// The longest reason why a host couldn't start. 4 KiB: a sentence with two paths in it.
const REASON_MAX: u64 = 4096;
/// Read of the end of `host.log` where a host ended without a word. 2 KiB: its last lines.
const TAIL: u64 = 2048;
/// The keeper pauses so many milliseconds when some five hosts in a row have ended young.
const SEVERAL_FAILED: u64 = 1000;
/// What the pipe says when the host is up.
const READY: u8 = b'R';

/// How to start the local host.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Its places.
    pub paths: Paths,
    /// This program.
    pub program: PathBuf,
    /// What configuration and the host inherit.
    pub env: Env,
    /// `--config`, absolute.
    pub config: Option<PathBuf>,
    /// `--set`.
    pub set: Vec<String>,
    /// Whether a command may start it when none runs.
    pub autostart: bool,
}

impl Setup {
    /// The arguments that `__keeper` and `__host` take after their name: places and configuration.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut out: Vec<OsString> = vec!["--state-dir".into(), self.paths.state.clone().into()];
        out.extend(["--socket".into(), self.paths.socket.clone().into()]);
        self.config.iter().for_each(|file| out.extend(["--config".into(), file.clone().into()]));
        self.set.iter().for_each(|pair| out.extend(["--set".into(), pair.clone().into()]));
        out
    }
}

/// Starts keeper and host, comes back when the host is up. `_guard` is `start.lock`.
pub(super) async fn start(setup: &Setup, _guard: File) -> Result<(), ClientError> {
    Config::load(setup.config.as_deref(), &setup.env, &setup.set)?;
    let (ready, log_end) = spawn(setup)?;
    let mut ready = pipe::Receiver::from_owned_fd(ready).map_err(system("wait for the host"))?;
    let mut said = Vec::new();
    let listen = async {
        let mut first = [0];
        if ready.read(&mut first).await? == 1 {
            said.push(first[0]);
            if first[0] != READY {
                ready.take(REASON_MAX).read_to_end(&mut said).await?;
            }
        }
        io::Result::Ok(())
    };
    match tokio::time::timeout(READY_PATIENCE, listen).await {
        Ok(result) => result.map_err(system("wait for the host"))?,
        Err(_) => {
            let waited = READY_PATIENCE.as_secs();
            return Err(ClientError::Start(format!("the host wasn't up after {waited} s{}", see(&setup.paths))));
        }
    }
    match &said[..] {
        [READY] => Ok(()),
        [] => Err(ClientError::Start(format!(
            "the host ended while it started{}{}",
            last_words(&setup.paths.host_log(), log_end),
            see(&setup.paths)
        ))),
        text => Err(ClientError::Start(String::from_utf8_lossy(text).trim().to_owned())),
    }
}

/// For a host that said it was up and wasn't there a moment later.
pub(super) fn ended_at_once(setup: Option<&Setup>) -> ClientError {
    ClientError::Start(format!(
        "the host ended right after it had started{}",
        setup.map(|s| see(&s.paths)).unwrap_or_default()
    ))
}

/// The keeper as a child; the reading end of its ready pipe, and how long `host.log` was before.
fn spawn(setup: &Setup) -> Result<(OwnedFd, u64), ClientError> {
    let log_path = setup.paths.host_log();
    let log = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&log_path)
        .map_err(system(&format!("write {}", log_path.display())))?;
    let log_end = log.metadata().map_or(0, |meta| meta.len());
    let (reader, writer) = io::pipe().map_err(system("make a pipe"))?;
    Command::new(&setup.program)
        .arg("__keeper")
        .arg("--ready-on-stdout")
        .args(setup.arguments())
        .current_dir("/")
        .env_remove("TERMALIVE_SESSION") // a host that a session starts is not part of that session
        .env_remove("TERMALIVE_SESSION_ID")
        .env_remove("TERMALIVE_HOST")
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(log)
        .spawn()
        .map_err(system(&format!("start the host ({})", setup.program.display())))?;
    Ok((reader.into(), log_end))
}

fn system(what: &str) -> impl FnOnce(io::Error) -> ClientError {
    let what = what.to_owned();
    move |why| ClientError::System { what, why }
}

fn see(paths: &Paths) -> String {
    format!(" (see {})", paths.host_log().display())
}

/// What the keeper wrote last into the log, where that is why a host ended and several before it: after one that was killed
/// or replaced the next comes at once, and may take its time to open a long log.
pub(super) fn why_no_host(log: &Path) -> Option<String> {
    let line = last_line(log, 0)?;
    let said = line.strip_prefix("termalive keeper: ")?.strip_suffix(" ms")?;
    let (why, next) = said.rsplit_once("; host ")?;
    let (_, pause) = next.rsplit_once(" starts in ")?;
    pause.parse().is_ok_and(|ms: u64| ms >= SEVERAL_FAILED).then(|| why.to_owned())
}

/// On a disk that is full to the last byte the keeper's word isn't in the log, or cut off.
pub(super) fn no_room(state: &Path) -> Option<String> {
    let stat = rustix::fs::statvfs(state).ok()?;
    let full = stat.f_bavail.saturating_mul(stat.f_frsize) < TAIL; // its last lines wouldn't fit
    full.then(|| format!("the disk of {} is full: make room (its file \"ballast\" may go)", state.display()))
}

/// The last line that was written to the log after `from`.
fn last_words(log: &Path, from: u64) -> String {
    last_line(log, from).map(|line| format!(": {line}")).unwrap_or_default()
}

fn last_line(log: &Path, from: u64) -> Option<String> {
    let mut file = File::open(log).ok()?;
    let end = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(from.max(end.saturating_sub(TAIL)))).ok()?;
    let mut text = Vec::new();
    file.take(TAIL).read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text).into_owned();
    text.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}
