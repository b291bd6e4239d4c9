//! Kills the owner of a crash ring at random moments under a flood from a real PTY and checks every byte.
//!
//! This program starts itself again as the owner ("child"): it adopts the ring, lands what a thread here writes into the
//! PTY's other side, types records of its own in between, appends what it has to a "store", and releases that. Here it is
//! killed; store and ring together must then hold the stream with no hole and no double. The next child gets the same
//! PTY and ring. `TERMALIVE_KILLS` sets the number of kills, `TERMALIVE_SEED` repeats a run's choices.
#![expect(clippy::unwrap_used, reason = "a test")]

use rustix::{
    fs::{MemfdFlags, OFlags},
    process::Signal,
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Action, OptionalActions, QueueSelector, tcflow, tcflush, tcgetattr, tcsetattr},
    time::{ClockId, clock_gettime},
};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Seek, Write},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::{fs::FileExt, process::ExitStatusExt},
    },
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};
use termalive::{
    model::{Kind, LogTime, Record, Seq, SessionId, Stamp, Wall},
    pty::PtyFd,
    ring::{Full, Landed, Ring},
};

const CHILD: &str = "TERMALIVE_RING_CHILD"; // parent pid, ring fd, store fd, ready fd, seed
const KILLS: u64 = 200;
const LONGEST_LIFE: u64 = 12_000; // µs from the child's first landing to its kill
const PERIOD: usize = 1_048_573; // bytes after which the stream repeats: prime, so no power of two hides a hole
const FRAME: usize = 21; // seq, log time, kind, length before a body in the store

#[test]
fn a_killed_owner_loses_nothing_and_doubles_nothing() {
    match std::env::var(CHILD) {
        Ok(what) => child(&what),
        Err(_) => parent(),
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn parent() {
    let mut random = Random(number("TERMALIVE_SEED", u64::from(std::process::id())) | 1);
    let (master, slave) = pty();
    let stream = Arc::new(stream());
    let writer = std::thread::spawn({
        let (stream, random) = (stream.clone(), Random(random.next() | 1));
        move || write_for_ever(&slave, &stream, random)
    });
    let ring = Ring::create(SessionId([3; 16]), Seq(1)).unwrap();
    let ring_fd = ring.fd().try_clone().unwrap();
    drop(ring);
    let mut store = File::from(rustix::fs::memfd_create(c"store", MemfdFlags::CLOEXEC).unwrap());
    let mut oracle = Oracle { stream, last: 0, bytes: 0, puts: 0, time: LogTime(0), in_ring: BTreeMap::new() };
    let mut found: BTreeMap<&str, u64> = BTreeMap::new();
    for _ in 0..number("TERMALIVE_KILLS", KILLS) {
        live_and_die(&master, &ring_fd, &store, &mut random);
        *found.entry(under_way(&ring_fd)).or_default() += 1;
        oracle.check_store(&mut store);
        let (mut ring, adopted) = Ring::adopt(ring_fd.try_clone().unwrap()).unwrap();
        assert!(adopted.lost.is_none() && adopted.log_time >= oracle.time, "{:?} {:?}", adopted.lost, adopted.log_time);
        oracle.time = adopted.log_time;
        adopted.records.iter().for_each(|record| oracle.see(record));
        assert_eq!(adopted.next, Seq(oracle.last + 1));
        assert!(adopted.modes < adopted.next.0);
        // Half of the time the next child finds the records still there.
        if random.below(2) == 0 {
            ring.release(Seq(oracle.last));
            assert!(ring.is_empty());
        }
        let kept = |seq: &u64| !ring.is_empty() && adopted.records.first().is_some_and(|first| *seq >= first.seq.0);
        oracle.in_ring.retain(|seq, _| kept(seq));
    }
    assert!(oracle.bytes > 0 && oracle.puts > 0);
    drop(master); // the writer's write fails
    writer.join().unwrap();
    let report =
        format!("{} MB, {} records, {} put, found {found:?}\n", oracle.bytes / 1_000_000, oracle.last, oracle.puts);
    io::stderr().write_all(report.as_bytes()).unwrap();
}

/// One child from start to SIGKILL.
fn live_and_die(master: &OwnedFd, ring: &OwnedFd, store: &File, random: &mut Random) {
    let (mut ready, told) = io::pipe().unwrap();
    // dup clears close-on-exec: these three the child inherits; nothing else is started meanwhile.
    let [ring, store, told] = [ring.as_fd(), store.as_fd(), told.as_fd()].map(|fd| rustix::io::dup(fd).unwrap());
    let fds = [&ring, &store, &told].map(|fd| fd.as_raw_fd().to_string()).join(" ");
    let command = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_killed_owner_loses_nothing_and_doubles_nothing", "--nocapture"])
        .env(CHILD, format!("{} {fds} {}", std::process::id(), random.next()))
        .stdin(Stdio::from(master.try_clone().unwrap()))
        .stdout(Stdio::null())
        .spawn();
    let mut child = Killed(command.unwrap());
    drop((ring, store, told));
    // Mostly killed in the flood, now and then while it starts and adopts.
    if random.below(8) != 0 {
        ready.read_exact(&mut [0]).unwrap();
    }
    std::thread::sleep(Duration::from_micros(random.below(LONGEST_LIFE))); // the stimulus: a random moment
    child.0.kill().unwrap();
    let status = child.0.wait().unwrap();
    assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "the child ended by itself: {status}");
}

/// No child outlives a failed test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the killed owner was at, read from the file as version 1 has it.
fn under_way(ring: &OwnedFd) -> &'static str {
    let file = File::from(ring.try_clone().unwrap());
    let at = |offset: u64| {
        let mut word = [0; 8];
        file.read_exact_at(&mut word, offset).unwrap();
        word
    };
    let data = |pos: u64| at(65536 + pos % (256 * 1024));
    let head = u64::from_ne_bytes(at(48));
    match (data(head)[0], data(head + 32)[7]) {
        (0, _) => "nothing",
        (1, 0xFF) => "landing, not read",
        (1, 0) => "landing, read",
        (1, _) => "landing, control",
        (2, _) => "writing",
        _ => "?",
    }
}

/// What must be there.
struct Oracle {
    stream: Arc<Vec<u8>>,
    last: u64,
    bytes: usize,
    puts: u64,
    time: LogTime,
    in_ring: BTreeMap<u64, Record>,
}

impl Oracle {
    fn see(&mut self, record: &Record) {
        let seq = record.seq.0;
        if seq <= self.last {
            assert_eq!(self.in_ring.get(&seq), Some(record), "record {seq} came twice");
            return;
        }
        assert_eq!(seq, self.last + 1, "a hole in the numbers");
        self.last = seq;
        if record.kind == Kind::Output {
            let (from, len) = (self.bytes % PERIOD, record.body.len());
            assert!(*record.body == self.stream[from..from + len], "record {seq}: another byte from {} on", self.bytes);
            self.bytes += len;
        } else {
            assert!((record.kind, &*record.body) == (put_kind(seq), &*put_body(seq)), "put record {seq} is another");
            self.puts += 1;
        }
        self.in_ring.insert(seq, record.clone());
    }

    /// Sees the store's whole frames and empties it. A frame that was cut by the kill is still in the ring.
    fn check_store(&mut self, store: &mut File) {
        let mut all = Vec::new();
        store.rewind().unwrap();
        store.read_to_end(&mut all).unwrap();
        store.set_len(0).unwrap();
        let mut rest = &all[..];
        while rest.len() >= FRAME {
            let word = |at: usize| u64::from_ne_bytes(rest[at..at + 8].try_into().unwrap());
            let len = u32::from_ne_bytes(rest[17..FRAME].try_into().unwrap()) as usize;
            if rest.len() < FRAME + len {
                break;
            }
            let body = bytes::Bytes::copy_from_slice(&rest[FRAME..FRAME + len]);
            let kind = Kind::from_u8(rest[16]).unwrap();
            self.see(&Record { seq: Seq(word(0)), kind, at: stamp(word(8)), body });
            rest = &rest[FRAME + len..];
        }
    }
}

fn child(what: &str) {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
    let words: Vec<&str> = what.split(' ').collect();
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().to_string());
    assert_eq!(parent.as_deref(), Some(words[0]), "the parent is gone");
    let open = |fd: &str| File::options().read(true).write(true).open(format!("/proc/self/fd/{fd}")).unwrap();
    let mut store = open(words[2]);
    let mut told = Some(File::options().write(true).open(format!("/proc/self/fd/{}", words[3])).unwrap());
    let mut random = Random(words[4].parse::<u64>().unwrap() | 1);
    let pty = PtyFd::new(io::stdin().as_fd().try_clone_to_owned().unwrap()).unwrap();
    let (mut ring, adopted) = Ring::adopt(open(words[1]).into()).unwrap();
    let mut pending = adopted.records;
    loop {
        match ring.land(&pty, now()).unwrap() {
            Landed::Output(record) => {
                pending.push(record);
                if let Some(mut told) = told.take() {
                    told.write_all(b"!").unwrap();
                }
            }
            Landed::Control(_) => {}
            Landed::Nothing => wait_for_more(&pty),
            Landed::Full => to_store(&mut ring, &mut pending, &mut store),
            Landed::Closed => panic!("the writer is gone"),
        }
        if random.below(4) == 0 {
            put(&mut ring, &mut pending, &mut store);
        }
        match random.below(200) {
            0..4 => to_store(&mut ring, &mut pending, &mut store),
            4 => {
                ring.pulse().beat(now().log);
                ring.tidy();
            }
            5 => ring.set_modes(ring.next_seq().0 - 1),
            _ => {}
        }
    }
}

fn put(ring: &mut Ring, pending: &mut Vec<Record>, store: &mut File) {
    let seq = ring.next_seq().0;
    match ring.put(put_kind(seq), &put_body(seq), now()) {
        Ok(record) => pending.push(record),
        Err(Full) => to_store(ring, pending, store),
    }
}

/// In the store first, released then.
fn to_store(ring: &mut Ring, pending: &mut Vec<Record>, store: &mut File) {
    let mut batch = Vec::new();
    for record in pending.iter() {
        batch.extend(record.seq.0.to_ne_bytes());
        batch.extend(record.at.log.0.to_ne_bytes());
        batch.push(record.kind as u8);
        batch.extend((record.body.len() as u32).to_ne_bytes());
        batch.extend_from_slice(&record.body);
    }
    store.write_all(&batch).unwrap();
    if let Some(last) = pending.last() {
        ring.release(last.seq);
    }
    pending.clear();
}

fn wait_for_more(pty: &PtyFd) {
    use rustix::event::{PollFd, PollFlags, poll};
    poll(&mut [PollFd::new(pty, PollFlags::IN | PollFlags::PRI)], None).unwrap();
}

fn now() -> Stamp {
    let time = clock_gettime(ClockId::Monotonic);
    stamp(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

fn stamp(log: u64) -> Stamp {
    Stamp { wall: Wall(!log as i64), log: LogTime(log) }
}

/// What is put under a number: mostly short, now and then as long as an input may be.
fn put_body(seq: u64) -> Vec<u8> {
    let mut random = Random(seq.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let longest = if random.below(32) == 0 { 32 * 1024 } else { 300 };
    let (len, byte) = (random.below(longest), random.next() as u8);
    (0..len).map(|i| byte.wrapping_add(i as u8)).collect()
}

fn put_kind(seq: u64) -> Kind {
    if seq.is_multiple_of(2) { Kind::Input } else { Kind::Typed }
}

/// A master in packet mode and its raw other side.
fn pty() -> (OwnedFd, OwnedFd) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let path = ptsname(&master, Vec::new()).unwrap();
    let slave = rustix::fs::open(path, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, 0.into()).unwrap();
    let mut modes = tcgetattr(&slave).unwrap();
    modes.make_raw();
    tcsetattr(&slave, OptionalActions::Now, &modes).unwrap();
    PtyFd::new(master.try_clone().unwrap()).unwrap().set_packet_mode().unwrap();
    (master, slave)
}

/// One period, and some more so that a record never wraps: random bytes, a quarter 0xFF, an eighth 0.
fn stream() -> Vec<u8> {
    let mut random = Random(0x5EED);
    let mut bytes: Vec<u8> = (0..PERIOD)
        .map(|_| match random.below(8) {
            0 | 1 => 0xFF,
            2 => 0,
            _ => random.next() as u8,
        })
        .collect();
    bytes.extend_from_within(..8192);
    bytes
}

/// Writes until nobody holds the master; makes control bytes now and then.
fn write_for_ever(slave: &OwnedFd, stream: &[u8], mut random: Random) {
    let mut at = 0;
    loop {
        let len = 1 + random.below(8000) as usize;
        match rustix::io::write(slave, &stream[at..at + len]) {
            Ok(written) => at = (at + written) % PERIOD,
            Err(_) => return,
        }
        let made = match random.below(24) {
            0 => tcflush(slave, QueueSelector::IFlush),
            1 => tcflow(slave, Action::OOff).and_then(|()| tcflow(slave, Action::OOn)),
            _ => Ok(()),
        };
        if made.is_err() {
            return;
        }
    }
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}
