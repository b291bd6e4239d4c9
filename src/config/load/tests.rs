//! Tables of sources and what they come to.

use super::*;
use crate::config::LogFormat;
use std::time::Duration;

fn merge(file: &str, env: &[(&str, &str)], flags: &[&str]) -> Result<Config, String> {
    let file = FileText { path: "/etc/mine.toml".into(), text: file.to_owned() };
    let flags: Vec<String> = flags.iter().map(|f| (*f).to_owned()).collect();
    Config::merge(Some(&file), &Env::from_pairs(env.iter().copied()), &flags).map_err(|e| e.to_string())
}

#[test]
fn the_defaults_are_whole() {
    let config = Config::merge(None, &Env::default(), &[]).unwrap();
    assert_eq!(config.host.log, "info");
    assert_eq!(config.host.log_format, LogFormat::Text);
    assert_eq!(config.store.segment_bytes, 64 << 20);
    assert_eq!(config.store.segment_age, Duration::from_secs(86_400));
    assert_eq!(config.store.commit_interval, Duration::from_millis(100));
    assert_eq!(config.store.min_free, 256 << 20);
    assert_eq!(config.session.size.to_string(), "80x24");
    assert_eq!(config.session.stop_grace, Duration::from_secs(5));
    assert_eq!(config.send.enter_delay, Duration::from_millis(50));
    assert_eq!(config.send.timeout, Duration::from_secs(60));
    assert_eq!(config.wait.first, Duration::from_secs(120));
    assert_eq!(config.attach.prefix, 0x02);
    assert_eq!(config.ask.timeout, Duration::from_secs(1800));
    assert_eq!(config.ask.quiet, Duration::from_secs(3));
    assert!(config.http.listen.is_empty() && !config.http.insecure);
    assert_eq!((config.http.max_connections, config.http.max_per_peer, config.http.max_follows), (1024, 256, 128));
}

#[test]
fn lists_are_arrays_or_stand_between_commas() {
    let listen = |file, flags: &[_]| {
        merge(file, &[], flags).map(|c| c.http.listen.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let two = Ok(vec!["127.0.0.1:7777".to_owned(), "[::1]:7777".to_owned()]);
    assert_eq!(listen("[http]\nlisten = [\"127.0.0.1:7777\", \"[::1]:7777\"]", &[]), two);
    assert_eq!(listen("", &["http.listen=127.0.0.1:7777, [::1]:7777"]), two);
    assert_eq!(listen("[http]\nlisten = \"127.0.0.1:1\"", &["http.listen="]), Ok(vec![]));
    for (flag, why) in [
        ("http.listen=7777", "no address"),
        ("http.listen=localhost:7777", "such as 127.0.0.1:7777"),
        ("http.listen=127.0.0.1:0", "port 0"),
        ("http.listen=0.0.0.0:7777", "--insecure"),
        ("http.listen=[::]:7777", "can be reached by others"),
        ("http.insecure=maybe", "neither true nor false"),
        ("http.allowed_hosts=http://x", "is no host"),
        ("http.allowed_hosts=*", "is no host"),
        ("http.allowed_origins=box.example", "as a browser says it"),
        ("http.max_follows=0", "from 1 to"),
    ] {
        let error = merge("", &[], &[flag]).unwrap_err();
        assert!(error.contains(why), "{flag}: {error}");
    }
    assert!(merge("[http]\ninsecure = true", &[], &["http.listen=0.0.0.0:1"]).unwrap().http.insecure);
}

#[test]
fn later_sources_win() {
    let file = "[store]\nsegment_bytes = \"1MiB\"\n[wait]\nfirst = 7";
    let env = [("TERMALIVE_CFG_STORE__SEGMENT_BYTES", "2MiB"), ("TERMALIVE_STATE_DIR", "/x")];
    let segment = |file, env: &[_], flags: &[_]| merge(file, env, flags).unwrap().store.segment_bytes >> 20;
    assert_eq!(segment("", &[], &[]), 64);
    assert_eq!(segment(file, &[], &[]), 1);
    assert_eq!(segment(file, &env, &[]), 2);
    assert_eq!(segment(file, &env, &["store.segment_bytes=3MiB"]), 3);
    assert_eq!(merge(file, &env, &[]).unwrap().wait.first, Duration::from_secs(7));
    let prefix = |key: &str| merge("", &[("TERMALIVE_CFG_ATTACH__PREFIX", key)], &[]).unwrap().attach.prefix;
    assert_eq!((prefix("Ctrl+A"), prefix("ctrl-\\"), prefix("ctrl+@")), (0x01, 0x1c, 0));
    assert_eq!(merge("store.min_free = 0", &[], &[]).unwrap().store.min_free, 0);
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [&'a str], &'a [&'a str]);
    let table: [Case<'_>; 11] = [
        ("[store]\nsegment_byte = 1", &[], &[], &["store.segment_byte\"", "/etc/mine.toml", "store.segment_bytes\"?"]),
        ("colour = 1", &[], &[], &["unknown key \"colour\"", "/etc/mine.toml"]),
        ("store = 1", &[], &[], &["unknown key \"store\""]),
        ("[host]\nlog = [1]", &[], &[], &["host.log in /etc/mine.toml", "array"]),
        ("[host]\nlog = \"a", &[], &[], &["/etc/mine.toml isn't valid TOML", "line 2"]),
        ("[store]\nsegment_bytes = \"12 cows\"", &[], &[], &["store.segment_bytes in /etc/mine.toml", "12 cows"]),
        ("", &[("TERMALIVE_CFG_STORE__SIZE", "1")], &[], &["\"store.size\"", "TERMALIVE_CFG_STORE__SIZE"]),
        ("", &[("TERMALIVE_CFG_STORE__COMMIT_INTERVAL", "1h")], &[], &["out of bounds: 1ms to 10s"]),
        ("[attach]\nprefix = \"b\"", &[], &[], &["attach.prefix in /etc/mine.toml", "ctrl+b"]),
        ("", &[], &["session.size"], &["--set KEY=VALUE"]),
        ("", &[], &["session.size=8"], &["session.size in --set", "80x24"]),
    ];
    for (file, env, flags, wants) in table {
        let error = merge(file, env, flags).unwrap_err();
        for want in wants {
            assert!(error.contains(want), "{file:?} {env:?} {flags:?}: {error:?} lacks {want:?}");
        }
        assert!(!error.contains('\n'), "{error:?}");
    }
}

#[test]
fn the_file_is_found() {
    let find = |explicit: Option<&str>, env: &[(&str, &str)]| {
        user_file(explicit.map(Path::new), &Env::from_pairs(env.iter().copied()))
            .map(|(path, named)| (path.display().to_string(), named))
    };
    let all = [("HOME", "/h"), ("XDG_CONFIG_HOME", "/c"), ("TERMALIVE_CONFIG", "/t.toml")];
    assert_eq!(find(Some("f"), &all), Some(("f".into(), true)));
    assert_eq!(find(None, &all), Some(("/t.toml".into(), true)));
    assert_eq!(find(None, &all[..2]), Some(("/c/termalive/termalive.toml".into(), false)));
    assert_eq!(find(None, &all[..1]), Some(("/h/.config/termalive/termalive.toml".into(), false)));
    assert_eq!(
        find(None, &[("HOME", "/h"), ("XDG_CONFIG_HOME", "rel")]).unwrap().0,
        "/h/.config/termalive/termalive.toml"
    );
    assert_eq!(find(None, &[]), None);
}

#[test]
fn a_named_file_must_exist() {
    let env = Env::default();
    let missing = Path::new("/nonexistent/termalive.toml");
    assert!(Config::load(Some(missing), &env, &[]).unwrap_err().to_string().contains("can't read"));
    let home = Env::from_pairs([("HOME", "/nonexistent")]);
    assert!(Config::load(None, &home, &[]).is_ok());
}
