//! The fleet file: sessions, groups, and the order in which they stand there.
//!
//! [`Fleet::parse`] is pure: text in, what was written out, or one sentence with the key and the file. What it means for a
//! host depends on who asks: folder, environment and umask of the caller come in with [`Fleet::request`].

mod table;

use super::{Failure, failed, new, wrong};
use crate::model::{Group, Name, Restart, RestartMode};
use crate::wire::{FleetRequest, NewSession};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};
use table::{Keys, Written};

/// The longest fleet file. 1 MiB: a thousand sessions with long commands.
const LONGEST: u64 = crate::model::MIB as u64;

/// See the module.
#[derive(Debug)]
pub(super) struct Fleet {
    name: String,
    /// Where nothing in it says its name.
    file: Option<String>,
    /// Its folder.
    folder: PathBuf,
    /// The folders are as written.
    sessions: Vec<NewSession>,
    groups: BTreeMap<Name, Group>,
    top: Vec<Name>,
}

/// Reads a fleet file.
pub(super) fn read(path: &Path) -> Result<Fleet, Failure> {
    let cannot = |why: std::io::Error| wrong(format!("can't read the fleet file {}: {why}", path.display()));
    let whole = std::fs::canonicalize(path).map_err(cannot)?;
    if std::fs::metadata(&whole).map_err(cannot)?.len() > LONGEST {
        return Err(wrong(format!("the fleet file {} is larger than {LONGEST} bytes", path.display())));
    }
    let text = std::fs::read_to_string(&whole).map_err(cannot)?;
    Fleet::parse(&text, &whole).map_err(|why| wrong(format!("{}: {why}", path.display())))
}

impl Fleet {
    /// `path`: the whole path of the file.
    fn parse(text: &str, path: &Path) -> Result<Fleet, String> {
        let Written { name, sessions, groups, order } = table::read(text)?;
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let file = name.is_none().then(|| path.display().to_string());
        let name = match name {
            Some(name) => name,
            None if stem.parse::<Name>().is_ok() => stem,
            None => return Err("its name can't be that of a fleet: add a line `name = \"…\"`".to_owned()),
        };
        let mut fleet = Fleet {
            name,
            file,
            folder: path.parent().unwrap_or(Path::new("/")).to_owned(),
            sessions: Vec::new(),
            groups,
            top: Vec::new(),
        };
        for (session, keys) in sessions {
            let group = fleet.groups.iter().find(|(_, group)| group.members.contains(&session)).map(|(name, _)| name);
            let made = made(&session, keys, group).map_err(|why| format!("sessions.{session}.{why}"))?;
            fleet.sessions.push(made);
        }
        let inner = |name: &Name| fleet.groups.values().any(|group| group.members.contains(name));
        fleet.top = order.into_iter().filter(|name| !inner(name)).collect();
        if fleet.groups.contains_key(&fleet.name.parse::<Name>().map_err(|e| e.to_string())?) {
            return Err(format!("the fleet and a group of it are both called {:?}", fleet.name));
        }
        fleet.plain_request().shape().in_order().map_err(|e| e.to_string())?;
        Ok(fleet)
    }

    fn plain_request(&self) -> FleetRequest {
        FleetRequest {
            name: self.name.clone(),
            file: self.file.clone(),
            dry_run: false,
            sessions: self.sessions.clone(),
            groups: self.groups.clone(),
            top: self.top.clone(),
        }
    }

    /// What the host is asked for. `remote`: this machine's folders and environment mean nothing there.
    pub(super) fn request(&self, dry_run: bool, remote: bool) -> Result<FleetRequest, Failure> {
        let mut request = FleetRequest { dry_run, ..self.plain_request() };
        let (env, umask) = (new::environment(), new::umask());
        for session in &mut request.sessions {
            let cwd = session.cwd.take().map(|cwd| PathBuf::from(cwd.to_os()));
            session.cwd = match (cwd, remote) {
                (Some(cwd), true) if !cwd.is_absolute() => {
                    let why = "over TCP give the whole path on the host's side";
                    return Err(failed(format!("sessions.{}.cwd: {}: {why}", session.name, cwd.display())));
                }
                (None, true) => None,
                (cwd, _) => Some(
                    self.folder.join(cwd.unwrap_or_default()).components().collect::<PathBuf>().into_os_string().into(),
                ),
            };
            if !remote {
                (session.env, session.umask) = (Some(env.clone()), Some(umask));
            }
        }
        Ok(request)
    }

    /// Its name, and its file where nothing in that says the name.
    pub(super) fn identity(self) -> (String, Option<String>) {
        (self.name, self.file)
    }
}

/// A session from its keys; an error begins with the key.
fn made(name: &Name, keys: Keys, group: Option<&Name>) -> Result<NewSession, String> {
    let Keys { mut session, restart, backoff, max_restarts, within } = keys;
    if session.command.is_some() && session.argv.is_some() {
        return Err("argv: give a command or argv, not both".to_owned());
    }
    if session.command.is_none() && session.argv.is_none() {
        return Err("command: is missing (or argv, a list of words)".to_owned());
    }
    if let Some(group) = group {
        let key = [("max_restarts", max_restarts.is_some()), ("within", within.is_some())];
        if let Some((key, _)) = key.iter().find(|(_, given)| *given) {
            return Err(format!("{key}: restarts are counted in its group: write groups.{group}.{key}"));
        }
    }
    let default = Restart::default();
    let (backoff_min, backoff_max) = backoff.unwrap_or((default.backoff_min, default.backoff_max));
    let implied = match group {
        Some(_) => RestartMode::Always,
        None => RestartMode::implied(session.watchdog_ms.is_some()),
    };
    session.restart = Some(Restart {
        mode: restart.unwrap_or(implied),
        backoff_min,
        backoff_max,
        max_restarts: max_restarts.unwrap_or(default.max_restarts),
        within: within.unwrap_or(default.within),
    });
    session.name = name.to_string();
    Ok(session)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Strategy;
    use std::time::Duration;

    fn parse(text: &str) -> Result<Fleet, String> {
        Fleet::parse(text, Path::new("/srv/team.toml"))
    }

    #[test]
    fn a_file_is_read_in_its_order() {
        let fleet = parse(
            "[sessions.z]\ncommand = \"cat\"\n[groups.g]\nstrategy = \"rest_for_one\"\nmembers = [\"b\", \"a\"]\nwithin = 60\n\
             [sessions.b]\nargv = [\"cat\", \"-n\"]\ncwd = \"sub\"\nrestart = \"on-failure\"\nbackoff = \"1s..2s\"\n\
             [sessions.a]\ncommand = \"cat\"\nenv = {K = \"V\"}\nwatchdog = \"5m\"\nsize = \"10x20\"\nlabels = {n = 1}\n",
        )
        .unwrap();
        assert_eq!((fleet.name.as_str(), fleet.file.as_deref()), ("team", Some("/srv/team.toml")));
        let top: Vec<&str> = fleet.top.iter().map(Name::as_str).collect();
        assert_eq!(top, ["z", "g"]);
        let group = &fleet.groups[&"g".parse().unwrap()];
        assert_eq!((group.strategy, group.within), (Strategy::RestForOne, Duration::from_secs(60)));
        let request = fleet.request(false, false).unwrap();
        let of = |name: &str| request.sessions.iter().find(|session| session.name == name).unwrap();
        let mode = |name: &str| of(name).restart.unwrap().mode;
        assert_eq!(
            (mode("z"), mode("b"), mode("a")),
            (RestartMode::Never, RestartMode::OnFailure, RestartMode::Always)
        );
        assert_eq!(
            (of("b").cwd.as_ref().unwrap().lossy(), of("a").cwd.as_ref().unwrap().lossy()),
            ("/srv/sub".into(), "/srv".into())
        );
        assert_eq!((of("a").watchdog_ms, of("a").set_env.len(), of("a").labels["n"].as_str()), (Some(300_000), 1, "1"));
    }

    #[test]
    fn a_watchdog_alone_restarts() {
        let mode = |keys: &str| {
            let fleet = parse(&format!("[sessions.a]\ncommand = \"cat\"\n{keys}")).unwrap();
            fleet.sessions[0].restart.unwrap().mode
        };
        assert_eq!(mode("watchdog = \"5m\""), RestartMode::OnFailure);
        assert_eq!(mode("watchdog = \"5m\"\nrestart = \"never\""), RestartMode::Never, "what was asked for stands");
        assert_eq!(mode("watchdog = \"5m\"\n[groups.g]\nmembers = [\"a\"]"), RestartMode::Always);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_key() {
        let one = "[sessions.a]\ncommand = \"cat\"\n";
        for (text, words) in [
            ("nam = \"x\"", "unknown key \"nam\" (did you mean \"name\"?)"),
            ("[sessions.a]\ncomand = \"x\"", "unknown key \"sessions.a.comand\" (did you mean \"command\"?)"),
            ("[groups.g]\nmember = []", "unknown key \"groups.g.member\" (did you mean \"members\"?)"),
            ("[sessions.a]\ncwd = \"/\"", "sessions.a.command: is missing"),
            ("[sessions.a]\ncommand = \"x\"\nargv = [\"x\"]", "sessions.a.argv: give a command or argv, not both"),
            ("[sessions.a]\ncommand = 1", "sessions.a.command: 1 doesn't fit"),
            ("[sessions.\"a b\"]\ncommand = \"x\"", "bad name \"a b\""),
            ("[sessions.a]\ncommand = \"x\"\nrestart = \"often\"", "sessions.a.restart: \"often\""),
            ("[sessions.a]\ncommand = \"x\"\nstop_signal = \"FOO\"", "sessions.a.stop_signal: unknown signal"),
            ("[sessions.a]\ncommand = \"x\"\nwithin = \"soon\"", "sessions.a.within: "),
            ("[sessions.a", "line 1: "),
            ("", "no sessions"),
            (&format!("{one}[groups.g]\nmembers = [\"b\"]"), "\"b\", which is neither"),
            (&format!("{one}[groups.g]\nmembers = [\"a\"]\nstrategy = \"all\""), "groups.g.strategy: \"all\""),
            (&format!("{one}max_restarts = 3\n[groups.g]\nmembers = [\"a\"]"), "write groups.g.max_restarts"),
            (&format!("{one}[groups.team]\nmembers = [\"a\"]"), "both called \"team\""),
            (&format!("{one}[groups.g]\nmembers = []"), "no members"),
        ] {
            let why = parse(text).unwrap_err();
            assert!(why.contains(words) && !why.contains('\n'), "{text:?}: {why}");
        }
    }

    #[test]
    fn the_example_is_a_fleet() {
        let text = include_str!("../../config/fleet.toml");
        let fleet = Fleet::parse(text, Path::new("/srv/config/fleet.toml")).unwrap();
        assert!(fleet.sessions.len() > 3 && fleet.groups.len() > 1);
    }
}
