//! What an attached terminal is shown: the screen, then output from there on, pulled from the session's tail.
//!
//! Like a reading, it asks for nothing before its connection asks for the next frames. It never goes back to the store: who
//! has fallen behind the tail wants to see what stands there now, not what was.

use super::App;
use super::attach::Frame;
use super::no_answer;
use crate::log::TailRead;
use crate::model::{Cursor, Event, KIB, Kind, Record, Seq, Status};
use crate::session::messages::{self, Describe, Reassert, Snapshot};
use crate::session::screen::redraw;
use crate::session::{Redrawn, SessionActor, Watcher};
use crate::supervisor::Found;
use crate::wire::{API, ApiError, AttachHello, AttachLine, RunEnd};
use actix::Addr;
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
        out.push(Frame::Bytes(screen.bytes.into()));
        self.catch_up(out).await
    }

    async fn redraw(&mut self, out: &mut Vec<Frame>) -> Result<(), ApiError> {
        let screen = self.screen().await?;
        self.state = State::Open;
        out.push(Frame::Line(AttachLine::Redraw(screen.size)));
        out.push(Frame::Bytes(screen.bytes.into()));
        self.catch_up(out).await
    }

    /// The screen as it stands; what is shown next comes after it.
    async fn screen(&mut self) -> Result<Redrawn, ApiError> {
        let screen = redraw(&self.session).await?;
        self.next = screen.next;
        self.page.clear();
        Ok(screen)
    }

    /// What happened in the part of the log that was left out for a screen.
    async fn catch_up(&mut self, out: &mut Vec<Frame>) -> Result<(), ApiError> {
        self.session.send(Reassert(self.watcher.clone())).await.map_err(no_answer)?;
        let Snapshot { info, summary, live, .. } = self.session.send(Describe).await.map_err(no_answer)?;
        if !live && summary.seq < self.next.seq {
            let end = RunEnd { run: info.run, exit_code: info.exit_code, signal: info.signal };
            out.push(Frame::Line(AttachLine::End(end)));
            self.state = State::Over;
        }
        Ok(())
    }

    async fn take_page(&mut self, out: &mut Vec<Frame>) -> Result<(), ApiError> {
        let mut shown = Vec::new();
        while shown.len() < CHUNK
            && let Some(record) = self.page.pop_front()
        {
            let skip = if record.seq == self.next.seq { self.next.byte as usize } else { 0 };
            self.next = Cursor::at(record.seq.next());
            if record.kind == Kind::Output {
                shown.extend_from_slice(record.body.get(skip..).unwrap_or_default());
                continue;
            }
            show(&mut shown, out);
            self.event(&record, out).await?;
            if self.state != State::Open {
                return Ok(());
            }
        }
        show(&mut shown, out);
        Ok(())
    }

    /// What isn't output and matters to who looks.
    async fn event(&mut self, record: &Record, out: &mut Vec<Frame>) -> Result<(), ApiError> {
        match record.event() {
            Ok(Event::Resize(size)) => {
                out.push(Frame::Line(AttachLine::Size(size)));
                self.state = State::Stale;
            }
            Ok(Event::Starting { size, .. }) => {
                out.push(Frame::Line(AttachLine::Size(size)));
                self.state = State::Stale;
            }
            // a run begins with the size it was made with
            Ok(Event::Started { .. }) => self.session.send(Reassert(self.watcher.clone())).await.map_err(no_answer)?,
            Ok(Event::Exited { run, status, last }) => {
                let end = run_end(run, status);
                self.state = if last { State::Over } else { self.state };
                out.push(Frame::Line(if last { AttachLine::End(end) } else { AttachLine::Restarting(end) }));
            }
            _ => {} // of a newer version, or nobody's business here
        }
        Ok(())
    }
}

fn show(shown: &mut Vec<u8>, out: &mut Vec<Frame>) {
    if !shown.is_empty() {
        out.push(Frame::Bytes(std::mem::take(shown).into()));
    }
}

fn run_end(run: u32, status: Status) -> RunEnd {
    match status {
        Status::Code(code) => RunEnd { run, exit_code: Some(code), signal: None },
        Status::Signal(signal) => RunEnd { run, exit_code: None, signal: Some(signal) },
        Status::ExecFailed(_) | Status::Unknown => RunEnd { run, exit_code: None, signal: None },
    }
}
