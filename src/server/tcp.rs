//! TCP: listens at the addresses of the configuration, with a web server of its own, so that nothing that happens here takes
//! a thread or a connection from the local socket.
//!
//! The first host of a keeper must get its addresses, or it isn't started. A later one has sessions to serve: it goes on
//! without an address that somebody has taken meanwhile, and tries again, or without TCP when a token can't be read.

use super::gate::Gate;
use super::tokens::Tokens;
use super::{App, auth, routes};
use crate::config::{HttpConfig, Paths};
use actix_web::dev::ServerHandle;
use actix_web::{App as WebApp, HttpServer, web};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long the head of a request may take, from the connection on. 5 s: it is one packet of a caller that means it.
const HEAD_PATIENCE: Duration = Duration::from_secs(5);
/// How long a connection may wait for its next request. 15 s: longer than a script's pause, shorter than a forgotten tab.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a connection may take to close. 1 s: the peer gets the answer, who floods is cut.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);
/// Threads for work that blocks. 16: as many readers of old segments at once.
const BLOCKING: usize = 16;
/// Between two tries to get an address that is taken.
const AGAIN: Duration = Duration::from_secs(5);

/// What is being served.
#[derive(Clone, Default)]
pub(super) struct Serving(Arc<Mutex<Vec<(SocketAddr, ServerHandle)>>>);

impl Serving {
    /// The addresses, as `status` says them.
    pub(super) fn addresses(&self) -> Vec<String> {
        self.lock().iter().map(|(address, _)| address.to_string()).collect()
    }

    /// Ends all of it.
    pub(super) async fn stop(&self) {
        let all = std::mem::take(&mut *self.lock());
        for (_, handle) in all {
            handle.stop(true).await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(SocketAddr, ServerHandle)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a host got of its addresses.
pub(super) struct Bound {
    pub(super) gate: Arc<Gate>,
    got: Vec<TcpListener>,
    /// Taken by somebody.
    missing: Vec<SocketAddr>,
}

/// Listens, if anything is to be listened at; `first`: an address that can't be had is an error. Blocking.
pub(super) fn bind(paths: &Paths, config: &HttpConfig, first: bool) -> Result<Option<Bound>, String> {
    if config.listen.is_empty() {
        return Ok(None);
    }
    let tokens = match Tokens::open(&paths.state) {
        Ok(tokens) => tokens,
        Err(why) if first => return Err(why.to_string()),
        Err(why) => {
            tracing::error!("nothing is served over TCP: {why}");
            return Ok(None);
        }
    };
    let mut bound = Bound { gate: Gate::new(config, tokens), got: Vec::new(), missing: Vec::new() };
    for address in &config.listen {
        match listen(*address) {
            Ok(listener) => bound.got.push(listener),
            Err(why) if first => return Err(format!("can't listen at {address}: {why} (--listen, http.listen)")),
            Err(why) => {
                tracing::warn!(%address, error = %why, "can't listen; tried again every {} s", AGAIN.as_secs());
                bound.missing.push(*address);
            }
        }
    }
    Ok(Some(bound))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves what was bound, and what is missing as soon as it can be had.
pub(super) fn serve(bound: Bound, app: &App, serving: &Serving) -> Result<(), String> {
    let Bound { gate, got, missing } = bound;
    for listener in got {
        serve_one(listener, &gate, app, serving).map_err(|e| format!("TCP can't be served: {e}"))?;
    }
    for address in missing {
        let (gate, app, serving) = (gate.clone(), app.clone(), serving.clone());
        actix_rt::spawn(async move {
            loop {
                tokio::time::sleep(AGAIN).await;
                match listen(address).and_then(|listener| serve_one(listener, &gate, &app, &serving)) {
                    Ok(()) => return tracing::info!(%address, "listens now"),
                    Err(why) => tracing::debug!(%address, error = %why, "still can't listen"),
                }
            }
        });
    }
    Ok(())
}

fn serve_one(listener: TcpListener, gate: &Arc<Gate>, app: &App, serving: &Serving) -> io::Result<()> {
    let address = listener.local_addr()?;
    let (door, most, app) = (gate.clone(), gate.most(), app.clone());
    let server = HttpServer::new(move || {
        WebApp::new()
            .app_data(web::Data::new(app.clone()))
            .configure(routes::configure)
            .wrap(actix_web::middleware::from_fn(auth::check))
    })
    .workers(1)
    .worker_max_blocking_threads(BLOCKING)
    .max_connections(most)
    .client_request_timeout(HEAD_PATIENCE)
    .keep_alive(KEEP_ALIVE)
    .client_disconnect_timeout(CLOSE_PATIENCE)
    .tcp_nodelay(true)
    .h1_allow_half_closed(false) // as on the socket: who has gone shall not be answered
    .on_connect(move |connection, data| auth::on_tcp(&door, connection, data))
    .disable_signals()
    .shutdown_timeout(2)
    .listen(listener)?
    .run();
    serving.lock().push((address, server.handle()));
    actix_rt::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(%address, %error, "TCP isn't served any more");
        }
    });
    tracing::info!(%address, "listens");
    Ok(())
}
