//! `rm`: removes ended sessions with their logs; `-f` ends live ones first.

use super::{Done, context::Context, context::converse, many};
use clap::Args;
use hyper::Method;

/// Remove ended sessions and their logs
#[derive(Debug, Args)]
pub(super) struct RmArgs {
    #[command(flatten)]
    which: many::Which,
    /// Live ones too: they are ended first; from inside a session also those that it didn't make
    #[arg(short, long)]
    force: bool,
}

pub(super) fn run(args: &RmArgs, context: &mut Context) -> Done {
    args.which.check("rm")?;
    let (client, json) = (context.client()?, context.json);
    let query = match (args.force, context.inside_id()) {
        (true, _) => "?force=1".to_owned(),
        (false, Some(from)) => format!("?from={from}"),
        (false, None) => String::new(),
    };
    let (done, exit) = converse(many::each(&client, &args.which, true, json, async |name| {
        client.order(Method::DELETE, &format!("/v1/sessions/{name}{query}")).await?;
        Ok(serde_json::json!({ "name": name }))
    }))?;
    many::show(context, &done)?;
    Ok(exit)
}
