//! What runs in the sessions: this program again, in several manners. Each keeps a journal in a file, so that what it did is
//! known from itself and not from the host.

use crate::{
    Result,
    dice::Dice,
    host::{LOOK, pause},
    killer::now_us,
    stream::Stream,
};
use rustix::{
    process::{Signal, getpid, kill_process},
    termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr},
};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, Write},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// `torture program MANNER FOLDER NAME SEED [STATUS]`.
pub(crate) fn run(words: &[String]) -> Result<()> {
    let [manner, folder, name, seed, rest @ ..] = words else { return Err("program MANNER FOLDER NAME SEED".into()) };
    let program = Program { folder: folder.into(), name: name.clone(), dice: Dice::new(seed.parse()?, name) };
    match manner.as_str() {
        "flood" => program.flood(seed.parse()?),
        "beat" => program.beat(),
        "chat" => program.chat(false),
        "plain-chat" => program.chat(true),
        "idle" => program.idle(),
        "tree" => program.tree(seed),
        "leaf" => program.leaf(),
        "short" => program.short(rest.first().ok_or("no status")?),
        "again" => program.again(seed.parse()?),
        "fill" => fill(seed.parse()?, rest.first().ok_or("no size")?.parse()?),
        other => Err(format!("{other}: no such program").into()),
    }
}

struct Program {
    folder: PathBuf,
    name: String,
    dice: Dice,
}

/// A flood ends with this.
pub(crate) const FLOOD_STATUS: i32 = 7;
/// Between two rows of a beat; adoption is known to so much.
pub(crate) const BEAT: Duration = Duration::from_millis(5);
/// From one row of an idle session to the next, and up to twice that.
const IDLE: Duration = Duration::from_millis(300);
/// What a tree leaves.
const LEAVES: usize = 2;
/// What a program takes its time for.
const LONG: Duration = Duration::from_secs(3);
/// Of `short`: what has been told by its status, as in a shell.
const SIGNALLED: i32 = 128;

impl Program {
    fn file(&self, kind: &str) -> PathBuf {
        self.folder.join(format!("{}.{kind}", self.name))
    }

    fn journal(&self) -> io::Result<File> {
        OpenOptions::new().append(true).create(true).open(self.file("journal"))
    }

    fn is_over(&self) -> bool {
        self.folder.join("stop").exists()
    }

    /// Bursts of blocks in pieces of all sizes, with pauses.
    fn flood(mut self, seed: u64) -> Result<()> {
        raw()?;
        let (stream, mut out, mut block) = (Stream::Blocks(seed), io::stdout().lock(), Vec::new());
        let (mut number, mut total) = (0u64, 0u64);
        while !self.is_over() {
            let mut burst = Vec::new();
            for _ in 0..1 + self.dice.below(96) {
                stream.block(number, &mut block);
                burst.extend_from_slice(&block);
                number += 1;
            }
            let mut rest = &burst[..];
            while !rest.is_empty() {
                let most = [1, 7, 100, 3839, 3840, 4095, 8192, 65536][self.dice.below(8) as usize];
                let n = rest.len().min(1 + self.dice.below(most) as usize);
                out.write_all(&rest[..n])?;
                out.flush()?;
                rest = &rest[n..];
            }
            total += burst.len() as u64;
            pause(self.dice.up_to(Duration::from_millis(100)));
        }
        fs::write(self.file("total"), total.to_string())?;
        std::process::exit(FLOOD_STATUS)
    }

    /// A row each few milliseconds: by its time in the log one sees when the terminal was read again.
    fn beat(self) -> Result<()> {
        raw()?;
        let (mut out, mut row, mut total) = (io::stdout().lock(), Vec::new(), 0u64);
        for number in 0.. {
            if number % 100 == 0 && self.is_over() {
                break;
            }
            Stream::Rows.block(number, &mut row);
            out.write_all(&row)?;
            out.flush()?;
            total += row.len() as u64;
            pause(BEAT);
        }
        fs::write(self.file("total"), total.to_string())?;
        std::process::exit(FLOOD_STATUS)
    }

    /// Says now and then what time it is: so it shows when it was read.
    fn idle(mut self) -> Result<()> {
        raw()?;
        let mut out = io::stdout().lock();
        loop {
            writeln!(out, "{}", now_us())?;
            out.flush()?;
            pause(IDLE + self.dice.up_to(IDLE));
        }
    }

    /// Leaves one process that has a session of its own, and one that has left its parents, too; then waits.
    fn tree(self, seed: &str) -> Result<()> {
        self.journal()?.write_all(format!("{}\n", std::process::id()).as_bytes())?;
        let leaf = || -> Result<Vec<String>> {
            let (me, folder) = (std::env::current_exe()?, self.folder.to_string_lossy());
            let words = [&me.to_string_lossy(), "program", "leaf", &folder, &self.name, seed];
            Ok(words.map(str::to_owned).into())
        };
        Command::new("setsid").args(leaf()?).spawn()?;
        Command::new("setsid").args(["-f", "setsid", "-f"]).args(leaf()?).status()?;
        while lines(&self.file("leaves")).len() < LEAVES {
            pause(LOOK);
        }
        println!("ready");
        loop {
            pause(LONG);
        }
    }

    fn leaf(self) -> Result<()> {
        let mut leaves = OpenOptions::new().append(true).create(true).open(self.file("leaves"))?;
        leaves.write_all(format!("{}\n", std::process::id()).as_bytes())?;
        loop {
            pause(LONG);
        }
    }

    /// Answers each line in some rows, after it has noted that it heard it.
    fn chat(mut self, plain: bool) -> Result<()> {
        if !plain {
            without_echo()?;
        }
        let mut journal = self.journal()?;
        let mut out = io::stdout().lock();
        writeln!(out, "ready")?;
        for line in io::stdin().lock().lines() {
            let line = line?;
            journal.write_all(format!("{line}\n").as_bytes())?;
            if self.dice.chance(10) {
                pause(self.dice.up_to(LONG));
            }
            for row in answer(&line) {
                writeln!(out, "{row}")?;
            }
            out.flush()?;
        }
        Ok(())
    }

    /// Says something and ends as it was told: with a code, or 128 and a signal.
    fn short(mut self, status: &str) -> Result<()> {
        self.journal()?.write_all(format!("{}\n", std::process::id()).as_bytes())?;
        let mut out = io::stdout().lock();
        for row in short_rows(&self.name) {
            writeln!(out, "{row}")?;
            pause(self.dice.up_to(Duration::from_millis(60)));
        }
        if self.dice.chance(30) {
            pause(self.dice.up_to(LONG)); // some host will be killed under those who wait for the end
        }
        writeln!(out, "ends with {status}")?;
        end(status.parse()?)
    }

    /// One run of a session that is started again and again: numbered by its own journal.
    fn again(mut self, seed: u64) -> Result<()> {
        let path = self.file("journal");
        let number = fs::read_to_string(&path).unwrap_or_default().lines().count() as u64 + 1;
        let status = again_status(seed, number);
        self.journal()?.write_all(format!("{number} {status} {}\n", std::process::id()).as_bytes())?;
        println!("run {number}");
        let mut dice = Dice::new(seed.wrapping_add(number), &self.name);
        self.dice = dice.clone();
        pause(dice.up_to(Duration::from_millis(1500)));
        println!("end of run {number}");
        end(status)
    }
}

/// What `chat` says to a line.
pub(crate) fn answer(line: &str) -> Vec<String> {
    let sum = line.bytes().fold(7u64, |sum, byte| crate::dice::mix(sum ^ u64::from(byte)));
    let mut rows: Vec<String> = (0..sum % 4).map(|n| format!("thought {n} about it {:08x}", sum >> 32)).collect();
    rows.push(format!("answer {sum:016x}"));
    rows
}

/// What `short` says first.
pub(crate) fn short_rows(name: &str) -> Vec<String> {
    let sum = name.bytes().fold(3u64, |sum, byte| crate::dice::mix(sum ^ u64::from(byte)));
    (0..1 + sum % 5).map(|n| format!("row {n} of {name} {:08x}", sum >> 32)).collect()
}

/// How a run of `again` ends.
pub(crate) fn again_status(seed: u64, number: u64) -> i32 {
    let dice = Dice::new(seed.wrapping_add(number), "status").below(100);
    if dice < 20 { SIGNALLED + 9 } else { i32::try_from(dice).unwrap_or(0) }
}

fn end(status: i32) -> Result<()> {
    io::stdout().flush()?;
    if let Some(signal) = Signal::from_named_raw(status - SIGNALLED).filter(|_| status > SIGNALLED) {
        kill_process(getpid(), signal)?;
    }
    std::process::exit(status)
}

/// So many MB as fast as they are taken.
fn fill(seed: u64, mb: u64) -> Result<()> {
    raw()?;
    let (mut out, mut block) = (io::stdout().lock(), Vec::new());
    for number in 0..mb * 1024 {
        Stream::Blocks(seed).block(number * 4, &mut block); // those that don't compress
        out.write_all(&block)?;
    }
    out.flush()?;
    Ok(())
}

/// Bytes go out as they are, nothing is echoed.
fn raw() -> Result<()> {
    let mut modes = tcgetattr(io::stdout())?;
    modes.make_raw();
    tcsetattr(io::stdout(), OptionalActions::Now, &modes)?;
    Ok(())
}

/// Read byte by byte without echo, so that what is typed stands in the log as it is.
fn without_echo() -> Result<()> {
    let mut modes = tcgetattr(io::stdin())?;
    modes.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON);
    tcsetattr(io::stdin(), OptionalActions::Now, &modes)?;
    Ok(())
}

/// The lines of a journal.
pub(crate) fn journal(folder: &Path, name: &str) -> Vec<String> {
    lines(&folder.join(format!("{name}.journal")))
}

fn lines(file: &Path) -> Vec<String> {
    fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// How much a stream wrote in all, once it has ended.
pub(crate) fn total(folder: &Path, name: &str) -> Option<u64> {
    fs::read_to_string(folder.join(format!("{name}.total"))).ok()?.parse().ok()
}
