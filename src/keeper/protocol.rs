//! What keeper and host say to each other. Words only: no descriptor is touched here, nothing is sent.
//!
//! One message is one JSON object in one packet; the descriptors that belong to it travel beside it, in the order given
//! at each message. Anything large travels as a sealed memfd. A field may be added; a meaning never changes under a name.

use crate::{
    model::{KIB, Process, RawString, SessionId, Size, Status},
    pty::shim::SpawnStep,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The version both sides name first.
pub const PROTOCOL: u32 = 1;
/// The longest message: the arguments of a host and an error's text fit, and any socket buffer takes it.
pub(super) const MESSAGE_BYTES: usize = 64 * KIB;
/// The longest text of an error that is passed on.
pub(super) const TEXT_BYTES: usize = 4 * KIB;
/// The most descriptors beside one message.
pub(super) const FDS: usize = 4;

/// The host to the keeper.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "kebab-case", rename_all_fields = "snake_case")]
pub(super) enum HostSays {
    /// First of all; the highest version the host speaks.
    Hello { protocol: u32 },
    /// The hand-over is complete.
    Adopted { generation: u64 },
    /// It serves.
    Ready,
    /// It is about to exit, and why.
    Fatal { message: String },
    /// Kill this host and start another.
    Replace,
    /// Start a run. Beside it: spec (sealed memfd), ring, opaque (sealed memfd), and when it `waits` the reading end of a pipe:
    /// a byte in it lets the program begin, its end forbids it. (Hosts of before that let it begin by itself.)
    Spawn {
        id: SessionId,
        run: u32,
        size: Size,
        #[serde(default)]
        waits: bool,
    },
    /// The exit record is durable.
    Forget { id: SessionId, run: u32 },
    /// PTY and ring may go.
    Drop { id: SessionId },
    /// All is ended and flushed: exit when this host has.
    Bye,
    /// Answered with `pong`.
    Ping,
    /// Become this program in place.
    Reexec { program: RawString },
    /// First of all, to a new keeper in place of a dead one. Beside it: lock, the host's pidfd.
    Revive {
        protocol: u32,
        generation: u64,
        host: Process,
        ready: bool,
        /// The soft limit of open files that programs get.
        files: Option<u64>,
        host_args: Vec<RawString>,
    },
    /// After it, each session. Beside it: master, ring, opaque, pidfd.
    Held(Holding),
    /// No more sessions.
    End,
}

/// The keeper to the host.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "kebab-case", rename_all_fields = "snake_case")]
pub(super) enum KeeperSays {
    /// The version that is spoken from here on. Beside it: lock.
    Welcome {
        protocol: u32,
        generation: u64,
        keeper_pid: u32,
        files: Option<u64>,
        /// How long ago the host before this one left.
        #[serde(default)]
        away_ms: Option<u64>,
        /// Why hosts are started from the program before the newest again.
        #[serde(default)]
        reverted: Option<String>,
    },
    /// Each session. Beside it: master, ring, opaque, pidfd.
    Held(Holding),
    /// No more sessions.
    End,
    /// The child needs nothing more from this keeper, and waits for the host's word. Beside it: master, pidfd.
    Waiting { id: SessionId, run: u32, process: Process },
    /// The program was executed. Beside it: master, pidfd.
    Spawned { id: SessionId, run: u32, process: Process },
    /// The system refused.
    SpawnFailed { id: SessionId, run: u32, errno: i32, step: SpawnStep },
    /// The keeper refused.
    SpawnRefused { id: SessionId, run: u32, why: String },
    /// A run has ended.
    Exited { id: SessionId, run: u32, status: Status },
    /// End all sessions in order, then say `bye`.
    Shutdown,
    /// The answer to `ping`.
    Pong,
    /// A message wasn't understood, or isn't done.
    Refused { why: String },
    /// The keeper is the new program now: the same process, with all that it held.
    Reexeced { protocol: u32 },
    /// It stays what it is.
    ReexecRefused { why: String },
    /// A new keeper has taken everything over.
    Revived { protocol: u32, keeper_pid: u32 },
}

/// A session that is held.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Holding {
    pub(super) id: SessionId,
    pub(super) run: u32,
    pub(super) process: Process,
    pub(super) exit: Option<Status>,
    /// The host has the exit record on disk.
    pub(super) forgotten: bool,
}

/// One message to its bytes.
pub(super) fn encode(message: &impl Serialize) -> Result<Vec<u8>, String> {
    let body = serde_json::to_vec(message).map_err(|e| e.to_string())?;
    match body.len() {
        n if n <= MESSAGE_BYTES => Ok(body),
        n => Err(format!("a message of {n} bytes is longer than {MESSAGE_BYTES}")),
    }
}

/// One message from its bytes; the error is a sentence for the other side.
pub(super) fn decode<M: DeserializeOwned>(body: &[u8]) -> Result<M, String> {
    serde_json::from_slice(body).map_err(|e| format!("message not understood by protocol {PROTOCOL}: {e}"))
}

/// Cuts a text to what a message takes.
pub(super) fn shorten(text: &str) -> String {
    let fits = |end: &usize| *end <= TEXT_BYTES;
    let end = text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(fits).last().unwrap_or(0);
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_survives_its_bytes() {
        let id = SessionId([0xab; 16]);
        let process = Process { pid: 7, start_time: u64::MAX };
        let holding = Holding { id, run: 2, process, exit: Some(Status::Signal(9)), forgotten: true };
        let revive = HostSays::Revive {
            protocol: 1,
            generation: 3,
            host: process,
            ready: true,
            files: None,
            host_args: vec!["__host".into(), RawString(vec![0xff])],
        };
        for (message, text) in [
            (HostSays::Hello { protocol: 1 }, r#"{"say":"hello","protocol":1}"#),
            (HostSays::Adopted { generation: 9 }, r#"{"say":"adopted","generation":9}"#),
            (HostSays::Ready, r#"{"say":"ready"}"#),
            (HostSays::Fatal { message: "x".into() }, r#"{"say":"fatal","message":"x"}"#),
            (HostSays::Replace, r#"{"say":"replace"}"#),
            (
                HostSays::Spawn { id, run: 1, size: Size { cols: 80, rows: 24 }, waits: true },
                r#"{"say":"spawn","id":"abababababababababababababababab","run":1,"size":{"cols":80,"rows":24},"waits":true}"#,
            ),
            (HostSays::Forget { id, run: 1 }, r#"{"say":"forget","id":"abababababababababababababababab","run":1}"#),
            (HostSays::Drop { id }, r#"{"say":"drop","id":"abababababababababababababababab"}"#),
            (HostSays::Bye, r#"{"say":"bye"}"#),
            (HostSays::Reexec { program: "/x".into() }, r#"{"say":"reexec","program":"/x"}"#),
            (
                revive,
                r#"{"say":"revive","protocol":1,"generation":3,"host":{"pid":7,"start_time":18446744073709551615},"ready":true,"files":null,"host_args":["__host",{"base64":"/w=="}]}"#,
            ),
            (
                HostSays::Held(holding),
                r#"{"say":"held","id":"abababababababababababababababab","run":2,"process":{"pid":7,"start_time":18446744073709551615},"exit":{"Signal":9},"forgotten":true}"#,
            ),
            (HostSays::End, r#"{"say":"end"}"#),
        ] {
            assert_eq!(String::from_utf8(encode(&message).unwrap()).unwrap(), text);
            assert_eq!(decode::<HostSays>(text.as_bytes()).unwrap(), message);
        }
        for message in [
            KeeperSays::Welcome {
                protocol: 1,
                generation: 1,
                keeper_pid: 5,
                files: Some(1024),
                away_ms: Some(7),
                reverted: None,
            },
            KeeperSays::Reexeced { protocol: 1 },
            KeeperSays::ReexecRefused { why: "no".into() },
            KeeperSays::Held(holding),
            KeeperSays::End,
            KeeperSays::Waiting { id, run: 1, process },
            KeeperSays::Spawned { id, run: 1, process },
            KeeperSays::SpawnFailed { id, run: 1, errno: 2, step: SpawnStep::Exec },
            KeeperSays::SpawnRefused { id, run: 1, why: "no".into() },
            KeeperSays::Exited { id, run: 1, status: Status::Unknown },
            KeeperSays::Shutdown,
            KeeperSays::Refused { why: "no".into() },
            KeeperSays::Revived { protocol: 1, keeper_pid: 5 },
        ] {
            assert_eq!(decode::<KeeperSays>(&encode(&message).unwrap()).unwrap(), message);
        }
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for (body, word) in [
            (r#"{"say":"dance"}"#, "unknown variant `dance`"),
            (r#"{"say":"spawn"}"#, "missing field"),
            ("", "EOF"),
            ("\u{0}", "expected value"),
        ] {
            let why = decode::<HostSays>(body.as_bytes()).unwrap_err();
            assert!(why.contains(word) && why.contains("protocol 1"), "{why}");
        }
        let newer = r#"{"say":"hello","protocol":2,"also":[1]}"#;
        assert_eq!(decode::<HostSays>(newer.as_bytes()).unwrap(), HostSays::Hello { protocol: 2 });
        let older = r#"{"say":"spawn","id":"abababababababababababababababab","run":1,"size":{"cols":80,"rows":24}}"#;
        assert!(matches!(decode(older.as_bytes()).unwrap(), HostSays::Spawn { waits: false, .. }));
        assert!(encode(&HostSays::Fatal { message: "x".repeat(MESSAGE_BYTES) }).is_err());
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(shorten("abc"), "abc");
        let long = format!("x{}", "ä".repeat(TEXT_BYTES));
        assert!(shorten(&long).len() == TEXT_BYTES - 1 && long.starts_with(&shorten(&long)));
    }
}
