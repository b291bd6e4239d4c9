//! The end of a session's processes: signalled by pidfd, looked at until none of them is left.
//!
//! One thread ends all trees that are to end, with one `Census` for all of them, and is there only while there are some.
//! The end of a tree is that it is *empty*, not that its leader is gone. A process that isn't surely the session's is
//! never signalled: a pid means nothing without its start time, and a number may belong to a stranger by now.

use super::{census::Census, cgroup, stat};
use crate::model::Process;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use std::{
    collections::{BTreeSet, HashSet},
    io,
    mem::take,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

pub use super::census::Target;
pub(crate) use super::census::set_keeper;

/// A killed tree that isn't gone after this hangs in the kernel: it is said, and not waited for.
const KILL_BOUND: Duration = Duration::from_secs(10);
/// How long a look waits for a death before the next one: a stranger's child can end without one that is watched.
const LOOK: Duration = Duration::from_millis(20);
/// Looks take at most one in so many parts of the time, however many processes the machine has.
const LOOK_SHARE: u32 = 4;
/// Looks that find nothing and aren't sure are repeated for so long: what makes them unsure, an execution or a fork under
/// way, takes milliseconds; where `/proc` tells too little for more, nobody waits for it.
const UNSURE_BOUND: Duration = Duration::from_millis(500);
/// Deaths waited for at once: one is enough to look again, more only cost descriptors.
const WATCHED: usize = 64;

/// How a tree is asked to end before SIGKILL takes what is left of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    /// SIGKILL at once.
    AtOnce,
    /// HUP, TERM, KILL, with so much between them.
    Usual(Duration),
    /// This signal, and after so long KILL.
    Signal(i32, Duration),
}

/// Ends processes in the given manner. `done` gets how many don't end even so (0: nothing is left), or why it can't be tried. It is called on another thread and must not wait.
pub fn end(target: Target, manner: Manner, done: impl FnOnce(io::Result<usize>) + Send + 'static) {
    let (since, told, cgroups, done) = (Instant::now(), HashSet::new(), BTreeSet::new(), Box::new(done));
    let ending = Ending { target, manner, since, sent: None, empty_since: None, told, cgroups, done };
    let mut queue = queue();
    queue.new.push(ending);
    if queue.works {
        return;
    }
    match thread::Builder::new().name("tree-ender".into()).spawn(work) {
        Ok(_) => queue.works = true,
        Err(e) => {
            let refused = take(&mut queue.new);
            drop(queue);
            refused.into_iter().for_each(|ending| (ending.done)(Err(io::Error::new(e.kind(), e.to_string()))));
        }
    }
}

/// Kills, and waits until nothing is left; says how many don't end.
pub fn kill(target: Target) -> io::Result<usize> {
    let (done, ended) = mpsc::channel();
    end(target, Manner::AtOnce, move |left| drop(done.send(left)));
    ended.recv().unwrap_or_else(|_| Err(io::Error::other("the thread that ends processes died")))
}

/// Sends a signal; false when that process is gone (also when another has its pid now).
pub fn signal(process: &Process, signal: i32) -> io::Result<bool> {
    let signal = named(signal)?;
    match open(process)? {
        Some(pidfd) => send(&pidfd, signal),
        None => Ok(false),
    }
}

/// A tree that is to end.
struct Ending {
    target: Target,
    manner: Manner,
    since: Instant,
    /// The signal its processes got last.
    sent: Option<Signal>,
    /// Nothing was found since then.
    empty_since: Option<Instant>,
    /// Who was killed: once is enough.
    told: HashSet<Process>,
    /// Where its processes were seen so far, or would be.
    cgroups: BTreeSet<PathBuf>,
    done: Box<dyn FnOnce(io::Result<usize>) + Send>,
}

/// Endings that the thread hasn't taken yet. Bounded by who may ask: one a session.
struct Queue {
    new: Vec<Ending>,
    works: bool,
}

static QUEUE: Mutex<Queue> = Mutex::new(Queue { new: Vec::new(), works: false });

fn queue() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A thread that dies must not be waited for by those who come later.
struct Works;

impl Drop for Works {
    fn drop(&mut self) {
        if thread::panicking() {
            let mut queue = queue();
            queue.works = false;
            queue.new.clear(); // who waits sees it
        }
    }
}

/// The thread: until there is nothing more to end.
fn work() {
    let _works = Works;
    let mut endings: Vec<Ending> = Vec::new();
    loop {
        {
            let mut queue = queue();
            endings.append(&mut queue.new);
            if endings.is_empty() {
                queue.works = false;
                return;
            }
        }
        let began = Instant::now();
        let mut census = Census::take();
        let mut living = Vec::new();
        // Those who fork faster than a census is taken: who has come since is looked for at once.
        loop {
            let mut killed = false;
            living.clear();
            endings = endings.into_iter().filter_map(|e| e.step(&census, &mut living, &mut killed)).collect();
            if !killed {
                break;
            }
            census = census.and_then(|mut census| census.go_on().map(|()| census));
        }
        if !endings.is_empty() {
            wait_for_a_death(&living, LOOK.max(began.elapsed() * LOOK_SHARE));
        }
    }
}

impl Ending {
    /// Nothing when it is over. `killed`: somebody was, who may have forked before.
    fn step(mut self, census: &io::Result<Census>, living: &mut Vec<OwnedFd>, killed: &mut bool) -> Option<Ending> {
        let late = self.since.elapsed() > self.manner.kills_after().saturating_add(KILL_BOUND);
        let census = match census {
            Ok(census) => census,
            Err(e) if late => {
                (self.done)(Err(io::Error::new(e.kind(), format!("its processes can't be looked for: {e}"))));
                return None;
            }
            Err(_) => return Some(self), // such as too many open files: it may pass
        };
        let found = census.find(self.target);
        self.note_cgroups(census);
        let populated: Vec<&PathBuf> = self.cgroups.iter().filter(|folder| cgroup::is_populated(folder)).collect();
        let empty = found.is_empty() && populated.is_empty();
        self.empty_since = if empty { self.empty_since.or(Some(Instant::now())) } else { None };
        let gone = self.empty_since.is_some_and(|since| census.is_settled() || since.elapsed() > UNSURE_BOUND);
        if gone || late {
            self.cgroups.iter().for_each(|folder| cgroup::remove(folder));
            (self.done)(Ok(found.len().max(populated.len()))); // who lives in a cgroup may be hidden from this user
            return None;
        }
        let wanted = self.wanted();
        if wanted == Signal::KILL {
            populated.into_iter().for_each(|folder| kill_all(folder));
        }
        // Of what comes later, such as a program's last helpers, only SIGKILL spares nobody.
        let fresh = self.sent.replace(wanted) != Some(wanted) || wanted == Signal::KILL;
        for process in found {
            match open(&process) {
                Ok(Some(pidfd)) => {
                    if fresh && (wanted != Signal::KILL || self.told.insert(process)) {
                        tell(&process, &pidfd, wanted);
                        *killed |= wanted == Signal::KILL;
                    }
                    if living.len() < WATCHED {
                        living.push(pidfd);
                    }
                }
                Ok(None) => {}
                Err(e) => tracing::warn!(pid = process.pid, error = %e, "a process can't be signalled"),
            }
        }
        Some(self)
    }

    /// Of all runs of its session.
    fn note_cgroups(&mut self, census: &Census) {
        let (Target::Tree(_, id) | Target::Left(id)) = self.target;
        self.cgroups.extend(cgroup::folders(id, census.cgroups(id)));
    }

    fn wanted(&self) -> Signal {
        self.manner.wanted(self.since.elapsed())
    }
}

impl Manner {
    /// What is sent so long after the beginning.
    fn wanted(self, elapsed: Duration) -> Signal {
        match self {
            Manner::Usual(grace) if elapsed < grace => Signal::HUP,
            Manner::Usual(grace) if elapsed < grace.saturating_mul(2) => Signal::TERM,
            Manner::Signal(signal, timeout) if elapsed < timeout => named(signal).unwrap_or(Signal::TERM),
            _ => Signal::KILL,
        }
    }

    fn kills_after(self) -> Duration {
        match self {
            Manner::AtOnce => Duration::ZERO,
            Manner::Usual(grace) => grace.saturating_mul(2),
            Manner::Signal(_, timeout) => timeout,
        }
    }
}

fn kill_all(cgroup: &Path) {
    if let Err(e) = cgroup::kill(cgroup) {
        tracing::warn!(cgroup = %cgroup.display(), error = %e, "a cgroup can't be killed; its processes are, one by one");
    }
}

fn tell(process: &Process, pidfd: &OwnedFd, wanted: Signal) {
    // A stopped process hears only when it goes on.
    let signals = if wanted == Signal::KILL { &[wanted][..] } else { &[wanted, Signal::CONT] };
    for signal in signals {
        if let Err(e) = send(pidfd, *signal) {
            tracing::warn!(pid = process.pid, error = %e, "a process can't be signalled");
        }
    }
}

fn wait_for_a_death(living: &[OwnedFd], at_most: Duration) {
    let mut fds: Vec<_> = living.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    let left = Timespec { tv_sec: at_most.as_secs().cast_signed(), tv_nsec: at_most.subsec_nanos().into() };
    let _ = poll(&mut fds, Some(&left)); // an error only means another look
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

#[cfg(test)]
mod tests {
    use super::{super::shim::ID_VARIABLE, *};
    use crate::model::SessionId;
    use std::{
        io::{BufRead, BufReader},
        os::unix::process::CommandExt,
        process::{Child, Command, Stdio},
    };

    fn scan(target: Target) -> Vec<Process> {
        loop {
            let census = Census::take().unwrap();
            if census.is_settled() {
                return census.find(target);
            }
        }
    }

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
            scan(self.target()).into_iter().map(|p| p.pid).collect()
        }

        fn target(&self) -> Target {
            Target::Tree(self.root, self.id)
        }
    }

    impl Drop for Leader {
        fn drop(&mut self) {
            let _ = kill(self.target());
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
        assert_eq!(kill(leader.target()).unwrap(), 0);
        leader.child.wait().unwrap();
        assert_eq!(leader.pids(), HashSet::new());
    }

    #[test]
    fn a_cookie_outlives_the_leader() {
        let mut leader = Leader::start(0xa2, true, "setsid sleep 1000 >/dev/null & echo $!");
        leader.child.wait().unwrap();
        assert_eq!(leader.pids(), HashSet::from([leader.line.parse().unwrap()]));
        assert_eq!(kill(leader.target()).unwrap(), 0);
    }

    #[test]
    fn a_stranger_with_the_same_number_is_left_alone() {
        let leader = Leader::start(0xa3, false, "echo; exec sleep 1000");
        assert_eq!(leader.pids(), HashSet::from([leader.root.pid]));
        let earlier = Process { start_time: leader.root.start_time - 1, ..leader.root };
        assert_eq!(scan(Target::Tree(earlier, leader.id)), []);
        assert!(!signal(&earlier, libc::SIGKILL).unwrap());
        assert!(signal(&leader.root, libc::SIGKILL).unwrap());
    }

    #[test]
    fn each_manner_ends_with_kill() {
        let s = Duration::from_secs;
        for (manner, wanted) in [
            (Manner::AtOnce, [Signal::KILL; 4]),
            (Manner::Usual(s(5)), [Signal::HUP, Signal::TERM, Signal::KILL, Signal::KILL]),
            (Manner::Signal(libc::SIGINT, s(10)), [Signal::INT, Signal::INT, Signal::KILL, Signal::KILL]),
            (Manner::Signal(libc::SIGINT, s(0)), [Signal::KILL; 4]),
            (Manner::Signal(libc::SIGINT, Duration::MAX), [Signal::INT; 4]),
        ] {
            assert_eq!([0, 5, 10, 60].map(|at| manner.wanted(s(at))), wanted, "{manner:?}");
        }
    }

    #[test]
    fn zombies_are_gone() {
        let leader = Leader::start(0xa4, true, "echo; exec sleep 1000");
        assert!(signal(&leader.root, libc::SIGKILL).unwrap());
        kill(leader.target()).unwrap(); // waits for the death; nobody reaps it
        assert!(stat::read(leader.root.pid).unwrap().zombie);
        assert_eq!(leader.pids(), HashSet::new());
    }

    #[test]
    fn a_fork_loop_ends() {
        let leader = Leader::start(0xa5, true, "f() { sleep 1000 & sh -c 'exit 0'; f & }; echo; f; f; wait");
        assert_eq!(kill(leader.target()).unwrap(), 0);
        assert_eq!(leader.pids(), HashSet::new());
    }

    #[test]
    fn this_process_is_never_found() {
        let own = stat::read(std::process::id()).unwrap().process;
        assert!(scan(Target::Tree(own, SessionId([0xa6; 16]))).iter().all(|p| p.pid != own.pid));
    }

    #[test]
    fn signals_are_checked() {
        let own = stat::read(std::process::id()).unwrap().process;
        assert!(signal(&own, 0).is_err());
        assert!(signal(&own, 65).is_err());
        assert!(!signal(&Process { pid: 0, start_time: 0 }, 15).unwrap());
    }
}
