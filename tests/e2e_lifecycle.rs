//! A session's life: made, listed, restarted, resized, ended, removed; and the host's own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod support;

use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use support::{Host, alive, binary, processes_with, wait_for};

const FIELDS: [&str; 24] = [
    "name",
    "id",
    "state",
    "activity",
    "activity_since",
    "agent",
    "command",
    "argv",
    "cwd",
    "pid",
    "run",
    "exit_code",
    "signal",
    "created_at",
    "started_at",
    "exited_at",
    "last_output_at",
    "last_seq",
    "last_turn",
    "size",
    "labels",
    "restarts",
    "attached",
    "queued",
];

#[test]
fn a_session_shows_what_the_contract_names() {
    let host = Host::start();
    let printed = host.ok(["new", "a", "--size", "100x30", "--label", "team=x", "--label", "k=v", "--", "cat"]);
    assert_eq!(printed, "a\n");
    let session = host.wait_state("a", "running");
    for field in FIELDS {
        assert!(session.get(field).is_some(), "no field {field}: {session}");
    }
    let expected = json!({"run": 1, "size": {"cols": 100, "rows": 30}, "labels": {"team": "x", "k": "v"}, "command": "cat",
        "argv": ["cat"], "exit_code": null, "signal": null, "exited_at": null, "restarts": 0, "last_turn": null});
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&session[field], value, "{field}");
    }
    assert_eq!(session["cwd"], host.scratch().to_str().unwrap());
    assert!(alive(u32::try_from(session["pid"].as_u64().unwrap()).unwrap()));
    assert_eq!(session["id"].as_str().unwrap().len(), 32, "128 bits");
    let made = host.json(["new", "b", "--json", "--", "cat"]);
    assert_eq!(made["name"], "b");
    assert_eq!(host.ok(["ls", "-q"]).lines().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(host.ok(["list", "-q", "--label", "team=x"]), "a\n");
}

#[test]
fn a_program_finds_what_its_caller_had() {
    let host = Host::start();
    let env_file = host.path("vars");
    fs::write(&env_file, "FROM_FILE=yes\n# a comment\nSECOND=two words\n").unwrap();
    let here = host.path("");
    let here = here.trim_end_matches('/');
    let cases: [(&str, &[&str], &str); 11] = [
        ("size", &["--size", "100x30", "--", "stty", "size"], "^30 100$"),
        ("size-default", &["--", "stty", "size"], "^24 80$"),
        ("cwd", &["--cwd", "/usr", "--", "pwd"], "^/usr$"),
        ("cwd-caller", &["--", "pwd"], here),
        ("env", &["-e", "A=1", "-e", "B=x y", "--", "sh", "-c", "echo $A/$B"], "^1/x y$"),
        ("env-file", &["--env-file", &env_file, "--", "sh", "-c", "echo $FROM_FILE/$SECOND"], "^yes/two words$"),
        ("term", &["--", "sh", "-c", "echo $TERM"], "^xterm-256color$"),
        ("session", &["--", "sh", "-c", "echo $TERMALIVE_SESSION"], "^session$"),
        ("words", &["--command", "echo 'one  two' three"], "^one  two three$"),
        ("shell", &["--command", "echo a | tr a b; echo $((1+1))"], "^b$"),
        ("caller", &["--", "sh", "-c", "umask; echo $CALLER"], "^me$"),
    ];
    for (name, args, expected) in cases {
        host.cmd(["new", name]).args(args).env("CALLER", "me").run().expect_code(0);
        host.wait_text(name, expected);
    }
    host.ok(["run", "verb", "--", "echo", "ran"]);
    host.wait_text("verb", "^ran$");
    host.cmd(["new", "shell-default"]).env("SHELL", "/bin/echo").run().expect_code(0);
    host.wait_state("shell-default", "exited");
}

#[test]
fn ended_sessions_keep_how_they_ended() {
    let host = Host::start();
    for (name, script, field, value) in
        [("ok", "exit 0", "exit_code", 0), ("seven", "exit 7", "exit_code", 7), ("killed", "kill -9 $$", "signal", 9)]
    {
        host.sh(name, script);
        let session = host.wait_state(name, "exited");
        assert_eq!(session[field], value, "{session}");
        assert!(session["exited_at"].is_string() && session["pid"].is_null(), "{session}");
    }
    assert_eq!(host.ok(["ls", "-q"]), "", "live ones only");
    assert_eq!(host.ok(["ls", "-q", "--all"]).lines().count(), 3);
}

#[test]
fn a_name_is_used_again_as_the_contract_says() {
    let host = Host::start();
    host.ok(["new", "a", "--label", "k=v", "--", "cat"]);
    host.run(["new", "a", "--", "cat"]).expect_error(1, &["a"]);
    host.ok(["new", "a", "--exist-ok", "--label", "k=v", "--", "cat"]);
    host.run(["new", "a", "--exist-ok", "--label", "k=v", "--", "cat", "-v"]).expect_error(1, &["command"]);
    host.run(["new", "a", "--exist-ok", "--label", "k=w", "--", "cat"]).expect_error(1, &["label"]);
    host.run(["new", "a", "--exist-ok", "--label", "k=v", "--size", "90x20", "--", "cat"]).expect_error(1, &["size"]);
    host.run(["new", "a", "--exist-ok", "--label", "k=v", "--cwd", "/usr", "--", "cat"]).expect_error(1, &["cwd"]);

    host.sh("b", "echo first");
    let first = host.wait_state("b", "exited");
    host.sh("b", "echo second");
    let second = host.wait_state("b", "exited");
    assert_eq!((&second["run"], &second["id"]), (&json!(2), &first["id"]));
    let text = host.ok(["logs", "b"]);
    assert!(text.contains("first") && text.contains("second"), "the log goes on: {text}");

    host.ok(["new", "b", "--fresh", "--", "sh", "-c", "echo third"]);
    let third = host.wait_state("b", "exited");
    assert_ne!(third["id"], first["id"]);
    assert_eq!(third["run"], 1);
    assert_eq!(host.ok(["logs", "b"]), "third\n");
}

#[test]
fn kill_ends_the_whole_tree() {
    let host = Host::start();
    let script = "setsid sh -c 'trap \"\" HUP TERM; while :; do sleep 1; done' & sh -c 'trap \"\" TERM; sleep 1000' & echo up; wait";
    host.sh("tree", script);
    host.wait_text("tree", "^up$");
    let id = host.session("tree").unwrap()["id"].as_str().unwrap().to_owned();
    let cookie = format!("TERMALIVE_SESSION_ID={id}");
    assert!(processes_with(&cookie).len() >= 3, "the cookie stands in each environment");
    host.ok(["kill", "tree"]);
    assert_eq!(processes_with(&cookie), Vec::<u32>::new(), "gone when kill returns");
    assert_eq!(host.session("tree").unwrap()["state"], "exited");
}

#[test]
fn kill_takes_names_labels_and_signals() {
    let host = Host::start();
    for name in ["a", "b", "c"] {
        host.ok(["new", name, "--label", "k=v", "--", "cat"]);
    }
    host.sh("d", "trap 'echo usr1' USR1; echo up; while :; do read x; done");
    host.wait_text("d", "^up$");
    host.ok(["kill", "a", "b"]);
    host.ok(["kill", "--label", "k=v"]);
    assert_eq!(host.ok(["ls", "-q"]), "d\n");
    host.ok(["kill", "d", "--signal", "USR1"]);
    host.wait_text("d", "^usr1$");
    assert_eq!(host.session("d").unwrap()["state"], "running");
    host.ok(["kill", "d", "--force"]);
    assert_eq!(host.session("d").unwrap()["signal"], 9);
}

#[test]
fn rm_restart_and_resize() {
    let host = Host::start();
    host.sh("a", "echo run $$; exec cat");
    let first = host.wait_state("a", "running");
    host.run(["rm", "a"]).expect_error(1, &["a"]);
    host.ok(["restart", "a"]);
    let second = host.wait_state("a", "running");
    assert_eq!(second["run"], 2);
    assert_ne!(second["pid"], first["pid"]);
    host.ok(["resize", "a", "100x30"]);
    assert_eq!(host.session("a").unwrap()["size"], json!({"cols": 100, "rows": 30}));
    host.ok(["rm", "-f", "a"]);
    assert!(host.session("a").is_none());
    host.run(["logs", "a"]).expect_error(66, &["a"]);
    host.sh("a", "trap 'stty size' WINCH; echo up; while :; do read x; done");
    host.wait_text("a", "^up$");
    host.ok(["resize", "a", "101x31"]);
    host.wait_text("a", "^31 101$");
}

#[test]
fn commands_at_once_start_one_host() {
    let host = Host::cold();
    let running: Vec<_> = (0..6).map(|n| host.cmd(["new", &format!("s{n}"), "--", "cat"]).spawn()).collect();
    for command in running {
        command.wait().expect_code(0);
    }
    assert_eq!(host.ok(["ls", "-q"]).lines().count(), 6);
    let home = host.home();
    let ours = |pid: &u32| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == binary());
    let pids: Vec<u32> = processes_with(home.to_str().unwrap()).into_iter().filter(ours).collect();
    assert!(pids.len() <= 2, "one keeper and one host: {pids:?}");
}

#[test]
fn no_host_is_started_where_none_is_wanted() {
    let host = Host::cold();
    host.run(["status"]).expect_error(69, &[]);
    host.cmd(["list"]).env("TERMALIVE_NO_AUTOSTART", "1").run().expect_error(69, &[]);
    host.cmd(["new", "a", "--", "cat"]).env("TERMALIVE_NO_AUTOSTART", "1").run().expect_error(69, &[]);
    assert!(host.status().is_none());
    assert_eq!(host.ok(["list", "-q"]), "");
    assert!(host.status().is_some());
    host.ok(["start", "-d"]); // it runs already: fine
}

#[test]
fn status_names_the_host() {
    let host = Host::start();
    host.ok(["new", "a", "--", "cat"]);
    let status = host.status().unwrap();
    for field in [
        "version",
        "api",
        "host_pid",
        "keeper_pid",
        "generation",
        "uptime_ms",
        "sessions",
        "state_dir",
        "socket",
        "listen",
    ] {
        assert!(!status[field].is_null(), "no {field}: {status}");
    }
    assert!(status["store"]["bytes"].is_u64() && status["store"]["segments"].is_u64(), "{status}");
    assert_eq!(status["sessions"], 1);
    assert!(alive(host.host_pid()) && alive(host.keeper_pid()));
    for verb in ["status", "stop", "start"] {
        host.run([verb, "a"]).expect_code(64);
    }
    assert!(host.run(["stop", "a"]).stderr.contains("kill"), "the right command is named");
}

#[test]
fn stop_ends_all_and_the_log_stays() {
    let host = Host::start();
    host.sh("live", "echo live; exec cat");
    host.sh("ended", "echo ended; exit 3");
    host.wait_text("live", "^live$");
    host.wait_state("ended", "exited");
    let (keeper, process) = (host.keeper_pid(), host.host_pid());
    let socket = host.status().unwrap()["socket"].as_str().unwrap().to_owned();
    let refused = host.run(["stop"]);
    assert!(refused.code == 1 || refused.code == 64, "sessions live, nobody to ask: {refused:?}");
    assert!(refused.stderr.contains("-y"), "{refused:?}");
    host.ok(["stop", "-y"]);
    wait_for("keeper and host to be gone", || (!alive(keeper) && !alive(process)).then_some(()));
    assert!(!fs::exists(socket).unwrap(), "the socket is removed");

    assert_eq!(host.ok(["logs", "ended"]), "ended\n");
    assert!(host.ok(["logs", "live"]).starts_with("live\n"));
    let ended = host.session("ended").unwrap();
    assert_eq!((&ended["state"], &ended["exit_code"]), (&json!("exited"), &json!(3)));
    assert_eq!(host.session("live").unwrap()["state"], "exited");
}

#[test]
fn the_foreground_host_ends_in_order() {
    for signal in [Signal::TERM, Signal::INT] {
        let host = Host::cold();
        let running = host.cmd(["host"]).spawn();
        wait_for("the host to answer", || host.status());
        host.sh("a", "echo up; exec cat");
        host.wait_text("a", "^up$");
        let pid = host.session("a").unwrap()["pid"].as_u64().unwrap();
        running.signal(signal);
        running.wait().expect_code(0);
        assert!(!alive(u32::try_from(pid).unwrap()));
        assert_eq!(host.session("a").map(|session| session["state"].clone()), Some(Value::from("exited")));
    }
}
