//! HTTP and WebSocket on the local socket.
