//! x
mod support;
#[test]
fn x() {}
