//! The host: takes over, does what it is told, tells what happens.

use serde_json::{Value, json};
use std::{
    cell::RefCell, collections::BTreeMap, ffi::OsStr, io::Write, os::fd::OwnedFd, process::ExitCode, rc::Rc, sync::Arc,
};
use termalive::{
    keeper::{Held, Link, LinkEvent, SpawnError, SpawnRun, take_over},
    model::{SessionId, Size},
    pty::shim::{ID_VARIABLE, ShimSpec},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{UnixStream, unix::OwnedWriteHalf},
    sync::Mutex,
};

/// A host that can't go on.
pub(crate) fn fail() -> ExitCode {
    let (link, _) = take_over().unwrap();
    link.fatal("the store is broken");
    ExitCode::FAILURE
}

pub(crate) fn main(control: &OsStr) -> ExitCode {
    let (link, handover) = take_over().unwrap();
    let hello = json!({
        "event": "hello",
        "pid": std::process::id(),
        "generation": handover.generation,
        "keeper": handover.keeper_pid,
        "sessions": handover.sessions.iter().map(shown).collect::<Vec<_>>(),
    });
    let masters = handover.sessions.into_iter().map(|h| (h.id, h.master)).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let (read, write) = UnixStream::connect(control).await.unwrap().into_split();
        let host = Rc::new(Host { link, masters: RefCell::new(masters), out: Mutex::new(write), _lock: handover.lock });
        host.tell(hello).await;
        host.link.adopted();
        let events = tokio::task::spawn_local(host.clone().events());
        let mut lines = BufReader::new(read).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            tokio::task::spawn_local(host.clone().obey(serde_json::from_str(&line).unwrap()));
        }
        events.abort();
        host.link.bye().await;
    });
    ExitCode::SUCCESS
}

fn shown(held: &Held) -> Value {
    json!({
        "id": held.id.0[0],
        "run": held.run,
        "pid": held.process.pid,
        "opaque": String::from_utf8_lossy(&held.opaque),
        "ring": rustix::fs::fstat(&held.ring).unwrap().st_size,
        "exit": held.exit,
    })
}

/// A host of another make: says what no keeper understands, and passes the answers on.
pub(crate) fn strange(control: &OsStr) -> ExitCode {
    let keeper = rustix::stdio::stdin();
    let say = |text: &str| rustix::net::send(keeper, text.as_bytes(), rustix::net::SendFlags::empty()).unwrap();
    let hear = || {
        let mut bytes = [0; 4096];
        let (n, _) = rustix::net::recv(keeper, &mut bytes, rustix::net::RecvFlags::empty()).unwrap();
        String::from_utf8_lossy(&bytes[..n]).into_owned()
    };
    let mut out = std::os::unix::net::UnixStream::connect(control).unwrap();
    let mut tell = |what: Value| writeln!(out, "{what}").unwrap();
    tell(json!({"event": "hello"}));
    for text in [r#"{"say":"dance"}"#, "\0", r#"{"say":"hello","protocol":0}"#, r#"{"say":"reexec","program":"/x"}"#] {
        say(text);
        tell(json!({"event": "answer", "text": hear()}));
    }
    say(r#"{"say":"hello","protocol":99,"news":true}"#);
    tell(json!({"event": "answer", "text": hear()}));
    ExitCode::FAILURE
}

struct Host {
    link: Link,
    masters: RefCell<BTreeMap<SessionId, Arc<OwnedFd>>>,
    out: Mutex<OwnedWriteHalf>,
    _lock: OwnedFd,
}

impl Host {
    async fn tell(&self, what: Value) {
        let _ = self.out.lock().await.write_all(format!("{what}\n").as_bytes()).await;
    }

    async fn events(self: Rc<Self>) {
        loop {
            let told = match self.link.next().await {
                LinkEvent::Exited { id, run, status } => {
                    json!({"event": "exited", "id": id.0[0], "run": run, "status": status})
                }
                LinkEvent::ShutdownRequested => json!({"event": "shutdown"}),
                LinkEvent::KeeperReplaced { pid } => json!({"event": "replaced", "keeper": pid}),
                LinkEvent::Dead(why) => json!({"event": "dead", "why": why}),
            };
            self.tell(told).await;
        }
    }

    async fn obey(self: Rc<Self>, order: Value) {
        let id = SessionId([order["id"].as_u64().unwrap_or(0) as u8; 16]);
        let run = order["run"].as_u64().unwrap_or(0) as u32;
        match order["do"].as_str().unwrap() {
            "spawn" => self.spawn(id, run, serde_json::from_value(order["spec"].clone()).unwrap()).await,
            "ready" => self.link.ready(),
            "forget" => self.link.forget(id, run).await,
            "drop" => {
                self.masters.borrow_mut().remove(&id);
                self.link.drop_session(id).await;
            }
            "replace" => self.link.replace().await,
            "reexec" => {
                let done = self.link.reexec(order["program"].as_str().unwrap().into()).await;
                self.tell(json!({"event": "reexeced", "why": done.err()})).await;
            }
            "type" => {
                let master = self.masters.borrow()[&id].clone();
                rustix::io::write(&master, order["text"].as_str().unwrap().as_bytes()).unwrap();
            }
            "read" => {
                let master = self.masters.borrow()[&id].clone();
                let wanted = order["until"].as_str().unwrap().to_owned();
                let text = tokio::task::spawn_blocking(move || read_until(&master, &wanted)).await.unwrap();
                self.tell(json!({"event": "read", "text": text})).await;
            }
            "bye" => {
                self.link.bye().await;
                std::process::exit(0);
            }
            other => panic!("{other}"),
        }
    }

    async fn spawn(&self, id: SessionId, run: u32, mut spec: ShimSpec) {
        spec.env.push((ID_VARIABLE.into(), id.to_string().as_str().into()));
        let ring = rustix::fs::memfd_create("ring", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&ring, 4096).unwrap();
        let (size, opaque, ring) = (Size { cols: 100, rows: 30 }, format!("spec of run {run}").into(), Arc::new(ring));
        let answer = self.link.spawn(SpawnRun { id, run, spec: &spec, size, opaque, ring }).await;
        let told = match answer {
            Ok(spawned) => {
                self.masters.borrow_mut().insert(id, spawned.master);
                json!({"event": "spawned", "id": id.0[0], "run": run, "pid": spawned.process.pid})
            }
            Err(SpawnError::Exec { errno, step }) => json!({"event": "failed", "errno": errno, "step": step}),
            Err(other) => json!({"event": "refused", "why": other.to_string()}),
        };
        self.tell(told).await;
    }
}

/// Reads a PTY in packet mode until the text has come, or the PTY's end.
fn read_until(master: &OwnedFd, wanted: &str) -> String {
    let mut raw = Vec::new();
    let mut bytes = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&raw).replace('\r', "");
        if text.contains(wanted) {
            return text;
        }
        match rustix::io::read(master, &mut bytes) {
            Ok(n) if n > 0 => raw.extend_from_slice(if bytes[0] == 0 { &bytes[1..n] } else { &[] }),
            _ => return text,
        }
    }
}
