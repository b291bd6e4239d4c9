//! What travels between client and host: versioned, serde only. Unknown fields are ignored; new ones are optional.
//!
//! No I/O, no clock. `server` and `client` use these types and no others on the network.

mod attach;
mod error;
mod follow;
mod screen;
mod session;

pub use attach::{AttachHello, AttachLine, AttachOp, AttachQuery, RunEnd, TYPING_FRAME, TYPING_WINDOW};
pub use error::{ApiError, Code, ErrorBody};
pub use follow::{
    Content, DataLine, EndLine, EndReason, EventLine, FollowQuery, Hello, Line, StartLine, raw_frame, split_raw_frame,
};
pub use screen::{Screen, ScreenCursor, ScreenFormat, ScreenQuery};
pub use session::{
    Created, HostStatus, InputRequest, KeysRequest, KillRequest, NewSession, Receipt, ResizeRequest, SessionInfo,
    StoreStatus, TurnRequest, Version,
};

/// The version of everything in this module. A host and a client with different numbers still talk; both say theirs.
pub const API: u32 = 1;

/// The largest request body. 8 MiB: the largest text that is typed, as JSON.
pub const MAX_BODY: usize = 8 * crate::model::MIB;
