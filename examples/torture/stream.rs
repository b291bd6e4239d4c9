//! What a program prints, byte by byte foreseeable from a number, and a check that finds the first byte that is missing,
//! there twice, or another one, and says exactly where.

use crate::dice::mix;

/// A stream without end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stream {
    /// Numbered blocks of all kinds of bytes, of this seed.
    Blocks(u64),
    /// Numbered rows.
    Rows,
}

/// Of a block: a whole number of words.
const BLOCK: usize = 1024;
/// 0xFF is what the ring puts where a byte is to land; the rest is what a line driver would change.
const MAGIC: [u8; 8] = [0xFF, 0x11, 0x00, 0x13, b'#', 0x04, 0xFF, b'~'];
/// Magic, seed, number.
const HEAD: usize = 24;
/// Ten digits and a line feed.
const ROW: usize = 11;
/// What is kept after the first difference to find out what it is: some blocks.
const LOOK: usize = 16 * BLOCK;

impl Stream {
    /// Each block is so long.
    pub(crate) fn block_bytes(self) -> usize {
        match self {
            Stream::Blocks(_) => BLOCK,
            Stream::Rows => ROW,
        }
    }

    /// Writes block `n`.
    pub(crate) fn block(self, n: u64, out: &mut Vec<u8>) {
        out.clear();
        let seed = match self {
            Stream::Rows => return out.extend_from_slice(format!("{n:010}\n").as_bytes()),
            Stream::Blocks(seed) => seed,
        };
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&seed.to_be_bytes());
        out.extend_from_slice(&n.to_be_bytes());
        if n % 4 == 3 {
            while out.len() < BLOCK {
                out.extend_from_slice(format!("block {n} of {seed:x}: a row as agents write it\r\n").as_bytes());
            }
            return out.truncate(BLOCK);
        }
        let mut state = mix(seed ^ n.wrapping_mul(0x9e37_79b9)) | 1;
        while out.len() < BLOCK {
            state ^= state << 13; // xorshift64
            state ^= state >> 7;
            state ^= state << 17;
            let word = match n % 4 {
                0 => state,
                1 => state | mix(state), // mostly ones: 0xFF is everywhere
                _ => state & 0x1f1f_1f1f_1f1f_1f1f,
            };
            out.extend_from_slice(&word.to_le_bytes());
        }
    }

    /// Where in these bytes a block begins, and which.
    fn locate(self, bytes: &[u8]) -> Option<(usize, u64)> {
        match self {
            Stream::Blocks(seed) => {
                let mark = [&MAGIC[..], &seed.to_be_bytes()].concat();
                let found = memchr::memmem::find(bytes, &mark)?;
                let number = bytes.get(found + mark.len()..found + HEAD)?;
                Some((found, u64::from_be_bytes(number.try_into().ok()?)))
            }
            Stream::Rows => {
                let start = bytes.iter().position(|byte| *byte == b'\n')? + 1;
                let digits = std::str::from_utf8(bytes.get(start..start + ROW - 1)?).ok()?;
                Some((start, digits.parse().ok()?))
            }
        }
    }
}

/// What is wrong with a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    Hole { at: u64, bytes: u64 },
    Double { at: u64, bytes: u64 },
    Other { at: u64, got: Vec<u8>, expected: Vec<u8> },
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Wrong::Hole { at, bytes } => write!(f, "{bytes} bytes are missing at byte {at}"),
            Wrong::Double { at, bytes } => write!(f, "{bytes} bytes come again at byte {at}"),
            Wrong::Other { at, got, expected } => {
                write!(f, "byte {at} is another one: {got:02x?}…, not {expected:02x?}…")
            }
        }
    }
}

/// Reads a stream from some byte on.
pub(crate) struct Checker {
    stream: Stream,
    /// The next byte that is expected, from the beginning of the stream.
    at: u64,
    block: Vec<u8>,
    block_number: Option<u64>,
    /// What came from the first difference on.
    strange: Vec<u8>,
    wrong: Option<Wrong>,
}

impl Checker {
    pub(crate) fn new(stream: Stream, at: u64) -> Checker {
        Checker { stream, at, block: Vec::new(), block_number: None, strange: Vec::new(), wrong: None }
    }

    /// How far it has come.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// Takes what came; says once what is wrong.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Option<Wrong> {
        if self.wrong.is_some() {
            return None;
        }
        let length = self.stream.block_bytes() as u64;
        while !bytes.is_empty() && self.strange.is_empty() {
            let number = self.at / length;
            if self.block_number != Some(number) {
                self.stream.block(number, &mut self.block);
                self.block_number = Some(number);
            }
            let rest = &self.block[usize::try_from(self.at % length).unwrap_or(0)..];
            let n = rest.len().min(bytes.len());
            let same =
                if rest[..n] == bytes[..n] { n } else { rest.iter().zip(bytes).position(|(a, b)| a != b).unwrap_or(n) };
            self.at += same as u64;
            bytes = &bytes[same..];
            if same < n {
                break;
            }
        }
        if bytes.is_empty() {
            return None;
        }
        self.strange.extend_from_slice(bytes);
        if self.strange.len() >= LOOK { self.finish() } else { None }
    }

    /// No more comes: says what is wrong, where that wasn't said.
    pub(crate) fn finish(&mut self) -> Option<Wrong> {
        if self.strange.is_empty() || self.wrong.is_some() {
            return None;
        }
        let (at, length) = (self.at, self.stream.block_bytes() as u64);
        let other = || Wrong::Other {
            at,
            got: self.strange.iter().take(16).copied().collect(),
            expected: self.block.iter().skip(usize::try_from(at % length).unwrap_or(0)).take(16).copied().collect(),
        };
        let wrong = match self.stream.locate(&self.strange) {
            None => other(),
            Some((place, number)) => {
                let (is, should) = (number * length, at + place as u64);
                match is.cmp(&should) {
                    std::cmp::Ordering::Greater => Wrong::Hole { at, bytes: is - should },
                    std::cmp::Ordering::Less => Wrong::Double { at, bytes: should - is },
                    std::cmp::Ordering::Equal => other(),
                }
            }
        };
        self.wrong = Some(wrong.clone());
        Some(wrong)
    }
}

/// The checker is itself checked each time before it is relied on: a hole, a double and a flipped byte must be found where
/// they are.
pub(crate) fn prove() -> Result<(), String> {
    for stream in [Stream::Blocks(7), Stream::Rows] {
        let mut whole = Vec::new();
        let mut block = Vec::new();
        for n in 0..200 {
            stream.block(n, &mut block);
            whole.extend_from_slice(&block);
        }
        let (cut, length) = (whole.len() / 2 + 5, 33);
        let without = [&whole[..cut], &whole[cut + length..]].concat();
        let twice = [&whole[..cut], &whole[cut - length..]].concat();
        let mut flipped = whole.clone();
        flipped[cut] ^= 1;
        let see = |bytes: &[u8]| {
            let mut checker = Checker::new(stream, 0);
            bytes.chunks(777).find_map(|part| checker.feed(part)).or_else(|| checker.finish())
        };
        let near = |at: u64| at.abs_diff(cut as u64) <= length as u64;
        let good = see(&whole).is_none()
            && matches!(see(&without), Some(Wrong::Hole { at, bytes }) if near(at) && bytes == length as u64)
            && matches!(see(&twice), Some(Wrong::Double { at, bytes }) if near(at) && bytes == length as u64)
            && matches!(see(&flipped), Some(Wrong::Other { at, .. }) if at == cut as u64);
        if !good {
            return Err(format!("the check of streams doesn't see what it should: {stream:?}"));
        }
    }
    Ok(())
}
