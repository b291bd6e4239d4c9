//! The client against a host that breaks off, comes late, or isn't one.

use super::fake::{Act, Place, serve};
use super::*;
use crate::model::Exit;
use crate::wire::{ApiError, Code, Content, EndReason, FollowQuery, Line, raw_frame};
use crate::{model::Cursor, model::Seq};
use hyper::Method;
use serde_json::{Value, json};
use std::{fs, os::unix::fs::PermissionsExt, time::Duration};
use tokio_tungstenite::tungstenite::Message;

fn key_of(request: &str) -> &str {
    request.lines().find_map(|line| line.strip_prefix("idempotency-key: ")).unwrap_or("")
}

#[tokio::test]
async fn what_is_cut_off_is_sent_again_with_the_same_key() {
    let place = Place::new();
    let _lock = place.hold_lock();
    let half = b"HTTP/1.1 200 X\r\ncontent-length: 9\r\n\r\n{\"a\"".to_vec();
    let script = vec![Act::Cut, Act::Bytes(half), Act::Answer(200, r#"{"a":1}"#.into())];
    let heard = place.serve(script);
    let answer: Value = place.client().post("/v1/sessions", &json!({"name": "x"})).await.unwrap();
    assert_eq!(answer, json!({"a": 1}));
    let heard = heard.lock().unwrap();
    assert_eq!(heard.len(), 3);
    assert_eq!(key_of(&heard[0]).len(), 32);
    assert!(heard.iter().all(|request| *request == heard[0]), "{heard:#?}");
}

#[tokio::test]
async fn a_host_that_had_no_time_to_read_is_asked_again() {
    let place = Place::new();
    let _lock = place.hold_lock();
    let late = || Act::Answer(408, String::new());
    let heard = place.serve(vec![late(), late(), Act::Answer(200, "7".into())]);
    assert_eq!(place.client().post::<Value>("/v1/x", &json!({})).await.unwrap(), json!(7));
    assert!(heard.lock().unwrap().windows(2).all(|pair| key_of(&pair[0]) == key_of(&pair[1])));

    let place = Place::new();
    let _lock = place.hold_lock();
    place.serve(vec![late()]);
    let client = Client { patience: Duration::from_millis(200), ..place.client() };
    let error = ApiError::from(client.get::<Value>("/v1/x").await.unwrap_err());
    assert!(error.code == Code::NoHost && error.message.contains("hasn't answered"), "{error}");

    let place = Place::new();
    let _lock = place.hold_lock();
    place.serve(vec![late(), frames(vec![hello("@3"), end("complete")])]);
    let query = FollowQuery::default();
    let mut follow = Follow::open(place.client(), "x".parse().unwrap(), query).await.unwrap();
    assert_eq!(all(&mut follow).await, ["Complete"]);
}

#[tokio::test]
async fn two_requests_have_two_keys_and_a_look_has_none() {
    let place = Place::new();
    let ok = || Act::Answer(200, "{}".into());
    let heard = place.serve(vec![ok(), ok(), ok()]);
    let client = place.client();
    for _ in 0..2 {
        client.order(Method::POST, "/v1/stop").await.unwrap();
    }
    let _: Value = client.get("/v1/version").await.unwrap();
    let heard = heard.lock().unwrap();
    assert_ne!(key_of(&heard[0]), key_of(&heard[1]));
    assert_eq!(key_of(&heard[2]), "");
}

#[tokio::test]
async fn a_host_on_its_way_back_is_waited_for() {
    let place = Place::new();
    let _lock = place.hold_lock();
    let dead = std::os::unix::net::UnixListener::bind(&place.setup.paths.socket).unwrap();
    drop(dead); // the file stays, as after a kill
    let client = place.client();
    let asking = tokio::spawn(async move { client.get::<Value>("/v1/version").await });
    tokio::task::yield_now().await;
    fs::remove_file(&place.setup.paths.socket).unwrap();
    place.serve(vec![Act::Answer(200, "7".into())]);
    assert_eq!(asking.await.unwrap().unwrap(), json!(7));
}

#[tokio::test]
async fn a_host_that_is_gone_is_not_waited_for() {
    let place = Place::new();
    place.serve(vec![Act::Cut]);
    let error = place.client().post::<Value>("/v1/x", &json!({})).await.unwrap_err();
    assert!(matches!(error, ClientError::Vanished(_)), "{error:?}");

    let place = Place::new();
    drop(std::os::unix::net::UnixListener::bind(&place.setup.paths.socket).unwrap());
    let error = ApiError::from(place.client().get::<Value>("/v1/x").await.unwrap_err());
    assert_eq!((error.code, error.exit), (Code::NoHost, Exit::NoHost.code()), "{error}");
}

#[tokio::test]
async fn patience_ends() {
    let place = Place::new();
    let _lock = place.hold_lock();
    place.serve(vec![Act::Cut]);
    let client = Client { patience: Duration::from_millis(200), ..place.client() };
    let error = client.post::<Value>("/v1/x", &json!({})).await.unwrap_err();
    assert!(matches!(error, ClientError::Silent { .. }), "{error:?}");
}

#[tokio::test]
async fn a_keeper_that_can_start_no_host_says_why() {
    let place = Place::new();
    let _lock = place.hold_lock();
    drop(std::os::unix::net::UnixListener::bind(&place.setup.paths.socket).unwrap());
    let log = "old\ntermalive keeper: the store can't go on: the disk; is full; host 7 starts in 5000 ms\n";
    fs::write(place.setup.paths.host_log(), log).unwrap();
    let error = ApiError::from(place.client().get::<Value>("/v1/x").await.unwrap_err());
    assert_eq!(error.code, Code::Failed, "{error}");
    assert!(error.message.ends_with(": the store can't go on: the disk; is full"), "{error}");
    for pause in [0, 200] {
        let log = format!("termalive keeper: the host is replaced; host 8 starts in {pause} ms\n");
        fs::write(place.setup.paths.host_log(), log).unwrap();
        assert_eq!(start::why_no_host(&place.setup.paths.host_log()), None, "it is on its way");
    }
}

#[tokio::test]
async fn refusals_are_the_hosts_own_words() {
    let place = Place::new();
    let known = r#"{"error":{"code":"no_such_session","exit":66,"message":"no session \"x\"","hint":"did you mean y?","more":1}}"#;
    let later = r#"{"error":{"code":"a_word_of_tomorrow","exit":5,"message":"typed"}}"#;
    place.serve(vec![
        Act::Answer(404, known.into()),
        Act::Answer(400, later.into()),
        Act::Answer(404, "<html>".into()),
        Act::Answer(200, "<html>".into()),
        Act::Bytes(b"SSH-2.0-x\r\n".to_vec()),
    ]);
    let client = place.client();
    let mut errors = Vec::new();
    for _ in 0..5 {
        errors.push(ApiError::from(client.get::<Value>("/v1/x").await.unwrap_err()));
    }
    assert_eq!(errors[0].to_string(), r#"no session "x" (did you mean y?)"#);
    assert_eq!((errors[1].code, errors[1].exit), (Code::Failed, 5));
    for (error, says) in errors[2..].iter().zip(["status 404", "<html>", "older than this command"]) {
        assert_eq!((error.code, error.exit), (Code::UnknownVerb, 1), "{error}");
        assert!(error.message.contains(says), "{error}");
    }
}

#[tokio::test]
async fn a_removal_that_was_cut_off_is_done() {
    let place = Place::new();
    let _lock = place.hold_lock();
    let gone = r#"{"error":{"code":"no_such_session","exit":66,"message":"no session x"}}"#;
    place.serve(vec![Act::Cut, Act::Answer(404, gone.into()), Act::Answer(404, gone.into())]);
    let client = place.client();
    client.order(Method::DELETE, "/v1/sessions/x").await.unwrap();
    assert!(client.order(Method::DELETE, "/v1/sessions/x").await.is_err());
}

/// One test: each part starts a process, and a script that is being written can't be run.
#[tokio::test]
async fn hosts_are_started() {
    let script = |text: &str| {
        let mut place = Place::new();
        place.setup.autostart = true;
        let folder = place.folder.path().display().to_string();
        fs::write(&place.setup.program, format!("#!/bin/sh\n{}\n", text.replace("DIR", &folder))).unwrap();
        fs::set_permissions(&place.setup.program, fs::Permissions::from_mode(0o700)).unwrap();
        place
    };
    let works = script("echo x >> DIR/count; mv DIR/ready.sock DIR/run/t.sock; printf R");
    let refuses = script("printf 'the state folder is of a newer version'");
    let dies = script("echo 'no memory' >&2");
    let ends = script("printf R");

    // a dead socket is no obstacle; two commands in the same moment start one host
    drop(std::os::unix::net::UnixListener::bind(&works.setup.paths.socket).unwrap());
    let answer = || Act::Answer(200, "1".into());
    serve(&works.folder.path().join("ready.sock"), vec![answer(), answer()]);
    let (one, two) = (works.client(), works.client());
    let (one, two) = tokio::join!(one.get::<Value>("/a"), two.get::<Value>("/b"));
    assert_eq!((one.unwrap(), two.unwrap()), (json!(1), json!(1)));
    assert_eq!(fs::read_to_string(works.folder.path().join("count")).unwrap(), "x\n");

    for (place, says) in [
        (&refuses, "the state folder is of a newer version"),
        (&dies, "the host ended while it started: no memory (see "),
        (&ends, "the host ended right after it had started (see "),
    ] {
        let error = ApiError::from(place.client().get::<Value>("/v1/x").await.unwrap_err());
        assert_eq!(error.exit, 1);
        assert!(error.message.starts_with(says), "{error}");
    }

    let mut bad = ends;
    bad.setup.set = vec!["store.nonsense=1".into()];
    let error = ApiError::from(bad.client().get::<Value>("/v1/x").await.unwrap_err());
    assert_eq!(error.exit, 64, "{error}");
    bad.setup.program = "/nonexistent/termalive".into();
    bad.setup.set.clear();
    let error = ApiError::from(bad.client().get::<Value>("/v1/x").await.unwrap_err());
    assert!(error.exit == 1 && error.message.contains("/nonexistent/termalive"), "{error}");
}

#[test]
fn hosts_are_chosen() {
    let place = Place::new();
    let choose = |uri: Option<&str>| Host::choose(uri, Credentials::default(), Ok(place.setup.clone()));
    assert!(choose(None).unwrap().setup.is_some());
    assert!(choose(Some(&place.setup.paths.uri())).unwrap().setup.is_some());
    assert!(choose(Some("unix:///x/y.sock")).unwrap().setup.is_none());
    for uri in ["ws://h:1", "http://[::1]:7777/"] {
        assert!(choose(Some(uri)).unwrap().address.is_remote(), "{uri}");
    }
    let long = format!("unix:///{}", "x".repeat(200));
    for (uri, exit) in [
        ("wss://h", 69),
        ("https://h", 69),
        ("ssh://me@box", 69),
        ("ws://h", 64),
        ("http://h", 64),
        ("ftp://h:1", 64),
        ("unix://rel", 64),
        ("/x/y.sock", 64),
        ("ws://", 64),
        (&long, 64),
    ] {
        assert_eq!(ApiError::from(choose(Some(uri)).unwrap_err()).exit, exit, "{uri}");
    }
}

const ID: &str = "07070707070707070707070707070707";

fn text(value: Value) -> Message {
    Message::text(value.to_string())
}

fn hello(next: &str) -> Message {
    text(json!({"event":"hello","api":1,"generation":1,"id":ID,"run":1,"start":"@3","next":next}))
}

fn data(seq: u64, content: &str, next: &str) -> Message {
    text(json!({"event":"data","ts":"T","session":"x","seq":seq,"content":content,"next":next}))
}

fn start() -> Message {
    text(json!({"event":"start","ts":"T","session":"x","v":1,"id":ID,"run":1,"next":"@3"}))
}

fn resize(seq: u64) -> Message {
    text(json!({"event":"resize","ts":"T","session":"x","seq":seq,"size":{}}))
}

fn end(reason: &str) -> Message {
    text(json!({"event":"end","ts":"T","session":"x","reason":reason,"next":"@9","run":1}))
}

fn frames(send: Vec<Message>) -> Act {
    Act::Frames { hear: false, send }
}

async fn all(follow: &mut Follow) -> Vec<String> {
    let mut out = Vec::new();
    while let Some(item) = follow.next().await.unwrap() {
        out.push(match item {
            Item::Bytes(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            Item::Line(Line::Data(line)) => line.content,
            Item::Line(Line::Start(_)) => "start".into(),
            Item::Line(Line::End(line)) => format!("{:?}", line.reason),
            Item::Line(Line::Other(line)) => format!("{} {}", line.event, line.seq.0),
            Item::Line(Line::Hello(_)) => "hello".into(),
        });
    }
    out
}

#[tokio::test]
async fn a_reading_goes_on_where_it_broke() {
    let place = Place::new();
    let query = FollowQuery { until: vec!["DONE".into()], follow: true, ..FollowQuery::default() };
    let heard = place.serve(vec![
        frames(vec![hello("@3"), start(), data(4, "a\n", "@5"), resize(5)]),
        frames(vec![]), // up, and gone again before it said anything
        frames(vec![hello("@5"), start(), resize(5), data(6, "b\n", "@6.2"), Message::Close(None)]),
        frames(vec![hello("@6.2"), resize(7), end("pattern")]),
    ]);
    let mut follow = Follow::open(place.client(), "x".parse().unwrap(), query.clone()).await.unwrap();
    assert_eq!(all(&mut follow).await, ["start", "a\n", "resize 5", "b\n", "resize 7", "Pattern"]);
    let asked: Vec<_> = heard
        .lock()
        .unwrap()
        .iter()
        .map(|uri| {
            let (path, query) = uri.split_once('?').unwrap();
            assert_eq!(path, "/v1/sessions/x/follow");
            FollowQuery::from_query(query).unwrap()
        })
        .collect();
    assert_eq!(asked[0], query);
    for (asked, after) in asked[1..].iter().zip(["@5", "@5", "@6.2"]) {
        assert_eq!(asked.id.map(|id| id.to_string()).as_deref(), Some(ID));
        assert_eq!(asked.start, Some(Cursor::at(Seq(3))));
        assert_eq!(asked.after, Some(after.parse().unwrap()));
        assert_eq!(asked.until, query.until);
    }
}

#[tokio::test]
async fn bytes_go_on_at_the_byte() {
    let place = Place::new();
    let raw = |seq, byte, bytes: &[u8]| Message::binary(raw_frame(Cursor { seq: Seq(seq), byte }, bytes));
    let heard = place.serve(vec![
        frames(vec![hello("@3"), raw(3, 0, b"ab"), raw(4, 1, b"cde")]),
        frames(vec![hello("@4.4"), raw(4, 4, b"f"), end("complete")]),
    ]);
    let query = FollowQuery { content: Content::Raw, ..FollowQuery::default() };
    let mut follow = Follow::open(place.client(), "x".parse().unwrap(), query).await.unwrap();
    assert_eq!(all(&mut follow).await, ["ab", "cde", "f", "Complete"]);
    assert!(heard.lock().unwrap()[1].contains("after=%404.4"), "{heard:?}");
}

#[tokio::test]
async fn a_refused_reading_is_an_error() {
    let place = Place::new();
    let gone = r#"{"error":{"code":"no_such_session","exit":66,"message":"no session x"}}"#;
    place.serve(vec![
        Act::Answer(404, gone.into()),
        frames(vec![hello("@3")]),
        Act::Answer(404, gone.into()),
        frames(vec![hello("@3"), Message::text(gone)]),
    ]);
    let open = || Follow::open(place.client(), "x".parse().unwrap(), FollowQuery::default());
    assert_eq!(ApiError::from(open().await.unwrap_err()).exit, 66);
    for _ in 0..2 {
        assert_eq!(ApiError::from(open().await.unwrap().next().await.unwrap_err()).exit, 66);
    }
}

#[tokio::test]
async fn the_end_of_patience_is_told_to_the_host() {
    let place = Place::new();
    let then = vec![data(4, ">>>", "@5"), end("timeout")];
    let heard = place.serve(vec![
        Act::Talk { first: vec![hello("@3")], hear: 1, then: Vec::new() }, // hears it and is killed
        Act::Cut,
        Act::Talk { first: vec![hello("@3")], hear: 1, then },
    ]);
    let mut follow = Follow::open(place.client(), "x".parse().unwrap(), FollowQuery::default()).await.unwrap();
    assert!(follow.end_without_host(EndReason::Timeout, "T".into()).is_none());
    follow.expire();
    assert_eq!(all(&mut follow).await, [">>>", "Timeout"]);
    assert_eq!([1, 4].map(|i| heard.lock().unwrap()[i].clone()), [r#"{"op":"timeout"}"#; 2]);
    let own = follow.end_without_host(EndReason::Timeout, "T".into()).unwrap();
    assert_eq!((own.next, own.run), (Cursor::at(Seq(5)), 1));
}

/// All that is shown up to the end, in words.
async fn shown(attach: &mut Attach) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let text = |bytes: &bytes::Bytes| String::from_utf8_lossy(bytes).into_owned();
        match attach.next().await.unwrap() {
            Some(Shown::Screen(size, bytes)) => all.push(format!("{size} {}", text(&bytes))),
            Some(Shown::Output(bytes)) => all.push(text(&bytes)),
            Some(Shown::End(end)) => {
                all.push(format!("{:?}", end.exit_code));
                return all;
            }
            Some(other) => all.push(format!("{other:?}")),
            None => return all,
        }
    }
}

#[tokio::test]
async fn an_attachment_goes_on_and_types_what_did_not_arrive() {
    let hello = |typed: u64| {
        let size = json!({"cols": 80, "rows": 24});
        let id = "0a".repeat(16);
        let hello = json!({"event": "hello", "api": 1, "generation": 1, "id": id, "run": 1, "size": size,
                           "read_only": false, "leads": true, "typed": typed});
        vec![Message::text(hello.to_string()), Message::binary("screen")]
    };
    let text = |line: Value| Message::text(line.to_string());
    let place = Place::new();
    let heard = place.serve(vec![
        Act::Talk { first: hello(0), hear: 1, then: vec![text(json!({"event": "typed", "upto": 2}))] },
        Act::Cut,
        Act::Talk {
            first: hello(3),
            hear: 1,
            then: vec![
                text(json!({"event": "typed", "upto": 6})),
                text(json!({"event": "redraw", "cols": 90, "rows": 20})),
                Message::binary("again"),
                Message::binary("more"),
                text(json!({"event": "end", "run": 1, "exit_code": 7})),
            ],
        },
    ]);
    let size = "80x24".parse().unwrap();
    let mut attach = Attach::open(place.client(), "x".parse().unwrap(), size, false).await.unwrap();
    assert!(attach.type_keys(b"abcdef"));
    let shown = shown(&mut attach).await;
    let expected =
        ["Leads(true)", "80x24 screen", "Broken", "Back", "Leads(true)", "80x24 screen", "90x20 again", "more"];
    assert_eq!(shown[..8], expected, "{shown:?}");
    assert!(!attach.is_typing());
    let heard = heard.lock().unwrap();
    assert_eq!((&*heard[1], heard.last().map(String::as_str)), ("abcdef", Some("def")));
    let again = &heard[heard.len() - 2];
    let client = |uri: &str| uri.split(['?', '&']).find(|pair| pair.starts_with("client=")).map(str::to_owned);
    assert!(again.contains("id=0a0a") && client(again) == client(&heard[0]), "{heard:?}");
}

#[tokio::test]
async fn what_is_typed_is_bounded_and_a_refusal_is_said() {
    let place = Place::new();
    let gone = r#"{"error":{"code":"not_running","exit":4,"message":"it is exited"}}"#;
    place.serve(vec![Act::Cut, Act::Answer(409, gone.into())]);
    let size = "80x24".parse().unwrap();
    let mut attach = Attach::open(place.client(), "x".parse().unwrap(), size, true).await.unwrap();
    assert!(attach.type_keys(&vec![b'x'; 4 << 20]) && !attach.type_keys(b"y"));
    assert_eq!(ApiError::from(attach.next().await.unwrap_err()).exit, 4);
}
