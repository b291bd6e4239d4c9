//! After everything died: host and keeper at once, or the machine. What ran is lost and said, what is left of it is ended, and
//! policies decide what runs again.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod support;

use rustix::process::Signal;
use serde_json::json;
use std::fs;

use support::{Host, alive, is_stopped, kill_hard, processes_with, send_signal, wait_for};

/// That only what was built for tests can be told.
#[cfg(debug_assertions)]
const BOOT: &str = "TERMALIVE_DEBUG_BOOT_ID";

/// Ignores what the loss of its terminal does to it.
const ORPHAN: &str = "trap '' HUP TERM; echo $$ >orphan; echo up; while :; do sleep 0.05; done";

/// Both at once: neither can start the other again. The keeper goes last: the end of a parent makes a stopped child go on.
fn kill_both(host: &Host) {
    let (keeper, own) = (host.keeper_pid(), host.host_pid());
    send_signal(keeper, Signal::STOP);
    wait_for("the keeper to stop", || is_stopped(keeper).then_some(()));
    kill_hard(own);
    kill_hard(keeper);
}

fn pid(host: &Host, name: &str) -> u32 {
    u32::try_from(host.session(name).unwrap()["pid"].as_u64().unwrap()).unwrap()
}

/// Sessions with each policy. Each says `up`; what it is, is known by its name.
fn sessions(host: &Host) {
    let quick = ["--backoff", "20ms..20ms"];
    let script = ["--", "sh", "-c", "echo up; exec cat"];
    for (name, policy) in [("never", "never"), ("failure", "on-failure"), ("always", "always"), ("killed", "always")] {
        let again = ["--restart", policy, "--restart-command", "echo again; exec cat"];
        host.cmd(["new", name]).args(quick).args(again).args(script).run().expect_code(0);
        host.wait_row(name, "up");
    }
    let waits = ["new", "waits", "--restart", "always", "--backoff", "3s..3s"];
    host.cmd(waits).args(["--restart-command", "cat", "--", "sh", "-c", "echo up"]).run().expect_code(0);
    host.wait_state("waits", "restarting");
    host.ok(["kill", "killed"]);
}

/// What is to be found by the next host. `again`: whose policies start another run.
fn check(host: &Host, again: &[&str]) {
    for name in again {
        let session = host.wait_session(name, "runs again", |s| s["run"] == 2 && s["state"] == "running");
        assert_eq!(session["restarts"], 1, "{session}");
        wait_for("its rows", || (host.ok(["logs", name]) == "up\nagain\n").then_some(()));
    }
    let waits = host.wait_session("waits", "runs again", |s| s["run"] == 2 && s["state"] == "running");
    assert_eq!(waits["restarts"], 1, "decided once: {waits}");
    for name in ["never", "failure"].iter().filter(|name| !again.contains(name)) {
        let lost = host.session(name).unwrap();
        assert_eq!((&lost["state"], &lost["run"], &lost["exit_code"]), (&json!("lost"), &json!(1), &json!(null)));
        assert!(lost["reason"].as_str().unwrap().contains("isn't known"), "{lost}");
        assert_eq!(host.ok(["logs", name]), "up\n");
    }
    let killed = host.session("killed").unwrap();
    assert_eq!((&killed["state"], &killed["run"]), (&json!("exited"), &json!(1)), "{killed}");
    let lines =
        host.run(["logs", "always", "--since", "start", "--json", "--events", "all"]).expect_code(0).json_lines();
    let told = ["started", "gap", "exited", "restarting"];
    let words = lines.iter().filter_map(|line| line["event"].as_str()).filter(|word| told.contains(word));
    assert_eq!(words.collect::<Vec<_>>(), ["started", "gap", "exited", "restarting", "started"]);
    let gap = lines.iter().find(|line| line["event"] == "gap").unwrap();
    assert_eq!(gap["reason"], "host-lost");
    let cast = host.run(["export", "always", "--format", "asciicast-v2"]).expect_code(0).json_lines();
    let times: Vec<f64> = cast.iter().filter_map(|line| line.get(0)?.as_f64()).collect();
    assert!(times.len() > 1 && times.is_sorted(), "log time goes on: {times:?}");
}

#[test]
fn host_and_keeper_are_killed_at_once() {
    let host = Host::start();
    sessions(&host);
    kill_both(&host);
    check(&host, &["failure", "always"]);
}

#[test]
fn what_is_left_of_a_lost_session_is_ended_first() {
    let host = Host::start();
    let policy = ["--restart", "always", "--backoff", "20ms..20ms", "--stop-timeout", "100ms"];
    let again = "grep -q '^State:.[^Z]' /proc/$(cat orphan)/status && echo still there; echo again; exec cat";
    let args = ["--restart-command", again, "--", "sh", "-c", ORPHAN];
    host.cmd(["new", "again"]).args(policy).args(args).run().expect_code(0);
    host.wait_row("again", "up");
    let second = pid(&host, "again");
    // What is acknowledged here is durable, and all that came before it.
    let elsewhere = ORPHAN.replace(">orphan", ">other");
    host.cmd(["new", "stays", "--stop-timeout", "100ms", "--", "sh", "-c", &elsewhere]).run().expect_code(0);
    host.wait_row("stays", "up");
    let first = pid(&host, "stays");
    kill_both(&host);
    assert!(alive(first) && alive(second), "they ignore the end of their terminal");
    host.wait_row("again", "again");
    let rows = host.ok(["logs", "again"]);
    let said = rows.lines().filter(|row| !row.starts_with("grep: "));
    assert_eq!(said.collect::<Vec<_>>(), ["up", "again"], "the last run was gone when this one began");
    host.ok(["kill", "stays"]); // returns when nothing is left, whoever began to end it
    assert!(!alive(first) && !alive(second));
    assert_eq!(host.session("stays").unwrap()["state"], "lost");
}

/// What a reader saw of a session, by number.
fn seen(host: &Host, name: &str) -> Vec<(u64, serde_json::Value)> {
    let out = host.run(["logs", name, "--since", "start", "--json", "--raw", "--events", "all"]).expect_code(0);
    out.json_lines().into_iter().filter_map(|line| Some((line["seq"].as_u64()?, line))).collect()
}

/// No number means another thing than it did before; the first one behind them says what is lost.
fn check_numbers(name: &str, before: &[(u64, serde_json::Value)], after: &[(u64, serde_json::Value)]) {
    let last = before.last().unwrap().0;
    for (seq, line) in after.iter().filter(|(seq, _)| *seq <= last) {
        assert!(before.iter().any(|(n, was)| n == seq && was == line), "{name}: {seq} was another one: {line}");
    }
    let gap =
        after.iter().find(|(seq, _)| *seq > last).map(|(_, line)| line).unwrap_or_else(|| panic!("{name}: goes on"));
    assert_eq!((&gap["event"], &gap["reason"]), (&json!("gap"), &json!("host-lost")), "{name}");
    assert!(gap["to_seq"].as_u64().unwrap() >= last, "{name}: {gap}");
}

/// Records that readers have seen and no disk: of a run that has ended and left one that prints. Their numbers are not given
/// again. Of a session that rested nothing is said to be lost.
#[test]
fn numbers_that_were_seen_are_not_given_again() {
    let mut host = Host::cold();
    host.set_env("TERMALIVE_CFG_STORE__COMMIT_INTERVAL", "10s"); // what nobody waits for is not on disk
    host.sh("rested", "echo well");
    host.sh("late", "trap '' HUP; (while [ ! -e go ]; do sleep 0.05; done; echo late; exec sleep 1000) & echo up");
    host.wait_state("rested", "exited");
    host.wait_state("late", "exited");
    let rested = wait_for("the session to be let go", || {
        let processes = processes_with(host.session("rested").unwrap()["id"].as_str().unwrap());
        processes.is_empty().then(|| seen(&host, "rested"))
    });
    fs::write(host.path("go"), "").unwrap();
    host.wait_row("late", "late");
    let late = seen(&host, "late");
    kill_both(&host);
    host.ok(["restart", "late"]);
    host.wait_state("late", "exited");
    check_numbers("late", &late, &seen(&host, "late"));
    assert_eq!(seen(&host, "rested"), rested, "nothing of it can be lost");
    host.wait_row("late", "late"); // of the second run
    host.ok(["stop", "-y"]);
    host.ok(["restart", "rested"]);
    host.wait_state("rested", "exited");
    let gaps = |name| seen(&host, name).iter().filter(|(_, line)| line["event"] == "gap").count();
    assert_eq!((gaps("rested"), gaps("late")), (0, 1), "an end in order loses nothing");
}

/// As above, of a run that was only said to be starting.
#[cfg(debug_assertions)]
#[test]
fn a_run_that_was_cut_off_is_numbered_on() {
    let host = Host::cold();
    let order = host.path("kill-at");
    let start = host.program(&[env!("CARGO_BIN_EXE_termalive"), "start", "-d"]);
    start.env("TERMALIVE_DEBUG_KILL_AT", &order).run().expect_code(0);
    host.sh("s", "echo up");
    host.wait_state("s", "exited");
    let (keeper, own, last) = (host.keeper_pid(), host.host_pid(), seen(&host, "s").last().unwrap().0);
    send_signal(keeper, Signal::STOP);
    wait_for("the keeper to stop", || is_stopped(keeper).then_some(()));
    fs::write(&order, "start recorded").unwrap();
    let again = host.cmd(["restart", "s"]).env("TERMALIVE_NO_AUTOSTART", "1").spawn();
    wait_for("the end of the host", || (!alive(own)).then_some(()));
    kill_hard(keeper);
    drop(again);
    let (_, gap) = seen(&host, "s").into_iter().find(|(seq, _)| *seq > last).expect("what comes after its last record");
    let lost = (&gap["event"], &gap["reason"], gap["from_seq"].as_u64().unwrap());
    assert_eq!(lost, (&json!("gap"), &json!("host-lost"), last + 2), "behind `starting`");
}

/// Starts a host in this boot of the machine, whichever binary is under test.
#[cfg(debug_assertions)]
fn start_in(host: &Host, boot: &str) {
    host.program(&[env!("CARGO_BIN_EXE_termalive"), "start", "-d"]).env(BOOT, boot).run().expect_code(0);
}

/// A machine that went down is nobody's failure: who runs always comes back, and who waited for a restart that was decided
/// before; all others are lost, also for the host after that.
#[cfg(debug_assertions)]
#[test]
fn after_a_reboot() {
    let host = Host::cold();
    start_in(&host, "one");
    sessions(&host);
    let policy = ["--restart", "on-failure", "--backoff", "20ms..20ms", "--max-restarts", "1"];
    let script = ["--", "sh", "-c", "[ -e failed ] && exec cat; >failed; exit 1"];
    host.cmd(["new", "failed"]).args(policy).args(script).run().expect_code(0);
    host.wait_session("failed", "runs again", |s| s["run"] == 2 && s["state"] == "running");
    host.cmd(["new", "soon", "--restart", "on-failure", "--backoff", "3s..3s"])
        .args(["--restart-command", "cat", "--", "false"])
        .run()
        .expect_code(0);
    host.wait_state("soon", "restarting");
    let pids = ["never", "failure", "always", "failed"].map(|name| pid(&host, name));
    kill_both(&host);
    pids.into_iter().for_each(kill_hard);
    start_in(&host, "another");
    check(&host, &["always"]);
    host.wait_session("soon", "runs again", |s| s["run"] == 2 && s["state"] == "running");
    for _ in 0..2 {
        let failed = host.wait_state("failed", "lost");
        assert_eq!(failed["run"], 2, "it had failed as often as it may, and not by the machine's end: {failed}");
        let generation = host.generation();
        host.kill_host();
        host.wait_next_generation(generation);
    }
}

/// Moves a process to where its session's cgroup is, if it is in one.
#[cfg(debug_assertions)]
fn leave_cgroup(pid: u32) {
    let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::"));
    let Some((outside, _)) = path.and_then(|path| path.rsplit_once("/termalive-")) else { return };
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mount: Vec<&str> = mounts.lines().find(|line| line.contains(" - cgroup2 ")).unwrap().split(' ').collect();
    let below =
        outside.strip_prefix(mount[3].trim_end_matches('/')).expect("a session's cgroup is where this is mounted");
    std::fs::write(format!("{}{below}/cgroup.procs", mount[4]), pid.to_string()).unwrap();
}

/// A number that was a session's in another boot is a stranger's in this one. In the same boot it would be its own, whatever
/// cgroup and environment it has now.
#[cfg(debug_assertions)]
#[test]
fn pids_of_another_boot_mean_nothing() {
    for (boot, strangers) in [("one", false), ("another", true)] {
        let host = Host::cold();
        start_in(&host, "one");
        let pids = unmarked(&host);
        kill_both(&host);
        assert!(pids.into_iter().all(alive));
        pids.into_iter().for_each(leave_cgroup); // no stranger is in a session's
        start_in(&host, boot);
        assert_eq!(host.wait_state("ended", "lost")["run"], 1);
        host.ok(["kill", "left", "ended"]); // looks for what is left, too
        assert!(pids.into_iter().all(|pid| alive(pid) == strangers), "boot {boot}: strangers live, others don't");
        pids.into_iter().for_each(kill_hard);
    }
}

/// Sessions that nothing but their numbers says to be ones.
#[cfg(debug_assertions)]
fn unmarked(host: &Host) -> [u32; 2] {
    let script = format!("exec env -u TERMALIVE_SESSION_ID sh -c '{}'", ORPHAN.replace('\'', ""));
    let script = script.replace("trap  HUP TERM", "trap : HUP TERM");
    ["left", "ended"].map(|name| {
        let quick = ["new", name, "--stop-timeout", "100ms"];
        host.cmd(quick).args(["--", "sh", "-c", &script]).run().expect_code(0);
        host.wait_row(name, "up");
        pid(host, name)
    })
}

#[test]
fn who_runs_always_comes_back_after_an_orderly_end() {
    let host = Host::start();
    sessions(&host);
    host.ok(["stop", "-y"]);
    let again = host.wait_session("always", "runs again", |s| s["run"] == 2 && s["state"] == "running");
    assert_eq!(again["restarts"], 0, "it didn't fail: {again}");
    wait_for("its rows", || (host.ok(["logs", "always"]) == "up\nagain\n").then_some(()));
    host.wait_session("waits", "runs again", |s| s["run"] == 2 && s["state"] == "running");
    for name in ["never", "failure", "killed"] {
        let session = host.session(name).unwrap();
        assert_eq!((&session["state"], &session["run"]), (&json!("exited"), &json!(1)), "{name}: {session}");
    }
}
