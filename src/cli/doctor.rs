//! `doctor`: is this machine, and this user's place on it, fit for a host? Each check says what it found and what to do.
//!
//! Looks only: no host is started, no folder is made. What the kernel says is read in `system`, folders and the host in
//! `place`; what that means is decided by functions of their text.

mod place;
mod system;

use super::{Done, args::NoNames, context::Context, context::converse, failed, out::one_line, table};
use crate::client::ClientError;
use crate::config::Config;
use crate::model::Exit;
use clap::Args;
use serde::Serialize;
use table::Paint;

/// Check this machine: terminals, limits, folders, kernel, host
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    names: NoNames,
}

/// One thing that was looked at.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    check: &'static str,
    status: Verdict,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
}

/// The width of a check's name. 13: the longest is `descriptors`.
const INDENT: usize = 13;

/// What it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    /// It works, with less than there could be.
    Warn,
    /// It doesn't work.
    Fail,
}

impl Check {
    fn ok(check: &'static str, found: impl Into<String>) -> Check {
        Check { check, status: Verdict::Ok, found: found.into(), help: None }
    }

    fn warn(check: &'static str, found: impl Into<String>, help: impl Into<String>) -> Check {
        Check { check, status: Verdict::Warn, found: found.into(), help: Some(help.into()) }
    }

    fn fail(check: &'static str, found: impl Into<String>, help: impl Into<String>) -> Check {
        Check { check, status: Verdict::Fail, found: found.into(), help: Some(help.into()) }
    }
}

pub(super) fn run(args: &DoctorArgs, context: &mut Context) -> Done {
    args.names.check("doctor", "show NAME")?;
    let (host, keeper) = ask(context)?;
    let mut checks = system::checks(keeper);
    match context.setup(&[], false) {
        Ok(setup) => {
            let config = Config::load(setup.config.as_deref(), &setup.env, &setup.set);
            checks.extend(place::folders(&setup.paths, config.as_ref().map_or(0, |config| config.store.min_free)));
            checks.push(match config {
                Ok(_) => Check::ok("settings", "can be read"),
                Err(why) => Check::fail("settings", why.to_string(), "put it right in that place"),
            });
        }
        Err(why) => checks.push(Check::fail("folders", why.to_string(), "set HOME or TERMALIVE_HOME")),
    }
    checks.push(host);
    show(&checks, context)?;
    context.out.flush()?;
    let bad = checks.iter().filter(|check| check.status == Verdict::Fail).count();
    match bad {
        0 => Ok(Exit::Done),
        _ if context.json || context.quiet => Err(super::Failure::Said(Exit::Failed)),
        n => Err(failed(format!("{n} of {} checks failed", checks.len()))),
    }
}

/// The host's check, and the pid of its keeper where it is one of this machine.
fn ask(context: &mut Context) -> Result<(Check, Option<u32>), super::Failure> {
    let local = !context.names_a_host();
    match context.running() {
        Err(why) => Ok((place::unreachable(&why), None)),
        Ok(client) => converse(async move {
            let host = place::host(&client).await;
            let asks = local && host.status != Verdict::Fail;
            Ok((host, if asks { place::keeper(&client).await } else { None }))
        }),
    }
}

fn show(checks: &[Check], context: &mut Context) -> Result<(), super::Failure> {
    if context.json {
        return context.out.json(&checks);
    }
    if context.quiet {
        let bad = checks.iter().filter(|check| check.status == Verdict::Fail);
        return bad.map(|check| check.check).try_for_each(|name| context.out.line(name));
    }
    let style = context.style();
    for check in checks {
        let (word, paint) = match check.status {
            Verdict::Ok => ("ok  ", Paint::Good),
            Verdict::Warn => ("warn", Paint::Busy),
            Verdict::Fail => ("fail", Paint::Bad),
        };
        // cut nowhere: the terminal may wrap a sentence
        let line = format!("{:<INDENT$}{}  {}", check.check, paint.on(word, style), one_line(&check.found));
        context.out.line(&line)?;
        check.help.iter().try_for_each(|help| context.out.line(&format!("{:1$}{help}", "", INDENT + 6)))?;
    }
    Ok(())
}

/// A failure as a sentence.
fn sentence(error: ClientError) -> String {
    crate::wire::ApiError::from(error).message
}
