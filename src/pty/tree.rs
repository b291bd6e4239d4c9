//! The processes of a session: found by session id, group, descent and cookie; signalled by pidfd.
//!
//! Data comes from one pass over `/proc` and goes to whoever ends a session. A process that isn't surely the session's
//! is never signalled: a pid means nothing without its start time, and a number may belong to a stranger by now.

use super::{shim::ID_VARIABLE, stat};
use crate::model::{Process, SessionId};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use std::{
    collections::{HashMap, HashSet},
    fs, io,
    os::fd::OwnedFd,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

/// How long [`kill_all`] tries: a killed process is gone in milliseconds unless it hangs in the kernel.
const KILL_TIME: Duration = Duration::from_secs(5);
/// How long one pass waits for a death before it looks again.
const PASS_TIME: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
/// Deaths waited for at once: one is enough to look again, more only cost descriptors.
const WATCHED: usize = 64;

/// Looks in a row that must find nothing. Two: one pass over `/proc` can miss a process that is just being forked or executed.
const EMPTY_LOOKS: u32 = 2;

/// The keeper's pid, 0 while unknown.
static KEEPER: AtomicU32 = AtomicU32::new(0);

/// Says which process is the keeper: it is never taken for a session's, and what it adopted is.
pub(crate) fn set_keeper(pid: u32) {
    KEEPER.store(pid, Ordering::Relaxed);
}

/// Every living process of the session whose leader is or was `root`: same session or group, descendants, and whoever
/// carries the session's cookie in its environment. Never this process, the keeper or the host. Zombies are gone.
pub fn scan(root: Process, id: SessionId) -> Vec<Process> {
    Census::take(id).members(root)
}

/// Living processes with the session's cookie that were started at `start_time` (clock ticks after boot) or later.
pub(crate) fn scan_cookie(id: SessionId, start_time: u64) -> Vec<Process> {
    let census = Census::take(id);
    let young = |p: &Process| p.start_time >= start_time && !Census::is_ours(p.pid);
    let living = |p: &u32| census.all.get(p).filter(|s| !s.zombie).map(|s| s.process);
    census.cookies.iter().filter_map(living).filter(young).collect()
}

/// Sends a signal; false when that process is gone (also when another has its pid now).
pub fn signal(process: &Process, signal: i32) -> io::Result<bool> {
    let signal = named(signal)?;
    match open(process)? {
        Some(pidfd) => send(&pidfd, signal),
        None => Ok(false),
    }
}

/// Kills until a scan is empty, for a few seconds at most; gives what couldn't be killed. Ends a fork loop, too.
pub fn kill_all(root: Process, id: SessionId) -> Vec<Process> {
    kill_found(|| scan(root, id))
}

/// Kills what `find` finds until it finds nothing more, or the time is over.
pub(crate) fn kill_found(find: impl Fn() -> Vec<Process>) -> Vec<Process> {
    let until = Instant::now() + KILL_TIME;
    let mut killed = HashSet::new();
    let mut empty = 0;
    loop {
        let found = find();
        empty = if found.is_empty() { empty + 1 } else { 0 };
        if empty == EMPTY_LOOKS || Instant::now() >= until {
            return found;
        }
        let mut dying = Vec::new();
        let mut fresh = false;
        for process in &found {
            if let Ok(Some(pidfd)) = open(process) {
                fresh |= send(&pidfd, Signal::KILL).unwrap_or(false) && killed.insert(*process);
                if dying.len() < WATCHED {
                    dying.push(pidfd);
                }
            }
        }
        if !fresh && empty == 0 {
            // Only such as were killed before: one of them must go before there is anything new to see.
            let mut fds: Vec<_> = dying.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
            let _ = poll(&mut fds, Some(&PASS_TIME));
        }
    }
}

fn named(signal: i32) -> io::Result<Signal> {
    if !(1..=libc::SIGRTMAX()).contains(&signal) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    #[expect(unsafe_code, reason = "rustix names no real-time signals, and people may send them")]
    // SAFETY: the number is a signal's, and it is only sent to other processes, which nothing in this one depends on.
    Ok(Signal::from_named_raw(signal).unwrap_or_else(|| unsafe { Signal::from_raw_unchecked(signal) }))
}

/// A descriptor of exactly this process.
fn open(process: &Process) -> io::Result<Option<OwnedFd>> {
    let Some(pid) = Pid::from_raw(process.pid.cast_signed()) else { return Ok(None) };
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        // EINVAL: a thread has the number now.
        Err(Errno::SRCH | Errno::INVAL) => return Ok(None),
        other => other?,
    };
    // Read after the descriptor was opened: if it is the wanted one now, it was then.
    match stat::read(process.pid) {
        Ok(stat) if stat.process == *process => Ok(Some(pidfd)),
        Ok(_) => Ok(None),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn send(pidfd: &OwnedFd, signal: Signal) -> io::Result<bool> {
    match pidfd_send_signal(pidfd, signal) {
        Err(Errno::SRCH) => Ok(false),
        other => Ok(other.map(|()| true)?),
    }
}

/// All processes at about one moment.
struct Census {
    all: HashMap<u32, stat::Stat>,
    /// Those with the wanted cookie.
    cookies: HashSet<u32>,
}

impl Census {
    fn take(id: SessionId) -> Census {
        let cookie = format!("{ID_VARIABLE}={id}").into_bytes();
        let mut census = Census { all: HashMap::new(), cookies: HashSet::new() };
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        for pid in entries.filter_map(|e| e.file_name().to_str()?.parse().ok()) {
            let Ok(stat) = stat::read(pid) else { continue };
            census.all.insert(pid, stat);
            // Other people's environments can't be read, the kernel's own threads have none.
            if !stat.zombie && fs::read(format!("/proc/{pid}/environ")).is_ok_and(|env| has(&env, &cookie)) {
                census.cookies.insert(pid);
            }
        }
        census
    }

    fn members(&self, root: Process) -> Vec<Process> {
        let leader = self.all.get(&root.pid);
        let reused = leader.is_some_and(|l| l.process != root); // then the number says nothing
        let living = || self.all.values().filter(|s| !s.zombie);
        let belongs = |s: &stat::Stat| {
            let numbered = s.session == root.pid || s.group == root.pid;
            // With the leader gone its number may have had another life as a stranger's session: ours were adopted by
            // the keeper, or carry the cookie.
            let surely = leader.is_some() || self.is_adopted(s);
            self.cookies.contains(&s.process.pid) || (numbered && !reused && surely)
        };
        let mut found: HashSet<u32> = living().filter(|s| belongs(s)).map(|s| s.process.pid).collect();
        if !reused && leader.is_some() {
            found.insert(root.pid);
        }
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        living().for_each(|s| children.entry(s.parent).or_default().push(s.process.pid));
        found.retain(|pid| !Self::is_ours(*pid));
        let mut open: Vec<u32> = found.iter().copied().collect();
        while let Some(pid) = open.pop() {
            for child in children.get(&pid).into_iter().flatten() {
                if !Self::is_ours(*child) && found.insert(*child) {
                    open.push(*child);
                }
            }
        }
        living().map(|s| s.process).filter(|p| found.contains(&p.pid)).collect()
    }

    /// This process (the host, where sessions are ended) and the keeper.
    fn is_ours(pid: u32) -> bool {
        let keeper = KEEPER.load(Ordering::Relaxed);
        pid == std::process::id() || (keeper != 0 && pid == keeper)
    }

    /// True where a chain of parents leads to the keeper.
    fn is_adopted(&self, of: &stat::Stat) -> bool {
        let keeper = KEEPER.load(Ordering::Relaxed);
        let mut parent = of.parent;
        // A census isn't of one moment: a reused pid could close a circle.
        for _ in 0..self.all.len() {
            match self.all.get(&parent) {
                _ if keeper != 0 && parent == keeper => return true,
                Some(stat) => parent = stat.parent,
                None => return false,
            }
        }
        false
    }
}

/// True when one of the variables is exactly `variable`.
fn has(environ: &[u8], variable: &[u8]) -> bool {
    environ.split(|b| *b == 0).any(|v| v == variable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{BufRead, BufReader},
        os::unix::process::CommandExt,
        process::{Child, Command, Stdio},
    };

    /// A shell as leader of its own group, with the cookie; ended with all its tree, also when a test fails.
    struct Leader {
        child: Child,
        root: Process,
        id: SessionId,
        line: String,
    }

    impl Leader {
        /// Waits for the script's first line.
        fn start(id: u8, cookie: bool, script: &str) -> Leader {
            let id = SessionId([id; 16]);
            let mut command = Command::new("sh");
            command.args(["-c", script]).process_group(0).stdout(Stdio::piped());
            if cookie {
                command.env(ID_VARIABLE, id.to_string());
            }
            let mut child = command.spawn().unwrap();
            let root = stat::read(child.id()).unwrap().process;
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
            Leader { child, root, id, line: line.trim().to_owned() }
        }

        fn pids(&self) -> HashSet<u32> {
            scan(self.root, self.id).into_iter().map(|p| p.pid).collect()
        }
    }

    impl Drop for Leader {
        fn drop(&mut self) {
            kill_all(self.root, self.id);
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    #[test]
    fn children_in_other_sessions_and_groups_are_found() {
        // Three sleepers: a child, one in a session of its own, one whose parent is gone and that dropped the group.
        let script = "sleep 1000 & a=$!; setsid sleep 1000 & b=$!; \
                      c=$(setsid sh -c 'sleep 1000 >/dev/null & echo $!'); echo $a $b $c; wait";
        let mut leader = Leader::start(0xa1, true, script);
        let wanted: HashSet<u32> =
            leader.line.split(' ').map(|n| n.parse().unwrap()).chain([leader.root.pid]).collect();
        assert_eq!(leader.pids(), wanted);
        assert_eq!(kill_all(leader.root, leader.id), []);
        leader.child.wait().unwrap();
        assert_eq!(leader.pids(), HashSet::new());
    }

    #[test]
    fn a_cookie_outlives_the_leader() {
        let mut leader = Leader::start(0xa2, true, "setsid sleep 1000 >/dev/null & echo $!");
        leader.child.wait().unwrap();
        assert_eq!(leader.pids(), HashSet::from([leader.line.parse().unwrap()]));
        assert_eq!(kill_all(leader.root, leader.id), []);
    }

    #[test]
    fn a_stranger_with_the_same_number_is_left_alone() {
        let leader = Leader::start(0xa3, false, "echo; exec sleep 1000");
        assert_eq!(leader.pids(), HashSet::from([leader.root.pid]));
        let earlier = Process { start_time: leader.root.start_time - 1, ..leader.root };
        assert_eq!(scan(earlier, leader.id), []);
        assert!(!signal(&earlier, libc::SIGKILL).unwrap());
        assert!(signal(&leader.root, libc::SIGKILL).unwrap());
    }

    #[test]
    fn zombies_are_gone() {
        let leader = Leader::start(0xa4, true, "echo; exec sleep 1000");
        assert!(signal(&leader.root, libc::SIGKILL).unwrap());
        kill_found(|| scan(leader.root, leader.id)); // waits for the death; nobody reaps it
        assert!(stat::read(leader.root.pid).unwrap().zombie);
        assert_eq!(leader.pids(), HashSet::new());
    }

    #[test]
    fn a_fork_loop_ends() {
        let leader = Leader::start(0xa5, true, "f() { sleep 1000 & sh -c 'exit 0'; f & }; echo; f; f; wait");
        assert_eq!(kill_all(leader.root, leader.id), []);
        assert_eq!(leader.pids(), HashSet::new());
    }

    #[test]
    fn this_process_is_never_found() {
        let own = stat::read(std::process::id()).unwrap().process;
        assert!(scan(own, SessionId([0xa6; 16])).iter().all(|p| p.pid != own.pid));
    }

    #[test]
    fn signals_are_checked() {
        let own = stat::read(std::process::id()).unwrap().process;
        assert!(signal(&own, 0).is_err());
        assert!(signal(&own, 65).is_err());
        assert!(!signal(&Process { pid: 0, start_time: 0 }, 15).unwrap());
    }
}
