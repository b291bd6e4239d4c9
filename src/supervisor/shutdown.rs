//! The host's orderly end, as two signals: someone asks, and later all is flushed.

use tokio::sync::watch;

/// Why the host ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Why {
    /// Someone asked for it: sessions end in order.
    Asked,
    /// Another host takes over: sessions go on.
    Reload,
    /// There is no keeper any more: this process ends at once, and says this.
    Broken(String),
}

/// The two signals.
#[derive(Debug)]
pub struct Shutdown {
    asked: watch::Sender<Option<Why>>,
    flushed: watch::Sender<bool>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Shutdown { asked: watch::Sender::new(None), flushed: watch::Sender::new(false) }
    }
}

impl Shutdown {
    /// Asks for the end. The first reason stands.
    pub fn ask(&self, why: Why) {
        self.asked.send_if_modified(|asked| asked.is_none() && asked.replace(why).is_none());
    }

    /// Waits until someone has asked.
    pub async fn asked(&self) -> Why {
        let mut asked = self.asked.subscribe();
        match asked.wait_for(Option::is_some).await.map(|why| why.clone()) {
            Ok(Some(why)) => why,
            _ => Why::Asked, // the sender lives as long as self
        }
    }

    /// All sessions have ended and everything is on disk.
    pub fn flushed(&self) {
        self.flushed.send_replace(true);
    }

    /// Waits for [`Shutdown::flushed`].
    pub async fn when_flushed(&self) {
        if self.flushed.subscribe().wait_for(|flushed| *flushed).await.is_err() {
            tracing::debug!("the host ended while a client waited for its end");
        }
    }
}
