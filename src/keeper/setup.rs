//! How a process becomes a keeper, whoever started it: session, signals, subreaper, descriptors, limits.

use super::{process::line, signals::Signals};
use crate::pty::{cgroup, files, oom, tree};
use rustix::process::{Resource, Rlimit, getpid, getrlimit, set_child_subreaper, setrlimit, setsid};
use std::{io, os::fd::RawFd};

/// `detached`: leave the caller's session, and close every descriptor but stdio and these: a pipe of whoever started a
/// daemon would otherwise never end.
pub(super) fn become_keeper(detached: Option<&[RawFd]>) -> io::Result<Signals> {
    if let Some(kept) = detached {
        let _ = setsid(); // fails where this process leads a group: it is detached then
        files::close_others(kept)?;
    }
    super::lean::map_page_by_page();
    if let Err(e) = cgroup::leave() {
        line(&format!("this keeper stays in the cgroup of the session it was started in, and ends with it: {e}"));
    }
    let _ = oom::spare(); // for who is permitted to
    let signals = Signals::block()?;
    set_child_subreaper(Some(getpid()))?;
    tree::set_keeper(std::process::id());
    let _ = rustix::thread::set_name(c"termalive"); // the kernel calls it "exe" otherwise
    Ok(signals)
}

/// A session takes four descriptors here: the soft limit becomes the hard one. Gives the old one, for the programs.
pub(super) fn raise_files() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    (limit.current != limit.maximum && setrlimit(Resource::Nofile, raised).is_ok()).then_some(limit.current).flatten()
}
