//! The door to TCP: the shell around [`super::lobby`], with the clock, the connections' descriptors and the tokens.
//!
//! The web server accepts; here each connection gets its ticket, and who has to go for another is hung up on. Shared by all
//! listeners. It must never hold its lock over an await, nor log a token.

use super::lobby::{Caller, Failures, Full, Limits, Lobby, Ticket};
use super::names::Names;
use super::tokens::{Access, Tokens};
use crate::config::HttpConfig;
use rustix::net::{Shutdown, shutdown, sockopt};
use rustix::process::{Resource, getrlimit};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// Connections that haven't shown a token. 256: each may hold 128 KiB of a header, and is hung up on after five seconds.
const LOBBY: usize = 256;
/// Of the files this process may have open, TCP takes at most one in so many, also for those without a token (with their
/// two descriptors), so that sessions, the store and the local socket always find some.
const SHARE_OF_FILES: usize = 4;
/// The local socket's own share.
const LOCAL_SHARE_OF_FILES: usize = 2;
/// How long a connection without a token stays once it is answered. 2 s: long enough for the answer to be read over a slow line.
const GOODBYE: Duration = Duration::from_secs(2);
/// A silent peer is looked for after so long …
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
/// … and so often …
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
/// … and so many times, before its connection counts as dead.
const KEEPALIVE_TRIES: u32 = 6;

/// See the module.
pub(super) struct Gate {
    tokens: Tokens,
    pub(super) names: Names,
    limits: Limits,
    state: Mutex<State>,
    pub(super) refused: Refusals,
}

struct State {
    lobby: Lobby,
    failures: Failures,
    /// To hang up on those in the lobby.
    waiting: HashMap<Ticket, OwnedFd>,
}

/// How many were sent away, and why.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    pub(super) host: AtomicU64,
    pub(super) origin: AtomicU64,
    pub(super) no_token: AtomicU64,
    pub(super) wrong_token: AtomicU64,
    pub(super) waiting: AtomicU64,
    pub(super) crowded: AtomicU64,
    pub(super) read_only: AtomicU64,
}

/// A connection over TCP, as long as it lives.
pub(super) struct Entered {
    gate: Arc<Gate>,
    ticket: Ticket,
    pub(super) peer: SocketAddr,
    /// What the peer connected to.
    pub(super) local: SocketAddr,
}

/// An answer that goes on, as long as it does.
pub(super) struct Streaming(Arc<Gate>, Caller);

/// Why a token isn't listened to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Wrong,
    /// After many wrong ones: not before so long.
    Wait(Duration),
    /// Too many connections.
    Full,
}

impl Gate {
    pub(super) fn new(config: &HttpConfig, tokens: Tokens) -> Arc<Gate> {
        let limits = limits(config, files());
        let names = Names { hosts: config.allowed_hosts.clone(), origins: config.allowed_origins.clone() };
        let state = State { lobby: Lobby::new(limits), failures: Failures::default(), waiting: HashMap::new() };
        Arc::new(Gate { tokens, names, limits, state: Mutex::new(state), refused: Refusals::default() })
    }

    /// Connections that the web server may hold at once: some that are being hung up on among them.
    pub(super) fn most(&self) -> usize {
        self.limits.connections + 2 * self.limits.lobby
    }

    /// Someone has connected. Nothing: it was hung up on at once.
    pub(super) fn enter(self: &Arc<Gate>, stream: &TcpStream) -> Option<Entered> {
        match self.try_enter(stream) {
            Ok(entered) => Some(entered),
            Err(why) => {
                tracing::debug!(error = %why, "a connection over TCP is refused");
                hang_up(stream.as_fd());
                None
            }
        }
    }

    fn try_enter(self: &Arc<Gate>, stream: &TcpStream) -> io::Result<Entered> {
        let (peer, local) = (stream.peer_addr()?, stream.local_addr()?);
        keep_alive(stream)?;
        let fd = stream.as_fd().try_clone_to_owned()?;
        let mut state = self.lock();
        let (ticket, gone) = state.lobby.enter(peer.ip().into());
        state.waiting.insert(ticket, fd);
        if let Some(fd) = gone.and_then(|gone| state.waiting.remove(&gone)) {
            hang_up(fd.as_fd());
        }
        Ok(Entered { gate: self.clone(), ticket, peer, local })
    }

    /// Hangs up on one that is still in the lobby after it was answered.
    fn show_out(&self, ticket: Ticket) {
        if let Some(fd) = self.lock().waiting.remove(&ticket) {
            hang_up(fd.as_fd());
        }
    }

    /// Connections without and with a token.
    pub(super) fn counts(&self) -> (usize, usize) {
        self.lock().lobby.counts()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entered {
    pub(super) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// What the bearer of this token may do.
    pub(super) fn show(&self, token: &[u8]) -> Result<Access, Refusal> {
        let caller = self.peer.ip().into();
        let access = self.gate.tokens.access(token);
        let mut state = self.gate.lock();
        if let Some(left) = state.failures.wait(caller, Instant::now()) {
            return Err(Refusal::Wait(left));
        }
        let Some(access) = access else {
            state.failures.failed(caller, Instant::now());
            return Err(Refusal::Wrong);
        };
        state.failures.succeeded(caller);
        state.lobby.admit(self.ticket).map_err(|Full| Refusal::Full)?;
        state.waiting.remove(&self.ticket);
        Ok(access)
    }

    /// It gets an answer without having shown a token, and has a moment to read it. Without this, it could go on with its
    /// body for ever.
    pub(super) fn goodbye(&self) {
        let (gate, ticket) = (self.gate.clone(), self.ticket);
        actix_rt::spawn(async move {
            tokio::time::sleep(GOODBYE).await;
            gate.show_out(ticket);
        });
    }

    /// An answer that goes on begins.
    pub(super) fn stream(&self) -> Result<Streaming, Full> {
        let caller = self.peer.ip().into();
        self.gate.lock().lobby.open_stream(caller)?;
        Ok(Streaming(self.gate.clone(), caller))
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        state.lobby.leave(self.ticket);
        state.waiting.remove(&self.ticket);
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.0.lock().lobby.close_stream(self.1);
    }
}

impl Refusals {
    pub(super) fn add(count: &AtomicU64) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// How many files this process may have open. The keeper has raised it as far as the system lets it.
fn files() -> usize {
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX))
}

fn limits(config: &HttpConfig, files: usize) -> Limits {
    let share = (files / SHARE_OF_FILES).max(8);
    Limits {
        lobby: LOBBY.min(share / 4).max(1), // each has two descriptors, and as many may be on their way out
        connections: config.max_connections.min(share),
        per_peer: config.max_per_peer,
        streams: config.max_follows,
    }
}

/// How many connections the local socket may have: `most`, or its share of the files.
pub(super) fn local_connections(most: usize) -> usize {
    most.min(files() / LOCAL_SHARE_OF_FILES).max(8)
}

fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_EVERY)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_TRIES)?;
    Ok(())
}

fn hang_up(stream: std::os::fd::BorrowedFd<'_>) {
    if let Err(why) = shutdown(stream, Shutdown::Both) {
        tracing::trace!(error = %why, "it had gone already");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Env};

    #[test]
    fn files_are_shared() {
        let config = Config::merge(None, &Env::default(), &[]).unwrap().http;
        let of = |files| {
            let limits = limits(&config, files);
            (limits.lobby, limits.connections)
        };
        assert_eq!(of(usize::MAX), (256, 1024));
        assert_eq!(of(1024), (64, 256));
        assert_eq!(of(10), (2, 8));
    }
}
