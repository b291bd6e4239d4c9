//! How a process ended: from waiting for it, or, when it is someone else's child, from what the kernel keeps. What can't
//! be found out is `Unknown`, never 0.

use crate::{
    model::{Process, Status},
    pty::stat,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    ioctl::{Updater, ioctl, opcode},
    process::WaitStatus,
};
use std::os::fd::OwnedFd;

/// From a wait.
pub(super) fn of_wait(status: WaitStatus) -> Status {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Status::Code(code),
        (_, Some(signal)) => Status::Signal(signal),
        _ => Status::Unknown,
    }
}

/// Of a process that isn't this one's child; `None` while it lives. The pidfd must have been opened while it lived.
pub(super) fn of_stranger(process: Process, pidfd: &OwnedFd) -> Option<Status> {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    if poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&now)).ok()? == 0 {
        return None;
    }
    // Its parent may wait for it at any moment: before that the zombie tells, after it the pidfd (kernel 6.15).
    Some(of_pidfd(pidfd).or_else(|| of_zombie(process)).or_else(|| of_pidfd(pidfd)).unwrap_or(Status::Unknown))
}

fn of_zombie(process: Process) -> Option<Status> {
    let stat = stat::read(process.pid).ok()?;
    (stat.process == process && stat.zombie).then(|| of_raw(stat.exit_code))
}

/// `struct pidfd_info` of linux/pidfd.h, its first version.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit_code: i32,
}

const PIDFD_INFO_EXIT: u64 = 1 << 3;
const PIDFD_GET_INFO: rustix::ioctl::Opcode = opcode::read_write::<PidfdInfo>(0xff, 11);

fn of_pidfd(pidfd: &OwnedFd) -> Option<Status> {
    let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    #[expect(unsafe_code, reason = "an ioctl rustix doesn't have")]
    // SAFETY: the kernel writes at most the size that is part of the number, which is that of `PidfdInfo`; any bit
    // pattern is valid there. An older kernel gives an error.
    let told = unsafe { ioctl(pidfd, Updater::<PIDFD_GET_INFO, PidfdInfo>::new(&mut info)) };
    (told.is_ok() && info.mask & PIDFD_INFO_EXIT != 0).then(|| of_raw(info.exit_code))
}

fn of_raw(status: i32) -> Status {
    match status & 0x7f {
        0 => Status::Code(status >> 8 & 0xff),
        signal => Status::Signal(signal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    use std::{process::Command, time::Duration};

    #[test]
    fn raw_statuses_are_read() {
        for (raw, status) in
            [(0, Status::Code(0)), (768, Status::Code(3)), (9, Status::Signal(9)), (0x8b, Status::Signal(11))]
        {
            assert_eq!(of_raw(raw), status);
        }
    }

    #[test]
    fn a_strangers_end_is_found_before_and_after_its_parent_waited() {
        for (script, status) in
            [("exit 3", Status::Code(3)), ("kill -9 $$", Status::Signal(9)), ("exit 0", Status::Code(0))]
        {
            let mut child = Command::new("sh")
                .args(["-c", &format!("read x; {script}")])
                .stdin(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
            let process = stat::read(child.id()).unwrap().process;
            assert_eq!(of_stranger(process, &pidfd), None);
            drop(child.stdin.take());
            let deadline = std::time::Instant::now() + Duration::from_secs(10);
            super::super::channel::wait(&pidfd, PollFlags::IN, deadline).unwrap();
            assert_eq!(of_stranger(process, &pidfd), Some(status), "{script}, zombie");
            child.wait().unwrap();
            let got = of_stranger(process, &pidfd);
            assert!(got == Some(status) || got == Some(Status::Unknown), "{script}, waited for: {got:?}");
            if rustix::system::uname().release().to_string_lossy().starts_with("6.18") {
                assert_eq!(got, Some(status));
            }
        }
    }
}
