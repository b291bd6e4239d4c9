//! One session: pure machines (`summary`, `typist`) and the actor that runs their effects.

mod actor;
mod clock;
mod ending;
mod info;
pub mod messages;
mod reading;
mod running;
pub mod summary;
pub mod typist;
mod typing;

pub use actor::{Services, SessionActor, Tuning};
pub use clock::wall_now;
pub use typing::{digest, digest_text};
