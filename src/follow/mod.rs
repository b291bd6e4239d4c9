//! One reading of one session's log, for one client: records in, printed lines and an end out.
//!
//! Pure: the same records and times give the same lines; no clock, no I/O. Records come from the tail or the store by way of
//! the server, which also says what time it is and when it has read all there is; frames go to the connection. It must never
//! print a row twice or leave one out when a reading is taken up again, and never let a verdict depend on when it was asked.

mod machine;
mod plan;

pub use machine::Follow;
pub use plan::{Bound, End, Frame, MAX_LINES, Plan, exit_code};
