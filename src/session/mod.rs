//! One session: pure machines (`summary`, `typist`) and the actor that runs their effects.

pub mod summary;
pub mod typist;
