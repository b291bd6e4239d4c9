//! The host process: takes over from the keeper, opens the store, brings the sessions back, serves, ends in order.
//!
//! In this order: terminals are read into their rings (`session::Interim`), `meta` and the store are opened, each session's log
//! is folded to its end, actors take ring and terminal over one by one, the socket is served. So a program waits for the
//! first step only, whatever the size of the store; what is acknowledged comes after the last.

use super::{App, Facts, auth, gate, health::Health, hostlog::HostLog, metrics::Requests, routes, search, tcp};
use super::{preflight::Origin, reload::Reloads};
use crate::config::{Config, LogFormat, Paths};
use crate::failpoint::reached;
use crate::keeper::{Handover, Link, give_free_memory_back, give_memory_back, take_over};
use crate::log::{EventLog, Limits, Meta, Options, SegmentStore, StoreDown, Sweeper, Writer, WriterOptions};
use crate::model::SessionId;
use crate::pty::cgroup;
use crate::session::screen::Screens;
use crate::session::{Birth, Changes, Found, Interim, Services, Tuning};
use crate::supervisor::{Fleet, Shutdown, StopAll, Supervisor, Why, boot, load_fleets};
use actix::{Actor, Addr, Arbiter, AsyncContext, Context};
use actix_web::{App as WebApp, HttpServer, web};
use std::collections::HashSet;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

/// Threads that carry sessions: more than cores brings nothing, more than four nothing measurable.
const MAX_ARBITERS: usize = 4;
/// Connections at once, all clients together. Each costs some 20 KiB.
const MAX_CONNECTIONS: usize = 4096;
/// Signs of life to the keeper. Five times more often than it looks for them.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);
/// A store that failed: the keeper starts the next host.
const EXIT_STORE: i32 = 70;

/// Runs the host under a keeper, until it is asked to end (true) or can't go on (false; the log and the keeper know why).
pub fn host_main(paths: &Paths, config: Config, origin: Option<Origin>) -> bool {
    give_memory_back();
    start_tracing(&config, paths);
    let (link, handover) = match take_over() {
        Ok(taken) => taken,
        Err(e) => {
            tracing::error!(error = %e, "no host without a keeper");
            return false;
        }
    };
    match serve(paths, config, link.clone(), handover, origin) {
        Ok(()) => true,
        Err(e) => {
            tracing::error!("{e}");
            link.fatal(&e);
            false
        }
    }
}

fn start_tracing(config: &Config, paths: &Paths) {
    // the web server's own words at `info` say nothing about sessions; who wants them names its module
    let words = match config.host.log.contains("actix_server") || config.host.log == "off" {
        true => config.host.log.clone(),
        false => format!("actix_server=warn,{}", config.host.log),
    };
    let filter = tracing_subscriber::EnvFilter::try_new(words).unwrap_or_default();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
    let lines = lines.with_writer(HostLog::new(&paths.host_log(), config.host.log_bytes));
    match config.host.log_format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().init(),
    }
}

struct Opened {
    store: Arc<SegmentStore>,
    meta: Arc<Meta>,
    births: Vec<Birth>,
    orphans: Vec<SessionId>,
    fleets: Vec<Fleet>,
}

/// How the configuration wants the store to be kept.
pub fn store_options(config: &Config) -> Options {
    let log = &config.log;
    let limits = Limits { bytes: log.keep_bytes, session_bytes: log.keep_session_bytes, age: log.keep_age };
    Options {
        segment_bytes: config.store.segment_bytes,
        segment_age: config.store.segment_age,
        min_free: config.store.min_free,
        limits,
        ..Options::default()
    }
}

fn open(paths: &Paths, config: &Config, found: Vec<Found>, kept: bool) -> Result<Opened, StoreDown> {
    cgroup::sweep();
    // sessions that live wait for us; their last host wrote a moment ago
    let options = Options { fresh_segment: found.is_empty(), ..store_options(config) };
    let began = Instant::now();
    let meta = Arc::new(Meta::open(&paths.state, &options)?);
    tracing::debug!(took = ?began.elapsed(), "meta is open");
    reached("meta open");
    let store = Arc::new(SegmentStore::open(&paths.state, options)?);
    tracing::debug!(took = ?began.elapsed(), "the store is open");
    reached("store open");
    let (births, orphans) = boot(&*store, &meta, found, store.is_tail_unknown(), kept)?;
    let fleets = load_fleets(&meta)?;
    tracing::debug!(took = ?began.elapsed(), "the sessions are known");
    store.tail_is_named()?;
    say_unknown(&store, &meta)?;
    Ok(Opened { store, meta, births, orphans, fleets })
}

/// Records of sessions that `meta` doesn't know: it was damaged, and its copy too.
fn say_unknown(store: &SegmentStore, meta: &Meta) -> Result<(), StoreDown> {
    let known: HashSet<SessionId> = meta.sessions()?.iter().map(|session| session.id).collect();
    let unknown: Vec<SessionId> = store.sessions().difference(&known).copied().collect();
    if !unknown.is_empty() {
        let ids: Vec<String> = unknown.iter().map(ToString::to_string).collect();
        tracing::error!(
            "the log has {} sessions that nothing is known of any more but their records: {}",
            ids.len(),
            ids.join(" ")
        );
    }
    Ok(())
}

fn serve(paths: &Paths, config: Config, link: Link, handover: Handover, origin: Option<Origin>) -> Result<(), String> {
    let began = Instant::now();
    let Handover { generation, keeper_pid, lock, sessions, away, reverted } = handover;
    let held = sessions.len();
    reached("handed over");
    let (interim, found) = Interim::start(sessions).map_err(|e| format!("the terminals can't be taken over: {e}"))?;
    reached("terminals taken");
    link.adopted();
    tracing::debug!(generation, held, took = ?began.elapsed(), "the terminals are read");
    let opened = open(paths, &config, found, generation > 1).map_err(|e| e.to_string())?;
    reached("sessions known");
    let adopted: HashSet<SessionId> = opened.births.iter().filter(|b| b.adopted.is_some()).map(|b| b.meta.id).collect();
    interim.keep_only(|id| adopted.contains(&id));
    let listener =
        bind(&paths.socket).map_err(|e| format!("the socket {} can't be made: {e}", paths.socket.display()))?;
    let tcp = tcp::bind(paths, &config.http, generation == 1)?;
    let facts = Facts {
        generation,
        away: away.map(|away| away + began.elapsed()),
        reverted,
        keeper_pid: Arc::new(AtomicU32::new(keeper_pid)),
        since: began,
        state_dir: paths.state.display().to_string(),
        socket: paths.socket.display().to_string(),
        tcp: tcp::Serving::default(),
    };
    let host = Host {
        config: Arc::new(config),
        link: link.clone(),
        facts: Arc::new(facts),
        uri: paths.uri().into(),
        reloads: Arc::new(Reloads::new(link.clone(), origin)),
    };
    let result = actix::System::new().block_on(async move {
        tracing::info!(generation, held, sessions = opened.births.len(), took = ?began.elapsed(), "the host is up");
        host.run(opened, listener, tcp).await
    });
    if let Err(e) = std::fs::remove_file(&paths.socket) {
        tracing::debug!(error = %e, "the socket was gone already");
    }
    drop(lock);
    result
}

struct Host {
    config: Arc<Config>,
    link: Link,
    facts: Arc<Facts>,
    uri: Arc<str>,
    reloads: Arc<Reloads>,
}

impl Host {
    async fn run(self, opened: Opened, listener: UnixListener, tcp: Option<tcp::Bound>) -> Result<(), String> {
        let Opened { store, meta, births, orphans, fleets } = opened;
        for orphan in orphans {
            self.link.drop_session(orphan).await;
        }
        let writer = self.start_writer(store.clone(), meta.clone())?;
        let closing = store.clone();
        let sweeper = Sweeper::start(store.clone(), meta.clone())
            .map_err(|e| format!("the thread for retention can't be started: {e}"))?;
        let shutdown = Arc::new(Shutdown::default());
        let changes = Arc::new(Changes::default());
        let supervisor = self.start_supervisor(
            &writer,
            store.clone(),
            meta.clone(),
            (births, fleets),
            shutdown.clone(),
            changes.clone(),
        );
        let app = App {
            supervisor: supervisor.clone(),
            store,
            meta,
            config: self.config.clone(),
            shutdown: shutdown.clone(),
            facts: self.facts,
            changes,
            searches: Arc::new(search::Searches::new()),
            asks: Arc::default(),
            requests: Requests::default(),
            local: auth::Local::default(),
            reloads: self.reloads.clone(),
            health: Arc::new(Health::new(writer.clone(), self.link.clone())),
            gate: tcp.as_ref().map(|bound| bound.gate.clone()),
        };
        let over_tcp = app.facts.tcp.clone();
        if let Some(bound) = tcp {
            tcp::serve(bound, &app, &over_tcp)?;
        }
        let server = local_server(app, listener).map_err(|e| format!("the socket can't be served: {e}"))?;
        let handle = server.handle();
        let serving = actix_rt::spawn(server);
        self.link.ready();
        reached("ready");
        actix_rt::spawn(show_life(self.link.clone()));
        match shutdown.asked().await {
            Why::Broken(reason) => return Err(reason),
            Why::Reload => return self.reloads.leave(&writer).await,
            Why::Asked => {}
        }
        if let Err(e) = supervisor.send(StopAll).await {
            tracing::error!(error = %e, "the supervisor is gone");
        }
        let end = move || {
            drop(sweeper);
            writer.shutdown().is_ok() && closing.close().is_ok()
        };
        let flushed = tokio::task::spawn_blocking(end).await;
        if !matches!(flushed, Ok(true)) {
            tracing::error!("the log could not be flushed whole; the rings hold the rest");
        }
        shutdown.flushed();
        over_tcp.stop().await;
        handle.stop(true).await;
        if let Err(e) = serving.await {
            tracing::warn!(error = %e, "the server ended badly");
        }
        self.link.bye().await;
        Ok(())
    }

    fn start_writer(&self, store: Arc<dyn EventLog>, meta: Arc<Meta>) -> Result<Writer, String> {
        let options = WriterOptions {
            commit_interval: self.config.store.commit_interval,
            on_idle: give_free_memory_back,
            ..WriterOptions::default()
        };
        let link = self.link.clone();
        Writer::start(store, meta, options, move |fault| {
            tracing::error!("{fault}; the host ends, the rings keep what isn't written, the next host goes on");
            link.fatal(&fault.to_string());
            std::process::exit(EXIT_STORE);
        })
        .map_err(|e| format!("the log writer can't be started: {e}"))
    }

    fn start_supervisor(
        &self,
        writer: &Writer,
        store: Arc<SegmentStore>,
        meta: Arc<Meta>,
        (births, fleets): (Vec<Birth>, Vec<Fleet>),
        shutdown: Arc<Shutdown>,
        changes: Arc<Changes>,
    ) -> Addr<Supervisor> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let arbiters: Vec<_> = (0..cores.min(MAX_ARBITERS)).map(|_| Arbiter::new().handle()).collect();
        let tuning = Tuning { enter_delay: self.config.send.enter_delay, stop_grace: self.config.session.stop_grace };
        Supervisor::create(|ctx: &mut Context<Supervisor>| {
            let services = Services {
                store,
                meta,
                tuning,
                changes,
                writer: writer.clone(),
                keeper: self.link.clone(),
                ended: ctx.address().recipient(),
                host_uri: self.uri.clone(),
                screens: Screens::start(),
                boot: crate::pty::boot_id().map(Into::into),
            };
            Supervisor::new(
                services,
                arbiters,
                (births, fleets),
                shutdown,
                self.facts.keeper_pid.clone(),
                ctx.address(),
            )
        })
    }
}

/// On the thread of the supervisor: a host whose messages nobody handles any more is no host.
async fn show_life(link: Link) {
    let mut ticks = tokio::time::interval(SIGN_OF_LIFE);
    loop {
        ticks.tick().await;
        link.alive().await;
    }
}

fn local_server(app: App, listener: UnixListener) -> io::Result<actix_web::dev::Server> {
    let check = actix_web::middleware::from_fn;
    let local = app.local.clone();
    let server = HttpServer::new(move || {
        let app = WebApp::new().app_data(web::Data::new(app.clone()));
        app.configure(routes::configure).wrap(check(auth::check))
    })
    .workers(1) // handlers only pass messages on; a second thread would take a core from the sessions
    .max_connections(gate::local_connections(MAX_CONNECTIONS))
    .h1_allow_half_closed(false) // who has gone shall not be answered: a search would go on for nobody
    .on_connect(move |connection, data| auth::on_local(&local, connection, data))
    .disable_signals()
    .shutdown_timeout(2)
    .listen_uds(listener)?;
    Ok(server.run())
}

/// A socket of ours alone. One that a dead host left is replaced: the lock on the state folder says that it is dead.
fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
