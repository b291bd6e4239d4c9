//! One command of the binary: its environment, its bound, what it printed.

use super::process;
use serde_json::Value;
use std::{
    ffi::OsStr,
    io::{Read, Write},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread::JoinHandle,
    time::Duration,
};

/// No command of a test takes longer. 60 s: far above what a slow CI machine needs.
pub const BOUND: Duration = Duration::from_secs(60);

const KEPT: [&str; 4] = ["PATH", "LD_LIBRARY_PATH", "TMPDIR", "USER"];

/// A command to be run or spawned.
pub struct Cmd {
    command: Command,
    stdin: Option<Vec<u8>>,
    bound: Duration,
}

/// How a command ended.
#[derive(Debug)]
pub struct Out {
    /// The exit code; 128 + n for a signal n.
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
    shown: String,
}

/// A command that runs beside the test.
pub struct Running {
    child: Child,
    stdout: Collector,
    stderr: Collector,
    bound: Duration,
    shown: String,
}

impl Cmd {
    pub(super) fn new(binary: &Path, home: &Path, cwd: &Path) -> Cmd {
        let mut command = Command::new(binary);
        command.env_clear();
        command.envs(KEPT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.env("TERMALIVE_HOME", home).env("HOME", cwd).env("SHELL", "/bin/sh").env("LANG", "C.UTF-8");
        command.current_dir(cwd).stdin(Stdio::null());
        Cmd { command, stdin: None, bound: BOUND }
    }

    /// More arguments.
    pub fn args<I>(mut self, args: I) -> Cmd
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        self.command.args(args);
        self
    }

    /// A variable of this command.
    pub fn env(mut self, name: &str, value: &str) -> Cmd {
        self.command.env(name, value);
        self
    }

    /// Without a variable.
    pub fn env_remove(mut self, name: &str) -> Cmd {
        self.command.env_remove(name);
        self
    }

    /// Its working directory.
    pub fn cwd(mut self, dir: &str) -> Cmd {
        self.command.current_dir(dir);
        self
    }

    /// What it reads; without it /dev/null.
    pub fn stdin(mut self, text: impl Into<Vec<u8>>) -> Cmd {
        self.stdin = Some(text.into());
        self
    }

    /// Longer or shorter than [`BOUND`].
    pub fn bound(mut self, bound: Duration) -> Cmd {
        self.bound = bound;
        self
    }

    /// Runs it to its end; panics when that takes longer than its bound.
    pub fn run(self) -> Out {
        self.spawn().wait()
    }

    /// Runs it to its end; nothing (and it is killed) when that takes longer than its bound.
    pub fn try_run(self) -> Option<Out> {
        self.spawn().try_wait()
    }

    /// Starts it with stdout and stderr collected.
    pub fn spawn(mut self) -> Running {
        let shown = shown(&self.command);
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if self.stdin.is_some() {
            self.command.stdin(Stdio::piped());
        }
        let mut child = self.command.spawn().unwrap_or_else(|why| panic!("{shown}: {why}"));
        if let (Some(text), Some(mut pipe)) = (self.stdin, child.stdin.take()) {
            std::thread::spawn(move || drop(pipe.write_all(&text))); // it may well not read all of it
        }
        let stdout = Collector::start(child.stdout.take().expect("piped"));
        let stderr = Collector::start(child.stderr.take().expect("piped"));
        Running { child, stdout, stderr, bound: self.bound, shown }
    }

    /// Starts it with these as its standard input, output and error.
    pub fn spawn_in(mut self, stdin: Stdio, stdout: Stdio, stderr: Stdio) -> Child {
        self.command.stdin(stdin).stdout(stdout).stderr(stderr).spawn().expect("starts")
    }

    /// Starts it with stdout as a pipe for the test to read, or to close.
    pub fn spawn_piped(mut self) -> Child {
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts")
    }
}

fn shown(command: &Command) -> String {
    let words = command.get_args().map(|word| word.to_string_lossy().chars().take(200).collect::<String>());
    format!("termalive {}", words.collect::<Vec<_>>().join(" "))
}

impl Out {
    /// stdout as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Panics, with all that was printed, when the code is another one.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Out {
        let stdout: String = self.text().chars().take(2000).collect();
        assert_eq!(self.code, code, "{}\n--- stdout\n{stdout}\n--- stderr\n{}", self.shown, self.stderr);
        self
    }

    /// Panics unless stderr is one line that holds each of the words.
    #[track_caller]
    pub fn expect_error(self, code: i32, words: &[&str]) -> Out {
        let out = self.expect_code(code);
        assert_eq!(out.stderr.trim_end().lines().count(), 1, "{}: one line on stderr: {}", out.shown, out.stderr);
        for word in words {
            let said = out.stderr.to_lowercase().contains(&word.to_lowercase());
            assert!(said, "{}: stderr should name {word:?}: {}", out.shown, out.stderr);
        }
        out
    }

    /// The lines of stdout as JSON.
    pub fn json_lines(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"));
        self.text().lines().map(parse).collect()
    }

    /// The last line of `logs --json`.
    #[track_caller]
    pub fn end_line(&self) -> Value {
        let lines = self.json_lines();
        let last = lines.last().unwrap_or_else(|| panic!("{}: nothing on stdout; {}", self.shown, self.stderr));
        assert_eq!(last["event"], "end", "{}: the last line is `end`", self.shown);
        last.clone()
    }
}

impl Running {
    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    pub fn stdout_so_far(&self) -> Vec<u8> {
        self.stdout.bytes.lock().unwrap().clone()
    }

    /// Waits until it has printed `text`.
    pub fn wait_for_output(&self, text: &str) {
        super::wait_for(&format!("{}: to print {text:?}", self.shown), || {
            String::from_utf8_lossy(&self.stdout_so_far()).contains(text).then_some(())
        });
    }

    /// True while it runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        process::send_signal(self.pid(), signal);
    }

    /// Waits for its end; panics when that takes longer than its bound.
    pub fn wait(self) -> Out {
        let (shown, bound) = (self.shown.clone(), self.bound);
        self.try_wait().unwrap_or_else(|| panic!("{shown}: took longer than {bound:?}"))
    }

    /// Waits for its end; kills it when that takes longer than its bound.
    pub fn try_wait(mut self) -> Option<Out> {
        let status = self.bounded_wait()?;
        let stdout = self.stdout.finish(&self.shown);
        let stderr = String::from_utf8_lossy(&self.stderr.finish(&self.shown)).into_owned();
        Some(Out { code: code_of(status), stdout, stderr, shown: std::mem::take(&mut self.shown) })
    }

    fn bounded_wait(&mut self) -> Option<ExitStatus> {
        // The end of stderr comes with the end of the process, so that waiting for it needs no polling.
        if self.stderr.ended.recv_timeout(self.bound) == Err(mpsc::RecvTimeoutError::Timeout) {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "{}: ended, but something it started keeps its stderr open", self.shown);
            self.child.kill().unwrap();
            self.child.wait().unwrap();
            return None;
        }
        Some(self.child.wait().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill()); // gone already in most cases
        drop(self.child.wait());
    }
}

fn code_of(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().expect("a code or a signal"))
}

/// Reads a pipe to its end, on a thread.
struct Collector {
    bytes: Arc<Mutex<Vec<u8>>>,
    ended: mpsc::Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl Collector {
    fn start(mut pipe: impl Read + Send + 'static) -> Collector {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let (tell, ended) = mpsc::channel();
        let into = bytes.clone();
        let thread = std::thread::spawn(move || {
            let mut part = vec![0; 64 * 1024];
            while let Ok(n @ 1..) = pipe.read(&mut part) {
                into.lock().unwrap().extend_from_slice(&part[..n]);
            }
            drop(tell);
        });
        Collector { bytes, ended, thread: Some(thread) }
    }

    fn finish(&mut self, shown: &str) -> Vec<u8> {
        let late = self.ended.recv_timeout(Duration::from_secs(10)) == Err(mpsc::RecvTimeoutError::Timeout);
        assert!(!late, "{shown}: ended, but something it started keeps its stdout open");
        self.thread.take().expect("finished once").join().unwrap();
        std::mem::take(&mut self.bytes.lock().unwrap())
    }
}
