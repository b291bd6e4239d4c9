//! `ask`, `reply`, `turns`: exit codes, conditions, standard input, circles, the same over HTTP, over crashes of the host.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod support;

use serde_json::{Value, json};
use support::{Host, binary, wait_for};

/// Shows a prompt, and does what each line says.
const SHELL: &str = r#"while printf '? ' && read -r line; do eval "$line"; done"#;

fn shell() -> Host {
    let host = Host::start();
    host.sh("s", SHELL);
    host
}

#[test]
fn a_reply_says_how_it_ended() {
    let host = Host::start();
    let table: [(&[&str], &str, i32, &str, &str); 8] = [
        (&[], "echo a; echo b", 0, "complete", "a\nb"),
        (&["--until", "^DO..$"], "echo a; echo DONE; echo b", 0, "pattern", "a"),
        (&["--until-line", "DONE"], "echo a; echo all DONE; echo '* DONE'", 0, "pattern", "a\nall DONE"),
        (&["--until-literal", "[DONE]"], "echo a; echo 'is [DONE] now'", 0, "pattern", "a\nis [DONE] now"),
        (&["--wait-idle", "600ms"], "echo a; sleep 50", 3, "idle", "a"),
        (&["--until", "never", "--wait-idle", "600ms"], "echo a", 3, "idle", "a"),
        (&["--timeout", "1s"], "echo a; sleep 50", 2, "timeout", "a"),
        (&[], "echo bye; exit 5", 4, "exit", "bye"),
    ];
    for (n, (args, text, code, reason, wanted)) in table.into_iter().enumerate() {
        let name = format!("s{n}");
        host.sh(&name, SHELL);
        let reply = host.cmd(["ask", &name, "--json"]).args(args).args([text]).run().expect_code(code);
        let reply: Value = serde_json::from_str(&reply.text()).unwrap();
        let found = (&reply["reply"], &reply["reason"], &reply["complete"]);
        assert_eq!(found, (&json!(wanted), &json!(reason), &json!(code == 0)), "{text}: {reply}");
        if reason != "timeout" {
            let again = host.run(["reply", &name, "--json"]).expect_code(code);
            assert_eq!(serde_json::from_str::<Value>(&again.text()).unwrap(), reply, "{text}: later");
        }
    }
}

#[test]
fn people_see_the_reply_alone_and_scripts_why_it_is_not_whole() {
    let host = shell();
    assert_eq!(host.ok(["ask", "s", "echo hi; echo; echo ' there'"]), "hi\n\n there\n");
    assert_eq!(host.ok(["ask", "s", ":"]), "");
    assert_eq!(host.ok(["ask", "s", "-q", "echo hi"]), "s\n");
    let out = host.run(["ask", "s", "--until", "never", "--timeout", "500ms", "echo part"]);
    assert_eq!(out.expect_error(2, &["more may come", "termalive reply s --turn 4 --wait"]).text(), "part\n");
    host.run(["ask", "s", "exit"]).expect_error(4, &["the run has ended"]);
    host.run(["ask", "s", "more"]).expect_error(4, &["nothing runs"]);
    host.run(["ask", "nobody", "hi"]).expect_error(66, &["nobody"]);
    host.run(["ask", "s", "--until", "(", "hi"]).expect_error(64, &["bad pattern"]);
    host.run(["ask", "s", "--wait-idle", "soon", "hi"]).expect_code(64);
    host.run(["reply", "s", "--turn", "99"]).expect_error(66, &["no turn 99"]);
    host.run(["reply", "s", "--turn", "0"]).expect_code(64);
    host.run(["turns", "nobody"]).expect_error(66, &["nobody"]);
    host.sh("new", SHELL);
    host.run(["reply", "new"]).expect_error(66, &["nothing was sent"]);
    assert_eq!(host.ok(["turns", "new", "--json"]), "[]\n");
}

#[test]
fn standard_input_is_asked() {
    let host = shell();
    assert_eq!(host.cmd(["ask", "s", "-"]).stdin("echo from a pipe\n").run().expect_code(0).text(), "from a pipe\n");
    assert_eq!(host.cmd(["ask", "s"]).stdin("echo $((6 * 7))\n").run().expect_code(0).text(), "42\n");
    host.cmd(["ask", "s", "-"]).stdin("").run().expect_error(64, &["standard input is empty"]);
}

#[test]
fn programs_without_a_prompt_are_quiet_when_they_are_done() {
    let host = Host::start();
    host.ok(["new", "c", "--", "cat"]);
    let reply = host.json(["ask", "c", "--wait-idle", "500ms", "--json", "hello"]);
    assert_eq!(
        (&reply["reply"], &reply["reason"], &reply["complete"]),
        (&json!("hello"), &json!("idle"), &json!(true))
    );
}

#[test]
fn a_text_that_needs_more_is_not_complete() {
    let host = Host::start();
    host.ok(["new", "s", "--", "sqlite3"]);
    host.json(["ask", "s", "--json", "select 1;"]);
    let out = host.run(["ask", "s", "--json", "select 2"]).expect_code(3);
    let reply: Value = serde_json::from_str(&out.text()).unwrap();
    assert_eq!((&reply["reply"], &reply["reason"], &reply["complete"]), (&json!(""), &json!("idle"), &json!(false)));
    assert_eq!(host.ok(["ask", "s", ";"]), "2\n");
}

#[test]
fn turns_are_listed() {
    let host = shell();
    host.ok(["ask", "s", "echo one"]);
    host.cmd(["ask", "s", "exit 3"]).env("TERMALIVE_SESSION", "boss").run().expect_code(4);
    host.ok(["restart", "s"]);
    host.ok(["ask", "s", "echo three"]);
    let turns = host.json(["turns", "s", "--json"]);
    let shown = |key: &str| turns.as_array().unwrap().iter().map(|turn| turn[key].clone()).collect::<Vec<_>>();
    assert_eq!(shown("turn"), [1, 2, 3]);
    assert_eq!(shown("from"), ["cli", "boss", "cli"]);
    assert_eq!(shown("prompt"), ["echo one", "exit 3", "echo three"]);
    assert_eq!(shown("state"), ["ended", "ended", "complete"]);
    assert_eq!(shown("reason"), [json!("turn"), json!("exit"), json!(null)]);
    assert_eq!(shown("ended_at").iter().filter(|at| at.is_null()).count(), 1);
    assert_eq!(turns[0]["seq_to"].as_u64().unwrap() + 1, turns[1]["seq_from"].as_u64().unwrap());
    assert_eq!(host.ok(["turns", "s", "-q"]), "1\n2\n3\n");
    assert!(host.ok(["turns", "s"]).lines().nth(2).unwrap().contains("ended (exit)"));
    assert_eq!(host.ok(["reply", "s", "--turn", "1"]), "one\n");
}

#[test]
fn a_turn_is_open_until_its_reply_is_whole() {
    let host = shell();
    let state = || {
        let turns = host.json(["turns", "s", "--json"]);
        let newest = turns.as_array().unwrap().last().unwrap().clone();
        assert_eq!(
            (&newest["reason"], &newest["ended_at"]),
            (&json!(null), &json!(null)),
            "it lasts to the next: {newest}"
        );
        newest["state"].as_str().unwrap().to_owned()
    };
    host.ok(["ask", "s", "echo up"]);
    host.ok(["send", "s", "cat"]);
    host.wait_row("s", "? cat");
    assert_eq!(state(), "open");
    host.ok(["send", "s", "--keys", "ctrl+d"]);
    wait_for("the prompt", || (state() == "complete").then_some(()));
    assert!(host.ok(["turns", "s"]).contains(" complete "));
    host.run(["ask", "s", "--until", "never", "--timeout", "1s", "echo one"]).expect_code(2);
    assert_eq!(state(), "open", "not what was asked for");
}

#[test]
fn the_first_ask_needs_no_waiting() {
    let host = Host::start();
    for n in 0..5 {
        host.ok(["new", &format!("b{n}"), "--", "bash", "--norc"]);
        assert_eq!(host.ok(["ask", &format!("b{n}"), "echo up"]), "up\n");
    }
    host.ok(["new", "p", "--", "python3"]);
    assert_eq!(host.ok(["ask", "p", "1 + 1"]), "2\n");
}

#[test]
fn a_circle_is_refused_and_shown() {
    let host = Host::start();
    let ask = |whom: &str| format!("read -r line; {} ask {whom} \"$line\"; echo \"code $?\"; cat", binary().display());
    host.sh("a", &ask("b"));
    host.sh("b", &ask("a"));
    host.ok(["send", "a", "go"]);
    let said = host.wait_text("b", "^code ");
    assert!(said.contains("b asks a asks b: none of them would ever answer") && said.contains("code 1"), "{said}");
    host.sh("self", &ask("self"));
    host.ok(["send", "self", "go"]);
    assert!(host.wait_text("self", "^code 1$").contains("self asks self"));
}

#[test]
fn the_same_over_http() {
    let host = shell();
    let socket = wait_for("a status", || host.status())["socket"].as_str().unwrap().to_owned();
    let curl = |path: &str, body: Option<&str>| -> Value {
        let url = format!("http://x/v1/sessions/{path}");
        let mut words = vec!["curl", "-sS", "--unix-socket", &socket, &url];
        words.extend(body.into_iter().flat_map(|body| ["-H", "Idempotency-Key: k1", "-d", body]));
        let text = host.program(&words).run().expect_code(0).text();
        serde_json::from_str(&text).unwrap_or_else(|why| panic!("{why}: {text}"))
    };
    let body = r#"{"text": "echo one; sleep 6; echo two", "wait": true}"#; // longer than a sign of life takes
    let reply = curl("s/turns", Some(body));
    assert_eq!((&reply["reply"], &reply["source"]), (&json!("one\ntwo"), &json!("rows")));
    assert_eq!(curl("s/turns", Some(body)), reply, "the same key types nothing");
    assert_eq!(curl("s/turns/1?wait=1", None), reply);
    assert_eq!(curl("s/turns/last", None), reply);
    assert_eq!(curl("s/turns", None).as_array().unwrap().len(), 1);
    assert_eq!(curl("s/turns/x", None)["error"]["code"], "usage");
    assert_eq!(curl("s/turns/7?wait=1", None)["error"]["code"], "no_such_turn");
    let part = curl("s/turns/1?until=%5Eone%24", None);
    assert_eq!((&part["reply"], &part["match"], &part["reason"]), (&json!(""), &json!("one"), &json!("pattern")));
}

#[test]
fn an_ask_goes_on_when_the_host_is_killed() {
    let host = shell();
    let asking = host.cmd(["ask", "s", "--json", "echo begun; sleep 3; echo done"]).spawn();
    host.wait_text("s", "^begun$");
    let generation = host.generation();
    host.kill_host();
    host.wait_next_generation(generation);
    let reply: Value = serde_json::from_str(&asking.wait().expect_code(0).text()).unwrap();
    assert_eq!((&reply["reply"], &reply["turn"]), (&json!("begun\ndone"), &json!(1)));
    assert_eq!(host.json(["reply", "s", "--json"]), reply);
    assert_eq!(host.json(["turns", "s", "--json"]).as_array().unwrap().len(), 1, "typed once");
}

#[test]
fn asks_at_once_are_answered_one_after_the_other() {
    let host = Host::start();
    host.ok(["new", "b", "--", "bash", "--norc"]);
    let ask = |n: usize| host.cmd(["ask", "b", &format!("sleep 0.3; echo answer {n}")]).spawn();
    let asked: Vec<_> = (0..6).map(ask).collect();
    for (n, asking) in asked.into_iter().enumerate() {
        assert_eq!(asking.wait().expect_code(0).text(), format!("answer {n}\n"));
    }
    let asking = host.cmd(["ask", "b", "sleep 50"]).spawn();
    wait_for("the seventh turn", || (host.json(["turns", "b", "--json"]).as_array()?.len() == 7).then_some(()));
    host.run(["ask", "b", "--timeout", "500ms", "echo late"]).expect_error(2, &["busy", "nothing was typed"]);
    drop(asking);
}

#[test]
fn who_goes_away_waits_no_longer() {
    let host = shell();
    let asking = host.cmd(["ask", "s", "echo begun; sleep 50"]).env("TERMALIVE_SESSION", "other").spawn();
    host.wait_text("s", "^begun$");
    let queued = host.cmd(["ask", "s", "echo never"]).spawn();
    host.sh("other", SHELL);
    let back = || host.cmd(["ask", "other", "echo hi"]).env("TERMALIVE_SESSION", "s").run();
    assert_eq!(back().code, 1, "it would be a circle");
    drop((asking, queued)); // SIGKILL
    wait_for("the ask to be forgotten", || (back().code == 0).then_some(()));
    host.ok(["send", "s", "--keys", "ctrl+c"]);
    let typed = host.json(["turns", "s", "--json"]);
    assert_eq!(typed.as_array().unwrap().len(), 1, "{typed}");
}
