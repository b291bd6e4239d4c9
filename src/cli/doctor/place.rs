//! A host's folders, its socket, and the host itself.

use super::{Check, sentence};
use crate::cli::Failure;
use crate::client::{Client, Presence};
use crate::config::{Paths, SOCKET_PATH_MAX};
use crate::wire::{API, HostStatus, Version};
use rustix::fs::{Access, access, statfs, statvfs};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    time::Duration,
};

/// How long a host may take to answer. 5 s: it answers in a few ms, unless it can't.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn folders(paths: &Paths, min_free: u64) -> Vec<Check> {
    let socket = paths.socket.parent().unwrap_or(Path::new("/"));
    vec![folder("state", &paths.state), space(&paths.state, min_free), folder("runtime", socket), length(&paths.socket)]
}

/// A folder, or the place where it will be made.
fn folder(check: &'static str, path: &Path) -> Check {
    let shown = path.display();
    let Ok(meta) = fs::metadata(path) else {
        let parent = existing(path);
        return match access(parent, Access::WRITE_OK | Access::EXEC_OK) {
            Ok(()) => Check::ok(check, format!("{shown} will be made by the first command")),
            Err(why) => Check::fail(
                check,
                format!("{shown} can't be made in {}: {why}", parent.display()),
                "set TERMALIVE_HOME to a folder of your own",
            ),
        };
    };
    let (uid, mode) = (rustix::process::getuid().as_raw(), meta.permissions().mode() & 0o777);
    let other = "give termalive a folder of its own: TERMALIVE_STATE_DIR, TERMALIVE_RUNTIME_DIR";
    if !meta.is_dir() {
        return Check::fail(check, format!("{shown} is no folder"), other);
    }
    if meta.uid() != uid {
        return Check::fail(check, format!("{shown} belongs to user {}, not to {uid}", meta.uid()), other);
    }
    if let Err(why) = access(path, Access::WRITE_OK | Access::EXEC_OK) {
        return Check::fail(check, format!("{shown} can't be written: {why}"), other);
    }
    match mode & 0o077 {
        0 => Check::ok(check, format!("{shown}, mode {mode:03o}")),
        _ if mode & 0o022 != 0 => {
            Check::fail(check, format!("others can write to {shown} (mode {mode:03o})"), format!("chmod 700 {shown}"))
        }
        _ => Check::warn(check, format!("others can read {shown} (mode {mode:03o})"), format!("chmod 700 {shown}")),
    }
}

/// The nearest folder that is there.
fn existing(path: &Path) -> &Path {
    path.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"))
}

fn space(state: &Path, min_free: u64) -> Check {
    let there = existing(state);
    let kind = statfs(there).map(|stat| kind(stat.f_type as u64)).unwrap_or(Kind::Local);
    let free = statvfs(there).map_or(u64::MAX, |stat| stat.f_bavail.saturating_mul(stat.f_frsize));
    room(kind, free, min_free)
}

/// What a file system is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Local,
    Network(&'static str),
    Memory,
}

fn kind(magic: u64) -> Kind {
    match magic & 0xffff_ffff {
        0x6969 => Kind::Network("NFS"),
        0xff53_4d42 | 0xfe53_4d42 | 0x517b => Kind::Network("SMB"),
        0x6573_5546 => Kind::Network("FUSE"),
        0x0102_1997 => Kind::Network("9p"),
        0x0102_1994 | 0x8584_58f6 => Kind::Memory,
        _ => Kind::Local,
    }
}

fn room(kind: Kind, free: u64, min_free: u64) -> Check {
    const MIB: u64 = 1 << 20;
    let found = format!("{} MiB free", free / MIB);
    if free < min_free {
        let help = "make room: nothing is stored below store.min_free, and sessions stand still";
        return Check::fail("disk", format!("{found}, less than {} MiB", min_free / MIB), help);
    }
    match kind {
        Kind::Local => Check::ok("disk", found),
        Kind::Network(name) => Check::warn(
            "disk",
            format!("{found}, on {name}"),
            "locks and fsync may not hold there: set TERMALIVE_STATE_DIR to a local disk",
        ),
        Kind::Memory => Check::warn(
            "disk",
            format!("{found}, in memory"),
            "logs are lost when the machine ends: set TERMALIVE_STATE_DIR to a disk",
        ),
    }
}

fn length(socket: &Path) -> Check {
    let found = format!("{}, {} of {SOCKET_PATH_MAX} bytes", socket.display(), socket.as_os_str().len());
    Check::ok("socket", found) // a longer one is refused, or made shorter, before this
}

/// Whether it answers, and is of this version.
pub(super) async fn host(client: &Client) -> Check {
    let presence = client.host.presence(false);
    if matches!(presence, Ok(Presence::Absent(_))) {
        return Check::ok("host", "none runs; the first command that needs one starts it");
    }
    match tokio::time::timeout(PATIENCE, client.get::<Version>("/v1/version")).await {
        Ok(Ok(version)) => answered(&version),
        Ok(Err(why)) => Check::fail("host", sentence(why), HELP),
        Err(_) => Check::fail("host", format!("it lives and hasn't answered for {} s", PATIENCE.as_secs()), HELP),
    }
}

/// The pid of the keeper, where one runs: sessions are what it is.
pub(super) async fn keeper(client: &Client) -> Option<u32> {
    if matches!(client.host.presence(false), Ok(Presence::Absent(_))) {
        return None;
    }
    let asked = tokio::time::timeout(PATIENCE, client.get::<HostStatus>("/v1/status")).await;
    Some(asked.ok()?.ok()?.keeper_pid) // of one that doesn't answer, the check of the host speaks
}

const HELP: &str =
    "STATE/host.log says what it does; TERMALIVE_STATE_DIR and TERMALIVE_RUNTIME_DIR must be as it was started";

fn answered(version: &Version) -> Check {
    let own = env!("CARGO_PKG_VERSION");
    let found = format!("runs version {} (api {})", version.version, version.api);
    match version.api == API && version.version == own {
        true => Check::ok("host", found),
        false => Check::warn(
            "host",
            format!("{found}, this command is {own} (api {API})"),
            "verbs that only one of them knows are refused; termalive stop, then any command, starts the new one",
        ),
    }
}

/// It can't even be asked for.
pub(super) fn unreachable(why: &Failure) -> Check {
    match why {
        Failure::Error(error) => Check::fail("host", error.message.clone(), error.hint.clone().unwrap_or_default()),
        _ => Check::fail("host", "it can't be asked", HELP),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, *};

    #[test]
    fn disks_are_judged() {
        for (kind, free, status) in [
            (Kind::Local, 1 << 30, Verdict::Ok),
            (Kind::Local, 1 << 20, Verdict::Fail),
            (kind(0x6969), 1 << 30, Verdict::Warn),
            (kind(0x0102_1994), 1 << 30, Verdict::Warn),
            (kind(0xef53), 1 << 30, Verdict::Ok),
        ] {
            assert_eq!(room(kind, free, 256 << 20).status, status, "{kind:?}");
        }
    }

    #[test]
    fn folders_are_judged() {
        let temp = tempfile::tempdir().unwrap();
        let with = |mode: u32| {
            fs::set_permissions(temp.path(), fs::Permissions::from_mode(mode)).unwrap();
            folder("state", temp.path()).status
        };
        assert_eq!([0o700, 0o755, 0o777].map(with), [Verdict::Ok, Verdict::Warn, Verdict::Fail]);
        with(0o700);
        assert_eq!(folder("state", &temp.path().join("a/b")).status, Verdict::Ok);
        fs::write(temp.path().join("file"), "").unwrap();
        assert_eq!(folder("state", &temp.path().join("file")).status, Verdict::Fail);
    }

    #[test]
    fn another_version_is_said() {
        let says = |version: &str, api| answered(&Version { version: version.into(), api }).status;
        assert_eq!(says(env!("CARGO_PKG_VERSION"), API), Verdict::Ok);
        assert_eq!((says("0.0.1", API), says(env!("CARGO_PKG_VERSION"), 2)), (Verdict::Warn, Verdict::Warn));
    }
}
