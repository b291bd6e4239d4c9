//! `events`: how each session stands, then what happens to them.

use super::{Done, Failure, context::Context, context::converse, out};
use crate::client::Events;
use crate::model::Exit;
use crate::wire::{Change, EventsQuery};
use clap::Args;
use serde_json::Value;

/// Show how sessions stand; with -f also what happens to them
#[derive(Debug, Args)]
pub(super) struct EventsArgs {
    /// Go on
    #[arg(short, long)]
    follow: bool,
    /// Go on after this line: the id of the last one that came
    #[arg(long, value_name = "ID")]
    since: Option<String>,
    /// These types alone: session, created, starting, started, resized, turn, hung, exited, restarting, failed, removed
    #[arg(long = "type", value_name = "TYPE,…", value_delimiter = ',', value_parser = check_type)]
    types: Vec<String>,
}

fn check_type(text: &str) -> Result<String, String> {
    EventsQuery::check_type(text).map_err(|e| e.message)
}

pub(super) fn run(args: EventsArgs, context: &mut Context) -> Done {
    let query = EventsQuery { since: args.since, types: args.types, follow: args.follow };
    let client = context.client()?;
    super::logs::end_on_interrupt()?;
    converse(async {
        if !query.follow {
            // whole or not at all: it is short, and cut off it is asked for again
            for change in client.events(&query).await? {
                print(context, &change)?;
            }
            return Ok(Exit::Done);
        }
        let mut events = Events::open(client, query).await?;
        let reader_gone = super::logs::reader_gone();
        tokio::pin!(reader_gone);
        loop {
            tokio::select! {
                biased;
                change = events.next() => print(context, &change?)?,
                // reached only when nothing more is there at the moment
                () = std::future::ready(()), if context.out.waits() => context.out.flush()?,
                () = &mut reader_gone => return Err(Failure::ReaderGone),
            }
        }
    })
}

fn print(context: &mut Context, change: &Change) -> Result<(), Failure> {
    match (context.json, context.quiet) {
        (true, _) => context.out.json(change),
        (false, true) => context.out.line(change.session.as_str()),
        (false, false) => context.out.line(&out::one_line(&human(change))),
    }
}

/// A line for people: when, who, what, and what belongs to it.
fn human(change: &Change) -> String {
    let Change { ts, session, event, detail, .. } = change;
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if event == "session" {
        let info = detail.get("info").and_then(Value::as_object);
        let field = |name: &str| info.and_then(|info| info.get(name)).map(text).unwrap_or_default();
        let state = detail.get("state").map(text).unwrap_or_default();
        return format!("{ts} {session} is {state} run={} {}", field("run"), field("command"));
    }
    let mut line = format!("{ts} {session} {event}");
    for (name, value) in detail.iter().filter(|(_, value)| !value.is_null()) {
        let value = match (value.get("cols"), value.get("rows")) {
            (Some(cols), Some(rows)) => format!("{cols}x{rows}"),
            _ => text(value),
        };
        line.push_str(&format!(" {name}={value}"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lines_for_people_say_what_happened() {
        let table = [
            (
                json!({"event": "session", "state": "running", "info": {"run": 2, "command": "bash --norc"}}),
                "T p is running run=2 bash --norc",
            ),
            (
                json!({"event": "exited", "run": 1, "exit_code": 3, "signal": null, "last": true}),
                "T p exited exit_code=3 last=true run=1",
            ),
            (json!({"event": "resized", "size": {"cols": 100, "rows": 30}}), "T p resized size=100x30"),
            (json!({"event": "removed"}), "T p removed"),
        ];
        for (mut line, expected) in table {
            for (name, value) in
                [("id", "1-2"), ("ts", "T"), ("session", "p"), ("session_id", "07070707070707070707070707070707")]
            {
                line[name] = value.into();
            }
            line["seq"] = 4.into();
            assert_eq!(human(&serde_json::from_value(line).unwrap()), expected);
        }
    }
}
