//! What a new host finds: sessions in the store, processes held by the keeper. Each becomes the start of an actor.
//!
//! Blocking; runs once, before any actor. The log is the truth: summaries are folded on from where they were saved.

use crate::keeper::Held;
use crate::log::{EventLog, Meta, MetaBatch, SessionMeta, StoreDown};
use crate::model::{Event, GapReason, InputText, MIB, Record, Seq, SessionId, Stamp, Step, Wall};
use crate::pty::tree;
use crate::session::summary::{PendingInput, Phase, Summary};
use crate::session::{Adoption, Birth, Found, Unfinished, known_to_keeper};
use std::collections::HashMap;

/// Read so much of a log at once.
const PAGE: usize = MIB;
/// Records that a damaged newest segment may have held without a trace, at most: numbers go on behind so many. Far more than
/// fit into a segment, few enough for 2^20 such accidents.
const UNKNOWN: u64 = 1 << 32;
/// A summary that was folded on by so many records or bytes of output is saved at once: hosts that die young, one after the
/// other, would each read all again that came since the last one that lived for some seconds.
const READ_RECORDS: u64 = 256;
const READ_BYTES: u64 = MIB as u64;
/// An input has at most so many parts of 8 KiB: the largest request.
const MAX_PARTS: usize = 1024;

/// Everything that has or had a name, ready to be an actor. `orphans` are told to the caller: the keeper holds something
/// of them that has ended, or was ended here. `tail_unknown`: the store may have lost its newest records without a trace.
/// `kept`: the keeper has outlived the last host, so that no ring is lost.
pub fn boot(
    store: &dyn EventLog,
    meta: &Meta,
    found: Vec<Found>,
    tail_unknown: bool,
    kept: bool,
) -> Result<(Vec<Birth>, Vec<SessionId>), StoreDown> {
    let mut held: HashMap<SessionId, Found> = found.into_iter().map(|found| (found.held.id, found)).collect();
    let (mut births, mut orphans) = (Vec::new(), Vec::new());
    let mut sessions = meta.sessions()?;
    let known: Vec<SessionId> = sessions.iter().map(|s| s.id).collect();
    for unknown in held.values().map(|f| &f.held).filter(|h| !known.contains(&h.id)).filter_map(known_to_keeper) {
        meta.apply(&MetaBatch::new().put_session(&unknown))?;
        sessions.push(unknown);
    }
    for session in sessions {
        let held = held.remove(&session.id);
        match (session.removed, held) {
            (false, held) => {
                let (id, was_held) = (session.id, held.is_some());
                let (birth, turns) = birth(store, meta, session, held, Some(tail_unknown), kept)?;
                meta.apply(&turns)?;
                if was_held && birth.adopted.is_none() {
                    orphans.push(id);
                }
                births.push(birth);
            }
            (true, Some(found)) => orphans.push(end_orphan(&found.held)),
            (true, None) => {}
        }
    }
    orphans.extend(held.values().map(|found| end_orphan(&found.held)));
    Ok((births, orphans))
}

/// Nobody knows this session any more: a removal was cut off.
fn end_orphan(held: &Held) -> SessionId {
    match tree::kill(tree::Target::Tree(held.process, held.id)) {
        Ok(left) => tracing::warn!(id = %held.id, left, "a removed session still ran and was ended"),
        Err(e) => tracing::error!(id = %held.id, error = %e, "a removed session still runs and can't be ended"),
    }
    held.id
}

/// One session, and the turns to be kept in `meta` with it.
///
/// `tail_unknown`: as in [`boot`], which names what is lost at the end of the log. None where a writer may be at work, and then
/// nothing is written: what is missing in the store is on its way there. `kept`: as there.
pub(super) fn birth(
    store: &dyn EventLog,
    meta: &Meta,
    session: SessionMeta,
    found: Option<Found>,
    tail_unknown: Option<bool>,
    kept: bool,
) -> Result<(Birth, MetaBatch), StoreDown> {
    let id = session.id;
    let stored = store.last(id)?.unwrap_or_default();
    let taken = found.and_then(|Found { held, ring }| match ring {
        Ok((ring, adopted)) => Some((held, ring, adopted)),
        Err(e) => {
            tracing::error!(session = %session.name, error = %e, "its crash ring can't be read: it is ended");
            end_orphan(&held);
            None
        }
    });
    let newest = taken.as_ref().and_then(|(_, _, a)| a.records.last()).map_or(stored, |r| r.seq.max(stored));
    let saved = meta.summary(id)?.and_then(|json| Summary::load(&json));
    let ring = taken.as_ref().map(|(_, _, adopted)| adopted.records.first().map_or(adopted.next, |r| r.seq));
    let stored = match tail_unknown {
        Some(unknown) => name_loss(store, &session, stored, ring, saved.as_ref(), unknown)?,
        None => stored,
    };
    let rested = saved.as_ref().is_some_and(|sum| sum.rests);
    let saved = saved.filter(|sum| sum.seq <= newest.max(stored));
    let mut sum = saved.unwrap_or_else(|| Summary::new(session.spec.size));
    let known = (sum.seq, sum.output);
    let mut turns = MetaBatch::new();
    let mut fold = |sum: &mut Summary, record: &Record| {
        if let Some(mark) = sum.apply(record)
            && let Ok(json) = serde_json::to_vec(&mark)
        {
            turns = std::mem::take(&mut turns).put_turn(id, mark.turn, &json);
        }
    };
    while sum.seq < stored {
        let page = store.read(id, sum.seq.next(), PAGE)?;
        if page.is_empty() {
            break;
        }
        page.iter().for_each(|record| fold(&mut sum, record));
    }
    // A later run was just to begin: it never did, and what is held is of one whose end is in the log.
    let taken = taken.filter(|(held, ..)| held.run >= sum.run);
    let adopted = taken.map(|(held, ring, adopted)| {
        let unstored: Vec<Record> = adopted.records.into_iter().filter(|r| r.seq > stored).collect();
        unstored.iter().for_each(|record| fold(&mut sum, record));
        let beat = adopted.log_time.since(sum.at.log); // the last heartbeat came so long after the last record
        let last_alive = Wall(sum.at.wall.0.saturating_add(i64::try_from(beat.as_micros()).unwrap_or(0)));
        sum.at.log = sum.at.log.max(adopted.log_time);
        Adoption { last_alive, held, ring, modes: adopted.modes, unstored, lost: adopted.lost, unfinished: None }
    });
    let adopted = match adopted {
        Some(adoption) => {
            let unfinished = unfinished(store, id, &mut sum, &adoption.unstored)?;
            Some(Adoption { unfinished, ..adoption })
        }
        None => None,
    };
    let runs = matches!(sum.phase, Phase::Running { .. });
    let settled = adopted.is_none() && !runs && (sum.rests || kept);
    let read = (sum.seq.0 - known.0.0, sum.output - known.1);
    if settled != rested || read.0 >= READ_RECORDS || read.1 >= READ_BYTES {
        sum.rests = settled; // said at the next start, too
        turns = turns.save_summary(id, &serde_json::to_vec(&sum).unwrap_or_default());
        turns = if settled || !rested { turns } else { turns.durably() }; // what is read of it from here on has to be accounted for
    }
    Ok((Birth { meta: session, sum, stored, settled, adopted }, turns))
}

/// Where the store has lost its newest records, a gap behind what it has: so that no number is given twice. The last record
/// that is stored then. What was lost is known from the ring, which goes on behind it, or from what the summary had seen.
fn name_loss(
    store: &dyn EventLog,
    session: &SessionMeta,
    stored: Seq,
    ring: Option<Seq>,
    saved: Option<&Summary>,
    tail_unknown: bool,
) -> Result<Seq, StoreDown> {
    let seen = saved.map_or(Seq(0), |sum| sum.seq);
    let upto = match ring {
        Some(_) if !tail_unknown => return Ok(stored),
        Some(next) => Seq(next.0.saturating_sub(1)),
        None if tail_unknown && saved.is_none_or(|sum| sum.seq != stored) => Seq(seen.max(stored).0 + UNKNOWN),
        None => seen,
    };
    if upto <= stored {
        return Ok(stored);
    }
    let reason = if tail_unknown { GapReason::Corrupt } else { GapReason::HostLost };
    let (kind, body) = Event::Gap { from: stored.next(), to: upto, reason }.encode();
    let at = saved.map(|sum| sum.at).unwrap_or(Stamp { wall: session.created, ..Stamp::default() });
    let id = session.id;
    store.append(&[(id, Record { seq: upto, kind, at, body })])?;
    store.sync()?;
    tracing::error!(%id, from = stored.next().0, to = upto.0, "the newest records of a session are lost");
    Ok(upto)
}

/// The input that was on its way, with its text. One that wasn't recorded whole was never typed: a retry types it.
fn unfinished(
    store: &dyn EventLog,
    id: SessionId,
    sum: &mut Summary,
    ring: &[Record],
) -> Result<Option<Unfinished>, StoreDown> {
    let Some(PendingInput { seq, turn, parts, step, .. }) = sum.pending.clone() else { return Ok(None) };
    if parts.0 < parts.1 {
        sum.pending = None;
        sum.sent.retain(|s| s.seq != seq);
        return Ok(None);
    }
    let mut text = Vec::new();
    let mut key = None;
    let (mut found, mut hidden) = (0, false);
    let mut next = seq;
    while found < usize::from(parts.1).min(MAX_PARTS) {
        let page = match ring.first() {
            Some(first) if first.seq <= next => ring.iter().filter(|r| r.seq >= next).cloned().collect(),
            _ => store.read(id, next, PAGE)?,
        };
        let Some(last) = page.last().map(|r| r.seq) else { break };
        for event in page.iter().filter_map(|r| r.event().ok()) {
            if let Event::Input { key: k, digest, text: part, .. } = event {
                key = key.or(k.map(|k| (k, digest)));
                found += 1;
                match part {
                    InputText::Shown(part) => text.extend(part.0),
                    InputText::Hidden { .. } => hidden = true,
                }
            }
        }
        next = last.next();
    }
    // of a password nothing is kept: it can be finished by its Enter, not typed
    let whole = found == usize::from(parts.1) && (!hidden || step == Some(Step::TextDone));
    Ok(whole.then_some(Unfinished { text, key, seq, turn, step }))
}
