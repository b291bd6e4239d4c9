//! `reload`: another file at the program's place takes over under load; one that can't is refused, and nothing changes.
//!
//! `TERMALIVE_TEST_RELOADS` (20) is how often under load, `TERMALIVE_TEST_RELOAD_KILLS` (6) how often with a kill of the host
//! in it. (The keeper is killed in tests/keeper, where a host lives at that moment: with both dead sessions are lost.)

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod support;

use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};
use support::{Host, Pattern, Running, env_number, wait_for};

const PATTERN_BYTES: usize = 64 * 1024;
const SEEN_BETWEEN: u64 = 128 * 1024; // little, so that many reloads stay in one segment
const FLOOD: &str = "stty raw -echo; while [ ! -e stop ]; do cat pattern; sleep 0.02; done; exit 9";
const ANSWERS: &str = "stty -echo; echo up; while read -r line; do echo \"got $line\"; done";

/// A host that was started from a file of its own.
struct Scene {
    host: Host,
    program: PathBuf,
}

fn scene() -> Scene {
    let host = Host::cold();
    let scene = Scene { program: host.path("termalive").into(), host };
    fs::copy(support::binary(), &scene.program).unwrap();
    scene.host.program(&[scene.program.to_str().unwrap(), "start", "-d"]).run().expect_code(0);
    scene
}

impl Scene {
    /// Puts a file in the program's place, as an installer does: beside it, then renamed.
    fn install(&self, bytes: &[u8], mode: u32) {
        let beside = self.program.with_extension("new");
        fs::write(&beside, bytes).unwrap();
        fs::set_permissions(&beside, fs::Permissions::from_mode(mode)).unwrap();
        fs::rename(&beside, &self.program).unwrap();
    }

    fn install_binary(&self) {
        self.install(&fs::read(support::binary()).unwrap(), 0o755);
    }

    fn reload(&self) -> Value {
        self.host.json(["reload", "--json"])
    }

    fn begin_reload(&self) -> Running {
        self.host.cmd(["reload"]).spawn()
    }

    /// The session answers, once.
    fn ask(&self, name: &str, text: &str) {
        self.host.ok(["send", name, text]);
        self.host.ok(["logs", name, "--until", &format!("^got {text}$"), "--timeout", "50s"]);
    }

    /// Keeper and host are the file that is there now.
    fn assert_is_new(&self) {
        for pid in [self.host.keeper_pid(), self.host.host_pid()] {
            let runs = fs::read_link(format!("/proc/{pid}/exe")).unwrap();
            assert_eq!(runs, self.program.canonicalize().unwrap(), "process {pid} is of the file before");
        }
    }

    fn processes(&self) -> [Value; 3] {
        let status = wait_for("a status", || self.host.status());
        ["host_pid", "keeper_pid", "generation"].map(|field| status[field].clone())
    }
}

#[test]
fn a_new_program_takes_over_under_load() {
    let scene = scene();
    let host = &scene.host;
    let pattern = Pattern::write_to(&host.path("pattern"), PATTERN_BYTES, 19);
    host.sh("flood", FLOOD);
    host.sh("chat", ANSWERS);
    host.sh(
        "late",
        "stty -echo; echo up; read x; echo begun; while [ ! -e late ]; do sleep 0.01; done; echo TASK_DONE; cat",
    );
    host.wait_text("chat", "^up$");
    host.wait_text("late", "^up$");
    host.ok(["send", "late", "go"]);
    let flood = pattern.check_beside(host.cmd(["logs", "flood", "--raw", "-f"]).spawn_piped());
    let rows = host.cmd(["logs", "chat", "-f"]).bound(Duration::from_secs(600)).spawn();
    let wait = host.cmd(["logs", "late", "--until", "TASK_DONE", "--timeout", "600s"]);
    let wait = wait.bound(Duration::from_secs(610)).spawn();
    wait.wait_for_output("begun");
    let reloads = env_number("TERMALIVE_TEST_RELOADS", 20);
    let keeper = host.keeper_pid();
    let mut expected = "up\n".to_owned();
    for n in 1..=reloads {
        flood.wait_for_more(SEEN_BETWEEN);
        scene.install_binary();
        let before = host.generation();
        let under_way = host.cmd(["send", "chat", &format!("during {n}")]).spawn();
        let done = scene.reload();
        under_way.wait().expect_code(0);
        assert_eq!((&done["from"]["generation"], &done["to"]["generation"]), (&json!(before), &json!(before + 1)));
        assert_eq!((&done["keeper_pid"], &done["sessions"]), (&json!(keeper), &json!(3)));
        assert!(done["away_ms"].is_u64() && done["program"] == scene.program.to_str().unwrap(), "{done}");
        scene.assert_is_new();
        scene.ask("chat", &format!("after {n}"));
        expected += &format!("got during {n}\ngot after {n}\n");
    }
    fs::write(host.path("late"), "").unwrap();
    assert_eq!(wait.wait().expect_code(0).text(), "begun\nTASK_DONE\n", "a wait that began before all of them");
    fs::write(host.path("stop"), "").unwrap();
    let session = host.wait_state("flood", "exited");
    assert_eq!((&session["exit_code"], &session["run"]), (&json!(9), &json!(1)));
    let live = flood.finish();
    let out = host.cmd(["logs", "flood", "--raw"]).bound(Duration::from_secs(600)).run().expect_code(0);
    assert_eq!(pattern.check(&out.stdout[..]), live, "live and from the log");
    host.ok(["kill", "chat"]);
    assert_eq!(rows.wait().expect_code(0).text(), expected, "the follower");
    assert_eq!(host.ok(["logs", "chat"]), expected, "the log");
}

#[test]
fn what_can_not_take_over_is_refused_and_nothing_changes() {
    let scene = scene();
    let host = &scene.host;
    host.sh("chat", ANSWERS);
    host.wait_text("chat", "^up$");
    let before = scene.processes();
    let able: Value = {
        let state = host.state_dir();
        let socket = host.status().unwrap()["socket"].as_str().unwrap().to_owned();
        let out = host.run(["__preflight", "--state-dir", state.to_str().unwrap(), "--socket", &socket]);
        serde_json::from_str(&out.expect_code(0).text()).unwrap()
    };
    let says = |change: &dyn Fn(&mut Value)| {
        let mut abilities = able.clone();
        change(&mut abilities);
        format!("#!/bin/sh\n[ \"$1\" = __preflight ] || exit 7\necho '{abilities}'\n")
    };
    for (mode, text, words) in [
        (0o755, "#!/bin/sh\nexit 1\n".to_owned(), &["exit code 1"][..]),
        (0o755, "some text\n".to_owned(), &["can't be started", "format"]),
        (0o644, "#!/bin/sh\n".to_owned(), &["can't be started", "permission"]),
        (0o755, says(&|a| a["store"] = json!(99)), &["can't go on here", "99"]),
        (0o755, says(&|a| a["protocols"] = json!([8, 9])), &["can't go on here", "protocols 8 to 9"]),
        (0o755, says(&|_| ()), &["what the keeper holds", "7"]),
    ] {
        scene.install(text.as_bytes(), mode);
        let program = scene.program.to_str().unwrap();
        let out = host.run(["reload"]).expect_error(1, &["not reloaded"]).expect_error(1, words);
        assert!(out.stdout.is_empty() && (out.stderr.contains(program) || words[0].contains("keeper")), "{out:?}");
        assert_eq!(scene.processes(), before, "{text}");
        scene.ask("chat", "still there");
    }
    fs::remove_file(&scene.program).unwrap();
    host.run(["reload"]).expect_error(1, &["not reloaded", "no such file"]);
    let out = host.run(["reload", "--json"]).expect_code(1);
    let error: Value = serde_json::from_str(&out.stderr).unwrap();
    assert_eq!(error["error"]["code"], "cannot_start");
    assert_eq!(scene.processes(), before);
    host.run(["reload", "chat"]).expect_error(64, &["termalive restart chat"]);
    scene.install_binary();
    assert_eq!(scene.reload()["from"]["generation"], before[2]);
    scene.ask("chat", "at the end");
}

/// The file with its hidden verb for a host made unknown: it says that it can take over, its keeper can, its hosts can't.
fn without_hosts(file: &Path) -> Vec<u8> {
    let mut bytes = fs::read(file).unwrap();
    let places: Vec<usize> = memchr::memmem::find_iter(&bytes, "__host").collect();
    assert!(!places.is_empty(), "the verb isn't in the file as text: build it for debugging");
    places.into_iter().for_each(|at| bytes[at..at + 6].copy_from_slice(b"__hoxt"));
    bytes
}

#[test]
#[cfg(debug_assertions)]
fn a_program_that_can_not_serve_gives_way_to_the_one_before() {
    let host = Host::cold();
    let scene = Scene { program: host.path("termalive").into(), host };
    let built = Path::new(env!("CARGO_BIN_EXE_termalive"));
    fs::copy(built, &scene.program).unwrap();
    let host = &scene.host;
    host.program(&[scene.program.to_str().unwrap(), "start", "-d"]).run().expect_code(0);
    host.sh("chat", ANSWERS);
    host.wait_text("chat", "^up$");
    let before = host.session("chat").unwrap()["pid"].clone();
    for _ in 0..2 {
        scene.install(&without_hosts(built), 0o755);
        host.run(["reload"]).expect_error(1, &["not reloaded", "can't serve", "goes on"]);
        assert!(host.status().unwrap()["reverted"].is_string());
        scene.ask("chat", "with the program before");
    }
    host.kill_host();
    scene.ask("chat", "after its crash, too");
    scene.install(&fs::read(built).unwrap(), 0o755);
    scene.reload();
    scene.assert_is_new();
    assert!(host.status().unwrap().get("reverted").is_none());
    scene.ask("chat", "with the new one");
    assert_eq!(host.session("chat").unwrap()["pid"], before);
}

#[test]
fn a_host_killed_in_the_midst_of_a_reload_loses_nothing() {
    let scene = scene();
    let host = &scene.host;
    let pattern = Pattern::write_to(&host.path("pattern"), PATTERN_BYTES, 23);
    host.sh("flood", FLOOD);
    host.sh("chat", ANSWERS);
    host.wait_text("chat", "^up$");
    let flood = pattern.check_beside(host.cmd(["logs", "flood", "--raw", "-f"]).spawn_piped());
    let pid = host.session("chat").unwrap()["pid"].clone();
    let kills = env_number("TERMALIVE_TEST_RELOAD_KILLS", 6);
    for n in 1..=kills {
        flood.wait_for_more(SEEN_BETWEEN);
        scene.install_binary();
        let victim = host.host_pid();
        let reload = scene.begin_reload();
        std::thread::park_timeout(Duration::from_millis(n * 37 % 211)); // another moment each time; nothing is waited for
        support::send_signal(victim, rustix::process::Signal::KILL);
        let out = reload.wait(); // it may have been too late for it, or done before
        assert!(out.code == 0 || out.code == 1, "{out:?}");
        scene.ask("chat", &format!("after {n}"));
    }
    scene.reload();
    scene.assert_is_new();
    assert_eq!(host.session("chat").unwrap()["pid"], pid);
    fs::write(host.path("stop"), "").unwrap();
    host.wait_state("flood", "exited");
    let live = flood.finish();
    let out = host.cmd(["logs", "flood", "--raw"]).bound(Duration::from_secs(300)).run().expect_code(0);
    assert_eq!(pattern.check(&out.stdout[..]), live);
    let expected: String = (1..=kills).map(|n| format!("got after {n}\n")).collect();
    assert_eq!(host.ok(["logs", "chat"]), format!("up\n{expected}"));
}

#[test]
fn an_exit_in_the_midst_of_a_reload_keeps_its_status() {
    let scene = scene();
    let host = &scene.host;
    for n in 1..=6u64 {
        let names: Vec<String> = (0..5).map(|k| format!("s{n}-{k}")).collect();
        for (k, name) in names.iter().enumerate() {
            host.sh(
                name,
                &format!("echo up; while [ ! -e go{n} ]; do sleep 0.0{k}1; done; echo last; exit {}", 30 + k),
            );
            host.wait_text(name, "^up$");
        }
        let reload = scene.begin_reload();
        std::thread::park_timeout(Duration::from_millis(n * 23 % 97)); // another moment each time; nothing is waited for
        fs::write(host.path(&format!("go{n}")), "").unwrap();
        reload.wait().expect_code(0);
        for (k, name) in names.iter().enumerate() {
            assert_eq!(host.wait_state(name, "exited")["exit_code"], 30 + k, "{name}");
            assert_eq!(host.ok(["logs", name]), "up\nlast\n");
        }
    }
}

#[test]
fn a_reload_follows_a_link_and_is_done_once() {
    let scene = scene();
    let host = &scene.host;
    let other = Host::cold();
    let (one, two) = (other.path("one"), other.path("two"));
    let link = PathBuf::from(other.path("termalive"));
    for file in [&one, &two] {
        fs::copy(support::binary(), file).unwrap();
    }
    std::os::unix::fs::symlink(&one, &link).unwrap();
    other.program(&[link.to_str().unwrap(), "start", "-d"]).run().expect_code(0);
    std::os::unix::fs::symlink(&two, link.with_extension("new")).unwrap();
    fs::rename(link.with_extension("new"), &link).unwrap();
    assert_eq!(other.json(["reload", "--json"])["program"], link.to_str().unwrap());
    let runs = fs::read_link(format!("/proc/{}/exe", other.keeper_pid())).unwrap();
    assert_eq!(runs, Path::new(&two).canonicalize().unwrap());
    // a request that was cut off is sent again, to the host that came: the program is there already
    let first = scene.reload();
    let socket = host.status().unwrap()["socket"].as_str().unwrap().to_owned();
    let body = json!({"generation": first["from"]["generation"]}).to_string();
    let curl = ["curl", "-s", "--unix-socket", &socket, "-d", &body, "http://localhost/v1/reload"];
    let again: Value = serde_json::from_str(&host.program(&curl).run().expect_code(0).text()).unwrap();
    assert_eq!((&again["program"], host.generation()), (&first["program"], 2));
    // a keeper that took over from a dead one knows the place, too
    let keeper = host.keeper_pid();
    host.kill_keeper();
    wait_for("another keeper", || host.status().filter(|status| status["keeper_pid"] != keeper));
    scene.install_binary();
    scene.reload();
    scene.assert_is_new();
    host.run(["stop", "-y"]).expect_code(0);
    host.run(["reload"]).expect_error(69, &["no host"]);
}
