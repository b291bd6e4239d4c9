//! What the terminal answers a program by itself while no person's terminal is attached: noticed here, worked out by the
//! session's screen, typed between other texts.
//!
//! It must never answer what was asked before this host took over, nor while a text is on its way, nor twice: an answer is
//! recorded before it is typed. Some programs never start without.

use super::actor::SessionActor;
use super::messages::{Attached, OpenScreen, Opened, Told};
use super::picture::{Answer, Picture};
use super::screen::{Ask, ScreenActor};
use super::stage::Stage;
use super::view::LogView;
use crate::model::{Event, Record, Seq, Step};
use crate::terminal::queries::Queries;
use actix::prelude::*;
use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::io;

/// Answers that wait to be typed. A program asks a handful; one that doesn't read them gets no more.
const MAX_ANSWERS: usize = 64;

/// Where answering stands.
#[derive(Default)]
pub(super) struct Answering {
    queries: Queries,
    /// The newest output that may have asked.
    asked: Seq,
    /// Everything asked up to here is answered, or isn't ours to answer.
    done: Seq,
    /// The screen has been asked.
    asking: bool,
    waiting: VecDeque<Answer>,
    /// The rest of an answer that is being typed.
    typing: Bytes,
}

/// Terminals of people.
#[derive(Default)]
pub(super) struct Attachments {
    pub(super) all: u32,
    /// Those that type, and so answer what the program asks.
    answering: u32,
}

impl Answering {
    /// What was asked up to `seq` is not answered.
    pub(super) fn leave_out(&mut self, seq: Seq) {
        self.done = self.done.max(seq);
    }

    /// Another run, or none.
    pub(super) fn end_run(&mut self, seq: Seq) {
        *self = Answering { done: seq, asking: self.asking, ..Answering::default() };
    }

    /// The program has written.
    pub(super) fn look(&mut self, record: &Record) {
        if self.queries.scan(&record.body) {
            self.asked = record.seq;
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

    /// Gets answers for what the program has asked.
    pub(super) fn answer_queries(&mut self, ctx: &mut Context<Self>) {
        let Stage::Running(_) = self.stage else { return };
        let Answering { asked, done, asking, .. } = self.answering;
        if asked <= done || asking {
            return;
        }
        if self.attachments.answering > 0 {
            return self.answering.leave_out(asked);
        }
        self.answering.asking = true;
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

    fn take_answers(&mut self, answers: Vec<Answer>) {
        let Answering { done, waiting, .. } = &mut self.answering;
        if let Some(last) = answers.last().map(|answer| answer.of) {
            waiting.extend(answers.into_iter().filter(|answer| answer.of > *done));
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

impl Handler<Attached> for SessionActor {
    type Result = ();

    fn handle(&mut self, Attached { here, read_only }: Attached, _: &mut Context<Self>) {
        let change = |count: &mut u32| *count = if here { *count + 1 } else { count.saturating_sub(1) };
        change(&mut self.attachments.all);
        if !read_only {
            change(&mut self.attachments.answering);
            self.answering.leave_out(self.sum.seq); // what was asked before is the other's to answer
        }
    }
}
