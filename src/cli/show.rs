//! `show`: all that the host knows of one session.

use super::{Done, context::Context, context::converse, list, out::one_line, table};
use crate::model::{Exit, Name, RawString, format_duration};
use crate::wire::SessionInfo;
use clap::Args;
use jiff::Timestamp;
use std::time::Duration;

/// Show a session: command, state, times, size, labels
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// Session
    name: Name,
}

pub(super) fn run(args: &ShowArgs, context: &mut Context) -> Done {
    let client = context.client()?;
    let path = format!("/v1/sessions/{}", args.name);
    let session: SessionInfo = converse(async { Ok(client.get(&path).await?) })?;
    match (context.json, context.quiet) {
        (true, _) => context.out.json(&session)?,
        (false, true) => context.out.line(session.name.as_str())?,
        (false, false) => {
            let lines = table::pairs(&facts(&session, Timestamp::now()));
            lines.into_iter().try_for_each(|line| context.out.line(&one_line(&line)))?;
        }
    }
    Ok(Exit::Done)
}

fn facts(session: &SessionInfo, now: Timestamp) -> Vec<(&'static str, String)> {
    let ago = |at: &String| {
        let age = at.parse::<Timestamp>().ok().and_then(|at| now.duration_since(at).try_into().ok());
        age.map_or_else(|| at.clone(), |age| format!("{at} ({} ago)", table::age(age)))
    };
    let argv: Vec<String> = session.argv.iter().map(RawString::lossy).collect();
    let argv = shell_words::join(argv);
    let labels: Vec<String> = session.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let known = |name: &'static str, value: Option<String>| value.filter(|v| !v.is_empty()).map(|value| (name, value));
    [
        known("name", Some(session.name.to_string())),
        known("id", Some(session.id.to_string())),
        known("state", Some(state(session))),
        known("activity", Some(session.activity.clone()).filter(|activity| activity != "unknown")),
        known("agent", session.agent.clone()),
        known("command", Some(session.command.clone())),
        known("argv", Some(argv).filter(|argv| *argv != session.command)),
        known("restart with", session.restart_command.clone()),
        known("cwd", Some(session.cwd.lossy())),
        known("pid", session.pid.map(|pid| pid.to_string())),
        known("run", Some(format!("{}{}", session.run, restarts(session.restarts)))),
        known("created", Some(ago(&session.created_at))),
        known("started", session.started_at.as_ref().map(ago)),
        known("exited", session.exited_at.as_ref().map(ago)),
        known("last output", session.last_output_at.as_ref().map(ago)),
        known("turns", session.last_turn.map(|turn| turn.to_string())),
        known("log", Some(format!("up to @{}", session.last_seq))),
        known("size", Some(session.size.to_string())),
        known("labels", Some(labels.join(" "))),
        known("stop", stop(session)),
        known("watchdog", session.watchdog_ms.map(span)),
        known("attached", (session.attached > 0).then(|| session.attached.to_string())),
        known("queued", (session.queued > 0).then(|| session.queued.to_string())),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn state(session: &SessionInfo) -> String {
    let mut text = session.state.as_str().to_owned();
    match (list::ended(session), session.signal) {
        (status, _) if status.is_empty() => {}
        (status, Some(signal)) => text += &format!(", exit status {status} (signal {signal})"),
        (status, None) => text += &format!(", exit status {status}"),
    }
    session.reason.iter().for_each(|reason| text += &format!(": {reason}"));
    text
}

/// How it is asked to end, where that isn't as usual.
fn stop(session: &SessionInfo) -> Option<String> {
    let signal = session.stop_signal.as_ref().map(|signal| format!("SIG{signal}"));
    let time = session.stop_timeout_ms.map(|ms| format!("KILL after {}", span(ms)));
    let said: Vec<String> = signal.into_iter().chain(time).collect();
    Some(said.join(", ")).filter(|said| !said.is_empty())
}

fn span(ms: u64) -> String {
    format_duration(Duration::from_millis(ms))
}

fn restarts(n: u32) -> String {
    match n {
        0 => String::new(),
        1 => " (restarted once)".to_owned(),
        n => format!(" (restarted {n} times)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_known_is_shown() {
        let session: SessionInfo = serde_json::from_value(json!({
            "name": "a", "id": "07070707070707070707070707070707", "state": "exited", "activity": "unknown",
            "command": "cat x", "argv": ["cat", "x"], "cwd": "/", "run": 2, "signal": 9, "created_at": "2026-02-01T03:40:00Z",
            "exited_at": "2026-02-01T03:41:00Z", "last_seq": 7, "size": {"cols": 80, "rows": 24}, "labels": {"k": "v"},
            "restart_command": "cat y", "stop_signal": "INT", "stop_timeout_ms": 500, "watchdog_ms": 600000,
            "restarts": 1, "attached": 0, "queued": 0
        }))
        .unwrap();
        let facts = facts(&session, "2026-02-01T03:42:00Z".parse().unwrap());
        let shown: Vec<String> = facts.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let wanted = [
            "name=a",
            "id=07070707070707070707070707070707",
            "state=exited, exit status 137 (signal 9)",
            "command=cat x",
            "restart with=cat y",
            "cwd=/",
            "run=2 (restarted once)",
            "created=2026-02-01T03:40:00Z (2m ago)",
            "exited=2026-02-01T03:41:00Z (1m ago)",
            "log=up to @7",
            "size=80x24",
            "labels=k=v",
            "stop=SIGINT, KILL after 500ms",
            "watchdog=10m",
        ];
        assert_eq!(shown, wanted);
    }
}
