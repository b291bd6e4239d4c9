//! What stood on a session's screen where a replay of a part of its log begins.
//!
//! Blocking: the log is read from the keyframe before that place, else from the beginning of the run or of the log; keyframes
//! are kept on the way. Nothing else is asked, so the same place gives the same screen.

use super::failed;
use super::resolve::Ground;
use crate::follow::Before;
use crate::model::{Cursor, Seq, Size};
use crate::session::Picture;
use crate::terminal::Vt;
use crate::wire::ApiError;

/// The terminal's size at a place, and what draws its screen; nothing where it is blank.
pub(super) fn before(ground: &Ground, at: Cursor) -> Result<(Size, Option<Before>), ApiError> {
    let Ground { view, keep, snapshot, .. } = ground;
    let newest = snapshot.summary.run_start;
    let from = if newest <= at.seq { newest } else { Seq(1) };
    let last = Seq(at.seq.0.saturating_sub(1));
    let mut picture = Picture::nearest(&keep.meta, view, from, last, snapshot.summary.size);
    picture.read_on_to(view, at, keep).map_err(failed)?;
    let screen = picture.redrawn();
    let first = view.read(at.seq, 1).map_err(failed)?.first().map(|record| record.at);
    let is_blank = screen.bytes == Vt::new(screen.size).dump();
    Ok((screen.size, first.filter(|_| !is_blank).map(|at| Before { drawn: screen.bytes, at })))
}
