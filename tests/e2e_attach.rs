//! `attach`, with a terminal of the test's own. What it looks like on a screen is tried in tmux: `tests/attach/`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod support;

use futures_util::{SinkExt, StreamExt};
use rustix::process::Signal;
use std::{fs, time::Duration};
use support::{Host, Terminal, wait_for};
use tokio_tungstenite::tungstenite::{Error, Message};

const DETACH: &[u8] = b"\x02d";

fn attach(host: &Host, name: &str) -> Terminal {
    Terminal::run(host.cmd(["attach", name]), 80, 24)
}

fn inputs(host: &Host, name: &str) -> Vec<serde_json::Value> {
    let log = host.run(["logs", name, "--json", "--events", "all"]).json_lines();
    log.into_iter().filter(|line| line["event"] == "input").collect()
}

#[test]
fn what_is_typed_arrives_and_the_terminal_is_given_back() {
    let host = Host::start();
    host.sh("s", "echo ready; while read -r line; do echo \"got $line\"; done");
    host.wait_text("s", "ready");
    for n in 0..3 {
        let mut terminal = attach(&host, "s");
        let before = Terminal::run(host.cmd(["status"]), 80, 24).settings();
        terminal.wait_for("ready");
        assert_ne!(terminal.settings(), before, "raw");
        terminal.type_in(format!("line {n}\x02\x02\r").as_bytes());
        terminal.wait_for(&format!("got line {n}\x02"));
        terminal.type_in(DETACH);
        assert_eq!(terminal.code(), 0);
        terminal.wait_for("detached from s");
        assert_eq!(terminal.settings(), before);
        let shown = terminal.shown();
        let (enter, leave) = (shown.find("\x1b[?1049h").unwrap(), shown.rfind("\x1b[?1049l").unwrap());
        assert!(enter < leave && leave < shown.find("detached from").unwrap(), "{shown:?}");
        assert!(shown.rfind("\x1b[?2004l") < Some(leave), "modes end before the screen is left");
    }
    let typed: String = inputs(&host, "s").iter().map(|input| input["text"].as_str().unwrap().to_owned()).collect();
    assert_eq!(typed, (0..3).map(|n| format!("line {n}\x02\r")).collect::<String>());
    wait_for("nobody to be attached", || (host.session("s")?["attached"] == 0).then_some(()));
}

#[test]
fn another_key_detaches_where_the_settings_say_so() {
    let host = Host::start();
    host.sh("s", "stty raw -echo; echo ready; exec cat -v");
    let cmd = host.cmd(["attach", "s"]).env("TERMALIVE_CFG_ATTACH__PREFIX", "ctrl+a");
    let mut terminal = Terminal::run(cmd, 80, 24);
    terminal.wait_for("ready");
    terminal.type_in(b"\x02d\x01\x01.");
    terminal.wait_for("^Bd^A."); // the usual key is one like any other, the new one pressed twice is typed once
    terminal.type_in(b"\x01d");
    assert_eq!(terminal.code(), 0);
    terminal.wait_for("detached from s");
}

#[test]
fn it_needs_a_terminal_and_another_session_than_its_own() {
    let host = Host::start();
    host.sh("s", "echo ready; exec cat");
    host.run(["attach", "s"]).expect_error(64, &["terminal"]);
    host.run(["new", "t", "--attach"]).expect_error(64, &["terminal"]);
    assert!(host.session("t").is_none());
    host.run([""; 0]).expect_error(64, &["no command", "terminal"]);
    host.run(["attach", "s", "--json"]).expect_code(64);
    let uri = format!("unix://{}", host.status().unwrap()["socket"].as_str().unwrap());
    let inside = host.cmd(["attach", "s"]).env("TERMALIVE_SESSION", "s").env("TERMALIVE_HOST", &uri);
    inside.run().expect_error(64, &["inside session s"]);
    for (name, code, word) in [("nobody", 66, "no session"), ("over", 4, "termalive restart over")] {
        if name == "over" {
            host.sh(name, "exit 3");
            host.wait_state(name, "exited");
        }
        let mut terminal = attach(&host, name);
        assert_eq!(terminal.code(), code);
        terminal.wait_for(word);
        assert!(!terminal.shown().contains("\x1b[?1049h"), "the screen isn't touched");
    }
}

#[test]
fn signals_give_the_terminal_back() {
    let host = Host::start();
    host.sh("s", "printf 'ready\\033[?2004h'; exec cat");
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::INT, 130), (Signal::QUIT, 131)] {
        let mut terminal = attach(&host, "s");
        terminal.wait_for("ready");
        let raw = terminal.settings();
        terminal.signal(signal);
        assert_eq!(terminal.code(), code);
        assert_ne!(terminal.settings(), raw);
        terminal.wait_for("\x1b[?1049l");
    }
    assert_eq!(host.session("s").unwrap()["state"], "running");
}

/// The build that has the failpoint, whatever `TERMALIVE_BIN` is.
#[cfg(debug_assertions)]
#[test]
fn a_panic_gives_the_terminal_back() {
    let host = Host::start();
    host.sh("s", "printf 'ready\\033[?2004h\\033[?1000h'; read -r line; echo \"the $line is over\"; exec cat");
    let before = Terminal::run(host.cmd(["status"]), 80, 24).settings();
    let panics =
        host.program(&[env!("CARGO_BIN_EXE_termalive"), "attach", "s"]).env("TERMALIVE_DEBUG_PANIC_ON", "end is over");
    let mut terminal = Terminal::run(panics, 80, 24);
    terminal.wait_for("ready");
    assert_ne!(terminal.settings(), before);
    terminal.type_in(b"end\r");
    assert_eq!(terminal.code(), 101);
    terminal.wait_for("the failpoint was hit");
    assert_eq!(terminal.settings(), before);
    let shown = terminal.shown();
    let (left, said) = (shown.rfind("\x1b[?1049l").unwrap(), shown.find("the failpoint was hit").unwrap());
    assert!(left < said, "the message stands on the user's own screen: {shown:?}");
    for mode in ["\x1b[?2004l", "\x1b[?1000l"] {
        assert!(shown.rfind(mode).unwrap() < left, "modes end before the screen is left: {shown:?}");
    }
    assert_eq!(host.session("s").unwrap()["state"], "running");
}

#[test]
fn a_new_session_is_attached_and_its_end_is_said() {
    let host = Host::start();
    let words = ["new", "n", "--attach", "--", "sh", "-c", "stty size; read -r line; exit 7"];
    let mut terminal = Terminal::run(host.cmd(words), 100, 30);
    terminal.wait_for("30 100");
    terminal.type_in(b"\r");
    assert_eq!(terminal.code(), 0);
    terminal.wait_for("n exited with 7");

    let mut shell = Terminal::run(host.cmd([""; 0]), 90, 20);
    wait_for("a session of the shell", || host.session("sh").filter(|s| s["attached"] == 1));
    shell.type_in(b"stty size; echo $((6 * 7))\r");
    shell.wait_for("20 90");
    shell.wait_for("42");
    shell.type_in(b"exit 0\r");
    assert_eq!(shell.code(), 0);
}

#[test]
fn a_password_leaves_its_length_only() {
    let host = Host::start();
    host.sh("s", "stty -echo; echo ready; read -r word; stty echo; echo \"${#word} characters\"; exec cat");
    let terminal = attach(&host, "s");
    terminal.wait_for("ready");
    terminal.type_in(b"geheim");
    terminal.type_in(b"nis\r");
    terminal.wait_for("9 characters");
    let inputs = inputs(&host, "s");
    assert!(inputs.iter().all(|input| input["text"].is_null()), "{inputs:?}");
    assert_eq!(inputs.iter().map(|input| input["hidden"].as_u64().unwrap_or(0)).sum::<u64>(), 10, "{inputs:?}");
}

#[test]
fn a_large_paste_arrives_whole_between_other_texts() {
    let host = Host::start();
    let much: String = (0..20_000).map(|n| format!("{n:07} ")).collect();
    let script =
        format!("stty raw -echo; printf 'ready\\033[?1000h'; head -c {} >pasted; echo all; exec cat", much.len());
    host.sh("s", &script);
    let terminal = attach(&host, "s");
    terminal.wait_for("ready");
    terminal.type_in(much.as_bytes());
    terminal.wait_for("all");
    assert!(fs::read_to_string(host.path("pasted")).unwrap() == much);
    host.ok(["send", "s", "-n", "afterwards"]);
    terminal.wait_for("afterwards");
}

#[test]
fn a_program_that_reads_nothing_keeps_nobody() {
    let host = Host::start();
    host.sh("s", "stty raw -echo; echo ready; exec sleep 1000");
    let mut terminal = attach(&host, "s");
    terminal.wait_for("ready");
    // more than one window, more than the terminal driver takes
    terminal.type_in(&vec![b'x'; 300_000]);
    terminal.type_in(DETACH);
    assert_eq!(terminal.code(), 0);
    host.run(["send", "s", "--timeout", "500ms", "later"]).expect_code(2);
    host.ok(["kill", "s"]);
}

#[test]
fn the_terminal_answers_while_it_is_attached() {
    let host = Host::start();
    let ask = "stty raw -echo; printf 'ready\\n'; while [ ! -e go ]; do sleep 0.02; done; printf '\\033[6n'; \
               head -c 6 >answer; printf answered; exec cat";
    for (n, args, expected) in
        [(1, &["attach", "1"][..], "\x1b[7;9R"), (2, &["attach", "2", "--read-only"], "\x1b[2;6R")]
    {
        let name = n.to_string();
        drop(fs::remove_file(host.path("go")));
        host.sh(&name, ask);
        let terminal = Terminal::run(host.cmd(args), 80, 24);
        terminal.wait_for("ready");
        fs::write(host.path("go"), "").unwrap();
        if n == 1 {
            terminal.wait_for("\x1b[6n");
            terminal.type_in(b"\x1b[7;9R");
        }
        terminal.wait_for("answered");
        assert_eq!(fs::read_to_string(host.path("answer")).unwrap(), expected);
        assert_eq!(terminal.shown().contains("\x1b[6n"), n == 1, "who only looks isn't asked");
    }
}

#[test]
fn it_goes_on_over_runs_and_sizes() {
    let host = Host::start();
    let script = "stty size; read -r line; [ \"$line\" != end ]";
    host.ok([
        "new",
        "s",
        "--restart",
        "on-failure",
        "--backoff",
        "10ms..10ms",
        "--",
        "sh",
        "-c",
        &format!("{script}; false"),
    ]);
    let mut terminal = Terminal::run(host.cmd(["attach", "s"]), 100, 30);
    wait_for("the size", || (host.session("s")?["size"]["cols"] == 100).then_some(()));
    terminal.type_in(b"once\r");
    host.wait_session("s", "run 2", |s| s["run"] == 2 && s["size"]["cols"] == 100);
    terminal.resize(70, 20);
    host.wait_session("s", "a smaller size", |s| s["size"]["cols"] == 70);
    terminal.type_in(DETACH);
    assert_eq!(terminal.code(), 0);
    assert_eq!(host.session("s").unwrap()["size"]["cols"], 70, "it keeps its last size");
}

#[test]
fn a_killed_host_costs_no_key_and_doubles_none() {
    let host = Host::start();
    host.sh("s", "stty raw -echo; echo ready; exec cat");
    let terminal = attach(&host, "s");
    terminal.wait_for("ready");
    for n in 0..5 {
        let before = host.generation();
        host.kill_host();
        let word = format!("<word {n}>");
        word.bytes().for_each(|byte| terminal.type_in(&[byte]));
        host.wait_next_generation(before);
        terminal.wait_for(&word);
    }
    terminal.type_in(b"!");
    wait_for("the last key", || host.run(["logs", "s", "--raw"]).text().contains('!').then_some(()));
    let typed = host.run(["logs", "s", "--raw"]).text();
    let words: String = (0..5).map(|n| format!("<word {n}>")).collect();
    assert_eq!(typed.trim_start_matches("ready").trim(), format!("{words}!"));
}

#[test]
fn a_client_that_stops_slows_nobody_and_sees_the_end() {
    let host = Host::start();
    host.sh("s", "echo ready; while [ ! -e go ]; do sleep 0.02; done; seq 500000; echo all; read -r line");
    let mut terminal = attach(&host, "s");
    terminal.wait_for("ready");
    terminal.signal(Signal::STOP);
    fs::write(host.path("go"), "").unwrap();
    host.wait_text("s", "^all$");
    terminal.signal(Signal::CONT);
    terminal.wait_for("all");
    assert!(terminal.shown().len() < 2 << 20, "the screen, not the backlog");
    terminal.type_in(b"\r");
    assert_eq!(terminal.code(), 0);
    terminal.wait_for("s exited with 0");
}

/// Opens a WebSocket of our own, says something, gives what comes up to the close: texts, and its code.
fn talk(host: &Host, query: &str, say: Vec<Message>) -> Result<(Vec<String>, u16), u16> {
    let socket = host.status().unwrap()["socket"].as_str().unwrap().to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::UnixStream::connect(socket).await.unwrap();
        let uri = format!("ws://localhost/v1/sessions/s/attach?{query}");
        let mut socket = match tokio_tungstenite::client_async(uri, stream).await {
            Ok((socket, _)) => socket,
            Err(Error::Http(response)) => return Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        };
        for message in say {
            socket.send(message).await.unwrap();
        }
        let mut texts = Vec::new();
        loop {
            match tokio::time::timeout(Duration::from_secs(50), socket.next()).await.expect("a close in time") {
                Some(Ok(Message::Close(frame))) => return Ok((texts, frame.map_or(0, |frame| frame.code.into()))),
                Some(Ok(Message::Text(text))) => texts.push(text.to_string()),
                Some(Ok(_)) => {}
                other => panic!("{other:?} without a close; {texts:?}"),
            }
        }
    })
}

#[test]
fn clients_that_do_not_keep_to_it_are_refused() {
    let host = Host::start();
    host.sh("s", "stty raw -echo; echo ready; exec sleep 1000");
    host.wait_text("s", "ready");
    let text = |text: &str| vec![Message::text(text)];
    let table: Vec<(&str, Vec<Message>, u16)> = vec![
        ("", text(r#"{"op":"detach"}"#), 1000),
        ("", text(r#"{"op":"resize","cols":0,"rows":5}"#), 1008),
        ("", text(r#"{"op":"dance"}"#), 1003),
        ("", text("nonsense"), 1003),
        ("read_only=1", vec![Message::binary("x")], 1008),
        ("", vec![Message::binary(vec![b'x'; 60_000]); 4], 1008),
    ];
    for (query, say, code) in table {
        let (texts, got) = talk(&host, query, say).unwrap();
        assert_eq!(got, code, "{query} {texts:?}");
        let read_only = query == "read_only=1";
        for hello in texts.iter().filter(|text| text.contains("hello")) {
            let hello: serde_json::Value = serde_json::from_str(hello).unwrap();
            assert_eq!((&hello["read_only"], &hello["leads"]), (&read_only.into(), &(!read_only).into()));
        }
    }
    for (query, status) in
        [("cols=80", 400), ("cols=0&rows=0", 400), ("client=%20", 400), ("id=00112233445566778899aabbccddeeff", 404)]
    {
        assert_eq!(talk(&host, query, Vec::new()), Err(status), "{query}");
    }
    wait_for("nobody to be attached", || (host.session("s")?["attached"] == 0).then_some(()));
    assert_eq!(host.session("s").unwrap()["state"], "running");
}

#[test]
fn a_request_that_is_no_websocket_attaches_nobody() {
    let host = Host::start();
    let ask = "stty raw -echo; echo ready; while [ ! -e go ]; do sleep 0.02; done; printf '\\033[6n'; head -c 6 >answer; echo done";
    host.sh("s", ask);
    host.wait_text("s", "ready");
    let socket = host.status().unwrap()["socket"].as_str().unwrap().to_owned();
    let url = "http://x/v1/sessions/s/attach";
    let curl = host.program(&["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--unix-socket", &socket, url]);
    assert_eq!(curl.run().expect_code(0).text(), "400");
    fs::write(host.path("go"), "").unwrap();
    host.wait_text("s", "done");
    assert_eq!(fs::read_to_string(host.path("answer")).unwrap(), "\x1b[2;6R", "the host still answers");
}
