//! Runs the typist: its records go into the ring, its writes to the PTY, its outcomes to whoever waits.

use super::actor::SessionActor;
use super::keys::{kept_answer, unknown_outcome};
use super::messages::Type;
use super::stage::Stage;
use super::typist::{Act, Job, Manner, Outcome, Reading};
use crate::failpoint::reached;
use crate::log::{KeyEntry, MetaBatch};
use crate::model::{Key, LogTime, Seq};
use crate::terminal::keys::key_bytes;
use crate::terminal::modes::Modes;
use crate::terminal::paste::typed_bytes;
use crate::wire::{ApiError, Code, Receipt};
use actix::prelude::*;
use bytes::Bytes;
use std::collections::HashMap;
use std::io;
use tokio::io::Interest;
use tokio::sync::oneshot;

type Reply = oneshot::Sender<Result<Receipt, ApiError>>;

/// Who waits for which text. Bounded by the typist's queue; several may wait for one (a retry).
#[derive(Default)]
pub(super) struct Tickets {
    next: u64,
    waiting: HashMap<u64, Ticket>,
}

struct Ticket {
    key: Option<Key>,
    digest: u32,
    replies: Vec<Reply>,
    /// The answer doesn't wait for the disk: what a person types is in the ring, that is enough.
    at_once: bool,
    /// Gives the text up. Ended with the text: a context looks at all it waits for whenever it wakes.
    patience: Option<SpawnHandle>,
}

/// So many retries may wait for one text.
const MAX_REPLIES: usize = 16;

impl Tickets {
    /// For a text that another host had begun: a retry finds it by its key.
    pub(super) fn reopen(&mut self, key: Option<(Key, u32)>) -> (u64, u32) {
        let ticket = self.next;
        self.next += 1;
        let (key, digest) = key.map_or((None, 0), |(key, digest)| (Some(key), digest));
        self.waiting.insert(ticket, Ticket { key, digest, replies: Vec::new(), at_once: false, patience: None });
        (ticket, digest)
    }

    pub(super) fn forget(&mut self, ticket: u64) {
        self.waiting.remove(&ticket);
    }

    /// Something under this key is still being typed.
    pub(super) fn is_open(&self, key: &Key) -> bool {
        self.waiting.values().any(|ticket| ticket.key.as_ref() == Some(key))
    }

    fn of_key(&mut self, key: &Key) -> Option<&mut Ticket> {
        self.waiting.values_mut().find(|t| t.key.as_ref() == Some(key))
    }
}

impl Handler<Type> for SessionActor {
    type Result = ResponseFuture<Result<Receipt, ApiError>>;

    fn handle(&mut self, msg: Type, ctx: &mut Context<Self>) -> Self::Result {
        match self.accept(msg, ctx) {
            Ok(answer) => Box::pin(async move {
                let gone =
                    |_| ApiError::new(Code::Stopping, "the host is ending; whether the text was typed is not known");
                answer.await.map_err(gone)?
            }),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }
}

impl SessionActor {
    fn accept(
        &mut self,
        msg: Type,
        ctx: &mut Context<Self>,
    ) -> Result<oneshot::Receiver<Result<Receipt, ApiError>>, ApiError> {
        let (reply, answer) = oneshot::channel();
        let digest = digest(&msg);
        if let Some(key) = &msg.key {
            if let Some(ticket) = self.tickets.of_key(key) {
                check_digest(ticket.digest, digest)?;
                if ticket.replies.len() < MAX_REPLIES {
                    ticket.replies.push(reply);
                }
                return Ok(answer);
            }
            if let Some(sent) = self.sum.sent.iter().rev().find(|s| s.key == *key) {
                check_digest(sent.digest, digest)?;
                let receipt = Receipt { run: sent.run, ..self.receipt(sent.seq, sent.turn) };
                let result = if sent.done { Ok(receipt) } else { Err(unknown_outcome()) };
                self.answer_when_durable(
                    self.sum.seq,
                    Ticket { key: None, digest, replies: vec![reply], at_once: false, patience: None },
                    result,
                    ctx,
                );
                return Ok(answer);
            }
        }
        let Stage::Running(_) = self.stage else { return Err(self.not_running()) };
        let text = match msg.keys.is_empty() {
            true => msg.text,
            false => keys(&msg.keys, &self.modes)?,
        };
        let ticket = self.tickets.next;
        let job =
            Job { ticket, key: msg.key.clone(), digest, from: msg.from, text, manner: msg.manner, asked: msg.asked };
        if self.typist.push(job).is_err() {
            let busy = format!("too much waits to be typed into session {:?} already", self.meta.name.as_str());
            return Err(ApiError::new(Code::NotReading, busy).hint("its program doesn't read"));
        }
        self.tickets.next += 1;
        let patience = Some(ctx.run_later(msg.timeout, move |act, ctx| act.abandon(ticket, ctx)));
        self.tickets
            .waiting
            .insert(ticket, Ticket { key: msg.key, digest, replies: vec![reply], at_once: false, patience });
        self.pump_typing(ctx);
        Ok(answer)
    }

    fn abandon(&mut self, ticket: u64, ctx: &mut Context<Self>) {
        if let Some(outcome) = self.typist.abandon(ticket) {
            self.finish(ticket, outcome, ctx);
        }
        self.pump_typing(ctx);
    }

    /// Types as far as it goes now.
    pub(super) fn pump_typing(&mut self, ctx: &mut Context<Self>) {
        while self.type_answers(ctx) {
            match self.typist.next(self.clock.stamp().log) {
                Act::Idle => return,
                Act::Begin => self.begin_typing(),
                Act::Record(event) => match self.put(&event) {
                    Some(seq) => self.typist.recorded(seq),
                    None => return, // goes on when room comes
                },
                Act::Write(bytes) => match self.write(&bytes) {
                    Ok(n) => self.typist.wrote(n),
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => return self.arm_writing(ctx),
                    Err(_) => return self.end_typing(),
                },
                Act::Pause(until) => return self.pause_typing(until, ctx),
                Act::Done { ticket, outcome } => self.finish(ticket, outcome, ctx),
            }
        }
    }

    fn begin_typing(&mut self) {
        // A connection that broke may have left keys on their way, which its client has typed again over the next one.
        if let Some((client, from, upto)) = self.typist.keystrokes() {
            let known = self.sum.keystrokes_of(client).min(upto).saturating_sub(from);
            if known > 0 && !self.typist.leave_out(usize::try_from(known).unwrap_or(usize::MAX)) {
                return;
            }
        }
        let lines = self.io.as_ref().and_then(|io| io.pty.as_ref()?.get_ref().line_modes().ok());
        let (echo, canonical) = lines.map_or((false, false), |l| (l.echo, l.canonical));
        let reading = Reading { echo, canonical, bracketed: self.modes.bracketed_paste() };
        let typed = match self.typist.beginning() {
            Some((text, Manner::Verbatim | Manner::Keystrokes)) => Ok(text.to_vec()),
            Some((text, _)) => typed_bytes(text, reading.bracketed).map_err(|e| e.to_string()),
            None => return,
        };
        self.typist.begin(reading, typed);
    }

    pub(super) fn write(&mut self, bytes: &Bytes) -> io::Result<usize> {
        let Some(pty) = self.io.as_ref().and_then(|io| io.pty.as_ref()) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        reached("about to type");
        let typed = pty.try_io(Interest::WRITABLE, |pty| pty.write(bytes));
        reached("typed");
        typed
    }

    pub(super) fn arm_writing(&mut self, ctx: &mut Context<Self>) {
        let Some(io) = &mut self.io else { return };
        let Some(pty) = io.pty.clone().filter(|_| !io.writer_waits) else { return };
        io.writer_waits = true;
        let run = io.run;
        let writable = async move {
            if let Ok(mut guard) = pty.writable().await {
                guard.retain_ready();
            }
        };
        ctx.spawn(writable.into_actor(self).map(move |(), act, ctx| {
            if let Some(io) = act.io.as_mut().filter(|io| io.run == run) {
                io.writer_waits = false;
                act.pump_typing(ctx);
            }
        }));
    }

    fn pause_typing(&mut self, until: LogTime, ctx: &mut Context<Self>) {
        let wait = until.since(self.clock.stamp().log);
        ctx.run_later(wait, |act, ctx| act.pump_typing(ctx));
    }

    /// The run is over: nobody reads any more.
    pub(super) fn end_typing(&mut self) {
        self.answering.end_run(self.sum.seq);
        for ticket in self.typist.end() {
            let error = self.not_running();
            if let Some(ticket) = self.tickets.waiting.remove(&ticket) {
                ticket.replies.into_iter().for_each(|reply| drop(reply.send(Err(error.clone()))));
            }
        }
    }

    fn finish(&mut self, ticket: u64, outcome: Outcome, ctx: &mut Context<Self>) {
        let Some(ticket) = self.tickets.waiting.remove(&ticket) else { return };
        ticket.patience.map(|timer| ctx.cancel_future(timer));
        let name = self.meta.name.as_str();
        let failed = |error: ApiError| (self.sum.seq, Err(error));
        let (last, result) = match outcome {
            Outcome::Typed { seq, turn, last } => (last, Ok(self.receipt(seq, turn))),
            Outcome::Abandoned { typed, of } => failed(
                ApiError::new(
                    Code::NotReading,
                    format!("typed {typed} of {of} bytes: the program in session {name:?} doesn't read"),
                )
                .hint("later sends go on"),
            ),
            Outcome::Refused(why) => failed(ApiError::new(Code::Refused, why)),
            Outcome::Ended => failed(self.not_running()),
        };
        if ticket.at_once {
            return ticket.replies.into_iter().for_each(|reply| drop(reply.send(result.clone())));
        }
        self.answer_when_durable(last, ticket, result, ctx);
    }

    /// Types what a person types: it is answered when it is typed.
    pub(super) fn type_keystrokes(
        &mut self,
        keys: Vec<u8>,
        key: Key,
        ctx: &mut Context<Self>,
    ) -> Result<oneshot::Receiver<Result<Receipt, ApiError>>, ApiError> {
        let Stage::Running(_) = self.stage else { return Err(self.not_running()) };
        let (reply, answer) = oneshot::channel();
        let (ticket, digest) = (self.tickets.next, crc32c::crc32c(&keys));
        let key = Some(key);
        let job =
            Job { ticket, key, digest, from: "attach".to_owned(), text: keys, manner: Manner::Keystrokes, asked: None };
        if self.typist.push(job).is_err() {
            return Err(ApiError::new(Code::NotReading, "too much waits to be typed already"));
        }
        self.tickets.next += 1;
        let waiting = Ticket { key: None, digest, replies: vec![reply], at_once: true, patience: None };
        self.tickets.waiting.insert(ticket, waiting);
        self.pump_typing(ctx);
        Ok(answer)
    }

    fn answer_when_durable(
        &mut self,
        last: Seq,
        ticket: Ticket,
        result: Result<Receipt, ApiError>,
        ctx: &mut Context<Self>,
    ) {
        let durable = self.when_durable(last);
        let recorded = ticket.key.as_ref().is_some_and(|key| self.sum.sent.iter().any(|sent| sent.key == *key));
        let (writer, wall) = (self.services.writer.clone(), self.clock.stamp().wall);
        let answered = async move {
            let result = durable.await.and(result);
            let mut late = None;
            if let Some(key) = ticket.key.filter(|_| recorded || result.is_ok()) {
                let answer = kept_answer(result.as_ref().ok());
                let batch =
                    MetaBatch::new().put_key(&key, &KeyEntry { request: digest_text(ticket.digest), answer, wall });
                late = (!writer.offer(batch.clone())).then_some(batch);
            }
            ticket.replies.into_iter().for_each(|reply| drop(reply.send(result.clone())));
            if let Some(batch) = late
                && writer.commit(batch).await.is_err()
            {
                tracing::debug!("a key was not saved: the host is ending; the next one does it");
            }
        };
        ctx.spawn(answered.into_actor(self));
    }

    pub(super) fn receipt(&self, seq: Seq, turn: Option<u64>) -> Receipt {
        Receipt {
            session: self.meta.name.clone(),
            id: self.meta.id,
            turn,
            seq: seq.0,
            state: "typed".to_owned(),
            run: self.sum.run,
        }
    }
}

/// The checksum of a request, as `meta` keeps it.
pub fn digest_text(digest: u32) -> String {
    format!("{digest:08x}")
}

fn keys(names: &[String], modes: &Modes) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::new();
    for name in names {
        bytes.extend(
            key_bytes(name, modes.application_cursor()).map_err(|e| ApiError::new(Code::Refused, e.to_string()))?,
        );
    }
    Ok(bytes)
}

/// The checksum of what is asked for: the same key with another one is refused.
pub fn digest(msg: &Type) -> u32 {
    let keys = msg.keys.join("\0");
    crc32c::crc32c_append(crc32c::crc32c(&msg.text), format!("{:?}{keys}", msg.manner).as_bytes())
}

fn check_digest(earlier: u32, now: u32) -> Result<(), ApiError> {
    match earlier == now {
        true => Ok(()),
        false => Err(ApiError::new(Code::KeyReused, "this idempotency key was used with another request")),
    }
}
