//! `export` and `replay`: what leaves the log is what was in it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod support;

use serde_json::{Value, json};
use std::{fs, os::unix::fs::PermissionsExt};
use support::{Host, Terminal, binary, wait_for};

fn cast(host: &Host, args: &[&str]) -> Vec<Value> {
    let out = host.cmd(["export"]).args(args).run().expect_code(0);
    out.json_lines()
}

fn of_kind<'a>(cast: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a str> {
    cast.iter().filter(move |line| line[1] == kind).map(|line| line[2].as_str().unwrap())
}

#[test]
fn a_recording_has_what_was_seen_and_nothing_that_was_typed() {
    let host = Host::start();
    host.ok([
        "new",
        "a",
        "--size",
        "90x20",
        "--",
        "sh",
        "-c",
        "stty -echo; echo ready; read secret; printf '\\303'; sleep 0.3; printf '\\244\\377\\n'; read x",
    ]);
    host.wait_text("a", "ready");
    host.ok(["send", "a", "hunter2"]);
    host.wait_text("a", "ä");
    host.ok(["resize", "a", "100x30"]);
    host.ok(["send", "a", "end"]);
    host.wait_state("a", "exited");
    host.ok(["restart", "a"]);
    host.wait_session("a", "a second run", |s| s["run"] == 2);
    host.ok(["kill", "a"]);
    let cast = cast(&host, &["a"]);
    let header = &cast[0];
    assert_eq!((&header["version"], &header["width"], &header["height"]), (&json!(2), &json!(90), &json!(20)));
    assert_eq!((header["title"].as_str(), header["env"]["TERM"].as_str()), (Some("a"), Some("xterm-256color")));
    assert!(
        header["timestamp"].as_i64().unwrap() > 1_700_000_000
            && header["command"].as_str().unwrap().starts_with("sh -c")
    );
    let output: String = of_kind(&cast, "o").collect();
    assert!(output.starts_with("ready\r\nä\u{fffd}\r\n"), "{output:?}");
    assert!(output.contains("\x1bc"), "a new run begins with a blank terminal");
    assert!(!cast.iter().any(|line| line.to_string().contains("hunter2") || line[1] == "i"));
    assert_eq!(of_kind(&cast, "r").collect::<Vec<_>>(), ["100x30", "90x20"]);
    let markers: Vec<_> = of_kind(&cast, "m").collect();
    assert_eq!(markers[..4], ["turn 1", "turn 2", "run 1 exited with 0", "run 2"]);
    let times: Vec<f64> = cast[1..].iter().map(|line| line[0].as_f64().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn every_format_is_what_logs_prints_and_a_file_is_whole_or_not_there() {
    let host = Host::start();
    host.sh("b", "printf 'one\\ntwo \\033[1mbold\\033[0m\\n'; printf unfinished; exit 3");
    host.wait_state("b", "exited");
    host.ok(["stop", "-y"]); // it ended long ago, under another host
    for (format, logs) in [
        ("text", &["logs", "b"][..]),
        ("raw", &["logs", "b", "--raw"]),
        ("jsonl", &["logs", "b", "--json", "--events", "all"]),
    ] {
        let (mut exported, mut logged) = (host.ok(["export", "b", "-f", format]), host.ok(logs));
        if format == "jsonl" {
            // `start` tells when it was asked
            (exported, logged) =
                (exported.split_once('\n').unwrap().1.into(), logged.split_once('\n').unwrap().1.into());
            let without_times = |text: &str| text.lines().next().unwrap().to_owned();
            (exported, logged) = (without_times(&exported), without_times(&logged));
        }
        assert_eq!(exported, logged, "{format}");
        let path = host.path("file");
        host.ok(["export", "b", "--format", format, "-o", &path]);
        if format != "jsonl" {
            assert_eq!(fs::read_to_string(&path).unwrap(), exported, "{format}");
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let json = host.json(["export", "b", "-f", "text", "-o", &host.path("t"), "--json"]);
    assert_eq!((&json["session"], &json["bytes"]), (&json!("b"), &json!(24)));
    let before = fs::read_dir(host.scratch()).unwrap().count();
    host.run(["export", "nobody", "-o", &host.path("n")]).expect_error(66, &["nobody"]);
    host.run(["export", "b", "--since", "turn:7", "-o", &host.path("n")]).expect_error(66, &["turn 7"]);
    host.run(["export", "b", "-o", &host.path("no/such/folder")]).expect_error(1, &["no/such/folder"]);
    host.run(["export", "b", "-f", "gif"]).expect_error(64, &["gif"]);
    host.run(["export", "b", "--json"]).expect_error(64, &["-o"]);
    assert_eq!(fs::read_dir(host.scratch()).unwrap().count(), before, "what is refused leaves no file");
}

#[test]
fn a_part_of_a_log_has_the_size_it_had() {
    let host = Host::start();
    host.ok(["new", "c", "--size", "70x10", "--", "cat"]);
    host.ok(["resize", "c", "71x11"]);
    host.ok(["send", "c", "first"]);
    host.wait_row("c", "first");
    host.ok(["send", "c", "second"]);
    wait_for("the echo and its copy", || (host.ok(["logs", "c"]).matches("second").count() == 2).then_some(()));
    host.ok(["resize", "c", "72x12"]);
    let turn = cast(&host, &["c", "--since", "turn:2"]);
    assert_eq!((&turn[0]["width"], &turn[0]["height"]), (&json!(71), &json!(11)));
    let drawn = of_kind(&turn, "o").next().unwrap();
    assert!(drawn.contains("first") && !drawn.contains("second"), "what stood there is drawn: {drawn:?}");
    assert_eq!(turn[1][0], 0.0);
    assert!(!of_kind(&turn, "o").skip(1).any(|text| text.contains("first")));
    let output = host.json(["list", "--json"])[0]["last_seq"].as_u64().unwrap() - 1;
    let place = cast(&host, &["c", "--since", &format!("@{output}")]);
    assert_eq!((&place[0]["width"], &place[0]["height"]), (&json!(71), &json!(11)));
    let nothing = cast(&host, &["c", "--since", "now"]);
    assert_eq!((nothing.len(), &nothing[0]["width"]), (1, &json!(72)));
}

#[test]
fn an_export_goes_on_over_a_crash_of_the_host() {
    let host = Host::start();
    host.sh("d", "seq 1 60000 | sed 's/$/ words of a row that make it long enough/'");
    host.wait_state("d", "exited");
    let whole = host.ok(["export", "d", "-f", "raw"]);
    let path = host.path("d.cast");
    let export = host.cmd(["export", "d", "-o", &path]).spawn();
    host.kill_host();
    export.wait().expect_code(0);
    let cast = fs::read_to_string(&path).unwrap();
    let lines: Vec<Value> = cast.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(of_kind(&lines, "o").collect::<String>() == whole, "no byte lost or doubled");
}

#[test]
fn a_bar_shows_how_far_it_is_on_a_terminal_alone() {
    let host = Host::start();
    host.sh("g", "seq 1 60000 | sed 's/$/ words of a row that make it long enough/'");
    host.wait_state("g", "exited");
    let (path, piped) = (host.path("g.cast"), host.path("piped.cast"));
    let export = host.cmd(["export", "g", "-o", &path]).env("TERM", "xterm-256color");
    let mut terminal = Terminal::run(export, 60, 10);
    assert_eq!(terminal.code(), 0);
    terminal.wait_for("%");
    wait_for("the bar to be taken away", || terminal.shown().ends_with("\x1b[2K").then_some(()));
    let out = host.run(["export", "g", "-o", &piped]).expect_code(0);
    assert_eq!((out.text().as_str(), out.stderr.as_str()), ("", ""));
    assert!(fs::read(&path).unwrap() == fs::read(&piped).unwrap(), "the same file");
}

#[test]
fn a_replay_to_a_pipe_is_the_bytes_at_once() {
    let host = Host::start();
    host.sh("e", "printf 'a\\033[1m\\n'; sleep 1; printf '\\377b'");
    host.wait_state("e", "exited");
    let raw = host.run(["logs", "e", "--raw"]).stdout;
    assert_eq!(host.cmd(["replay", "e", "--speed", "0.001"]).run().expect_code(0).stdout, raw);
    host.run(["replay", "e", "--speed", "0"]).expect_error(64, &["speed", "above 0"]);
    host.run(["replay", "e", "--json"]).expect_error(64, &["export"]);
    host.run(["replay", "nobody"]).expect_error(66, &["nobody"]);
}

/// The terminal is another session's.
#[test]
fn a_replay_on_a_terminal_leaves_it_as_it_was() {
    let host = Host::start();
    host.sh("f", "printf '\\033[?1049h\\033[?1000h\\033[?2004h\\033[?25lfull screen'; sleep 2; echo later");
    host.wait_state("f", "exited");
    let play = format!(
        "stty -g; {} replay f --speed 0.01; echo \"code $?\"; stty -g; echo gone",
        shell_words_quote(&binary().display().to_string())
    );
    for (key, code) in [("q", "code 0"), ("ctrl+c", "code 130")] {
        let name = format!("player-{}", key.replace('+', "-"));
        host.ok(["new", &name, "--restart", "never", "--", "sh", "-c", &play]);
        host.wait_text(&name, "full screen");
        host.ok(["send", &name, "--keys", key]);
        host.wait_row(&name, "gone");
        let raw = String::from_utf8_lossy(&host.run(["logs", &name, "--raw"]).stdout).into_owned();
        let (_, after) = raw.split_once("full screen").unwrap();
        for off in ["\x1b[?1049l", "\x1b[?1000l", "\x1b[?2004l", "\x1b[?25h"] {
            assert!(after.contains(off), "{off:?} in {after:?}");
        }
        assert!(after.contains(code), "{after:?}");
        let settings: Vec<_> = raw.lines().filter(|line| line.matches(':').count() > 20).collect();
        assert_eq!(settings.len(), 2, "{raw:?}");
        assert_eq!(settings[0].trim(), settings[1].trim());
    }
    let ended = wait_for("both to end", || host.session("player-q").filter(|session| session["state"] == "exited"));
    assert_eq!(ended["exit_code"], 0);
}

fn shell_words_quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
