//! A host that listens on TCP, and requests written byte by byte, as no client of ours would send them.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use crate::support::{Host, Out};
use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

/// No answer takes longer.
const BOUND: Duration = Duration::from_secs(60);

/// A host with TCP, and its tokens.
pub struct Tcp {
    pub host: Host,
    pub address: SocketAddr,
    pub token: String,
    pub read_token: String,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// A free port outside the range that the system gives to clients, so that none of ours takes it meanwhile.
pub fn free_address() -> SocketAddr {
    let first = u16::try_from(std::process::id() % 8000).unwrap();
    let mut ports = (0..20_000).map(|n| 11_000 + (first * 2 + n) % 20_000);
    let free = ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    SocketAddr::from(([127, 0, 0, 1], free.expect("a free port")))
}

impl Tcp {
    /// A host that listens.
    pub fn start(more: &[&str]) -> Tcp {
        Tcp::start_with(Host::cold(), |host, listen| host.run(["start", "-d", "--listen", listen].iter().chain(more)))
    }

    pub fn start_with(host: Host, start: impl Fn(&Host, &str) -> Out) -> Tcp {
        for _ in 0..10 {
            let address = free_address();
            let out = start(&host, &address.to_string());
            if out.code == 1 && out.stderr.contains("can't listen") {
                continue; // another test was faster
            }
            out.expect_code(0);
            let token = |name: &str| fs::read_to_string(host.home().join(name)).unwrap().trim_end().to_owned();
            let (token, read_token) = (token("token"), token("token.read"));
            return Tcp { host, address, token, read_token };
        }
        panic!("no port is free");
    }

    pub fn uri(&self) -> String {
        format!("ws://{}", self.address)
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(BOUND)).unwrap();
        stream
    }

    /// A request with exactly these header lines.
    pub fn ask(&self, line: &str, headers: &[String]) -> Answer {
        self.send(line, headers, b"")
    }

    pub fn send(&self, line: &str, headers: &[String], body: &[u8]) -> Answer {
        exchange(self.connect(), line, headers, body)
    }

    pub fn host_header(&self) -> String {
        format!("Host: {}", self.address)
    }

    pub fn bearer(&self) -> String {
        format!("Authorization: Bearer {}", self.token)
    }

    /// `GET path` as it should be.
    pub fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), &[self.host_header(), self.bearer()])
    }

    /// A command over TCP.
    pub fn cmd(&self, args: &[&str]) -> crate::support::Cmd {
        self.host.cmd(args).env("TERMALIVE_HOST", &self.uri()).env("TERMALIVE_TOKEN", &self.token)
    }

    /// A WebSocket, open, with nothing read but the answer's head.
    pub fn websocket(&self, path: &str, headers: &[String]) -> (TcpStream, String) {
        let mut stream = self.connect();
        let mut text =
            format!("GET {path} HTTP/1.1\r\n{}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n", self.host_header());
        text += "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c2l4dGVlbiBieXRlcyEhIQ==\r\n";
        headers.iter().for_each(|header| text += &format!("{header}\r\n"));
        stream.write_all(format!("{text}\r\n").as_bytes()).unwrap();
        let head = head(&mut stream);
        (stream, head)
    }

    /// Others are served: on the socket and over TCP, commands and followers that stand open.
    pub fn serves(&self, word: &str) {
        self.host.ok(["list"]);
        self.cmd(&["list"]).run().expect_code(0);
        self.host.ok(["send", "beat", word]);
        assert_eq!(self.get("/v1/version").status, 200);
    }
}

/// One request over an open connection.
pub fn exchange(mut stream: TcpStream, line: &str, headers: &[String], body: &[u8]) -> Answer {
    let mut text = format!("{line} HTTP/1.1\r\n");
    headers.iter().for_each(|header| text += &format!("{header}\r\n"));
    if !body.is_empty() {
        text += &format!("Content-Length: {}\r\n", body.len());
    }
    stream.write_all(format!("{text}\r\n").as_bytes()).unwrap();
    let _ = stream.write_all(body); // it may be refused before it is read
    answer(&mut stream)
}

/// Reads an answer with a length.
pub fn answer(stream: &mut TcpStream) -> Answer {
    let head = head(stream);
    let status = head.split(' ').nth(1).unwrap_or_else(|| panic!("no status: {head:?}")).parse().unwrap();
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).unwrap();
    Answer { status, head, body: String::from_utf8(body).unwrap() }
}

fn head(stream: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            Ok(_) => break,
            Err(why) if why.kind() == ErrorKind::ConnectionReset => break,
            Err(why) => panic!("{why} after {:?}", String::from_utf8_lossy(&head)),
        }
    }
    String::from_utf8(head).unwrap()
}

/// Reads until the other side closes; false when it doesn't in time.
pub fn is_closed(stream: &mut TcpStream) -> bool {
    let mut part = vec![0; 64 * 1024];
    let until = Instant::now() + BOUND; // it may go on pinging
    while Instant::now() < until {
        match stream.read(&mut part) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return false,
            Err(_) => return true,
        }
    }
    false
}
