//! Fleets: `up` and `down`, and groups that are restarted as Erlang/OTP does it, with real sessions. The order of starts and
//! ends is read from the events of the host.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod support;

use serde_json::{Value, json};
use support::{Host, Running, kill_hard, wait_for};

/// Sessions that run `cat` and come back at once, and these groups.
fn fleet(sessions: &str, groups: &str) -> String {
    let session = |name| format!("[sessions.{name}]\ncommand = \"cat\"\nbackoff = \"1ms..2ms\"\n");
    sessions.split(' ').map(session).collect::<String>() + groups
}

fn write(host: &Host, name: &str, text: &str) -> String {
    let path = host.path(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// Writes a fleet file and brings it up.
fn up(host: &Host, text: &str) -> String {
    host.ok(["up", &write(host, "fleet.toml", text)])
}

fn pid(host: &Host, name: &str) -> u32 {
    u32::try_from(host.wait_state(name, "running")["pid"].as_u64().unwrap()).unwrap()
}

/// What begins and ends from now on.
fn watch(host: &Host) -> Running {
    let last = host.ok(["events", "--json"]).lines().last().map(str::to_owned).unwrap_or_default();
    let last: Value = serde_json::from_str(&last).unwrap();
    let since = last["id"].as_str().unwrap().to_owned();
    host.cmd(["events", "-f", "--json", "--since", &since, "--type", "started,exited"]).spawn()
}

/// Waits until so much has happened, and gives it in order: `+a` began, `-a` ended. (That a restart isn't to come any more is
/// another `exited` of the same run.)
fn story(events: &Running, length: usize) -> String {
    wait_for(&format!("{length} events"), || {
        let text = String::from_utf8(events.stdout_so_far()).unwrap();
        let whole = &text[..text.rfind('\n').map_or(0, |at| at + 1)];
        let mut told: Vec<String> = Vec::new();
        for line in whole.lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            let name = event["session"].as_str().unwrap();
            let sign = if event["event"] == "started" { '+' } else { '-' };
            let last = told.iter().rev().find(|word| word[1..] == *name);
            if sign == '+' || last.is_none_or(|last| last.starts_with('+')) {
                told.push(format!("{sign}{name}"));
            }
        }
        (told.len() >= length).then(|| told.join(" "))
    })
}

#[test]
fn one_for_all_and_rest_for_one_keep_their_order() {
    for (strategy, members, victim, wanted) in [
        ("one_for_all", "a b c", "b", "-b -c -a +a +b +c"),
        ("rest_for_one", "a b c d", "b", "-b -d -c +b +c +d"),
        ("one_for_one", "a b c", "b", "-b +b"),
    ] {
        let host = Host::start();
        let list: Vec<&str> = members.split(' ').collect();
        let group = format!("[groups.g]\nstrategy = \"{strategy}\"\nmembers = {list:?}\n");
        up(&host, &fleet(members, &group));
        let events = watch(&host);
        kill_hard(pid(&host, victim));
        let length = wanted.split(' ').count();
        assert_eq!(story(&events, length), wanted, "{strategy}");
        assert!(list.iter().all(|name| host.session(name).unwrap()["group"] == "g"));
    }
}

#[test]
fn up_starts_in_order_and_down_ends_in_reverse() {
    let host = Host::start();
    host.ok(["new", "other", "--", "cat"]);
    let events = watch(&host);
    let groups = "[groups.g]\nmembers = [\"c\", \"low\"]\n[groups.low]\nmembers = [\"e\", \"d\"]\n[sessions.z]\ncommand = \"cat\"\n";
    up(&host, &fleet("b c d e", groups));
    assert_eq!(story(&events, 5), "+b +c +e +d +z");
    let file = host.path("fleet.toml");
    assert_eq!(host.ok(["down", "low"]), "ended d\nended e\n");
    assert_eq!(
        host.ok(["down", &file, "--dry-run"]),
        "ended z\nunchanged d: it had ended\nunchanged e: it had ended\nended c\nended b\n"
    );
    assert_eq!(
        host.ok(["up", &file]),
        "unchanged b\nunchanged group g\nunchanged c\nstarted group low: it wasn't up\nstarted e: it had ended\nstarted d: it had ended\nunchanged z\n"
    );
    host.ok(["down", &file]);
    let wanted = "+b +c +e +d +z -d -e +e +d -z -d -e -c -b";
    assert_eq!(story(&events, wanted.split(' ').count()), wanted);
    assert_eq!(host.ok(["ls", "-q"]), "other\n", "others are left alone");
    let stays = host.json(["show", "b", "--json"]);
    assert_eq!((&stays["state"], &stays["fleet"], &stays["group"]), (&json!("exited"), &Value::Null, &Value::Null));
    assert!(host.session("c").unwrap()["last_seq"].as_u64() > Some(2), "the log stays");
    host.run(["down", &file]).expect_error(66, &["fleet"]);
}

#[test]
fn only_what_differs_changes_and_is_said() {
    let host = Host::start();
    let group = |members: &str| format!("[groups.g]\nstrategy = \"one_for_all\"\nmembers = [{members}]\n");
    let first = fleet("a b c d", &group("\"a\", \"b\""));
    let file = write(&host, "fleet.toml", &first);
    let plan = host.ok(["up", &file, "--dry-run"]);
    assert_eq!(plan, "created c\ncreated d\ncreated group g\ncreated a\ncreated b\n");
    assert_eq!(host.ok(["ls", "--all", "-q"]), "", "a dry run changes nothing");
    assert_eq!(host.ok(["up", &file]), plan, "and says the same words");
    let before = host.json(["list", "--json"]);
    let unchanged = "unchanged c\nunchanged d\nunchanged group g\nunchanged a\nunchanged b\n";
    assert_eq!(host.cmd(["up", &file]).env("CALLER", "another").run().expect_code(0).text(), unchanged);
    assert_eq!(host.json(["list", "--json"]), before, "nothing changes the second time");

    let second = fleet("a b c", &group("\"b\""))
        .replacen("command = \"cat\"", "command = \"cat -u\"\nenv = { K = \"V\" }", 1)
        .replace("[sessions.c]", "[sessions.c]\nsize = \"100x30\"\nlabels = { k = \"v\" }");
    write(&host, "fleet.toml", &second);
    let wanted = "ended d: no longer in the fleet\nrestarted a: command, env and restart differ, removed from group g\n\
                  changed c: size and labels differ\nchanged group g: members differ\nunchanged b\n";
    assert_eq!(host.ok(["up", &file, "--dry-run"]), wanted);
    let answer = host.json(["up", &file, "--json"]);
    assert_eq!(answer["changes"].as_array().unwrap().len(), wanted.lines().count());
    assert_eq!(
        answer["changes"][0],
        json!({"change": "ended", "group": false, "name": "d", "why": "no longer in the fleet"})
    );
    let of = |name: &str| host.session(name).unwrap();
    assert_eq!((&of("a")["run"], &of("a")["command"], &of("a")["group"]), (&json!(2), &json!("cat -u"), &Value::Null));
    assert_eq!((&of("b")["run"], &of("c")["run"]), (&json!(1), &json!(1)));
    assert_eq!((&of("c")["size"], &of("c")["labels"]), (&json!({"cols": 100, "rows": 30}), &json!({"k": "v"})));
    assert_eq!((&of("d")["state"], &of("d")["fleet"]), (&json!("exited"), &Value::Null));
}

#[test]
fn a_group_that_fails_is_the_failed_member_of_the_one_above() {
    let host = Host::start();
    let groups = "[groups.top]\nstrategy = \"rest_for_one\"\nmembers = [\"a\", \"low\", \"z\"]\nmax_restarts = 1\n\
                  [groups.low]\nmembers = [\"b\", \"c\"]\nmax_restarts = 1\nbackoff = \"1ms..2ms\"\n";
    let file = write(&host, "fleet.toml", &fleet("a b c z", groups));
    host.ok(["up", &file]);
    let events = watch(&host);
    let mut told = String::new();
    for more in ["-c +c", "-c -b -z +b +c +z", "-b +b", "-c -b -z -a"] {
        let victim = &more[1..2];
        kill_hard(pid(&host, victim));
        told = format!("{told} {more}").trim().to_owned();
        assert_eq!(story(&events, told.split(' ').count()), told);
    }
    let failed = host.wait_state("c", "failed");
    assert!(failed["reason"].as_str().unwrap().contains("group low gave up"), "{failed}");
    for name in ["a", "b", "z"] {
        assert_eq!(host.wait_state(name, "exited")["group"], if name == "b" { "low" } else { "top" });
    }
    let generation = host.generation();
    host.kill_host();
    host.wait_next_generation(generation);
    assert_eq!(host.session("c").unwrap()["state"], "failed", "another host knows it");
    let said = host.ok(["up", &file]);
    assert!(said.contains("started group top") && said.contains("started c: it had ended"), "{said}");
    host.wait_state("c", "running");
}

#[test]
fn a_host_that_is_killed_in_the_middle_of_a_restart_has_it_finished() {
    let mut host = Host::cold();
    host.set_env("TERMALIVE_CFG_SESSION__STOP_GRACE", "300ms");
    host.ok(["start", "-d"]);
    let stubborn =
        "[sessions.a]\nargv = [\"sh\", \"-c\", \"trap '' HUP TERM; echo ready; while :; do sleep 0.1; done\"]\n";
    let group = "[groups.g]\nstrategy = \"one_for_all\"\nmembers = [\"a\", \"b\", \"c\"]\n";
    up(&host, &(stubborn.to_owned() + &fleet("b c", group)));
    host.wait_text("a", "^ready$");
    let generation = host.generation();
    kill_hard(pid(&host, "b"));
    host.wait_session("c", "ended by its group", |c| c["state"] != "running");
    assert_eq!(host.session("a").unwrap()["run"], 1, "it is still ending");
    host.kill_host();
    host.wait_next_generation(generation);
    for name in ["a", "b", "c"] {
        host.wait_session(name, "started again, once", |s| s["run"] == 2 && s["state"] == "running");
    }
    let groups = groups(&host);
    assert_eq!((&groups["g"]["state"], &groups["g"]["restarts"]), (&json!("up"), &json!(1)), "counted once");
}

#[test]
fn hosts_may_die_at_any_moment() {
    let host = Host::start();
    let group = "[groups.g]\nstrategy = \"rest_for_one\"\nmembers = [\"a\", \"b\", \"c\"]\nmax_restarts = 100\n";
    let file = write(&host, "fleet.toml", &fleet("a b c", group));
    host.ok(["up", &file]);
    for (round, victim) in ["a", "b", "c", "a", "b"].into_iter().enumerate() {
        let generation = host.generation();
        kill_hard(pid(&host, victim));
        if round % 2 == 0 {
            wait_for("its end to be known", || (host.session(victim)?["run"].as_u64()? > 1).then_some(()));
        }
        host.kill_host();
        host.wait_next_generation(generation);
        wait_for("the group to be up", || (groups(&host)["g"]["state"] == "up").then_some(()));
    }
    assert_eq!(groups(&host)["g"]["restarts"], 5, "each end was counted once");
    let runs = ["a", "b", "c"].map(|name| host.wait_state(name, "running")["run"].as_u64().unwrap());
    assert!(runs[0] >= 3 && runs[1] >= 5 && runs[2] >= 6, "each took along what came after it: {runs:?}");
    assert!(host.ok(["up", &file]).lines().all(|line| line.starts_with("unchanged ")));
}

#[test]
fn a_group_comes_back_after_the_host_and_after_the_machine_and_nothing_is_counted() {
    let host = Host::start();
    let group = "[groups.g]\nstrategy = \"one_for_all\"\nmembers = [\"a\", \"b\", \"c\"]\nmax_restarts = 0\n";
    up(&host, &fleet("a b c", group));
    host.ok(["stop", "-y"]);
    host.ok(["start", "-d"]);
    let run_again = |run: u64| {
        for name in ["a", "b", "c"] {
            host.wait_session(name, "runs again", |s| s["state"] == "running" && s["run"].as_u64() == Some(run));
        }
        assert_eq!(groups(&host)["g"]["restarts"], 0);
    };
    run_again(2);
    let (keeper, process) = (host.keeper_pid(), host.host_pid());
    support::send_signal(keeper, rustix::process::Signal::STOP);
    kill_hard(process);
    kill_hard(keeper);
    host.ok(["start", "-d"]);
    run_again(3);
}

#[test]
fn what_somebody_ends_by_name_stays_ended() {
    let host = Host::start();
    let group = "[groups.g]\nstrategy = \"one_for_all\"\nmembers = [\"a\", \"b\"]\n";
    let file = write(&host, "fleet.toml", &fleet("a b", group));
    host.ok(["up", &file]);
    host.ok(["kill", "b"]);
    let events = watch(&host);
    kill_hard(pid(&host, "a"));
    assert_eq!(story(&events, 2), "-a +a");
    assert_eq!(host.session("b").unwrap()["run"], 1);
    host.ok(["restart", "b"]);
    kill_hard(pid(&host, "a"));
    assert_eq!(story(&events, 7), "-a +a +b -a -b +a +b", "it is a member again");
}

#[test]
fn a_session_that_cannot_start_is_said_and_nothing_is_changed() {
    let host = Host::start();
    let text = fleet("a", "[sessions.b]\ncommand = \"nonesuch-program\"\n");
    let file = write(&host, "fleet.toml", &text);
    host.run(["up", &file]).expect_error(1, &["\"b\"", "no such file"]);
    assert_eq!(host.ok(["ls", "--all", "-q"]), "");
    let bad = host.path("bad");
    std::fs::write(&bad, "#!/nonesuch\n").unwrap();
    std::fs::set_permissions(&bad, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let group = format!("[sessions.b]\nargv = [\"{bad}\"]\n[groups.g]\nmembers = [\"a\", \"b\"]\n");
    let out = host.run(["up", &write(&host, "fleet.toml", &fleet("a", &group))]).expect_error(1, &["fleet"]);
    assert!(out.text().contains("failed b: cannot start") && out.text().contains("failed group g"), "{}", out.text());
    assert_eq!(host.wait_state("a", "exited")["run"], 1, "ended with its group");
}

#[test]
fn bad_files_and_names_are_said_in_one_line() {
    let host = Host::start();
    for (text, words) in [
        ("[sessions.a]\ncomand = \"cat\"\n", &["sessions.a.comand", "bad.toml", "command"][..]),
        ("[sessions.a]\ncommand = \"cat\"\n[groups.g]\nmembers = [\"b\"]\n", &["group g", "\"b\"", "bad.toml"]),
        ("[sessions", &["bad.toml", "line 1"]),
        ("", &["no sessions"]),
    ] {
        let file = write(&host, "bad.toml", text);
        host.run(["up", &file]).expect_error(64, words);
        host.run(["down", &file]).expect_error(64, words);
    }
    host.run(["up", &host.path("none.toml")]).expect_error(64, &["none.toml", "no such file"]);
    host.run(["down", "nothing"]).expect_error(66, &["nothing"]);
    host.ok(["new", "a", "--", "cat"]);
    let file = write(&host, "fleet.toml", &fleet("a", ""));
    host.run(["up", &file]).expect_error(1, &["\"a\"", "live"]);
    host.ok(["rm", "-f", "a"]);
    host.ok(["up", &file]);
    let other = write(&host, "other.toml", &fleet("a", ""));
    host.run(["up", &other]).expect_error(1, &["\"a\"", "belongs to fleet \"fleet\""]);
    let folder = host.scratch().join("elsewhere");
    std::fs::create_dir_all(&folder).unwrap();
    let namesake = folder.join("fleet.toml");
    std::fs::write(&namesake, fleet("q", "")).unwrap();
    let namesake = namesake.to_str().unwrap();
    host.run(["up", namesake]).expect_error(1, &["is that of", "name ="]);
    host.run(["down", namesake]).expect_error(66, &["is that of"]);
    assert_eq!(host.ok(["ls", "-q"]), "a\n", "nothing was ended");
}

#[test]
fn a_relative_folder_is_seen_from_the_file() {
    let host = Host::start();
    std::fs::create_dir_all(host.scratch().join("sub")).unwrap();
    let text = "[sessions.a]\ncommand = \"pwd\"\ncwd = \"sub\"\n[sessions.b]\nargv = [\"sh\", \"-c\", \"pwd; echo $K\"]\nenv = { K = \"v\" }\n";
    let file = write(&host, "fleet.toml", text);
    host.cmd(["up", &file]).cwd("/").run().expect_code(0);
    host.wait_state("a", "exited");
    host.wait_state("b", "exited");
    let here = std::fs::canonicalize(host.scratch()).unwrap().display().to_string();
    assert_eq!(host.ok(["logs", "a"]), format!("{here}/sub\n"));
    assert_eq!(host.ok(["logs", "b"]), format!("{here}\nv\n"));
    assert_eq!(host.ok(["up", &file]), "unchanged a: it is done\nunchanged b: it is done\n");
}

/// The groups of the only fleet, by name, as the host tells them.
fn groups(host: &Host) -> Value {
    let socket = host.status().map(|status| status["socket"].as_str().unwrap().to_owned());
    let Some(socket) = socket else { return Value::Null };
    let out = host.program(&["curl", "-sS", "--unix-socket", &socket, "http://x/v1/fleets"]).run();
    let fleets: Value = serde_json::from_slice(&out.stdout).unwrap_or_default();
    let groups = fleets[0]["groups"].as_array().cloned().unwrap_or_default();
    groups.into_iter().map(|group| (group["name"].as_str().unwrap().to_owned(), group)).collect()
}
