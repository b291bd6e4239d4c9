//! What an attached terminal is shown: the screen, then output from there on, pulled from the session's tail.
//!
//! Like a reading, it asks for nothing before its connection asks for the next frames. It never goes back to the store: who
//! has fallen behind the tail wants to see what stands there now, not what was.

use super::App;
use super::attach::Frame;
use super::no_answer;
use crate::log::TailRead;
use crate::model::{Cursor, Event, KIB, Kind, Record, Seq, Status};
use crate::session::messages::{self, Reassert, Redraw};
use crate::session::{SessionActor, Watcher};
use crate::supervisor::Found;
use crate::wire::{API, ApiError, AttachHello, AttachLine, RunEnd};
use actix::Addr;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::watch;

/// A page of the tail.
const PAGE: usize = 64 * KIB;
/// A frame of output. A connection may take up to 16 of these at once.
const CHUNK: usize = 32 * KIB;

/// What a client wishes.
#[derive(Clone, Copy, Default)]
pub(super) struct Wishes {
    /// How often it has asked for a screen.
    pub(super) redraws: u64,
    /// No output before the next of these.
    pub(super) hold: bool,
}

/// See the module.
pub(super) struct Watching {
    joined: messages::Watching,
    session: Addr<SessionActor>,
    watcher: Arc<Watcher>,
    generation: u64,
    newest: watch::Receiver<Seq>,
    wishes: watch::Receiver<Wishes>,
    /// Screens asked for and given.
    redraws: u64,
    /// What the client was told last.
    leads: bool,
    /// The next byte to be shown.
    next: Cursor,
    page: VecDeque<Record>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Open,
    /// What is shown next is the screen.
    Stale,
    Over,
}

impl Watching {
    pub(super) fn new(
        app: &App,
        found: &Found,
        watcher: Arc<Watcher>,
        joined: messages::Watching,
        wishes: watch::Receiver<Wishes>,
    ) -> Watching {
        Watching {
            session: found.addr.clone(),
            generation: app.facts.generation,
            newest: joined.feed.newest(),
            joined,
            watcher,
            wishes,
            redraws: 0,
            leads: false,
            next: Cursor::default(),
            page: VecDeque::new(),
            state: State::New,
        }
    }

    /// The next frames; nothing when it is over.
    pub(super) async fn next(&mut self) -> Option<Result<Vec<Frame>, ApiError>> {
        let mut out = Vec::new();
        while out.is_empty() && self.state != State::Over {
            if let Err(error) = self.advance(&mut out).await {
                self.state = State::Over;
                return Some(Err(error));
            }
        }
        (!out.is_empty()).then_some(Ok(out))
    }

    async fn advance(&mut self, out: &mut Vec<Frame>) -> Result<(), ApiError> {
        if self.state == State::New {
            return self.greet(out).await;
        }
        let wishes = *self.wishes.borrow_and_update();
        if self.watcher.leads() != self.leads {
            self.leads = self.watcher.leads();
            out.push(Frame::Line(AttachLine::Leads { leads: self.leads }));
        }
        if wishes.redraws != self.redraws {
            self.redraws = wishes.redraws;
            self.state = State::Stale;
        }
        if wishes.hold {
            return self.wait().await;
        }
        if self.state == State::Stale {
            return self.redraw(out).await;
        }
        if self.page.is_empty() {
            self.newest.mark_unchanged();
            match self.joined.feed.read(self.next.seq, PAGE) {
                TailRead::Records(page) => self.page = page.into(),
                TailRead::Behind => self.state = State::Stale,
                TailRead::UpToDate if self.joined.feed.is_closed() => self.state = State::Over,
                TailRead::UpToDate => return self.wait().await,
            }
        }
        self.take_page(out).await
    }

    /// Until there is something to look at.
    async fn wait(&mut self) -> Result<(), ApiError> {
        tokio::select! {
            changed = self.newest.changed() => if changed.is_err() { self.state = State::Over },
            changed = self.wishes.changed() => if changed.is_err() { self.state = State::Over },
        }
        Ok(())
    }

    async fn greet(&mut self, out: &mut Vec<Frame>) -> Result<(), ApiError> {
        let screen = self.screen().await?;
        self.leads = self.watcher.leads();
        self.state = State::Open;
        out.push(Frame::Line(AttachLine::Hello(AttachHello {
            api: API,
            generation: self.generation,
            id: self.joined.id,
            run: self.joined.run,
            size: screen.size,
            read_only: self.watcher.read_only(),
            leads: self.leads,
            typed: self.joined.typed,
        })));
        out.push(Frame::Bytes(screen.bytes));
        Ok(())
    }

    async fn redraw(&mut self, out: &mut Vec<Frame>) -> Result<(), ApiError> {
        let screen = self.screen().await?;
        self.state = State::Open;
        out.push(Frame::Line(AttachLine::Redraw(screen.size)));
        out.push(Frame::Bytes(screen.bytes));
        Ok(())
    }
}
