//! All processes of the machine at about one moment, and which of them are a session's.
//!
//! `/proc` is no snapshot: a process can fork and be gone between the listing and the look at it, and one that is just
//! being executed shows no environment. So a census lists until a listing names nobody new, and says when it isn't sure
//! ([`Census::is_settled`]). Only what a census finds is ever signalled, so it must never take a stranger for a session's.

use super::{cgroup, shim::ID_VARIABLE, stat};
use crate::model::{Process, SessionId};
use std::{
    collections::{HashMap, HashSet},
    fs, io,
    sync::atomic::{AtomicU32, Ordering},
};

/// Listings in one census. Each reads only what is new, so a machine on which more of them bring somebody new forks
/// faster than it can be listed: the census isn't settled then.
const LISTINGS: usize = 50;

/// The keeper's pid, 0 while unknown.
static KEEPER: AtomicU32 = AtomicU32::new(0);

/// Says which process is the keeper: it is never taken for a session's, and what it adopted is.
pub(crate) fn set_keeper(pid: u32) {
    KEEPER.store(pid, Ordering::Relaxed);
}

/// Whose processes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// Of the session whose leader is or was this: same session or group, descendants, and whoever carries the session's
    /// cookie in its environment or is in its cgroup.
    Tree(Process, SessionId),
    /// The same, where nothing is known of a leader.
    Left(SessionId),
}

/// All processes at about one moment.
pub(super) struct Census {
    all: HashMap<u32, stat::Stat>,
    /// Who has a session's cookie, or is in its cgroup.
    marked: HashMap<SessionId, HashSet<u32>>,
    /// The cgroups in which somebody is a session's.
    cgroups: HashMap<SessionId, HashSet<String>>,
    /// Listed so far, also who was gone by then.
    seen: HashSet<u32>,
    /// Of everybody it could be told whose it is.
    clear: bool,
    settled: bool,
}

impl Census {
    /// An error says nothing about anybody: `/proc` can't be read now.
    pub(super) fn take() -> io::Result<Census> {
        let mut census = Census {
            all: HashMap::new(),
            marked: HashMap::new(),
            cgroups: HashMap::new(),
            seen: HashSet::new(),
            clear: true,
            settled: false,
        };
        census.go_on()?;
        Ok(census)
    }

    /// Adds who has come since; of those it has, it doesn't notice that they have gone.
    pub(super) fn go_on(&mut self) -> io::Result<()> {
        self.settled = false;
        for _ in 0..LISTINGS {
            // Whoever lives now and isn't in this listing was forked during it, by somebody who lives or who is listed
            // and new. With nobody new, all who live now, or their forebears, were seen alive.
            let fresh: Vec<u32> = pids()?.into_iter().filter(|pid| self.seen.insert(*pid)).collect();
            if fresh.is_empty() {
                self.settled = self.clear;
                return Ok(());
            }
            for pid in fresh {
                self.clear &= self.look_at(pid)?;
            }
        }
        Ok(())
    }

    /// False where nobody missed by this census can be ruled out: finding nothing means nothing then.
    pub(super) fn is_settled(&self) -> bool {
        self.settled
    }

    /// The living ones among them. Never this process, the keeper or the host. Zombies are gone.
    pub(super) fn find(&self, target: Target) -> Vec<Process> {
        match target {
            Target::Tree(root, id) => self.tree(Some(root), id),
            Target::Left(id) => self.tree(None, id),
        }
    }

    /// False when it can't be told whose it is.
    fn look_at(&mut self, pid: u32) -> io::Result<bool> {
        let stat = match stat::read(pid) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(true),
            stat => stat?,
        };
        self.all.insert(pid, stat);
        if stat.zombie || stat.kernel {
            return Ok(true);
        }
        self.look_at_cgroup(pid)?;
        let environ = || fs::read(format!("/proc/{pid}/environ"));
        let mut env = match environ() {
            Err(e) if is_full(&e) => return Err(e),
            Err(_) => return Ok(true), // somebody else's, or gone
            Ok(env) => env,
        };
        if env.is_empty() {
            if stat::read(pid).is_ok_and(|now| now.executing) {
                return Ok(false);
            }
            env = environ().unwrap_or_default(); // the look before may have met an execution that is over now
        }
        if let Some(id) = cookie(&env) {
            self.marked.entry(id).or_default().insert(pid);
        }
        Ok(true)
    }

    fn look_at_cgroup(&mut self, pid: u32) -> io::Result<()> {
        if !cgroup::is_mounted() {
            return Ok(());
        }
        let cgroup = match fs::read_to_string(format!("/proc/{pid}/cgroup")) {
            Err(e) if is_full(&e) => return Err(e),
            cgroup => cgroup.unwrap_or_default(), // gone
        };
        for (id, path) in cgroup::sessions(&cgroup) {
            self.marked.entry(id).or_default().insert(pid);
            self.cgroups.entry(id).or_default().insert(path.to_owned());
        }
        Ok(())
    }

    fn marked(&self, id: SessionId) -> impl Iterator<Item = &u32> {
        self.marked.get(&id).into_iter().flatten()
    }

    /// Where processes of the session were seen.
    pub(super) fn cgroups(&self, id: SessionId) -> impl Iterator<Item = &str> {
        self.cgroups.get(&id).into_iter().flatten().map(String::as_str)
    }

    fn tree(&self, root: Option<Process>, id: SessionId) -> Vec<Process> {
        let marked: HashSet<u32> = self.marked(id).copied().collect();
        let leader = root.and_then(|root| self.all.get(&root.pid));
        // Then the number says nothing.
        let reused = leader.is_some_and(|l| Some(l.process) != root);
        let living = || self.all.values().filter(|s| !s.zombie);
        let belongs = |s: &stat::Stat| {
            let numbered = root.is_some_and(|root| s.session == root.pid || s.group == root.pid);
            // With the leader gone its number may have had another life as a stranger's session: ours were adopted by
            // the keeper, or carry the cookie.
            let surely = leader.is_some() || self.is_adopted(s);
            marked.contains(&s.process.pid) || (numbered && !reused && surely)
        };
        let mut found: HashSet<u32> = living().filter(|s| belongs(s)).map(|s| s.process.pid).collect();
        if let Some(root) = root.filter(|_| !reused && leader.is_some()) {
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

/// This process has too many files open to look: an answer would be wrong.
fn is_full(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

fn pids() -> io::Result<Vec<u32>> {
    let names = fs::read_dir("/proc")?.map(|entry| Ok(entry?.file_name()));
    let names = names.collect::<io::Result<Vec<_>>>()?;
    Ok(names.iter().filter_map(|name| name.to_str()?.parse().ok()).collect())
}

/// The session an environment names.
fn cookie(environ: &[u8]) -> Option<SessionId> {
    let value = |variable: &[u8]| variable.strip_prefix(ID_VARIABLE.as_bytes())?.strip_prefix(b"=").map(<[u8]>::to_vec);
    let id = environ.split(|b| *b == 0).find_map(value)?;
    SessionId::try_from(String::from_utf8(id).ok()?).ok()
}
