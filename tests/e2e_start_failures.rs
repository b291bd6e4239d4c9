//! Commands that can't start: the system's reason on one line, exit 1, and no session left.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod support;

use std::{fs, os::unix::fs::PermissionsExt};
use support::Host;

#[test]
fn failed_starts_say_why_and_leave_nothing() {
    let host = Host::start();
    let file = |name: &str, text: &str, mode| {
        let path = host.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let plain = file("plain", "echo hi\n", 0o644);
    let orphan = file("orphan", "#!/no/such/interpreter\n", 0o755);
    let long = file("long", &format!("LONG={}\n", "x".repeat(200_000)), 0o644);
    let missing = host.path("missing");
    let folder = host.path("");
    let cases: [(&[&str], &[&str]); 8] = [
        (&["--", "no-such-program-anywhere"], &["not found", "no such file"]),
        (&["--", &missing], &["not found", "no such file"]),
        (&["--command", "no-such-program-anywhere --help"], &["not found", "no such file"]),
        (&["--", &plain], &["permission denied"]),
        (&["--", &folder], &["permission denied", "directory"]),
        (&["--", &orphan], &["interpreter", "no such file"]),
        (&["--cwd", &missing, "--", "cat"], &["not found", "no such file"]),
        (&["--env-file", &long, "--", "cat"], &["too long"]),
    ];
    for (args, reasons) in cases {
        let out = host.cmd(["new", "s"]).args(args).run().expect_error(1, &[]);
        let said = out.stderr.to_lowercase();
        assert!(reasons.iter().any(|reason| said.contains(reason)), "{args:?} should say one of {reasons:?}: {said}");
        assert_eq!(out.text(), "", "nothing on stdout");
        assert_eq!(host.ok(["list", "--all", "-q"]), "", "{args:?}: no session left");
        let json = host.cmd(["new", "s", "--json"]).args(args).run().expect_code(1);
        let error: serde_json::Value = serde_json::from_str(&json.stderr).expect("one JSON line");
        assert!(error["error"]["code"].is_string() && error["error"]["message"].is_string(), "{error}");
    }
    host.ok(["new", "s", "--", "cat"]);
    assert_eq!(host.session("s").unwrap()["run"], 1, "the name is free");
}

#[test]
fn a_later_run_that_cannot_start_keeps_the_session() {
    let host = Host::start();
    host.sh("s", "echo first");
    host.wait_state("s", "exited");
    host.run(["new", "s", "--", "no-such-program-anywhere"]).expect_error(1, &["no-such-program-anywhere"]);
    assert!(host.ok(["logs", "s"]).starts_with("first\n"), "the log stays");
    host.sh("s", "echo third");
    host.wait_row("s", "third");
}
