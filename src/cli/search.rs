//! `search`: a pattern in the logs of all sessions, as grep over files. Hits come from the host, one by one.

use super::{Done, Failure, check, context::Context, context::converse, out, wrong};
use crate::follow::{MAX_CONTEXT, Pattern};
use crate::model::{Exit, Name};
use crate::wire::{SearchHit, SearchQuery};
use clap::{Args, ValueEnum};

/// Find rows in the logs of all sessions, ended ones too; none: exit 1
#[derive(Debug, Args)]
pub(super) struct SearchArgs {
    /// A regex, on rows as a person reads them
    #[arg(value_name = "RE", allow_hyphen_values = true)]
    pattern: String,
    /// In these sessions alone
    #[arg(value_name = "NAME")]
    names: Vec<Name>,
    /// Only what came since: a duration such as 7d, or a time
    #[arg(long, value_name = "D", value_parser = check::moment)]
    since: Option<String>,
    /// In what programs wrote, or in what was typed
    #[arg(long = "in", value_name = "WHERE", default_value = "output")]
    side: Side,
    /// So many rows before and after each hit, too
    #[arg(short = 'C', long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=MAX_CONTEXT as i64))]
    context: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Side {
    Output,
    Input,
}

pub(super) fn run(args: SearchArgs, context: &mut Context) -> Done {
    Pattern::parse(&args.pattern).map_err(|why| {
        let why = why.to_string();
        wrong(why.split(" (for a plain text").next().unwrap_or(&why))
    })?;
    let query = SearchQuery {
        pattern: args.pattern,
        sessions: args.names.iter().map(Name::to_string).collect(),
        since: args.since,
        input: args.side == Side::Input,
        context: args.context.into(),
    };
    let client = context.client()?;
    super::logs::end_on_interrupt()?;
    let found = converse(async {
        let mut hits = client.search(query).await?;
        let mut printer = Printer { json: context.json, quiet: context.quiet, out: &mut context.out, last: None };
        loop {
            tokio::select! {
                biased;
                hit = hits.next() => match hit? {
                    Some(hit) => printer.hit(hit)?,
                    None => break,
                },
                // reached only when nothing more is there at the moment
                () = std::future::ready(()), if printer.out.waits() => printer.out.flush()?,
            }
        }
        printer.end()
    })?;
    Ok(if found { Exit::Done } else { Exit::Failed })
}

struct Printer<'a> {
    json: bool,
    quiet: bool,
    out: &'a mut out::Out,
    /// The session of the last hit.
    last: Option<Name>,
}

impl Printer<'_> {
    fn hit(&mut self, hit: SearchHit) -> Result<(), Failure> {
        if self.json {
            self.out.json_element(&hit, self.last.is_none())?;
        } else if self.quiet {
            if self.last.as_ref() != Some(&hit.session) {
                self.out.line(hit.session.as_str())?;
            }
        } else {
            let around = !hit.before.is_empty() || !hit.after.is_empty();
            if around && self.last.is_some() {
                self.out.line("--")?;
            }
            let SearchHit { session, run, ts, seq, .. } = &hit;
            let turn = hit.turn.map(|turn| format!(" turn {turn}")).unwrap_or_default();
            let near = |row: &String| format!("{session} - {}", out::one_line(row));
            let row = format!("{session} run {run}{turn} {ts} {seq}: {}", out::one_line(&hit.row));
            let lines = hit.before.iter().map(near).chain([row]).chain(hit.after.iter().map(near));
            lines.into_iter().try_for_each(|line| self.out.line(&line))?;
        }
        self.last = Some(hit.session);
        Ok(())
    }

    /// All is searched; true when something was found. An array that broke off before stays open: it isn't whole.
    fn end(self) -> Result<bool, Failure> {
        if self.json {
            self.out.json_end(self.last.is_none())?;
        }
        Ok(self.last.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn hits_look_like_those_of_grep() {
        let hit = |session: &str, before: &[&str]| {
            json!({"session": session, "id": "07070707070707070707070707070707", "run": 1,
                "turn": (session == "q").then_some(2), "ts": "T", "seq": "@3.4", "row": "a\u{1b}b", "before": before,
                "after": []})
            .to_string()
        };
        let print = |json, quiet, hits: &[String]| {
            let mut out = out::Out::default();
            let mut printer = Printer { json, quiet, out: &mut out, last: None };
            hits.iter().for_each(|hit| printer.hit(serde_json::from_str(hit).unwrap()).unwrap());
            assert_eq!(printer.end().unwrap(), !hits.is_empty());
            out.take()
        };
        let two = [hit("p", &[]), hit("q", &["x"])];
        assert_eq!(print(false, false, &two), "p run 1 T @3.4: a b\n--\nq - x\nq run 1 turn 2 T @3.4: a b\n");
        assert_eq!(print(false, true, &[hit("p", &[]), hit("p", &[]), hit("q", &[])]), "p\nq\n");
        let all = print(true, false, &two);
        assert!(all.starts_with(r#"[{"session":"p","id":"0707"#) && all.ends_with("}\n]\n"), "{all}");
        assert_eq!(serde_json::from_str::<Vec<SearchHit>>(&all).unwrap().len(), 2);
        assert_eq!((print(true, false, &[]), print(false, false, &[])), ("[]\n".into(), String::new()));
    }
}
