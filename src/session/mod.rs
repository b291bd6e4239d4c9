//! One session: pure machines (`summary`, `typist`) and the actor that runs their effects.

mod actor;
mod answering;
mod attached;
mod birth;
mod changes;
mod clock;
mod ending;
#[cfg(debug_assertions)]
pub(crate) mod failpoint;
mod heart;
mod info;
mod interim;
mod keys;
pub mod member;
pub mod messages;
mod picture;
mod reading;
mod rest;
mod running;
pub mod screen;
mod stage;
pub mod summary;
pub mod typist;
mod typing;
mod view;
mod watch;

pub use actor::{Services, SessionActor, Tuning};
pub use attached::Watcher;
pub use birth::{Adoption, Birth, Unfinished, known_to_keeper};
pub use changes::{Changes, Noted, What};
pub use clock::wall_now;
pub use interim::{Found, Interim, Keeping};
pub use keys::told_again;
pub use picture::{Answer, Keep, Picture, Redrawn};
pub use typing::{digest, digest_text};
pub use view::{LogView, Unreadable};
