//! A file that is there whole or not at all.
//!
//! It is written beside its place, for its owner alone, and takes that place when it is on disk. What isn't kept is removed.

use super::super::{Failure, failed};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// See the module.
pub(super) struct WholeFile {
    file: File,
    place: PathBuf,
    /// Where it is written; nothing when the place is no plain file: a device or a pipe is written to as it is.
    beside: Option<PathBuf>,
}

impl WholeFile {
    /// Begins a file that will stand at `path`.
    pub(super) fn create(path: &Path) -> Result<WholeFile, Failure> {
        let said = |why: io::Error| failed(format!("can't write {}: {why}", path.display()));
        let place = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()); // through a link: to what it names
        match fs::metadata(&place) {
            Ok(meta) if meta.is_dir() => Err(said(io::ErrorKind::IsADirectory.into())),
            Ok(meta) if !meta.is_file() => {
                let file = OpenOptions::new().write(true).open(&place).map_err(said)?;
                Ok(WholeFile { file, place, beside: None })
            }
            _ => {
                let name = place.file_name().ok_or_else(|| said(io::ErrorKind::InvalidInput.into()))?;
                let beside = place.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
                let new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).map_err(said)?;
                Ok(WholeFile { file: new, place, beside: Some(beside) })
            }
        }
    }

    /// Adds bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file.write_all(bytes).map_err(|why| failed(format!("can't write {}: {why}", self.place.display())))
    }

    /// It is whole: it takes its place.
    pub(super) fn keep(mut self) -> Result<(), Failure> {
        let Some(beside) = self.beside.clone() else { return Ok(()) };
        let kept = self.file.sync_all().and_then(|()| fs::rename(beside, &self.place));
        kept.map_err(|why| failed(format!("can't write {}: {why}", self.place.display())))?;
        self.beside = None;
        Ok(())
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        if let Some(beside) = &self.beside {
            let _ = fs::remove_file(beside); // something else has failed, and is said
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_whole_or_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.cast");
        let there = || fs::read_dir(dir.path()).unwrap().count();
        let mut file = WholeFile::create(&path).unwrap();
        file.write(b"half").unwrap();
        drop(file);
        assert_eq!(there(), 0);
        fs::write(&path, "before").unwrap();
        let mut file = WholeFile::create(&path).unwrap();
        file.write(b"whole").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"before");
        file.keep().unwrap();
        assert_eq!((fs::read(&path).unwrap(), there()), (b"whole".to_vec(), 1));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(WholeFile::create(dir.path()).is_err());
        assert!(WholeFile::create(&dir.path().join("no/such")).is_err());
        assert!(WholeFile::create(Path::new("/dev/null")).unwrap().keep().is_ok());
    }
}
