//! A keeper of a test's own, the connections of its hosts, and the end of all of it.

use serde_json::{Value, json};
use std::{
    fs::{self, File},
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use termalive::{
    model::{RawString, SessionId},
    pty::shim::{ID_VARIABLE, ShimSpec},
};

/// Anything awaited takes milliseconds; a test that waits longer has failed.
const LIMIT: Duration = Duration::from_secs(30);

pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) keeper: Child,
    listener: UnixListener,
}

impl World {
    /// A keeper whose host runs under `verb`.
    pub(crate) fn start(verb: &str) -> World {
        World::of(&std::env::current_exe().unwrap(), verb)
    }

    /// The same with another file of this program.
    pub(crate) fn of(program: &Path, verb: &str) -> World {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("control")).unwrap();
        listener.set_nonblocking(true).unwrap();
        File::create(folder.path().join("lock")).unwrap();
        let keeper = Command::new(program)
            .arg("keeper")
            .arg(folder.path().join("lock"))
            .arg(verb)
            .arg(folder.path().join("control"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        World { folder, keeper, listener }
    }

    /// A keeper and its first host.
    pub(crate) fn with_host() -> (World, Host) {
        let world = World::start("host");
        let mut host = world.host();
        host.tell(json!({"do": "ready"}));
        (world, host)
    }

    /// The next host that comes.
    pub(crate) fn host(&self) -> Host {
        let stream = by_deadline(|| match self.listener.accept() {
            Ok((stream, _)) => Some(stream),
            Err(e) if e.kind() == ErrorKind::WouldBlock => None,
            Err(e) => panic!("{e}"),
        });
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut host = Host { lines: BufReader::new(stream), hello: Value::Null, kept: Vec::new() };
        host.hello = host.expect("hello");
        host
    }

    /// What the ready pipe said, once it is closed.
    pub(crate) fn ready(&mut self) -> String {
        let mut text = String::new();
        self.keeper.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }

    /// How the keeper ended.
    pub(crate) fn end(&mut self) -> ExitStatus {
        by_deadline(|| self.keeper.try_wait().unwrap())
    }

    /// True while somebody has the lock.
    pub(crate) fn locked(&self) -> bool {
        File::open(self.folder.path().join("lock")).unwrap().try_lock().is_err()
    }
}

/// A connected host.
pub(crate) struct Host {
    lines: BufReader<UnixStream>,
    pub(crate) hello: Value,
    /// Heard while something else was awaited.
    kept: Vec<Value>,
}

impl Host {
    pub(crate) fn tell(&mut self, what: Value) {
        self.lines.get_mut().write_all(format!("{what}\n").as_bytes()).unwrap();
    }

    /// The next event of this name.
    pub(crate) fn expect(&mut self, event: &str) -> Value {
        if let Some(at) = self.kept.iter().position(|v| v["event"] == event) {
            return self.kept.remove(at);
        }
        loop {
            let mut line = String::new();
            let n = self.lines.read_line(&mut line).unwrap_or_else(|e| panic!("no {event}: {e}; {:?}", self.kept));
            assert!(n > 0, "the host is gone; no {event}, but {:?}", self.kept);
            let value: Value = serde_json::from_str(&line).unwrap();
            if value["event"] == event {
                return value;
            }
            self.kept.push(value);
        }
    }

    pub(crate) fn order_spawn(&mut self, id: u8, run: u32, spec: &ShimSpec) {
        self.tell(json!({"do": "spawn", "id": id, "run": run, "spec": spec}));
    }

    /// Starts a run of a script; gives its pid.
    pub(crate) fn spawn(&mut self, id: u8, run: u32, script: &str) -> u32 {
        self.order_spawn(id, run, &sh(script));
        let spawned = self.expect("spawned");
        assert_eq!((&spawned["id"], &spawned["run"]), (&json!(id), &json!(run)));
        number(&spawned["pid"])
    }

    /// How a run ended.
    pub(crate) fn status(&mut self, id: u8, run: u32) -> Value {
        let exited = self.expect("exited");
        assert_eq!((&exited["id"], &exited["run"]), (&json!(id), &json!(run)));
        exited["status"].clone()
    }

    /// Types a line, gives what came up to `until`.
    pub(crate) fn dialogue(&mut self, id: u8, text: &str, until: &str) -> String {
        self.tell(json!({"do": "type", "id": id, "text": text}));
        self.read(id, until)
    }

    pub(crate) fn read(&mut self, id: u8, until: &str) -> String {
        self.tell(json!({"do": "read", "id": id, "until": until}));
        let text = self.expect("read")["text"].as_str().unwrap().to_owned();
        assert!(text.contains(until), "no {until:?} in {text:?}");
        text
    }

    pub(crate) fn pid(&self) -> u32 {
        number(&self.hello["pid"])
    }

    pub(crate) fn kill(&self) {
        signal(self.pid(), libc::SIGKILL);
    }
}

pub(crate) fn number(value: &Value) -> u32 {
    value.as_u64().unwrap().try_into().unwrap()
}

/// A spec that runs a script.
pub(crate) fn sh(script: &str) -> ShimSpec {
    spec(&["sh", "-c", script], "/bin/sh")
}

pub(crate) fn spec(argv: &[&str], program: &str) -> ShimSpec {
    let path: (RawString, RawString) = ("PATH".into(), "/usr/bin:/bin".into());
    let argv = argv.iter().map(|a| RawString::from(*a)).collect();
    ShimSpec { argv, program: program.into(), cwd: "/".into(), env: vec![path], umask: 0o27 }
}

pub(crate) fn signal(pid: u32, signal: i32) {
    let signal = rustix::process::Signal::from_named_raw(signal).unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
}

/// The fields of `/proc/PID/stat` from the state on.
pub(crate) fn stat(pid: u32) -> Option<Vec<String>> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(line.rsplit_once(") ")?.1.split(' ').map(str::to_owned).collect())
}

/// The living processes with a session's cookie.
pub(crate) fn with_cookie(id: u8) -> Vec<u32> {
    let cookie = format!("{ID_VARIABLE}={}", SessionId([id; 16]));
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_str()?.parse().ok());
    let has = |env: Vec<u8>| env.split(|b| *b == 0).any(|v| v == cookie.as_bytes());
    pids.filter(|pid| fs::read(format!("/proc/{pid}/environ")).is_ok_and(has)).collect()
}

/// Until it gives something: for what can't be waited for by a descriptor.
pub(crate) fn by_deadline<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain");
        std::thread::yield_now();
    }
}

/// Kills all children, and those they leave behind, until there are none.
pub(crate) fn kill_descendants() {
    let own = std::process::id().to_string();
    loop {
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let pid = entry.file_name().to_str().and_then(|n| n.parse().ok());
            if let Some(pid) = pid.filter(|p| stat(*p).is_some_and(|s| s[1] == own)) {
                signal(pid, libc::SIGKILL);
            }
        }
        // Each death may give more children: looked for again after it.
        if rustix::process::wait(rustix::process::WaitOptions::empty()).is_err() {
            return;
        }
    }
}
