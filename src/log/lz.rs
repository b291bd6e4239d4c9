//! Compression for frames: zstd level 1 with contexts that are kept, and a cheap look at whether it is worth it.
//!
//! Pure. The only file that names zstd.

use zstd::bulk::{Compressor, Decompressor};

const LEVEL: i32 = 1;
const SAMPLE: usize = 512; // bytes looked at in a body: enough to tell 1 in 256 from 1 in 64

/// Compresses. Its context and buffer are kept.
#[derive(Default)]
pub(super) struct Lz {
    context: Option<Compressor<'static>>,
    out: Vec<u8>,
}

impl Lz {
    /// The packed bytes; `None` when zstd can't (no memory for its context).
    pub(super) fn pack(&mut self, bytes: &[u8]) -> Option<&[u8]> {
        if self.context.is_none() {
            self.context = Compressor::new(LEVEL).ok();
        }
        self.out.clear();
        self.out.reserve(zstd::zstd_safe::compress_bound(bytes.len()));
        self.context.as_mut()?.compress_to_buffer(bytes, &mut self.out).ok()?;
        Some(&self.out)
    }
}

/// Decompresses. Its context is kept.
#[derive(Default)]
pub(super) struct Unlz {
    context: Option<Decompressor<'static>>,
}

impl Unlz {
    /// The unpacked bytes; `None` when they are damaged or more than `len`.
    pub(super) fn unpack(&mut self, bytes: &[u8], len: usize) -> Option<Vec<u8>> {
        if self.context.is_none() {
            self.context = Decompressor::new().ok();
        }
        self.context.as_mut()?.decompress(bytes, len).ok()
    }
}

/// True when the bytes look random (compressed, encrypted): then zstd isn't even tried. Looks at how often two bytes of a
/// sample are the same: 1 in 256 for noise, 1 in 64 for base64, 1 in 15 for text.
pub(super) fn is_dense(body: &[u8]) -> bool {
    const FEW: usize = 64; // below, chance decides, and little is to be gained
    if body.len() < FEW {
        return false;
    }
    let mut seen = [0u32; 256];
    let stride = body.len().div_ceil(SAMPLE);
    body.iter().step_by(stride).for_each(|b| seen[usize::from(*b)] += 1);
    let taken = body.len().div_ceil(stride) as u32;
    let same: u32 = seen.iter().map(|n| n * n).sum();
    same < taken + taken * taken / 150
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_dense_and_text_is_not() {
        let mut noise = [0; 3840];
        getrandom::fill(&mut noise).unwrap();
        let coded: Vec<u8> = noise
            .iter()
            .map(|b| b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[*b as usize % 64])
            .collect();
        assert!(is_dense(&noise) && is_dense(&noise[..300]));
        assert!(!is_dense(&coded) && !is_dense(b"short"));
        assert!(!is_dense(include_bytes!("lz.rs")));
    }
}
