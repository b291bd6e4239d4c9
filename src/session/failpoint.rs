//! A way for tests to make a process panic where it hurts most: a host when output is in the ring and nowhere else, an
//! `attach` while it has the user's terminal.
//!
//! Compiled into debug builds only, and asleep unless the process's environment names the bytes on which to panic.

use std::{env, ffi::OsString, os::unix::ffi::OsStrExt, sync::LazyLock};

static PANIC_ON: LazyLock<Option<OsString>> = LazyLock::new(|| env::var_os("TERMALIVE_DEBUG_PANIC_ON"));

/// Some output has come so far.
pub(crate) fn reached(output: &[u8]) {
    if let Some(word) = &*PANIC_ON
        && output.windows(word.len().max(1)).any(|part| part == word.as_bytes())
    {
        panic!("the failpoint was hit");
    }
}
