//! Who may talk to the host: on the local socket, its own user and root.

use crate::wire::{ApiError, Code};
use actix_web::body::MessageBody;
use actix_web::dev::{Extensions, ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use std::any::Any;

/// The other side of a local connection.
#[derive(Clone, Copy)]
struct Peer {
    uid: Option<u32>,
}

/// Asks the kernel who connected.
pub(super) fn on_connect(connection: &dyn Any, data: &mut Extensions) {
    if let Some(stream) = connection.downcast_ref::<actix_rt::net::UnixStream>() {
        data.insert(Peer { uid: stream.peer_cred().ok().map(|c| c.uid()) });
    }
}

/// Refuses everyone else.
pub(super) async fn check<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, actix_web::Error> {
    let own = rustix::process::geteuid().as_raw();
    match request.conn_data::<Peer>().and_then(|p| p.uid) {
        Some(uid) if uid == own || uid == 0 => next.call(request).await,
        Some(uid) => Err(refused(format!("user {uid} may not talk to the host of user {own}"))),
        None => Err(refused("the other side of this connection is not known".to_owned())),
    }
}

fn refused(why: String) -> actix_web::Error {
    ApiError::new(Code::NotPermitted, why).into()
}
