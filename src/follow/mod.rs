//! One reading of one session's log, for one client: records in, printed lines and an end out.
//!
//! Pure: the same records and times give the same lines; no clock, no I/O. Records come from the tail or the store by way of
//! the server, which also says what time it is and when it has read all there is; frames go to the connection. It must never
//! print a row twice or leave one out when a reading is taken up again, and never let a verdict depend on when it was asked.
//!
//! # Going on after a broken connection
//! The same plan with `after` = the `next` of the last data frame that was received (of a raw frame: the place after its last
//! byte) gives the rest. Events that came after that frame come again: who prints them leaves out those with a `seq` it has
//! had.

mod chars;
mod lines;
mod look;
mod machine;
mod plan;
mod reader;
mod reading;
mod reply;
mod rewrite;
mod search;
mod tail;
mod work;
mod writer;

pub use lines::timestamp;
pub use look::{Look, LookPlan};
pub use machine::Follow;
pub use plan::{Before, Bound, End, Frame, MAX_LINES, Plan, exit_code};
pub use reader::Reader;
pub use reply::{MAX_REPLY, ReplyText, TooLong, again};
pub use search::{Begin, Found, MAX_CONTEXT, Pattern, Search, Side};
pub use work::AtWork;
