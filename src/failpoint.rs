//! Named places at which a test can have this process killed, as if by SIGKILL from outside: between any two steps that
//! have to be whole together.
//!
//! Debug builds only, and asleep unless the environment names a file: the process that reaches the place whose name stands
//! in that file takes the file away and dies. It must never change anything else.

#[cfg(debug_assertions)]
use std::{env, ffi::OsString, fs, sync::LazyLock};

#[cfg(debug_assertions)]
static ORDER: LazyLock<Option<OsString>> = LazyLock::new(|| env::var_os("TERMALIVE_DEBUG_KILL_AT"));

/// This place has come.
#[cfg(debug_assertions)]
pub(crate) fn reached(place: &str) {
    if let Some(file) = &*ORDER
        && fs::read(file).is_ok_and(|wanted| wanted == place.as_bytes())
        && fs::remove_file(file).is_ok()
    {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        loop {
            std::thread::park(); // this thread does nothing more until the signal comes
        }
    }
}

/// This place has come: nothing to do in what users get.
#[cfg(not(debug_assertions))]
pub(crate) fn reached(_: &str) {}
