//! A PTY for tests that gives what it was told to give.

use super::*;
use std::{cell::RefCell, collections::VecDeque};

/// One thing a fake PTY has to give.
#[derive(Clone, Debug)]
pub(super) enum Packet {
    Output(Bytes),
    Control(u8),
    /// Waits as this many bytes, then a control byte comes first: the bytes stay.
    ControlBefore(u8, Bytes),
    /// Waits as two bytes more than come.
    Short(Bytes),
    HangUp,
}

#[derive(Default)]
pub(super) struct FakePty(pub(super) RefCell<VecDeque<Packet>>);

impl FakePty {
    pub(super) fn of(packets: impl IntoIterator<Item = Packet>) -> FakePty {
        FakePty(RefCell::new(packets.into_iter().collect()))
    }
}

impl PtySource for FakePty {
    fn pending(&self) -> io::Result<Pending> {
        let bytes = |n: usize| Pending::Bytes(NonZeroU16::new(n as u16).unwrap());
        Ok(match self.0.borrow().front() {
            None => Pending::Nothing,
            Some(Packet::Output(out) | Packet::ControlBefore(_, out)) => bytes(out.len()),
            Some(Packet::Short(out)) => bytes(out.len() + 2),
            Some(Packet::Control(_)) => Pending::ControlOnly,
            Some(Packet::HangUp) => return Err(rustix::io::Errno::IO.into()),
        })
    }

    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        let mut queue = self.0.borrow_mut();
        match queue.pop_front() {
            None => Err(io::ErrorKind::WouldBlock.into()),
            Some(Packet::HangUp) => Err(rustix::io::Errno::IO.into()),
            Some(Packet::Control(byte)) => {
                buf[0] = byte;
                Ok(1)
            }
            Some(Packet::ControlBefore(byte, out)) => {
                buf[0] = byte;
                queue.push_front(Packet::Output(out));
                Ok(1)
            }
            Some(Packet::Output(mut out) | Packet::Short(mut out)) => {
                let rest = out.split_off(out.len().min(buf.len() - 1));
                buf[0] = layout::DATA;
                buf[1..=out.len()].copy_from_slice(&out);
                if !rest.is_empty() {
                    queue.push_front(Packet::Output(rest));
                }
                Ok(out.len() + 1)
            }
        }
    }
}
