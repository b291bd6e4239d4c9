//! The cases.

use crate::world::{World, by_deadline, number, sh, signal, spec, stat, with_cookie};
use libc::{SIGCONT, SIGKILL, SIGSTOP, SIGTERM, SIGUSR1};
use serde_json::json;
use std::{fs, os::unix::fs::PermissionsExt};
use termalive::model::RawString;

pub(crate) type Case = (&'static str, fn());

pub(crate) const CASES: &[Case] = &[
    ("runs_end_as_they_end", runs_end_as_they_end),
    ("a_start_that_fails_says_why", a_start_that_fails_says_why),
    ("a_program_finds_what_it_was_promised", a_program_finds_what_it_was_promised),
    ("orphans_are_reaped_without_mixing_statuses", orphans_are_reaped_without_mixing_statuses),
    ("the_same_run_is_started_once", the_same_run_is_started_once),
    ("a_killed_host_is_followed_by_one_that_has_everything", a_killed_host_is_followed_by_one_that_has_everything),
    ("an_exit_nobody_heard_of_is_handed_over", an_exit_nobody_heard_of_is_handed_over),
    ("a_stopped_host_is_replaced_when_told", a_stopped_host_is_replaced_when_told),
    ("a_killed_keeper_is_followed_by_one_that_has_everything", a_killed_keeper_is_followed_by_one_that_has_everything),
    ("statuses_are_right_after_the_keepers_death", statuses_are_right_after_the_keepers_death),
    ("a_spawn_survives_the_keeper", a_spawn_survives_the_keeper),
    ("a_spawn_survives_the_keeper_at_any_moment", a_spawn_survives_the_keeper_at_any_moment),
    ("a_run_that_is_not_handed_over_never_began", a_run_that_is_not_handed_over_never_began),
    ("a_binary_that_was_replaced_is_no_trouble", a_binary_that_was_replaced_is_no_trouble),
    ("what_is_not_understood_is_refused", what_is_not_understood_is_refused),
    ("a_first_host_that_fails_ends_the_keeper", a_first_host_that_fails_ends_the_keeper),
    ("an_orderly_end", an_orderly_end),
    ("many_sessions_fit_in_little_memory", many_sessions_fit_in_little_memory),
];

fn runs_end_as_they_end() {
    let (mut world, mut host) = World::with_host();
    for (id, (script, status)) in (1..).zip([
        ("exit 3", json!({"Code": 3})),
        ("exit 0", json!({"Code": 0})),
        ("kill -9 $$", json!({"Signal": 9})),
        ("kill -SEGV $$", json!({"Signal": 11})),
        ("exit 255", json!({"Code": 255})),
    ]) {
        host.spawn(id, 1, script);
        assert_eq!(host.status(id, 1), status, "{script}");
    }
    assert_eq!(world.ready(), "R");
}

fn a_start_that_fails_says_why() {
    let (world, mut host) = World::with_host();
    let file = |name: &str, text: &str, mode: u32| {
        let path = world.folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let plain = file("plain", "x", 0o644);
    let no_interpreter = file("no-interpreter", "#!/nonexistent/interpreter\n", 0o755);
    let within = |cwd: &str| termalive::pty::shim::ShimSpec { cwd: cwd.into(), ..sh("true") };
    let mut long = sh("true");
    long.argv.extend((0..30).map(|_| RawString(vec![b'x'; 100_000])));
    let mut nul = sh("true");
    nul.argv.push(RawString(b"a\0b".to_vec()));
    for (what, spec, errno, step) in [
        ("not found", spec(&["x"], "/nonexistent"), libc::ENOENT, "exec"),
        ("not looked up in any PATH", spec(&["sh"], "sh"), libc::ENOENT, "exec"),
        ("a folder", spec(&["x"], "/tmp"), libc::EACCES, "exec"),
        ("not executable", spec(&["x"], &plain), libc::EACCES, "exec"),
        ("bad interpreter", spec(&["x"], &no_interpreter), libc::ENOENT, "exec"),
        ("3 MB of arguments", long, libc::E2BIG, "exec"),
        ("a NUL in an argument", nul, libc::EINVAL, "exec"),
        ("no argument", spec(&[], "/bin/true"), libc::EINVAL, "exec"),
        ("no such folder", within("/nonexistent"), libc::ENOENT, "chdir"),
        ("no folder", within(&plain), libc::ENOTDIR, "chdir"),
    ] {
        host.order_spawn(1, 1, &spec);
        let failed = host.expect("failed");
        assert_eq!((&failed["errno"], &failed["step"]), (&json!(errno), &json!(step)), "{what}");
    }
    // Without `#!` the shell runs it, as it would from a command line.
    let script = file("script", "exit $1\n", 0o755);
    host.order_spawn(1, 1, &spec(&["script", "7"], &script));
    host.expect("spawned");
    assert_eq!(host.status(1, 1), json!({"Code": 7}));
    // A failed run leaves the one before as it was.
    host.tell(json!({"do": "forget", "id": 1, "run": 1}));
    host.order_spawn(1, 2, &spec(&["x"], "/nonexistent"));
    host.expect("failed");
    host.kill();
    let next = world.host();
    assert_eq!(next.hello["sessions"].as_array().unwrap().len(), 1);
    assert_eq!(next.hello["sessions"][0]["run"], 1);
}

fn a_program_finds_what_it_was_promised() {
    let (_world, mut host) = World::with_host();
    let script = "grep -E 'Sig(Blk|Ign|Cgt)' /proc/self/status; umask; pwd; stty size; \
                  ulimit -Sn; tty; ps -o stat= -p $$; env | sort; echo end";
    let mut spec = sh(script);
    spec.env.push(("ODD".into(), RawString(b"\xff\xfe".to_vec())));
    spec.cwd = "/usr".into();
    host.order_spawn(1, 1, &spec);
    host.expect("spawned");
    let text = host.read(1, "end\n");
    for line in
        ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000", "0027", "/usr", "30 100", "ODD=\u{fffd}\u{fffd}"]
    {
        assert!(text.lines().any(|l| l == line), "no {line:?} in {text}");
    }
    let soft = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap();
    assert!(text.lines().any(|l| l == soft.to_string()), "soft limit {soft} not in {text}");
    assert!(text.contains("/dev/pts/") && text.contains("s+\n"), "{text}");
    host.order_spawn(2, 1, &crate::world::spec(&["ls", "-1", "/proc/self/fd"], "/bin/ls"));
    host.expect("spawned");
    assert_eq!(host.read(2, "3\n"), "0\n1\n2\n3\n", "3 is the folder it reads");
}

fn orphans_are_reaped_without_mixing_statuses() {
    let (world, mut host) = World::with_host();
    for id in 1..=20 {
        host.spawn(id, 1, "for i in 1 2 3; do (setsid sh -c 'exit 5' &); done; exit 3");
        assert_eq!(host.status(id, 1), json!({"Code": 3}));
    }
    let keeper = world.keeper.id().to_string();
    let zombie = |pid: u32| stat(pid).is_some_and(|s| s[0] == "Z" && s[1] == keeper);
    by_deadline(|| {
        let mut pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_str()?.parse().ok());
        (!pids.any(zombie)).then_some(())
    });
}

fn the_same_run_is_started_once() {
    let (_world, mut host) = World::with_host();
    let pid = host.spawn(1, 1, "cat");
    assert_eq!(host.spawn(1, 1, "cat"), pid);
    let refused = |host: &mut crate::world::Host, run| {
        host.order_spawn(1, run, &sh("cat"));
        host.expect("refused")["why"].as_str().unwrap().to_owned()
    };
    assert!(refused(&mut host, 2).contains("still alive"));
    signal(pid, SIGKILL);
    host.status(1, 1);
    assert!(refused(&mut host, 2).contains("not yet on disk"));
    host.tell(json!({"do": "forget", "id": 1, "run": 1}));
    assert_ne!(host.spawn(1, 2, "cat"), pid);
    assert!(refused(&mut host, 1).contains("already"));
}

fn a_killed_host_is_followed_by_one_that_has_everything() {
    let (world, mut host) = World::with_host();
    let pids = [host.spawn(1, 1, "cat"), host.spawn(2, 7, "exec cat")];
    assert!(host.dialogue(1, "before\n", "before\nbefore\n").contains("before"));
    for generation in 2..=4 {
        let dead = host.pid();
        host.kill();
        host = world.host();
        assert_ne!(host.pid(), dead);
        assert_eq!(host.hello["generation"], generation);
        assert_eq!(host.hello["keeper"], world.keeper.id());
        let session = |id: u8, run: u32, pid| {
            let opaque = format!("spec of run {run}");
            json!({"id": id, "run": run, "pid": pid, "opaque": opaque, "ring": 4096, "exit": null})
        };
        assert_eq!(host.hello["sessions"], json!([session(1, 1, pids[0]), session(2, 7, pids[1])]));
        host.dialogue(1, &format!("round {generation}\n"), &format!("round {generation}\nround {generation}\n"));
        host.dialogue(2, "too\n", "too\ntoo\n");
    }
    host.tell(json!({"do": "drop", "id": 1}));
    host.spawn(3, 1, "cat"); // answered after it
    signal(pids[1], SIGTERM);
    assert_eq!(host.status(2, 7), json!({"Signal": SIGTERM}));
    host.kill();
    host = world.host();
    let sessions = host.hello["sessions"].as_array().unwrap().iter().map(|s| (&s["id"], &s["exit"]));
    let wanted = [(&json!(2), &json!({"Signal": SIGTERM})), (&json!(3), &json!(null))];
    assert_eq!(sessions.collect::<Vec<_>>(), wanted);
    assert!(world.locked());
}

fn an_exit_nobody_heard_of_is_handed_over() {
    let (world, mut host) = World::with_host();
    let trigger = world.folder.path().join("trigger");
    assert!(std::process::Command::new("mkfifo").arg(&trigger).status().unwrap().success());
    let pid = host.spawn(1, 1, &format!("read x <{}; exit 42", trigger.display()));
    signal(host.pid(), SIGSTOP);
    fs::write(&trigger, "go\n").unwrap();
    by_deadline(|| stat(pid).is_none().then_some(())); // the keeper has waited for it
    host.kill();
    let mut next = world.host();
    assert_eq!(next.hello["sessions"][0]["exit"], json!({"Code": 42}));
    next.tell(json!({"do": "forget", "id": 1, "run": 1}));
    next.spawn(1, 2, "exit 1");
    assert_eq!(next.status(1, 2), json!({"Code": 1}));
}

fn a_stopped_host_is_replaced_when_told() {
    let (world, mut host) = World::with_host();
    host.spawn(1, 1, "cat");
    signal(host.pid(), SIGSTOP);
    signal(world.keeper.id(), SIGUSR1);
    let mut host = world.host();
    assert_eq!(host.hello["generation"], 2);
    host.dialogue(1, "hi\n", "hi\nhi\n");
    host.tell(json!({"do": "replace"}));
    let mut host = world.host();
    assert_eq!(host.hello["generation"], 3);
    host.dialogue(1, "ho\n", "ho\nho\n");
}

/// Kills the keeper; gives the pid of the next.
fn kill_keeper(host: &mut crate::world::Host, keeper: u32) -> u32 {
    signal(keeper, SIGKILL);
    number(&host.expect("replaced")["keeper"])
}

fn a_killed_keeper_is_followed_by_one_that_has_everything() {
    let (mut world, mut host) = World::with_host();
    let mut keeper = world.keeper.id();
    host.spawn(1, 1, "cat");
    host.spawn(2, 1, "read x; exit 4");
    host.spawn(3, 1, "exit 5");
    assert_eq!(host.status(3, 1), json!({"Code": 5}));
    for round in 0..2 {
        keeper = kill_keeper(&mut host, keeper);
        host.dialogue(1, &format!("round {round}\n"), &format!("round {round}\nround {round}\n"));
        host.spawn(10 + round, 1, "exit 6");
        assert_eq!(host.status(10 + round, 1), json!({"Code": 6}));
        assert!(world.locked());
        // The new keeper starts the next host, also where the old one was its parent.
        host.kill();
        host = world.host();
        assert_eq!(host.hello["generation"], 2 + round);
        assert_eq!(host.hello["keeper"], keeper);
        assert_eq!(host.hello["sessions"].as_array().unwrap().len(), 4 + usize::from(round));
        assert_eq!(host.hello["sessions"][2]["exit"], json!({"Code": 5}));
        host.tell(json!({"do": "ready"}));
    }
    host.tell(json!({"do": "type", "id": 2, "text": "\n"}));
    assert_eq!(host.status(2, 1), json!({"Code": 4}));
    signal(keeper, SIGTERM);
    host.expect("shutdown");
    host.tell(json!({"do": "bye"}));
    assert!(!world.end().success()); // the first one was killed
    by_deadline(|| (!world.locked()).then_some(()));
}

fn statuses_are_right_after_the_keepers_death() {
    let (world, mut host) = World::with_host();
    let zombie = host.spawn(1, 1, "read x; exit 21");
    let waited = host.spawn(2, 1, "read x; exit 22");
    let killed = host.spawn(3, 1, "cat");
    let keeper = kill_keeper(&mut host, world.keeper.id());
    // A zombie: this process is its parent now and doesn't wait yet.
    host.tell(json!({"do": "type", "id": 1, "text": "\n"}));
    assert_eq!(host.status(1, 1), json!({"Code": 21}));
    assert_eq!(stat(zombie).unwrap()[0], "Z");
    // Waited for before the keeper could look.
    signal(keeper, SIGSTOP);
    host.tell(json!({"do": "type", "id": 2, "text": "\n"}));
    signal(killed, SIGKILL);
    for pid in [waited, killed] {
        let pid = rustix::process::Pid::from_raw(pid.cast_signed());
        rustix::process::waitpid(pid, rustix::process::WaitOptions::empty()).unwrap();
    }
    signal(keeper, SIGCONT);
    let mut ends = [host.expect("exited"), host.expect("exited")].map(|e| (e["id"].clone(), e["status"].clone()));
    ends.sort_by_key(|(id, _)| id.as_u64());
    let kept = "the kernel keeps exit statuses since 6.15";
    assert_eq!(ends, [(json!(2), json!({"Code": 22})), (json!(3), json!({"Signal": 9}))], "{kept}");
}

fn a_spawn_survives_the_keeper() {
    let (world, mut host) = World::with_host();
    signal(world.keeper.id(), SIGSTOP);
    host.order_spawn(1, 1, &sh("read x; exit 8"));
    host.order_spawn(2, 1, &sh("exit 9"));
    // Answered in order, so the host has sent both when it answers this.
    let keeper = kill_keeper(&mut host, world.keeper.id());
    let mut ids = [host.expect("spawned"), host.expect("spawned")].map(|s| number(&s["id"]));
    ids.sort();
    assert_eq!(ids, [1, 2]);
    assert_eq!(host.status(2, 1), json!({"Code": 9}));
    host.tell(json!({"do": "type", "id": 1, "text": "\n"}));
    assert_eq!(host.status(1, 1), json!({"Code": 8}));
    assert_ne!(keeper, world.keeper.id());
}

fn a_spawn_survives_the_keeper_at_any_moment() {
    let (world, mut host) = World::with_host();
    let mut keeper = world.keeper.id();
    let begun = |id| world.folder.path().join(format!("begun-{id}"));
    for id in 1..=40 {
        host.order_spawn(id, 1, &sh(&format!("echo $$ >> {}; exec cat", begun(id).display())));
        // A different moment each time: nothing, or a child of the keeper, or the program may be there.
        match id % 4 {
            0 => {}
            1 => by_deadline(|| begun(id).exists().then_some(())),
            _ => by_deadline(|| (!with_cookie(id).is_empty()).then_some(())),
        }
        keeper = kill_keeper(&mut host, keeper);
        let spawned = number(&host.expect("spawned")["pid"]);
        // An environment is empty for a moment within an exec.
        by_deadline(|| (with_cookie(id) == [spawned]).then_some(()));
        host.dialogue(id, "hi\n", "hi\nhi\n");
        assert_eq!(fs::read_to_string(begun(id)).unwrap(), format!("{spawned}\n"), "it began once");
    }
}

fn a_run_that_is_not_handed_over_never_began() {
    let (mut world, mut host) = World::with_host();
    assert_eq!(world.ready(), "R"); // a keeper whose first host dies before that ends
    let begun = |id| world.folder.path().join(format!("begun-{id}"));
    for id in 1..=20 {
        host.order_spawn(id, 1, &sh(&format!("echo $$ >> {}; exec cat", begun(id).display())));
        // A different moment each time: nothing, or a child of the keeper, or the program may be there.
        match id % 4 {
            0 => by_deadline(|| begun(id).exists().then_some(())),
            1 => by_deadline(|| (!with_cookie(id).is_empty()).then_some(())),
            _ => {}
        }
        host.kill();
        host = world.host();
        host.tell(json!({"do": "ready"}));
        if host.hello["sessions"].as_array().unwrap().iter().any(|s| s["id"] == id) {
            by_deadline(|| begun(id).exists().then_some(()));
        } else {
            by_deadline(|| with_cookie(id).is_empty().then_some(()));
            assert!(!begun(id).exists(), "{id}");
        }
    }
}

fn a_binary_that_was_replaced_is_no_trouble() {
    let program = std::env::current_exe().unwrap();
    let copy = program.with_extension(format!("{}", std::process::id()));
    fs::hard_link(program, &copy).unwrap();
    let world = World::of(&copy, "host");
    fs::remove_file(copy).unwrap();
    let mut host = world.host();
    host.spawn(1, 1, "cat");
    let keeper = kill_keeper(&mut host, world.keeper.id());
    host.kill();
    let mut host = world.host();
    assert_eq!(host.hello["keeper"], keeper);
    host.spawn(2, 1, "exit 1");
    assert_eq!(host.status(2, 1), json!({"Code": 1}));
    host.dialogue(1, "hi\n", "hi\nhi\n");
}

fn what_is_not_understood_is_refused() {
    let mut world = World::start("host-strange");
    let mut host = world.host();
    for wanted in ["unknown variant `dance`", "not understood", "protocol 0", "can't be now", "\"protocol\":1"] {
        let answer = host.expect("answer");
        assert!(answer["text"].as_str().unwrap().contains(wanted), "no {wanted} in {answer}");
    }
    assert_eq!(world.end().code(), Some(1));
}

fn a_first_host_that_fails_ends_the_keeper() {
    for (verb, text) in [("host-fails", "the store is broken"), ("host-dies", "the host exited with 9")] {
        let mut world = World::start(verb);
        assert_eq!(world.ready(), text);
        assert_eq!(world.end().code(), Some(1));
        assert!(!world.locked());
    }
}

fn an_orderly_end() {
    let (mut world, mut host) = World::with_host();
    host.spawn(1, 1, "cat");
    let group = stat(host.pid()).unwrap()[2].clone();
    assert_eq!(group, host.pid().to_string(), "Ctrl+C would reach the host");
    signal(world.keeper.id(), SIGTERM);
    host.expect("shutdown");
    signal(world.keeper.id(), SIGTERM);
    host.dialogue(1, "still\n", "still\nstill\n");
    // A host that dies over it is followed by one that is told again.
    host.kill();
    let mut host = world.host();
    host.expect("shutdown");
    host.tell(json!({"do": "bye"}));
    assert_eq!(world.end().code(), Some(0));
    assert!(!world.locked());
}

fn many_sessions_fit_in_little_memory() {
    let (world, mut host) = World::with_host();
    for id in 1..=100 {
        host.spawn(id, 1, "cat");
    }
    host.kill();
    let host = world.host();
    assert_eq!(host.hello["sessions"].as_array().map(Vec::len), Some(100));
    let status = fs::read_to_string(format!("/proc/{}/status", world.keeper.id())).unwrap();
    let field = |name: &str| status.lines().find(|l| l.starts_with(name)).unwrap().to_owned();
    println!("keeper with 100 sessions: {}, {}", field("VmRSS"), field("RssAnon"));
    assert_eq!(field("Threads"), "Threads:\t1");
}
