//! Who is attached: what attached people type, and whose terminal the session's size follows.
//!
//! A client is a [`Watcher`] that its connection holds; it is gone when that is dropped, at the latest.
//! The session takes the size of the client that typed last, and of the first that attaches. Data comes from
//! `server::attach`, goes to `typing` and to the terminal.

use super::actor::SessionActor;
use super::messages::{Attach, Gone, Keystrokes, Reassert, Watching};
use crate::model::{Key, Size};
use crate::wire::ApiError;
use actix::prelude::*;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};

/// An attached client, as long as its connection holds it.
#[derive(Debug)]
pub struct Watcher {
    read_only: bool,
    /// Columns and rows of its terminal, 16 bits each; 0: it said none.
    size: AtomicU32,
    /// It typed last, or came first.
    leads: AtomicBool,
}

impl Watcher {
    /// With the size of its terminal.
    pub fn new(read_only: bool, size: Option<Size>) -> Arc<Watcher> {
        Arc::new(Watcher { read_only, size: AtomicU32::new(size.map_or(0, pack)), leads: AtomicBool::new(false) })
    }

    /// Its terminal has another size.
    pub fn resized(&self, size: Size) {
        self.size.store(pack(size), Ordering::Relaxed);
    }

    /// True when it types nothing.
    pub fn read_only(&self) -> bool {
        self.read_only
    }

    /// True for the one whose size the session has, and whose terminal answers what the program asks.
    pub fn leads(&self) -> bool {
        self.leads.load(Ordering::Relaxed)
    }

    fn size(&self) -> Option<Size> {
        let packed = self.size.load(Ordering::Relaxed);
        (packed != 0).then_some(Size { cols: (packed >> 16) as u16, rows: packed as u16 })
    }
}

fn pack(size: Size) -> u32 {
    u32::from(size.cols) << 16 | u32::from(size.rows)
}

/// The clients of one session. Bounded by the host's connections.
#[derive(Default)]
pub(super) struct Attached {
    watchers: Vec<Weak<Watcher>>,
    /// Who typed last, or came first.
    leader: Weak<Watcher>,
}

impl Attached {
    /// How many there are.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.watchers.iter().filter(|w| w.strong_count() > 0).count()).unwrap_or(u32::MAX)
    }

    /// True when a terminal is there that answers what the program asks.
    fn somebody_answers(&self) -> bool {
        self.leader.strong_count() > 0
    }

    fn join(&mut self, watcher: &Arc<Watcher>) {
        self.watchers.retain(|w| w.strong_count() > 0);
        self.watchers.push(Arc::downgrade(watcher));
        self.elect();
    }

    fn leave(&mut self, watcher: &Arc<Watcher>) {
        let gone = Arc::downgrade(watcher);
        self.watchers.retain(|w| !w.ptr_eq(&gone));
        if self.leader.ptr_eq(&gone) {
            self.leader = Weak::new();
        }
        self.elect();
    }

    /// Where the leader has gone, the oldest of those that type leads.
    fn elect(&mut self) {
        if self.leader.strong_count() == 0
            && let Some(next) = self.watchers.iter().filter_map(Weak::upgrade).find(|w| !w.read_only)
        {
            self.lead(&next);
        }
    }

    fn lead(&mut self, watcher: &Arc<Watcher>) {
        if let Some(before) = self.leader.upgrade() {
            before.leads.store(false, Ordering::Relaxed);
        }
        watcher.leads.store(true, Ordering::Relaxed);
        self.leader = Arc::downgrade(watcher);
    }
}

impl Handler<Attach> for SessionActor {
    type Result = Result<Watching, ApiError>;

    fn handle(&mut self, Attach { watcher, client }: Attach, _: &mut Context<Self>) -> Self::Result {
        if !self.is_live() {
            return Err(self.not_running());
        }
        self.attached.join(&watcher);
        if self.attached.somebody_answers() {
            self.answering.hand_over(self.sum.seq);
        }
        self.follow_leader(&watcher);
        let typed = self.sum.keystrokes_of(&client);
        Ok(Watching { id: self.meta.id, run: self.sum.run, typed, feed: self.feed.clone() })
    }
}

impl Handler<Reassert> for SessionActor {
    type Result = ();

    fn handle(&mut self, Reassert(watcher): Reassert, _: &mut Context<Self>) {
        self.follow_leader(&watcher);
    }
}

impl Handler<Gone> for SessionActor {
    type Result = ();

    fn handle(&mut self, Gone(watcher): Gone, _: &mut Context<Self>) {
        self.attached.leave(&watcher);
        if !self.attached.somebody_answers() {
            self.answering.take_back(self.sum.seq);
        }
    }
}

impl Handler<Keystrokes> for SessionActor {
    type Result = ResponseFuture<bool>;

    fn handle(&mut self, msg: Keystrokes, ctx: &mut Context<Self>) -> Self::Result {
        let Keystrokes { watcher, client, upto, keys } = msg;
        self.attached.lead(&watcher);
        self.follow_leader(&watcher);
        let answer = self.type_keystrokes(keys, Key::keystrokes(&client, upto), ctx);
        Box::pin(async move {
            match answer {
                Ok(answer) => matches!(answer.await, Ok(Ok(_))),
                Err(_) => false,
            }
        })
    }
}

impl SessionActor {
    /// The session's terminal gets the size of this client's, if it is the one that leads.
    fn follow_leader(&mut self, watcher: &Arc<Watcher>) {
        let Some(size) = watcher.size().filter(|_| watcher.leads()) else { return };
        if size != self.sum.size
            && let Err(error) = self.resize(size)
        {
            tracing::debug!(session = %self.meta.name, %error, "it keeps its size"); // between two runs
        }
    }
}
