//! The only file that names sled.
