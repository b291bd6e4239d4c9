//! termalive keeps terminal sessions alive. **The log is the truth; everything else is a reader with a cursor.**
//!
//! # The way of the data
//! ```text
//! PTY ─read(2)─► crash ring ─► session actor ─► tail (Feed) ─► readers: follow (ws, http) ─► client ─► cli
//!               (memfd, kept      numbers, runs   └─► log writer (thread) ─► frames ─► sled segment ─► readers that are behind
//!                by the keeper)   effects
//! ```
//! One direction only. A reader asks for records from a [`model::Seq`] on, at its own pace; nobody pushes to it.
//!
//! # Processes
//! `keeper` (tiny, parent of every session, holds PTY masters and rings) → `host` (all the rest; may die at any time).
//!
//! # Layers
//! A module uses only what stands above it in this file; `tests/tidy.rs` checks it.
//!
//! # Invariants
//! 1. Ok is sent after the effect.
//! 2. A queue has a bound, a name and a reason.
//! 3. Pure layers (`model`, `wire`, `terminal`, `stop`, `follow`, `export`) never read a clock, a file or an environment.
//! 4. `do_send` is not used on the data path: it ignores the mailbox bound.
//! 5. A dying host writes nothing into a PTY.
//! 6. Snapshot and subscribe happen in one actor turn.
//! 7. What is unknown is said to be unknown.
//! 8. Input is in the ring before it is typed, what was typed after, durable before its receipt.
//! 9. Secrets (tokens, no-echo input, environment values) never reach a log line.
//! 10. A wait's verdict is a pure function of the events and the log time at the end of the log.
//! 11. Creating and typing are idempotent by key.
//! 12. Everything on disk and on the wire carries a version; a newer one is refused with a sentence, an older one is read.

pub mod failpoint;
pub mod model;
pub mod config;
pub mod wire;
pub mod terminal;
pub mod stop;
pub mod policy;
pub mod follow;
pub mod log;
pub mod ring;
pub mod pty;
pub mod keeper;
pub mod session;
pub mod supervisor;
pub mod export;
pub mod server;
pub mod client;
pub mod cli;
