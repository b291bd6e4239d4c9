//! Which `Host` and which `Origin` a request over TCP may have, so that no web page reaches the host through a browser.
//!
//! Pure. A page that makes its own name point to this machine (DNS rebinding) shows that name in `Host`; a page of another
//! site shows itself in `Origin`. Literal addresses can't be made to point elsewhere: the one that was connected to is
//! allowed.

use std::net::{IpAddr, SocketAddr};

/// What is allowed besides the address itself, in lower case.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// `host` (any port) or `host:port`.
    pub(super) hosts: Vec<String>,
    /// `https://box.example`.
    pub(super) origins: Vec<String>,
}

impl Names {
    /// True when a request that came to `local` may call it so.
    pub(super) fn host(&self, host: &str, local: SocketAddr) -> bool {
        let host = host.to_ascii_lowercase();
        is_own(&host, local)
            || self.hosts.iter().any(|allowed| *allowed == host || Some(&**allowed) == without_port(&host))
    }

    /// True when a page of this origin may ask.
    pub(super) fn origin(&self, origin: &str, local: SocketAddr) -> bool {
        let origin = origin.to_ascii_lowercase();
        let own = origin.strip_prefix("http://").is_some_and(|authority| is_own(authority, local));
        own || self.origins.contains(&origin)
    }
}

/// A name of this machine, or the literal address, with the right port.
fn is_own(authority: &str, local: SocketAddr) -> bool {
    let (host, port) = match without_port(authority) {
        Some(host) => (host, authority[host.len() + 1..].parse().ok()),
        None => (authority, Some(80)),
    };
    if port != Some(local.port()) {
        return false;
    }
    let literal = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    match literal.parse::<IpAddr>() {
        Ok(ip) => {
            let (ip, here) = (ip.to_canonical(), local.ip().to_canonical());
            ip == here || (ip.is_loopback() && here.is_loopback())
        }
        Err(_) => host == "localhost" && local.ip().to_canonical().is_loopback(),
    }
}

fn without_port(authority: &str) -> Option<&str> {
    let (host, port) = authority.rsplit_once(':')?;
    let bare = !host.contains(':') || host.ends_with(']');
    (bare && !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names {
            hosts: vec!["box.example".into(), "localhost:8080".into()],
            origins: vec!["https://box.example".into()],
        }
    }

    #[test]
    fn hosts() {
        let loopback: SocketAddr = "127.0.0.1:7777".parse().unwrap();
        for host in [
            "127.0.0.1:7777",
            "LocalHost:7777",
            "127.9.9.9:7777",
            "[::1]:7777",
            "box.example",
            "box.example:1",
            "BOX.example:443",
            "localhost:8080",
        ] {
            assert!(names().host(host, loopback), "{host}");
        }
        for host in [
            "",
            "localhost",
            "localhost:7778",
            "127.0.0.1",
            "127.0.0.1:",
            "127.0.0.1:x",
            "evil.example:7777",
            "localhost.evil.example:7777",
            "x.box.example",
            "192.168.1.5:7777",
            "[::2]:7777",
            "::1:7777",
            "127.0.0.1:7777@evil.example",
            "127.0.0.1.evil.example:7777",
        ] {
            assert!(!names().host(host, loopback), "{host}");
        }
        let outside: SocketAddr = "192.168.1.5:80".parse().unwrap();
        assert!(names().host("192.168.1.5", outside) && names().host("192.168.1.5:80", outside));
        assert!(!names().host("localhost", outside) && !names().host("10.0.0.1", outside));
        let mapped: SocketAddr = "[::ffff:127.0.0.1]:7777".parse().unwrap();
        assert!(names().host("127.0.0.1:7777", mapped));
    }

    #[test]
    fn origins() {
        let local: SocketAddr = "127.0.0.1:7777".parse().unwrap();
        for origin in ["http://127.0.0.1:7777", "http://localhost:7777", "https://box.example"] {
            assert!(names().origin(origin, local), "{origin}");
        }
        for origin in [
            "null",
            "",
            "https://evil.example",
            "http://localhost:3000",
            "http://box.example",
            "https://127.0.0.1:7777",
            "file://",
        ] {
            assert!(!names().origin(origin, local), "{origin}");
        }
    }
}
