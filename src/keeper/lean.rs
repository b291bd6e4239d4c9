//! Keeps keeper and host small: advice to kernel and allocator, by which nothing else is changed and on which nothing depends.
//!
//! The kernel maps sixteen pages around each one that is touched. Of a program of which the keeper uses a few per cent,
//! that made 2 MB of its 6. And glibc's allocator learns from each large buffer that is freed to take the next one from the
//! heap, where it stays between what lives: after a gigabyte of output the host kept 60 MB that nobody used. Of small ones
//! it gives back what lies at the end of a thread's heap alone: a session's last rows kept all the rest of its output there.

#![expect(unsafe_code, reason = "advice about a mapping is given by its address; the allocator is C")]

use rustix::mm::{Advice, madvise};
use std::fs;

/// Buffers of this size and more go back to the system when they are freed, 256 KiB: what the log writer takes at once.
#[cfg(target_env = "gnu")]
const LARGE: i32 = 256 * 1024;
/// Free memory at the end of the heap above this goes back, 1 MiB.
#[cfg(target_env = "gnu")]
const SPARE: i32 = 1024 * 1024;

/// Heaps in which threads share what is free, instead of each thread keeping a part of its own. 2: as fast in a flood, and half
/// of what else stays in them behind fifty screens that have gone.
#[cfg(target_env = "gnu")]
const HEAPS: i32 = 2;

/// Memory that isn't used any more goes back to the system.
pub fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets three numbers of the allocator; it may be called at any time.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, SPARE);
        libc::mallopt(libc::M_ARENA_MAX, HEAPS);
    }
}

/// What lies free between what lives goes back, too. Takes up to some milliseconds, in which nobody gets memory: after much was
/// freed.
pub fn give_free_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: gives free pages back; it may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Gives the advice for each mapping of the program file that can't be written.
pub(super) fn map_page_by_page() {
    let (Ok(maps), Ok(program)) = (fs::read_to_string("/proc/self/maps"), fs::read_link("/proc/self/exe")) else {
        return;
    };
    let program = program.to_string_lossy();
    for (start, len) in maps.lines().filter(|line| line.ends_with(&*program)).filter_map(read_only) {
        let at = std::ptr::with_exposed_provenance_mut(start);
        // SAFETY: pages of a private file mapping that was never written; dropping them means that they are read again from
        // the file when they are touched next.
        unsafe {
            let _ = madvise(at, len, Advice::LinuxDontNeed);
            let _ = madvise(at, len, Advice::Random);
        }
    }
}

fn read_only(line: &str) -> Option<(usize, usize)> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let permissions = words.next()?;
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    (permissions == "r-xp").then_some((start, end - start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_is_advised() {
        let line = |permissions: &str| format!("1000-3000 {permissions} 00000000 fe:00 1 /bin/x");
        assert_eq!(read_only(&line("r-xp")), Some((0x1000, 0x2000)));
        assert_eq!(read_only(&line("rw-p")), None);
        assert_eq!(read_only(&line("r--p")), None, "relocated data was written to");
        map_page_by_page(); // and goes on
    }
}
