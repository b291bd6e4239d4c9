//! What has become of the tries to get something from a host: when enough is enough.
//!
//! Time counts while nobody answers. A host that was there and went away is no such time, but may have died of what is wanted of
//! it: of these there may be only so many in a row.

use super::{Backoff, ClientError, Host};
use tokio::time::Instant;

/// So many times in a row a host may take what we want and go away over it. 100: we get through where hosts are killed every
/// second, and what itself kills them is not repeated for ever.
pub(super) const MOST_CUTS: u32 = 100;

/// See the module.
#[derive(Default)]
pub(super) struct Tries {
    cuts: u32,
    silent: Option<Instant>,
    /// Before each.
    pub(super) backoff: Backoff,
}

impl Tries {
    /// A host is there, or was until just now; what it does is wanted in vain until [`Tries::worked`].
    pub(super) fn met(&mut self) {
        self.silent = None;
        self.cuts += 1;
    }

    /// Something came of it.
    pub(super) fn worked(&mut self) {
        if self.cuts > 0 {
            *self = Tries::default();
        }
    }

    /// One more try: since when nobody has answered.
    pub(super) fn again(&mut self, host: &Host) -> Result<Instant, ClientError> {
        match self.cuts {
            ..MOST_CUTS => Ok(*self.silent.get_or_insert_with(Instant::now)),
            times => Err(ClientError::CutOff { place: host.place(), times }),
        }
    }

    /// True while nobody answers.
    pub(super) fn is_silent(&self) -> bool {
        self.silent.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::Place;
    use super::*;
    use std::time::Duration;

    #[test]
    fn hosts_that_go_away_over_it_are_not_met_for_ever() {
        let (place, mut tries) = (Place::new(), Tries::default());
        let host = Host::local(place.setup.clone());
        for _ in 1..MOST_CUTS {
            tries.met();
        }
        tries.again(&host).unwrap();
        tries.met();
        let error = crate::wire::ApiError::from(tries.again(&host).unwrap_err());
        assert!(error.code == crate::wire::Code::NoHost && error.message.contains("100 times in a row"), "{error}");
        tries.worked();
        tries.again(&host).unwrap();
    }

    #[test]
    fn pauses_grow_until_something_comes_of_it() {
        let mut tries = Tries::default();
        let pauses: Vec<Duration> = (0..5).map(|_| tries.backoff.step()).collect();
        assert_eq!(pauses[4], 16 * Backoff::default().step());
        tries.met();
        tries.worked();
        assert_eq!(tries.backoff.step(), Backoff::default().step());
    }

    #[test]
    fn silence_begins_with_the_first_try_and_ends_with_a_host() {
        let (place, mut tries) = (Place::new(), Tries::default());
        let host = Host::local(place.setup.clone());
        let since = tries.again(&host).unwrap();
        assert_eq!(tries.again(&host).unwrap(), since);
        assert!(tries.is_silent());
        tries.met();
        assert!(!tries.is_silent());
    }
}
