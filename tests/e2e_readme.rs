//! Every `sh` block of the README and of `docs/`, run as it stands there but for the port; other promises looked at.
//!
//! The blocks of one file run one after the other against one host. What needs another machine, an init system or a network
//! stands in a `console` block, and [`ELSEWHERE`] says who runs it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod support;
mod tcp_common;

use regex::Regex;
use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt, process::Command};
use support::{Host, Out, binary, project_file, skipped};
use tcp_common::free_address;

/// A file, and what the output of each of its blocks must hold, in their order.
type Page = (&'static str, &'static [&'static [&'static str]]);

const PAGES: [Page; 6] = [
    (
        "README.md",
        &[
            &["the answer is 42", "demo"],
            &["45\n", "\"so it \" + \"is\""],
            &["step_1 = \"Read what is given", "step_3 = \"Call them in order", "CODE_DONE"],
            &["step_1 = \"Read what is given", "step_3 = \"Call them in order", "CODE_DONE"],
            &[
                "got hello",
                "exit 4: its run ended first",
                "worker exited 3\n3\n",
                "worker run 1 turn 1 20",
                ": got hello\nchecked\n",
            ],
        ],
    ),
    (
        "docs/config.md",
        &[
            &["30 100", "unknown key \"session.siz\"", "did you mean \"session.size\"", "exit 1"],
            &[
                "created group agents\ncreated planner\n",
                "unchanged coder\n",
                "restarted planner: command differs",
                "ended coder\nended planner\n",
            ],
            &["exit 69", "I am reader"],
        ],
    ),
    ("docs/format.md", &[]),
    ("docs/reliability.md", &[]),
    (
        "docs/operations.md",
        &[
            &["version ", "host ", "under keeper "],
            &["session"],
            &["begun\ngoing on\n", "restart with:  echo going on", "[2,true]"],
            &["the host is up"],
            &["worth keeping\nworth keeping\n"],
            &["has taken over from", "\n1\nbegun\n"],
            &[" bytes in 2 segments"],
            &[],
            &["meta: whole\n", "true\n", "nothing is damaged\n"],
            &["NAME", "kept", "exited"],
        ],
    ),
    (
        "docs/protocol.md",
        &[
            &[
                "\"api\":1",
                "true\ndemo\n1\n",
                "42\n",
                "{\"cols\":100,\"rows\":30}\n2\nrunning\nexited\n{}",
                "no_such_session",
                "}}1\n{}",
            ],
            &[
                "[\"created\",\"pair\"]",
                "[\"pair\",\"up\",[\"one\",\"two\"]]",
                "[\"ended\",\"two\"]\n[\"ended\",\"one\"]\nfalse",
            ],
            &["[1,\"42\",\"complete\"]\none\n", "[1,\"echo $((6 * 7))\",\"ended\"]\n[2,", "\"complete\"]\n42\ntrue\n"],
            &["one\ntwo\n", "\"reason\":\"exit\"", "t   w   o", "unclosed group"],
            &["painter\n", "\"reason\":\"screen\"", "\"match\":\"> \""],
            &["\"event\":\"hello\"", "\"event\":\"end\"", "\"match\":\"42\""],
            &["[\"build\",\"error: no such file\",[\"compiling\"],[\"done\"]]\ndone\n"],
            &["short created\nshort starting\nshort started\nshort exited\n"],
            &["\"event\":\"hello\"", "\"read_only\":true", "42"],
            &["ok\na token is needed over TCP\ntrue\nhello\ntermalive_uptime_seconds ", "\nfar\n"],
        ],
    ),
];

/// What isn't run here: a page, the block's language and how it begins, who runs it.
const ELSEWHERE: [(&str, &str, &str, &str); 6] = [
    ("README.md", "console", "$ scripts/quickstart", "scripts/test, but for `cargo install`"),
    ("docs/operations.md", "console", "$ systemctl --user restart", "tests/systemd, where it may: a manager is needed"),
    ("docs/operations.md", "console", "$ ssh -fN -L", "tests/patterns/run tunnel, with a server of its own"),
    ("docs/operations.md", "nginx", "location /", "nobody: nginx is needed"),
    ("docs/reliability.md", "console", "$ scripts/torture 20", "scripts/test, for a shorter time"),
    ("docs/protocol.md", "python", "import json, os", "tests/clients/over_tcp, with websockets of PyPI"),
];
/// Languages of blocks in which there is nothing to run.
const DATA: [&str; 3] = ["", "json", "toml"];
/// The port that the pages name.
const PORT: &str = "7777";

#[test]
fn each_block_does_what_it_says() {
    if !has("jq") {
        return skipped("no jq");
    }
    for (page, expected) in PAGES {
        if page == "docs/protocol.md" && !has("curl") {
            skipped("docs/protocol.md: no curl");
            continue;
        }
        let blocks = blocks(page, "sh");
        assert_eq!(blocks.len(), expected.len(), "{page}: a new block needs to say here what it prints");
        let host = Host::cold();
        let port = free_address().port().to_string();
        for (block, words) in blocks.iter().zip(expected) {
            let output = run(&host, &block.replace(PORT, &port));
            for word in *words {
                assert!(output.contains(word), "{page}: {word:?} is missing after\n{block}\n--- output\n{output}");
            }
        }
    }
}

#[test]
fn each_page_is_known() {
    let known = |name: &str| PAGES.iter().any(|(page, _)| *page == name);
    for page in fs::read_dir(project_file("docs")).unwrap() {
        let name = format!("docs/{}", page.unwrap().file_name().to_str().unwrap());
        assert!(known(&name), "{name} isn't among the pages whose blocks are run");
    }
}

#[test]
fn planner_and_coder_in_all_manners() {
    if !has("jq") {
        return skipped("no jq");
    }
    let host = Host::cold();
    let script = project_file("scripts/planner-coder");
    for manner in ["cooked", "readline", "fullscreen"] {
        for form in ["--json", "--unchanged"] {
            let block = format!("MANNER={manner} {script} {form} 'read a table; count the odd rows'");
            let output = run(&host, &block);
            for row in ["1. Read what is given", "step_1 = \"Read what is given", "step_3 = \"Call them", "CODE_DONE"] {
                assert!(output.contains(row), "{manner} {form}: {row} is missing in\n{output}");
            }
        }
    }
}

#[test]
fn the_script_leaves_sessions_of_others_alone() {
    let host = Host::cold();
    host.ok(["new", "planner", "--", "sleep", "1000"]);
    let out = in_bash(&host, &project_file("scripts/planner-coder"));
    assert!(out.code == 1 && out.stderr.contains("\"planner\" is live"), "{out:?}");
    assert_eq!(host.session("planner").unwrap()["state"], "running");
}

#[test]
fn each_block_is_run_or_it_is_known_who_runs_it() {
    for (page, _) in PAGES {
        let text = fs::read_to_string(project_file(page)).unwrap();
        for block in text.split("```").skip(1).step_by(2) {
            let (language, block) = block.split_once('\n').unwrap();
            let known = |(at, of, begins, _): &(&str, &str, &str, &str)| {
                *at == page && *of == language && block.starts_with(begins)
            };
            let fine = language == "sh" || DATA.contains(&language) || ELSEWHERE.iter().any(known);
            assert!(fine, "{page}: nobody runs the {language} block\n{block}");
        }
    }
}

/// The words of a page that name a file of the project, or a folder of such.
#[test]
fn scripts_that_the_pages_name_are_there_and_run_by_the_tests() {
    let named = Regex::new(r"\b(?:scripts|tests|config|examples)/[\w./-]*\w").unwrap();
    let test = fs::read_to_string(project_file("scripts/test")).unwrap();
    let words: BTreeSet<&str> = test.split(|c: char| c.is_whitespace() || "\"';".contains(c)).collect();
    let runs = |path: &str| words.contains(path) || words.contains(path.rsplit('/').next().unwrap());
    for (page, _) in PAGES {
        let text = fs::read_to_string(project_file(page)).unwrap();
        for path in named.find_iter(&text).map(|found| found.as_str()) {
            let there = fs::metadata(project_file(path));
            let there = there.unwrap_or_else(|why| panic!("{page} names {path}: {why}"));
            if !path.starts_with("scripts/") || path == "scripts/bench" {
                continue; // measures, and takes long
            }
            let scripts: Vec<String> = match there.is_dir() {
                true => files_of(path),
                false => vec![path.to_owned()],
            };
            for script in scripts {
                assert!(runs(&script), "{page} names {path}, and scripts/test doesn't run {script}");
            }
        }
    }
}

/// The programs in a folder of the project.
fn files_of(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(project_file(folder)).unwrap().map(Result::unwrap);
    let programs = entries.filter(|entry| entry.metadata().unwrap().permissions().mode() & 0o111 != 0);
    programs.map(|entry| format!("{folder}/{}", entry.file_name().to_str().unwrap())).collect()
}

fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

/// Runs a block that must end well.
fn run(host: &Host, block: &str) -> String {
    in_bash(host, block).expect_code(0).text()
}

/// Runs a block in bash, in the project's folder, with the binary first on PATH; fails as bash does.
fn in_bash(host: &Host, block: &str) -> Out {
    let bin = host.scratch().join("bin");
    fs::create_dir_all(&bin).unwrap();
    let link = bin.join("termalive");
    if !fs::exists(&link).unwrap() {
        std::os::unix::fs::symlink(binary(), &link).unwrap();
    }
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let script = ["timeout", "90", "bash", "-euo", "pipefail", "-c", block];
    host.program(&script).cwd(&project_file("")).env("PATH", &path).run()
}

/// The fenced blocks of a language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let text = fs::read_to_string(project_file(page)).unwrap();
    let fenced = text.split("```").skip(1).step_by(2);
    fenced.filter_map(|block| block.strip_prefix(&format!("{language}\n"))).map(str::to_owned).collect()
}
