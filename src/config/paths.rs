//! Where a host lives: its state folder and its socket.
//!
//! [`Paths::resolve`] is pure; both sides come to the same answer from the same environment, so that a client finds its host.
//! [`Paths::prepare`] makes the folders, private ones. It must never loosen a folder, nor take one that others can write.

use super::Env;
use std::{
    fs, io,
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    },
    path::{Component, Path, PathBuf},
};

/// The longest path of a socket, in bytes: `sun_path` less its final NUL.
pub const SOCKET_PATH_MAX: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// The places of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The state folder: log, lock, `host.log`.
    pub state: PathBuf,
    /// The socket.
    pub socket: PathBuf,
}

/// Why there is no place.
#[derive(Debug, thiserror::Error)]
pub enum PathsError {
    /// Nothing says where.
    #[error("HOME is not set: set TERMALIVE_STATE_DIR to the folder where termalive may keep its state")]
    NoHome,
    /// Not even the short form fits.
    #[error("the socket's path {} has {} bytes, at most {SOCKET_PATH_MAX} work: set TERMALIVE_RUNTIME_DIR to a shorter folder", .0.display(), .0.as_os_str().len())]
    TooLong(PathBuf),
    /// The system says no.
    #[error("can't {what} {path}: {why}", path = path.display())]
    System {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's reason.
        why: io::Error,
    },
    /// A file, or a link to somewhere, stands there.
    #[error("{} is no folder: remove it, or set TERMALIVE_STATE_DIR and TERMALIVE_RUNTIME_DIR to other ones", .0.display())]
    NotAFolder(PathBuf),
    /// Somebody else's.
    #[error("{} belongs to user {owner}, not to {uid}: set TERMALIVE_STATE_DIR and TERMALIVE_RUNTIME_DIR to folders of your own", path.display())]
    NotOurs {
        /// Which folder.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who we are.
        uid: u32,
    },
    /// Others may write there.
    #[error("others can write to {} (mode {mode:03o}): give termalive a folder of its own, or chmod 700 this one", path.display())]
    Open {
        /// Which folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

/// What a socket is called where the folder is the host's own.
const SOCKET_NAME: &str = "termalive.sock";

impl Paths {
    /// From the environment: `TERMALIVE_STATE_DIR`, `TERMALIVE_RUNTIME_DIR`, `TERMALIVE_HOME` (both), XDG, a private
    /// temporary folder. `real` gives a path without links; relative ones are taken from `cwd`.
    pub fn resolve(env: &Env, uid: u32, cwd: &Path, real: &dyn Fn(&Path) -> PathBuf) -> Result<Paths, PathsError> {
        let given = |name: &str| env.get(name).map(|value| tidy(&cwd.join(value)));
        let xdg = |name: &str| env.get(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let own = |folder: PathBuf| folder.join("termalive");
        let (home, named) = (given("TERMALIVE_HOME"), given("TERMALIVE_STATE_DIR"));
        let state = named
            .clone()
            .or_else(|| home.clone())
            .or_else(|| xdg("XDG_STATE_HOME").map(own))
            .or_else(|| Some(Path::new(env.get("HOME")?).join(".local/state/termalive")))
            .ok_or(PathsError::NoHome)?;
        let temp = env.get("TMPDIR").map_or_else(|| PathBuf::from("/tmp"), |dir| tidy(&cwd.join(dir)));
        let private = |temp: &Path| temp.join(format!("termalive-{uid}"));
        let explicit = given("TERMALIVE_RUNTIME_DIR").or(home);
        let name = match (&explicit, named) {
            (None, Some(state)) => format!("termalive-{:016x}.sock", hash(&real(&state))),
            _ => SOCKET_NAME.to_owned(),
        };
        let folder = explicit.or_else(|| xdg("XDG_RUNTIME_DIR").map(own)).unwrap_or_else(|| private(&temp));
        let wanted = folder.join(&name);
        if wanted.as_os_str().len() <= SOCKET_PATH_MAX {
            return Ok(Paths { state, socket: wanted });
        }
        let short = format!("{:016x}.sock", hash(&real(&folder).join(&name)));
        [&temp, Path::new("/tmp")]
            .map(|temp| private(temp).join(&short))
            .into_iter()
            .find(|path| path.as_os_str().len() <= SOCKET_PATH_MAX)
            .map(|socket| Paths { state, socket })
            .ok_or(PathsError::TooLong(wanted))
    }

    /// [`Paths::resolve`] for this process.
    pub fn from_process(env: &Env) -> Result<Paths, PathsError> {
        // without a working directory only relative paths suffer, and those are refused when they are made
        let cwd = std::env::current_dir().unwrap_or_default();
        Paths::resolve(env, rustix::process::getuid().as_raw(), &cwd, &real)
    }

    /// Held (flock) by keeper and host as long as one of them lives.
    pub fn lock(&self) -> PathBuf {
        self.state.join("lock")
    }

    /// Held by a command while it starts a host, or looks whether one runs.
    pub fn start_lock(&self) -> PathBuf {
        self.state.join("start.lock")
    }

    /// What keeper and host have to say when nobody looks on.
    pub fn host_log(&self) -> PathBuf {
        self.state.join("host.log")
    }

    /// As `TERMALIVE_HOST` and `--host` take it.
    pub fn uri(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Makes both folders, for their owner alone.
    pub fn prepare(&self) -> Result<(), PathsError> {
        private_folder(&self.state)?;
        self.socket.parent().map_or(Ok(()), private_folder)
    }

    /// Refuses a socket in somebody else's folder: in a temporary folder anyone may have put it there.
    pub fn check_socket_folder(&self) -> Result<(), PathsError> {
        let Some(folder) = self.socket.parent() else { return Ok(()) };
        let uid = rustix::process::getuid().as_raw();
        match fs::metadata(folder) {
            Ok(meta) if uid != 0 && meta.uid() != uid => {
                Err(PathsError::NotOurs { path: folder.to_owned(), owner: meta.uid(), uid })
            }
            _ => Ok(()), // what isn't there is said by connect
        }
    }
}

/// A folder with mode 0700, ours. An existing one is made private where nothing of anyone else can be in it; one that others
/// can only read is left as its owner wants it: all that is put there is private by itself.
fn private_folder(path: &Path) -> Result<(), PathsError> {
    let system = |what| move |why| PathsError::System { what, path: path.to_owned(), why };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(system("create the folder"))?;
    }
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(why) if why.kind() != io::ErrorKind::AlreadyExists => return Err(system("create the folder")(why)),
        _ => {}
    }
    let meta = fs::metadata(path).map_err(system("look at"))?;
    let uid = rustix::process::getuid().as_raw();
    let mode = meta.permissions().mode() & 0o7777;
    if !meta.is_dir() {
        return Err(PathsError::NotAFolder(path.to_owned()));
    }
    if meta.uid() != uid {
        return Err(PathsError::NotOurs { path: path.to_owned(), owner: meta.uid(), uid });
    }
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let empty = fs::read_dir(path).map_err(system("read the folder"))?.next().is_none();
    if empty || path.join("start.lock").exists() {
        let private = fs::Permissions::from_mode(0o700);
        return fs::set_permissions(path, private).map_err(system("make private the folder"));
    }
    if mode & 0o022 != 0 { Err(PathsError::Open { path: path.to_owned(), mode }) } else { Ok(()) }
}

/// Without `.`, doubled and trailing slashes, so that two spellings of a path agree.
fn tidy(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::CurDir).collect()
}

/// Without links as far as it exists.
fn real(path: &Path) -> PathBuf {
    path.ancestors()
        .find_map(|known| Some(fs::canonicalize(known).ok()?.join(path.strip_prefix(known).ok()?)))
        .map_or_else(|| path.to_owned(), |found| tidy(&found))
}

/// FNV-1a, 64 bits: short, stable over versions and machines; nothing depends on its being hard to invert.
fn hash(path: &Path) -> u64 {
    path.as_os_str()
        .as_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |h, byte| (h ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(env: &[(&str, &str)]) -> Result<(String, String), String> {
        let env = Env::from_pairs(env.iter().copied());
        Paths::resolve(&env, 7, Path::new("/cwd"), &Path::to_path_buf)
            .map(|p| (p.state.display().to_string(), p.socket.display().to_string()))
            .map_err(|e| e.to_string())
    }

    #[test]
    fn the_nearest_source_wins() {
        type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str);
        let table: [Case<'_>; 9] = [
            (&[("HOME", "/h")], "/h/.local/state/termalive", "/tmp/termalive-7/termalive.sock"),
            (&[("HOME", "/h"), ("TMPDIR", "/t/")], "/h/.local/state/termalive", "/t/termalive-7/termalive.sock"),
            (
                &[("HOME", "/h"), ("XDG_STATE_HOME", "/s"), ("XDG_RUNTIME_DIR", "/r")],
                "/s/termalive",
                "/r/termalive/termalive.sock",
            ),
            (
                &[("HOME", "/h"), ("XDG_STATE_HOME", "rel")],
                "/h/.local/state/termalive",
                "/tmp/termalive-7/termalive.sock",
            ),
            (&[("TERMALIVE_HOME", "/x"), ("XDG_RUNTIME_DIR", "/r")], "/x", "/x/termalive.sock"),
            (&[("TERMALIVE_HOME", "x/./y/")], "/cwd/x/y", "/cwd/x/y/termalive.sock"),
            (&[("TERMALIVE_HOME", "/x"), ("TERMALIVE_RUNTIME_DIR", "/r")], "/x", "/r/termalive.sock"),
            (&[("TERMALIVE_HOME", "/x"), ("TERMALIVE_STATE_DIR", "/s")], "/s", "/x/termalive.sock"),
            (&[("TERMALIVE_STATE_DIR", "/s"), ("TERMALIVE_RUNTIME_DIR", "/r")], "/s", "/r/termalive.sock"),
        ];
        for (env, state, socket) in table {
            assert_eq!(places(env), Ok((state.to_owned(), socket.to_owned())), "{env:?}");
        }
        assert!(places(&[]).unwrap_err().contains("HOME is not set"));
    }

    #[test]
    fn a_state_folder_alone_marks_its_socket() {
        let socket = |state: &str| places(&[("TERMALIVE_STATE_DIR", state), ("XDG_RUNTIME_DIR", "/r")]).unwrap().1;
        assert!(socket("/s").starts_with("/r/termalive/termalive-"), "{}", socket("/s"));
        assert_eq!(socket("/s"), socket("/s/"));
        assert_ne!(socket("/s"), socket("/s2"));
    }

    #[test]
    fn a_long_path_still_works() {
        let long = format!("/{}", "x".repeat(200));
        let (state, socket) = places(&[("TERMALIVE_HOME", &long)]).unwrap();
        assert_eq!(state, long);
        assert!(socket.starts_with("/tmp/termalive-7/") && socket.len() <= SOCKET_PATH_MAX, "{socket}");
        assert_ne!(socket, places(&[("TERMALIVE_HOME", &format!("{long}y"))]).unwrap().1);
        let (_, socket) = places(&[("TERMALIVE_HOME", &long), ("TMPDIR", &long)]).unwrap();
        assert!(socket.starts_with("/tmp/"), "{socket}");
    }

    #[test]
    fn folders_are_private() {
        let temp = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let place = |name: &str| temp.path().join(name);
        private_folder(&place("a/b")).unwrap();
        assert_eq!(mode(&place("a/b")), 0o700);
        let with = |name: &str, bits: u32, file: bool| {
            fs::create_dir(place(name)).unwrap();
            if file {
                fs::write(place(name).join("file"), "").unwrap();
            }
            fs::set_permissions(place(name), fs::Permissions::from_mode(bits)).unwrap();
            (private_folder(&place(name)), mode(&place(name)))
        };
        assert!(matches!(with("empty", 0o777, false), (Ok(()), 0o700)));
        assert!(matches!(with("readable", 0o755, true), (Ok(()), 0o755)));
        assert!(matches!(with("open", 0o775, true), (Err(PathsError::Open { mode: 0o775, .. }), 0o775)));
        fs::write(place("file"), "").unwrap();
        assert!(matches!(private_folder(&place("file")), Err(PathsError::NotAFolder(_))));
    }

    #[test]
    fn links_are_followed_as_far_as_they_go() {
        let temp = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(temp.path()).unwrap();
        fs::create_dir(base.join("real")).unwrap();
        std::os::unix::fs::symlink(base.join("real"), base.join("link")).unwrap();
        assert_eq!(real(&base.join("link/later")), base.join("real/later"));
    }
}
