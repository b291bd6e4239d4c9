//! `GET …/turns`: what was sent, and how far each turn has come.
//!
//! A turn lasts to the next one, so that the newest is never over while its run lives; whether its reply is whole is read
//! from the log as for one who asks for it. It must never wait.

use super::{Answer, asked, reply_to};
use crate::follow::timestamp;
use crate::model::{Cursor, Event, InputText, KIB, Seq};
use crate::server::follow::Reading;
use crate::server::resolve::{Ground, ground, turn as mark_of};
use crate::server::sessions::find;
use crate::server::{App, failed, no_answer};
use crate::session::messages::Describe;
use crate::session::summary::TurnMark;
use crate::wire::{ApiError, FollowQuery, TurnInfo, TurnReason, TurnState};
use actix_web::{HttpResponse, web};

/// So many turns are listed, the newest. 1,000: each is a look into the store.
const MAX_TURNS: u64 = 1000;
/// So much of a text is listed, in bytes.
const PROMPT_SHOWN: usize = 4 * KIB;
/// The end of a reply is looked for in so many records. 16,384: at most 60 MB, which are read in a second.
const LOOKED_THROUGH: u64 = 16 * 1024;
const PAGE: usize = 256 * KIB;

pub(in crate::server) async fn list(app: web::Data<App>, name: web::Path<String>) -> Answer {
    let snapshot = find(&app, &name).await?.addr.send(Describe).await.map_err(no_answer)?;
    let ground = ground(&app, FollowQuery::default(), snapshot);
    let mut turns = web::block(move || turns(&ground)).await.map_err(failed)??;
    if let Some(newest) = turns.last_mut().filter(|turn| turn.state == TurnState::Open)
        && is_whole(&app, &name, newest).await?
    {
        newest.state = TurnState::Complete;
    }
    Ok(HttpResponse::Ok().json(turns))
}

/// The reply to the newest turn is whole, as far as is looked.
async fn is_whole(app: &App, name: &str, turn: &TurnInfo) -> Result<bool, ApiError> {
    let when = asked(app, name, turn.turn).await?;
    let to = Some(Cursor::at(Seq(turn.seq_from.0 + LOOKED_THROUGH)).to_string());
    let query = FollowQuery { to, ..reply_to(turn.turn, when) };
    let (mut reading, _go_on) = Reading::for_reply(app, name, query).await?;
    while let Some(frames) = reading.next().await {
        frames?;
    }
    Ok(reading.end().is_some_and(|end| end.whole_reply))
}

/// The newest turns, oldest first. Blocking.
fn turns(ground: &Ground) -> Result<Vec<TurnInfo>, ApiError> {
    let newest = ground.snapshot.summary.turn.as_ref().map_or(0, |mark| mark.turn);
    let mut turns = Vec::new();
    let mut next: Option<TurnMark> = None;
    for number in (1..=newest).rev().take(usize::try_from(MAX_TURNS).unwrap_or(usize::MAX)) {
        if let Some(mark) = mark_of(ground, number)? {
            turns.extend(info(ground, &mark, next.as_ref())?);
            next = Some(mark);
        }
    }
    turns.reverse();
    Ok(turns)
}

fn info(ground: &Ground, mark: &TurnMark, next: Option<&TurnMark>) -> Result<Option<TurnInfo>, ApiError> {
    let Some(first) = ground.view.one(mark.seq).map_err(failed)? else { return Ok(None) };
    let Ok(Event::Input { from, text, .. }) = first.event() else { return Ok(None) };
    let sum = &ground.snapshot.summary;
    let next = next.filter(|next| next.run == mark.run);
    let ended = match next {
        Some(next) => Some((Seq(next.seq.0 - 1), TurnReason::Turn)),
        None if mark.run < sum.run || sum.status.is_some() && !ground.snapshot.info.state.is_live() => {
            exited(ground, mark)?.map(|seq| (seq, TurnReason::Exit))
        }
        None => None,
    };
    let ended_at = match (next, ended) {
        (Some(next), _) => ground.view.one(next.seq).map_err(failed)?,
        (None, Some((seq, _))) => ground.view.one(seq).map_err(failed)?,
        (None, None) => None,
    };
    Ok(Some(TurnInfo {
        turn: mark.turn,
        id: ground.snapshot.info.id,
        from,
        state: if ended.is_some() { TurnState::Ended } else { TurnState::Open },
        prompt: shown(text),
        seq_from: mark.seq,
        seq_to: ended.map_or(sum.seq, |(seq, _)| seq),
        started_at: timestamp(first.at.wall),
        ended_at: ended_at.map(|record| timestamp(record.at.wall)),
        reason: ended.map(|(_, reason)| reason),
    }))
}

/// The record that ended the run of a turn.
fn exited(ground: &Ground, mark: &TurnMark) -> Result<Option<Seq>, ApiError> {
    let mut next = mark.seq;
    loop {
        let page = ground.view.read(next, PAGE).map_err(failed)?;
        let Some(last) = page.last() else { return Ok(None) };
        let ends = |event| matches!(event, Ok(Event::Exited { run, .. }) if run == mark.run);
        if let Some(found) = page.iter().find(|record| ends(record.event())) {
            return Ok(Some(found.seq));
        }
        next = last.seq.next();
    }
}

fn shown(text: InputText) -> String {
    match text {
        InputText::Shown(text) => String::from_utf8_lossy(&text.0[..text.0.len().min(PROMPT_SHOWN)]).into_owned(),
        InputText::Hidden { len } => "*".repeat(usize::try_from(len).unwrap_or(PROMPT_SHOWN).min(PROMPT_SHOWN)),
    }
}
