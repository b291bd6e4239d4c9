//! What the command line refuses, and how: exit code, one line on standard error, nothing on standard output, no host asked
//! or started. Each case runs in an empty home where nothing may be started.

use assert_cmd::Command;
use std::{fs, path::Path, process::Stdio};

/// Arguments, as a shell would split them (`|` stands between words), exit code, and what the line says.
type Case = (&'static str, i32, &'static str);

const USAGE: &[Case] = &[
    ("", 64, "no command given (termalive --help lists them)"),
    ("sned|x", 64, "unrecognized subcommand 'sned' (did you mean send?)"),
    ("ls|--al", 64, "unexpected argument '--al' found (did you mean --all?)"),
    ("status|--host|tcp://x", 64, "bad host \"tcp://x\": write unix:///path"),
    ("status|--host|unix://x/y.sock", 64, "bad host"),
    ("status|--host|wss://box:7777", 69, "can't reach wss://box:7777: this version has no TLS and no ssh of its own"),
    ("status|--host|ssh://me@box", 69, "can't reach ssh://me@box"),
    // host verbs and sessions
    ("stop|foo", 64, "(for a session: termalive kill foo)"),
    ("start|foo", 64, "(for a session: termalive restart foo)"),
    ("start|-d|foo", 64, "(for a session: termalive restart foo)"),
    ("host|foo", 64, "(for a session: termalive new foo)"),
    ("status|foo", 64, "(for a session: termalive ls --all)"),
    ("start|-d|--host|unix:///x/y.sock", 64, "leave --host out"),
    ("start|-d|--set|store.segment_bytes", 64, "--set: bad setting"),
    ("start|-d|--set|store.segment_byte=1", 64, "did you mean \"store.segment_bytes\"?"),
    ("start|-d|--set|session.size=80", 64, "session.size in --set session.size=80: bad size \"80\""),
    ("start|-d|--config|nowhere.toml", 1, "can't read the configuration "),
    // new, run
    ("new", 64, "required arguments were not provided: <NAME>"),
    ("new|a b", 64, "bad name \"a b\""),
    ("new|-x", 64, "unexpected argument '-x'"),
    ("new|a/b", 64, "bad name \"a/b\""),
    ("new|foo|bash", 64, "(a command stands after --: termalive new NAME -- COMMAND ARGUMENTS)"),
    ("run|foo|bash", 64, "(a command stands after --: termalive run NAME -- COMMAND ARGUMENTS)"),
    ("new|foo|--command|x|--|y", 64, "'--command <STRING>' cannot be used with '[ARGV]...'"),
    ("new|foo|--command|  ", 64, "the command is empty"),
    ("new|foo|--size|80", 64, "--size: bad size \"80\": write COLUMNSxROWS"),
    ("new|foo|--size|0x24", 64, "--size: bad size"),
    ("new|foo|--label|x", 64, "--label: bad label \"x\": write KEY=VALUE"),
    ("new|foo|-e|=x", 64, "bad variable \"=x\": write K=V"),
    ("new|foo|--env-file|nowhere", 1, "can't read nowhere"),
    ("new|foo|--restart|sometimes", 64, "possible values: never, on-failure, always"),
    ("new|foo|--restart|always|--backoff|2s..1s", 64, "--backoff: bad back-off \"2s..1s\": write"),
    ("new|foo|--restart|always|--within|soon", 64, "--within: bad duration \"soon\""),
    ("new|foo|--restart|always|--max-restarts|-1", 64, "'-1'"),
    ("new|foo|--backoff|1s..2s", 64, "--restart <WHEN>"),
    // send
    ("send|bad name|x", 64, "bad name \"bad name\""),
    ("send|foo", 64, "standard input is empty"),
    ("send|foo|-", 64, "standard input is empty"),
    ("send|foo|--raw", 64, "standard input is empty"),
    ("send|foo|--raw|text", 64, "cannot be used with"),
    ("send|foo|text|--keys|up", 64, "cannot be used with"),
    ("send|foo|--keys|entr", 64, "--keys: no key \"entr\" (did you mean \"enter\"?)"),
    ("send|foo|--keys", 64, "--keys"),
    ("send|foo|a\x1bb", 64, "control byte: 0x1b at byte 2 of the text"),
    ("send|foo|x|--timeout|1y", 64, "--timeout: bad duration \"1y\""),
    // logs
    ("logs|foo|--timeout|5x", 64, "--timeout: bad duration \"5x\": write 500ms, 10s"),
    ("logs|foo|--wait-idle|-1s", 64, "'-1'"),
    ("logs|foo|--wait-idle|x", 64, "--wait-idle: bad duration"),
    ("logs|foo|--wait-first|3s", 64, "--wait-idle <D>"),
    ("logs|foo|--since|yesterday", 64, "--since: bad point \"yesterday\": write start, last-send, turn:N"),
    ("logs|foo|--to|10m", 64, "--to: bad point \"10m\": write a time"),
    ("logs|foo|-n|few", 64, "--lines: bad value \"few\": invalid digit"),
    ("logs|foo|--base64", 64, "--base64 is for --json"),
    ("logs|foo|--events|all", 64, "--events all is for --json"),
    ("logs|foo|--events|some|--json", 64, "possible values: all"),
    // several sessions
    ("kill", 64, "kill what? give one or more names, or --label K=V"),
    ("rm", 64, "rm what?"),
    ("restart", 64, "restart what?"),
    ("kill|foo|--signal|NOPE", 64, "--signal: unknown signal \"NOPE\""),
    ("kill|foo|--signal|INT|--force", 69, "no host runs at "),
    ("kill|foo|b ar", 64, "bad name \"b ar\""),
    ("resize|foo", 64, "<COLSxROWS>"),
    // wait, show, run --wait, doctor, completions
    ("wait", 64, "wait what? give one or more names, or --label K=V"),
    ("wait|foo|--any|--all", 64, "cannot be used with"),
    ("wait|foo|--stable|soon", 64, "--stable: bad duration \"soon\""),
    ("wait|foo|--since|now", 69, "no host runs at "),
    ("wait|foo|--screen|x|--since|now", 64, "--since is for conditions about rows"),
    ("wait|foo|--timeout|5x", 64, "--timeout: bad duration"),
    ("wait|foo|--exit", 69, "no host runs at "),
    ("show", 64, "required arguments were not provided: <NAME>"),
    ("show|foo", 69, "no host runs at "),
    ("run|foo|--rm|--|true", 64, "--wait"),
    ("run|foo|--wait|--rm|--exist-ok|--|true", 64, "cannot be used with"),
    ("run|foo|--wait|--|true", 69, "no host runs at "),
    ("doctor|foo", 64, "(for a session: termalive show foo)"),
    ("completions", 64, "<SHELL>"),
    ("completions|basch", 64, "(did you mean bash?)"),
    ("shwo|foo", 64, "(did you mean show?)"),
    ("wiat|foo", 64, "(did you mean wait?)"),
    ("resize|foo|100", 64, "bad size \"100\""),
    ("ls|--label|=v", 64, "--label: bad label"),
    // no host
    ("status", 69, "no host runs at "),
    ("stop", 69, "(termalive start -d starts one)"),
    ("reload", 69, "(termalive start -d starts one)"),
    ("reload|foo", 64, "termalive restart foo"),
    ("stop|-y", 69, "no host runs at "),
    ("ls", 69, "no host runs at "),
    ("new|foo|--|true", 69, "no host runs at "),
    ("send|foo|x", 69, "no host runs at "),
    ("send|foo|-n|--|-x", 69, "no host runs at "),
    ("send|foo|-5", 69, "no host runs at "),
    ("send|foo|--keys|ctrl+c|up|--json", 69, "\"code\":\"no_host\""),
    ("logs|foo|--until|-- DONE|--timeout|0", 69, "no host runs at "),
    ("logs|foo|--json|--raw|--events|all", 69, "\"code\":\"no_host\""),
    ("kill|foo", 69, "no host runs at "),
    ("status|--host|unix:///nonexistent/t.sock", 69, "no host runs at /nonexistent/t.sock"),
];

fn termalive(home: &Path) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("termalive"));
    command.env_clear().env("HOME", home).env("TERMALIVE_HOME", home.join("t")).current_dir(home);
    command.env("TERMALIVE_NO_AUTOSTART", "1");
    command
}

fn words(line: &str) -> Vec<&str> {
    line.split('|').filter(|word| !word.is_empty()).collect()
}

#[test]
fn refusals_are_one_line_and_a_code() {
    let home = tempfile::tempdir().unwrap();
    for (line, code, says) in USAGE {
        let output = termalive(home.path()).args(words(line)).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(*code), "{line}: {error}");
        assert!(error.contains(says), "{line}: {error:?} lacks {says:?}");
        assert!(error.starts_with("termalive: ") || error.starts_with("{\"error\":{"), "{line}: {error:?}");
        assert!(error.ends_with('\n') && error.lines().count() == 1, "{line}: {error:?}");
        assert!(output.stdout.is_empty(), "{line}");
    }
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0, "a refused command leaves nothing behind");
}

#[test]
fn with_json_an_error_is_one_object() {
    let home = tempfile::tempdir().unwrap();
    for (line, code, word) in [
        ("status|--json", 69, "no_host"),
        ("--json|kill", 64, "usage"),
        ("logs|foo|--timeout|x|--json", 64, "usage"),
        ("nonsense|--json", 64, "usage"),
    ] {
        let output = termalive(home.path()).args(words(line)).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{line}");
        assert!(output.stdout.is_empty(), "{line}");
        let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
        assert_eq!(error["error"]["code"], word, "{line}");
        assert_eq!(error["error"]["exit"], code, "{line}");
        assert!(error["error"]["message"].is_string(), "{line}");
    }
    // after -- it is a word of somebody else's
    let output = termalive(home.path()).args(["new", "--bad", "--", "--json"]).output().unwrap();
    assert!(output.stderr.starts_with(b"termalive: "));
}

#[test]
fn help_and_version_are_no_errors() {
    let home = tempfile::tempdir().unwrap();
    let verbs = [
        "new",
        "run",
        "list",
        "ls",
        "show",
        "send",
        "wait",
        "doctor",
        "completions",
        "logs",
        "kill",
        "restart",
        "resize",
        "rm",
        "host",
        "start",
        "status",
        "stop",
        "reload",
    ];
    let mut lines: Vec<Vec<&str>> = verbs.iter().map(|verb| vec![*verb, "--help"]).collect();
    lines.extend([vec!["--help"], vec!["-h"], vec!["help"], vec!["help", "logs"], vec!["--version"], vec!["-V"]]);
    for line in lines {
        let output = termalive(home.path()).args(&line).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{line:?}");
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{line:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!text.contains("__keeper"), "{line:?}");
    }
}

#[test]
fn a_reader_that_is_gone_is_no_error() {
    let home = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("termalive"));
    command.arg("--help").env("TERMALIVE_HOME", home.path()).stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped());
    let output = command.output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}

#[test]
fn the_environment_is_checked_like_the_arguments() {
    let home = tempfile::tempdir().unwrap();
    let table: [(&str, &str, &str, i32, &str); 5] = [
        ("TERMALIVE_LOGS", "xml", "logs|foo", 64, "bad TERMALIVE_LOGS \"xml\": write text, raw or json"),
        ("TERMALIVE_LOGS", "json", "logs|foo|--base64", 69, "no host"),
        ("TERMALIVE_HOST", "tcp://x", "ls", 64, "bad host \"tcp://x\""),
        ("TERMALIVE_CFG_STORE__NOPE", "1", "start|-d", 1, "TERMALIVE_CFG_STORE__NOPE"),
        ("TERMALIVE_CONFIG", "/nonexistent.toml", "start|-d", 1, "/nonexistent.toml"),
    ];
    for (name, value, line, code, says) in table {
        let output = termalive(home.path()).env(name, value).args(words(line)).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{name}={value} {line}: {error}");
        assert!(error.contains(says), "{name}={value} {line}: {error:?} lacks {says:?}");
    }
    let mut homeless = termalive(home.path());
    let output = homeless.env_remove("HOME").env_remove("TERMALIVE_HOME").arg("ls").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("HOME is not set"));
}

#[test]
fn inside_a_session_some_things_are_not_done() {
    let home = tempfile::tempdir().unwrap();
    let inside = |line: &str| {
        let mut command = termalive(home.path());
        command.env("TERMALIVE_SESSION", "me").env("TERMALIVE_HOST", "unix:///nonexistent/t.sock");
        let output = command.args(words(line)).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, error) = inside("stop|-y");
    assert!(code == 77 && error.contains("stop --force"), "{code} {error}");
    let (code, error) = inside("logs|me|-f");
    assert!(code == 64 && error.contains("inside session me"), "{code} {error}");
    for line in ["stop|-y|--force", "logs|me", "logs|other|-f", "stop|--host|unix:///nonexistent/other.sock"] {
        assert_eq!(inside(line).0, 69, "{line}");
    }
}

#[test]
fn a_folder_that_cant_be_used_is_said() {
    let home = tempfile::tempdir().unwrap();
    let output = |state: &Path| {
        let mut command = termalive(home.path());
        command.env_remove("TERMALIVE_NO_AUTOSTART").env("TERMALIVE_STATE_DIR", state);
        let output = command.arg("ls").output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let file = home.path().join("file");
    fs::write(&file, "").unwrap();
    let (code, error) = output(&file);
    assert!(code == 1 && error.contains("is no folder"), "{code} {error}");
    let (code, error) = output(&file.join("below"));
    assert!(code == 1 && error.contains("can't create the folder"), "{code} {error}");
}
