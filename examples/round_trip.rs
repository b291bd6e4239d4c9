//! Part of `scripts/bench`: how long a typed byte takes until it is seen again, on a program that gives back what it gets.
//!
//! `round_trip termalive SOCKET SESSION COUNT` types through the WebSocket of `…/attach`; `round_trip tmux SERVER SESSION
//! COUNT` through `tmux -C`. Prints the median and the 99th percentile, in microseconds.

#![allow(clippy::print_stdout, reason = "a program")]

use futures_util::{SinkExt, StreamExt};
use std::{
    error::Error,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tokio::net::UnixStream;
use tokio_tungstenite::{client_async, tungstenite::Message};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The first ones warm things up.
const WARM: usize = 20;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [kind, at, session, count] = words.as_slice() else {
        return Err("usage: round_trip termalive|tmux SOCKET|SERVER SESSION COUNT".into());
    };
    let count = count.parse::<usize>()? + WARM;
    let mut times = match kind.as_str() {
        "termalive" => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(termalive(at, session, count))?,
        "tmux" => tmux(at, session, count)?,
        other => return Err(format!("{other}: termalive or tmux").into()),
    };
    let times = &mut times[WARM..];
    times.sort_unstable();
    println!("{} {}", times[times.len() / 2].as_micros(), times[times.len() * 99 / 100].as_micros());
    Ok(())
}

/// What is typed the nth time: no two in a row are the same.
fn byte(n: usize) -> u8 {
    b'a' + u8::try_from(n % 26).unwrap_or(0)
}

async fn termalive(socket: &str, session: &str, count: usize) -> Result<Vec<Duration>> {
    let stream = UnixStream::connect(socket).await?;
    let url = format!("ws://localhost/v1/sessions/{session}/attach?cols=80&rows=24");
    let (mut socket, _) = client_async(url, stream).await?;
    while !matches!(socket.next().await.ok_or("it hung up")??, Message::Binary(_)) {} // the screen as it stands
    let mut times = Vec::with_capacity(count);
    for n in 0..count {
        let start = Instant::now();
        socket.send(Message::binary(vec![byte(n)])).await?;
        loop {
            match socket.next().await.ok_or("it hung up")?? {
                Message::Binary(seen) if seen.contains(&byte(n)) => break,
                Message::Close(_) => return Err("the session has ended".into()),
                _ => {}
            }
        }
        times.push(start.elapsed());
    }
    Ok(times)
}

fn tmux(server: &str, session: &str, count: usize) -> Result<Vec<Duration>> {
    let mut command = Command::new("tmux");
    command.args(["-L", server, "-C", "attach-session", "-t", session]);
    let mut client = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut typed = client.stdin.take().ok_or("no stdin")?;
    let mut said = BufReader::new(client.stdout.take().ok_or("no stdout")?).lines();
    // before it says so, this client isn't told of output
    while !said.next().ok_or("tmux hung up")??.starts_with("%session-changed") {}
    let mut times = Vec::with_capacity(count);
    for n in 0..count {
        let start = Instant::now();
        writeln!(typed, "send-keys -t {session} -l {}", char::from(byte(n)))?;
        loop {
            let line = said.next().ok_or("tmux hung up")??;
            // %output %PANE TEXT
            let text = line.strip_prefix("%output ").and_then(|rest| rest.split_once(' '));
            if text.is_some_and(|(_, text)| text.as_bytes().contains(&byte(n))) {
                break;
            }
        }
        times.push(start.elapsed());
    }
    drop(typed);
    client.kill()?;
    client.wait()?;
    Ok(times)
}
