//! What the command line asks a host, and what it makes of the answers: requests, readings, exit codes. The host is a thread of
//! a few lines, so that each case is exactly what it says.

#![allow(clippy::unwrap_used, reason = "test code")]

use assert_cmd::Command;
use std::path::Path;

fn termalive(home: &Path) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("termalive"));
    command.env_clear().env("HOME", home).env("TERMALIVE_HOME", home.join("t")).current_dir(home);
    command.env("TERMALIVE_NO_AUTOSTART", "1");
    command
}

/// As a shell would split them: `|` stands between words.
fn words(line: &str) -> Vec<&str> {
    line.split('|').filter(|word| !word.is_empty()).collect()
}

/// A host of a few lines: one connection per part of the script, on a thread. Gives what it was asked.
mod fake {
    use std::{
        fs,
        io::{BufRead, BufReader, Write},
        os::unix::{fs::DirBuilderExt, net::UnixListener},
        path::Path,
        thread::JoinHandle,
    };
    use tokio_tungstenite::tungstenite::{Message, accept_hdr, handshake::server::Request};

    pub(crate) enum Act {
        /// Answers a request.
        Answer(u16, &'static str),
        /// A WebSocket: text frames, then as `Then` says.
        Frames(Vec<&'static str>, Then),
    }

    pub(crate) enum Then {
        /// It ends.
        Close,
        /// It waits for a text, then sends these.
        Hear(Vec<&'static str>),
        /// It says nothing until the client has gone.
        Silence,
    }

    pub(crate) fn host(home: &Path, script: Vec<Act>) -> JoinHandle<Vec<String>> {
        fs::DirBuilder::new().mode(0o700).recursive(true).create(home.join("t")).unwrap();
        let _ = fs::remove_file(home.join("t/termalive.sock"));
        let listener = UnixListener::bind(home.join("t/termalive.sock")).unwrap();
        std::thread::spawn(move || {
            let mut heard = Vec::new();
            for act in script {
                let (mut stream, _) = listener.accept().unwrap();
                match act {
                    Act::Answer(status, body) => {
                        heard.push(request(&mut BufReader::new(&stream)));
                        let length = body.len();
                        write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
                    }
                    Act::Frames(frames, then) => heard.extend(websocket(stream, frames, then)),
                }
            }
            heard
        })
    }

    fn request(reader: &mut impl BufRead) -> String {
        let (mut text, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            match line.trim_end() {
                "" => break,
                head if text.is_empty() => text = head.trim_end_matches(" HTTP/1.1").to_owned(),
                header => length = header.strip_prefix("content-length: ").map_or(length, |n| n.parse().unwrap()),
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        format!("{text} {}", String::from_utf8(body).unwrap()).trim_end().to_owned()
    }

    #[expect(clippy::result_large_err, reason = "the callback's type is the library's")]
    fn websocket(stream: std::os::unix::net::UnixStream, frames: Vec<&str>, then: Then) -> Vec<String> {
        let mut heard = Vec::new();
        let note = |request: &Request, response| {
            heard.push(request.uri().to_string());
            Ok(response)
        };
        let mut socket = accept_hdr(stream, note).unwrap();
        let send = |socket: &mut tokio_tungstenite::tungstenite::WebSocket<_>, frames: Vec<&str>| {
            frames.into_iter().for_each(|frame| socket.send(Message::text(frame)).unwrap());
        };
        send(&mut socket, frames);
        match then {
            Then::Close => {}
            Then::Hear(more) => {
                heard.push(socket.read().unwrap().into_text().unwrap().to_string());
                send(&mut socket, more);
            }
            Then::Silence => while socket.read().is_ok() {},
        }
        heard
    }
}

use fake::{Act, Then};

const SESSION: &str = r#"{"name":"foo","id":"07070707070707070707070707070707","state":"running","activity":"unknown","command":"cat",
"argv":["cat"],"cwd":"/","pid":7,"run":1,"created_at":"2026-02-01T03:40:00Z","last_seq":3,"size":{"cols":80,"rows":24},
"labels":{},"restarts":0,"attached":0,"queued":0}"#;
const RECEIPT: &str =
    r#"{"session":"foo","id":"07070707070707070707070707070707","turn":2,"seq":3,"state":"typed","run":1}"#;
const HELLO: &str = r#"{"event":"hello","api":1,"generation":1,"id":"07070707070707070707070707070707","run":1,"start":"@1","next":"@1"}"#;
const START: &str =
    r#"{"event":"start","ts":"T","session":"foo","v":1,"id":"07070707070707070707070707070707","run":1,"next":"@1"}"#;
const ROW: &str = r#"{"event":"data","ts":"T","session":"foo","seq":3,"content":"a row\n","next":"@4"}"#;
const OPEN: &str = r#"{"event":"data","ts":"T","session":"foo","seq":4,"content":">>>","next":"@4.3"}"#;
const GAP: &str = r#"{"event":"gap","ts":"T","session":"foo","seq":9,"from_seq":5,"to_seq":8,"reason":"host-lost"}"#;

#[test]
fn what_is_meant_is_what_is_asked() {
    let home = tempfile::tempdir().unwrap();
    let sends = "POST /v1/sessions/foo";
    let table: [(&str, &str, &str, String); 12] = [
        ("send|foo|a|b", "never read", RECEIPT, format!(r#"{sends}/turns {{"text":"a b"}}"#)),
        ("send|foo|-", "line\n\n", RECEIPT, format!(r#"{sends}/turns {{"text":"line\n"}}"#)),
        ("send|foo", "piped", RECEIPT, format!(r#"{sends}/turns {{"text":"piped"}}"#)),
        ("send|foo|read|this:|-", "x\n", RECEIPT, format!(r#"{sends}/turns {{"text":"read this:\n\nx"}}"#)),
        (
            "send|foo|-n|a|--timeout|2s",
            "",
            RECEIPT,
            format!(r#"{sends}/input {{"text":"a","raw":false,"timeout_ms":2000}}"#),
        ),
        ("send|foo|--raw", "\x1b\r\n", RECEIPT, format!(r#"{sends}/input {{"text":"\u001b\r\n","raw":true}}"#)),
        ("send|foo|--keys|ctrl+c|up", "", RECEIPT, format!(r#"{sends}/keys {{"keys":["ctrl+c","up"]}}"#)),
        ("resize|foo|100x30", "", SESSION, format!(r#"{sends}/resize {{"size":{{"cols":100,"rows":30}}}}"#)),
        ("kill|foo|--signal|sigusr1", "", SESSION, format!(r#"{sends}/signal {{"signal":"USR1","force":false}}"#)),
        ("rm|-f|foo", "", "", "DELETE /v1/sessions/foo?force=1".into()),
        ("restart|foo", "", SESSION, format!("{sends}/restart {{}}")),
        ("ls|--all|--label|a=b c", "", "[]", "GET /v1/sessions?all=1&label=a%3Db+c".into()),
    ];
    for (line, stdin, answer, asked) in table {
        let host = fake::host(home.path(), vec![Act::Answer(200, answer)]);
        let output = termalive(home.path()).args(words(line)).write_stdin(stdin).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{line}");
        assert_eq!(output.status.code(), Some(0), "{line}");
        assert_eq!(host.join().unwrap(), [asked], "{line}");
    }
}

#[test]
fn a_session_is_started_as_its_caller_would() {
    let home = tempfile::tempdir().unwrap();
    let created: &'static str = format!(r#"{{"created":true,"session":{SESSION}}}"#).leak();
    let host = fake::host(home.path(), vec![Act::Answer(200, created)]);
    let line = "new|foo|--cwd|sub|-e|A=1|-e|HOME|--size|100x30|--label|k=v|--restart|always|--backoff|2s..9s|--|cat|-x";
    let output = termalive(home.path()).args(words(line)).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "foo\n", "{output:?}");
    let asked = host.join().unwrap().remove(0);
    let body: serde_json::Value = serde_json::from_str(asked.strip_prefix("POST /v1/sessions ").unwrap()).unwrap();
    assert_eq!(body["name"], "foo");
    assert_eq!(body["argv"], serde_json::json!(["cat", "-x"]));
    assert_eq!(body["cwd"], home.path().canonicalize().unwrap().join("sub").to_str().unwrap());
    assert_eq!(body["set_env"], serde_json::json!([["A", "1"], ["HOME", home.path().to_str().unwrap()]]));
    assert!(body["env"].as_array().unwrap().iter().any(|pair| pair[0] == "TERMALIVE_HOME"));
    assert!(body["umask"].is_number());
    assert_eq!(body["size"], serde_json::json!({"cols": 100, "rows": 30}));
    assert_eq!(body["labels"], serde_json::json!({"k": "v"}));
    assert_eq!(body["restart"]["mode"], "always");
    assert_eq!(body["restart"]["backoff_max"]["secs"], 9);
    assert!(body.get("command").is_none());
}

#[test]
fn several_sessions_are_all_tried() {
    let home = tempfile::tempdir().unwrap();
    let gone = r#"{"error":{"code":"no_such_session","exit":66,"message":"no session \"bar\"","hint":"did you mean \"baz\"?"}}"#;
    let run = |extra: &[&str]| {
        let script = vec![Act::Answer(404, gone), Act::Answer(200, SESSION)];
        let host = fake::host(home.path(), script);
        let output = termalive(home.path()).args(["kill", "bar", "foo"]).args(extra).output().unwrap();
        host.join().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let (code, stdout, stderr) = run(&["-q"]);
    assert_eq!((code, stderr.lines().count()), (66, 1), "{stderr}");
    assert!(stdout.is_empty() || stdout.lines().count() == 1, "{stdout}");
    assert!(stderr.contains("(did you mean \"baz\"?)"), "{stderr}");
    let (code, stdout, stderr) = run(&["--json"]);
    assert_eq!((code, stdout.as_str()), (66, ""));
    assert!(stderr.starts_with("{\"error\":{\"code\":\"no_such_session\""), "{stderr}");
}

fn end(reason: &str) -> &'static str {
    format!(r#"{{"event":"end","ts":"T","session":"foo","reason":"{reason}","next":"@9","run":1}}"#).leak()
}

#[test]
fn logs_are_printed_as_asked() {
    let home = tempfile::tempdir().unwrap();
    let json = |lines: &[&str]| lines.join("\n") + "\n";
    let start = r#"{"ts":"T","session":"foo","event":"start","v":1,"id":"07070707070707070707070707070707","run":1,"next":"@1"}"#;
    let row = r#"{"ts":"T","session":"foo","event":"data","seq":3,"content":"a row\n"}"#;
    let ended = r#"{"ts":"T","session":"foo","event":"end","reason":"idle","next":"@9","run":1}"#;
    let table: [(&str, &str, Vec<&'static str>, i32, String); 8] = [
        ("logs|foo", "", vec![HELLO, START, ROW, OPEN, end("complete")], 0, "a row\n>>>\n".into()),
        ("logs|foo|-f", "", vec![HELLO, START, ROW, end("exit")], 0, "a row\n".into()),
        ("logs|foo|--until|x", "", vec![HELLO, START, ROW, end("pattern")], 0, "a row\n".into()),
        ("logs|foo|--until|x", "", vec![HELLO, START, end("exit")], 4, String::new()),
        ("logs|foo|--wait-idle|1s", "json", vec![HELLO, START, ROW, end("idle")], 3, json(&[start, row, ended])),
        (
            "logs|foo|--until|x|--timeout|0|--json",
            "",
            vec![HELLO, START, end("timeout")],
            2,
            json(&[start, &ended.replace("idle", "timeout")]),
        ),
        ("logs|foo|-f|-q", "", vec![HELLO, START, ROW, end("exit")], 0, String::new()),
        ("logs|foo|-f", "", vec![HELLO, START, GAP, ROW, end("exit")], 0, "a row\n".into()),
    ];
    for (line, default, frames, code, printed) in table {
        let gap = frames.contains(&GAP);
        let host = fake::host(home.path(), vec![Act::Frames(frames, Then::Close)]);
        let output = termalive(home.path()).env("TERMALIVE_LOGS", default).args(words(line)).output().unwrap();
        host.join().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), printed, "{line}");
        assert_eq!(output.status.code(), Some(code), "{line}");
        let said = if gap { "termalive: output of foo is missing here: events 5 to 8 (host-lost)\n" } else { "" };
        assert_eq!(String::from_utf8_lossy(&output.stderr), said, "{line}");
    }
}

#[test]
fn logs_ask_for_what_was_said() {
    let home = tempfile::tempdir().unwrap();
    for (line, query) in [
        ("logs|foo", "content=rows&follow=0"),
        ("logs|foo|-f|-n|3|--since|turn:2|--to|@9", "since=turn%3A2&to=%409&lines=3&content=rows&follow=1"),
        ("logs|foo|--raw|--timeout|9s", "content=raw&follow=1"),
        ("logs|foo|--json|--raw|--events|all", "content=chars&events=all&follow=0"),
        ("logs|foo|--json|--base64", "content=base64&follow=0"),
        ("logs|foo|--until|-a b|--until-line|c|--timeout|0", "content=rows&follow=0&until=-a+b&until_line=c"),
        ("logs|foo|--wait-idle|3|--wait-first|1m", "wait_idle=3&wait_first=1m&content=rows&follow=1"),
    ] {
        let host = fake::host(home.path(), vec![Act::Frames(vec![HELLO, START, end("complete")], Then::Close)]);
        termalive(home.path()).args(words(line)).output().unwrap();
        assert_eq!(host.join().unwrap(), [format!("/v1/sessions/foo/follow?{query}")], "{line}");
    }
}

#[test]
fn time_that_is_over_is_told_and_the_open_row_printed() {
    let home = tempfile::tempdir().unwrap();
    let script = vec![Act::Frames(vec![HELLO, START, ROW], Then::Hear(vec![OPEN, end("timeout")]))];
    let host = fake::host(home.path(), script);
    let output = termalive(home.path()).args(["logs", "foo", "--until", "x", "--timeout", "50ms"]).output().unwrap();
    assert_eq!(host.join().unwrap()[1], r#"{"op":"timeout"}"#);
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stdout).as_ref()), (Some(2), "a row\n>>>\n"));
}

#[test]
fn a_reader_that_goes_ends_a_silent_reading() {
    let home = tempfile::tempdir().unwrap();
    let host = fake::host(home.path(), vec![Act::Frames(vec![HELLO, START, ROW], Then::Silence)]);
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("termalive"));
    command.args(["logs", "foo", "-f"]).env("TERMALIVE_HOME", home.path().join("t")).env("TERMALIVE_NO_AUTOSTART", "1");
    let mut child = command.stdout(writer).spawn().unwrap();
    drop(command); // its copy of the writing end
    let mut line = [0; 6];
    std::io::Read::read_exact(&mut &reader, &mut line).unwrap();
    drop(reader);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    host.join().unwrap();
}
