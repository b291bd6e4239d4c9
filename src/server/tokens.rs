//! Who may ask over TCP: two secrets in the state folder, one for everything, one for looking on.
//!
//! They are made at the first `--listen`, for their owner alone. In memory stand only their SHA-256, compared in constant
//! time; a token itself goes to its file and nowhere else, least of all to a log line.

use rustix::fs::{Mode, OFlags};
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};
use subtle::ConstantTimeEq;

/// Random bytes of a token that is made here.
const RANDOM: usize = 32;
/// The shortest token that is taken from a file. 32 characters: 128 bits as hexadecimal digits; a word or a date is refused.
const SHORTEST: usize = 32;
/// The longest. 1 KiB: what a header holds with ease.
const LONGEST: usize = 1024;

/// What a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Everything.
    Full,
    /// Look on.
    Read,
}

/// What the tokens are compared with.
pub(super) struct Tokens {
    full: [u8; 32],
    read: [u8; 32],
}

/// Why there are none.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    #[error("can't {what} the token {path}: {why}", path = path.display())]
    System { what: &'static str, path: PathBuf, why: io::Error },
    #[error("the token {path} belongs to user {owner}, not to {uid}: remove it, and another is made", path = path.display())]
    NotOurs { path: PathBuf, owner: u32, uid: u32 },
    #[error("others can read the token {path} (mode {mode:03o}): remove it, and another is made", path = path.display())]
    Open { path: PathBuf, mode: u32 },
    #[error("{path} is no token: one line of {SHORTEST} to {LONGEST} letters, digits or - . _ ~ (remove it, and one is made)", path = path.display())]
    Strange { path: PathBuf },
    #[error("both tokens in {} are the same: remove token.read, and another is made", .0.display())]
    Same(PathBuf),
}

impl Tokens {
    /// Reads `token` and `token.read`; makes what isn't there. Blocking.
    pub(super) fn open(state: &Path) -> Result<Tokens, TokenError> {
        let hash = |name: &str| read_or_make(&state.join(name)).map(|token| Sha256::digest(token).into());
        let tokens = Tokens { full: hash("token")?, read: hash("token.read")? };
        if tokens.full == tokens.read {
            return Err(TokenError::Same(state.to_owned()));
        }
        Ok(tokens)
    }

    /// What the bearer of this may do.
    pub(super) fn access(&self, presented: &[u8]) -> Option<Access> {
        let hash: [u8; 32] = Sha256::digest(presented).into();
        let (full, read) = (self.full.ct_eq(&hash), self.read.ct_eq(&hash));
        match (bool::from(full), bool::from(read)) {
            (true, _) => Some(Access::Full),
            (_, true) => Some(Access::Read),
            _ => None,
        }
    }
}

fn read_or_make(path: &Path) -> Result<String, TokenError> {
    match read(path) {
        Err(TokenError::System { why, .. }) if why.kind() == io::ErrorKind::NotFound => {
            make(path)?;
            read(path)
        }
        other => other,
    }
}

fn system(what: &'static str, path: &Path) -> impl Fn(io::Error) -> TokenError {
    let path = path.to_owned();
    move |why| TokenError::System { what, path: path.clone(), why }
}

fn read(path: &Path) -> Result<String, TokenError> {
    let failed = system("read", path);
    // a link could lead to a file of ours that isn't meant for this; a pipe would hold us up
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(|e| failed(e.into()))?);
    let meta = file.metadata().map_err(&failed)?;
    let (uid, mode) = (rustix::process::geteuid().as_raw(), meta.permissions().mode() & 0o777);
    if meta.uid() != uid {
        return Err(TokenError::NotOurs { path: path.to_owned(), owner: meta.uid(), uid });
    }
    if mode & 0o077 != 0 {
        return Err(TokenError::Open { path: path.to_owned(), mode });
    }
    let mut text = Vec::new();
    file.take(LONGEST as u64 + 2).read_to_end(&mut text).map_err(&failed)?;
    let token = String::from_utf8_lossy(&text).trim_end().to_owned();
    let fits = (SHORTEST..=LONGEST).contains(&token.len())
        && token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
    if fits { Ok(token) } else { Err(TokenError::Strange { path: path.to_owned() }) }
}

/// Whole or not at all: written beside, then renamed.
fn make(path: &Path) -> Result<(), TokenError> {
    let failed = system("write", path);
    let mut random = [0; RANDOM];
    getrandom::fill(&mut random).map_err(|why| failed(io::Error::other(why.to_string())))?;
    let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let beside = path.with_extension("new");
    match std::fs::remove_file(&beside) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(failed(why)),
        _ => {}
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let made = rustix::fs::open(&beside, flags, Mode::RUSR | Mode::WUSR).map_err(|e| failed(e.into()))?;
    let mut file = File::from(made);
    writeln!(file, "{token}").and_then(|()| file.sync_all()).map_err(&failed)?;
    std::fs::rename(&beside, path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn tokens_are_made_once_and_told_apart() {
        let state = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(state.path()).unwrap();
        let text = |name: &str| fs::read_to_string(state.path().join(name)).unwrap().trim_end().to_owned();
        let (full, read) = (text("token"), text("token.read"));
        assert!(full.len() == 64 && read.len() == 64 && full != read);
        assert_eq!(fs::metadata(state.path().join("token")).unwrap().permissions().mode() & 0o777, 0o600);
        let again = Tokens::open(state.path()).unwrap();
        for tokens in [tokens, again] {
            assert_eq!(tokens.access(full.as_bytes()), Some(Access::Full));
            assert_eq!(tokens.access(read.as_bytes()), Some(Access::Read));
            for wrong in ["", &full[1..], &full.to_uppercase(), &format!("{full} ")] {
                assert_eq!(tokens.access(wrong.as_bytes()), None);
            }
        }
        fs::remove_file(state.path().join("token")).unwrap();
        assert_eq!(Tokens::open(state.path()).unwrap().access(full.as_bytes()), None, "a new one");
    }

    #[test]
    fn a_token_that_is_none_is_refused() {
        let refused = |text: &str, mode: u32| {
            let state = tempfile::tempdir().unwrap();
            let path = state.path().join("token");
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            Tokens::open(state.path()).err().map(|e| e.to_string())
        };
        let good = "0123456789abcdef0123456789abcdef";
        assert_eq!(refused(good, 0o600), None);
        assert!(refused(good, 0o640).unwrap().contains("others can read"));
        for bad in ["", "secret", &format!("{good}\n{good}"), &format!("{good}ä"), &good.repeat(40)] {
            assert!(refused(bad, 0o600).unwrap().contains("is no token"), "{bad:?}");
        }
        let state = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/hostname", state.path().join("token")).unwrap();
        assert!(Tokens::open(state.path()).is_err(), "a link");
    }
}
