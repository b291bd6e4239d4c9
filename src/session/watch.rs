//! The watchdog: a run that is at work and prints nothing for too long hangs. It is ended, and its policy says what follows.
//!
//! One timer a session that has one, and it sleeps as long as nothing can be due. When a run was quiet for long enough, its
//! turn is read from the log, on a blocking thread, to see whether it is at work at all. What was decided stands in the log
//! (`hung`) before anything is done: a later host goes on with it. It must never end a run that waits for somebody.

use super::actor::SessionActor;
use super::stage::Stage;
use super::summary::TurnMark;
use super::view::{LogView, Unreadable};
use crate::follow::{AtWork, Plan};
use crate::log::Desired;
use crate::model::{Cursor, Event, KIB, LogTime, Name, Seq};
use crate::policy::watchdog::{Look, look};
use crate::stop::Conditions;
use crate::wire::Content;
use actix::prelude::*;
use std::time::Duration;

/// Output that is just on its way counts: after a verdict so long is waited for it. 250 ms: a host that was stopped itself
/// has read its terminals by then.
const CONFIRM: Duration = Duration::from_millis(250);
const PAGE: usize = 256 * KIB;

impl SessionActor {
    /// Looks after the run from now on, if it is to be.
    pub(super) fn watch(&mut self, ctx: &mut Context<Self>) {
        let (Some(limit), Stage::Running(_)) = (self.meta.spec.care.watchdog, self.stage) else { return };
        let run = self.sum.run;
        let progress = self.sum.work.map(|work| work.progress);
        match (look(progress, self.judged, self.clock.stamp().log, limit), progress) {
            (Look::Judge, Some(progress)) => self.judge(progress, ctx),
            (Look::Later(delay), _) => self.watch_later(run, delay, ctx),
            (Look::Judge, None) => self.watch_later(run, limit, ctx),
        }
    }

    fn watch_later(&self, run: u32, delay: Duration, ctx: &mut Context<Self>) {
        ctx.run_later(delay, move |act, ctx| {
            if act.sum.run == run {
                act.watch(ctx);
            }
        });
    }

    /// It was quiet for long enough: is it at work?
    fn judge(&mut self, progress: LogTime, ctx: &mut Context<Self>) {
        let (run, upto, id) = (self.sum.run, self.sum.seq, self.meta.id);
        let held_up = self.io.as_ref().is_none_or(|io| io.paused); // the log can't keep up: there is more to come
        let Some(mark) = self.sum.turn.clone().filter(|_| !held_up) else { return self.watch_later(run, CONFIRM, ctx) };
        let view = LogView::new(self.feed.clone(), self.services.store.clone());
        let (name, readers) = (self.meta.name.clone(), self.services.screens.readers.clone());
        let judged = async move {
            let _permit = readers.acquire_owned().await.map_err(|e| e.to_string())?;
            let read = tokio::task::spawn_blocking(move || at_work(&view, &name, &mark, upto));
            read.await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
        };
        ctx.spawn(judged.into_actor(self).map(move |works, act, ctx| match works {
            Ok(true) => drop(ctx.run_later(CONFIRM, move |act, ctx| act.hangs_perhaps(run, progress, ctx))),
            Ok(false) => act.leave_alone(run, progress, ctx),
            Err(error) => {
                tracing::warn!(%id, error, "the watchdog can't read the log: it leaves the session alone");
                act.leave_alone(run, progress, ctx);
            }
        }));
    }

    fn leave_alone(&mut self, run: u32, progress: LogTime, ctx: &mut Context<Self>) {
        if self.sum.run == run {
            self.judged = Some(progress);
            self.watch(ctx);
        }
    }

    /// It is at work: if nothing has come meanwhile, it hangs.
    fn hangs_perhaps(&mut self, run: u32, progress: LogTime, ctx: &mut Context<Self>) {
        let Stage::Running(_) = self.stage else { return };
        if self.sum.run != run || self.ending.is_some() || self.meta.desired == Desired::Ended {
            return;
        }
        if self.sum.work.map(|work| work.progress) != Some(progress) {
            return self.watch(ctx);
        }
        let quiet = self.clock.stamp().log.since(progress);
        tracing::warn!(session = %self.meta.name, run, ?quiet, "at work without output: it hangs, and is ended");
        self.put_surely(Event::Hung { run, quiet });
        let durable = self.when_durable(self.sum.seq);
        ctx.spawn(durable.into_actor(self).map(move |durable, act, ctx| {
            if durable.is_ok() && act.sum.run == run {
                act.end_hung(ctx);
            }
        }));
    }
}

/// Reads the turn up to record `upto`. Blocking.
fn at_work(view: &LogView, name: &Name, mark: &TurnMark, upto: Seq) -> Result<bool, Unreadable> {
    let start = Cursor::at(mark.seq);
    let scan_from = mark.preroll.min(start);
    let mut reading = AtWork::new(plan(view, name, mark, scan_from)?);
    let mut next = scan_from.seq;
    while next <= upto {
        let page = view.read(next, PAGE)?;
        let Some(last) = page.last() else { break };
        next = last.seq.next();
        page.iter().take_while(|record| record.seq <= upto).for_each(|record| reading.record(record));
    }
    Ok(reading.verdict())
}

fn plan(view: &LogView, name: &Name, mark: &TurnMark, scan_from: Cursor) -> Result<Plan, Unreadable> {
    let start = Cursor::at(mark.seq);
    Ok(Plan {
        session: name.clone(),
        id: view.id(),
        run: mark.run,
        turn: Some(mark.turn),
        ended: None,
        size: mark.size,
        scan_from,
        start,
        start_log: None,
        after: start,
        from_turn: true,
        after_editor: false,
        to: None,
        lines: None,
        content: Content::Rows,
        events_all: false,
        times: false,
        before: None,
        conditions: Conditions::default(),
        masks: view.inputs(mark.inputs.iter().copied())?,
        follow: true,
        generation: 0,
    })
}
