//! Clients that go away, stop reading, or say too much never harm the session.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod support;

use futures_util::StreamExt;
use rustix::process::Signal;
use std::{fs, io::Read};
use support::{Host, Pattern, send_signal, wait_for};

#[test]
fn a_reader_that_closes_its_pipe_ends_the_command_with_0() {
    let host = Host::start();
    host.sh("s", "yes abcdefgh");
    for args in [&["logs", "s", "-f"][..], &["logs", "s", "-f", "--raw"], &["logs", "s", "-f", "--json"]] {
        let mut child = host.cmd(args).spawn_piped();
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut [0; 1000]).unwrap();
        drop(stdout);
        let end = wait_for("logs to notice", || child.try_wait().unwrap());
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(end.success() && said.is_empty(), "{args:?}: {end}: {said}");
    }
    assert_eq!(host.session("s").unwrap()["state"], "running");
}

#[test]
fn ctrl_c_ends_a_command_with_130_and_nothing_else() {
    let host = Host::start();
    host.sh("s", "echo up; exec cat");
    for args in [&["logs", "s", "-f"][..], &["logs", "s", "--since", "start", "--until", "NEVER"]] {
        let logs = host.cmd(args).spawn();
        logs.wait_for_output("up");
        logs.signal(Signal::INT);
        logs.wait().expect_code(130);
    }
    assert_eq!(host.session("s").unwrap()["state"], "running");
}

#[test]
fn a_reader_that_stops_slows_nobody_and_misses_nothing() {
    let host = Host::start();
    let pattern = Pattern::write_to(&host.path("pattern"), 1024 * 1024, 5);
    host.sh(
        "s",
        "stty raw -echo; while [ ! -e go ]; do sleep 0.01; done; for i in 1 2 3 4 5 6 7 8; do cat pattern; done",
    );
    let stopped = pattern.check_beside(host.cmd(["logs", "s", "--raw", "-f"]).spawn_piped());
    send_signal(stopped.pid(), Signal::STOP);
    let live = pattern.check_beside(host.cmd(["logs", "s", "--raw", "-f"]).spawn_piped());
    fs::write(host.path("go"), "").unwrap();
    assert_eq!(live.finish(), 8 * 1024 * 1024);
    host.wait_state("s", "exited");
    send_signal(stopped.pid(), Signal::CONT);
    assert_eq!(stopped.finish(), 8 * 1024 * 1024);
}

#[test]
fn a_program_that_does_not_read_costs_one_send() {
    let host = Host::start();
    host.sh("s", "stty raw -echo; echo up; while [ ! -e go ]; do sleep 0.02; done; exec cat -v");
    host.wait_text("s", "up");
    let much = vec![b'x'; 1024 * 1024];
    let out = host.cmd(["send", "s", "--raw", "--timeout", "1s"]).stdin(much).run().expect_error(2, &["typed", "of"]);
    assert!(out.stderr.contains("1048576") || out.stderr.contains("1,048,576"), "typed N of M: {}", out.stderr);
    host.run(["send", "s", "--timeout", "500ms", "more"]).expect_code(2);
    assert_eq!(host.session("s").unwrap()["state"], "running");
    fs::write(host.path("go"), "").unwrap();
    host.ok(["send", "s", "then ü"]);
    host.wait_text("s", "then M-CM-<");
}

#[test]
fn a_line_that_the_kernel_would_cut_is_refused() {
    let host = Host::start();
    host.sh("cooked", "echo up; while read -r line; do echo ${#line} characters; done");
    host.sh("raw", "stty raw -echo; echo up; exec cat -v");
    for name in ["cooked", "raw"] {
        host.wait_text(name, "up");
    }
    let long = "y".repeat(5000);
    let out = host.run(["send", "cooked", &long]);
    assert!(out.code == 64 || out.code == 1, "{out:?}");
    assert!(out.stderr.contains("4,095") || out.stderr.contains("4095"), "{}", out.stderr);
    host.ok(["send", "cooked", &"y".repeat(4000)]);
    host.wait_text("cooked", "^4000 characters$");
    assert!(!host.ok(["logs", "cooked"]).contains("5000"), "nothing of the long one was typed");
    let lines = vec!["z".repeat(3000); 3].join("\n");
    host.ok(["send", "cooked", &lines]);
    host.wait_text("cooked", "^3000 characters$");
    host.ok(["send", "raw", &format!("{long}ü")]);
    let typed = format!("{}M-CM-<", "y".repeat(5000));
    let raw = || host.run(["logs", "raw", "--raw"]).stdout;
    wait_for("the long line", || String::from_utf8_lossy(&raw()).contains(&typed).then_some(()));
}

#[test]
fn commands_that_die_leave_the_session_alone() {
    let host = Host::start();
    host.sh("s", "stty -echo; echo up; while read -r line; do echo \"got $line\"; done");
    host.wait_text("s", "^up$");
    for n in 0..5 {
        let logs = host.cmd(["logs", "s", "-f"]).spawn();
        logs.wait_for_output("up");
        logs.signal(Signal::KILL);
        assert_eq!(logs.wait().code, 137);
        host.ok(["send", "s", &format!("line {n}")]);
        host.wait_text("s", &format!("^got line {n}$"));
    }
}

/// A reading of bytes that is taken up again begins where it stood: read from its start each time, one of a long log would get
/// nowhere under a host that is killed often. One that judges what it reads begins at its start.
#[test]
fn bytes_are_taken_up_where_they_stood() {
    let host = Host::start();
    host.sh("s", "echo one; echo two; exec cat");
    host.wait_text("s", "^two$");
    let first = hello(&host, "content=raw&since=start");
    let (id, start) = (first["id"].as_str().unwrap(), first["start"].as_str().unwrap());
    assert_eq!(start, "@1");
    let again = |wanted: &str| hello(&host, &format!("{wanted}&id={id}&start=@1&after=@3.2"))["start"].clone();
    for bytes in ["content=raw", "content=base64", "content=chars&events=all"] {
        assert_eq!(again(bytes), "@3.2", "{bytes}");
    }
    for judged in [
        "content=rows",
        "content=raw&until=three",
        "content=raw&wait_idle=1m",
        "content=raw&lines=1",
        "content=chars&times=1",
    ] {
        assert_eq!(again(judged), "@1", "{judged}");
    }
}

/// The first frame of a reading that goes on.
fn hello(host: &Host, query: &str) -> serde_json::Value {
    let socket = host.status().unwrap()["socket"].as_str().unwrap().to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::UnixStream::connect(socket).await.unwrap();
        let url = format!("ws://localhost/v1/sessions/s/follow?follow=1&{query}");
        let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
        let frame = tokio::time::timeout(support::BOUND, socket.next()).await.expect("a frame in time");
        serde_json::from_str(&frame.unwrap().unwrap().into_text().unwrap()).unwrap()
    })
}
