//! What travels between client and host: versioned, serde only. Unknown fields are ignored; new ones are optional.
//!
//! No I/O, no clock. `server` and `client` use these types and no others on the network.

mod attach;
mod error;
mod events;
mod fleet;
mod follow;
mod reload;
mod screen;
mod search;
mod session;
mod turn;

pub use attach::{AttachHello, AttachLine, AttachOp, AttachQuery, RunEnd, TYPING_FRAME, TYPING_WINDOW};
pub use error::{ApiError, Code, ErrorBody};
pub use events::{Change, EventsQuery};
pub use fleet::{FleetAnswer, FleetChange, FleetInfo, FleetRequest, FleetWord, GroupInfo};
pub use follow::{
    Content, DataLine, EndLine, EndReason, EventLine, FollowQuery, Hello, Line, StartLine, raw_frame, split_raw_frame,
};
pub use reload::{Reload, Reloading};
pub use screen::{Screen, ScreenCursor, ScreenFormat, ScreenQuery};
pub use search::{SearchHit, SearchQuery};
pub use session::{
    Created, HostStatus, InputRequest, KeysRequest, KillRequest, NewSession, Receipt, ResizeRequest, SessionInfo,
    StoreStatus, Version,
};
pub use turn::{Gap, Reply, ReplyQuery, ReplyReason, ReplySource, TurnInfo, TurnReason, TurnRequest, TurnState, When};

/// The version of everything in this module. A host and a client with different numbers still talk; both say theirs.
pub const API: u32 = 1;

/// The largest request body. 8 MiB: the largest text that is typed, as JSON.
pub const MAX_BODY: usize = 8 * crate::model::MIB;
