//! Where the host's own log lines go: standard error, which is `STATE/host.log` for a host in the background.
//!
//! That file is kept short: at a size it is copied to `host.log.1`, over the one before, and begins anew. Keeper and host
//! append to the same open file, so it is emptied in place, never replaced. Lines of others (a terminal, an init system) are
//! left alone.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use tracing_subscriber::fmt::MakeWriter;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct HostLog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// `host.log`, where standard error is that.
    file: Option<PathBuf>,
    most: u64,
    /// About how long it is; others write, too.
    length: Mutex<u64>,
}

impl HostLog {
    /// `most`: bytes at which `path` begins anew.
    pub(super) fn new(path: &Path, most: u64) -> HostLog {
        let ours = same_file(path).unwrap_or(false);
        let length = if ours { length_of(path) } else { 0 };
        HostLog(Arc::new(Inner { file: ours.then(|| path.to_owned()), most, length: Mutex::new(length) }))
    }
}

impl<'a> MakeWriter<'a> for HostLog {
    type Writer = HostLog;

    fn make_writer(&'a self) -> HostLog {
        self.clone()
    }
}

impl Write for HostLog {
    /// One line: the subscriber gives them whole.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut length = self.0.length.lock().unwrap_or_else(PoisonError::into_inner);
        *length += line.len() as u64;
        if let Some(file) = self.0.file.as_ref().filter(|_| *length > self.0.most) {
            *length = length_of(file);
            if *length + line.len() as u64 > self.0.most {
                begin_anew(file, self.0.most)?;
                *length = line.len() as u64;
            }
        }
        io::stderr().write_all(line).map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

fn same_file(path: &Path) -> io::Result<bool> {
    let stderr = rustix::fs::fstat(rustix::stdio::stderr())?;
    let file = std::fs::metadata(path)?;
    Ok((file.dev(), file.ino()) == (stderr.st_dev, stderr.st_ino))
}

fn length_of(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |meta| meta.len())
}

/// Keeps the last `most` bytes beside. On a full disk they are lost: a log mustn't be what fills it.
fn begin_anew(path: &Path, most: u64) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let beside = path.with_extension("log.new");
    let kept = keep(&file, &beside, most).and_then(|()| std::fs::rename(&beside, path.with_extension("log.1")));
    if kept.is_err() {
        drop(std::fs::remove_file(&beside)); // may not even have been made
    }
    file.set_len(0)
}

fn keep(file: &File, beside: &Path, most: u64) -> io::Result<()> {
    let mut copy = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(beside)?;
    io::copy(&mut file.take(most.saturating_mul(2)), &mut copy).map(drop) // others may have written much meanwhile
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_old_lines_stand_beside() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("host.log");
        let mut held = OpenOptions::new().append(true).create(true).open(&log).unwrap();
        for round in ["first", "second"] {
            held.write_all(round.as_bytes()).unwrap();
            begin_anew(&log, 100).unwrap();
            assert_eq!(fs::read_to_string(folder.path().join("host.log.1")).unwrap(), round);
            assert_eq!(fs::read_to_string(&log).unwrap(), "");
        }
        held.write_all(b"third").unwrap();
        assert_eq!(fs::read_to_string(&log).unwrap(), "third", "who appends goes on at the new beginning");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
