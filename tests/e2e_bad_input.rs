//! Bad input of every kind: the code that the contract names, one clear line, nothing changed.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod support;

use serde_json::Value;
use std::{
    fs,
    io::{Read, Write},
};
use support::{Host, wait_for};

/// Arguments, exit code, words on stderr.
type Case = (&'static [&'static str], i32, &'static [&'static str]);

const CASES: [Case; 40] = [
    (&["new", "-x", "--", "cat"], 64, &[]),
    (&["new", "a b", "--", "cat"], 64, &["a b"]),
    (&["new", "", "--", "cat"], 64, &[]),
    (&["new", ".hidden", "--", "cat"], 64, &[".hidden"]),
    (&["new", "../up", "--", "cat"], 64, &["../up"]),
    (&["new", "n", "--size", "80", "--", "cat"], 64, &["80", "80x24"]),
    (&["new", "n", "--size", "0x24", "--", "cat"], 64, &["0x24"]),
    (&["new", "n", "--restart", "sometimes", "--", "cat"], 64, &["sometimes"]),
    (&["new", "n", "--restart", "always", "--backoff", "1x..2s", "--", "cat"], 64, &["1x"]),
    (&["new", "n", "--command", "cat", "--", "cat"], 64, &[]),
    (&["new", "n", "--command", "echo 'open", "--no-such-flag"], 64, &["--no-such-flag"]),
    (&["new", "n", "--label", "=v", "--", "cat"], 64, &["=v"]),
    (&["new", "n", "--env-file", "/no/such/file", "--", "cat"], 1, &["/no/such/file"]),
    (&["new"], 64, &[]),
    (&["new", "planner", "--", "cat"], 1, &["planner"]),
    (&["resize", "planner", "1001x1"], 64, &["1001x1"]),
    (&["kill", "planner", "--signal", "NOPE"], 64, &["NOPE"]),
    (&["kill"], 64, &[]),
    (&["logs"], 64, &[]),
    (&["logs", "planner", "--until", "a(b"], 64, &["a(b"]),
    (&["logs", "planner", "--until", "x*"], 64, &["--until-literal"]),
    (&["logs", "planner", "--until", "[DONE]"], 64, &["--until-literal"]),
    (&["logs", "planner", "--until", ""], 64, &[]),
    (&["logs", "planner", "--until-literal", ""], 64, &[]),
    (&["logs", "planner", "--wait-idle", "10x"], 64, &["10x"]),
    (&["logs", "planner", "--timeout", "-1"], 64, &[]),
    (&["logs", "planner", "--since", "yesterday"], 64, &["yesterday"]),
    (&["logs", "planner", "--since", "@x"], 64, &["@x"]),
    (&["logs", "planner", "--to", "later"], 64, &["later"]),
    (&["logs", "planner", "-n", "many"], 64, &["many"]),
    (&["logs", "planner", "--raw", "--json", "--no-such"], 64, &["--no-such"]),
    (&["send", "planner", "a\u{7}b"], 64, &[]),
    (&["send", "planner", "--keys", "no-such-key"], 64, &["no-such-key"]),
    (&["no-such-verb"], 64, &["no-such-verb"]),
    (&["status", "planner"], 64, &[]),
    (&["--host", "gopher://x", "list"], 64, &["gopher"]),
    (&["logs", "plannr"], 66, &["plannr", "planner"]),
    (&["send", "plannr", "hi"], 66, &["plannr", "planner"]),
    (&["kill", "plannr"], 66, &["plannr", "planner"]),
    (&["--host", "unix:///no/such/socket", "list"], 69, &["/no/such/socket"]),
];

#[test]
fn each_kind_has_its_code_and_its_line() {
    let host = Host::start();
    host.sh("planner", "echo up; exec cat");
    host.wait_text("planner", "^up$");
    for (args, code, words) in CASES {
        let out = host.run(args).expect_code(code);
        assert!(!out.stderr.contains("panicked"), "{args:?}: {}", out.stderr);
        let first = out.stderr.lines().next().unwrap_or_else(|| panic!("{args:?}: says nothing"));
        for word in words {
            assert!(out.stderr.contains(word), "{args:?} should name {word:?}: {}", out.stderr);
        }
        assert!(code == 64 || out.stderr.trim_end().lines().count() == 1, "{args:?}: one line: {}", out.stderr);
        assert!(first.len() < 500, "{args:?}: a line that can be read: {first}");
        assert_eq!(out.text(), "", "{args:?}: nothing on stdout");
    }
    assert_eq!(host.ok(["list", "--all", "-q"]), "planner\n", "nothing was made");
    assert_eq!(host.ok(["logs", "planner"]), "up\n", "nothing was typed");
}

#[test]
fn errors_are_json_where_json_was_asked_for() {
    let host = Host::start();
    let cases: [(&[&str], i64, &str); 3] = [
        (&["logs", "nobody", "--json"], 66, "no_such_session"),
        (&["send", "nobody", "--json", "hi"], 66, "no_such_session"),
        (&["list", "--json", "--host", "unix:///no/such/socket"], 69, "no_host"),
    ];
    for (args, exit, word) in cases {
        let out = host.run(args).expect_code(i32::try_from(exit).unwrap());
        assert_eq!(out.text(), "", "{args:?}");
        let error: Value =
            serde_json::from_str(&out.stderr).unwrap_or_else(|why| panic!("{args:?}: {why}: {}", out.stderr));
        assert_eq!(error["error"]["code"], word, "{error}");
        assert!(error["error"]["message"].is_string(), "{error}");
    }
}

#[test]
fn a_bare_call_without_a_terminal_is_a_usage_error() {
    let host = Host::cold();
    let out = host.run(Vec::<&str>::new()).expect_code(64);
    assert!(!out.stderr.is_empty());
    host.run(["--help"]).expect_code(0);
    host.run(["--version"]).expect_code(0);
    assert!(host.status().is_none(), "nothing was started");
}

#[test]
fn state_that_cannot_be_used_is_said() {
    let host = Host::cold();
    let file = host.path("file");
    fs::write(&file, "").unwrap();
    let inside = format!("{file}/state");
    let out = host.cmd(["start", "-d"]).env("TERMALIVE_STATE_DIR", &inside).run();
    assert!(out.code == 1 || out.code == 69, "{out:?}");
    assert!(out.stderr.contains(&inside) || out.stderr.contains(&file), "names the folder: {}", out.stderr);
    assert_eq!(out.stderr.trim_end().lines().count(), 1, "one line: {}", out.stderr);
}

#[test]
fn a_second_host_is_refused() {
    let host = Host::start();
    let out = host.run(["host"]).expect_code(1);
    assert!(["already", "in use", "runs", "running"].iter().any(|word| out.stderr.contains(word)), "{}", out.stderr);
    assert!(host.status().is_some(), "the first one goes on");
}

#[test]
fn a_folder_that_something_else_holds_is_said() {
    let host = Host::start();
    host.ok(["stop", "-y"]);
    let lock = fs::File::open(host.home().join("lock")).unwrap();
    lock.lock().unwrap();
    for verb in ["host", "list"] {
        host.run([verb]).expect_error(1, &["in use by another process"]);
    }
}

#[test]
fn a_named_host_that_is_not_there_is_said() {
    let host = Host::cold();
    let out = host.run(["--host", "unix:///nonexistent/termalive.sock", "list"]);
    out.expect_error(69, &["/nonexistent/termalive.sock", "--host"]);
}

#[test]
fn a_session_ends_only_what_it_made() {
    let host = Host::start();
    host.ok(["new", "neighbour", "--", "cat"]);
    let script = r#"
        termalive new own -- cat
        termalive kill own; echo "own $?"
        termalive rm own; echo "own $?"
        for verb in kill 'kill --signal INT' rm; do termalive $verb neighbour; echo "$verb $?"; done
        termalive kill --force neighbour; echo "force $?"
        termalive rm -f neighbour; echo "force $?"
        echo ALL
    "#;
    let script = script.replace("termalive", support::binary().to_str().unwrap());
    host.sh("s", &script);
    let text = host.wait_text("s", "^ALL$");
    let codes: Vec<_> = text.lines().filter(|line| line.ends_with(|c: char| c.is_ascii_digit())).collect();
    assert_eq!(codes, ["own 0", "own 0", "kill 77", "kill --signal INT 77", "rm 77", "force 0", "force 0"], "{text}");
}

#[test]
fn one_key_is_one_request() {
    let host = Host::start();
    let socket = host.home().join("termalive.sock");
    let create = |name: &str| {
        let mut stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
        let body = format!(r#"{{"name":"{name}","argv":["cat"]}}"#);
        let head = "POST /v1/sessions HTTP/1.1\r\nhost: x\r\nconnection: close\r\nidempotency-key: once\r\n";
        write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    for expected in ["201 ", "201 "] {
        assert!(create("one").contains(expected));
    }
    let other = create("two");
    assert!(other.contains("409 ") && other.contains("key_reused"), "{other}");
    assert_eq!(host.ok(["list", "--all", "-q"]), "one\n");
}

#[test]
fn a_socket_file_without_a_host_is_no_obstacle() {
    let host = Host::cold();
    host.ok(["start", "-d"]);
    let socket = host.status().unwrap()["socket"].as_str().unwrap().to_owned();
    host.ok(["stop", "-y"]);
    wait_for("the host to be gone", || host.status().is_none().then_some(()));
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap()); // the file stays, nobody listens
    host.cmd(["list"]).env("TERMALIVE_NO_AUTOSTART", "1").run().expect_error(69, &[]);
    host.ok(["new", "a", "--", "cat"]);
    assert!(host.status().is_some());
}

#[test]
fn an_unknown_key_of_the_configuration_is_an_error() {
    let host = Host::cold();
    let folder = host.scratch().join("config/termalive");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("termalive.toml"), "[host]\nno_such_key = 1\n").unwrap();
    let config = host.path("config");
    let out = host.cmd(["start", "-d"]).env("XDG_CONFIG_HOME", &config).run();
    assert_ne!(out.code, 0);
    assert!(
        out.stderr.contains("no_such_key") && out.stderr.contains("termalive.toml"),
        "names key and file: {}",
        out.stderr
    );
    let out = host.cmd(["start", "-d"]).env("TERMALIVE_CFG_NO_SUCH_KEY", "1").run();
    assert_ne!(out.code, 0);
    assert!(out.stderr.to_lowercase().contains("no_such_key"), "{}", out.stderr);
}

#[test]
fn two_state_folders_never_meet() {
    let host = Host::cold();
    for state in ["one", "two"] {
        let folder = host.path(state);
        let cmd = |args: &[&str]| {
            host.cmd(args)
                .env_remove("TERMALIVE_HOME")
                .env("TERMALIVE_STATE_DIR", &folder)
                .env("TMPDIR", &host.path(""))
        };
        cmd(&["new", state, "--", "cat"]).run().expect_code(0);
        assert_eq!(cmd(&["list", "-q"]).run().expect_code(0).text(), format!("{state}\n"));
    }
    for state in ["one", "two"] {
        let stop = host.cmd(["stop", "-y"]).env_remove("TERMALIVE_HOME").env("TERMALIVE_STATE_DIR", &host.path(state));
        stop.env("TMPDIR", &host.path("")).run().expect_code(0);
    }
}
