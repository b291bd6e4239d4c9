//! Everything that is printed goes through here.
//!
//! Standard output is written by descriptor, so that a reader that closes its pipe is seen as what it is: a reason to stop,
//! not an error. Messages go to standard error, one line each; what fails there is dropped, there is no one left to tell.

use super::Failure;
use crate::wire::{ApiError, Code, ErrorBody};
use rustix::{
    event::{PollFd, PollFlags},
    fd::BorrowedFd,
    io::Errno,
};
use serde::Serialize;

/// Output is collected up to so much. 64 KiB: a pipe's buffer.
const BUFFER: usize = 64 * crate::model::KIB;

/// Standard output.
#[derive(Debug, Default)]
pub(super) struct Out {
    buffer: Vec<u8>,
    /// What was written so far ends within a row.
    pub(super) open_row: bool,
}

impl Out {
    /// Adds bytes; they go out when the buffer is full, or with [`Out::flush`].
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let Some(last) = bytes.last() else { return Ok(()) };
        self.open_row = *last != b'\n';
        if self.buffer.len() + bytes.len() > BUFFER {
            self.flush()?;
        }
        if bytes.len() >= BUFFER {
            return put(rustix::stdio::stdout(), bytes);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Adds a line.
    pub(super) fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.write(text.as_bytes())?;
        self.write(b"\n")
    }

    /// Adds a value as one line of JSON.
    pub(super) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text =
            serde_json::to_vec(value).map_err(|why| ApiError::new(Code::Failed, format!("can't print: {why}")))?;
        self.write(&text)?;
        self.write(b"\n")
    }

    /// Adds the next element of an array that is printed as it comes: each has a line, so that a reader has it at once.
    pub(super) fn json_element(&mut self, value: &impl Serialize, is_first: bool) -> Result<(), Failure> {
        self.write(if is_first { b"[" } else { b"," })?;
        self.json(value)
    }

    /// Ends such an array.
    pub(super) fn json_end(&mut self, is_empty: bool) -> Result<(), Failure> {
        self.line(if is_empty { "[]" } else { "]" })
    }

    /// True when something waits to go out.
    pub(super) fn waits(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// What was collected and not yet written.
    #[cfg(test)]
    pub(super) fn take(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.buffer)).unwrap()
    }

    /// Writes what was collected.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        let result = put(rustix::stdio::stdout(), &self.buffer);
        self.buffer.clear();
        result
    }
}

/// How a run ended, as a shell's `$?` has it.
pub(super) fn shell_status(exit_code: Option<i32>, signal: Option<i32>) -> Option<i32> {
    exit_code.or(signal.map(|signal| 128 + signal))
}

/// One line on standard error: `termalive: what, why (what to do)`, or `{"error":…}`.
pub(super) fn error(error: &ApiError, json: bool) {
    let line = match json {
        true => serde_json::to_string(&ErrorBody { error: error.clone() }).unwrap_or_default(),
        false => format!("termalive: {}", one_line(&error.to_string())),
    };
    let _ = put(rustix::stdio::stderr(), format!("{line}\n").as_bytes());
}

/// A remark on standard error.
pub(super) fn note(text: &str) {
    let _ = put(rustix::stdio::stderr(), format!("termalive: {}\n", one_line(text)).as_bytes());
}

/// A question on standard error; true when the answer on standard input is yes.
pub(super) fn confirmed(question: &str) -> bool {
    let _ = put(rustix::stdio::stderr(), format!("termalive: {question} [y/N] ").as_bytes());
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).is_ok()
        && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

/// Text for one row of a terminal: no control characters.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn put(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Failure> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::INTR) => {}
            // somebody who shares our terminal has set it to non-blocking
            Err(Errno::AGAIN) => {
                let _ = rustix::event::poll(&mut [PollFd::new(&fd, PollFlags::OUT)], None);
            }
            Err(Errno::PIPE) => return Err(Failure::ReaderGone),
            Err(why) => {
                return Err(ApiError::new(Code::Failed, format!("can't write to standard output: {why}")).into());
            }
        }
    }
    Ok(())
}
