//! The host under torture: commands against it, its processes, and signals to them. Nothing that isn't its own is ever
//! signalled: a process must name this run's folder on its command line or in its environment.

use crate::{
    Result,
    http::{self, Answer},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// How long anything may take before it counts as hung. 120 s: twice the time for which clients of ours look for a host.
pub(crate) const HANG: Duration = Duration::from_secs(120);
/// Between two looks at something that can't be waited for otherwise.
pub(crate) const LOOK: Duration = Duration::from_millis(2);
/// How long a host may take to say how it is, before it is asked again.
const STATUS_PATIENCE: Duration = Duration::from_secs(2);

/// Set when a promise is broken and nothing is left to wait for.
static GIVEN_UP: AtomicBool = AtomicBool::new(false);

/// Whoever waits for something stops.
pub(crate) fn give_up() {
    GIVEN_UP.store(true, Ordering::Relaxed);
}

/// It hangs, or nobody wants to know any more.
pub(crate) fn is_hung(begun: Instant) -> bool {
    GIVEN_UP.load(Ordering::Relaxed) || begun.elapsed() > HANG
}

/// The one place that waits for a time: the stimulus is a random moment.
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// See the module.
pub(crate) struct Host {
    pub(crate) binary: PathBuf,
    pub(crate) home: PathBuf,
    /// Where the programs in the sessions keep their journals.
    pub(crate) work: PathBuf,
    pub(crate) socket: PathBuf,
    me: PathBuf,
}

/// Who runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Status {
    pub(crate) host: u32,
    pub(crate) keeper: u32,
    pub(crate) generation: u64,
}

impl Host {
    /// With a copy of the program. Nothing is started.
    pub(crate) fn new(binary: PathBuf, folder: &Path) -> Result<Host> {
        let (home, work, own) = (folder.join("home"), folder.join("work"), folder.join("termalive"));
        fs::create_dir_all(&work)?;
        let socket = home.join("termalive.sock");
        copy(&binary, &own)?;
        Ok(Host { binary: own, home, work, socket, me: std::env::current_exe()? })
    }

    /// Another file with the same program takes its place, as an installer does it.
    pub(crate) fn install(&self) -> Result<()> {
        let beside = self.binary.with_extension("new");
        copy(&self.binary, &beside)?;
        Ok(fs::rename(beside, &self.binary)?)
    }

    /// Whether a process is of the file that is at the program's place now.
    pub(crate) fn is_newest(&self, pid: u32) -> bool {
        let file = |path: &Path| fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
        let now = file(&self.binary);
        now.is_some() && now == file(Path::new(&format!("/proc/{pid}/exe")))
    }

    /// A command of ours.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TERMALIVE_") {
                command.env_remove(name);
            }
        }
        command.env("TERMALIVE_HOME", &self.home).current_dir(&self.work).stdin(Stdio::null()).args(words);
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, words: &[&str]) -> Result<Output> {
        Ok(self.command(words).output()?)
    }

    /// The same, where it must succeed: its output.
    pub(crate) fn ok(&self, words: &[&str]) -> Result<String> {
        let output = self.run(words)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("termalive {}: {}: {}", words.join(" "), output.status, said.trim()).into());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The words by which one of our programs is started in a session.
    pub(crate) fn program(&self, manner: &str, name: &str, seed: u64, rest: &[String]) -> Vec<String> {
        let mut words = vec![self.me.to_string_lossy().into_owned(), "program".into(), manner.into()];
        words.extend([self.work.to_string_lossy().into_owned(), name.into(), seed.to_string()]);
        words.extend_from_slice(rest);
        words
    }

    /// `new NAME OPTIONS -- PROGRAM`.
    pub(crate) fn new_session(&self, name: &str, options: &[&str], program: &[String]) -> Result<()> {
        let mut words = vec!["new", name];
        words.extend_from_slice(options);
        words.push("--");
        words.extend(program.iter().map(String::as_str));
        self.ok(&words).map(drop)
    }

    /// Who runs, when the host answers.
    pub(crate) fn status(&self) -> Option<Status> {
        let answer = http::exchange(&self.socket, "GET", "/v1/status", None, None, STATUS_PATIENCE).ok()?;
        let json = answer.json();
        let number = |name: &str| json[name].as_u64();
        Some(Status {
            host: u32::try_from(number("host_pid")?).ok()?,
            keeper: u32::try_from(number("keeper_pid")?).ok()?,
            generation: number("generation")?,
        })
    }

    /// Looks until a status is as wanted.
    pub(crate) fn wait_status(&self, holds: impl Fn(&Status) -> bool) -> Option<Status> {
        wait_for(|| self.status().filter(&holds))
    }

    /// Sends a request until there is an answer, always the same one under the same key.
    pub(crate) fn call(&self, method: &str, path: &str, key: Option<&str>, body: Option<&Value>) -> Option<Answer> {
        let begun = Instant::now();
        while !is_hung(begun) {
            match http::exchange(&self.socket, method, path, key, body, HANG) {
                Ok(answer) if answer.status == 503 || answer.status == 408 => {}
                Ok(answer) => return Some(answer),
                Err(why) if why.kind() == ErrorKind::WouldBlock => return None,
                Err(_) => {}
            }
            pause(Duration::from_millis(10));
        }
        None
    }

    /// The host process as the keeper's child, before it answers anybody.
    pub(crate) fn early_host(&self, keeper: u32) -> Option<u32> {
        let children = fs::read_to_string(format!("/proc/{keeper}/task/{keeper}/children")).ok()?;
        children.split_whitespace().filter_map(|pid| pid.parse().ok()).find(|pid| self.owns(*pid, "__host"))
    }

    /// True when the process is one of this run's and has this word on its command line.
    fn owns(&self, pid: u32, word: &str) -> bool {
        let read = |what: &str| fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
        let (line, environ, home) = (read("cmdline"), read("environ"), self.home.to_string_lossy());
        let has = |bytes: &[u8], word: &str| memchr::memmem::find(bytes, word.as_bytes()).is_some();
        has(&line, word) && (has(&line, &home) || has(&environ, &home))
    }

    /// A signal to keeper or host. False when it is gone.
    pub(crate) fn signal(&self, pid: u32, signal: Signal) -> bool {
        let ours = self.owns(pid, "__host") || self.owns(pid, "__keeper");
        let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return false };
        ours && kill_process(pid, signal).is_ok()
    }

    /// Processes that have this run's folder on their command line or in their environment, but for this one.
    pub(crate) fn processes(&self) -> Vec<(u32, String)> {
        let folder = self.home.to_string_lossy().into_owned();
        let pids =
            fs::read_dir("/proc").into_iter().flatten().filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok());
        pids.filter(|pid: &u32| *pid != std::process::id() && alive(*pid))
            .filter_map(|pid| {
                let read = |what: &str| fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
                let (line, environ) = (read("cmdline"), read("environ"));
                let has = |bytes: &[u8]| memchr::memmem::find(bytes, folder.as_bytes()).is_some();
                (has(&line) || has(&environ)).then(|| (pid, String::from_utf8_lossy(&line).replace('\0', " ")))
            })
            .collect()
    }

    /// What still runs of our programs in a session of this name.
    pub(crate) fn programs_of(&self, name: &str) -> Vec<(u32, String)> {
        let (me, name) = (self.me.to_string_lossy(), format!(" {name} "));
        let all = self.processes().into_iter();
        all.filter(|(_, line)| line.contains(&format!("{me} program ")) && line.contains(&name)).collect()
    }

    /// Ends whatever of this run is left.
    pub(crate) fn end_all(&self) {
        for _ in 0..100 {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            for pid in left.into_iter().filter_map(|(pid, _)| Pid::from_raw(i32::try_from(pid).ok()?)) {
                let _ = kill_process(pid, Signal::KILL); // gone already: what was wanted
            }
            pause(LOOK);
        }
    }
}

/// By another process: what is open here for writing would go along into whatever other threads are just starting, and the
/// kernel executes no file that is open for writing.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp").arg("--").args([from, to]).status()?;
    if status.success() { Ok(()) } else { Err(format!("cp {} {}: {status}", from.display(), to.display()).into()) }
}

/// True while the process runs (a zombie is gone).
pub(crate) fn alive(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

/// Looks until there is something; nothing when it hangs.
pub(crate) fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    while !is_hung(begun) {
        if let Some(found) = look() {
            return Some(found);
        }
        pause(LOOK);
    }
    None
}
