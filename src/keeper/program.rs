//! What hosts are started from: the keeper's own program, or, when that can't serve, the one it was before.
//!
//! A program that has taken over is on trial until a host of it has served. It never decides when a host is started.

use rustix::fs::{Mode, OFlags};
use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::PathBuf,
};

/// Hosts of a new program that may fail before one has served. 3: a passing want of memory is not the program's fault.
const TRIES: u32 = 3;
/// This process's own program, also when its file is gone.
const OWN: &str = "/proc/self/exe";

/// See the module.
#[derive(Debug)]
pub(super) enum Program {
    /// The keeper's.
    Own,
    /// The keeper's, which is new.
    OnTrial { before: OwnedFd, failures: u32 },
    /// The one before; the keeper's could not serve, and why.
    Before { program: OwnedFd, why: String },
}

impl Program {
    /// What is executed.
    pub(super) fn path(&self) -> PathBuf {
        match self {
            Program::Own | Program::OnTrial { .. } => OWN.into(),
            Program::Before { program, .. } => format!("/proc/self/fd/{}", program.as_raw_fd()).into(),
        }
    }

    /// Why it isn't the keeper's own.
    pub(super) fn reverted(&self) -> Option<String> {
        if let Program::Before { why, .. } = self { Some(why.clone()) } else { None }
    }

    /// A host of it serves.
    pub(super) fn served(&mut self) {
        if let Program::OnTrial { .. } = self {
            *self = Program::Own;
        }
    }

    /// A host of it has ended before it served. True when the next one is of the program before.
    pub(super) fn failed(&mut self, why: &str) -> bool {
        match std::mem::replace(self, Program::Own) {
            Program::OnTrial { before, failures } if failures + 1 >= TRIES => {
                *self = Program::Before { program: before, why: why.to_owned() };
                true
            }
            Program::OnTrial { before, failures } => {
                *self = Program::OnTrial { before, failures: failures + 1 };
                false
            }
            other => {
                *self = other;
                false
            }
        }
    }

    /// The one that is known to serve, for the keeper that comes after this.
    pub(super) fn proven(&self) -> io::Result<OwnedFd> {
        let kept = |fd: BorrowedFd<'_>| fd.try_clone_to_owned();
        match self {
            Program::Own => Ok(rustix::fs::open(OWN, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?),
            Program::OnTrial { before, .. } => kept(before.as_fd()),
            Program::Before { program, .. } => kept(program.as_fd()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_never_serves_gives_way_to_the_one_before() {
        let mut program = Program::OnTrial { before: Program::Own.proven().unwrap(), failures: 0 };
        assert_eq!([program.failed("a"), program.failed("b"), program.failed("c")], [false, false, true]);
        assert!(program.reverted().as_deref() == Some("c") && program.path() != std::path::Path::new(OWN));
        assert!(!program.failed("d"), "there is nothing before that");
        program.served();
        assert_eq!(program.reverted().as_deref(), Some("c"), "it serves, and is still not the newest");
    }

    #[test]
    fn a_program_that_has_served_stays() {
        let mut program = Program::OnTrial { before: Program::Own.proven().unwrap(), failures: 2 };
        program.served();
        assert!(!program.failed("a later end") && program.reverted().is_none());
        assert_eq!(program.path(), PathBuf::from(OWN));
    }
}
