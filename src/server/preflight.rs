//! Before a program takes over, it says what it is: version, and what it reads and speaks. It is run for that, and changes
//! nothing. Both sides of it: what this program says (`__preflight`), and what another one is asked.

use crate::config::{Config, Paths};
use crate::keeper::PROTOCOL;
use crate::log::{STORE_VERSION, is_store};
use crate::wire::API;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{OFlags, fcntl_setfl},
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open},
};
use serde::{Deserialize, Serialize};
use std::{
    ffi::OsString,
    io::{self, Read},
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// The hidden verb.
pub const VERB: &str = "__preflight";
/// How long a program may take to say it. It takes milliseconds; 10 s: a machine that swaps.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most that is read of what it says. What says more is not termalive.
const MOST: usize = 16 * crate::model::KIB;

/// Where this host comes from, and where the next one will.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The file, as it was called when the host was started. Another one may be there by now.
    pub program: PathBuf,
    /// What a host is told: places and configuration.
    pub arguments: Vec<OsString>,
}

/// What a program is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abilities {
    /// Its own.
    pub version: String,
    /// See [`API`].
    pub api: u32,
    /// The state folder's version that it writes.
    pub store: u32,
    /// The keeper's protocols that it speaks: from, to.
    pub protocols: (u32, u32),
}

impl Abilities {
    /// This program's.
    pub fn own() -> Abilities {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Abilities { version, api: API, store: STORE_VERSION, protocols: (1, PROTOCOL) }
    }

    /// Whether one with these may go on where this program is, or why not.
    fn check(&self) -> Result<(), String> {
        let Abilities { version, store, protocols: (from, to), .. } = self;
        if *store != STORE_VERSION {
            return Err(format!(
                "version {version} keeps its state in another way ({store}, here it is {STORE_VERSION}): stop this host, start that one"
            ));
        }
        if !(*from..=*to).contains(&PROTOCOL) {
            return Err(format!("version {version} speaks the keeper's protocols {from} to {to}, not {PROTOCOL}"));
        }
        Ok(())
    }
}

/// Whether a host of this program could start here, as far as can be told without doing anything.
pub fn say(paths: &Paths, config: Result<Config, String>) -> Result<Abilities, String> {
    config?;
    is_store(&paths.state).map_err(|down| down.to_string())?;
    Ok(Abilities::own())
}

/// Asks the program. Blocking.
pub(super) fn ask(origin: &Origin) -> Result<Abilities, String> {
    let named = |what: &str| format!("{} {what}", origin.program.display());
    let (code, said, complaint) = run(&origin.program, &origin.arguments).map_err(|e| match e.kind() {
        io::ErrorKind::TimedOut => named("didn't say within 10 s what it is"),
        _ => named(&format!("can't be started: {e}")),
    })?;
    let last = complaint.lines().rev().find(|line| !line.trim().is_empty()).map(str::trim).unwrap_or_default();
    match serde_json::from_str::<Abilities>(said.trim()) {
        Ok(abilities) if code == Some(0) => {
            abilities.check().map_err(|why| named(&format!("can't go on here: {why}"))).map(|()| abilities)
        }
        _ if last.is_empty() => {
            Err(named(&format!("is not a termalive that can take over: asked for that, it ended with {}", shown(code))))
        }
        _ => Err(named(&format!("can't take over: {last}"))),
    }
}

fn shown(code: Option<i32>) -> String {
    code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"))
}

/// How it ended, what it said, what it complained of.
fn run(program: &Path, arguments: &[OsString]) -> io::Result<(Option<i32>, String, String)> {
    let mut command = Command::new(program);
    command.arg(VERB).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let ended = wait(&child);
    if ended.is_err() {
        child.kill()?;
    }
    let status = child.wait()?;
    ended?;
    Ok((status.code(), text(child.stdout.take())?, text(child.stderr.take())?))
}

/// One that says more than a pipe holds is waited for in vain: it isn't termalive.
fn wait(child: &Child) -> io::Result<()> {
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let until = Instant::now() + PATIENCE;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&left)) {
            Err(Errno::INTR) => {}
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            other => return Ok(other.map(drop)?),
        }
    }
}

/// What is in the pipe now; something that the program started may hold it open for ever.
fn text(pipe: Option<impl AsFd + Read>) -> io::Result<String> {
    let Some(mut pipe) = pipe else { return Ok(String::new()) };
    fcntl_setfl(&pipe, OFlags::NONBLOCK)?;
    let mut bytes = vec![0; MOST];
    match pipe.read(&mut bytes) {
        Ok(n) => Ok(String::from_utf8_lossy(&bytes[..n]).into_owned()),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(String::new()),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt};

    #[test]
    fn who_can_go_on_here() {
        let own = Abilities::own();
        let (store, (_, to)) = (own.store, own.protocols);
        for (abilities, word) in [
            (own.clone(), None),
            (Abilities { api: 9, version: "9.9.9".into(), protocols: (1, to + 3), ..own.clone() }, None),
            (Abilities { store: store + 1, ..own.clone() }, Some("keeps its state in another way")),
            (Abilities { store: store - 1, ..own.clone() }, Some("keeps its state in another way")),
            (Abilities { protocols: (to + 1, to + 2), ..own.clone() }, Some("speaks the keeper's protocols")),
        ] {
            match (abilities.check(), word) {
                (Ok(()), None) => {}
                (Err(why), Some(word)) if why.contains(word) => {}
                other => panic!("{abilities:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_is_no_termalive_is_said_to_be_none() {
        let folder = tempfile::tempdir().unwrap();
        let own = serde_json::to_string(&Abilities::own()).unwrap();
        for (mode, text, word) in [
            (0o755, "#!/bin/sh\nexit 1\n".to_owned(), "exit code 1"),
            (0o755, "#!/bin/sh\necho no good >&2\nexit 3\n".to_owned(), "can't take over: no good"),
            (0o755, format!("#!/bin/sh\necho '{own}'\nexit 1\n"), "exit code 1"),
            (0o755, "#!/bin/sh\nkill -9 $$\n".to_owned(), "a signal"),
            (0o755, "#!/bin/sh\nsleep 30 & exit 0\n".to_owned(), "exit code 0"),
            (0o755, "just a text\n".to_owned(), "can't be started"),
            (0o644, "#!/bin/sh\n".to_owned(), "can't be started"),
            (0o755, format!("#!/bin/sh\n[ $1 = {VERB} ] && echo '{own}'\n"), ""),
        ] {
            let origin = Origin { program: folder.path().join("program"), arguments: vec![] };
            fs::write(&origin.program, &text).unwrap();
            fs::set_permissions(&origin.program, fs::Permissions::from_mode(mode)).unwrap();
            match ask(&origin) {
                Ok(abilities) if word.is_empty() => assert_eq!(abilities, Abilities::own()),
                Err(why) if !word.is_empty() && why.contains(word) => {}
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}
