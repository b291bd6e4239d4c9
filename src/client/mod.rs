//! The other side of `server`: connect, request, follow.
