//! Descriptors of a process that is about to become something else, and memfds that are read.
//!
//! Descriptors are closed by number here: only for a process in which nobody uses them any more.

use std::{
    fs, io,
    os::{
        fd::{AsFd, RawFd},
        unix::fs::FileExt,
    },
};

/// All that is in a file, whoever has read from it before.
pub(super) fn read_whole(fd: &impl AsFd) -> io::Result<Vec<u8>> {
    let file = fs::File::from(fd.as_fd().try_clone_to_owned()?);
    let mut body = vec![0; usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?];
    file.read_exact_at(&mut body, 0)?;
    Ok(body)
}

/// Closes every descriptor but stdio and these, where the kernel can with a call for each range.
pub(super) fn close_all_but(mut kept: [RawFd; 2]) -> io::Result<()> {
    kept.sort_unstable();
    let mut from = 3;
    let mut closed = true;
    for fd in kept {
        closed &= from >= fd || close_range(from, fd - 1);
        from = from.max(fd + 1);
    }
    if closed && close_range(from, RawFd::MAX) { Ok(()) } else { close_others(&kept) } // a kernel before 5.9
}

fn close_range(from: RawFd, to: RawFd) -> bool {
    #[expect(unsafe_code, reason = "these descriptors have no owner in this process")]
    // SAFETY: closes descriptors of which the caller says that nobody uses them.
    unsafe {
        libc::syscall(libc::SYS_close_range, from, to, 0) == 0
    }
}

/// Closes every descriptor but stdio and these.
pub(crate) fn close_others(kept: &[RawFd]) -> io::Result<()> {
    let entries = fs::read_dir("/proc/self/fd")?;
    let open = entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse::<RawFd>().ok());
    // Collected first: the folder's own descriptor is in the list, and is closed by now, which gives a harmless error.
    for fd in open.filter(|fd| *fd > 2 && !kept.contains(fd)).collect::<Vec<_>>() {
        #[expect(unsafe_code, reason = "these descriptors have no owner in this process")]
        // SAFETY: as above.
        unsafe {
            libc::close(fd);
        }
    }
    Ok(())
}
