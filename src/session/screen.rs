//! A session's screen: an actor that reads the log when somebody asks, made when first needed, gone after a while unused.
//!
//! Runs on a thread of its own kind, so that drawing never holds a session up; what has to be read from the store is read
//! on a blocking thread. It must never write to the log or to a PTY: answers to queries go back to the session's actor,
//! which decides whether they are typed.

use super::actor::{Services, SessionActor};
use super::messages::{OpenScreen, Opened, Told};
use super::picture::{Keep, Picture, Redrawn};
use super::view::LogView;
use crate::keeper::give_free_memory_back;
use crate::log::TailRead;
use crate::model::{Cursor, GapReason, KIB, Seq, Size, Wall};
use crate::wire::{ApiError, Code, Screen};
use actix::prelude::*;
use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, oneshot};

/// Where screens are drawn.
#[derive(Clone)]
pub struct Screens {
    /// Their thread.
    pub arbiter: ArbiterHandle,
    /// Who may read from the store just now.
    pub readers: Arc<Semaphore>,
}

/// Screens that read from the store at once: more would only share a disk and two cores.
const READERS: usize = 2;
/// A screen that nobody has asked for so long is dropped; a keyframe of it is kept. It takes some 200 KiB.
const UNUSED: Duration = Duration::from_secs(60);
/// Who may wait for one screen: the connections of a host are fewer.
const MAX_WANTS: usize = 4096;
/// Of the tail, so much is taken at once.
const PAGE: usize = 512 * KIB;
/// How often a screen that is just being dropped is asked for again.
const TRIES: usize = 3;

impl Screens {
    /// A thread for screens.
    pub fn start() -> Screens {
        Screens { arbiter: Arbiter::new().handle(), readers: Arc::new(Semaphore::new(READERS)) }
    }
}

/// The actor.
pub struct ScreenActor {
    view: LogView,
    keep: Keep,
    readers: Arc<Semaphore>,
    /// Where to begin without a keyframe.
    from: Seq,
    size: Size,
    /// Not there while a blocking thread has it, and before.
    picture: Option<Picture>,
    /// Up to here the store was read: what isn't in the picture is lost, or was removed with the session.
    looked: Seq,
    reading: bool,
    wants: VecDeque<Want>,
    used: Instant,
}

/// The screens on one thread. They are many small pieces between others: when half have gone, the gaps are worth giving back.
#[derive(Clone, Copy, Default)]
struct Crowd {
    size: usize,
    /// Since memory was given back.
    most: usize,
}

thread_local! {
    static CROWD: Cell<Crowd> = Cell::default();
}

impl Crowd {
    fn join() {
        let Crowd { size, most } = CROWD.get();
        CROWD.set(Crowd { size: size + 1, most: most.max(size + 1) });
    }

    /// True: half have gone.
    fn leave() -> bool {
        let Crowd { size, most } = CROWD.get();
        let size = size.saturating_sub(1);
        let half_have_gone = size <= most / 2;
        CROWD.set(Crowd { size, most: if half_have_gone { size } else { most } });
        half_have_gone
    }
}

type Drawn<'a> = Result<&'a mut Picture, ApiError>;

struct Want {
    told: Told,
    answer: Box<dyn FnOnce(Drawn<'_>)>,
}

impl ScreenActor {
    /// Starts it. `from`: a record before which the screen is blank.
    pub(super) fn open(services: &Services, view: LogView, from: Seq, size: Size) -> Addr<ScreenActor> {
        let keep = Keep { meta: services.meta.clone(), writer: services.writer.clone() };
        let readers = services.screens.readers.clone();
        ScreenActor::start_in_arbiter(&services.screens.arbiter, move |_| ScreenActor {
            view,
            keep,
            readers,
            from,
            size,
            picture: None,
            looked: Seq(0),
            reading: false,
            wants: VecDeque::new(),
            used: Instant::now(),
        })
    }

    /// Answers who can be answered, reads on for the next.
    fn pump(&mut self, ctx: &mut Context<Self>) {
        while let Some(want) = self.wants.front().filter(|_| !self.reading) {
            let told = want.told;
            let Some(picture) = &mut self.picture else { return self.read_on(told.seq, ctx) };
            if picture.next() <= told.seq {
                match self.view.feed().read(picture.next(), PAGE) {
                    TailRead::Records(records) => {
                        records.iter().for_each(|record| picture.take(record));
                        continue;
                    }
                    TailRead::Behind if self.looked < told.seq => return self.read_on(told.seq, ctx),
                    TailRead::Behind | TailRead::UpToDate => {} // what was told of is lost
                }
            }
            if picture.last() <= told.seq {
                picture.settle(told.now.log);
            }
            if let Some(want) = self.wants.pop_front() {
                (want.answer)(Ok(picture));
            }
        }
    }

    /// Reads up to `upto` on a blocking thread.
    fn read_on(&mut self, upto: Seq, ctx: &mut Context<Self>) {
        self.reading = true;
        let picture = self.picture.take();
        let (view, keep, from, size) = (self.view.clone(), self.keep.clone(), self.from, self.size);
        let readers = self.readers.clone();
        let read = async move {
            let permit = readers.acquire_owned().await.map_err(failed)?;
            let work = move || {
                let _permit = permit;
                let mut picture = picture.unwrap_or_else(|| Picture::nearest(&keep.meta, &view, from, upto, size));
                picture.read_on(&view, upto, &keep).map(|()| picture)
            };
            tokio::task::spawn_blocking(work).await.map_err(failed)?.map_err(failed)
        };
        ctx.spawn(read.into_actor(self).map(move |read, act, ctx| {
            act.reading = false;
            match read {
                Ok(picture) => (act.picture, act.looked) = (Some(picture), act.looked.max(upto)),
                Err(e) => {
                    tracing::warn!(id = %act.view.id(), error = %e, "the screen can't be drawn");
                    act.wants.drain(..).for_each(|want| (want.answer)(Err(e.clone())));
                }
            }
            act.pump(ctx);
        }));
    }

    fn drop_if_unused(&mut self, ctx: &mut Context<Self>) {
        if self.used.elapsed() < UNUSED || self.reading || !self.wants.is_empty() {
            return;
        }
        let (picture, view, keep) = (self.picture.take(), self.view.clone(), self.keep.clone());
        let half_have_gone = Crowd::leave();
        // nobody waits for it: that it was saved is not looked at
        drop(tokio::task::spawn_blocking(move || {
            if let Some(mut picture) = picture {
                picture.save_if_worth_it(&view, &keep);
            }
            if half_have_gone {
                give_free_memory_back();
            }
        }));
        ctx.stop();
    }
}

impl Actor for ScreenActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        Crowd::join();
        ctx.run_interval(UNUSED / 2, |act, ctx| act.drop_if_unused(ctx));
    }
}

/// Makes something of the screen as it was when the session told where its log ended.
pub(super) struct Ask<T> {
    pub(super) told: Told,
    pub(super) make: fn(&mut Picture) -> T,
}

impl<T: Send + 'static> Message for Ask<T> {
    type Result = Result<T, ApiError>;
}

impl<T: Send + 'static> Handler<Ask<T>> for ScreenActor {
    type Result = ResponseFuture<Result<T, ApiError>>;

    fn handle(&mut self, msg: Ask<T>, ctx: &mut Context<Self>) -> Self::Result {
        self.used = Instant::now();
        if self.wants.len() >= MAX_WANTS {
            let busy = ApiError::new(Code::Failed, "too many wait for this screen already");
            return Box::pin(std::future::ready(Err(busy)));
        }
        let (reply, answer) = oneshot::channel();
        let make = msg.make;
        self.wants.push_back(Want { told: msg.told, answer: Box::new(move |p| drop(reply.send(p.map(make)))) });
        self.pump(ctx);
        Box::pin(async move { answer.await.map_err(failed)? })
    }
}

/// The screen of a session now.
pub async fn show(session: &Addr<SessionActor>) -> Result<Screen, ApiError> {
    ask(session, Picture::screen).await
}

/// Its rows with their colours, for people to print.
pub async fn paint(session: &Addr<SessionActor>) -> Result<Vec<u8>, ApiError> {
    ask(session, Picture::painted).await
}

/// What draws it on another terminal, and where to read on from there.
pub async fn redraw(session: &Addr<SessionActor>) -> Result<Redrawn, ApiError> {
    ask(session, Picture::redrawn).await
}

async fn ask<T: Send + 'static>(session: &Addr<SessionActor>, make: fn(&mut Picture) -> T) -> Result<T, ApiError> {
    of_screen(session, |told| Ask { told, make }).await
}

/// Asks a session's screen, which may just be being dropped: then another one.
async fn of_screen<T, M>(session: &Addr<SessionActor>, ask: impl Fn(Told) -> M) -> Result<T, ApiError>
where
    T: Send + 'static,
    M: Message<Result = Result<T, ApiError>> + Send + 'static,
    ScreenActor: Handler<M>,
{
    for _ in 0..TRIES {
        let Opened { screen, told } = session.send(OpenScreen).await.map_err(failed)?;
        match screen.send(ask(told)).await {
            Ok(made) => return made,
            Err(MailboxError::Closed | MailboxError::Timeout) => {}
        }
    }
    Err(ApiError::new(Code::Failed, "the screen can't be drawn: its actor ends again and again"))
}

/// A moment in a session's past.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum At {
    /// A place in the log: after a whole record, or before one of its bytes.
    Place(Cursor),
    /// A time, by the clock on the wall.
    Time(Wall),
}

/// Makes something of the screen as it was.
pub async fn at<T: Send + 'static>(
    session: &Addr<SessionActor>,
    at: At,
    make: fn(&mut Picture) -> T,
) -> Result<T, ApiError> {
    of_screen(session, |told| AskPast { told, at, make }).await
}

struct AskPast<T> {
    told: Told,
    at: At,
    make: fn(&mut Picture) -> T,
}

impl<T: Send + 'static> Message for AskPast<T> {
    type Result = Result<T, ApiError>;
}

impl<T: Send + 'static> Handler<AskPast<T>> for ScreenActor {
    type Result = ResponseFuture<Result<T, ApiError>>;

    fn handle(&mut self, AskPast { told, at, make }: AskPast<T>, _: &mut Context<Self>) -> Self::Result {
        self.used = Instant::now();
        let (view, keep, size, readers) = (self.view.clone(), self.keep.clone(), self.size, self.readers.clone());
        Box::pin(async move {
            let _permit = readers.acquire_owned().await.map_err(failed)?;
            let work =
                move || past(&view, &keep, place(&view, at, told.seq)?, size).map(|mut picture| make(&mut picture));
            tokio::task::spawn_blocking(work).await.map_err(failed)?
        })
    }
}

/// The screen as it was before `place`. Blocking.
fn past(view: &LogView, keep: &Keep, place: Cursor, size: Size) -> Result<Picture, ApiError> {
    let before = Seq(place.seq.0.saturating_sub(1));
    let mut picture = Picture::nearest(&keep.meta, view, Seq(1), before, size);
    let shown = if place.byte > 0 { place.seq } else { before };
    if picture.last() < shown
        && let Some((to, reason)) = view.lost(shown).map_err(failed)?
    {
        return Err(gone(to, reason));
    }
    picture.read_on_to(view, place, keep).map_err(failed)?;
    Ok(picture)
}

/// What stood there isn't known.
fn gone(to: Seq, reason: GapReason) -> ApiError {
    ApiError::new(Code::Failed, format!("the log of that moment, up to {}, is lost ({reason})", Cursor::at(to)))
}

/// Before which byte of the log a moment lies. Blocking.
fn place(view: &LogView, at: At, last: Seq) -> Result<Cursor, ApiError> {
    let wrong = |what: String| Err(ApiError::new(Code::Usage, what));
    match at {
        At::Place(cursor) if cursor.seq > last => {
            wrong(format!("bad moment {cursor}: the log ends with {}", Cursor::at(last)))
        }
        At::Place(Cursor { seq, byte: 0 }) => Ok(Cursor::at(seq.next())),
        At::Place(cursor) => Ok(cursor),
        At::Time(wall) => match view.first_since(Wall(wall.0.saturating_add(1)), last).map_err(failed)? {
            Seq(1) => match view.lost(Seq(1)).map_err(failed)? {
                Some((to, reason)) => Err(gone(to, reason)),
                None => wrong("bad moment: the session began later".to_owned()),
            },
            later => Ok(Cursor::at(later)),
        },
    }
}

fn failed(error: impl std::fmt::Display) -> ApiError {
    ApiError::new(Code::Failed, format!("the screen can't be drawn: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Feed, MemoryStore, Meta, Options, Writer, WriterOptions};
    use crate::model::{SessionId, Stamp};

    #[test]
    fn what_the_store_no_longer_has_is_not_looked_for_again_and_again() {
        let state = tempfile::tempdir().unwrap();
        let shown = System::new().block_on(async {
            let meta = Arc::new(Meta::open(state.path(), &Options::default()).unwrap());
            let store = Arc::new(MemoryStore::default());
            let writer = Writer::start(store.clone(), meta.clone(), WriterOptions::default(), |_| ()).unwrap();
            let screen = ScreenActor {
                view: LogView::new(Feed::new(SessionId([1; 16]), Seq(6)), store),
                keep: Keep { meta, writer },
                readers: Arc::new(Semaphore::new(READERS)),
                from: Seq(1),
                size: "80x24".parse().unwrap(),
                picture: None,
                looked: Seq(0),
                reading: false,
                wants: VecDeque::new(),
                used: Instant::now(),
            };
            let told = Told { now: Stamp::default(), seq: Seq(6), live: false };
            screen.start().send(Ask { told, make: Picture::screen }).await.unwrap()
        });
        assert_eq!(shown.unwrap().text(), "");
    }

    #[test]
    fn memory_is_given_back_each_time_half_have_gone() {
        (0..8).for_each(|_| Crowd::join());
        let given: Vec<bool> = (0..8).map(|_| Crowd::leave()).collect();
        assert_eq!(given, [false, false, false, true, false, true, true, true]);
    }
}
