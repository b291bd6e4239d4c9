//! Every `sh` block of the README and of `docs/`, run as it stands there; other promises looked at.
//!
//! The blocks of one file run one after the other against one host. What needs root or an init system stands in a `console`
//! block, which isn't run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a failed expectation is a failed test"
)]

mod support;

use std::{fs, process::Command};
use support::{Host, Out, binary, project_file};

/// A file, and what the output of each of its blocks must hold, in their order.
type Page = (&'static str, &'static [&'static [&'static str]]);

const PAGES: [Page; 5] = [
    (
        "README.md",
        &[
            &["the answer is 42", "demo"],
            &["45\n", "\"so it \" + \"is\""],
            &["step_1 = \"Read what is given", "step_3 = \"Call them in order", "CODE_DONE"],
            &["step_1 = \"Read what is given", "step_3 = \"Call them in order", "CODE_DONE"],
            &["got hello", "exit 4: its run ended first", "worker exited 3\n3\nchecked\n"],
        ],
    ),
    (
        "docs/config.md",
        &[
            &["30 100", "unknown key \"session.siz\"", "did you mean \"session.size\"", "exit 1"],
            &["exit 69", "I am reader"],
        ],
    ),
    ("docs/format.md", &[]),
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
            &["[1,\"42\",\"prompt\"]\none\n", "[1,\"echo $((6 * 7))\",\"ended\"]\n[2,", "\"open\"]\n42\ntrue\n"],
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

#[test]
fn each_block_does_what_it_says() {
    if !has("jq") {
        eprintln!("skipped: no jq");
        return;
    }
    for (page, expected) in PAGES {
        if page == "docs/protocol.md" && !has("curl") {
            eprintln!("skipped: {page}: no curl");
            continue;
        }
        let blocks = blocks(page, "sh");
        assert_eq!(blocks.len(), expected.len(), "{page}: a new block needs to say here what it prints");
        let host = Host::cold();
        for (block, words) in blocks.iter().zip(expected) {
            let output = run(&host, block);
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
        eprintln!("skipped: no jq");
        return;
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
fn scripts_that_it_names_are_there_and_tested() {
    let test = fs::read_to_string(project_file("scripts/test")).unwrap();
    for line in blocks("README.md", "console").iter().flat_map(|block| block.lines()) {
        let command = line.trim_start_matches("$ ").split_whitespace().next().unwrap();
        assert!(command == "cargo" || test.contains(command), "{command} isn't run by scripts/test");
    }
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
