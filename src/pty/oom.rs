//! Whom the kernel kills when memory runs out: a session, rather than the keeper or the host.
//!
//! A session's processes inherit its value. Anybody may offer himself; to be spared is for who is permitted to.

use std::{fs, io};

const FILE: &str = "/proc/self/oom_score_adj";
/// Of keeper and host, where they may: as container runtimes have it. Not the least there is, which would spare a leak.
const SPARED: i32 = -500;
/// Of a session, at least: what systemd gives a user's services.
const OFFERED: i32 = 200;
/// A session stands so far above the keeper it comes from, in thousandths of the machine's memory.
const ABOVE: i32 = 100;
const MOST: i32 = 1000; // the kernel's

/// The keeper asks to be spared, and with it the host, which inherits it.
pub(crate) fn spare() -> io::Result<()> {
    match current()? {
        value if value > SPARED => fs::write(FILE, SPARED.to_string()),
        _ => Ok(()),
    }
}

/// What is to be a session's program offers itself.
pub(super) fn offer() -> io::Result<()> {
    fs::write(FILE, offered(current()?).to_string())
}

fn current() -> io::Result<i32> {
    fs::read_to_string(FILE)?.trim().parse().map_err(io::Error::other)
}

fn offered(keeper: i32) -> i32 {
    (keeper + ABOVE).clamp(OFFERED, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_always_stands_above_its_keeper() {
        for (keeper, session) in
            [(-1000, 200), (-500, 200), (0, 200), (100, 200), (200, 300), (950, 1000), (1000, 1000)]
        {
            assert_eq!(offered(keeper), session, "{keeper}");
        }
    }
}
