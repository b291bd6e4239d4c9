//! Which boot of the machine this is: a pid and its start time mean nothing in another one. Reads one file of the kernel.

use std::{fs, io};

/// Its id; nothing where the kernel doesn't tell. In debug builds tests may give another one, as after a reboot.
pub fn boot_id() -> Option<String> {
    #[cfg(debug_assertions)]
    if let Ok(id) = std::env::var("TERMALIVE_DEBUG_BOOT_ID") {
        return Some(id);
    }
    match fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Ok(id) => Some(id.trim().to_owned()).filter(|id| !id.is_empty()),
        Err(e) => {
            if e.kind() != io::ErrorKind::NotFound {
                tracing::warn!(error = %e, "which boot this is can't be read: what a crash leaves is known by its environment");
            }
            None
        }
    }
}
