//! Which host, is it there, and a stream to it.
//!
//! A host that doesn't answer may be dead, starting, or on its way back after a crash; `STATE/lock` tells: keeper and host
//! hold it as long as one of them lives. Looking takes that lock for an instant, so it is done under `start.lock`, which
//! every command that starts a host holds: a looker never stands in a starter's way.

use super::{Address, ClientError, Credentials, Setup, Stream, address::Remote, start};
use crate::config::Paths;
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, ErrorKind},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::Instant;

/// How long a first connection is tried while the lock is held but nothing listens. 30 s: a host that comes back reads its
/// tail in a few.
const ALIVE_PATIENCE: Duration = Duration::from_secs(30);
/// How long while the lock is held and there is no socket at all. 5 s: a host makes its socket once its store is open; a
/// stranger that holds the folder never does.
const SOCKETLESS_PATIENCE: Duration = Duration::from_secs(5);
/// How long while the keeper's last word is that no host can start. 10 s: twice its longest pause between two tries.
const UNABLE_PATIENCE: Duration = Duration::from_secs(10);
/// How long while another command starts a host. 70 s: a little more than that command waits itself.
const STARTING_PATIENCE: Duration = Duration::from_secs(70);
/// How long where no state folder is known. 3 s: the time in which a killed host is back.
const BLIND_PATIENCE: Duration = Duration::from_secs(3);

/// The host that a command talks to.
#[derive(Clone, Debug)]
pub struct Host {
    /// Where it answers.
    pub address: Address,
    /// How to start it, when it is the local one.
    pub setup: Option<Setup>,
}

/// What is known of a host that doesn't answer.
#[derive(Debug)]
pub enum Presence {
    /// It lives.
    Alive,
    /// Some command is starting it.
    Starting,
    /// Nobody knows: it isn't the local one.
    Unknown,
    /// There is none. With the right to start one, where it was asked for.
    Absent(Option<File>),
}

impl Host {
    /// From `--host`/`TERMALIVE_HOST`: a URI for the local socket is the local host.
    /// With one, it doesn't matter whether this machine has a place for a local host.
    pub fn choose(
        uri: Option<&str>,
        credentials: Credentials,
        setup: Result<Setup, ClientError>,
    ) -> Result<Host, ClientError> {
        let Some(uri) = uri else { return setup.map(Host::local) };
        let (scheme, rest) = uri.split_once("://").ok_or_else(|| ClientError::Uri(uri.to_owned()))?;
        match scheme {
            "unix" => {}
            "ws" | "http" => {
                let remote = Remote::parse(rest, credentials).ok_or_else(|| ClientError::Uri(uri.to_owned()))?;
                return Ok(Host { address: Address::Tcp(remote), setup: None });
            }
            "wss" | "https" | "ssh" if !rest.is_empty() => return Err(ClientError::NotYet(uri.to_owned())),
            _ => return Err(ClientError::Uri(uri.to_owned())),
        }
        let socket = PathBuf::from(rest);
        if !socket.is_absolute() {
            return Err(ClientError::Uri(uri.to_owned()));
        }
        if rest.len() > crate::config::SOCKET_PATH_MAX {
            return Err(ClientError::LongPath(socket));
        }
        match setup {
            Ok(setup) if setup.paths.socket == socket => Ok(Host::local(setup)),
            _ => Ok(Host { address: Address::Socket(socket), setup: None }),
        }
    }

    /// The local host.
    pub fn local(setup: Setup) -> Host {
        Host { address: Address::Socket(setup.paths.socket.clone()), setup: Some(setup) }
    }

    /// A stream to the host, started first where there is none and `setup` says so. Waits for one that is coming back.
    pub async fn open(&self) -> Result<Stream, ClientError> {
        let begun = Instant::now();
        let mut backoff = Backoff::default();
        let mut started = false;
        if let Some(setup) = &self.setup {
            setup.paths.check_socket_folder()?;
        }
        loop {
            let why = match self.address.connect().await {
                Ok(stream) => return Ok(stream),
                Err(why) => why,
            };
            if !may_come_back(&why) {
                return Err(self.refusal(why));
            }
            let patience = match (self.presence(true)?, &self.setup) {
                (Presence::Absent(Some(guard)), Some(setup)) if !started => {
                    // whoever held the lock before us may have started one
                    if let Ok(stream) = self.address.connect().await {
                        return Ok(stream);
                    }
                    start::start(setup, guard).await?;
                    started = true;
                    continue;
                }
                (Presence::Absent(_), _) if started => return Err(start::ended_at_once(self.setup.as_ref())),
                (Presence::Absent(_), _) => return Err(ClientError::NoHost(self.place())),
                (Presence::Unknown, _) if why.kind() == ErrorKind::NotFound => {
                    return Err(ClientError::NotThere(self.place()));
                }
                (Presence::Unknown, _) => BLIND_PATIENCE,
                (Presence::Alive, _) if why.kind() == ErrorKind::NotFound => SOCKETLESS_PATIENCE,
                (Presence::Alive, _) => ALIVE_PATIENCE,
                (Presence::Starting, _) => STARTING_PATIENCE,
            };
            if begun.elapsed() >= patience {
                return Err(self.given_up(patience));
            }
            if begun.elapsed() >= UNABLE_PATIENCE
                && let Some(error) = self.unable()
            {
                return Err(error);
            }
            backoff.pause().await;
        }
    }

    /// Whether the host lives. With `claim`, an absent host that may be started comes with the lock to do it under.
    pub fn presence(&self, claim: bool) -> Result<Presence, ClientError> {
        let Some(setup) = &self.setup else { return Ok(Presence::Unknown) };
        let claim = claim && setup.autostart;
        if claim {
            setup.paths.prepare()?;
        }
        let guard = match lock_file(&setup.paths.start_lock(), claim)? {
            None => None,
            Some(file) => match try_lock(&file, &setup.paths)? {
                true => Some(file),
                false => return Ok(Presence::Starting),
            },
        };
        match lock_file(&setup.paths.lock(), false)? {
            Some(file) if !try_lock(&file, &setup.paths)? => Ok(Presence::Alive),
            _ => Ok(Presence::Absent(guard.filter(|_| claim))),
        }
    }

    /// Waits until keeper and host are gone, at most `patience`. True when they are.
    pub async fn gone(&self, patience: Duration) -> Result<bool, ClientError> {
        let begun = Instant::now();
        let mut backoff = Backoff::default();
        loop {
            if !matches!(self.presence(false)?, Presence::Alive | Presence::Starting) {
                return Ok(true);
            }
            if begun.elapsed() >= patience {
                return Ok(false);
            }
            backoff.pause().await;
        }
    }

    /// Its address, for messages.
    pub(super) fn place(&self) -> String {
        self.address.to_string()
    }

    /// The keeper's last word, where it is why no host can start, or why it can't even say that.
    fn unable(&self) -> Option<ClientError> {
        let setup = self.setup.as_ref()?;
        let why = start::why_no_host(&setup.paths.host_log()).or_else(|| start::no_room(&setup.paths.state))?;
        Some(ClientError::Unable { place: self.place(), why })
    }

    fn given_up(&self, waited: Duration) -> ClientError {
        match &self.setup {
            Some(setup) if waited == SOCKETLESS_PATIENCE => {
                ClientError::InUse { state: setup.paths.state.clone(), socket: setup.paths.socket.clone() }
            }
            Some(_) => ClientError::Silent { place: self.place(), waited },
            None => ClientError::NotThere(self.place()),
        }
    }

    pub(super) fn refusal(&self, why: io::Error) -> ClientError {
        match why.downcast::<ClientError>() {
            Ok(own) => own,
            Err(why) if self.address.is_remote() => ClientError::Unreachable { place: self.place(), why },
            Err(why) if why.kind() == ErrorKind::PermissionDenied => {
                ClientError::NotPermitted { place: self.place(), why }
            }
            Err(why) => ClientError::System { what: format!("connect to {}", self.place()), why },
        }
    }
}

/// Nobody listens now: no file, a dead one, a full queue, or a folder that isn't there yet.
pub(super) fn may_come_back(why: &io::Error) -> bool {
    use ErrorKind::{ConnectionRefused, ConnectionReset, Interrupted, NotADirectory, NotFound, WouldBlock};
    matches!(why.kind(), ConnectionRefused | ConnectionReset | Interrupted | NotADirectory | NotFound | WouldBlock)
}

fn lock_file(path: &Path, create: bool) -> Result<Option<File>, ClientError> {
    match OpenOptions::new().read(true).write(true).create(create).truncate(false).mode(0o600).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(why) if matches!(why.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(why) => Err(ClientError::System { what: format!("open {}", path.display()), why }),
    }
}

fn try_lock(file: &File, paths: &Paths) -> Result<bool, ClientError> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(why)) => {
            Err(ClientError::System { what: format!("lock files in {}", paths.state.display()), why })
        }
    }
}

/// Delays between tries: 5 ms, doubled up to 100 ms. The first ones are for a host that is nearly up, the last for one that
/// reads a long tail.
#[derive(Clone, Debug)]
pub struct Backoff(Duration);

const FIRST_DELAY: Duration = Duration::from_millis(5);
const LONGEST_DELAY: Duration = Duration::from_millis(100);

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff(FIRST_DELAY)
    }
}

impl Backoff {
    /// Waits, and longer the next time.
    pub async fn pause(&mut self) {
        tokio::time::sleep(self.step()).await;
    }

    /// The next delay; the one after it is longer.
    pub(super) fn step(&mut self) -> Duration {
        let delay = self.0;
        self.0 = (delay * 2).min(LONGEST_DELAY);
        delay
    }
}
