//! `show`, `list`, labels, `--exist-ok`, `--env-file`, `doctor`, `completions`, and who may end what from inside a session.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod support;

use support::{Host, binary};

#[test]
fn show_says_what_is_known() {
    let host = Host::start();
    host.ok(["new", "web", "--label", "team=a", "--", "sh", "-c", "echo hi; exec cat"]);
    host.ok(["wait", "web", "--until", "hi"]);
    let text = host.ok(["show", "web"]);
    for line in
        ["name: +web", "state: +running", "command: +sh -c 'echo hi; exec cat'", "size: +80x24", "labels: +team=a"]
    {
        assert!(regex::Regex::new(&format!("(?m)^{line}$")).unwrap().is_match(&text), "{line} in {text}");
    }
    let (shown, listed) = (host.json(["show", "web", "--json"]), host.json(["list", "--json"]));
    assert_eq!(shown, listed[0]);
    assert_eq!(host.ok(["show", "web", "-q"]), "web\n");
    host.run(["show", "wbe"]).expect_error(66, &["no session", "did you mean \"web\"?"]);
    assert!(!text.contains('\x1b'), "no colour where nobody sees it");
}

#[test]
fn a_list_has_the_same_columns_for_every_row() {
    let host = Host::start();
    host.ok(["new", "live", "--label", "a=1", "--", "cat"]);
    host.ok(["new", "dead", "--label", "a=1", "--label", "b=2", "--", "sh", "-c", "exit 3"]);
    host.ok(["wait", "dead"]);
    let text = host.ok(["ls", "--all"]);
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().take(6).collect()).collect();
    assert_eq!(rows[0], ["NAME", "STATE", "EXIT", "PID", "RUN", "AGE"]);
    assert_eq!(rows[1][..4], ["dead", "exited", "3", "-"]);
    assert_eq!(rows[2][..3], ["live", "running", "-"]);
    assert_eq!(host.ok(["ls", "-q"]), "live\n");
    assert_eq!(host.ok(["ls", "-q", "--all", "--label", "a=1"]), "dead\nlive\n");
    assert_eq!(host.ok(["ls", "-q", "--all", "--label", "a=1", "--label", "b=2"]), "dead\n");
    assert_eq!(host.json(["ls", "--json", "--label", "no=one"]), serde_json::json!([]));
}

#[test]
fn a_list_fits_its_terminal() {
    let host = Host::start();
    host.ok(["new", "a-session", "--", "sh", "-c", "exec cat; echo a command with a good many words in it"]);
    for (size, env) in [("40x10", "TERM=xterm"), ("40x10", "NO_COLOR=1"), ("120x10", "TERM=xterm")] {
        // the binary itself, under a terminal of that size
        let list = format!("TERMALIVE_HOME={} {} ls; printf END", host.home().display(), binary().display());
        host.ok(["new", "t", "--fresh", "--size", size, "-e", env, "--", "sh", "-c", &list]);
        let raw = host.run(["logs", "t", "--raw", "-f"]).expect_code(0).text();
        assert_eq!(raw.contains("\x1b[32mrunning"), env != "NO_COLOR=1", "{env}: {raw:?}");
        let text = host.ok(["logs", "t"]);
        let columns: usize = size.split_once('x').unwrap().0.parse().unwrap();
        assert!(text.lines().all(|line| line.chars().count() <= columns), "{size}: {text}");
        assert_eq!(text.lines().count(), 4, "nothing is wrapped: {text}");
        assert_eq!(text.contains("many words"), columns == 120, "{text}");
    }
}

#[test]
fn several_names_and_labels() {
    let host = Host::start();
    for name in ["a", "b", "c", "d"] {
        host.ok(["new", name, "--label", &format!("half={}", if name < "c" { 1 } else { 2 }), "--", "cat"]);
    }
    host.ok(["restart", "--label", "half=1"]);
    let run = |name: &str| host.session(name).unwrap()["run"].clone();
    assert_eq!((run("a"), run("b"), run("c")), (2.into(), 2.into(), 1.into()));
    assert_eq!(host.ok(["kill", "a", "--label", "half=2", "-q"]), "a\nc\nd\n");
    assert_eq!(host.ok(["ls", "-q"]), "b\n");
    let out = host.run(["rm", "a", "nobody", "c"]).expect_error(66, &["nobody"]);
    assert_eq!(out.text(), "");
    assert_eq!(host.ok(["ls", "-q", "--all"]), "b\nd\n", "the others are removed all the same");
    host.ok(["rm", "-f", "--label", "half=1", "--label", "half=1", "d"]);
    assert_eq!(host.ok(["ls", "-q", "--all"]), "");
    // a label that nobody has: nothing to do, which is no failure
    host.ok(["kill", "--label", "half=7"]);
}

#[test]
fn exist_ok_is_precise() {
    let host = Host::start();
    let new = |more: &[&str]| {
        host.cmd(["new", "s"]).args(more).args(["--label", "a=1", "--size", "90x30", "--", "cat"]).run()
    };
    new(&[]).expect_code(0);
    assert_eq!(new(&["--exist-ok"]).expect_code(0).text(), "s\n");
    new(&[]).expect_error(1, &["is live"]);
    let differs = |args: &[&str], what: &str| {
        let out = host.cmd(["new", "s", "--exist-ok"]).args(args).run();
        out.expect_error(1, &[&format!("differs in {what} ("), "termalive show s"]);
    };
    differs(&["--label", "a=1", "--", "cat", "-u"], "command");
    differs(&["--label", "a=1", "--cwd", "/", "--", "cat"], "cwd");
    differs(&["--label", "a=1", "--size", "80x24", "--", "cat"], "size");
    differs(&["--", "cat"], "labels");
    differs(&["--cwd", "/", "--size", "80x24", "--", "sh"], "command, cwd, size, labels");
    host.cmd(["new", "s", "--exist-ok", "--label", "a=1", "--", "cat"]).run().expect_code(0); // no size asked for
    host.ok(["kill", "s"]);
    let again = host.json(["new", "s", "--exist-ok", "--json", "--", "sh"]);
    assert_eq!(again["run"], 2, "an ended one starts its next run");
}

#[test]
fn variables_come_from_a_file() {
    let host = Host::start();
    let vars = host.path("vars");
    std::fs::write(&vars, "# a comment\nA=1\n\nB=\"two words\" # kept\nHERE\nEMPTY=\n").unwrap();
    let show = "echo \"[$A][$B][$HERE][$EMPTY][$C]\"";
    let out = host
        .cmd(["run", "s", "--wait", "--rm", "--env-file", &vars, "-e", "C=3", "--", "sh", "-c", show])
        .env("HERE", "caller")
        .run();
    assert_eq!(out.expect_code(0).text(), "[1][\"two words\" # kept][caller][][3]\n");
    std::fs::write(&vars, "A=1\n\nexport B=2\n").unwrap();
    let bad = host.run(["new", "t", "--env-file", &vars, "--", "cat"]);
    bad.expect_error(64, &[&format!("{vars}:3: bad variable \"export B=2\"")]);
}

#[test]
fn from_inside_a_session() {
    let host = Host::start();
    host.ok(["new", "other", "--", "cat"]);
    let ta = binary().display().to_string();
    let script = format!(
        "{ta} new mine -- cat >/dev/null; \
         {ta} kill other; echo kill=$?; {ta} rm -f mine; echo mine=$?; {ta} stop -y; echo stop=$?; \
         {ta} logs me -f; echo follow=$?; {ta} wait me; echo wait=$?; {ta} send other hi; echo send=$?; \
         {ta} kill other --force; echo force=$?; exec cat"
    );
    host.ok(["new", "me", "--size", "200x50", "--", "sh", "-c", &script]);
    let text = host.wait_text("me", "^force=");
    let codes: Vec<&str> = text.lines().filter(|line| line.contains('=') && !line.contains(' ')).collect();
    assert_eq!(codes, ["kill=77", "mine=0", "stop=77", "follow=64", "wait=64", "send=0", "force=0"], "{text}");
}

#[test]
fn doctor_looks_and_touches_nothing() {
    let host = Host::cold();
    let out = host.run(["doctor"]).expect_code(0);
    assert!(out.text().contains("none runs; the first command"), "{}", out.text());
    assert!(!host.home().exists(), "no folder is made, no host started");
    let checks = host.json(["doctor", "--json"]);
    let names: Vec<&str> = checks.as_array().unwrap().iter().map(|check| check["check"].as_str().unwrap()).collect();
    let wanted = [
        "terminals",
        "descriptors",
        "kernel",
        "cgroup",
        "clock",
        "state",
        "disk",
        "runtime",
        "socket",
        "settings",
        "host",
    ];
    assert_eq!(names, wanted);
    assert!(checks.as_array().unwrap().iter().all(|check| ["ok", "warn"].contains(&check["status"].as_str().unwrap())));
    let bad = host.cmd(["doctor"]).env("TERMALIVE_CFG_STORE__NOPE", "1").run();
    assert!(bad.text().contains("settings     fail"), "{}", bad.text());
    bad.expect_error(1, &["checks failed"]);
    host.ok(["start", "-d"]);
    assert!(host.ok(["doctor"]).contains("host         ok    runs version"));
    // a host that lives and doesn't answer
    let pid = host.host_pid();
    support::send_signal(pid, rustix::process::Signal::STOP);
    let silent = host.run(["doctor", "-q"]);
    support::send_signal(pid, rustix::process::Signal::CONT);
    assert_eq!(silent.expect_code(1).text(), "host\n");
}

#[test]
fn a_host_that_does_not_answer_is_said_to() {
    let host = Host::start();
    let pids = [host.keeper_pid(), host.host_pid()]; // a keeper that works ends such a host and starts the next one
    pids.into_iter().for_each(|pid| support::send_signal(pid, rustix::process::Signal::STOP));
    let verbs = [&["start", "-d"][..], &["stop", "-y"], &["status"], &["ls"], &["logs", "x"], &["search", "x"]];
    let asked = verbs.map(|verb| host.cmd(verb.iter().copied()).spawn());
    let said = asked.map(|verb| verb.wait());
    pids.into_iter().for_each(|pid| support::send_signal(pid, rustix::process::Signal::CONT));
    said.into_iter().for_each(|out| drop(out.expect_error(69, &["lives but hasn't answered", "host.log"])));
}

#[test]
fn bash_completes_verbs_options_and_sessions() {
    let host = Host::start();
    host.ok(["new", "web", "--", "cat"]);
    host.ok(["new", "api", "--", "cat"]);
    let script = format!(
        r#"termalive() {{ {0} "$@"; }}; source <({0} completions bash)
        try() {{
            COMP_WORDS=(termalive "$@"); COMP_CWORD=$#; COMPREPLY=()
            _termalive_names termalive "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD-1]}}"
            echo "${{COMPREPLY[*]}}"
        }}
        try sho; try show w; try kill web a; try kill ''; try logs --until-l; try new w; try send web w; try wait web --exi"#,
        binary().display()
    );
    let out = host.program(&["bash", "-c", &script]).run().expect_code(0);
    let wanted = ["show", "web", "api", "api web", "--until-line --until-literal", "", "", "--exit"];
    assert_eq!(out.text().lines().collect::<Vec<_>>(), wanted, "{}", out.stderr);
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        assert!(host.ok(["completions", shell]).contains("termalive"), "{shell}");
    }
}
