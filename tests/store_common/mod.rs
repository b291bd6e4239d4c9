//! What the tests of the store share.
#![allow(dead_code, reason = "each test file uses some of it")]
#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

pub(crate) mod damage;

use bytes::Bytes;
use std::io::Write;
use termalive::{
    log::{Desired, Options, SessionMeta},
    model::{Kind, LogTime, MIB, Record, Restart, Seq, SessionId, Size, Spec, Stamp, Wall},
};

/// Dice that fall the same each time.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// 0 to `sides` - 1.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % sides
    }

    /// Bytes that don't compress.
    pub(crate) fn noise(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.roll(256) as u8).collect()
    }

    /// Coloured lines of a build and a test run, with times, hashes and paths.
    pub(crate) fn text(&mut self, len: usize) -> Vec<u8> {
        const WORDS: &str = "error warning unused import borrowed value does not live long enough expected found type \
            struct field compiling checking finished running passed failed assertion left right thread panicked at stack \
            backtrace session writer reader frame segment host keeper terminal record cursor budget interval durable";
        let words: Vec<&str> = WORDS.split_whitespace().collect();
        let mut out = Vec::with_capacity(len + 256);
        while out.len() < len {
            write!(out, "\x1b[3{}m{:>12}\x1b[0m ", self.roll(8), words[self.roll(words.len() as u64) as usize])
                .unwrap();
            for _ in 0..4 + self.roll(8) {
                write!(out, "{} ", words[self.roll(words.len() as u64) as usize]).unwrap();
            }
            let (file, line, hash) = (self.roll(400), self.roll(2000), self.roll(1 << 31));
            write!(out, "src/module_{file}.rs:{line} [{}.{:03}s] {hash:08x}\r\n", line % 9, line % 1000).unwrap();
        }
        out.truncate(len);
        out
    }

    /// Any of the bodies a session makes: keys typed, lines, floods, noise, a long paste, nothing.
    pub(crate) fn body(&mut self) -> Vec<u8> {
        match self.roll(100) {
            0 => Vec::new(),
            1..40 => {
                let len = self.roll(120) as usize;
                self.text(len)
            }
            40..70 => self.text(3840),
            70..98 => self.noise(3840),
            98 => self.text(32 * 1024),
            _ => self.noise(40_000),
        }
    }
}

/// A session's id.
pub(crate) fn id(n: u8) -> SessionId {
    SessionId([n; 16])
}

/// A record of output.
pub(crate) fn record(seq: u64, body: impl Into<Bytes>) -> Record {
    let at = Stamp { wall: Wall(1_700_000_000_000_000 + seq as i64 * 50), log: LogTime(seq * 50_123) };
    Record { seq: Seq(seq), kind: Kind::Output, at, body: body.into() }
}

/// Options for tests: a small ballast, no demands on the disk.
pub(crate) fn small() -> Options {
    Options { segment_bytes: 64 * MIB as u64, min_free: MIB as u64, ballast_bytes: MIB as u64, ..Options::default() }
}

/// A session's entry with an environment of `env` variables.
pub(crate) fn session(n: u8, name: &str, env: usize) -> SessionMeta {
    let value = |i: usize| {
        (
            format!("VARIABLE_{i}").as_str().into(),
            Dice(i as u64).text(90).into_iter().map(char::from).collect::<String>().as_str().into(),
        )
    };
    let spec = Spec {
        command: "cat".into(),
        argv: vec!["cat".into()],
        program: "/bin/cat".into(),
        cwd: "/".into(),
        env: (0..env).map(value).collect(),
        umask: 0o22,
        size: Size { cols: 80, rows: 24 },
        labels: [("team".to_owned(), "a".to_owned())].into(),
        restart: Restart::default(),
        care: Default::default(),
    };
    SessionMeta {
        v: SessionMeta::VERSION,
        id: id(n),
        name: name.parse().unwrap(),
        spec,
        created: Wall(1),
        desired: Desired::Running,
        removed: false,
        ring_records: 4096,
        member: None,
        first_run: 1,
        boot: None,
    }
}
