//! `/proc/PID/stat`, the one line of the kernel about a process. Reads and parses; judges nothing.

use crate::model::Process;
use std::{fs, io};

/// What termalive wants to know of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stat {
    pub(crate) process: Process,
    pub(crate) parent: u32,
    pub(crate) group: u32,
    pub(crate) session: u32,
    /// Dead, its parent hasn't waited yet. A leader thread that ended before its others looks the same but isn't.
    pub(crate) zombie: bool,
    /// The wait status, for a zombie.
    pub(crate) exit_code: i32,
    /// One of the kernel's own threads.
    pub(crate) kernel: bool,
    /// Has no environment at this moment though it has a program: it is just being executed.
    pub(crate) executing: bool,
}

const PF_EXITING: u32 = 0x4; // as in linux/sched.h
const PF_KTHREAD: u32 = 0x0020_0000;

/// Reads a process' line; `NotFound` when there is no such process.
pub(crate) fn read(pid: u32) -> io::Result<Stat> {
    let gone = |e: io::Error| match e.raw_os_error() {
        Some(libc::ESRCH) => io::ErrorKind::NotFound.into(), // it went between open and read
        _ => e,
    };
    let line = fs::read(format!("/proc/{pid}/stat")).map_err(gone)?;
    parse(&line).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat is unreadable")))
}

/// The fields behind the name; the name itself may hold blanks, parentheses, line feeds, any byte.
fn parse(line: &[u8]) -> Option<Stat> {
    let open = line.iter().position(|b| *b == b'(')?;
    let close = line.iter().rposition(|b| *b == b')')?;
    let pid = std::str::from_utf8(&line[..open]).ok()?.trim().parse().ok()?;
    let rest = std::str::from_utf8(line.get(close + 1..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).copied(); // as numbered in proc(5); the first here is 3
    let number = |n: usize| field(n)?.parse::<u32>().ok();
    let (threads, flags) = (number(20)?, number(9)?);
    Some(Stat {
        process: Process { pid, start_time: field(22)?.parse().ok()? },
        parent: number(4)?,
        group: field(5)?.parse::<i64>().ok()?.try_into().unwrap_or(0), // -1 for a process that is being reaped
        session: field(6)?.parse::<i64>().ok()?.try_into().unwrap_or(0),
        zombie: matches!(field(3)?, "Z" | "X" | "x") && threads <= 1,
        exit_code: field(52).and_then(|code| code.parse().ok()).unwrap_or(0),
        kernel: flags & PF_KTHREAD != 0,
        executing: flags & (PF_KTHREAD | PF_EXITING) == 0 && field(51) == Some("0"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_any_bytes_is_no_trouble() {
        let fields = (23..=51).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        for name in ["sh", "a b", ") Z 1 1 1", "\n(", "((("] {
            let line = format!("77 ({name}) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 1 0 4711 {fields} 768\n");
            let got = parse(line.as_bytes()).unwrap();
            let wanted = Stat {
                process: Process { pid: 77, start_time: 4711 },
                parent: 1,
                group: 2,
                session: 3,
                zombie: false,
                exit_code: 768,
                kernel: false,
                executing: false,
            };
            assert_eq!(got, wanted, "{name}");
        }
        assert_eq!(parse(b"77 (sh"), None);
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn this_process_is_found() {
        let stat = read(std::process::id()).unwrap();
        assert_eq!(stat.parent, std::os::unix::process::parent_id());
        assert!(!stat.zombie);
        assert_eq!(read(u32::MAX >> 1).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
