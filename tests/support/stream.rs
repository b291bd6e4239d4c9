//! A pattern of bytes that repeats for ever, and a reader that checks a stream against it as it comes.

use std::{
    io::Read,
    path::Path,
    process::Child,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

/// What a flood consists of, again and again.
#[derive(Clone)]
pub struct Pattern(Arc<Vec<u8>>);

impl Pattern {
    /// `bytes` bytes: first random ones, then numbered rows. The same seed gives the same bytes.
    pub fn write_to(path: &str, bytes: usize, seed: u64) -> Pattern {
        let mut data = Vec::with_capacity(bytes);
        let mut state = seed | 1;
        while data.len() < bytes / 2 {
            state ^= state << 13; // xorshift64
            state ^= state >> 7;
            state ^= state << 17;
            data.extend_from_slice(&state.to_le_bytes());
        }
        for n in 0.. {
            if data.len() >= bytes {
                break;
            }
            data.extend_from_slice(format!("\r\nrow {n} of a flood that nobody reads in time\r\n").as_bytes());
        }
        data.truncate(bytes);
        std::fs::write(Path::new(path), &data).unwrap();
        Pattern(Arc::new(data))
    }

    fn first_difference(&self, at: u64, bytes: &[u8]) -> Option<u64> {
        let length = self.0.len();
        let mut place = usize::try_from(at % length as u64).unwrap();
        let mut seen = 0;
        while seen < bytes.len() {
            let n = (length - place).min(bytes.len() - seen);
            let (got, expected) = (&bytes[seen..seen + n], &self.0[place..place + n]);
            if got != expected {
                let inside = got.iter().zip(expected).position(|(a, b)| a != b).unwrap();
                return Some(at + (seen + inside) as u64);
            }
            seen += n;
            place = 0;
        }
        None
    }

    /// Checks a whole stream, which must be whole repetitions; its length.
    pub fn check(&self, mut stream: impl Read) -> u64 {
        let (mut at, mut part) = (0, vec![0; 256 * 1024]);
        loop {
            let n = stream.read(&mut part).unwrap();
            if n == 0 {
                assert_eq!(at % self.0.len() as u64, 0, "cut short at byte {at}");
                return at;
            }
            assert_eq!(self.first_difference(at, &part[..n]), None, "differs");
            at += n as u64;
        }
    }

    /// Checks what a command prints, beside the test.
    pub fn check_beside(&self, mut child: Child) -> Follower {
        let seen = Arc::new(AtomicU64::new(0));
        let wrong = Arc::new(Mutex::new(None));
        let (pattern, at, differs) = (self.clone(), seen.clone(), wrong.clone());
        let mut stream = child.stdout.take().expect("piped");
        let thread = std::thread::spawn(move || {
            let mut part = vec![0; 256 * 1024];
            while let Ok(n @ 1..) = stream.read(&mut part) {
                let start = at.load(Ordering::Relaxed);
                if let Some(place) = pattern.first_difference(start, &part[..n]) {
                    *differs.lock().unwrap() = Some(place);
                    return;
                }
                at.store(start + n as u64, Ordering::Relaxed);
            }
        });
        Follower { child, seen, wrong, thread: Some(thread) }
    }
}

/// A command whose output is being checked.
pub struct Follower {
    child: Child,
    seen: Arc<AtomicU64>,
    wrong: Arc<Mutex<Option<u64>>>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// How many bytes were right so far; panics at the first wrong one.
    pub fn seen(&self) -> u64 {
        let wrong = *self.wrong.lock().unwrap();
        assert_eq!(wrong, None, "the first wrong byte of the follower");
        self.seen.load(Ordering::Relaxed)
    }

    /// Waits until it has seen so many more.
    pub fn wait_for_more(&self, bytes: u64) {
        let want = self.seen() + bytes;
        super::wait_for("the follower to go on", || (self.seen() >= want).then_some(()));
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end, which must be exit 0; how many bytes it has seen.
    pub fn finish(mut self) -> u64 {
        let end = super::wait_for("the follower to end", || self.child.try_wait().unwrap());
        self.thread.take().unwrap().join().unwrap();
        let mut said = String::new();
        drop(self.child.stderr.take().unwrap().read_to_string(&mut said));
        assert!(end.success(), "{end}: {said}");
        self.seen()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        drop(self.child.kill()); // gone already in most cases
        drop(self.child.wait());
    }
}
