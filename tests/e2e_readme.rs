//! Every `sh` block of the README, run as it stands there, and its other promises looked at.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a failed expectation is a failed test"
)]

mod support;

use std::{fs, process::Command};
use support::{Host, binary, project_file};

#[test]
fn each_block_does_what_it_says() {
    if Command::new("jq").arg("--version").output().is_err() {
        eprintln!("skipped: no jq");
        return;
    }
    // What the output of each block must hold, in their order.
    let expected: [&[&str]; 4] = [
        &["the answer is 42", "demo"],
        &["step_1 = \"Read what is given", "step_3 = \"Call them in order", "CODE_DONE"],
        &["step_1 = \"Read what is given", "step_3 = \"Call them in order", "CODE_DONE"],
        &["got hello", "exit 4: its run ended first", "worker exited 3"],
    ];
    let blocks = blocks("sh");
    assert_eq!(blocks.len(), expected.len(), "a new block needs to say here what it prints");
    let host = Host::cold();
    for (block, words) in blocks.iter().zip(expected) {
        let output = run(&host, block);
        for word in words {
            assert!(output.contains(word), "{word:?} is missing after\n{block}\n--- output\n{output}");
        }
    }
}

#[test]
fn scripts_that_it_names_are_there_and_tested() {
    let test = fs::read_to_string(project_file("scripts/test")).unwrap();
    for line in blocks("console").iter().flat_map(|block| block.lines()) {
        let command = line.trim_start_matches("$ ").split_whitespace().next().unwrap();
        assert!(command == "cargo" || test.contains(command), "{command} isn't run by scripts/test");
    }
}

/// Runs a block in bash, in the project's folder, with the binary first on PATH; fails as bash does.
fn run(host: &Host, block: &str) -> String {
    let bin = host.scratch().join("bin");
    fs::create_dir_all(&bin).unwrap();
    let link = bin.join("termalive");
    if !fs::exists(&link).unwrap() {
        std::os::unix::fs::symlink(binary(), &link).unwrap();
    }
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let script = ["timeout", "90", "bash", "-euo", "pipefail", "-c", block];
    let out = host.program(&script).cwd(&project_file("")).env("PATH", &path).run();
    out.expect_code(0).text()
}

/// The fenced blocks of a language.
fn blocks(language: &str) -> Vec<String> {
    let readme = fs::read_to_string(project_file("README.md")).unwrap();
    let fenced = readme.split("```").skip(1).step_by(2);
    fenced.filter_map(|block| block.strip_prefix(&format!("{language}\n"))).map(str::to_owned).collect()
}
