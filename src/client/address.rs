//! Where a host answers, and a stream to it: the local socket, or TCP.
//!
//! Over TCP each request carries a token, which goes to no place where others could read it on the way. It stands in no
//! message and no debug output. Addresses come from `--host` or `TERMALIVE_HOST`.

use super::ClientError;
use hyper::http::request::Builder;
use std::{
    fmt,
    io::{self, ErrorKind, IoSlice},
    path::PathBuf,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream, lookup_host},
};

/// How long a connection over TCP may take to come about. 10 s: what isn't there by then has lost its packets twice.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// The longest token. 1 KiB: ours have 64 characters.
const TOKEN_MAX: usize = 1024;

/// Where a host answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A socket of this machine.
    Socket(PathBuf),
    /// TCP, perhaps another machine.
    Tcp(Remote),
}

/// See [`Address::Tcp`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// A name or a literal address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What says who we are.
    pub credentials: Credentials,
}

/// What a command brings along for hosts that want to know who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Of `TERMALIVE_TOKEN` or `--token-file`.
    pub token: Option<Token>,
    /// `TERMALIVE_INSECURE`: the token may cross a network unencrypted.
    pub insecure: bool,
}

/// A secret: never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// From a file or a variable, white space around it left out. Nothing when it can't be one.
    pub fn new(text: &str) -> Option<Token> {
        let text = text.trim();
        let fits = (1..=TOKEN_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| Token(text.to_owned()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Socket(path) => path.display().fmt(f),
            Address::Tcp(remote) => write!(f, "ws://{}", remote.authority()),
        }
    }
}

impl Remote {
    /// From what stands after `ws://`. Nothing when that isn't a host and a port.
    pub(super) fn parse(rest: &str, credentials: Credentials) -> Option<Remote> {
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = authority.rsplit_once(':')?;
        let host = match host.strip_prefix('[') {
            Some(literal) => literal.strip_suffix(']').filter(|text| text.parse::<std::net::Ipv6Addr>().is_ok())?,
            None if host.contains(':') => return None,
            None => host,
        };
        let fits =
            !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c.is_control() || "/@?#".contains(c));
        let port = port.parse().ok().filter(|port| *port != 0)?;
        fits.then(|| Remote { host: host.to_owned(), port, credentials })
    }

    fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let connecting = async {
            let mut last = io::Error::new(ErrorKind::AddrNotAvailable, "the name has no address");
            for address in lookup_host((self.host.as_str(), self.port)).await? {
                let Credentials { token, insecure } = &self.credentials;
                if token.is_some() && !insecure && !address.ip().to_canonical().is_loopback() {
                    return Err(io::Error::other(ClientError::Unencrypted(self.authority())));
                }
                match TcpStream::connect(address).await {
                    Ok(stream) => return stream.set_nodelay(true).map(|()| stream),
                    Err(why) => last = why,
                }
            }
            Err(last)
        };
        match tokio::time::timeout(CONNECT_PATIENCE, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(ErrorKind::TimedOut.into()),
        }
    }
}

impl Address {
    /// True for TCP: folder and environment of this command mean nothing there.
    pub fn is_remote(&self) -> bool {
        matches!(self, Address::Tcp(_))
    }

    /// A stream, if somebody listens.
    pub(super) async fn connect(&self) -> io::Result<Stream> {
        match self {
            Address::Socket(path) => UnixStream::connect(path).await.map(Stream::Local),
            Address::Tcp(remote) => remote.connect().await.map(Stream::Tcp),
        }
    }

    /// What each request to this host has in its head.
    pub(super) fn introduce(&self, request: Builder) -> Builder {
        let Address::Tcp(remote) = self else { return request.header("host", "localhost") };
        let request = request.header("host", remote.authority());
        match &remote.credentials.token {
            Some(Token(token)) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
    }
}

/// A stream to a host.
#[derive(Debug)]
pub enum Stream {
    /// Over the local socket.
    Local(UnixStream),
    /// Over TCP.
    Tcp(TcpStream),
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Local(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Local(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Local(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
            Stream::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true // both are
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Local(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Local(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let parse = |text: &str| Remote::parse(text, Credentials::default()).map(|r| r.authority());
        for (text, authority) in [
            ("127.0.0.1:7777", "127.0.0.1:7777"),
            ("localhost:1/", "localhost:1"),
            ("[::1]:7777", "[::1]:7777"),
            ("box.example:65535", "box.example:65535"),
        ] {
            assert_eq!(parse(text).as_deref(), Some(authority), "{text}");
        }
        for text in ["", "x", "x:", ":1", "x:0", "x:65536", "::1:7777", "[x]:1", "a@b:1", "x:1/path", "a b:1"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_token_is_never_shown() {
        let token = Token::new(" s3cret\n").unwrap();
        assert_eq!(token.0, "s3cret");
        let remote = Remote::parse("h:1", Credentials { token: Some(token), insecure: false }).unwrap();
        assert!(!format!("{remote:?} {}", Address::Tcp(remote.clone())).contains("s3cret"));
        for bad in ["", " ", "a b", "a\nb", "ä"] {
            assert_eq!(Token::new(bad), None, "{bad:?}");
        }
        let head = Address::Tcp(remote).introduce(hyper::Request::builder()).body(()).unwrap();
        assert_eq!(head.headers()["authorization"], "Bearer s3cret");
        assert_eq!(head.headers()["host"], "h:1");
    }
}
