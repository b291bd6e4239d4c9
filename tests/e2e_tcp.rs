//! Over TCP: who gets in and who doesn't, and everything that works on the socket works there.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a failed expectation is a failed test"
)]
#![allow(unreachable_pub, missing_docs, reason = "test code")]

mod support;
mod tcp_common;

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    process::Command,
};
use support::{Host, skipped, wait_for};
use tcp_common::{Tcp, exchange, free_address, is_closed};

const LIST: &str = "GET /v1/sessions";

#[test]
fn who_shows_no_token_or_a_wrong_one_is_sent_away() {
    let tcp = Tcp::start(&[]);
    let host = tcp.host_header();
    let refused = |line: &str, headers: &[String], status: u16| {
        let answer = tcp.ask(line, headers);
        assert_eq!(answer.status, status, "{line} {headers:?}: {answer:?}");
        let words = ["not_permitted", "connection: close"]
            .map(|word| (answer.body.clone() + &answer.head).to_lowercase().contains(word));
        assert_eq!(words, [true, true], "{answer:?}");
    };
    for path in ["/v1/sessions", "/v1/version", "/v1/status", "/metrics", "/", "/v1/no-such-verb", "/healthz/"] {
        refused(&format!("GET {path}"), std::slice::from_ref(&host), 401);
    }
    refused(&format!("GET /v1/sessions?token={0}&access_token={0}", tcp.token), std::slice::from_ref(&host), 401);
    refused(LIST, &[host.clone(), format!("Cookie: token={}", tcp.token)], 401);
    refused("POST /v1/stop", std::slice::from_ref(&host), 401);
    let wrong = tcp.token.replace(['0', '1'], "2");
    refused(LIST, &[host.clone(), format!("Authorization: Bearer {wrong}")], 401);
    refused(LIST, &[host.clone(), format!("Authorization: Basic {}", tcp.token)], 401);
    assert_eq!(tcp.get("/v1/sessions").status, 200);
    let answer = tcp.ask("GET /healthz", &["Host: probe".to_owned()]);
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"));
    tcp.host.cmd(["list"]).env("TERMALIVE_HOST", &tcp.uri()).run().expect_error(77, &["token", "TERMALIVE_TOKEN"]);
    tcp.cmd(&["list"]).env("TERMALIVE_TOKEN", &wrong).run().expect_error(77, &["right one"]);
}

#[test]
fn web_pages_are_kept_out() {
    let tcp =
        Tcp::start(&["--set", "http.allowed_hosts=box.example", "--set", "http.allowed_origins=https://box.example"]);
    let ask = |host: &str, origin: Option<&str>| {
        let mut headers = vec![format!("Host: {host}"), tcp.bearer()];
        headers.extend(origin.map(|origin| format!("Origin: {origin}")));
        tcp.ask(LIST, &headers).status
    };
    let own = tcp.address.to_string();
    let port = tcp.address.port();
    assert_eq!(ask(&own, None), 200);
    assert_eq!(ask(&format!("localhost:{port}"), Some(&format!("http://localhost:{port}"))), 200);
    assert_eq!(ask("box.example", Some("https://box.example")), 200);
    for origin in ["https://evil.example", "null", "http://localhost:3000", "http://box.example"] {
        assert_eq!(ask(&own, Some(origin)), 403, "{origin}");
    }
    for host in ["evil.example", "localhost:1", "", "127.0.0.1"] {
        assert_eq!(ask(host, None), 403, "{host}"); // a name that was made to point here
    }
    assert_eq!(tcp.ask(LIST, &[tcp.bearer()]).status, 400, "without Host");
    let two = [tcp.host_header(), "Host: evil.example".to_owned(), tcp.bearer()];
    assert!([400, 403].contains(&tcp.ask(LIST, &two).status), "two hosts");
    let websocket = [tcp.bearer(), "Origin: https://evil.example".to_owned()];
    tcp.host.sh("s", "exec cat");
    assert!(tcp.websocket("/v1/sessions/s/follow", &websocket).1.starts_with("HTTP/1.1 403"));
    let preflight = [
        tcp.host_header(),
        "Origin: https://evil.example".to_owned(),
        "Access-Control-Request-Method: POST".to_owned(),
    ];
    let answer = tcp.ask("OPTIONS /v1/sessions", &preflight);
    assert!(answer.status == 403 && !answer.head.to_lowercase().contains("access-control-allow"), "{answer:?}");
}

#[test]
fn the_read_token_looks_on() {
    let tcp = Tcp::start(&[]);
    tcp.host.sh("s", "echo up; exec cat");
    tcp.host.wait_text("s", "up");
    let reader = |args: &[&str]| tcp.cmd(args).env("TERMALIVE_TOKEN", &tcp.read_token).run();
    reader(&["list"]).expect_code(0);
    reader(&["status"]).expect_code(0);
    assert_eq!(reader(&["logs", "s", "--since", "start", "--until", "up"]).expect_code(0).text(), "up\n");
    for args in [
        &["new", "other", "--", "true"][..],
        &["send", "s", "text"],
        &["kill", "s"],
        &["rm", "-f", "s"],
        &["restart", "s"],
        &["resize", "s", "100x30"],
        &["stop", "-y"],
    ] {
        reader(args).expect_error(77, &["looking on"]);
    }
    let bearer = [tcp.host_header(), format!("Authorization: Bearer {}", tcp.read_token)];
    for path in ["/v1/sessions/s/attach", "/v1/sessions/s/%61ttach"] {
        assert_eq!(tcp.ask(&format!("GET {path}"), &bearer).status, 403, "{path}");
    }
    assert_eq!(tcp.host.session("s").unwrap()["state"], "running");
}

#[test]
fn a_websocket_of_a_browser_shows_its_token_as_a_protocol() {
    let tcp = Tcp::start(&[]);
    tcp.host.sh("s", "echo up; exec cat");
    let open = |offered: String| {
        tcp.websocket("/v1/sessions/s/follow", &[format!("Sec-WebSocket-Protocol: {offered}")]).1.to_lowercase()
    };
    let head = open(format!("bearer.{}", tcp.token));
    assert!(head.starts_with("http/1.1 101"), "{head}");
    assert!(head.contains(&format!("sec-websocket-protocol: bearer.{}\r\n", tcp.token)), "{head}");
    let head = open(format!("termalive, bearer.{}", tcp.read_token));
    assert!(head.starts_with("http/1.1 101") && head.contains("sec-websocket-protocol: termalive\r\n"), "{head}");
    assert!(open("termalive".to_owned()).starts_with("http/1.1 401"));
    assert!(open("bearer.nonsense".to_owned()).starts_with("http/1.1 401"));
}

#[test]
fn a_close_that_nobody_answers_is_one_all_the_same() {
    let tcp = Tcp::start(&[]);
    tcp.host.sh("s", "echo over");
    tcp.host.wait_state("s", "exited");
    for path in ["/v1/sessions/s/follow?follow=1", "/v1/events?follow=0"] {
        let (mut stream, head) = tcp.websocket(path, &[tcp.bearer()]);
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        assert!(is_closed(&mut stream), "{path}: the host doesn't wait for ever");
    }
}

#[test]
fn who_guesses_waits_and_others_do_not() {
    let tcp = Tcp::start(&[]);
    let guess = [tcp.host_header(), "Authorization: Bearer guess".to_owned()];
    let answers: Vec<_> = (0..7).map(|_| tcp.ask(LIST, &guess)).collect();
    assert_eq!(answers[0].status, 401);
    let last = &answers[6];
    assert!(last.status == 429 && last.head.to_lowercase().contains("retry-after: "), "{last:?}");
    assert!(last.body.contains("too_many"), "{last:?}");
    let right = [tcp.host_header(), tcp.bearer()];
    let other = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None).unwrap();
    rustix::net::bind(&other, &SocketAddr::from(([127, 0, 0, 2], 0))).unwrap();
    rustix::net::connect(&other, &tcp.address).unwrap();
    assert_eq!(exchange(TcpStream::from(other), LIST, &right, b"").status, 200, "another address");
    tcp.host.ok(["list"]);
    wait_for("the end of the waiting", || (tcp.ask(LIST, &right).status == 200).then_some(()));
}

#[test]
fn another_user_on_the_socket_is_refused() {
    let python = Command::new("python3").arg("--version").output().is_ok();
    if !rustix::process::geteuid().is_root() || !python {
        return skipped("needs root and python3");
    }
    let host = Host::start();
    let socket = host.status().unwrap()["socket"].as_str().unwrap().to_owned();
    let open = |path: &std::path::Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    open(host.home().parent().unwrap(), 0o711);
    open(&host.home(), 0o711);
    open(socket.as_ref(), 0o666);
    let script = "import os, socket, sys
os.setgid(65534); os.setuid(65534)
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
s.sendall(b'GET ' + sys.argv[2].encode() + b' HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n')
print(s.makefile().read())";
    for path in ["/v1/sessions", "/metrics", "/healthz", "/nothing"] {
        let out = Command::new("python3").args(["-c", script, &socket, path]).output().unwrap();
        let said = String::from_utf8_lossy(&out.stdout);
        assert!(said.starts_with("HTTP/1.1 403") && said.contains("not_permitted"), "{path}: {said} {out:?}");
    }
}

#[test]
fn a_killed_host_is_no_end() {
    let tcp = Tcp::start(&[]);
    let ok = |args: &[&str]| tcp.cmd(args).run().expect_code(0).text();
    tcp.cmd(&["new", "x", "--cwd", "relative", "--", "true"]).run().expect_error(64, &["whole path"]);
    ok(&["new", "s", "--", "sh", "-c", "pwd; env; echo up; stty -echo; exec cat"]);
    let text = ok(&["logs", "s", "--since", "start", "--until", "^up$"]);
    assert!(text.contains(&format!("{}\n", tcp.host.scratch().display())), "the host user's home: {text}");
    assert!(text.contains("TERMALIVE_HOST=unix://") && !text.contains("TERMALIVE_TOKEN"), "{text}");
    let follow = tcp.cmd(&["logs", "s", "-f"]).spawn();
    follow.wait_for_output("up\n");
    for round in 0..3 {
        let generation = tcp.host.generation();
        tcp.host.kill_host();
        ok(&["send", "s", &format!("line {round}")]);
        follow.wait_for_output(&format!("line {round}\n"));
        let status = tcp.host.wait_next_generation(generation);
        assert_eq!(status["listen"][0], tcp.address.to_string());
    }
    ok(&["resize", "s", "100x30"]);
    ok(&["kill", "s"]);
    let out = follow.wait().expect_code(0);
    assert_eq!(out.text().matches("line ").count(), 3, "{}", out.text());
    let file = tcp.host.home().join("token").display().to_string();
    let listed = tcp.host.cmd(["list", "--all", "-q", "--host", &tcp.uri(), "--token-file", &file]).run();
    assert_eq!(listed.expect_code(0).text(), "s\n");
    ok(&["rm", "s"]);
    ok(&["stop", "-y"]);
    wait_for("the end of the host", || tcp.host.status().is_none().then_some(()));
}

#[test]
fn addresses_that_cannot_be_are_said() {
    let taken = TcpListener::bind(free_address()).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let host = Host::cold();
    host.run(["start", "-d", "--listen", &address]).expect_error(1, &["can't listen", &address, "in use"]);
    host.run(["start", "-d", "--listen", "0.0.0.0:7777"]).expect_error(64, &["encrypted", "--insecure"]);
    host.run(["start", "-d", "--listen", "localhost:7777"]).expect_error(64, &["localhost:7777", "127.0.0.1:7777"]);
    host.run(["start", "-d", "--listen", "127.0.0.1:0"]).expect_error(64, &["127.0.0.1:0"]);
    host.ok(["start", "-d"]);
    host.run(["start", "-d", "--listen", &address]).expect_error(1, &["runs already", &address]);
    assert_eq!(host.status().unwrap()["listen"], serde_json::json!([]));
    let remote = |uri: &str| host.cmd(["list"]).env("TERMALIVE_HOST", uri).env("TERMALIVE_TOKEN", "x").run();
    remote("wss://box.example").expect_error(69, &["TLS", "ssh -N -L"]);
    remote("ws://192.0.2.1:7777").expect_error(77, &["token", "encrypted"]);
    remote("ws://box").expect_error(64, &["ws://127.0.0.1:7777"]);
    host.cmd(["list"])
        .env("TERMALIVE_HOST", "ws://127.0.0.1:1")
        .env("TERMALIVE_TOKEN", "a b")
        .run()
        .expect_error(64, &["TERMALIVE_TOKEN"]);
}

#[test]
fn a_later_host_gets_its_address_when_it_is_free() {
    let tcp = Tcp::start(&[]);
    tcp.host.sh("s", "exec cat");
    let keeper = tcp.host.keeper_pid();
    support::send_signal(keeper, rustix::process::Signal::STOP); // it can't start the next one yet
    tcp.host.kill_host();
    let taken = wait_for("the address", || TcpListener::bind(tcp.address).ok());
    support::send_signal(keeper, rustix::process::Signal::CONT);
    let status = wait_for("the next host", || tcp.host.status());
    assert_eq!(status["listen"], serde_json::json!([]), "it goes on without");
    assert_eq!(tcp.host.session("s").unwrap()["state"], "running");
    drop(taken);
    wait_for("TCP again", || (tcp.host.status()?["listen"][0] == tcp.address.to_string()).then_some(()));
    tcp.cmd(&["list"]).run().expect_code(0);
}

#[test]
fn a_token_that_others_could_read_is_refused() {
    let tcp = Tcp::start(&[]);
    tcp.host.ok(["stop", "-y"]);
    let file = tcp.host.home().join("token");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let listen = tcp.address.to_string();
    tcp.host.run(["start", "-d", "--listen", &listen]).expect_error(1, &["others can read", "token"]);
    fs::remove_file(&file).unwrap();
    tcp.host.ok(["start", "-d", "--listen", &listen]);
    assert_ne!(fs::read_to_string(&file).unwrap().trim_end(), tcp.token);
    assert_eq!(tcp.get("/v1/version").status, 401, "the old one is worth nothing");
}

#[test]
fn health_and_metrics_tell_how_it_is() {
    let tcp = Tcp::start(&[]);
    tcp.host.sh("secretive", "echo some output; exec cat");
    tcp.host.wait_text("secretive", "output");
    tcp.ask(LIST, &[tcp.host_header()]);
    let metrics = tcp.get("/metrics");
    assert!(metrics.head.contains("application/openmetrics-text"), "{}", metrics.head);
    assert!(metrics.body.ends_with("# EOF\n") && !metrics.body.contains("secretive"), "{}", metrics.body);
    assert!(!metrics.body.contains(&tcp.token));
    let number = |series: &str| -> f64 {
        let line = metrics.body.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in {}", metrics.body)).parse().unwrap()
    };
    assert_eq!(number("termalive_sessions{state=\"running\"}"), 1.0);
    assert_eq!(number("termalive_tcp_refused_total{reason=\"no_token\"}"), 1.0);
    for series in [
        "termalive_read_bytes_total",
        "termalive_log_written_bytes_total",
        "termalive_uptime_seconds",
        "process_resident_memory_bytes",
        "process_open_fds",
        "termalive_tcp_connections{token=\"shown\"}",
    ] {
        assert!(number(series) > 0.0, "{series}");
    }
    for series in ["termalive_read_pauses_total", "termalive_log_lag_seconds", "termalive_local_connections"] {
        assert!(number(series) >= 0.0, "{series}");
    }
    let keeper = tcp.host.keeper_pid();
    support::send_signal(keeper, rustix::process::Signal::STOP);
    wait_for("ill health", || (tcp.ask("GET /healthz", &["Host: probe".to_owned()]).status == 503).then_some(()));
    support::send_signal(keeper, rustix::process::Signal::CONT);
    wait_for("good health", || (tcp.ask("GET /healthz", &["Host: probe".to_owned()]).status == 200).then_some(()));
}

#[test]
fn the_log_of_the_host_is_short_json_and_without_secrets() {
    let settings = ["--log-format", "json", "--set", "host.log=debug", "--set", "host.log_bytes=16KiB"];
    let tcp = Tcp::start(&settings);
    let log = tcp.host.home().join("host.log");
    for n in 0..200 {
        let guess = format!("Authorization: Bearer {}x{n}", tcp.token);
        tcp.ask(&format!("GET /v1/sessions?until={}", tcp.token), &[tcp.host_header(), guess]);
        tcp.get("/v1/version");
    }
    let lengths = ["host.log", "host.log.1"].map(|name| fs::metadata(tcp.host.home().join(name)).unwrap().len());
    assert!(lengths.iter().all(|length| *length < 64 * 1024), "{lengths:?}");
    let text = fs::read_to_string(&log).unwrap() + &fs::read_to_string(tcp.host.home().join("host.log.1")).unwrap();
    assert!(!text.contains(&tcp.token) && !text.contains(&tcp.read_token), "a token stands in the log");
    let lines: Vec<serde_json::Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert_eq!(lines.len(), text.lines().count(), "every line is JSON: {text}");
    let request = lines.iter().find(|line| line["fields"]["message"] == "request").expect("a request");
    assert_eq!((&request["level"], &request["fields"]["method"]), (&"DEBUG".into(), &"GET".into()), "{request}");
}

#[test]
fn a_pattern_that_cannot_be_is_said_first() {
    let host = Host::start();
    host.run(["logs", "nosuch", "--until", "bad("]).expect_error(64, &["bad("]);
    host.run(["logs", "nosuch", "--until", "good"]).expect_error(66, &["nosuch"]);
}
