//! All sessions: names, boot, restarts.
