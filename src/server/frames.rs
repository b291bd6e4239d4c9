//! What a WebSocket client sends, handed on one frame at a time, and none that is too long.
//!
//! The library's reader takes all that has come before it looks at the first frame, and waits for the whole of a frame before
//! it finds it too long: a client could fill the memory with either. So every upgraded connection is read through this.

use actix_web::error::PayloadError;
use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The longest frame of a client. 64 KiB: each kind of connection has a shorter bound of its own.
const MAX_FRAME: u64 = 64 * 1024;
/// The longest header of a frame: two bytes, eight of a length, four of a mask.
const MAX_HEADER: usize = 14;

/// See the module.
pub(super) struct Frames<S> {
    source: S,
    cutter: Cutter,
    rest: Bytes,
    /// A frame was handed on: now it is the reader's turn.
    whole: bool,
}

impl<S> Frames<S> {
    pub(super) fn new(source: S) -> Frames<S> {
        Frames { source, cutter: Cutter::default(), rest: Bytes::new(), whole: false }
    }
}

impl<S: Stream<Item = Result<Bytes, PayloadError>> + Unpin> Stream for Frames<S> {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.whole) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.rest.is_empty() {
            match ready!(self.source.poll_next_unpin(cx)) {
                Some(Ok(bytes)) => self.rest = bytes,
                other => return Poll::Ready(other),
            }
        }
        let this = &mut *self;
        match this.cutter.cut(&this.rest) {
            Ok((length, whole)) => {
                this.whole = whole;
                Poll::Ready(Some(Ok(this.rest.split_to(length))))
            }
            Err(TooLong) => {
                this.rest.advance(this.rest.len());
                Poll::Ready(Some(Err(PayloadError::Overflow)))
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct TooLong;

/// Finds the ends of frames. Pure.
#[derive(Default)]
struct Cutter {
    header: Vec<u8>,
    /// Of the payload, once the header is known.
    left: u64,
}

impl Cutter {
    /// How many of these bytes go together, and whether a frame ends with them.
    fn cut(&mut self, bytes: &[u8]) -> Result<(usize, bool), TooLong> {
        let mut taken = 0;
        if self.left == 0 {
            while taken < bytes.len() {
                self.header.push(bytes[taken]);
                taken += 1;
                if let Some(length) = payload(&self.header) {
                    self.header.clear();
                    self.left = Some(length).filter(|length| *length <= MAX_FRAME).ok_or(TooLong)?;
                    if self.left == 0 {
                        return Ok((taken, true));
                    }
                    break;
                }
            }
        }
        let part = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() - taken);
        self.left -= part as u64;
        let whole = part > 0 && self.left == 0;
        Ok((taken + part, whole))
    }
}

/// The length of the payload, when the header is whole.
fn payload(header: &[u8]) -> Option<u64> {
    let [_, second, rest @ ..] = header else { return None };
    let (length, extra) = match second & 0x7f {
        126 => (rest.first_chunk().map(|bytes| u64::from(u16::from_be_bytes(*bytes))), 2),
        127 => (rest.first_chunk().map(|bytes| u64::from_be_bytes(*bytes)), 8),
        short => (Some(u64::from(short)), 0),
    };
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    debug_assert!(2 + extra + mask <= MAX_HEADER);
    length.filter(|_| rest.len() >= extra + mask)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use proptest::prelude::*;

    fn frame(length: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut frame = vec![0x82];
        match length {
            0..126 => frame.push(mask | length as u8),
            126..65536 => {
                frame.push(mask | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(std::iter::repeat_n(7, if masked { 4 } else { 0 } + length));
        frame
    }

    /// Pieces as they are handed on, a bar where the reader has its turn.
    fn read(chunks: Vec<Vec<u8>>) -> Vec<Result<Vec<u8>, String>> {
        let source = stream::iter(chunks.into_iter().map(|chunk| Ok(Bytes::from(chunk))));
        let mut frames = Frames::new(source);
        let mut context = Context::from_waker(std::task::Waker::noop());
        let (mut out, mut open) = (Vec::new(), Vec::new());
        loop {
            match frames.poll_next_unpin(&mut context) {
                Poll::Ready(Some(Ok(bytes))) => open.extend_from_slice(&bytes),
                Poll::Ready(Some(Err(why))) => out.push(Err(why.to_string())),
                Poll::Ready(None) => break,
                Poll::Pending => out.push(Ok(std::mem::take(&mut open))),
            }
        }
        if !open.is_empty() {
            out.push(Ok(open));
        }
        out
    }

    #[test]
    fn a_frame_that_is_too_long_is_refused_by_its_header() {
        let mut bomb = frame(3, true);
        bomb.extend([0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0]);
        let got = read(vec![bomb]);
        assert_eq!(got.len(), 2);
        assert!(got[0].is_ok() && got[1].is_err(), "{got:?}");
    }

    proptest! {
        #[test]
        fn each_frame_comes_alone(
            frames in proptest::collection::vec((prop_oneof![0usize..200, Just(65_535), Just(65_536)], any::<bool>()), 0..6),
            size in 1usize..70_000,
        ) {
            let frames: Vec<_> = frames.into_iter().map(|(length, masked)| frame(length, masked)).collect();
            let chunks = frames.concat().chunks(size).map(<[u8]>::to_vec).collect();
            let got: Vec<_> = read(chunks).into_iter().map(Result::unwrap).collect();
            prop_assert_eq!(got, frames);
        }
    }
}
