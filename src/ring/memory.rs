//! The memory of a ring: a sealed memfd, mapped with its data twice in a row. The only unsafe code of the ring.
//!
//! It knows words, ranges and pages, no records. Words are atomics, stored with release; ranges are handed out one at a
//! time, to one owner. It must never touch memory outside the mapping, whatever position it is given.
#![expect(unsafe_code, reason = "maps a file that outlives the process")]

use super::RING_BYTES;
use crate::model::KIB;
use bytes::Bytes;
use rustix::{
    fs::{FallocateFlags, MemfdFlags, SealFlags},
    mm::{MapFlags, ProtFlags},
};
use std::{
    ffi::c_void,
    io,
    os::fd::OwnedFd,
    ptr::{self, NonNull},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// The smallest page there is: what can be given back at once. A part of a larger page is only zeroed.
pub(super) const PAGE: u64 = 4096;
/// Where the data begins in the file. Only the first page before it is used; this is a multiple of every page size in
/// use, and the rest of it is never touched, so it costs nothing.
pub(super) const DATA_AT: usize = 64 * KIB;
/// Size of the file.
pub(super) const FILE_BYTES: usize = DATA_AT + RING_BYTES;

const MAP_BYTES: usize = FILE_BYTES + RING_BYTES;
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW); // a file cut short would be a SIGBUS

/// A mapped ring.
#[derive(Debug)]
pub(super) struct Memory {
    fd: Arc<OwnedFd>,
    base: NonNull<u8>,
    /// Every change in order, so that tests can cut it anywhere.
    #[cfg(test)]
    pub(super) journal: std::sync::Mutex<Vec<(usize, Vec<u8>)>>,
}

// SAFETY: the mapping belongs to this value alone, and nothing about it is bound to the thread that made it.
unsafe impl Send for Memory {}
// SAFETY: words are atomics. Ranges are touched by the ring alone, which is never shared; others see its heartbeat word.
unsafe impl Sync for Memory {}

impl Memory {
    /// New, zeroed.
    pub(super) fn create() -> io::Result<Memory> {
        let fd = rustix::fs::memfd_create(c"termalive-ring", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        rustix::fs::ftruncate(&fd, FILE_BYTES as u64)?;
        rustix::fs::fcntl_add_seals(&fd, SEALS)?;
        Memory::map(fd)
    }

    /// One that is there; none when the file can't be one.
    pub(super) fn open(fd: OwnedFd) -> io::Result<Option<Memory>> {
        let whole = rustix::fs::fstat(&fd)?.st_size == FILE_BYTES as i64;
        let sealed = rustix::fs::fcntl_get_seals(&fd).is_ok_and(|seals| seals.contains(SEALS));
        if whole && sealed { Memory::map(fd).map(Some) } else { Ok(None) }
    }

    fn map(fd: OwnedFd) -> io::Result<Memory> {
        // SAFETY: new address space, at a place of the kernel's choice.
        let base =
            unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), MAP_BYTES, ProtFlags::empty(), MapFlags::PRIVATE)? };
        let base = NonNull::new(base.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
        // From here on dropping it unmaps.
        let memory = Memory {
            fd: Arc::new(fd),
            base,
            #[cfg(test)]
            journal: std::sync::Mutex::default(),
        };
        memory.place(0, FILE_BYTES, 0)?;
        memory.place(FILE_BYTES, RING_BYTES, DATA_AT)?;
        Ok(memory)
    }

    fn place(&self, at: usize, len: usize, offset: usize) -> io::Result<()> {
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED | MapFlags::FIXED);
        assert!(at + len <= MAP_BYTES);
        // SAFETY: at..at + len lies in the address space that `map` reserved for this value and nobody uses yet.
        unsafe {
            let address = self.base.as_ptr().add(at).cast::<c_void>();
            rustix::mm::mmap(address, len, protection, flags, &*self.fd, offset as u64)?;
        }
        Ok(())
    }

    /// The memfd.
    pub(super) fn fd(&self) -> &Arc<OwnedFd> {
        &self.fd
    }

    /// The word at an offset in the file.
    pub(super) fn load(&self, offset: usize) -> u64 {
        self.word(offset).load(Ordering::Acquire)
    }

    /// Sets the word at an offset in the file, after everything before it.
    pub(super) fn store(&self, offset: usize, value: u64) {
        self.word(offset).store(value, Ordering::Release);
        #[cfg(test)]
        self.journal.lock().unwrap().push((offset, value.to_ne_bytes().to_vec()));
    }

    /// The word at a position.
    pub(super) fn load_at(&self, pos: u64) -> u64 {
        self.load(offset_of(pos))
    }

    /// Sets the word at a position, after everything before it.
    pub(super) fn store_at(&self, pos: u64, value: u64) {
        self.store(offset_of(pos), value);
    }

    /// Lets `write` fill `len` bytes at a position.
    pub(super) fn fill<T>(&self, pos: u64, len: usize, write: impl FnOnce(&mut [u8]) -> T) -> T {
        assert!(len <= RING_BYTES);
        let at = offset_of(pos);
        // A page fault under a read(2) can fail when the process is being killed, and what was read would be gone: each
        // page is touched first. The bytes are about to be overwritten, and none is the first, which can have a meaning.
        for page in ((at + 1).next_multiple_of(PAGE as usize)..at + len).step_by(PAGE as usize) {
            // SAFETY: at + len <= FILE_BYTES + RING_BYTES, the end of the mapping.
            unsafe { self.base.as_ptr().add(page).write_volatile(0) };
        }
        // SAFETY: in the mapping, as above; the file can't shrink (sealed); the bytes are initialized (a file's). The
        // slice is the only way to them while it lives: the ring that asks is borrowed for it, it is shorter than the data, so it doesn't
        // meet itself in the second mapping, and no other process has the ring mapped (one owner).
        let window = unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr().add(at), len) };
        let out = write(window);
        #[cfg(test)]
        self.journal.lock().unwrap().push((at, window.to_vec()));
        out
    }

    /// A copy of `len` bytes at a position.
    pub(super) fn copy(&self, pos: u64, len: usize) -> Bytes {
        assert!(len <= RING_BYTES);
        let mut out = vec![0; len];
        // SAFETY: in the mapping, as in `fill`; copied by pointer, so that no reference to shared memory is made.
        unsafe { ptr::copy_nonoverlapping(self.base.as_ptr().add(offset_of(pos)), out.as_mut_ptr(), len) };
        Bytes::from(out)
    }

    /// Gives the pages from one position to another back; they read as zero from then on.
    pub(super) fn punch(&self, from: u64, to: u64) -> io::Result<()> {
        let mut at = from;
        while at < to {
            let offset = offset_of(at);
            let len = (to - at).min((FILE_BYTES - offset) as u64);
            let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            rustix::fs::fallocate(&self.fd, hole, offset as u64, len)?;
            #[cfg(test)]
            self.journal.lock().unwrap().push((offset, vec![0; len as usize]));
            at += len;
        }
        Ok(())
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset < FILE_BYTES);
        // SAFETY: aligned (the mapping is page-aligned) and in it; the file can't shrink (sealed), so it stays there.
        unsafe { AtomicU64::from_ptr(self.base.as_ptr().add(offset).cast()) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: what `map` reserved; nothing borrowed from it can live longer than `self`. It can't fail for a range
        // that is mapped, and nothing could be done about it.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), MAP_BYTES) };
    }
}

fn offset_of(pos: u64) -> usize {
    DATA_AT + (pos % RING_BYTES as u64) as usize
}
