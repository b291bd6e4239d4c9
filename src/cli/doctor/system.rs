//! What the kernel has for a host: terminals, file descriptors, memory files, process handles, cgroups, clocks.

use super::Check;
use crate::model::format_duration;
use crate::pty::cgroup::{self, Mount};
use rustix::{
    fs::{Access, MemfdFlags},
    process::{PidfdFlags, Resource},
    pty::OpenptFlags,
    time::ClockId,
};
use std::{fs, io, path::Path, time::Duration};

/// A session's descriptors in the host: its terminal, its ring, a handle of its process, and what a reader of its log takes.
const FDS_EACH: u64 = 8;
/// Of the host itself: sockets, store, threads.
const FDS_OWN: u64 = 256;
/// Fewer sessions than this are worth a warning: people run dozens.
const FEW: u64 = 64;
/// Since this kernel the exit status of a process whose parent has died can be asked for.
const EXIT_INFO: (u32, u32) = (6, 15);

/// `keeper`: the one that runs.
pub(super) fn checks(keeper: Option<u32>) -> Vec<Check> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    vec![
        terminals(
            read("/proc/sys/kernel/pty/nr").as_deref(),
            read("/proc/sys/kernel/pty/max").as_deref(),
            rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).err().map(|why| why.to_string()),
        ),
        descriptors(limit.maximum.or(limit.current)),
        kernel(&rustix::system::uname().release().to_string_lossy(), missing()),
        cgroup_of(keeper),
        clock(
            read("/proc/sys/kernel/random/boot_id").is_some(),
            now(ClockId::Boottime).saturating_sub(now(ClockId::Monotonic)),
        ),
    ]
}

/// Where the sessions of this keeper have their cgroups, or those of one that would be started here.
fn cgroup_of(keeper: Option<u32>) -> Check {
    let process = keeper.map_or("self".to_owned(), |pid| pid.to_string());
    let read = |file: &str| read(&format!("/proc/{process}/{file}"));
    cgroup(read("mountinfo").as_deref(), read("cgroup").as_deref(), &writable)
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn terminals(used: Option<&str>, most: Option<&str>, why_none: Option<String>) -> Check {
    let number = |text: Option<&str>| text.and_then(|text| text.trim().parse::<u64>().ok());
    let help = "mount devpts at /dev/pts, or raise kernel.pty.max (sysctl)";
    if let Some(why) = why_none {
        return Check::fail("terminals", format!("no terminal can be opened: {why}"), help);
    }
    match (number(used), number(most)) {
        (Some(used), Some(most)) if most.saturating_sub(used) < FEW => {
            Check::warn("terminals", format!("{used} of {most} in use"), "raise kernel.pty.max (sysctl)")
        }
        (Some(used), Some(most)) => Check::ok("terminals", format!("{used} of {most} in use")),
        _ => Check::ok("terminals", "one can be opened"),
    }
}

fn descriptors(most: Option<u64>) -> Check {
    let Some(most) = most else { return Check::ok("descriptors", "no limit") };
    let sessions = most.saturating_sub(FDS_OWN) / FDS_EACH;
    let found = format!("{most} files may be open, enough for some {sessions} sessions");
    match sessions < FEW {
        true => Check::warn("descriptors", found, "raise the hard limit (ulimit -Hn, LimitNOFILE of a service)"),
        false => Check::ok("descriptors", found),
    }
}

/// What a host can't do without.
fn missing() -> Vec<&'static str> {
    let mut missing = Vec::new();
    if rustix::fs::memfd_create("doctor", MemfdFlags::CLOEXEC).is_err() {
        missing.push("memfd_create");
    }
    if rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty()).is_err() {
        missing.push("pidfd_open");
    }
    missing
}

fn kernel(release: &str, missing: Vec<&str>) -> Check {
    if !missing.is_empty() {
        let found = format!("{release} lacks {}", missing.join(" and "));
        return Check::fail("kernel", found, "use Linux 5.4 or later, and a sandbox that allows these calls");
    }
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    match version >= EXIT_INFO {
        true => Check::ok("kernel", release),
        false => Check::warn(
            "kernel",
            release,
            "before Linux 6.15 an exit status may be unknown after the keeper was killed; all else works",
        ),
    }
}

/// How process trees are known, and why so: version 2 is used where the keeper may make cgroups below its own.
fn cgroup(mounts: Option<&str>, own: Option<&str>, writable: &dyn Fn(&Path) -> io::Result<()>) -> Check {
    let instead = "processes are known by session, group, parent and a variable in their environment";
    let help = "a systemd unit with Delegate=yes gives one: docs/operations.md";
    let none = |why: &str| Check::warn("cgroup", format!("{why}: {instead}"), help);
    let Some(path) = own.and_then(cgroup::path) else { return none("no version 2 in this kernel") };
    let Some(mount) = mounts.and_then(Mount::find) else { return none("version 2 isn't mounted") };
    let Some(folder) = mount.folder(path) else { return none(&format!("{path} can't be seen here")) };
    match writable(&folder).and_then(|()| writable(&folder.join("cgroup.procs"))) {
        Ok(()) => Check::ok("cgroup", format!("each session has its own in {}", folder.display())),
        Err(why) => none(&format!("none can be made in {} ({why})", folder.display())),
    }
}

fn writable(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::access(path, Access::WRITE_OK)?)
}

fn clock(boot_id: bool, suspended: Duration) -> Check {
    if !boot_id {
        return Check::warn(
            "clock",
            "this boot has no id (/proc/sys/kernel/random/boot_id)",
            "after a reboot a wait for silence may count the time in between",
        );
    }
    match suspended.as_secs() {
        0 => Check::ok("clock", "never suspended since boot"),
        seconds => {
            let long = format_duration(Duration::from_secs(seconds));
            Check::ok("clock", format!("suspended for {long} since boot, which no wait counts"))
        }
    }
}

fn now(clock: ClockId) -> Duration {
    let time = rustix::time::clock_gettime(clock);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, *};

    #[test]
    fn terminals_are_counted() {
        let status = |used, most, why: Option<&str>| terminals(Some(used), Some(most), why.map(str::to_owned)).status;
        assert_eq!(status("5\n", "4096\n", None), Verdict::Ok);
        assert_eq!(status("4090\n", "4096\n", None), Verdict::Warn);
        assert_eq!(status("5\n", "4096\n", Some("no")), Verdict::Fail);
        assert_eq!(terminals(None, None, None).status, Verdict::Ok);
    }

    #[test]
    fn kernels_and_limits_are_judged() {
        for (release, status) in [
            ("6.18.44-cloud", Verdict::Ok),
            ("6.15.0", Verdict::Ok),
            ("6.8.0-45-generic", Verdict::Warn),
            ("x", Verdict::Warn),
        ] {
            assert_eq!(kernel(release, vec![]).status, status, "{release}");
        }
        assert_eq!(kernel("6.18", vec!["pidfd_open"]).status, Verdict::Fail);
        assert_eq!((descriptors(Some(256)).status, descriptors(Some(1 << 20)).status), (Verdict::Warn, Verdict::Ok));
        assert_eq!(clock(true, Duration::from_secs(3600)).found, "suspended for 1h since boot, which no wait counts");
        assert_eq!(clock(false, Duration::ZERO).status, Verdict::Warn);
    }

    #[test]
    fn the_way_trees_are_known_is_said() {
        let mounts = "25 24 0:23 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let may = |_: &Path| Ok(());
        let may_not = |path: &Path| match path.ends_with("cgroup.procs") {
            true => Err(io::ErrorKind::PermissionDenied.into()),
            false => Ok(()),
        };
        let own = Some("1:x:/\n0::/me\n");
        let said = cgroup(Some(mounts), own, &may);
        assert_eq!((said.status, &*said.found), (Verdict::Ok, "each session has its own in /sys/fs/cgroup/me"));
        for (mounts, own, writable, why) in [
            (
                Some(mounts),
                own,
                &may_not as &dyn Fn(&Path) -> _,
                "none can be made in /sys/fs/cgroup/me (permission denied)",
            ),
            (Some(mounts), Some("1:x:/"), &may, "no version 2"),
            (None, own, &may, "version 2 isn't mounted"),
            (Some(mounts), Some("0::/../x"), &may, "/../x can't be seen"),
        ] {
            let said = cgroup(mounts, own, writable);
            assert!(said.status == Verdict::Warn && said.found.starts_with(why), "{said:?}");
        }
    }
}
