//! What can be asked of a session's actor.

use super::attached::Watcher;
use super::summary::Summary;
use super::typist::Manner;
use crate::log::Feed;
use crate::model::{Key, Name, Seq, SessionId, Size, Spec, Stamp, Status};
use crate::policy::Decision;
use crate::wire::{ApiError, Receipt, SessionInfo};
use actix::Message;
use std::sync::Arc;
use std::time::Duration;

/// What a session is and where its log stands, in one turn: a reader that starts here misses nothing.
#[derive(Message)]
#[rtype(result = "Snapshot")]
pub struct Describe;

/// The answer to [`Describe`].
pub struct Snapshot {
    /// As users see it.
    pub info: SessionInfo,
    /// The fold of its log.
    pub summary: Summary,
    /// Where to read on.
    pub feed: Arc<Feed>,
    /// The session's time: every record up to it is in the feed.
    pub now: Stamp,
    /// False when the session has ended for good.
    pub live: bool,
    /// The session from inside which it was made.
    pub maker: Option<SessionId>,
}

/// What time it is in the session, and where its log ends: both in one turn.
#[derive(Message)]
#[rtype(result = "Told")]
pub struct Now;

/// The answer to [`Now`].
#[derive(Clone, Copy)]
pub struct Told {
    /// The session's time: every record up to it is in the feed.
    pub now: Stamp,
    /// The last record.
    pub seq: Seq,
    /// See [`Snapshot::live`].
    pub live: bool,
}

/// The session's screen, and where its log ends: both in one turn.
#[derive(Message)]
#[rtype(result = "Opened")]
pub struct OpenScreen;

/// The answer to [`OpenScreen`].
pub struct Opened {
    /// To be asked by what [`super::screen`] offers.
    pub screen: actix::Addr<super::screen::ScreenActor>,
    /// See [`Now`].
    pub told: Told,
}

/// Starts the next run.
#[derive(Message)]
#[rtype(result = "Result<(), StartError>")]
pub struct Start {
    /// With this spec from now on; without it as before.
    pub spec: Option<Spec>,
}

/// Starts the run that was decided after run `after_run`, if that still is what is to come.
#[derive(Message)]
#[rtype(result = "Result<(), StartError>")]
pub struct StartAgain {
    /// The run that ended.
    pub after_run: u32,
}

/// Why a run didn't start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The system says no.
    #[error("{reason}")]
    Exec {
        /// As a number.
        errno: i32,
        /// In words, with what it is about.
        reason: String,
    },
    /// It runs already, or is being started or ended.
    #[error("it is live")]
    Live,
    /// The host can't go on.
    #[error("{0}")]
    Host(String),
}

/// Types something.
#[derive(Message)]
#[rtype(result = "Result<Receipt, ApiError>")]
pub struct Type {
    /// The text.
    pub text: Vec<u8>,
    /// How.
    pub manner: Manner,
    /// Named keys instead of a text: their bytes depend on the program's modes.
    pub keys: Vec<String>,
    /// The client's key.
    pub key: Option<Key>,
    /// Who.
    pub from: String,
    /// How long the program may take to read it.
    pub timeout: Duration,
    /// Of an ask: when its reply is whole.
    pub asked: Option<String>,
}

/// A client attaches. In one turn: it is counted, the session has its size where it leads, and it knows where to read on.
#[derive(Message)]
#[rtype(result = "Result<Watching, ApiError>")]
pub struct Attach {
    /// The client; it is attached as long as this is held elsewhere.
    pub watcher: Arc<Watcher>,
    /// Its word for itself.
    pub client: String,
}

/// The answer to [`Attach`].
pub struct Watching {
    /// Whose.
    pub id: SessionId,
    /// The newest run.
    pub run: u32,
    /// How much of what this client typed is in the log.
    pub typed: u64,
    /// Where to read on.
    pub feed: Arc<Feed>,
}

/// An attached client types. Answers when it is typed: false when it was not, as nothing runs.
#[derive(Message)]
#[rtype(result = "bool")]
pub struct Keystrokes {
    /// Who; the session's size follows it.
    pub watcher: Arc<Watcher>,
    /// Its word for itself.
    pub client: String,
    /// How much it has typed with this.
    pub upto: u64,
    /// At most [`crate::wire::TYPING_FRAME`].
    pub keys: Vec<u8>,
}

/// The size of a client's terminal, or that of the session's, has changed.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Reassert(pub Arc<Watcher>);

/// A client has gone: perhaps another one leads now.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Gone(pub Arc<Watcher>);

/// Changes the terminal's size.
#[derive(Message)]
#[rtype(result = "Result<(), ApiError>")]
pub struct Resize(pub Size);

/// Ends the run and its whole process tree; nothing restarts it. Answers when all is gone.
#[derive(Message, Clone, Copy)]
#[rtype(result = "Result<(), ApiError>")]
pub struct End {
    /// SIGKILL at once.
    pub force: bool,
    /// Another run follows (`restart`): the wish to run stays.
    pub for_restart: bool,
}

/// The host ends, and the run with it. Answers as [`End`] does. A session that runs always runs again under the next host.
#[derive(Message, Clone, Copy)]
#[rtype(result = "Result<(), ApiError>")]
pub struct EndWithHost;

/// Sends one signal to the leader and changes nothing else.
#[derive(Message)]
#[rtype(result = "Result<(), ApiError>")]
pub struct SignalOnce(pub i32);

/// The keeper reaped the leader of a run.
#[derive(Message, Clone, Copy)]
#[rtype(result = "()")]
pub struct LeaderExited {
    /// Which run.
    pub run: u32,
    /// How.
    pub status: Status,
}

/// To the supervisor: a run has ended and this was decided.
#[derive(Message, Clone)]
#[rtype(result = "()")]
pub struct RunEnded {
    /// Whose.
    pub id: SessionId,
    /// Its name.
    pub name: Name,
    /// Which run.
    pub run: u32,
    /// What now. Of a session in a group: what its own policy says; the group decides.
    pub decision: Decision,
    /// Somebody asked for the end.
    pub wanted: bool,
}

/// To the supervisor: nothing of the session is left to watch over. Ends the actor (after `rm`).
#[derive(Message)]
#[rtype(result = "()")]
pub struct Leave;
