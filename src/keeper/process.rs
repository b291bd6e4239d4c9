//! The keeper's loop: one thread, one poll. Starts the host and every session, reaps, hands over.
//!
//! Nothing in here may block: not a host that doesn't read, not a child that doesn't become its program. Data comes from the
//! host's messages, from such children, signals and pidfds; it goes into [`Sessions`] and, as messages, to the host. It knows
//! no log, reads no PTY, and keeps what it holds whatever the host does.

use super::{
    channel::timespec,
    host::{Backoff, Host, Item, Phase},
    program::Program,
    protocol::KeeperSays,
    reexec::{self, Change},
    revive,
    serve::OUTBOX,
    sessions::Sessions,
    setup::{become_keeper, raise_files},
    signals::{Heard, Signals},
    status,
};
use crate::model::SessionId;
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::{WaitOptions, wait},
};
use std::{
    ffi::OsString,
    fs::File,
    io::{self, Write},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    process::ExitCode,
    time::{Duration, Instant},
};

/// The hidden verb that runs [`main`].
pub const VERB: &str = "__keeper";

/// The pause after an error of the loop itself, so that it can't burn a processor.
const TROUBLE_PAUSE: Duration = Duration::from_millis(100);

/// What a keeper is started with.
#[derive(Debug)]
pub struct Options {
    /// STATE/lock with the caller's flock on it. The same open description is handed to the host.
    pub lock: File,
    /// A pipe to a waiting command: one byte `R` when the host is ready, else the text of the error.
    pub ready: Option<OwnedFd>,
    /// The host's arguments, from its verb on.
    pub host_args: Vec<OsString>,
    /// True: stay in the caller's session and process group, so that Ctrl+C ends the host in order.
    pub foreground: bool,
}

/// Keeps sessions until the host has said `bye` or can't be started. Blocks; the caller is the keeper from then on, must
/// have no other thread, and unless in the foreground loses every descriptor but stdio and what is in the options.
pub fn run(options: Options) -> ExitCode {
    let Options { lock, ready, host_args, foreground } = options;
    let kept = [lock.as_raw_fd()].into_iter().chain(ready.as_ref().map(AsRawFd::as_raw_fd)).collect::<Vec<_>>();
    match become_keeper((!foreground).then_some(&kept)) {
        Ok(signals) => Keeper::new(lock.into(), ready, host_args, raise_files(), signals).run(),
        Err(e) => {
            tell(ready, &format!("cannot become the keeper: {e}"));
            ExitCode::FAILURE
        }
    }
}

/// What a keeper is started with by other keepers and hosts; `args` are those after the verb. `--revive FD`: by the host in
/// place of a dead one. `--inherit FD`: by itself, with its state. `--check`: can the state on standard input be read?
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    let words: Vec<&str> = args.iter().filter_map(|a| a.to_str()).collect();
    let become_one = |kept| become_keeper(kept).map_err(|e| e.to_string());
    let started = match words[..] {
        ["--revive", super::host::FD] => become_one(Some(&[])).and_then(revive::receive).map(Some),
        [reexec::INHERIT, state, ..] => become_one(None).and_then(|signals| reexec::inherit(state, signals)).map(Some),
        [reexec::CHECK] => reexec::check().map(|()| None),
        _ => Err("this verb is for the host alone: use `termalive host`".to_owned()),
    };
    match started {
        Ok(Some(keeper)) => keeper.run(),
        Ok(None) => ExitCode::SUCCESS,
        Err(why) => {
            line(&why);
            ExitCode::FAILURE
        }
    }
}

/// One line for people. There may be nobody: an error is no reason to end.
pub(super) fn line(text: &str) {
    let _ = writeln!(io::stderr(), "termalive keeper: {text}");
}

/// The end of a start, to whoever waits for it.
fn tell(ready: Option<OwnedFd>, text: &str) {
    if let Some(pipe) = ready {
        let _ = File::from(pipe).write_all(text.as_bytes());
    }
}

/// Which descriptor has something to say.
#[derive(Clone, Copy, Debug)]
enum Source {
    Signals,
    Host,
    HostPidfd,
    Shim(SessionId),
    Stranger(SessionId),
}

#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) lock: OwnedFd,
    ready: Option<OwnedFd>,
    pub(super) host_args: Vec<OsString>,
    pub(super) program: Program,
    /// The soft limit of open files that programs get.
    pub(super) files: Option<u64>,
    signals: Signals,
    pub(super) sessions: Sessions,
    pub(super) generation: u64,
    pub(super) host: Option<Host>,
    /// When the next host is due; only without one.
    pub(super) start_at: Option<Instant>,
    pub(super) backoff: Backoff,
    /// A host has been ready: from then on one is started again.
    pub(super) served: bool,
    pub(super) shutdown: bool,
    /// The host is killed because another is wanted.
    pub(super) replace: bool,
    /// Since when no host serves.
    pub(super) away_since: Option<Instant>,
    /// This process is to become another program.
    pub(super) change: Option<Change>,
}

impl Keeper {
    pub(super) fn new(
        lock: OwnedFd,
        ready: Option<OwnedFd>,
        host_args: Vec<OsString>,
        files: Option<u64>,
        signals: Signals,
    ) -> Keeper {
        Keeper {
            lock,
            ready,
            host_args,
            program: Program::Own,
            files,
            signals,
            sessions: Sessions::default(),
            generation: 0,
            host: None,
            start_at: None,
            backoff: Backoff::default(),
            served: false,
            shutdown: false,
            replace: false,
            away_since: None,
            change: None,
        }
    }

    fn run(mut self) -> ExitCode {
        if self.host.is_none() {
            self.start_at = Some(Instant::now());
        }
        if let Some(code) = self.reap() {
            return code; // what ended while this process became another program
        }
        loop {
            match self.turn() {
                Ok(None) => {}
                Ok(Some(code)) => return code,
                Err(e) => {
                    line(&format!("{e}"));
                    std::thread::sleep(TROUBLE_PAUSE);
                }
            }
        }
    }

    fn turn(&mut self) -> io::Result<Option<ExitCode>> {
        if let Some(code) = self.do_what_is_due() {
            return Ok(Some(code));
        }
        self.send();
        self.go_on_changing();
        self.send(); // why it didn't
        for source in self.wait()? {
            let ended = match source {
                Source::Signals => self.hear_signals()?,
                Source::Host => {
                    self.listen_to_host()?;
                    None
                }
                Source::HostPidfd => self.host_ended(None),
                Source::Shim(id) => {
                    let news = self.sessions.listen(id);
                    self.spread(news);
                    None
                }
                Source::Stranger(id) => {
                    let news = self.sessions.stranger_ended(id);
                    self.spread(news);
                    None
                }
            };
            if ended.is_some() {
                return Ok(ended);
            }
        }
        Ok(None)
    }

    fn do_what_is_due(&mut self) -> Option<ExitCode> {
        let now = Instant::now();
        if self.host.is_none() && self.start_at.is_some_and(|at| at <= now) {
            if self.shutdown && self.sessions.is_empty() {
                return Some(ExitCode::SUCCESS);
            }
            self.generation += 1;
            match Host::start(&self.program.path(), &self.host_args) {
                Ok(host) => (self.host, self.start_at) = (Some(host), None),
                Err(e) => return self.host_failed(Duration::ZERO, &format!("cannot start the host: {e}")),
            }
        }
        self.watch_host(now);
        let host = self.host.as_mut()?;
        host.retry_at = host.retry_at.filter(|at| *at > now);
        if host.kill_at.is_some_and(|at| at <= now) {
            host.kill_at = None;
            line("the host doesn't end by itself: killed");
            host.kill();
        }
        if let Phase::Greeted(version, until) = host.phase
            && (self.sessions.none_starting() || until <= now)
        {
            self.hand_over(version);
        }
        None
    }

    fn hand_over(&mut self, protocol: u32) {
        // What isn't executed by now never will be: the new host knows it as a start that failed.
        self.sessions.abandon_starting();
        let Some(host) = &mut self.host else { return };
        let keeper_pid = std::process::id();
        (host.phase, host.protocol) = (Phase::Served, protocol);
        let (generation, files, reverted) = (self.generation, self.files, self.program.reverted());
        let away_ms = self.away_since.and_then(|since| u64::try_from(since.elapsed().as_millis()).ok());
        host.say(KeeperSays::Welcome { protocol, generation, keeper_pid, files, away_ms, reverted });
        host.outbox.extend(self.sessions.ids().map(Item::Held));
        host.say(KeeperSays::End);
        if self.shutdown {
            host.say(KeeperSays::Shutdown);
        }
    }

    /// When something will be due.
    fn deadline(&self) -> Option<Instant> {
        let host = self.host.as_ref();
        let greeted = host.and_then(|h| if let Phase::Greeted(_, until) = h.phase { Some(until) } else { None });
        let change = self.change.as_ref().map(|change| change.until);
        [self.start_at, greeted, host.and_then(|h| h.retry_at), host.and_then(|h| h.kill_at), self.silent_at(), change]
            .into_iter()
            .flatten()
            .min()
    }

    fn wait(&self) -> io::Result<Vec<Source>> {
        let mut sources = vec![(Source::Signals, self.signals.as_fd(), PollFlags::IN)];
        if let Some(host) = &self.host {
            if let Some(channel) = &host.channel {
                let mut flags = PollFlags::empty();
                flags.set(PollFlags::IN, host.outbox.len() < OUTBOX && !self.is_about_to_change());
                flags.set(PollFlags::OUT, host.full);
                sources.push((Source::Host, channel.as_fd(), flags));
            }
            if !host.child {
                sources.push((Source::HostPidfd, host.pidfd.as_fd(), PollFlags::IN));
            }
        }
        sources.extend(self.sessions.pipes().map(|(id, fd)| (Source::Shim(id), fd.as_fd(), PollFlags::IN)));
        sources.extend(self.sessions.strangers().map(|(id, fd)| (Source::Stranger(id), fd.as_fd(), PollFlags::IN)));
        let mut fds: Vec<PollFd<'_>> =
            sources.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        let left = self.deadline().map(|at| timespec(at.saturating_duration_since(Instant::now())));
        match poll(&mut fds, left.as_ref()) {
            Err(Errno::INTR) => Ok(vec![]),
            Err(e) => Err(e.into()),
            Ok(_) => {
                Ok(fds.iter().zip(&sources).filter(|(fd, _)| !fd.revents().is_empty()).map(|(_, s)| s.0).collect())
            }
        }
    }

    fn hear_signals(&mut self) -> io::Result<Option<ExitCode>> {
        let mut ended = None;
        while let Some(heard) = self.signals.next()? {
            match heard {
                Heard::Child => ended = self.reap().or(ended),
                Heard::End => self.shut_down(),
                Heard::Replace => self.replace_host(),
            }
        }
        Ok(ended)
    }

    /// Waits for every child there is: leaders, the host, and orphans nobody asks about.
    fn reap(&mut self) -> Option<ExitCode> {
        let mut ended = None;
        loop {
            let (pid, status) = match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => (pid.as_raw_nonzero().get().cast_unsigned(), status::of_wait(status)),
                Err(Errno::INTR) => continue,
                _ => return ended,
            };
            if self.is_checker(pid) {
                self.checked(status);
                continue;
            }
            if self.host.as_ref().is_some_and(|h| h.child && h.process.pid == pid) {
                ended = self.host_ended(Some(status)).or(ended);
                continue;
            }
            let news = self.sessions.ended(pid, status);
            self.spread(news);
        }
    }

    fn shut_down(&mut self) {
        if std::mem::replace(&mut self.shutdown, true) {
            line("already ending; sessions are given their time");
            return;
        }
        match &mut self.host {
            Some(host) if host.phase == Phase::Served => host.say(KeeperSays::Shutdown),
            Some(_) => {}                                 // it is told with the hand-over
            None => self.start_at = Some(Instant::now()), // sessions are ended by a host, in order and on record
        }
    }

    /// Says to whoever waits for the start how it ended; once.
    pub(super) fn tell(&mut self, text: &str) {
        tell(self.ready.take(), text);
    }

    pub(super) fn replace_host(&mut self) {
        match &self.host {
            Some(host) => {
                self.replace = true;
                self.away_since = Some(Instant::now());
                host.kill();
            }
            None => self.start_at = Some(Instant::now()),
        }
    }
}
