//! `log verify`, `log salvage`: is the store whole, and what can be saved of one that isn't. About this machine's own store.
//!
//! `verify` reads, whether or not a host runs. `salvage` needs the store for itself: it holds off every start of a host.

use super::{Done, Failure, context::Context, failed, host::local_setup, out};
use crate::client::{Host, Presence, Setup};
use crate::config::Config;
use crate::log::{Checked, Meta, SegmentStore, StoreDown, Verified, verify};
use crate::model::Exit;
use crate::server::store_options;
use crate::supervisor::boot;
use crate::wire::{ApiError, Code};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

/// Check the log on disk, or save what can be read of a damaged one (for a session's log: logs)
#[derive(Debug, Args)]
pub(super) struct LogArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Read every record; 1 when something is damaged
    Verify,
    /// Put damaged segments into quarantine and what can be read of them in their place; the host has to be stopped
    Salvage,
}

pub(super) fn run(args: &LogArgs, context: &mut Context) -> Done {
    let setup = local_setup("log", &[], context)?;
    match args.what {
        What::Verify => look(&setup, context),
        What::Salvage => salvage(&setup, context),
    }
}

fn look(setup: &Setup, context: &mut Context) -> Done {
    let live = !matches!(Host::local(setup.clone()).presence(false)?, Presence::Absent(_));
    let (segments, verified) = seen(setup, live)?;
    let damaged = first_damage(&segments, &verified);
    match (context.json, context.quiet) {
        (true, _) => {
            let segments: Vec<Value> = segments.iter().map(shown).collect();
            let Verified { meta, quarantine } = &verified;
            context.out.json(&json!({"whole": damaged.is_none(), "live": live, "segments": segments,
                "meta": {"whole": meta.is_none(), "damage": meta}, "quarantine": quarantine}))?;
        }
        (false, true) => {}
        (false, false) => lines(&segments, &verified).iter().try_for_each(|line| context.out.line(line))?,
    }
    context.out.flush()?;
    match damaged {
        None => Ok(Exit::Done),
        Some(what) => {
            let error =
                ApiError::new(Code::Failed, format!("the log at {} is damaged: {what}", setup.paths.state.display()));
            let hint = "what isn't damaged is readable; termalive stop, then termalive log salvage puts the damaged part aside";
            out::error(&error.hint(hint), context.json);
            Err(Failure::Said(Exit::Failed))
        }
    }
}

fn seen(setup: &Setup, live: bool) -> Result<(Vec<Checked>, Verified), Failure> {
    let mut segments = Vec::new();
    let verified = verify(&setup.paths.state, live, |checked| segments.push(checked)).map_err(down)?;
    Ok((segments, verified))
}

fn down(why: StoreDown) -> Failure {
    failed(why.to_string())
}

/// In a few words: the first of it, and how much more.
fn first_damage(segments: &[Checked], verified: &Verified) -> Option<String> {
    let of_segment = |s: &Checked| s.damage.first().map(|first| format!("segment {}: {first}", s.segment));
    let of_meta = verified.meta.iter().map(|why| format!("meta: {why}"));
    let all: Vec<String> = segments.iter().filter_map(of_segment).chain(of_meta).collect();
    match &all[..] {
        [] => None,
        [one] => Some(one.clone()),
        [first, more @ ..] => Some(format!("{first} (and {} more places)", more.len())),
    }
}

fn shown(checked: &Checked) -> Value {
    let Checked { segment, frames, sessions, bytes, damage, salvaged } = checked;
    json!({"segment": segment, "frames": frames, "sessions": sessions, "bytes": bytes, "damage": damage, "salvaged": salvaged})
}

fn lines(segments: &[Checked], verified: &Verified) -> Vec<String> {
    let mut lines = Vec::new();
    for s in segments {
        let state = match (s.damage.len(), s.salvaged) {
            (0, false) => "whole",
            (0, true) => "salvaged: what was lost shows as gaps",
            _ => "damaged",
        };
        lines.push(format!(
            "segment {}: {} frames of {} sessions, {} bytes, {state}",
            s.segment, s.frames, s.sessions, s.bytes
        ));
        lines.extend(s.damage.iter().map(|what| format!("  {}", out::one_line(what))));
    }
    let meta = verified.meta.as_deref().map_or("whole".to_owned(), |why| format!("damaged: {}", out::one_line(why)));
    lines.push(format!("meta: {meta}"));
    if !verified.quarantine.is_empty() {
        lines.push(format!("in quarantine: {}", verified.quarantine.join(" ")));
    }
    lines
}

fn salvage(setup: &Setup, context: &mut Context) -> Done {
    let Presence::Absent(Some(_no_host_starts)) = Host::local(setup.clone()).presence(true)? else {
        let error = ApiError::new(Code::Exists, "a host runs: it uses the log");
        return Err(error.hint("termalive stop ends it").into());
    };
    let (damaged, verified) = seen(setup, false)?;
    let damaged: Vec<Checked> = damaged.into_iter().filter(|s| !s.damage.is_empty()).collect();
    if damaged.is_empty() && verified.meta.is_none() {
        match context.json {
            true => context.out.json(&json!({"salvaged": [], "meta": false}))?,
            false => context.out.line("nothing is damaged")?,
        }
        return Ok(Exit::Done);
    }
    let config =
        Config::load(setup.config.as_deref(), &setup.env, &setup.set).map_err(crate::client::ClientError::from)?;
    save(setup, &config).map_err(down)?;
    let (after, _) = seen(setup, false)?;
    let kept = |n: u64| after.iter().find(|s| s.segment == n).map_or(0, |s| s.frames);
    if context.json {
        let salvaged: Vec<Value> =
            damaged.iter().map(|s| json!({"segment": s.segment, "frames": kept(s.segment)})).collect();
        context.out.json(&json!({"salvaged": salvaged, "meta": verified.meta.is_some()}))?;
        return Ok(Exit::Done);
    }
    for s in &damaged {
        let line = format!(
            "segment {}: put into quarantine, {} frames kept; the rest shows as gaps",
            s.segment,
            kept(s.segment)
        );
        context.out.line(&line)?;
    }
    if verified.meta.is_some() {
        context.out.line("meta: put into quarantine; sessions came back from it and from sessions.jsonl")?;
    }
    Ok(Exit::Done)
}

/// As a host opens it, with a look at every segment.
fn save(setup: &Setup, config: &Config) -> Result<(), StoreDown> {
    let state = &setup.paths.state;
    let options = store_options(config);
    let meta = Meta::open(state, &options)?;
    let store = SegmentStore::open(state, options)?;
    store.salvage()?;
    boot(&store, &meta, Vec::new(), store.is_tail_unknown(), false)?;
    store.tail_is_named()?;
    store.close()
}
