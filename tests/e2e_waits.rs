//! Every stop condition: its exit code, its `end` line, and the same verdict again when asked later.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod support;

use serde_json::{Value, json};
use support::{Host, Out};

/// What a wait comes to.
struct Case {
    name: &'static str,
    /// `sh -c` of this runs in the session.
    script: &'static str,
    /// Arguments of `logs`.
    args: &'static [&'static str],
    code: i32,
    /// Fields of the `end` line.
    end: Value,
    /// The last row that is printed.
    last: &'static str,
}

const STAYS: &str = "; exec cat";

#[test]
fn patterns() {
    let big_row = "head -c 1000000 /dev/zero | tr '\\0' x; echo END_DONE";
    let cases = [
        ("plain", "echo working; echo PLAN_DONE; echo more", &["--until", "PLAN_DONE"][..], "PLAN_DONE", "PLAN_DONE"),
        ("regex", "echo took 12s; echo more", &["--until", r"took \d+s"], "took 12s", "took 12s"),
        ("within a row", "echo a DONE b; echo more", &["--until", "DONE"], "DONE", "a DONE b"),
        ("over writes", "printf DO; sleep 0.3; printf 'NE\\n'", &["--until", "DONE"], "DONE", "DONE"),
        ("over colours", r"printf 'DO\033[1mNE\033[0m\n'", &["--until", "DONE"], "DONE", "DONE"),
        ("over a cursor move", r"printf 'DO\033[3;1H\033[1;3HNE\n'", &["--until", "^DONE$"], "DONE", "DONE"),
        ("over a soft wrap", "printf '%78s' x; echo DONE", &["--until", "xDONE"], "xDONE", "xDONE"),
        (
            "UTF-8 cut in two",
            r"printf '\303'; sleep 0.3; printf '\244DONE\303\274\n'",
            &["--until", "äDONEü"],
            "äDONEü",
            "äDONEü",
        ),
        ("in a row of 1 MB", big_row, &["--until", "xEND_DONE"], "xEND_DONE", "xEND_DONE"),
        ("^ and $", "echo xDONE; echo DONEx; echo DONE", &["--until", "^DONE$"], "DONE", "DONE"),
        ("the earlier of two", "echo one; echo two", &["--until", "two", "--until", "one"], "one", "one"),
        ("literal", "echo 'a [DONE] b'", &["--until-literal", "[DONE]"], "[DONE]", "a [DONE] b"),
        ("line", "echo xDONE; echo '  * DONE '; echo DONE", &["--until-line", "DONE"], "DONE", "  * DONE"),
        ("an open row", "printf 'Ready? '", &["--until", r"Ready\?$"], "Ready?", "Ready?"),
        ("before the end of the run", "echo DONE; exit 3", &["--until", "DONE"], "DONE", "DONE"),
    ];
    for (name, script, args, matched, last) in cases {
        let end = json!({"reason": "pattern", "match": matched});
        check(&Case { name, script, args, code: 0, end, last });
    }
}

#[test]
fn other_ends() {
    let idle = json!({"reason": "idle"});
    let cases = [
        ("idle", "echo a", &["--wait-idle", "300ms"][..], 3, idle.clone(), "a"),
        ("idle, a pattern that doesn't come", "echo a", &["--until", "DONE", "--wait-idle", "300ms"], 3, idle, "a"),
        ("exit", "echo a; exit 7", &["--until", "DONE"], 4, json!({"reason": "exit", "exit_code": 7}), "a"),
        (
            "exit 0 is no match",
            "echo a; exit 0",
            &["--until", "DONE"],
            4,
            json!({"reason": "exit", "exit_code": 0}),
            "a",
        ),
        ("signal", "echo a; kill -9 $$", &["--until", "DONE"], 4, json!({"reason": "exit", "signal": 9}), "a"),
        (
            "exit before idle",
            "echo a; exit 7",
            &["--wait-idle", "30s"],
            4,
            json!({"reason": "exit", "exit_code": 7}),
            "a",
        ),
    ];
    for (name, script, args, code, end, last) in cases {
        check(&Case { name, script, args, code, end, last });
    }
}

/// Runs a case live and again afterwards.
fn check(case: &Case) {
    let host = Host::start();
    let ends = ["exit", "kill"].iter().any(|word| case.script.contains(word));
    host.sh("s", &if ends { case.script.to_owned() } else { format!("{}{STAYS}", case.script) });
    let wait = |more: &[&str]| host.cmd(["logs", "s"]).args(case.args).args(more).run();
    for (when, out) in [("live", wait(&[])), ("again", wait(&["--timeout", "20s"]))] {
        let printed = out.expect_code(case.code).text();
        let last = printed.lines().last().unwrap_or("");
        assert!(last.ends_with(case.last), "{}, {when}: last row {last:?}", case.name);
    }
    let json = wait(&["--json"]).expect_code(case.code);
    let end = json.end_line();
    for (field, value) in case.end.as_object().unwrap() {
        assert_eq!(&end[field], value, "{}: {field} in {end}", case.name);
    }
    assert!(end["next"].is_string() && end["run"] == 1, "{}: {end}", case.name);
    let again = wait(&["--json", "--timeout", "0"]).expect_code(case.code);
    assert_eq!(without_time(&json), without_time(&again), "{}: the same log, the same verdict", case.name);
}

/// What was printed, however it was cut, and the end without its wall time.
fn without_time(out: &Out) -> (String, Value) {
    let mut end = out.end_line();
    end.as_object_mut().unwrap().remove("ts");
    (content(out), end)
}

#[test]
fn timeouts() {
    let host = Host::start();
    host.sh("s", "echo a; exec cat");
    host.wait_text("s", "^a$");
    for timeout in ["300ms", "0"] {
        let out = host.run(["logs", "s", "--until", "NEVER", "--timeout", timeout, "--json"]).expect_code(2);
        assert_eq!(out.end_line()["reason"], "timeout");
    }
    host.run(["logs", "s", "--until", "^a", "--timeout", "0"]).expect_code(0);
}

#[test]
fn the_first_output_may_come_late() {
    let host = Host::start();
    host.sh("late", "stty -echo; echo up; read x; sleep 1; echo late; exec cat");
    host.sh("mute", "stty -echo; echo up; exec sleep 1000");
    for name in ["late", "mute"] {
        host.wait_text(name, "^up$");
        host.ok(["send", name, "go"]);
    }
    assert_eq!(host.run(["logs", "late", "--wait-idle", "300ms"]).expect_code(3).text(), "late\n");
    let out = host.run(["logs", "mute", "--wait-idle", "100ms", "--wait-first", "400ms", "--json"]).expect_code(3);
    assert_eq!(out.end_line()["reason"], "idle");
}

#[test]
fn readers_with_different_conditions() {
    let host = Host::start();
    host.sh("s", "stty -echo; echo up; read x; echo one; echo two; echo three; exec cat");
    host.wait_text("s", "^up$");
    // From the start: whether the send comes before a reader, which would begin there, is a race.
    let one = host.cmd(["logs", "s", "--since", "start", "--until", "one"]).spawn();
    let three = host.cmd(["logs", "s", "--since", "start", "--until", "three"]).spawn();
    let idle = host.cmd(["logs", "s", "--until", "NEVER", "--timeout", "3s"]).spawn();
    host.ok(["send", "s", "go"]);
    assert_eq!(one.wait().expect_code(0).text(), "up\none\n");
    assert_eq!(three.wait().expect_code(0).text(), "up\none\ntwo\nthree\n");
    idle.wait().expect_code(2);
}

#[test]
fn a_wait_ends_with_its_run_and_a_follow_goes_on() {
    let host = Host::start();
    host.ok([
        "new",
        "s",
        "--restart",
        "always",
        "--backoff",
        "50ms..50ms",
        "--max-restarts",
        "2",
        "--",
        "sh",
        "-c",
        "echo up; exit 5",
    ]);
    let follow = host.cmd(["logs", "s", "-f"]).spawn();
    let end = host.run(["logs", "s", "--since", "start", "--until", "NEVER", "--json"]).expect_code(4).end_line();
    assert_eq!((&end["reason"], &end["exit_code"], &end["run"]), (&json!("exit"), &json!(5), &json!(1)));
    assert_eq!(follow.wait().expect_code(0).text(), "up\nup\nup\n");
}

#[test]
fn start_points_and_parts() {
    let host = Host::start();
    host.sh("s", "stty -echo; echo up; while read x; do echo \"got $x\"; done");
    host.wait_text("s", "^up$");
    for (n, word) in ["one", "two"].iter().enumerate() {
        host.ok(["send", "s", word]);
        host.wait_text("s", &format!("^got {word}$"));
        assert_eq!(host.session("s").unwrap()["last_turn"], n + 1);
    }
    let cases: [(&[&str], &str); 8] = [
        (&[], "up\ngot one\ngot two\n"),
        (&["--since", "start"], "up\ngot one\ngot two\n"),
        (&["--since", "last-send"], "got two\n"),
        (&["--since", "turn:1"], "got one\ngot two\n"),
        (&["--since", "turn:1", "--until", "got one"], "got one\n"),
        (&["-n", "1"], "got two\n"),
        (&["--since", "1h", "-n", "2"], "got one\ngot two\n"),
        (&["--since", "now"], ""),
    ];
    for (args, expected) in cases {
        assert_eq!(host.cmd(["logs", "s"]).args(args).run().expect_code(0).text(), expected, "{args:?}");
    }
    assert_eq!(host.ok(["logs", "s", "--raw"]), "up\r\ngot one\r\ngot two\r\n");
    host.run(["logs", "s", "--since", "turn:9"]).expect_error(66, &["9"]);

    let first = host.run(["logs", "s", "--json", "--since", "start", "--until", "got one"]).expect_code(0);
    let next = first.end_line()["next"].as_str().unwrap().to_owned();
    assert_eq!(content(&first), "up\ngot one\n");
    let to = host.run(["logs", "s", "--json", "--to", &next]).expect_code(0);
    assert_eq!(content(&to), "up\ngot one\n");
    let rest = host.run(["logs", "s", "--json", "--since", &next]).expect_code(0);
    assert_eq!(content(&rest), "got two\n", "neither loss nor double");
}

#[test]
fn json_lines_are_the_contract() {
    let mut host = Host::start();
    host.sh("s", "echo a; printf 'b\\377\\n'; exit 3");
    host.wait_state("s", "exited");
    host.set_env("TERMALIVE_LOGS", "json");
    let out = host.run(["logs", "s"]).expect_code(0);
    let lines = out.json_lines();
    let start = &lines[0];
    assert_eq!((&start["event"], &start["v"], &start["run"]), (&json!("start"), &json!(1), &json!(1)));
    assert!(start["next"].as_str().unwrap().starts_with('@') && start["id"].is_string(), "{start}");
    assert!(
        lines.iter().all(|line| line["session"] == "s" && line["ts"].as_str().unwrap().ends_with('Z')),
        "{lines:?}"
    );
    assert!(lines[1]["seq"].is_u64(), "{lines:?}");
    assert_eq!(content(&out), "a\nb\u{fffd}\n");
    assert_eq!(out.end_line()["reason"], "complete");
    let followed = host.run(["logs", "s", "-f"]).expect_code(0).end_line();
    assert_eq!((&followed["reason"], &followed["exit_code"]), (&json!("exit"), &json!(3)));

    let words: Vec<_> = host.run(["logs", "s", "--events", "all"]).json_lines();
    let words: Vec<_> = words.iter().map(|line| line["event"].as_str().unwrap().to_owned()).collect();
    for word in ["start", "started", "data", "exited", "end"] {
        assert!(words.iter().any(|found| found == word), "{word} in {words:?}");
    }
    let exact = host.run(["logs", "s", "--base64"]).json_lines();
    assert!(exact.iter().any(|line| line["event"] == "data"), "{exact:?}");
    assert_eq!(host.run(["logs", "s", "--raw"]).expect_code(0).stdout, b"a\r\nb\xff\r\n", "--raw beats the default");
}

fn content(out: &Out) -> String {
    out.json_lines()
        .iter()
        .filter(|line| line["event"] == "data")
        .map(|line| line["content"].as_str().unwrap())
        .collect()
}
