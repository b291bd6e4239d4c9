//! The keeper's side of the link: what the host says and what it is told, up to its death.

use super::{
    channel::{IN_FLIGHT_RETRY, Received, Sent, exactly},
    host::{Host, Item, Phase},
    notify,
    process::{Keeper, line},
    protocol::{HostSays, KeeperSays, PROTOCOL, shorten},
    sessions::News,
};
use crate::model::Status;
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    process::ExitCode,
    time::{Duration, Instant},
};

/// How long a hand-over waits for runs that are being started; one takes a few milliseconds.
const STARTING_TIME: Duration = Duration::from_millis(500);
/// How long a host that hung up may take to end.
const HUNG_UP_TIME: Duration = Duration::from_secs(5);
/// How long a host may take to end after its bye.
const BYE_TIME: Duration = Duration::from_secs(10);
/// A host that was heard and then is silent for so long is stopped, or hangs: five of its signs of life are missing.
const SILENCE: Duration = Duration::from_secs(10);
/// Who looks so much too late was stopped itself, perhaps with the host, whose signs are yet to come.
const LATE: Duration = Duration::from_secs(1);
/// Messages to the host from which on nothing more is read from it.
pub(super) const OUTBOX: usize = 64;

impl Keeper {
    /// Reads what the host has said, as long as there is room for answers.
    pub(super) fn listen_to_host(&mut self) -> io::Result<()> {
        while !self.is_about_to_change() {
            let Some(host) = self.host.as_mut().filter(|h| h.outbox.len() < OUTBOX) else { return Ok(()) };
            let Some(channel) = &host.channel else { return Ok(()) };
            match channel.receive()? {
                Received::Message(message, fds) => self.obey(message, fds),
                Received::Strange(why) => host.say(KeeperSays::Refused { why }),
                Received::Nothing => return Ok(()),
                Received::Closed => {
                    host.hang_up();
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn obey(&mut self, message: HostSays, fds: Vec<OwnedFd>) {
        let Some(host) = &mut self.host else { return };
        let refuse = |host: &mut Host, why: &str| host.say(KeeperSays::Refused { why: why.to_owned() });
        match message {
            HostSays::Hello { protocol: 0 } => refuse(host, "protocol 0 does not exist"),
            HostSays::Hello { protocol } if host.phase == Phase::Silent => {
                host.phase = Phase::Greeted(protocol.min(PROTOCOL), Instant::now() + STARTING_TIME);
            }
            HostSays::Spawn { id, run, size, waits } if host.phase == Phase::Served => {
                let fds = match waits {
                    true => exactly(fds).map(|[spec, ring, opaque, word]| ([spec, ring, opaque], Some(word))),
                    false => exactly(fds).map(|fds| (fds, None)),
                };
                let news = match fds {
                    Ok((fds, word)) => self.sessions.spawn((id, run, size), fds, word, self.files),
                    Err(why) => vec![News::Refused { id, run, why }],
                };
                self.spread(news);
            }
            HostSays::Adopted { generation } if generation != self.generation => refuse(host, "another generation"),
            HostSays::Adopted { .. } => {}
            HostSays::Ready => {
                host.ready = true;
                if !std::mem::replace(&mut self.served, true)
                    && let Err(e) = notify::ready(std::process::id())
                {
                    line(&format!("cannot tell the init system that the host is up: {e}"));
                }
                self.away_since = None;
                self.program.served();
                self.tell("R");
            }
            HostSays::Ping => {
                host.heard = Some(Instant::now());
                host.say(KeeperSays::Pong);
            }
            HostSays::Reexec { program } => self.begin_change(program),
            HostSays::Replace => self.replace_host(),
            HostSays::Fatal { .. } | HostSays::Bye | HostSays::Forget { .. } | HostSays::Drop { .. } => {
                self.note(message)
            }
            HostSays::Hello { .. } | HostSays::Spawn { .. } => refuse(host, "not at this point: hello first, and once"),
            HostSays::Revive { .. } | HostSays::Held(_) | HostSays::End => {
                refuse(host, "this keeper has its own sessions");
            }
        }
    }

    /// When the host will have been silent for too long.
    pub(super) fn silent_at(&self) -> Option<Instant> {
        if self.is_about_to_change() {
            return None; // nothing is read meanwhile
        }
        Some(self.host.as_ref()?.heard? + SILENCE)
    }

    /// Ends a host that gives no sign of life: it reads no terminal either, and another one does.
    pub(super) fn watch_host(&mut self, now: Instant) {
        if self.silent_at().is_none_or(|at| now < at) {
            return;
        }
        if let Err(e) = self.listen_to_host() {
            line(&format!("cannot hear the host: {e}"));
        }
        let (Some(at), Some(host)) = (self.silent_at(), &mut self.host) else { return };
        if now >= at + LATE {
            host.heard = Some(now);
        } else if now >= at {
            host.heard = None;
            line(&format!("the host has given no sign of life for {} s: killed", SILENCE.as_secs()));
            host.kill();
        }
    }

    /// What also counts when it is found after the host's death.
    fn note(&mut self, message: HostSays) {
        match (message, &mut self.host) {
            (HostSays::Forget { id, run }, _) => self.sessions.forget(id, run),
            (HostSays::Drop { id }, _) => self.sessions.drop_session(id),
            (HostSays::Fatal { message }, Some(host)) => host.fatal = Some(message),
            (HostSays::Bye, Some(host)) => {
                host.bye = true;
                host.kill_at = Some(Instant::now() + BYE_TIME);
            }
            _ => {}
        }
    }

    /// Tells the host what is new, if it hears news already.
    pub(super) fn spread(&mut self, news: Vec<News>) {
        let Some(host) = self.host.as_mut().filter(|h| h.phase == Phase::Served) else { return };
        host.outbox.extend(news.into_iter().map(|n| match n {
            News::Waiting { id, run } => Item::Waiting(id, run),
            News::Spawned { id, run } => Item::Spawned(id, run),
            News::Exited { id, run } => Item::Exited(id, run),
            News::Failed { id, run, errno, step } => Item::Say(KeeperSays::SpawnFailed { id, run, errno, step }),
            News::Refused { id, run, why } => Item::Say(KeeperSays::SpawnRefused { id, run, why }),
        }));
    }

    /// Sends what there is room for.
    pub(super) fn send(&mut self) {
        let Some(host) = &mut self.host else { return };
        host.full = false;
        while let (Some(item), Some(channel), None) = (host.outbox.front(), &host.channel, host.retry_at) {
            let lock = self.lock.as_fd();
            let session = |id| self.sessions.get(id);
            let message: Option<(KeeperSays, Vec<BorrowedFd<'_>>)> = match item {
                Item::Say(m @ KeeperSays::Welcome { .. }) => Some((m.clone(), vec![lock])),
                Item::Say(m) => Some((m.clone(), vec![])),
                Item::Held(id) => session(*id).map(|s| {
                    let fds = [&s.master, &s.ring, &s.opaque, &s.pidfd].map(AsFd::as_fd);
                    (KeeperSays::Held(s.holding(*id)), fds.into())
                }),
                Item::Waiting(id, run) => self
                    .sessions
                    .waiting(*id, *run)
                    .map(|(process, fds)| (KeeperSays::Waiting { id: *id, run: *run, process }, fds.into())),
                Item::Spawned(id, run) => session(*id).filter(|s| s.run == *run).map(|s| {
                    let message = KeeperSays::Spawned { id: *id, run: *run, process: s.process };
                    (message, vec![s.master.as_fd(), s.pidfd.as_fd()])
                }),
                Item::Exited(id, run) => session(*id)
                    .filter(|s| s.run == *run)
                    .and_then(|s| Some((KeeperSays::Exited { id: *id, run: *run, status: s.exit? }, vec![]))),
            };
            let sent = message.map_or(Ok(Sent::Done), |(message, fds)| channel.send(&message, &fds));
            match sent {
                Ok(Sent::Done) => {}
                Ok(Sent::Full) => return host.full = true,
                Ok(Sent::InFlight) => return host.retry_at = Some(Instant::now() + IN_FLIGHT_RETRY),
                Ok(Sent::Closed) => return host.hang_up(),
                Err(e) => line(&format!("cannot tell the host {item:?}: {e}")),
            }
            host.outbox.pop_front();
        }
    }

    /// The host is gone; its last messages may still be there.
    pub(super) fn host_ended(&mut self, status: Option<Status>) -> Option<ExitCode> {
        while let Some(channel) = self.host.as_ref().and_then(|h| h.channel.as_ref())
            && let Ok(Received::Message(message, _)) = channel.receive()
        {
            match message {
                HostSays::Ready => self.obey(HostSays::Ready, vec![]),
                other => self.note(other),
            }
        }
        let host = self.host.take()?;
        self.abandon_change();
        self.away_since.get_or_insert_with(Instant::now);
        if host.bye || (self.shutdown && self.sessions.is_empty()) {
            return Some(ExitCode::SUCCESS);
        }
        let how = match status {
            _ if self.replace => "the host is replaced".to_owned(),
            Some(Status::Code(code)) => format!("the host exited with {code}"),
            Some(Status::Signal(signal)) => format!("the host was killed by signal {signal}"),
            _ => "the host ended".to_owned(),
        };
        // Killed from outside while it served: no defect of its own that would come again at once, so nobody waits.
        let struck = matches!(status, Some(Status::Signal(libc::SIGKILL)));
        let life = match host.ready {
            true if struck => Duration::MAX,
            true => host.since.elapsed(),
            false => Duration::ZERO,
        };
        self.host_failed(life, &host.fatal.unwrap_or(how))
    }

    /// Decides what follows a host's death, or its failed start.
    pub(super) fn host_failed(&mut self, life: Duration, why: &str) -> Option<ExitCode> {
        let held = !self.sessions.is_empty();
        if !self.served && !held {
            line(why);
            self.tell(&shorten(why));
            return Some(ExitCode::FAILURE);
        }
        let reverted = life.is_zero() && self.program.failed(why);
        let wanted = (std::mem::take(&mut self.replace) || reverted).then_some(Duration::ZERO);
        let needed = held && !self.shutdown; // one that can't even end them isn't waited for
        match wanted.or_else(|| self.backoff.after(life, needed)) {
            Some(delay) => {
                line(&format!("{why}; host {} starts in {} ms", self.generation + 1, delay.as_millis()));
                self.start_at = Some(Instant::now() + delay);
                None
            }
            None => {
                line(&format!("{why}; no host stays alive: giving up"));
                self.sessions.kill_all(); // there are some only when they were to end anyway
                Some(ExitCode::FAILURE)
            }
        }
    }
}

impl Host {
    /// It doesn't listen any more, so another must come; it may end by itself first.
    fn hang_up(&mut self) {
        self.channel = None;
        self.outbox.clear();
        self.full = false;
        self.kill_at = self.kill_at.or(Some(Instant::now() + HUNG_UP_TIME));
    }
}
