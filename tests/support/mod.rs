//! A private host for black-box tests: the built binary, a folder of its own, and nothing left behind.
//!
//! Every command has a bound; what a test started is ended when its [`Host`] goes, also on a panic. Data comes from the
//! binary's output and from /proc, and goes to assertions. It never calls the library.

#![allow(dead_code, unused_imports, reason = "each test file uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a failed expectation is a failed test"
)]
#![allow(unreachable_pub, missing_docs, reason = "test code")]

mod command;
mod process;
mod skip;
mod stream;
mod terminal;

pub use command::{BOUND, Cmd, Out, Running};
pub use process::{
    alive, is_stopped, kill_hard, memory_kib, peak_memory_kib, processes_with, processor_time, send_signal,
};
pub use skip::skipped;
pub use stream::{Follower, Pattern};
pub use terminal::Terminal;

use serde_json::Value;
use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    time::Duration,
    time::Instant,
};
use tempfile::TempDir;

/// Between two looks at something that can't be waited for otherwise.
const POLL: Duration = Duration::from_millis(20);

/// The binary under test: `TERMALIVE_BIN`, else the one that cargo built for this test.
pub fn binary() -> PathBuf {
    std::env::var_os("TERMALIVE_BIN").map_or_else(|| env!("CARGO_BIN_EXE_termalive").into(), PathBuf::from)
}

/// A file of the project.
pub fn project_file(path: &str) -> String {
    format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))
}

/// A number from the environment, for tests that come in sizes.
pub fn env_number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}: a number")))
}

/// Looks until there is something, and panics with `what` when there is nothing in [`BOUND`].
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + BOUND;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "gave up waiting for: {what}");
        std::thread::park_timeout(POLL);
    }
}

/// A host of one test. It is started by [`Host::start`], or by the first command after [`Host::cold`].
pub struct Host {
    home: TempDir,
    envs: Vec<(String, String)>,
}

impl Host {
    /// Nothing runs yet.
    pub fn cold() -> Host {
        let home = tempfile::Builder::new().prefix("ta").tempdir().unwrap();
        Host { home, envs: Vec::new() }
    }

    /// A running host.
    pub fn start() -> Host {
        let host = Host::cold();
        host.ok(["start", "-d"]);
        host
    }

    /// A variable for every command from now on.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.envs.push((name.into(), value.into()));
    }

    /// `TERMALIVE_HOME`; tests keep their own files in [`Host::scratch`].
    pub fn home(&self) -> PathBuf {
        self.home.path().join("home")
    }

    /// A folder of the test's own; the commands' working directory.
    pub fn scratch(&self) -> PathBuf {
        let dir = self.home.path().join("scratch");
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    /// A file in [`Host::scratch`].
    pub fn path(&self, name: &str) -> String {
        self.scratch().join(name).to_str().unwrap().to_owned()
    }

    /// A command against this host, to be changed, run or spawned.
    pub fn cmd<I>(&self, args: I) -> Cmd
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        self.envs.iter().fold(self.plain(&binary()), |cmd, (name, value)| cmd.env(name, value)).args(args)
    }

    /// Another program, in the environment of this host's commands.
    pub fn program(&self, words: &[&str]) -> Cmd {
        self.plain(Path::new(words[0])).args(&words[1..]).bound(Duration::from_secs(100))
    }

    fn plain(&self, program: &Path) -> Cmd {
        Cmd::new(program, &self.home(), &self.scratch())
    }

    /// Runs a command to its end.
    pub fn run<I>(&self, args: I) -> Out
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        self.cmd(args).run()
    }

    /// Runs a command that must succeed; its stdout.
    pub fn ok<I>(&self, args: I) -> String
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        self.run(args).expect_code(0).text()
    }

    /// Runs a command that must succeed and print one JSON value.
    pub fn json<I>(&self, args: I) -> Value
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        let text = self.ok(args);
        serde_json::from_str(&text).unwrap_or_else(|why| panic!("not one JSON value ({why}): {text}"))
    }

    /// A new session that runs `sh -c SCRIPT`.
    pub fn sh(&self, name: &str, script: &str) {
        self.ok(["new", name, "--", "sh", "-c", script]);
    }

    /// The session as `list --all --json` shows it.
    pub fn session(&self, name: &str) -> Option<Value> {
        let all = self.json(["list", "--all", "--json"]);
        all.as_array().expect("an array").iter().find(|session| session["name"] == name).cloned()
    }

    /// Waits until a session stands as asked.
    pub fn wait_session(&self, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        wait_for(&format!("session {name}: {what}"), || self.session(name).filter(|session| holds(session)))
    }

    /// Waits until a session is in a state.
    pub fn wait_state(&self, name: &str, state: &str) -> Value {
        self.wait_session(name, state, |session| session["state"] == state)
    }

    /// Waits until what a person reads of a session matches, from the start of its log.
    pub fn wait_text(&self, name: &str, regex: &str) -> String {
        self.ok(["logs", name, "--since", "start", "--until", regex, "--timeout", "50s"])
    }

    /// Waits until the log, over all runs, has a row that is this. (A wait would end with the run it began in.)
    pub fn wait_row(&self, name: &str, row: &str) {
        wait_for(&format!("a row {row:?} of {name}"), || {
            self.ok(["logs", name]).lines().any(|line| line == row).then_some(())
        });
    }

    /// `status --json`, without starting a host.
    pub fn status(&self) -> Option<Value> {
        let out = self.cmd(["status", "--json"]).env("TERMALIVE_NO_AUTOSTART", "1").run();
        (out.code == 0).then(|| serde_json::from_str(&out.text()).expect("status prints JSON"))
    }

    /// The pid of the host process.
    pub fn host_pid(&self) -> u32 {
        self.pid("host_pid")
    }

    /// The pid of the keeper.
    pub fn keeper_pid(&self) -> u32 {
        self.pid("keeper_pid")
    }

    /// The host's generation, which rises with each host process.
    pub fn generation(&self) -> u64 {
        wait_for("a status", || self.status())["generation"].as_u64().expect("a generation")
    }

    fn pid(&self, field: &str) -> u32 {
        let status = wait_for("a status", || self.status());
        u32::try_from(status[field].as_u64().expect("a pid")).unwrap()
    }

    /// kill -9 of the host process; returns when it is gone. The keeper starts the next one.
    pub fn kill_host(&self) {
        process::kill_hard(self.host_pid());
    }

    /// kill -9 of the keeper; returns when it is gone.
    pub fn kill_keeper(&self) {
        process::kill_hard(self.keeper_pid());
    }

    /// Waits until a host of a later generation answers.
    pub fn wait_next_generation(&self, earlier: u64) -> Value {
        wait_for("the next host process", || self.status().filter(|s| s["generation"].as_u64() > Some(earlier)))
    }

    /// The folder named by `status --json`.
    pub fn state_dir(&self) -> PathBuf {
        wait_for("a status", || self.status())["state_dir"].as_str().expect("a folder").into()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let stop = self.cmd(["stop", "-y"]).env("TERMALIVE_NO_AUTOSTART", "1").bound(Duration::from_secs(20)).try_run();
        if stop.is_none() {
            eprintln!("stop -y took longer than 20 s: what is left gets SIGKILL");
        }
        process::kill_all_with(self.home.path());
    }
}
