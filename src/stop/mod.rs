//! Stop conditions of waits. Pure: rows, events and log time in, a verdict out.
