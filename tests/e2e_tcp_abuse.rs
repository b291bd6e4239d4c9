//! Over TCP, with and without a token: whoever wants to be a burden is one to nobody else, and costs bounded memory.
//!
//! In each test a session is followed on the socket and over TCP all the while, and both go on.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a failed expectation is a failed test"
)]
#![allow(unreachable_pub, missing_docs, reason = "test code")]

mod support;
mod tcp_common;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::Duration,
};
use support::{Host, Running, env_number, peak_memory_kib, skipped, wait_for};
use tcp_common::{Tcp, answer, is_closed};

/// The most that abuse may cost. 96 MiB: the bounds of the lobby, of the bodies and of the frames, together, are below it.
const COST_KIB: u64 = 96 * 1024;

/// A host with a session that is followed twice.
struct Beat {
    tcp: Tcp,
    followers: [Running; 2],
    memory: u64,
    count: u32,
}

impl Beat {
    fn start() -> Beat {
        Beat::of(Tcp::start(&[]))
    }

    fn of(tcp: Tcp) -> Beat {
        tcp.host.sh("beat", "stty -echo; echo up; exec cat");
        tcp.host.wait_text("beat", "up");
        let followers = [tcp.host.cmd(["logs", "beat", "-f"]).spawn(), tcp.cmd(&["logs", "beat", "-f"]).spawn()];
        followers.iter().for_each(|follower| follower.wait_for_output("up\n"));
        let memory = peak_memory_kib(tcp.host.host_pid());
        let mut beat = Beat { tcp, followers, memory, count: 0 };
        beat.goes_on();
        beat
    }

    /// Others are served as before.
    fn goes_on(&mut self) {
        self.count += 1;
        let word = format!("beat number {}", self.count);
        self.tcp.serves(&word);
        self.followers.iter().for_each(|follower| follower.wait_for_output(&word));
    }

    /// It cost no more than it may, and the host is the same one.
    fn cost(&mut self) {
        self.goes_on();
        let status = self.tcp.host.status().unwrap();
        assert_eq!(status["generation"], 1, "no host died");
        let now = peak_memory_kib(self.tcp.host.host_pid());
        assert!(now < self.memory + COST_KIB, "from {} to {now} KiB", self.memory);
    }
}

/// As many sockets as this process may have, at most `wanted`; says so when they are fewer.
#[track_caller]
fn sockets(wanted: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).unwrap();
    let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX).saturating_sub(200);
    if most < wanted {
        skipped(&format!("{most} connections instead of {wanted}: ulimit -Hn is {:?}", limit.maximum));
    }
    wanted.min(most)
}

#[test]
fn five_thousand_half_open_connections() {
    let mut beat = Beat::start();
    let mut held = Vec::new();
    for n in 0..sockets(env_number("TERMALIVE_TEST_HALF_OPEN", 5000)) {
        let mut stream = TcpStream::connect(beat.tcp.address).unwrap();
        match n % 3 {
            0 => {}
            1 => stream.write_all(b"GET /v1/sessions HTTP/1.1\r\nHost: ").unwrap(),
            _ => drop(stream.write_all(b"\x16\x03\x01")), // no HTTP at all: refused at once perhaps
        }
        held.push(stream);
        if n % 1000 == 999 {
            beat.goes_on();
        }
    }
    beat.goes_on();
    let metrics = beat.tcp.get("/metrics").body;
    let waiting = metrics.lines().find_map(|line| line.strip_prefix("termalive_tcp_connections{token=\"none\"} "));
    assert!(waiting.unwrap().parse::<u64>().unwrap() <= 256, "{waiting:?}");
    for stream in &mut held {
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        assert!(is_closed(stream), "nobody stays without a token");
    }
    beat.cost();
}

#[test]
fn a_header_that_comes_byte_by_byte() {
    let mut beat = Beat::start();
    let mut slow: Vec<TcpStream> = (0..50).map(|_| beat.tcp.connect()).collect();
    let mut header = format!("GET /v1/sessions HTTP/1.1\r\n{}\r\nX-Slow: ", beat.tcp.host_header()).into_bytes();
    header.extend([b'a'; 100_000]);
    let mut sent = 0;
    // each goes on until it is hung up on, however slowly it writes
    wait_for("all to be hung up on", || {
        slow.retain_mut(|stream| stream.write_all(&header[sent..=sent]).is_ok());
        sent += 1;
        slow.is_empty().then_some(())
    });
    let mut huge = beat.tcp.connect();
    let _ = huge.write_all(format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(1024 * 1024)).as_bytes());
    assert!(is_closed(&mut huge), "a header without end");
    beat.cost();
}

#[test]
fn bodies_of_a_gigabyte() {
    const GIB: u64 = 1 << 30;
    let mut beat = Beat::start();
    let post = |headers: String| {
        let mut stream = beat.tcp.connect();
        let head = format!("POST /v1/sessions HTTP/1.1\r\n{}\r\n{headers}\r\n\r\n", beat.tcp.host_header());
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    let flood = |mut stream: TcpStream, part: &[u8], status: u16| {
        stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut left = GIB;
        while left > 0 && stream.write_all(part).is_ok() {
            left = left.saturating_sub(part.len() as u64); // it is read for a moment and thrown away, so that the answer arrives
        }
        let _ = stream.shutdown(std::net::Shutdown::Write); // it may be gone
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        // what was sent in vain may have cost the answer: then the connection is reset
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text);
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(text.is_empty() || text.starts_with(&format!("HTTP/1.1 {status}")), "{text}");
    };
    let part = vec![b'x'; 256 * 1024];
    let chunk = [b"40000\r\n".as_slice(), &part, b"\r\n"].concat();
    let bearer = beat.tcp.bearer();
    flood(post(format!("{bearer}\r\nContent-Length: {GIB}")), &part, 413);
    flood(post(format!("{bearer}\r\nTransfer-Encoding: chunked")), &chunk, 413);
    flood(post(format!("Content-Length: {GIB}")), &part, 401);
    flood(post("Transfer-Encoding: chunked".to_owned()), &chunk, 401);
    let mut patient = post(format!("{bearer}\r\nContent-Length: {GIB}"));
    let said = answer(&mut patient);
    assert_eq!(said.status, 413, "said before anything is sent");
    assert!(said.body.contains("too_large") && said.body.contains("longer than 8 MiB"), "{}", said.body);
    beat.cost();
}

#[test]
fn bombs_of_frames_for_who_sends_the_log() {
    bombs_of_frames("/v1/sessions/beat/follow?follow=1");
}

#[test]
fn bombs_of_frames_for_who_sends_events() {
    bombs_of_frames("/v1/events");
}

#[test]
fn bombs_of_frames_for_a_terminal() {
    bombs_of_frames("/v1/sessions/beat/attach?read_only=1");
    bombs_of_frames("/v1/sessions/beat/attach");
}

/// At a path of a WebSocket.
fn bombs_of_frames(path: &str) {
    let mut beat = Beat::start();
    let open = |beat: &Beat| {
        let (stream, head) = beat.tcp.websocket(path, &[beat.tcp.bearer()]);
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        stream.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
        stream
    };
    let frame = |first: u8, length: u16| {
        let mut frame = vec![first, 0x80 | 126];
        frame.extend(length.to_be_bytes());
        frame.extend([0; 4]); // the mask
        frame.extend(vec![b' '; length.into()]);
        frame
    };
    let huge = |first: u8| [vec![first, 0xff], vec![0x3f; 8], vec![0; 4], vec![b'x'; 100_000]].concat();
    for bomb in [huge(0x82), huge(0x81), huge(0x89)] {
        let mut stream = open(&beat);
        let _ = stream.write_all(&bomb);
        assert!(is_closed(&mut stream), "a frame that says it has 4 EiB");
        beat.goes_on();
    }
    for first in [0x01, 0x02] {
        let mut stream = open(&beat);
        let _ = stream.write_all(&frame(first, 4000)); // a message of which more is to come …
        let _ = (0..20_000).try_for_each(|_| stream.write_all(&frame(0x00, 4000)));
        assert!(is_closed(&mut stream), "a message without end");
        beat.goes_on();
    }
    let mut pinging = open(&beat);
    let pings = [0x89, 0x84, 0, 0, 0, 0, b'p', b'i', b'n', b'g'].repeat(10_000);
    // nobody reads the answers: at some point nothing more is taken
    let stuck = (0..2000).try_for_each(|_| pinging.write_all(&pings));
    assert!(
        stuck.is_err_and(|why| matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)),
        "it takes any number"
    );
    beat.goes_on();
    drop(pinging);
    // one that reads them doesn't get ahead either: what has come and isn't answered has a bound
    let mut pinging = open(&beat);
    pinging.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut answers = pinging.try_clone().unwrap();
    let reading = std::thread::spawn(move || std::io::copy(&mut answers, &mut std::io::sink()));
    (0..env_number("TERMALIVE_TEST_PINGS", 200_000) / 10_000).for_each(|_| pinging.write_all(&pings).unwrap());
    beat.goes_on();
    pinging.shutdown(std::net::Shutdown::Both).unwrap();
    drop(reading.join().unwrap()); // it may be reset
    beat.cost();
}

#[test]
fn a_host_with_few_files_goes_on() {
    let tcp = Tcp::start_with(Host::cold(), |host, listen| {
        let binary = support::binary();
        let script = format!("ulimit -n 256; exec {} start -d --listen {listen}", binary.display());
        host.program(&["sh", "-c", &script]).run()
    });
    let mut beat = Beat::of(tcp);
    let mut held: Vec<TcpStream> = (0..sockets(1000)).map(|_| TcpStream::connect(beat.tcp.address).unwrap()).collect();
    beat.goes_on();
    beat.tcp.host.sh("another", "echo up; exec cat");
    beat.tcp.host.wait_text("another", "up");
    // those with a token have a bound, too: who is beyond it is told so, the socket isn't touched
    let ask = |_| {
        let mut stream = beat.tcp.connect();
        let head = format!("GET /v1/version HTTP/1.1\r\n{}\r\n{}\r\n\r\n", beat.tcp.host_header(), beat.tcp.bearer());
        stream.write_all(head.as_bytes()).unwrap();
        let status = answer(&mut stream).status;
        (status, stream)
    };
    let (statuses, known): (Vec<u16>, Vec<TcpStream>) = (0..100).map(ask).unzip();
    assert!(statuses.contains(&200) && statuses.contains(&429), "{statuses:?}");
    beat.tcp.host.ok(["list"]);
    drop(known);
    held.clear();
    wait_for("room again", || (beat.tcp.get("/v1/version").status == 200).then_some(()));
    beat.goes_on();
    assert_eq!(beat.tcp.host.generation(), 1, "no host died");
}

#[test]
fn follows_of_one_address_are_bounded() {
    let tcp = Tcp::start(&["--set", "http.max_follows=4"]);
    let mut beat = Beat::of(tcp);
    let open = |beat: &Beat| beat.tcp.websocket("/v1/sessions/beat/follow?follow=1", &[beat.tcp.bearer()]);
    let held: Vec<_> = (0..6).map(|_| open(&beat)).collect();
    let taken = held.iter().filter(|(_, head)| head.starts_with("HTTP/1.1 101")).count();
    let refused = held.iter().filter(|(_, head)| head.starts_with("HTTP/1.1 429")).count();
    assert_eq!((taken, refused), (3, 3), "one is the follower's");
    beat.goes_on();
    beat.tcp.host.ok(["logs", "beat"]);
    drop(held);
    wait_for("room again", || open(&beat).1.starts_with("HTTP/1.1 101").then_some(()));
    beat.goes_on();
}
