//! PTY to ring to feed: the way of every byte of output.
//!
//! Back-pressure is the only brake: a full ring means that the PTY isn't read, until the store has what is in it.

use super::actor::{Io, SessionActor};
use super::stage::Stage;
use crate::model::{Event, KIB, Kind, Record, SpanKind};
use crate::ring::Landed;
use actix::prelude::*;
use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::Interest;

/// A session reads so much in one turn of its thread, then others have theirs: about 1 ms of a flood.
const TURN_BYTES: usize = 64 * KIB;
/// A PTY that nobody holds says so for ever instead of once: it is asked again at this pace, as its program may open it again.
const REOPENED: Duration = Duration::from_millis(250);
/// Shorter times of back-pressure are a flood's normal life and not worth a record.
const WORTH_A_SPAN: Duration = Duration::from_secs(1);

enum Turn {
    More,
    Dry,
    Closed,
    Full,
}

impl SessionActor {
    /// Waits for output, then reads it.
    pub(super) fn arm_reading(&mut self, ctx: &mut Context<Self>) {
        let Some(pty) = self.io.as_ref().and_then(|io| io.pty.clone()) else { return };
        let run = self.io.as_ref().map_or(0, |io| io.run);
        let readable = async move {
            if let Ok(mut guard) = pty.readable().await {
                guard.retain_ready();
            }
        };
        ctx.spawn(readable.into_actor(self).map(move |(), act, ctx| {
            if act.io.as_ref().is_some_and(|io| io.run == run) {
                act.read_a_turn(ctx);
            }
        }));
    }

    fn read_a_turn(&mut self, ctx: &mut Context<Self>) {
        let mut turn = Turn::More;
        let mut taken = Vec::new();
        let mut left = TURN_BYTES;
        while matches!(turn, Turn::More) && left > 0 {
            turn = self.read_once(&mut left, &mut taken);
        }
        self.feed.push_all(taken); // readers and writer are woken once
        self.answer_queries(ctx);
        self.read_ahead(ctx);
        match turn {
            Turn::More | Turn::Dry => self.arm_reading(ctx),
            Turn::Full => {
                if let Some(io) = &mut self.io {
                    io.paused = true;
                }
                self.services.writer.counters().pauses.fetch_add(1, Ordering::Relaxed);
                self.clock.pause();
            }
            Turn::Closed => self.hung_up(ctx),
        }
    }

    fn read_once(&mut self, left: &mut usize, taken: &mut Vec<Record>) -> Turn {
        let at = self.clock.stamp();
        let Some(Io { ring, pty: Some(pty), closed, .. }) = &mut self.io else { return Turn::Closed };
        let landed = pty.try_io(Interest::READABLE, |pty| match ring.land(pty, at)? {
            Landed::Nothing => Err(io::ErrorKind::WouldBlock.into()),
            other => Ok(other),
        });
        match landed {
            Ok(Landed::Output(record)) => {
                #[cfg(debug_assertions)]
                super::failpoint::reached(&record.body);
                *closed = false;
                *left = left.saturating_sub(record.body.len());
                self.take_in(&record);
                taken.push(record);
                Turn::More
            }
            Ok(Landed::Control(_) | Landed::Nothing) => Turn::More,
            Ok(Landed::Full) => Turn::Full,
            Ok(Landed::Closed) => Turn::Closed,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Turn::Dry,
            Err(e) => {
                tracing::warn!(session = %self.meta.name, error = %e, "the terminal can't be read any more");
                Turn::Closed
            }
        }
    }

    /// What was read into the ring, by this actor or before it came.
    pub(super) fn take_in(&mut self, record: &Record) {
        if record.kind == Kind::Output {
            self.services.writer.counters().read_bytes.fetch_add(record.body.len() as u64, Ordering::Relaxed);
            self.modes.scan(&record.body);
            self.answering.look(record, self.sum.output);
            if let Some(io) = &mut self.io {
                io.ring.set_modes(self.modes.pack());
            }
        }
        self.sum.apply(record);
    }

    fn hung_up(&mut self, ctx: &mut Context<Self>) {
        let Some(io) = &mut self.io else { return };
        io.closed = true;
        let run = io.run;
        if self.drained(ctx) {
            return;
        }
        if self.stage == Stage::Idle {
            // its end may be in the ring alone: that is held until the end is on disk
            let durable = self.when_durable(self.sum.seq).into_actor(self);
            ctx.spawn(durable.map(move |kept, act, ctx| {
                if kept.is_ok() {
                    act.let_go(run, ctx);
                }
            }));
            return;
        }
        ctx.run_later(REOPENED, move |act, ctx| {
            // what is over and closed rests
            if act.stage != Stage::Idle && act.io.as_ref().is_some_and(|io| io.run == run && io.closed) {
                act.read_a_turn(ctx);
            }
        });
    }

    /// The ring has room again.
    pub(super) fn go_on_reading(&mut self, ctx: &mut Context<Self>) {
        let Some(io) = &mut self.io else { return };
        if io.ring.is_full_for_output() {
            return;
        }
        io.paused = false;
        self.note_pause();
        self.read_a_turn(ctx);
    }

    /// Time goes on, if it stood while a full ring kept the terminal from being read.
    pub(super) fn note_pause(&mut self) {
        let length = self.clock.go_on();
        if length >= WORTH_A_SPAN {
            self.put_surely(Event::Span { kind: SpanKind::BackPressure, length });
        }
    }
}
