//! `GET /metrics`: what the host does, in the text format of OpenMetrics.
//!
//! No name of a session stands in it, and every label has few values. Numbers come from where they are counted; each scrape
//! makes its registry anew, so that nothing is kept twice.

use super::{App, sessions};
use crate::wire::{ApiError, SessionInfo};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpResponse, web};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Registry, Unit};
use std::sync::atomic::{AtomicU64, Ordering};

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;

/// Requests by route, method and status. Clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests(Family<Labels, Counter>);

impl Requests {
    /// `route`: the pattern of the path, of which there are few; nothing for a path that no verb has.
    pub(super) fn add(&self, route: Option<&str>, method: &Method, status: StatusCode) {
        let known = [Method::GET, Method::POST, Method::DELETE].contains(method);
        let labels = vec![
            ("route", route.unwrap_or("other").to_owned()),
            ("method", if known { method.to_string() } else { "other".to_owned() }),
            ("status", status.as_u16().to_string()),
        ];
        self.0.get_or_create(&labels).inc();
    }
}

pub(super) async fn metrics(app: web::Data<App>) -> Result<HttpResponse, ApiError> {
    let infos = sessions::describe_all(&app).await?;
    let mut registry = Registry::with_prefix("termalive");
    of_sessions(&mut registry, &infos);
    of_log(&mut registry, &app);
    of_network(&mut registry, &app);
    let uptime = app.facts.since.elapsed().as_secs_f64();
    registry.register_with_unit("uptime", "Since the host process began", Unit::Seconds, ConstGauge::new(uptime));
    let build: Family<Labels, Gauge> = Family::default();
    build.get_or_create(&vec![("version", env!("CARGO_PKG_VERSION").to_owned())]).set(1);
    registry.register("build", "1, with the program's version", build);
    let process = web::block(Process::look).await.map_err(super::failed)?;
    let mut text = String::new();
    encode(&mut text, &registry).map_err(super::failed)?;
    let mut of_process = Registry::default();
    process.register(&mut of_process);
    let mut more = String::new();
    encode(&mut more, &of_process).map_err(super::failed)?;
    let whole = text.strip_suffix("# EOF\n").unwrap_or(&text).to_owned() + &more;
    Ok(HttpResponse::Ok().content_type(CONTENT_TYPE).body(whole))
}

fn of_sessions(registry: &mut Registry, infos: &[SessionInfo]) {
    let states: Family<Labels, Gauge> = Family::default();
    for info in infos {
        states.get_or_create(&vec![("state", info.state.as_str().to_owned())]).inc();
    }
    registry.register("sessions", "Sessions by state", states);
}

fn of_log(registry: &mut Registry, app: &App) {
    let counters = app.health.writer().counters();
    let mut count = |name: &str, help: &str, number: &AtomicU64| {
        registry.register(name, help, ConstCounter::new(number.load(Ordering::Relaxed)));
    };
    count("read_bytes", "Output read from programs, by this host process", &counters.read_bytes);
    count("read_pauses", "Times a session wasn't read because its ring was full", &counters.pauses);
    count("log_written_bytes", "Given to the store, before compression", &counters.written_bytes);
    count("search_read_bytes", "Of logs that were looked through by searches", &app.searches.read_bytes);
    count("log_syncs", "Times the log was made safe against a power loss", &counters.syncs);
    let searches = app.searches.under_way.load(Ordering::Relaxed);
    registry.register("searches", "Searches under way", ConstGauge::new(searches));
    let lag = counters.lag().as_secs_f64();
    registry.register_with_unit(
        "log_lag",
        "Age of the oldest record that isn't durable",
        Unit::Seconds,
        ConstGauge::new(lag),
    );
}

fn of_network(registry: &mut Registry, app: &App) {
    registry.register("requests", "Requests by route, method and status", app.requests.0.clone());
    registry.register("local_connections", "Connections on the local socket", ConstGauge::new(app.local.now()));
    let Some(gate) = &app.gate else { return };
    let (waiting, known) = gate.counts();
    let connections: Family<Labels, Gauge> = Family::default();
    for (token, number) in [("none", waiting), ("shown", known)] {
        connections.get_or_create(&vec![("token", token.to_owned())]).set(i64::try_from(number).unwrap_or(i64::MAX));
    }
    registry.register("tcp_connections", "Connections over TCP, without and with a token shown", connections);
    let refused: Family<Labels, Counter> = Family::default();
    let by = &gate.refused;
    for (reason, number) in [
        ("host", &by.host),
        ("origin", &by.origin),
        ("no_token", &by.no_token),
        ("wrong_token", &by.wrong_token),
        ("waiting", &by.waiting),
        ("crowded", &by.crowded),
        ("read_only", &by.read_only),
    ] {
        refused.get_or_create(&vec![("reason", reason.to_owned())]).inc_by(number.load(Ordering::Relaxed));
    }
    registry.register("tcp_refused", "Requests over TCP that were sent away", refused);
}

/// What the system knows of this process; nothing where there is no /proc.
struct Process {
    resident: Option<u64>,
    files: Option<u64>,
}

impl Process {
    fn look() -> Process {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let resident =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
        let files = std::fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as u64);
        Process { resident: resident.map(|kib: u64| kib * 1024), files }
    }

    fn register(self, registry: &mut Registry) {
        let known = [
            ("process_resident_memory_bytes", "Memory of the host process", self.resident),
            ("process_open_fds", "Open files of the host process", self.files),
        ];
        for (name, help, number) in known {
            number.into_iter().for_each(|number| registry.register(name, help, ConstGauge::new(number)));
        }
    }
}
