//! One session: the pure machine and the actor that runs its effects.
