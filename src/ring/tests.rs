//! Tests of the ring against a fake PTY.
