//! Reading the log for a client: records in, printed lines and an end out. Pure.
