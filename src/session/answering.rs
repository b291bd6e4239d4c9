//! What the terminal answers a program by itself while no person's terminal is attached: noticed here, worked out by the
//! session's screen, typed between other texts.
//!
//! It must never answer what was asked before this host took over, nor while a text is on its way, nor twice: an answer is
//! recorded before it is typed. Some programs never start without.

use super::actor::SessionActor;
use super::messages::{OpenScreen, Opened, Told};
use super::picture::{Answer, Picture};
use super::screen::{Ask, ScreenActor};
use super::stage::Stage;
use super::view::LogView;
use crate::model::{Event, KIB, MIB, Record, Seq, Step};
use crate::terminal::queries::Queries;
use actix::prelude::*;
use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::io;
use std::time::Duration;

/// Answers that wait to be typed. A program asks a handful; one that doesn't read them gets no more.
const MAX_ANSWERS: usize = 64;

/// A program that waits for an answer writes no more: what it asked is looked at after so long …
const PAUSE: Duration = Duration::from_millis(2);
/// … in which it wrote less than this, bytes. In a flood, of random bytes even, nothing is answered until it ends.
const FLOOD: u64 = 4 * KIB as u64;
/// Who wrote so much after a question, bytes, doesn't wait for the answer.
const FORGOTTEN: u64 = MIB as u64;
/// After so much output that no screen has read, bytes, the screen reads on as soon as the program is quiet, so that the
/// next question, or look, needn't wait for it.
const READ_AHEAD: u64 = 16 * MIB as u64;
/// A program that has written nothing for so long is quiet.
const QUIET: Duration = Duration::from_secs(1);

/// Where answering stands.
#[derive(Default)]
pub(super) struct Answering {
    queries: Queries,
    /// The newest output that may have asked, and how much was written up to it.
    asked: Seq,
    asked_at: u64,
    /// Everything asked up to here is answered, or isn't ours to answer.
    done: Seq,
    /// What was asked after this is for an attached person's terminal to answer.
    attached_at: Option<Seq>,
    /// The screen has been asked, or will be after a pause.
    asking: bool,
    /// How much had been written when the screen was asked last.
    read_at: u64,
    /// The screen will read on as soon as the program is quiet.
    reads_ahead: bool,
    waiting: VecDeque<Answer>,
    /// The rest of an answer that is being typed.
    typing: Bytes,
}

impl Answering {
    /// What was asked up to `seq` is not answered.
    pub(super) fn leave_out(&mut self, seq: Seq) {
        self.done = self.done.max(seq);
    }

    /// Another run, or none.
    pub(super) fn end_run(&mut self, seq: Seq) {
        let Answering { asking, attached_at, read_at, reads_ahead, .. } = *self;
        *self = Answering { done: seq, asking, attached_at, read_at, reads_ahead, ..Answering::default() };
    }

    /// A person's terminal answers from `seq` on. What was asked before still is the host's to answer.
    pub(super) fn hand_over(&mut self, seq: Seq) {
        if self.asked <= self.done {
            self.leave_out(seq);
        }
        self.attached_at.get_or_insert(seq);
    }

    /// No terminal is there any more.
    pub(super) fn take_back(&mut self, seq: Seq) {
        if self.attached_at.take().is_some() {
            self.leave_out(seq);
        }
    }

    /// A session has written so much when it comes to this host.
    pub(super) fn begin_at(&mut self, output: u64) {
        self.read_at = output;
    }

    /// The program has written, `output` bytes in all before.
    pub(super) fn look(&mut self, record: &Record, output: u64) {
        if self.queries.scan(&record.body) {
            (self.asked, self.asked_at) = (record.seq, output);
        }
    }
}

impl SessionActor {
    /// The session's screen, made if it isn't there.
    fn screen(&mut self) -> Addr<ScreenActor> {
        match &self.screen {
            Some(screen) if screen.connected() => screen.clone(),
            _ => {
                let view = LogView::new(self.feed.clone(), self.services.store.clone());
                let screen = ScreenActor::open(&self.services, view, self.sum.run_start, self.sum.size);
                self.screen.insert(screen).clone()
            }
        }
    }

    fn told(&self) -> Told {
        Told { now: self.clock.stamp(), seq: self.sum.seq, live: self.is_live() }
    }

    /// Gets answers for what the program has asked, when it waits for them.
    pub(super) fn answer_queries(&mut self, ctx: &mut Context<Self>) {
        let Stage::Running(_) = self.stage else { return };
        let Answering { asked, asked_at, done, asking, attached_at, .. } = self.answering;
        if asked <= done || asking {
            return;
        }
        let written = self.sum.output;
        let theirs = attached_at.is_some_and(|since| done >= since);
        if theirs || written.saturating_sub(asked_at) > FORGOTTEN {
            return self.answering.leave_out(asked);
        }
        self.answering.asking = true;
        ctx.run_later(PAUSE, move |act, ctx| match act.sum.output.saturating_sub(written) < FLOOD {
            true => act.ask_screen(ctx),
            false => {
                act.answering.asking = false;
                act.answer_queries(ctx);
            }
        });
    }

    fn ask_screen(&mut self, ctx: &mut Context<Self>) {
        self.answering.read_at = self.sum.output;
        let (screen, told, run) = (self.screen(), self.told(), self.sum.run);
        let answers = screen.send(Ask { told, make: Picture::answers });
        ctx.spawn(answers.into_actor(self).map(move |answers, act, ctx| {
            act.answering.asking = false;
            match answers {
                Ok(Ok(answers)) if act.sum.run == run => act.take_answers(answers),
                Ok(Ok(_)) => {}
                Ok(Err(e)) => tracing::warn!(session = %act.meta.name, error = %e, "a query stays unanswered"),
                Err(e) => tracing::warn!(session = %act.meta.name, error = %e, "a query stays unanswered"),
            }
            act.answering.leave_out(told.seq);
            act.pump_typing(ctx);
            act.answer_queries(ctx);
        }));
    }

    /// Much has come that no screen has read: it reads when the program is quiet.
    pub(super) fn read_ahead(&mut self, ctx: &mut Context<Self>) {
        let written = self.sum.output;
        if self.answering.reads_ahead || written - self.answering.read_at < READ_AHEAD {
            return;
        }
        self.answering.reads_ahead = true;
        ctx.run_later(QUIET, move |act, ctx| {
            act.answering.reads_ahead = false;
            match act.sum.output == written {
                true => act.read_now(ctx),
                false => act.read_ahead(ctx),
            }
        });
    }

    fn read_now(&mut self, ctx: &mut Context<Self>) {
        self.answering.read_at = self.sum.output;
        let read = self.screen().send(Ask { told: self.told(), make: |picture| picture.last() });
        ctx.spawn(read.into_actor(self).map(|read, act, _| {
            if let Ok(Err(e)) = read {
                tracing::debug!(session = %act.meta.name, error = %e, "the screen can't read ahead");
            }
        }));
    }

    fn take_answers(&mut self, answers: Vec<Answer>) {
        let Answering { done, waiting, attached_at, .. } = &mut self.answering;
        if let Some(last) = answers.last().map(|answer| answer.of) {
            let ours = |of: Seq| of > *done && attached_at.is_none_or(|since| of <= since);
            waiting.extend(answers.into_iter().filter(|answer| ours(answer.of)));
            waiting.truncate(MAX_ANSWERS);
            *done = last.max(*done);
        }
    }

    /// Types what waits, unless a text is on its way. False when nothing else may be typed now.
    pub(super) fn type_answers(&mut self, ctx: &mut Context<Self>) -> bool {
        loop {
            while !self.answering.typing.is_empty() {
                let rest = self.answering.typing.clone();
                match self.write(&rest) {
                    Ok(n) => self.answering.typing.advance(n),
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                        self.arm_writing(ctx);
                        return false;
                    }
                    Err(_) => self.answering.typing.clear(),
                }
            }
            if self.typist.is_in_a_text() {
                return true;
            }
            let Some(Answer { of, text }) = self.answering.waiting.pop_front() else { return true };
            let event = Event::Typed { of, step: Step::Answer, n: text.len() as u64 };
            if self.put(&event).is_none() {
                self.answering.waiting.push_front(Answer { of, text }); // goes on when room comes
                return false;
            }
            self.answering.typing = text.into();
        }
    }
}

impl Handler<OpenScreen> for SessionActor {
    type Result = MessageResult<OpenScreen>;

    fn handle(&mut self, _: OpenScreen, _: &mut Context<Self>) -> Self::Result {
        MessageResult(Opened { screen: self.screen(), told: self.told() })
    }
}
