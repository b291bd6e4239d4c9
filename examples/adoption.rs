//! Part of `scripts/bench`: how long the sessions are alone when a host dies.
//!
//! `adoption beat MS` is what runs in a session: a row each so many milliseconds. `adoption kill COUNT` kills the host of
//! `TERMALIVE_HOME` so often with SIGKILL, under whatever goes on there, and prints a line for each promise: its name, then
//! median, 99th percentile and worst in milliseconds since the kill.
//!
//! `read`: the terminal of a session is read again. Every record carries the time at which it was read: the first one of
//! each session after each kill counts. `answer`: the socket answers. `durable`: the first input is acknowledged, which is
//! after it is on disk.

#![allow(clippy::print_stdout, reason = "a program")]

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    error::Error,
    io::{Read, Write},
    os::unix::net::UnixStream,
    process::Command,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A host that doesn't answer for so long is broken.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks: short against what is measured.
const LOOK: Duration = Duration::from_micros(500);
/// Between kills: enough for everything to be as always, another moment of the commit interval each time.
const REST: Duration = Duration::from_millis(1500);

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["beat", ms] => beat(Duration::from_millis(ms.parse()?)),
        ["kill", count] => kill(count.parse()?),
        _ => Err("usage: adoption beat MS | adoption kill COUNT".into()),
    }
}

fn beat(pause: Duration) -> Result<()> {
    let mut out = std::io::stdout();
    loop {
        writeln!(out, "{}", now_ms()?)?;
        out.flush()?;
        thread::sleep(pause);
    }
}

fn kill(count: u32) -> Result<()> {
    let status: Value = serde_json::from_slice(&termalive(&["status", "--json"])?)?;
    let socket = status["socket"].as_str().ok_or("no socket")?.to_owned();
    termalive(&["new", "adoption-typed", "--exist-ok", "--", "sh", "-c", "stty -echo; exec cat >/dev/null"])?;
    let (mut kills, mut answers, mut durables) = (vec![], vec![], vec![]);
    for n in 0..count {
        let (_, body) = ask(&socket, "GET", "/v1/status", "")?;
        let status: Value = serde_json::from_str(&body)?;
        let pid =
            status["host_pid"].as_i64().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).ok_or("no pid")?;
        let (wall, start) = (now_ms()?, Instant::now());
        kill_process(pid, Signal::KILL)?;
        while !matches!(ask(&socket, "GET", "/healthz", ""), Ok((200, _))) {
            be_patient(start)?;
        }
        answers.push(start.elapsed().as_secs_f64() * 1000.0);
        let typed = r#"{"text":"x"}"#;
        while !matches!(ask(&socket, "POST", "/v1/sessions/adoption-typed/input", typed), Ok((200, _))) {
            be_patient(start)?;
        }
        durables.push(start.elapsed().as_secs_f64() * 1000.0);
        kills.push(wall);
        thread::sleep(REST + Duration::from_millis(u64::from(n * 37 % 100)));
    }
    let mut reads = vec![];
    let names = String::from_utf8(termalive(&["list", "-q"])?)?;
    for name in names.lines().filter(|name| name.starts_with("beat-")) {
        reads.extend(first_reads(name, &kills)?);
    }
    for (what, times) in [("read", reads), ("answer", answers), ("durable", durables)] {
        print(what, times);
    }
    Ok(())
}

/// How long after each kill the first record of a session was read, milliseconds.
fn first_reads(name: &str, kills: &[f64]) -> Result<Vec<f64>> {
    let out = termalive(&["export", name, "--format", "jsonl", "--since", &stamp(kills[0])?])?;
    let mut times = vec![];
    for line in String::from_utf8(out)?.lines() {
        let line: Value = serde_json::from_str(line)?;
        if line["event"] == "data" {
            let at: jiff::Timestamp = line["ts"].as_str().ok_or("no ts")?.parse()?;
            times.push(at.as_microsecond() as f64 / 1000.0);
        }
    }
    times.sort_by(f64::total_cmp);
    let first = |kill: &f64| times.get(times.partition_point(|at| at < kill)).map(|at| at - kill);
    Ok(kills.iter().filter_map(first).collect())
}

fn print(what: &str, mut times: Vec<f64>) {
    times.sort_by(f64::total_cmp);
    let at = |part: f64| times.get(((times.len() as f64 - 1.0) * part) as usize).copied().unwrap_or(f64::NAN);
    println!("{what} {:.0} {:.0} {:.0} of {}", at(0.5), at(0.99), at(1.0), times.len());
}

fn be_patient(start: Instant) -> Result<()> {
    if start.elapsed() > PATIENCE {
        return Err("the next host doesn't answer".into());
    }
    thread::sleep(LOOK);
    Ok(())
}

/// One request on a connection of its own: status and body.
fn ask(socket: &str, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}");
    write!(stream, "{head}\r\ncontent-type: application/json\r\n\r\n{body}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("it hung up")?;
    let status = head.split(' ').nth(1).ok_or("no status")?.parse()?;
    Ok((status, body.to_owned()))
}

fn termalive(words: &[&str]) -> Result<Vec<u8>> {
    let out = Command::new("termalive").args(words).output()?;
    if !out.status.success() {
        return Err(format!("termalive {}: {}", words.join(" "), String::from_utf8_lossy(&out.stderr)).into());
    }
    Ok(out.stdout)
}

fn stamp(ms: f64) -> Result<String> {
    Ok(jiff::Timestamp::from_millisecond(ms as i64)?.to_string())
}

fn now_ms() -> Result<f64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64() * 1000.0)
}
