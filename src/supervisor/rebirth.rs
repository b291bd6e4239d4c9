//! A session whose actor panicked: made again from ring and log, as after the death of a host.
//!
//! Only that actor is gone; what it held, the keeper holds, too. Everything it handed to the writer is stored first, then
//! the next actor begins as at a boot. Never without a bound: a defect that comes again at once ends the host on purpose,
//! and the keeper starts the next one.

use super::actor::{Entry, Supervisor};
use super::boot::birth;
use super::shutdown::Why;
use crate::model::{Name, SessionId};
use crate::session::messages::LeaderExited;
use crate::session::{Birth, Found, Services};
use actix::prelude::*;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So many actors may be made again within [`FALLS_WITHIN`]: the next host is a better try than this one.
const FALLS: usize = 3;
const FALLS_WITHIN: Duration = Duration::from_secs(60);

/// A session's actor has panicked.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Fallen {
    pub(super) name: Name,
    pub(super) id: SessionId,
}

/// When actors fell.
#[derive(Default)]
pub(super) struct Falls(VecDeque<Instant>);

impl Falls {
    /// One more, now; false: too many.
    fn add(&mut self, now: Instant) -> bool {
        self.0.retain(|at| now.duration_since(*at) < FALLS_WITHIN);
        self.0.push_back(now);
        self.0.len() <= FALLS
    }
}

impl Handler<Fallen> for Supervisor {
    type Result = ();

    fn handle(&mut self, Fallen { name, id }: Fallen, ctx: &mut Context<Self>) {
        let Some(entry) = self.sessions.get_mut(&name).filter(|e| e.id == id) else { return };
        tracing::error!(session = %name, "its actor panicked; another is made from ring and log");
        entry.fallen = true;
        let entry = entry.clone();
        if !self.falls.add(Instant::now()) {
            let why = format!("{FALLS} actors panicked within a minute, the last one of session {name}");
            return self.shutdown.ask(Why::Broken(why));
        }
        let again = make_again(entry, self.services.clone());
        ctx.spawn(again.into_actor(self).map(move |birth, act, ctx| match birth {
            Ok(Some(birth)) => act.replace(&name, birth, ctx),
            Ok(None) => drop(act.sessions.remove(&name)), // it was just being made, or removed
            Err(e) => act.shutdown.ask(Why::Broken(format!("session {name} can't be made again: {e}"))),
        }));
    }
}

async fn make_again(entry: Entry, services: Services) -> Result<Option<Birth>, String> {
    let last = *entry.feed.newest().borrow();
    services.writer.durable_upto(&entry.feed, last).await.map_err(|e| e.to_string())?;
    entry.feed.close(); // its readers go on with the next actor's
    let held = services.keeper.held(entry.id).await.map_err(|e| e.to_string())?.map(Found::at_rest);
    let (store, meta) = (services.store, services.meta);
    let born = tokio::task::spawn_blocking(move || match meta.session(entry.id)?.filter(|known| !known.removed) {
        Some(known) => birth(&*store, &meta, known, held, None, true).map(Some),
        None => Ok(None),
    });
    let Some((birth, turns)) = born.await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())? else {
        return Ok(None);
    };
    services.writer.commit(turns).await.map_err(|e| e.to_string())?;
    Ok(Some(birth))
}

impl Supervisor {
    fn replace(&mut self, name: &Name, birth: Birth, ctx: &mut Context<Self>) {
        let missed = self.sessions.get(name).and_then(|entry| entry.missed);
        let entry = self.place(birth);
        if let Some(exit) = missed {
            self.tell_exit(entry.id, entry.addr.send(exit), ctx);
        }
        self.sessions.insert(name.clone(), entry);
    }

    /// The keeper reaped a leader: its session hears of it, or the next actor of it does.
    pub(super) fn hear_exit(&mut self, id: SessionId, exit: LeaderExited, ctx: &mut Context<Self>) {
        let Some(entry) = self.sessions.values_mut().find(|e| e.id == id) else { return };
        if entry.fallen {
            entry.missed = Some(exit);
        } else {
            let told = entry.addr.send(exit);
            self.tell_exit(id, told, ctx);
        }
    }

    fn tell_exit(
        &self,
        id: SessionId,
        told: impl Future<Output = Result<(), MailboxError>> + 'static,
        ctx: &mut Context<Self>,
    ) {
        ctx.spawn(told.into_actor(self).map(move |told, _, _| {
            if told.is_err() {
                tracing::warn!(%id, "a session's actor is gone; its exit is kept by the keeper");
            }
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_falls_within_a_minute_are_too_many() {
        let (mut falls, start) = (Falls::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let answers: Vec<bool> = [0, 20, 40, 59, 61, 121, 122].map(|s| falls.add(at(s))).into();
        assert_eq!(answers, [true, true, true, false, false, true, true]);
    }
}
