//! House rules that the compiler doesn't know: layers, sizes, who may name what. Each rule is a function over the source
//! files that gives one line for each place where it is broken.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "test code")]

use regex::Regex;
use std::{fs, path::Path};

const FILE_LINES: usize = 450; // aim at 400
const FUNCTION_LINES: usize = 80; // aim at 70

/// Bytes and time in, values out.
const PURE: [&str; 7] = ["model", "wire", "terminal", "stop", "policy", "follow", "export"];
const NOT_PURE: &str =
    r"\bInstant::now\b|\btime::Instant\b|\bSystemTime\b|\bstd::fs\b|\bstd::env\b|\bstd::net\b|\btokio\b|\bactix\w*::";

/// Who may name a crate or a word: (pattern, files, why).
const RESERVED: [(&str, &str, &str); 4] = [
    (SLED, r"^src/log/sled\.rs$", "the store is behind a trait, so that it can be replaced"),
    (r"\bportable_pty\b", r"^src/pty/open\.rs$", "its other parts lose errors"),
    (r"\bunsafe\b", r"^src/(ring|pty|keeper)/", "memory maps and fds live there, nothing else needs it"),
    (r"\bdo_send\b", r"^$", "it ignores the mailbox's bound"),
];

/// The crate, not our module of that name.
const SLED: &str = r"(?m)^\s*(pub )?use (::)?sled\b|\bsled::(Batch|Config|Db|Error|IVec|Mode|Result|Tree|open)\b";

/// The places that sleep, and why: everything else waits for an event. (file, how many sleeps, why)
const SLEEPS: [(&str, usize, &str); 14] = [
    (
        "examples/adoption.rs",
        3,
        "a program that measures: its beat, its rest between kills, and a host that isn't there can't say when it is",
    ),
    ("examples/torture/host.rs", 1, "the stimulus: a random moment; and looks at processes, from outside"),
    ("src/cli/context.rs", 1, "a command's own deadline, or when something is due on the screen, beside the events"),
    ("src/client/connect.rs", 1, "back-off between two tries to connect: a host that isn't there tells nothing"),
    ("src/client/link.rs", 1, "back-off between two tries to connect: a host that isn't there tells nothing"),
    ("src/keeper/channel.rs", 1, "descriptors in flight: the kernel has no event for their number"),
    ("src/keeper/process.rs", 1, "the loop itself failed: without a pause it would burn a processor"),
    ("src/keeper/revive.rs", 1, "back-off between two tries to start a keeper"),
    ("src/log/sled.rs", 1, "another thread is closing the same table, and sled tells nobody when it has"),
    ("src/server/follow.rs", 1, "log time: silence is what is waited for, beside the events"),
    ("src/server/gate.rs", 1, "who is refused may read the answer before the connection is closed"),
    ("src/server/tcp.rs", 1, "an address that somebody else holds: the kernel has no event for its being free"),
    (
        "src/server/turns.rs",
        2,
        "the deadline of a wait; a client that is gone shows by a failed write, a good one by nothing",
    ),
    ("tests/ring_crash.rs", 1, "the stimulus: a random moment"),
];

struct Source {
    path: String,
    text: String,
    /// The text with comments and literals blanked out, and without the unit tests at its end.
    code: String,
}

impl Source {
    /// The module of `src/` it belongs to; nothing for lib.rs, main.rs and tests.
    fn module(&self) -> Option<&str> {
        self.path.strip_prefix("src/")?.split_once('/').map(|(module, _)| module)
    }
}

#[test]
fn modules_use_only_what_stands_above_them() {
    check(|source, order| {
        let Some(own) = source.module() else { return vec![] };
        let Some(place) = order.iter().position(|m| m == own) else { return vec![format!("{own} isn't in lib.rs")] };
        let below = |used: &&String| order.iter().position(|m| m == *used).is_none_or(|at| at > place);
        used_modules(&source.code).iter().filter(below).map(|used| format!("uses {used}, which is below")).collect()
    });
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    check(|source, _| {
        let mut broken = Vec::new();
        let lines = source.text.lines().count();
        if lines > FILE_LINES {
            broken.push(format!("{lines} lines, more than {FILE_LINES}"));
        }
        if !source.text.starts_with("//!") {
            broken.push("doesn't open with `//!`".to_owned());
        }
        broken
    });
}

#[test]
fn functions_are_short() {
    check(|source, _| {
        let long = |(_, lines): &(String, usize)| *lines > FUNCTION_LINES;
        let say = |(name, lines)| format!("fn {name} has {lines} lines, more than {FUNCTION_LINES}");
        functions(&blank(&source.text)).into_iter().filter(long).map(say).collect()
    });
}

#[test]
fn some_words_are_reserved() {
    let rules = RESERVED.map(|(word, files, why)| (Regex::new(word).unwrap(), Regex::new(files).unwrap(), why));
    check(|source, _| {
        let breaks =
            |(word, files, _): &&(Regex, Regex, &str)| word.is_match(&source.code) && !files.is_match(&source.path);
        rules.iter().filter(breaks).map(|(word, _, why)| format!("names {word}: {why}")).collect()
    });
}

#[test]
fn nothing_sleeps_in_place_of_an_event() {
    let sleep = Regex::new(r"\b(thread|time)::sleep(_until)?\b").unwrap();
    check(|source, _| {
        let found = sleep.find_iter(&source.code).count();
        let known = SLEEPS.iter().find(|(path, ..)| *path == source.path).map_or(0, |(_, count, _)| *count);
        let say = || {
            format!("sleeps {found} times, {known} are known: wait for an event, or say in tidy.rs why there is none")
        };
        (found != known).then(say).into_iter().collect()
    });
}

#[test]
fn pure_layers_read_no_clock_no_file_no_environment() {
    let word = Regex::new(NOT_PURE).unwrap();
    check(|source, _| {
        let pure = source.module().is_some_and(|module| PURE.contains(&module));
        let found = word.find_iter(&source.code).filter(|_| pure);
        found.map(|found| format!("names {} in a pure layer", found.as_str())).collect()
    });
}

#[test]
fn the_rules_see_what_they_should() {
    let code = "fn a<'x>(s: &'x str) -> [u8; 4] {\n  let _ = \"}\"; // }\n  '}'\n}\ntrait T { fn b(&self); }\n";
    assert_eq!(functions(&blank(code)), [("a".to_owned(), 4)]);
    assert_eq!(
        used_modules("use crate::{log::Frame, ring::{Ring, Full}, model}; crate::pty::open()"),
        ["log", "ring", "model", "pty"]
    );
    let blanked = blank("a /* b /* c */ d */ e r#\"f\"g\"# 'h' &'i b'\\'' // j");
    assert_eq!(blanked.split_whitespace().collect::<Vec<_>>(), ["a", "e", "&'i"]);
}

/// Runs a rule over every source file.
fn check(rule: impl Fn(&Source, &[String]) -> Vec<String>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let module = Regex::new(r"(?m)^pub mod (\w+);").unwrap();
    let map = fs::read_to_string(root.join("src/lib.rs")).unwrap();
    let order: Vec<String> = module.captures_iter(&map).map(|found| found[1].to_owned()).collect();
    let mut broken = Vec::new();
    for source in sources(root) {
        broken.extend(rule(&source, &order).into_iter().map(|line| format!("{}: {line}", source.path)));
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

fn sources(root: &Path) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root.join("src"), root.join("tests"), root.join("examples")];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") && path.file_name().unwrap() != "tidy.rs" {
                let text = fs::read_to_string(&path).unwrap();
                let shown = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                let unit_tests = shown.ends_with("tests.rs") || shown.contains("/tests/");
                let shipped = if unit_tests { "" } else { text.split("\n#[cfg(test)]\nmod ").next().unwrap() };
                let code = blank(shipped);
                found.push(Source { path: shown, text, code });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The X of each `crate::X` and `use crate::{X, …}`.
fn used_modules(code: &str) -> Vec<String> {
    let direct = Regex::new(r"\bcrate::([a-z_]\w*|\{)").unwrap();
    let mut used = Vec::new();
    for found in direct.captures_iter(code) {
        match &found[1] {
            "{" => used.extend(group(&code[found.get(0).unwrap().end()..])),
            name => used.push(name.to_owned()),
        }
    }
    used.retain(|name| name.starts_with(|c: char| c.is_ascii_lowercase()));
    used
}

/// The first names in a `{a::b, c::{d, e}, f}`, of which `rest` begins after the first brace.
fn group(rest: &str) -> Vec<String> {
    let (mut names, mut name, mut depth, mut first) = (Vec::new(), String::new(), 0, true);
    for c in rest.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(std::mem::take(&mut name));
                first = true;
            }
            ':' if depth == 0 => first = false,
            c if depth == 0 && first && !c.is_whitespace() => name.push(c),
            _ => {}
        }
    }
    names.push(name);
    names.retain(|name| !name.is_empty());
    names
}

/// Functions with a body, and how many lines they have. Wants blanked code.
fn functions(code: &str) -> Vec<(String, usize)> {
    let head = Regex::new(r"\bfn (\w+)").unwrap();
    let mut found = Vec::new();
    for function in head.captures_iter(code) {
        let start = function.get(0).unwrap().start();
        let body = &code[start..];
        let Some(open) = body_start(body) else { continue };
        let mut depth = 0;
        let end = body[open..].find(|c| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            depth == 0
        });
        let lines = body[..=open + end.unwrap_or(0)].lines().count();
        found.push((function[1].to_owned(), lines));
    }
    found
}

/// Where the brace of a function's body is; nothing for a declaration. `[u8; 4]` in its head has a semicolon, too.
fn body_start(head: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in head.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '{' => return Some(at),
            ';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// Comments, strings and characters become blanks; lines stay.
fn blank(text: &str) -> String {
    let literal = Regex::new(concat!(
        r"(?s)^(?://[^\n]*",
        r#"|b?"(?:\\.|[^"\\])*""#,
        r"|b?'(?:\\(?:u\{[0-9a-fA-F]+\}|x[0-9a-fA-F]{2}|.)|[^'\\])')"
    ))
    .unwrap();
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = if rest.starts_with("/*") {
            block_comment(rest)
        } else if rest.starts_with("r\"") || rest.starts_with("r#") || rest.starts_with("br") {
            raw_string(rest)
        } else {
            literal.find(rest).map_or(0, |found| found.end())
        };
        let (skip, rest_after) = rest.split_at(if length == 0 { c.len_utf8() } else { length });
        let after_word = out.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        if length == 0 || (after_word && c.is_alphabetic()) {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            out.extend(skip.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = rest_after;
        }
    }
    out
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mark = Regex::new(r"/\*|\*/").unwrap();
    for found in mark.find_iter(text) {
        depth += if found.as_str() == "/*" { 1 } else { -1 };
        if depth == 0 {
            return found.end();
        }
    }
    text.len()
}

fn raw_string(text: &str) -> usize {
    let Some(open) = Regex::new(r##"^b?r(#*)""##).unwrap().captures(text) else { return 0 };
    let close = format!("\"{}", &open[1]);
    let start = open[0].len();
    text[start..].find(&close).map_or(text.len(), |at| start + at + close.len())
}
