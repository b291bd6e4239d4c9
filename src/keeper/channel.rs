//! The socket between keeper and host: whole messages with descriptors beside them, and memfds for what is large.
//!
//! Never blocks by itself: a full or empty socket is a value. What a message means is [`super::protocol`]'s.

use super::protocol::{FDS, MESSAGE_BYTES, decode, encode};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, fstat, memfd_create},
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

/// How long a sender waits when the system won't have more descriptors under way (it says so without a way to poll).
pub(super) const IN_FLIGHT_RETRY: Duration = Duration::from_millis(10);

/// One end.
#[derive(Debug)]
pub(super) struct Channel(OwnedFd);

/// What came.
#[derive(Debug)]
pub(super) enum Received<M> {
    /// A message. Fewer descriptors than belong to it: this process has no room for more.
    Message(M, Vec<OwnedFd>),
    /// Something else: the sentence is for the other side.
    Strange(String),
    /// Nothing at the moment.
    Nothing,
    /// The other side is gone.
    Closed,
}

/// How a message went.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Done,
    /// The socket is full: poll for room.
    Full,
    /// Too many descriptors are under way: try again after [`IN_FLIGHT_RETRY`].
    InFlight,
    /// It will never arrive.
    Closed,
}

impl Channel {
    /// Both ends. The second is for a child's stdin: nothing but the fd it is put on survives an exec.
    pub(super) fn pair() -> io::Result<(Channel, OwnedFd)> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Channel(ours), theirs))
    }

    /// The end that this process held before it became this program.
    pub(super) fn of(end: OwnedFd) -> Channel {
        Channel(end)
    }

    /// The end on this process' stdin, which becomes `/dev/null`. `None` where stdin is something else.
    pub(super) fn from_stdin() -> io::Result<Option<Channel>> {
        let stdin = rustix::stdio::stdin();
        if rustix::net::sockopt::socket_type(stdin).ok() != Some(SocketType::SEQPACKET) {
            return Ok(None);
        }
        let channel = Channel(rustix::io::fcntl_dupfd_cloexec(stdin, 3)?);
        rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
        Ok(Some(channel))
    }

    /// Sends without waiting.
    pub(super) fn send(&self, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<Sent> {
        let body = encode(message).map_err(io::Error::other)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        loop {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            return match sendmsg(&self.0, &[IoSlice::new(&body)], &mut beside, flags) {
                Ok(_) => Ok(Sent::Done),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN | Errno::NOBUFS) => Ok(Sent::Full),
                Err(Errno::TOOMANYREFS) => Ok(Sent::InFlight),
                Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => Ok(Sent::Closed),
                Err(e) => Err(e.into()),
            };
        }
    }

    /// Sends, waiting for room until `deadline`.
    pub(super) fn send_by(
        &self,
        deadline: Instant,
        message: &impl Serialize,
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        loop {
            match self.send(message, fds)? {
                Sent::Done => return Ok(()),
                Sent::Full => wait(&self.0, PollFlags::OUT, deadline)?,
                Sent::InFlight if Instant::now() >= deadline => return Err(io::ErrorKind::TimedOut.into()),
                Sent::InFlight => std::thread::sleep(IN_FLIGHT_RETRY),
                Sent::Closed => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
    }

    /// Receives without waiting.
    pub(super) fn receive<M: DeserializeOwned>(&self) -> io::Result<Received<M>> {
        let mut body = vec![0; MESSAGE_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let got = loop {
            match recvmsg(&self.0, &mut [IoSliceMut::new(&mut body)], &mut beside, flags) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(Received::Nothing),
                Err(Errno::CONNRESET) => return Ok(Received::Closed),
                other => break other?,
            }
        };
        let rights = |m| if let RecvAncillaryMessage::ScmRights(fds) = m { Some(fds) } else { None };
        let fds: Vec<OwnedFd> = beside.drain().filter_map(rights).flatten().collect();
        if got.bytes == 0 {
            return Ok(Received::Closed); // a message is never empty
        }
        if got.flags.contains(ReturnFlags::TRUNC) {
            return Ok(Received::Strange(format!("a message is longer than {MESSAGE_BYTES} bytes")));
        }
        Ok(match decode(&body[..got.bytes]) {
            Ok(message) => Received::Message(message, fds),
            Err(why) => Received::Strange(why),
        })
    }

    /// Receives, waiting until `deadline`.
    pub(super) fn receive_by<M: DeserializeOwned>(&self, deadline: Instant) -> io::Result<Received<M>> {
        loop {
            match self.receive()? {
                Received::Nothing => wait(&self.0, PollFlags::IN, deadline)?,
                other => return Ok(other),
            }
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits for one descriptor; `TimedOut` at the deadline.
pub(super) fn wait(fd: impl AsFd, flags: PollFlags, deadline: Instant) -> io::Result<()> {
    loop {
        let left = timespec(deadline.saturating_duration_since(Instant::now()));
        match poll(&mut [PollFd::new(&fd, flags)], Some(&left)) {
            Err(Errno::INTR) => {}
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            other => return Ok(other.map(|_| ())?),
        }
    }
}

/// For [`poll`]; rounded up, so that a deadline has passed when it says so.
pub(super) fn timespec(d: Duration) -> Timespec {
    let d = d + Duration::from_micros(1);
    Timespec { tv_sec: d.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: d.subsec_nanos().into() }
}

/// Exactly these descriptors, or none.
pub(super) fn exactly<const N: usize>(fds: Vec<OwnedFd>) -> Result<[OwnedFd; N], String> {
    fds.try_into().map_err(|fds: Vec<_>| {
        format!("{} of {N} descriptors arrived: too many open files (raise `ulimit -n`)", fds.len())
    })
}

/// A memfd that nobody can change any more.
pub(super) fn sealed(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let fd = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut at = 0;
    while at < bytes.len() {
        at += rustix::io::pwrite(&fd, &bytes[at..], at as u64)?;
    }
    fcntl_add_seals(&fd, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
    Ok(fd)
}

/// The whole of a memfd. Its offset is shared by all who hold it, and left alone.
pub(super) fn read_all(fd: &OwnedFd) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(fstat(fd)?.st_size).unwrap_or(0)];
    let mut at = 0;
    while at < bytes.len() {
        match rustix::io::pread(fd, &mut bytes[at..], at as u64)? {
            0 => break,
            n => at += n,
        }
    }
    bytes.truncate(at);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{super::protocol::HostSays, *};

    fn pair() -> (Channel, Channel) {
        let (a, b) = Channel::pair().unwrap();
        (a, Channel(b))
    }

    #[test]
    fn messages_and_descriptors_arrive_together() {
        let (a, b) = pair();
        assert!(matches!(b.receive::<HostSays>().unwrap(), Received::Nothing));
        let memory = sealed("test", &[7; 300_000]).unwrap();
        let fds: Vec<_> = (0..FDS).map(|_| memory.as_fd()).collect();
        assert_eq!(a.send(&HostSays::Ready, &fds).unwrap(), Sent::Done);
        assert_eq!(a.send(&HostSays::Bye, &[]).unwrap(), Sent::Done);
        let Received::Message(HostSays::Ready, fds) = b.receive().unwrap() else { panic!() };
        let [_, _, _, last] = exactly::<4>(fds).unwrap();
        assert_eq!(read_all(&last).unwrap(), [7; 300_000]);
        assert!(rustix::io::pwrite(&last, b"x", 0).is_err());
        assert!(rustix::io::fcntl_getfd(&last).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        let Received::Message(HostSays::Bye, fds) = b.receive().unwrap() else { panic!() };
        assert!(exactly::<1>(fds).unwrap_err().contains("0 of 1"));
        drop(a);
        assert!(matches!(b.receive::<HostSays>().unwrap(), Received::Closed));
        assert_eq!(b.send(&HostSays::Bye, &[]).unwrap(), Sent::Closed);
    }

    #[test]
    fn a_full_socket_is_a_value() {
        let (a, b) = pair();
        let message = HostSays::Fatal { message: "x".repeat(10_000) };
        while a.send(&message, &[]).unwrap() == Sent::Done {}
        let soon = Instant::now() + Duration::from_millis(1);
        assert_eq!(a.send_by(soon, &message, &[]).unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(matches!(b.receive::<HostSays>().unwrap(), Received::Message(m, _) if m == message));
        assert!(a.send_by(Instant::now() + Duration::from_secs(10), &message, &[]).is_ok());
    }
}
