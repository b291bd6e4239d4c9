//! Process trees that don't want to end: `kill`, `rm -f`, `restart` and `stop` return when nothing of them is left, with
//! cgroups and without, also when the keeper, or host and keeper, have died before.
//!
//! Without cgroups means: in a mount namespace that has none. Where that, or a cgroup, can't be had, a test says so and
//! looks at the other one alone.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod support;

use rustix::process::Signal;
use std::{collections::HashSet, fs};
use support::{Host, alive, binary, kill_hard, processes_with, send_signal, skipped, wait_for};

/// Ignores what can be ignored, and says who it is; `$1` is what comes before its pid in the file.
const STUBBORN: &str = "trap '' HUP TERM\necho $$ >>$DIR/pids\nwhile :; do sleep 0.2; done\n";
/// Each process lives for as long as it takes to start the next one.
const LOOP: &str = "trap '' HUP TERM\nif [ ! -e $DIR/loops ]; then echo $$ >$DIR/loops; fi\nsh $DIR/loop &\n";

/// What a session runs, and how many of it tell their pids.
const SCRIPTS: [(&str, usize, &str); 7] = [
    ("left", 1, "setsid sh $DIR/stubborn & while [ ! -s $DIR/pids ]; do sleep 0.01; done"),
    ("double", 1, "(setsid sh -c 'sh $DIR/stubborn & exit' &); exec cat"),
    ("loop", 0, "setsid sh $DIR/loop & exec cat"),
    ("deaf", 1, "exec sh $DIR/stubborn"),
    ("bare", 1, "env -i DIR=$DIR PATH=$PATH sh $DIR/stubborn & trap '' HUP; while :; do sleep 0.2; done"),
    (
        "group",
        1,
        "set -m; env -i DIR=$DIR PATH=$PATH sh $DIR/stubborn & set +m; trap '' HUP; while :; do sleep 0.2; done",
    ),
    ("many", 3, "for n in 1 2 3; do setsid sh $DIR/stubborn & done; exec cat"),
];

/// Has nothing left by which it is known but its cgroup: leader gone, own session, no cookie, adopted by somebody.
const HIDDEN: (&str, usize, &str) = (
    "hidden",
    1,
    "env -i DIR=$DIR PATH=$PATH setsid sh -c 'sh $DIR/stubborn & exit'; while [ ! -s $DIR/pids ]; do sleep 0.01; done",
);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Cgroup,
    Without,
}

#[derive(Clone, Copy, Debug)]
enum Before {
    Nothing,
    KeeperDies,
    BothDie,
}

/// A host with all those sessions, and what is known of their processes.
struct Scene {
    host: Host,
    way: Way,
    sessions: Vec<Known>,
    /// A cgroup that the second keeper is in.
    elsewhere: Option<Elsewhere>,
}

/// Removed when the host is gone.
struct Elsewhere(String);

impl Drop for Elsewhere {
    fn drop(&mut self) {
        wait_for("the cgroup to be empty", || fs::remove_dir(&self.0).ok());
    }
}

struct Known {
    name: &'static str,
    id: String,
    /// With their start times: numbers are used again.
    processes: Vec<(u32, u64)>,
}

impl Scene {
    fn new(way: Way) -> Option<Scene> {
        let mut host = Host::cold();
        host.set_env("TERMALIVE_CFG_SESSION__STOP_GRACE", "300ms");
        start(&host, way)?;
        let mut scene = Scene { host, way, sessions: Vec::new(), elsewhere: None };
        let hidden = (way == Way::Cgroup).then_some(HIDDEN);
        SCRIPTS.into_iter().chain(hidden).for_each(|script| scene.add(script));
        Some(scene)
    }

    fn add(&mut self, (name, tell, script): (&'static str, usize, &str)) {
        let folder = self.host.scratch().join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("stubborn"), STUBBORN).unwrap();
        fs::write(folder.join("loop"), LOOP).unwrap();
        let dir = format!("DIR={}", folder.display());
        self.host.ok(["new", name, "-e", &dir, "--", "sh", "-c", script]);
        let told = |file: &str| -> Vec<u32> {
            let text = fs::read_to_string(folder.join(file)).unwrap_or_default();
            text.lines().filter_map(|line| line.parse().ok()).collect()
        };
        wait_for(&format!("the processes of {name}"), || (told("pids").len() == tell).then_some(()));
        if name == "loop" {
            wait_for("the loop", || (!told("loops").is_empty()).then_some(()));
        }
        let session = self.host.session(name).unwrap();
        let leader = session["pid"].as_u64().map(|pid| u32::try_from(pid).unwrap());
        let processes = told("pids").into_iter().chain(leader).filter_map(|pid| Some((pid, start_time(pid)?)));
        let id = session["id"].as_str().unwrap().to_owned();
        let known = Known { name, id, processes: processes.collect() };
        assert_eq!(self.way == Way::Cgroup, is_in_cgroup(&known), "{name}");
        self.sessions.push(known);
    }

    fn names(&self) -> Vec<&str> {
        self.sessions.iter().map(|known| known.name).collect()
    }

    fn suffer(&mut self, before: Before) {
        let keeper = self.host.keeper_pid();
        match before {
            Before::Nothing => {}
            Before::KeeperDies => {
                self.host.kill_keeper();
                wait_for("another keeper", || self.host.status().filter(|status| status["keeper_pid"] != keeper));
            }
            Before::BothDie => {
                let host = self.host.host_pid();
                send_signal(keeper, Signal::STOP); // or it would start another host
                kill_hard(host);
                kill_hard(keeper);
                self.start_again();
            }
        }
        if let Before::BothDie = before {
            return; // the next host begins to end what nobody holds
        }
        for known in self.sessions.iter().filter(|known| known.name != "loop") {
            assert!(!known.living().is_empty(), "nothing of {} is left to be ended", known.name);
        }
    }

    /// With cgroups: in another one than before, as when somebody logs in again.
    fn start_again(&mut self) {
        if self.way == Way::Without {
            return start(&self.host, self.way).unwrap();
        }
        let folder = format!(
            "{}/test-trees-{}-{}",
            cgroup2().unwrap(),
            std::process::id(),
            self.host.home().parent().unwrap().file_name().unwrap().display()
        );
        fs::create_dir(&folder).unwrap();
        let enter = format!("echo 0 >{folder}/cgroup.procs && exec \"$0\" start -d");
        self.elsewhere = Some(Elsewhere(folder));
        let binary = binary();
        let program = ["sh", "-c", &enter, binary.to_str().unwrap()];
        self.host.program(&program).env("TERMALIVE_CFG_SESSION__STOP_GRACE", "300ms").run().expect_code(0);
    }

    /// Looked at once: what was waited for is over.
    fn assert_ended(&self) {
        for known in &self.sessions {
            known.assert_ended();
        }
    }
}

impl Known {
    fn living(&self) -> Vec<u32> {
        let same = |(pid, since): &&(u32, u64)| alive(*pid) && start_time(*pid) == Some(*since);
        self.processes.iter().filter(same).map(|(pid, _)| *pid).collect()
    }

    fn with_cookie(&self) -> Vec<u32> {
        processes_with(&format!("TERMALIVE_SESSION_ID={}", self.id))
    }

    fn assert_ended(&self) {
        assert_eq!(self.with_cookie(), Vec::<u32>::new(), "of {}, by cookie", self.name);
        assert_eq!(self.living(), Vec::<u32>::new(), "of {}, by number", self.name);
        assert_eq!(in_cgroup_of(&self.id), HashSet::new(), "of {}, by cgroup", self.name);
        assert_eq!(cgroups_named(&self.id), Vec::<String>::new(), "of {}", self.name);
    }
}

/// Starts the host's keeper; nothing where that way can't be had.
fn start(host: &Host, way: Way) -> Option<()> {
    if way == Way::Cgroup {
        host.ok(["start", "-d"]);
        return cgroup2().map(|_| ());
    }
    let hide = "for m in $(grep ' - cgroup2 ' /proc/self/mountinfo | cut -d' ' -f5); do umount -l $m || exit 9; done; \
                exec \"$0\" start -d";
    let binary = binary();
    let program = ["unshare", "-m", "sh", "-c", hide, binary.to_str().unwrap()];
    let out = host.program(&program).env("TERMALIVE_CFG_SESSION__STOP_GRACE", "300ms").run();
    (out.code == 0).then_some(())
}

/// The folder of this test's own cgroup, if another can be made in it.
fn cgroup2() -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "))?.split(' ').nth(4)?.to_owned();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    let own = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let folder = format!("{mount}{}", own.trim_end_matches('/'));
    let probe = format!("{folder}/test-{}", std::process::id());
    fs::create_dir(&probe).ok()?;
    fs::remove_dir(&probe).unwrap();
    Some(folder)
}

fn cgroups_named(id: &str) -> Vec<String> {
    let entries = cgroup2().into_iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).filter(|name| name.contains(id)).collect()
}

fn in_cgroup_of(id: &str) -> HashSet<u32> {
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let is_in = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|text| text.contains(id));
    pids.filter(|pid| alive(*pid) && is_in(pid)).collect()
}

fn is_in_cgroup(known: &Known) -> bool {
    !in_cgroup_of(&known.id).is_empty()
}

fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()
}

/// Both ways, or the one that can be had.
fn both_ways(test: impl Fn(&mut Scene)) {
    let mut tested = 0;
    for way in [Way::Cgroup, Way::Without] {
        match Scene::new(way) {
            Some(mut scene) => test(&mut scene),
            None => {
                skipped(&format!("{way:?} can't be had here"));
                continue;
            }
        }
        tested += 1;
    }
    assert!(tested > 0, "neither way can be had");
}

#[test]
fn kill_ends_what_does_not_want_to_end() {
    both_ways(|scene| {
        scene.suffer(Before::Nothing);
        scene.host.ok(["kill"].into_iter().chain(scene.names()));
        scene.assert_ended();
    });
}

#[test]
fn kill_ends_it_after_the_keepers_death() {
    both_ways(|scene| {
        scene.suffer(Before::KeeperDies);
        scene.host.ok(["kill"].into_iter().chain(scene.names()));
        scene.assert_ended();
    });
}

#[test]
fn kill_ends_it_after_the_death_of_host_and_keeper() {
    both_ways(|scene| {
        scene.suffer(Before::BothDie);
        scene.host.ok(["kill"].into_iter().chain(scene.names()));
        scene.assert_ended();
    });
}

#[test]
fn rm_stop_and_restart_end_it_too() {
    for before in [Before::Nothing, Before::BothDie] {
        both_ways(|scene| {
            scene.suffer(before);
            let (removed, rest) = scene.sessions.split_at(3);
            scene.host.ok(["rm", "-f"].into_iter().chain(removed.iter().map(|known| known.name)));
            removed.iter().for_each(Known::assert_ended);
            let restarted = &rest[0];
            scene.host.ok(["restart", restarted.name]);
            assert_eq!(restarted.living(), Vec::<u32>::new(), "of {before:?}, {}", restarted.name);
            assert!(!restarted.with_cookie().is_empty(), "its next run");
            scene.host.ok(["stop", "-y"]);
            scene.assert_ended();
        });
    }
}

#[test]
fn a_next_run_begins_when_nothing_of_the_last_one_is_left() {
    both_ways(|scene| {
        scene.suffer(Before::BothDie);
        let left = scene.sessions.iter().find(|known| known.name == "left").unwrap();
        scene.host.ok(["new", "left", "--", "cat"]);
        assert_eq!(left.living(), Vec::<u32>::new());
        scene.host.ok(["kill"].into_iter().chain(scene.names()));
        scene.assert_ended();
    });
}

#[test]
fn a_host_started_inside_a_session_is_no_part_of_it() {
    let (host, other) = (Host::start(), Host::cold());
    host.sh(
        "inside",
        &format!(
            "unset TERMALIVE_HOST; TERMALIVE_HOME={} {} new s -- cat; echo made; exec cat",
            other.home().display(),
            binary().display()
        ),
    );
    host.wait_text("inside", "^made$"); // while that command runs, what it starts is its child
    other.wait_state("s", "running");
    host.ok(["kill", "inside"]);
    assert!(alive(other.keeper_pid()) && alive(other.host_pid()));
    assert_eq!(other.session("s").unwrap()["state"], "running");
}

#[test]
fn a_run_that_leaves_nothing_leaves_no_cgroup() {
    let host = Host::start();
    host.sh("short", "exit 0");
    let id = host.wait_state("short", "exited")["id"].as_str().unwrap().to_owned();
    wait_for("its cgroup to be gone", || cgroups_named(&id).is_empty().then_some(()));
    host.sh("long", "exec cat");
    let id = host.session("long").unwrap()["id"].as_str().unwrap().to_owned();
    let (keeper, process) = (host.keeper_pid(), host.host_pid());
    send_signal(keeper, Signal::STOP);
    kill_hard(process);
    kill_hard(keeper); // its terminal is gone, and so is it: nobody is there to remove its cgroup
    wait_for("its end", || in_cgroup_of(&id).is_empty().then_some(()));
    host.ok(["start", "-d"]);
    assert_eq!(cgroups_named(&id), Vec::<String>::new(), "the next host does it");
}

#[test]
fn memory_that_runs_out_takes_a_session_first() {
    let host = Host::start();
    host.sh("s", "sleep 1000 & echo up; wait");
    host.wait_text("s", "^up$");
    let score =
        |pid: u32| -> i32 { fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap().trim().parse().unwrap() };
    let id = host.session("s").unwrap()["id"].as_str().unwrap().to_owned();
    let session = processes_with(&format!("TERMALIVE_SESSION_ID={id}"));
    assert_eq!(session.len(), 2, "{session:?}");
    for pid in session {
        for ours in [host.keeper_pid(), host.host_pid()] {
            assert!(score(pid) >= 200 && score(pid) > score(ours), "{} over {}", score(pid), score(ours));
        }
    }
}
