//! One session: pure machines (`summary`, `typist`) and the actor that runs their effects.

mod actor;
mod birth;
mod clock;
mod ending;
#[cfg(debug_assertions)]
mod failpoint;
mod heart;
mod info;
pub mod messages;
mod reading;
mod running;
mod stage;
pub mod summary;
pub mod typist;
mod typing;
mod view;

pub use actor::{Services, SessionActor, Tuning};
pub use birth::{Adoption, Birth, Unfinished, known_to_keeper};
pub use clock::wall_now;
pub use typing::{digest, digest_text};
pub use view::{LogView, Unreadable};
