//! `send`: types a text and Enter, a text alone, keys, or bytes as they are.
//!
//! What is typed is settled here, before the host is asked: arguments, standard input, or both. Standard input is read only
//! where the arguments leave no doubt that it is meant.

use super::{Done, Failure, check, context::Context, context::converse, failed, wrong};
use crate::client::{Client, ClientError};
use crate::model::{Exit, Name, RawString};
use crate::wire::{InputRequest, KeysRequest, MAX_BODY, Receipt, TurnRequest};
use clap::Args;
use std::{
    ffi::OsString,
    io::{IsTerminal, Read},
    os::unix::ffi::OsStringExt,
    time::Duration,
};

/// Type a text into a session and submit it
#[derive(Debug, Args)]
pub(super) struct SendArgs {
    /// Session
    name: Name,
    /// The text, joined by blanks; a last - reads standard input, put after the rest and an empty line
    #[arg(value_name = "TEXT", allow_negative_numbers = true)]
    text: Vec<OsString>,
    /// Type the text without Enter
    #[arg(short = 'n', long, conflicts_with_all = ["keys", "raw"])]
    no_submit: bool,
    /// Press keys: ctrl+c, up, enter, …
    #[arg(long, value_name = "KEY", num_args = 1.., value_parser = check::key, conflicts_with_all = ["text", "raw"])]
    keys: Vec<String>,
    /// Type the bytes of standard input as they are
    #[arg(long, conflicts_with = "text")]
    raw: bool,
    /// How long the program may take to read it [default: 60s]
    #[arg(long, value_name = "D", value_parser = check::duration)]
    timeout: Option<Duration>,
}

/// What goes to the session.
enum Typing {
    Turn(RawString),
    Input { text: RawString, raw: bool },
    Keys(Vec<String>),
}

pub(super) fn run(args: SendArgs, context: &mut Context) -> Done {
    let (name, timeout) = (args.name.clone(), args.timeout);
    let typing = typing(args)?;
    let from = context.sender().map(|name| name.to_string());
    let client = context.client()?;
    let receipt = converse(async { Ok(post(&client, &name, typing, from, timeout).await?) })?;
    if context.json {
        context.out.json(&receipt)?;
    } else if context.quiet {
        context.out.line(receipt.session.as_str())?;
    }
    Ok(Exit::Done)
}

async fn post(
    client: &Client,
    name: &Name,
    typing: Typing,
    from: Option<String>,
    timeout: Option<Duration>,
) -> Result<Receipt, ClientError> {
    let path = |verb: &str| format!("/v1/sessions/{name}/{verb}");
    let timeout_ms = timeout.map(|t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX));
    match typing {
        Typing::Turn(text) => {
            let request = TurnRequest { text, from, timeout_ms, ..TurnRequest::default() };
            client.post(&path("turns"), &request).await
        }
        Typing::Input { text, raw } => client.post(&path("input"), &InputRequest { text, raw, from, timeout_ms }).await,
        Typing::Keys(keys) => client.post(&path("keys"), &KeysRequest { keys, from, timeout_ms }).await,
    }
}

fn typing(args: SendArgs) -> Result<Typing, Failure> {
    if !args.keys.is_empty() {
        return Ok(Typing::Keys(args.keys));
    }
    if args.raw {
        return Ok(Typing::Input { text: RawString(stdin("--raw types")?), raw: true });
    }
    let text = text("send", args.text, args.no_submit)?;
    Ok(if args.no_submit { Typing::Input { text, raw: false } } else { Typing::Turn(text) })
}

/// The text of a verb that types: its words, standard input, or both.
pub(super) fn text(verb: &str, words: Vec<OsString>, no_submit: bool) -> Result<RawString, Failure> {
    let text = match plan(words) {
        Plan::Arguments(text) => text,
        Plan::Stdin => submitted(stdin(&format!("{verb} types TEXT, or"))?, no_submit),
        Plan::Both(mut text) => {
            let more = submitted(stdin("- reads")?, no_submit);
            text.extend_from_slice(b"\n\n");
            text.extend(more);
            text
        }
    };
    if let Some((at, byte)) = control_byte(&text) {
        return Err(wrong(format!(
            "can't type a control byte: 0x{byte:02x} at byte {at} of the text (--keys presses keys, --raw types bytes as they are)"
        )));
    }
    Ok(RawString(text))
}

/// Where the text comes from.
#[derive(Debug, PartialEq)]
enum Plan {
    Arguments(Vec<u8>),
    Stdin,
    Both(Vec<u8>),
}

/// Only a last `-` means standard input: `send x a - b` is a text with a dash.
fn plan(mut words: Vec<OsString>) -> Plan {
    let dash = words.last().is_some_and(|word| word == "-");
    if dash {
        words.pop();
    }
    let text = |words: Vec<OsString>| words.into_iter().map(OsString::into_vec).collect::<Vec<_>>().join(&b' ');
    match (dash, words.is_empty()) {
        (_, true) => Plan::Stdin,
        (true, false) => Plan::Both(text(words)),
        (false, false) => Plan::Arguments(text(words)),
    }
}

/// All of standard input. A terminal is refused: a person who waits there doesn't know that we do. So is an empty one: what
/// should have written to it has failed, and Enter alone may answer a question that nobody saw.
fn stdin(who: &str) -> Result<Vec<u8>, Failure> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Err(wrong(format!("nothing to send: {who} standard input, which is a terminal here")));
    }
    let mut bytes = Vec::new();
    let limit = MAX_BODY as u64 + 1;
    stdin
        .lock()
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(|why| failed(format!("can't read standard input: {why}")))?;
    match bytes.len() {
        0 => Err(wrong("nothing to send: standard input is empty (send NAME '' presses Enter alone)")),
        n if n as u64 == limit => Err(wrong(format!("too much to send at once: at most {MAX_BODY} bytes"))),
        _ => Ok(bytes),
    }
}

/// One newline at the end of standard input is the shell's, not the text's.
fn submitted(mut bytes: Vec<u8>, no_submit: bool) -> Vec<u8> {
    if !no_submit && bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    bytes
}

/// The first control byte that isn't a tab or a newline, counted from 1.
fn control_byte(text: &[u8]) -> Option<(usize, u8)> {
    let at = text.iter().position(|b| (*b < b' ' && !matches!(b, b'\t' | b'\n')) || *b == 0x7f)?;
    Some((at + 1, text[at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_last_dash_is_standard_input() {
        let plan = |words: &[&str]| plan(words.iter().map(OsString::from).collect());
        let arguments = |text: &str| Plan::Arguments(text.into());
        assert_eq!(plan(&[]), Plan::Stdin);
        assert_eq!(plan(&["-"]), Plan::Stdin);
        assert_eq!(plan(&["fix", "it"]), arguments("fix it"));
        assert_eq!(plan(&["a", "-", "b"]), arguments("a - b"));
        assert_eq!(plan(&["-", "b"]), arguments("- b"));
        assert_eq!(plan(&["review", "this", "-"]), Plan::Both(b"review this".to_vec()));
        assert_eq!(plan(&[""]), arguments(""));
    }

    #[test]
    fn control_bytes_are_found() {
        for (text, found) in [
            ("a\tb\nc", None),
            ("ä\u{80}", None),
            ("\x1b", Some((1, 0x1b))),
            ("ab\rc", Some((3, 0x0d))),
            ("a\x7f", Some((2, 0x7f))),
        ] {
            assert_eq!(control_byte(text.as_bytes()), found, "{text:?}");
        }
    }

    #[test]
    fn one_newline_is_dropped_where_enter_follows() {
        assert_eq!(submitted(b"a\n\n".to_vec(), false), b"a\n");
        assert_eq!(submitted(b"a\n".to_vec(), true), b"a\n");
        assert_eq!(submitted(b"a".to_vec(), false), b"a");
    }
}
