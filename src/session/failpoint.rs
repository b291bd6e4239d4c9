//! A way for tests to make a session's actor panic where it hurts most: output is in the ring and nowhere else.
//!
//! Compiled into debug builds only, and asleep unless the host's environment names the bytes on which to panic.

use std::{env, ffi::OsString, os::unix::ffi::OsStrExt, sync::LazyLock};

static PANIC_ON: LazyLock<Option<OsString>> = LazyLock::new(|| env::var_os("TERMALIVE_DEBUG_PANIC_ON"));

/// Some output was read into the ring.
pub(super) fn landed(output: &[u8]) {
    if let Some(word) = &*PANIC_ON
        && output.windows(word.len().max(1)).any(|part| part == word.as_bytes())
    {
        panic!("the failpoint was hit");
    }
}
