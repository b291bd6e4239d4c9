//! The keeper becomes another file of this program, in place. `TERMALIVE_TEST_REEXECS` (5) is how often.

use crate::{
    cases::Case,
    world::{Host, World, number, signal, stat},
};
use libc::{SIGHUP, SIGKILL};
use serde_json::{Value, json};
use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

pub(crate) const CASES: &[Case] = &[
    ("a_reexec_keeps_everything", a_reexec_keeps_everything),
    ("a_reexec_that_can_not_be_leaves_all_as_it_is", a_reexec_that_can_not_be_leaves_all_as_it_is),
    ("a_keeper_killed_around_a_reexec_loses_nothing", a_keeper_killed_around_a_reexec_loses_nothing),
    ("a_host_killed_around_a_reexec_loses_nothing", a_host_killed_around_a_reexec_loses_nothing),
];

fn times() -> u8 {
    std::env::var("TERMALIVE_TEST_REEXECS").map_or(5, |text| text.parse().unwrap())
}

/// Another file of this program.
fn copy(world: &World, n: u8) -> PathBuf {
    let file = world.folder.path().join(format!("keeper-{n}"));
    fs::copy(std::env::current_exe().unwrap(), &file).unwrap();
    file
}

fn order(host: &mut Host, program: &std::path::Path) {
    host.tell(json!({"do": "reexec", "program": program}));
}

fn a_reexec_keeps_everything() {
    let (world, mut host) = World::with_host();
    let keeper = world.keeper.id();
    let cat = host.spawn(1, 1, "cat");
    host.spawn(2, 1, "exit 4");
    assert_eq!(host.status(2, 1), json!({"Code": 4}));
    for n in 1..=times() {
        let (during, spawned) = (10 + 2 * n, 11 + 2 * n);
        host.spawn(during, 1, "read x; exit 6");
        let program = copy(&world, n);
        order(&mut host, &program);
        host.tell(json!({"do": "type", "id": during, "text": "now\n"}));
        host.order_spawn(spawned, 1, &crate::world::sh("exit 7"));
        for _ in 0..50 {
            signal(keeper, SIGHUP); // means nothing to a keeper; kills a process that doesn't block it for a moment
            std::thread::park_timeout(Duration::from_millis(1));
        }
        assert_eq!(host.expect("reexeced")["why"], Value::Null);
        assert_eq!(fs::read_link(format!("/proc/{keeper}/exe")).unwrap(), program.canonicalize().unwrap());
        host.expect("spawned");
        let mut ends = [host.expect("exited"), host.expect("exited")];
        ends.sort_by_key(|end| end["id"].as_u64());
        assert_eq!(ends.map(|end| end["status"].clone()), [json!({"Code": 6}), json!({"Code": 7})]);
        host.dialogue(1, &format!("line {n}\n"), &format!("line {n}\nline {n}\n"));
        assert_eq!(stat(cat).unwrap()[1], keeper.to_string(), "still the parent");
    }
    host.kill();
    let mut host = world.host();
    assert_eq!((&host.hello["keeper"], &host.hello["generation"]), (&json!(keeper), &json!(2)));
    let held = host.hello["sessions"].as_array().unwrap().clone();
    assert_eq!(held.len(), 2 + 2 * usize::from(times()));
    assert_eq!((&held[0]["exit"], &held[1]["exit"]), (&Value::Null, &json!({"Code": 4})));
    host.dialogue(1, "last\n", "last\nlast\n");
    signal(cat, SIGKILL);
    assert_eq!(host.status(1, 1), json!({"Signal": 9}));
    let closed = fs::read_dir(format!("/proc/{keeper}/fd")).unwrap().count();
    assert!(closed < 12 + 4 * held.len(), "{closed} descriptors: some of earlier keepers are left");
}

fn a_reexec_that_can_not_be_leaves_all_as_it_is() {
    let (world, mut host) = World::with_host();
    host.spawn(1, 1, "cat");
    let file = |name: &str, text: &str, mode: u32| {
        let path = world.folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let checks_only =
        format!("#!/bin/sh\n[ \"$2\" = --check ] && rm {}/vanishes\nexit 0\n", world.folder.path().display());
    for (program, why) in [
        (file("text", "text", 0o755), "Exec format error"),
        (file("plain", "#!/bin/sh\n", 0o644), "Permission denied"),
        (file("fails", "#!/bin/sh\nexit 1\n", 0o755), "Code(1)"),
        (file("dies", "#!/bin/sh\nkill -9 $$\n", 0o755), "Signal(9)"),
        (world.folder.path().join("nowhere"), "No such file"),
        (file("vanishes", &checks_only, 0o755), "can't be executed: No such file"),
    ] {
        order(&mut host, &program);
        let said = host.expect("reexeced");
        assert!(said["why"].as_str().is_some_and(|said| said.contains(why)), "{program:?}: {said}");
        host.dialogue(1, "hi\n", "hi\nhi\n");
        let exe = fs::read_link(format!("/proc/{}/exe", world.keeper.id())).unwrap();
        assert_eq!(exe, std::env::current_exe().unwrap().canonicalize().unwrap());
    }
    host.spawn(2, 1, "exit 3");
    assert_eq!(host.status(2, 1), json!({"Code": 3}));
    order(&mut host, &copy(&world, 1));
    assert_eq!(host.expect("reexeced")["why"], Value::Null);
}

fn a_keeper_killed_around_a_reexec_loses_nothing() {
    let (world, mut host) = World::with_host();
    host.spawn(1, 1, "cat");
    let mut keeper = world.keeper.id();
    let program = copy(&world, 1);
    for n in 1..=times() {
        let end = host.spawn(10 + n, 1, "sleep 100");
        order(&mut host, &program);
        // From before the order is read to after the exec; which of it, the machine decides.
        std::thread::park_timeout(Duration::from_millis(u64::from(n) * 7 % 41));
        signal(keeper, SIGKILL);
        keeper = number(&host.expect("replaced")["keeper"]);
        let said = host.expect("reexeced");
        assert!(said["why"].is_null() || said["why"].as_str().unwrap().contains("the keeper died"), "{said}");
        host.dialogue(1, &format!("line {n}\n"), &format!("line {n}\nline {n}\n"));
        host.spawn(100 + n, 1, "exit 7");
        assert_eq!(host.status(100 + n, 1), json!({"Code": 7}));
        signal(end, SIGKILL);
        let status = host.status(10 + n, 1);
        assert!(status == json!({"Signal": 9}) || status == json!("Unknown"), "{status}");
    }
    order(&mut host, &program);
    assert_eq!(host.expect("reexeced")["why"], Value::Null, "one that took over from a dead one does it, too");
    host.dialogue(1, "last\n", "last\nlast\n");
}

fn a_host_killed_around_a_reexec_loses_nothing() {
    let (world, mut host) = World::with_host();
    host.spawn(1, 1, "cat");
    let program = copy(&world, 1);
    for n in 1..=times() {
        host.tell(json!({"do": "ready"}));
        order(&mut host, &program);
        std::thread::park_timeout(Duration::from_millis(u64::from(n) * 7 % 41)); // as above
        host.kill();
        host = world.host();
        assert_eq!(host.hello["keeper"], world.keeper.id());
        host.dialogue(1, &format!("line {n}\n"), &format!("line {n}\nline {n}\n"));
        host.spawn(10 + n, 1, "exit 7");
        assert_eq!(host.status(10 + n, 1), json!({"Code": 7}));
    }
    host.tell(json!({"do": "ready"}));
    order(&mut host, &program);
    assert_eq!(host.expect("reexeced")["why"], Value::Null);
}
