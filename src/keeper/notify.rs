//! What an init system is told that asked for it (`$NOTIFY_SOCKET`, as systemd's `Type=notify` does): that the host serves,
//! and which process is the one to watch.

use std::{
    env, io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

const VARIABLE: &str = "NOTIFY_SOCKET";

/// Whether somebody waits to be told.
pub fn is_awaited() -> bool {
    env::var_os(VARIABLE).is_some()
}

/// Tells that the host serves, and that `keeper` is the main process.
pub fn ready(keeper: u32) -> io::Result<()> {
    let Some(socket) = env::var_os(VARIABLE) else { return Ok(()) };
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path))?,
    };
    UnixDatagram::unbound()?.send_to_addr(format!("READY=1\nMAINPID={keeper}\n").as_bytes(), &address)?;
    Ok(())
}
