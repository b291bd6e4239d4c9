//! `wait --screen`, `--no-screen`, `--stable`: the screen as it is, also over a crash of the host.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod support;

use support::Host;

/// Draws a frame for each line that is typed: a busy one that shows for a moment, then the line.
const PAINTER: &str = r#"stty -echo; printf '\033[?1049h\033[2J\033[HReady\n> '
while read -r line; do
  printf '\033[2J\033[Hworking (esc to interrupt)'; sleep 0.3
  printf '\033[2J\033[H%s\n> ' "$line"
done"#;

#[test]
fn the_screen_as_it_is() {
    let host = Host::start();
    host.sh("s", PAINTER);
    for (how, printed) in [
        (&["--screen", "^Ready$"][..], "s\n"),
        (&["--screen", "^> $", "--no-screen", "esc to"], "s\n"),
        (&["--stable", "100ms"], "s\n"),
        (&["--screen", "Ready", "--until", "never comes"], "s\n"),
    ] {
        assert_eq!(host.cmd(["wait", "s"]).args(how).run().expect_code(0).text(), printed, "{how:?}");
    }
    // it is there, at once and again
    host.run(["wait", "s", "--screen", "Ready", "--timeout", "0"]).expect_code(0);
    host.run(["wait", "s", "--screen", "never", "--timeout", "0"]).expect_error(2, &["s wasn't ready in time"]);
    host.run(["wait", "s", "--screen", "Ready", "--no-screen", ">", "--timeout", "200ms"]).expect_code(2);
    // what is gone doesn't count
    host.ok(["send", "s", "first answer"]);
    host.ok(["wait", "s", "--screen", "first answer", "--no-screen", "esc to interrupt", "--stable", "200ms"]);
    host.run(["wait", "s", "--screen", "Ready", "--timeout", "0"]).expect_code(2);
    let json = host.run(["wait", "s", "--screen", "first [a-z]+", "--json"]).expect_code(0).json_lines().remove(0);
    let fields = (&json["reason"], &json["pattern"], &json["match"], &json["turn"]);
    assert_eq!(fields, (&"screen".into(), &"first [a-z]+".into(), &"first answer".into(), &1.into()), "{json}");
}

#[test]
fn a_screen_to_come() {
    let host = Host::start();
    host.sh("s", PAINTER);
    host.ok(["wait", "s", "--screen", "Ready"]);
    let waits = [
        host.cmd(["wait", "s", "--screen", "esc to interrupt"]).spawn(),
        host.cmd(["wait", "s", "--screen", "^> $", "--screen", "^done$"]).spawn(),
        host.cmd(["wait", "s", "--no-screen", "Ready"]).spawn(),
    ];
    host.ok(["send", "s", "done"]);
    for wait in waits {
        assert_eq!(wait.wait().expect_code(0).text(), "s\n");
    }
    // the other side of a wait for rows and the screen
    host.sh("b", "read -r x; echo got it; exec cat");
    let both = host.cmd(["wait", "b", "s", "--any", "--screen", "never", "--until", "got"]).spawn();
    host.ok(["send", "b", "x"]);
    assert_eq!(both.wait().expect_code(0).text(), "b\n");
}

#[test]
fn an_end_ends_it() {
    let host = Host::start();
    host.sh("s", "read -r x; printf 'last words'; exit 3");
    let never = host.cmd(["wait", "s", "--screen", "never"]).spawn();
    let last = host.cmd(["wait", "s", "--screen", "last words"]).spawn();
    let both = host.cmd(["wait", "s", "--exit", "--screen", "never"]).spawn();
    host.ok(["send", "s", "x"]);
    never.wait().expect_error(4, &["s ended first (exit status 3)"]);
    last.wait().expect_code(0);
    assert_eq!(both.wait().expect_code(0).text(), "3\n");
    host.run(["wait", "s", "--screen", "never"]).expect_error(4, &["exit status 3"]);
    host.run(["wait", "s", "--screen", "last words"]).expect_code(0);
}

#[test]
fn what_showed_while_the_connection_was_broken_counts() {
    let host = Host::start();
    host.sh("s", PAINTER);
    host.ok(["wait", "s", "--screen", "Ready"]);
    let wait = host.cmd(["wait", "s", "--screen", "^seen$"]).spawn();
    support::wait_for("its reading", || {
        let fds = std::fs::read_dir(format!("/proc/{}/fd", wait.pid())).ok()?;
        let links = fds.flatten().filter_map(|fd| std::fs::read_link(fd.path()).ok());
        (links.filter(|link| link.to_string_lossy().starts_with("socket:")).count() > 1).then_some(())
    });
    host.run(["wait", "s", "--screen", "^seen$", "--timeout", "300ms"]).expect_code(2); // so that the other's has begun, too
    wait.signal(rustix::process::Signal::STOP);
    let generation = host.generation();
    host.kill_host();
    host.wait_next_generation(generation);
    for line in ["seen", "gone"] {
        host.ok(["send", "s", line]);
        host.ok(["wait", "s", "--screen", &format!("^{line}$")]);
    }
    wait.signal(rustix::process::Signal::CONT);
    assert_eq!(wait.wait().expect_code(0).text(), "s\n");
}

#[test]
fn useless_conditions_are_refused() {
    let host = Host::start();
    host.sh("s", "exec cat");
    host.run(["wait", "s", "--screen", "a*"]).expect_error(64, &["for the screen", "empty string"]);
    host.run(["wait", "s", "--no-screen", "[DONE]"]).expect_error(64, &[r"write \[DONE\]"]);
    host.run(["wait", "s", "--stable", "soon"]).expect_error(64, &["--stable", "bad duration"]);
    host.run(["wait", "s", "--screen", "x", "--since", "now"]).expect_error(64, &["--since"]);
}
