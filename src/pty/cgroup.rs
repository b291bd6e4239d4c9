//! A cgroup (version 2) for each session: its processes are known by it whatever they make of themselves.
//!
//! The child that becomes the program makes it below the cgroup it is born in, the keeper's, and enters it; no controller
//! is enabled, so the rule that processes live in leaves alone doesn't apply. Its name tells whose it is, so it is found again from any process in it,
//! wherever the keeper was, also when keeper and host have died. Where it can't be made, a session runs without: the census
//! knows other signs. It must never stand in the way of a start, and touches no cgroup that isn't a session's.

use crate::model::SessionId;
use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::OnceLock,
};

const PREFIX: &str = "termalive-";
/// An empty cgroup may be tidied away between its making and the entry: it is made again, at most so often.
const ENTRIES: usize = 10;

/// Puts this process into the session's cgroup, which is made below the one it is in.
pub(super) fn enter(id: SessionId) -> io::Result<()> {
    let folder = own()?.join(name(id));
    for _ in 0..ENTRIES {
        match fs::create_dir(&folder) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        match write(&folder.join("cgroup.procs"), "0") {
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => {}
            entered => return entered,
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// A keeper isn't part of the session inside which it was started: it goes to where that session's cgroup is.
pub(crate) fn leave() -> io::Result<()> {
    let cgroup = fs::read_to_string("/proc/self/cgroup")?;
    let Some(outside) = path(&cgroup).and_then(outside) else { return Ok(()) };
    let folder = mount().and_then(|mount| mount.folder(outside)).ok_or(io::ErrorKind::NotFound)?;
    write(&folder.join("cgroup.procs"), "0")
}

/// The folder of the cgroup that this process is in.
fn own() -> io::Result<PathBuf> {
    let cgroup = fs::read_to_string("/proc/self/cgroup")?;
    let folder = path(&cgroup).and_then(|path| mount()?.folder(path));
    folder.ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// The cgroups of one session: where this process would make one, and where its processes were seen.
pub(super) fn folders<'a>(id: SessionId, seen: impl Iterator<Item = &'a str>) -> impl Iterator<Item = PathBuf> {
    let name = name(id);
    let here = own().ok().map(|own| own.join(&name));
    here.into_iter().chain(seen.filter_map(move |path| mount()?.folder(&path[..path.find(&name)? + name.len()])))
}

/// True while a process lives in it, also one that this user can't see.
pub(super) fn is_populated(folder: &Path) -> bool {
    fs::read_to_string(folder.join("cgroup.events")).is_ok_and(|events| events.lines().any(|l| l == "populated 1"))
}

/// SIGKILL for everything in it at one moment: nothing forks away. Kernels before 5.14 don't have it.
pub(super) fn kill(folder: &Path) -> io::Result<()> {
    match write(&folder.join("cgroup.kill"), "1") {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Removes a session's cgroup and what the session made below it. One in which something lives stays.
pub(super) fn remove(folder: &Path) {
    let mut below = vec![folder.to_owned()];
    let mut at = 0;
    while let Some(folder) = below.get(at) {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let folders: Vec<_> = entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect();
        below.extend(folders);
        at += 1;
    }
    for folder in below.iter().rev() {
        if let Err(e) = fs::remove_dir(folder)
            && !matches!(e.raw_os_error(), Some(libc::ENOENT | libc::EBUSY | libc::ENOTEMPTY))
        {
            tracing::warn!(folder = %folder.display(), error = %e, "an empty cgroup can't be removed");
        }
    }
}

/// Removes the cgroup of a session if nothing lives in it. Looks at the disk.
pub fn tidy(id: SessionId) {
    folders(id, std::iter::empty()).for_each(|folder| remove(&folder));
}

/// Removes what earlier lives have left below this process' cgroup: every session's cgroup in which nothing lives.
pub fn sweep() {
    let Ok(entries) = own().and_then(fs::read_dir) else { return }; // nowhere: nothing was left
    let ours = |name: &str| session(name).is_some();
    let empty = |folder: &PathBuf| !is_populated(folder);
    let left = entries.flatten().filter(|e| e.file_name().to_str().is_some_and(ours)).map(|e| e.path());
    left.filter(empty).for_each(|folder| remove(&folder));
}

/// Whose cgroups a process with this `/proc/PID/cgroup` is in, and the path there.
pub(super) fn sessions(cgroup: &str) -> impl Iterator<Item = (SessionId, &str)> {
    let path = path(cgroup);
    let names = path.into_iter().flat_map(|path| path.split('/').map(move |name| (name, path)));
    names.filter_map(|(name, path)| Some((session(name)?, path)))
}

/// Where the outermost session's cgroup on this path is; nothing where there is none.
fn outside(path: &str) -> Option<&str> {
    let mut at = 0;
    path.split('/').find_map(|name| {
        let before = &path[..at];
        at += name.len() + 1;
        session(name).map(|_| before)
    })
}

/// Whose cgroup is called so. A systemd unit may be `termalive-keeper.service`.
fn session(name: &str) -> Option<SessionId> {
    SessionId::try_from(name.strip_prefix(PREFIX)?.to_owned()).ok()
}

/// Whether there is a version 2 at all.
pub(super) fn is_mounted() -> bool {
    mount().is_some()
}

fn name(id: SessionId) -> String {
    format!("{PREFIX}{id}")
}

/// Never makes a file: in a cgroup that was removed meanwhile there is none.
fn write(file: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(file)?.write_all(text.as_bytes())
}

/// Where a cgroup2 is mounted, and which of its folders is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Mount {
    root: String,
    point: PathBuf,
}

fn mount() -> Option<&'static Mount> {
    static MOUNT: OnceLock<Option<Mount>> = OnceLock::new();
    MOUNT.get_or_init(|| Mount::find(&fs::read_to_string("/proc/self/mountinfo").ok()?)).as_ref()
}

impl Mount {
    /// In a mountinfo. Nothing says that it is at /sys/fs/cgroup: where version 1 is used too, it stands beside.
    pub(crate) fn find(mountinfo: &str) -> Option<Mount> {
        mountinfo.lines().find_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let mut fields = before.split(' ').skip(3).map(|field| field.replace("\\040", " "));
            let (root, point) = (fields.next()?, fields.next()?.into());
            after.starts_with("cgroup2 ").then_some(Mount { root, point })
        })
    }

    /// The folder of a cgroup, if it can be seen here.
    pub(crate) fn folder(&self, path: &str) -> Option<PathBuf> {
        let below = path.strip_prefix(self.root.trim_end_matches('/'))?;
        let seen = (below.is_empty() || below.starts_with('/')) && !below.split('/').any(|name| name == "..");
        seen.then(|| self.point.join(below.trim_start_matches('/')))
    }
}

/// Version 2's line in a `/proc/PID/cgroup`.
pub(crate) fn path(cgroup: &str) -> Option<&str> {
    cgroup.lines().find_map(|line| line.strip_prefix("0::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_is_found_where_it_is_mounted() {
        let hybrid = "24 30 0:22 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n\
                      25 24 0:23 / /sys/fs/cgroup/uni\\040fied rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";
        let container = "9 1 0:23 /docker/x /sys/fs/cgroup ro,nosuid master:4 - cgroup2 cgroup rw\n";
        for (mounts, cgroup, folder) in [
            (hybrid, "3:cpu:/a\n0::/user.slice/me\n", Some("/sys/fs/cgroup/uni fied/user.slice/me")),
            (hybrid, "0::/", Some("/sys/fs/cgroup/uni fied/")),
            (hybrid, "0::/../elsewhere", None),
            (hybrid, "3:cpu:/a\n", None),
            (container, "0::/docker/x/y", Some("/sys/fs/cgroup/y")),
            (container, "0::/docker/x", Some("/sys/fs/cgroup/")),
            (container, "0::/docker/xy", None),
            ("24 30 0:22 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n", "0::/", None),
        ] {
            let found = Mount::find(mounts).and_then(|mount| mount.folder(path(cgroup)?));
            assert_eq!(found.as_deref(), folder.map(Path::new), "{cgroup:?} in {mounts:?}");
        }
    }

    #[test]
    fn a_path_says_whose_it_is() {
        let (a, b) = (SessionId([0xaa; 16]), SessionId([0xbb; 16]));
        let of = |path: &str| sessions(&format!("7:pids:/x\n0::{path}\n")).map(|(id, _)| id).collect::<Vec<_>>();
        let unit = "/user.slice/termalive-keeper.service";
        for (path, ids, without) in [
            (format!("{unit}/{}", name(a)), vec![a], Some("/user.slice/termalive-keeper.service/")),
            (format!("/{}/made/by/it", name(a)), vec![a], Some("/")),
            (format!("/x/{}/{}", name(a), name(b)), vec![a, b], Some("/x/")),
            (format!("/{} (deleted)", name(a)), vec![], None),
            (unit.to_owned(), vec![], None),
            ("/".to_owned(), vec![], None),
        ] {
            assert_eq!((of(&path), outside(&path)), (ids, without), "{path}");
        }
    }

    #[test]
    fn what_is_not_there_is_no_trouble() {
        let folder = Path::new("/nonexistent/cgroup");
        assert!(!is_populated(folder));
        kill(folder).unwrap();
        remove(folder);
    }
}
