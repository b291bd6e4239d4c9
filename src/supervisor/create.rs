//! Making sessions, once per idempotency key, whatever dies in between.
//!
//! The session's `meta` entry and the key stand in the store, in one change, before anything is started. A retry finds the
//! key, and with it the run it stands for: started already, or to be started now.

use super::actor::{Create, Entry, Supervisor, bury, cannot_start, gone};
use crate::log::{Desired, KeyEntry, Meta, MetaBatch, SessionMeta, Stopped, Writer};
use crate::model::{Cursor, Key, Name, Seq, SessionId, Spec};
use crate::ring::MAX_RECORDS;
use crate::session::messages::{Describe, End, Leave, Snapshot, Start, StartError};
use crate::session::summary::Phase;
use crate::session::{Birth, Changes, What, wall_now};
use crate::wire::{ApiError, Code, Created, NewSession};
use actix::prelude::*;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::sync::oneshot;

type Answer = Result<Created, ApiError>;

/// A creation under way. Retries of the same request wait for it.
pub(super) struct Creating {
    key: Option<Key>,
    retries: Vec<oneshot::Sender<Answer>>,
}

/// So many retries wait for one creation.
const MAX_RETRIES: usize = 16;

/// What a key stands for.
#[derive(Serialize, Deserialize)]
struct Stands {
    id: SessionId,
    run: u32,
}

impl Handler<Create> for Supervisor {
    type Result = ResponseActFuture<Self, Answer>;

    fn handle(&mut self, msg: Create, _: &mut Context<Self>) -> Self::Result {
        if let Err(e) = self.refuse_when_stopping() {
            return Box::pin(fut::ready(Err(e)));
        }
        let key = msg.key.as_ref().map(|(key, _)| key.clone());
        if let Some(creating) = self.creating.get_mut(&msg.name) {
            return Box::pin(creating.join(&msg.name, key).into_actor(self));
        }
        let name = msg.name.clone();
        self.creating.insert(name.clone(), Creating { key, retries: Vec::new() });
        let parts = Parts {
            writer: self.services.writer.clone(),
            meta: self.services.meta.clone(),
            changes: self.services.changes.clone(),
        };
        let begun: ResponseActFuture<Self, Answer> = match self.sessions.get(&name).cloned() {
            None => self.create_new(msg, parts),
            Some(entry) => Box::pin(again(msg, entry, parts.clone()).into_actor(self).then(
                move |outcome, act, _| -> ResponseActFuture<Self, Answer> {
                    match outcome {
                        Again::Answer(answer) => Box::pin(fut::ready(*answer)),
                        Again::Fresh(msg) => {
                            act.sessions.remove(&msg.name);
                            act.create_new(*msg, parts)
                        }
                    }
                },
            )),
        };
        Box::pin(begun.map(move |answer, act, _| {
            let retries = act.creating.remove(&name).map(|c| c.retries).unwrap_or_default();
            retries.into_iter().for_each(|retry| drop(retry.send(answer.clone())));
            answer
        }))
    }
}

impl Creating {
    fn join(&mut self, name: &Name, key: Option<Key>) -> impl Future<Output = Answer> + use<> {
        let (retry, answer) = oneshot::channel();
        let same = key.is_some() && key == self.key && self.retries.len() < MAX_RETRIES;
        if same {
            self.retries.push(retry);
        }
        let name = name.clone();
        async move {
            if !same {
                return Err(ApiError::new(Code::Exists, format!("session {:?} is just being started", name.as_str())));
            }
            answer.await.map_err(|_| ApiError::new(Code::Stopping, "the host is ending"))?
        }
    }
}

#[derive(Clone)]
struct Parts {
    writer: Writer,
    meta: Arc<Meta>,
    changes: Arc<Changes>,
}

impl Parts {
    async fn commit(&self, batch: MetaBatch) -> Result<(), ApiError> {
        self.writer.commit(batch).await.map_err(stopped)
    }

    /// What the key stands for, if it was used. A different request under it is refused.
    async fn stands(&self, key: &Option<(Key, String)>) -> Result<Option<Stands>, ApiError> {
        let Some((key, digest)) = key.clone() else { return Ok(None) };
        let meta = self.meta.clone();
        let failed = |e: String| ApiError::new(Code::Failed, e);
        let entry = tokio::task::spawn_blocking(move || meta.key(&key)).await.map_err(|e| failed(e.to_string()))?;
        match entry.map_err(|e| failed(e.to_string()))? {
            Some(entry) if entry.request != digest => {
                Err(ApiError::new(Code::KeyReused, "this idempotency key was used with another request"))
            }
            Some(entry) => Ok(serde_json::from_value(entry.answer).ok()),
            None => Ok(None),
        }
    }
}

fn stopped(why: Stopped) -> ApiError {
    ApiError::new(Code::Stopping, why.to_string())
}

fn with_key(batch: MetaBatch, key: &Option<(Key, String)>, stands: &Stands) -> MetaBatch {
    match key {
        Some((key, digest)) => {
            let entry = KeyEntry { request: digest.clone(), answer: serde_json::json!(stands), wall: wall_now() };
            batch.put_key(key, &entry)
        }
        None => batch,
    }
}

impl Supervisor {
    fn create_new(&mut self, msg: Create, parts: Parts) -> ResponseActFuture<Self, Answer> {
        let mut id = [0; 16];
        if let Err(e) = getrandom::fill(&mut id) {
            return Box::pin(fut::ready(Err(ApiError::new(Code::Failed, format!("no random numbers: {e}")))));
        }
        let id = SessionId(id);
        let Create { name, spec, key, .. } = msg;
        let meta = SessionMeta {
            v: SessionMeta::VERSION,
            id,
            name: name.clone(),
            created: wall_now(),
            desired: Desired::Running,
            removed: false,
            ring_records: MAX_RECORDS,
            spec,
        };
        let entry = self.place(Birth::new(meta.clone()));
        let addr = entry.addr.clone();
        self.sessions.insert(name.clone(), entry);
        let made = async move {
            if let Err(reused) = parts.stands(&key).await {
                addr.send(Leave).await.map_err(gone)?;
                return Err(reused);
            }
            let wish = with_key(MetaBatch::new().put_session(&meta), &key, &Stands { id, run: 1 });
            let durable = parts.writer.begin_commit(wish).await.map_err(stopped)?;
            parts.changes.note(&meta.name, id, Seq(0), What::Created);
            match addr.send(Start { spec: None }).await.map_err(gone)? {
                Ok(()) => {
                    durable.await.map_err(stopped)?;
                    Ok(created(addr.send(Describe).await.map_err(gone)?, true))
                }
                Err(error) => {
                    bury(id, &parts.writer, parts.meta).await?;
                    addr.send(Leave).await.map_err(gone)?;
                    parts.changes.note(&meta.name, id, Seq(0), What::Removed);
                    Err(cannot_start(&error))
                }
            }
        };
        Box::pin(made.into_actor(self).map(move |answer, act, _| {
            if answer.is_err() && act.sessions.get(&name).is_some_and(|e| e.id == id) {
                act.sessions.remove(&name);
            }
            answer
        }))
    }
}

/// What becomes of a request whose name is taken.
enum Again {
    Answer(Box<Answer>),
    /// The ended session is buried; a new one takes the name.
    Fresh(Box<Create>),
}

async fn again(msg: Create, entry: Entry, parts: Parts) -> Again {
    let answer = match next_run(&msg, &entry, &parts).await {
        Ok(Some(created)) => Ok(created),
        Err(e) => Err(e),
        Ok(None) => match clear(&entry, &parts).await {
            Ok(()) => return Again::Fresh(Box::new(msg)),
            Err(e) => Err(e),
        },
    };
    Again::Answer(Box::new(answer))
}

/// The next run of an ended session, or the session as it is. Nothing: it is to be removed first.
async fn next_run(msg: &Create, entry: &Entry, parts: &Parts) -> Result<Option<Created>, ApiError> {
    let snapshot = entry.addr.send(Describe).await.map_err(gone)?;
    let Snapshot { info, summary, .. } = &snapshot;
    let stands = parts.stands(&msg.key).await?.filter(|s| s.id == entry.id);
    let retried = stands.is_some();
    if let Some(stands) = stands
        && summary.run >= stands.run
        && !matches!(summary.phase, Phase::Created | Phase::Starting)
    {
        return Ok(Some(created(snapshot, true)));
    }
    if info.state.is_live() {
        return agree(msg, &info.name, &info.size, &msg.spec, entry).await.map(|session| Some(created(session, false)));
    }
    if msg.request.fresh && !retried {
        return Ok(None);
    }
    let run = if summary.phase == Phase::Starting { summary.run } else { summary.run + 1 };
    parts.commit(with_key(MetaBatch::new(), &msg.key, &Stands { id: entry.id, run })).await?;
    entry.addr.send(Start { spec: Some(msg.spec.clone()) }).await.map_err(gone)?.map_err(|e| match e {
        StartError::Live => exists(&msg.name),
        other => cannot_start(&other),
    })?;
    Ok(Some(created(entry.addr.send(Describe).await.map_err(gone)?, true)))
}

fn created(snapshot: Snapshot, created: bool) -> Created {
    Created { start: Some(Cursor::at(snapshot.summary.run_start)), session: snapshot.info, created }
}

async fn clear(entry: &Entry, parts: &Parts) -> Result<(), ApiError> {
    entry.addr.send(End { force: false, for_restart: false }).await.map_err(gone)??;
    let info = entry.addr.send(Describe).await.map_err(gone)?.info;
    bury(entry.id, &parts.writer, parts.meta.clone()).await?;
    entry.addr.send(Leave).await.map_err(gone)?;
    parts.changes.note(&info.name, info.id, Seq(info.last_seq), What::Removed);
    Ok(())
}

fn exists(name: &Name) -> ApiError {
    ApiError::new(Code::Exists, format!("session {:?} is live", name.as_str()))
        .hint(format!("termalive kill {name}, or choose another name"))
}

/// `--exist-ok`: the live session, if it is what was asked for.
async fn agree(
    msg: &Create,
    name: &Name,
    size: &crate::model::Size,
    spec: &Spec,
    entry: &Entry,
) -> Result<Snapshot, ApiError> {
    let NewSession { exist_ok, size: asked_size, labels, .. } = &msg.request;
    if !exist_ok {
        return Err(exists(name));
    }
    let snapshot = entry.addr.send(Describe).await.map_err(gone)?;
    let info = &snapshot.info;
    let mut differs = Vec::new();
    if info.argv != spec.argv {
        differs.push("command");
    }
    if info.cwd != spec.cwd {
        differs.push("cwd");
    }
    if asked_size.is_some_and(|asked| asked != *size) {
        differs.push("size");
    }
    if info.labels != *labels {
        differs.push("labels");
    }
    match differs.is_empty() {
        true => Ok(snapshot),
        false => Err(ApiError::new(
            Code::Exists,
            format!("session {:?} is live and differs in {}", name.as_str(), differs.join(", ")),
        )
        .hint(format!("termalive show {name} says what it is; termalive kill {name} ends it"))),
    }
}
