//! Opens a PTY and starts the shim on it. The only file that names portable_pty.
