//! The command line, and the plan it leads to: what is done to the host, in which order, after which pauses.

use crate::{Result, dice::Dice};
use std::{path::PathBuf, time::Duration};

pub(crate) const USAGE: &str = "usage: torture --binary TERMALIVE --folder DIR [--minutes N] [--seed N] [--kills N] \
[--keeper-kills N] [--stops N] [--reloads N] [--both-kills N] [--sessions N] [--log-mb N] [--pause-ms N] [--markdown FILE]";

/// See [`USAGE`].
#[derive(Clone, Debug)]
pub(crate) struct Args {
    pub(crate) binary: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) minutes: Option<f64>,
    pub(crate) seed: u64,
    /// Counts; all nothing: as long as `minutes` says.
    pub(crate) kills: Option<u64>,
    pub(crate) keeper_kills: Option<u64>,
    pub(crate) stops: Option<u64>,
    pub(crate) reloads: Option<u64>,
    /// Host and keeper at once, after all others.
    pub(crate) both_kills: Option<u64>,
    /// Sessions that stand idle besides those of the mix.
    pub(crate) sessions: u64,
    /// In the log before it begins.
    pub(crate) log_mb: u64,
    /// Between a recovery and the next blow, on average.
    pub(crate) pause: Duration,
    pub(crate) markdown: Option<PathBuf>,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blow {
    /// The host is killed.
    Host,
    /// … and the next one again while it takes over, so many times.
    Storm(u64),
    /// … while commands start one.
    Race,
    Keeper,
    /// Stopped for so long, then told to go on.
    HostStop(Duration),
    KeeperStop(Duration),
    /// Another file takes the program's place, then `reload`.
    Reload,
}

/// Most stops are up to so long.
const LONGEST_STOP: Duration = Duration::from_secs(2);
/// Some of a host are longer than its keeper waits for a sign of life (10 s): then there is another one.
const PAST_WATCHDOG: Duration = Duration::from_secs(13);
/// Without counts: of a hundred blows.
const SHARES: [u64; 4] = [80, 8, 6, 6];

impl Args {
    pub(crate) fn parse(words: &[String]) -> Result<Args> {
        let mut args = Args {
            binary: PathBuf::new(),
            folder: PathBuf::new(),
            minutes: None,
            seed: std::time::UNIX_EPOCH.elapsed()?.as_nanos() as u64 % 1_000_000,
            kills: None,
            keeper_kills: None,
            stops: None,
            reloads: None,
            both_kills: None,
            sessions: 0,
            log_mb: 0,
            pause: Duration::from_millis(500),
            markdown: None,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("{word} needs a value\n{USAGE}"))?;
            let number = || value.parse::<u64>().map_err(|_| format!("{word} {value}: a number is needed"));
            match word.as_str() {
                "--binary" => args.binary = value.into(),
                "--folder" => args.folder = value.into(),
                "--markdown" => args.markdown = Some(value.into()),
                "--minutes" => args.minutes = Some(value.parse().map_err(|_| format!("{value}: a number of minutes"))?),
                "--seed" => args.seed = number()?,
                "--kills" => args.kills = Some(number()?),
                "--keeper-kills" => args.keeper_kills = Some(number()?),
                "--stops" => args.stops = Some(number()?),
                "--reloads" => args.reloads = Some(number()?),
                "--both-kills" => args.both_kills = Some(number()?),
                "--sessions" => args.sessions = number()?,
                "--log-mb" => args.log_mb = number()?,
                "--pause-ms" => args.pause = Duration::from_millis(number()?),
                _ => return Err(format!("{word}: no such option\n{USAGE}").into()),
            }
        }
        if args.binary.as_os_str().is_empty() || args.folder.as_os_str().is_empty() {
            return Err(USAGE.into());
        }
        Ok(args)
    }

    /// True when the run ends after so many blows, and not at a time.
    pub(crate) fn is_counted(&self) -> bool {
        [self.kills, self.keeper_kills, self.stops, self.reloads, self.both_kills].iter().any(Option::is_some)
    }

    /// The blows in their order; without counts they go on for ever.
    pub(crate) fn plan(&self) -> Box<dyn Iterator<Item = (Duration, Blow)>> {
        let mut dice = Dice::new(self.seed, "plan");
        let longest = self.pause * 2;
        if !self.is_counted() {
            return Box::new(std::iter::from_fn(move || {
                let share = dice.below(SHARES.iter().sum());
                let blow = match share {
                    n if n < SHARES[0] => host_blow(&mut dice, 4),
                    n if n < SHARES[0] + SHARES[1] => Blow::Keeper,
                    n if n < SHARES[0] + SHARES[1] + SHARES[2] => Blow::Reload,
                    _ => stop(&mut dice),
                };
                Some((dice.up_to(longest), blow))
            }));
        }
        let mut blows = Vec::new();
        let mut kills = self.kills.unwrap_or(0);
        while kills > 0 {
            let blow = host_blow(&mut dice, kills);
            kills -= blow.host_kills();
            blows.push(blow);
        }
        blows.extend((0..self.keeper_kills.unwrap_or(0)).map(|_| Blow::Keeper));
        blows.extend((0..self.stops.unwrap_or(0)).map(|_| stop(&mut dice)));
        blows.extend((0..self.reloads.unwrap_or(0)).map(|_| Blow::Reload));
        dice.shuffle(&mut blows);
        Box::new(blows.into_iter().map(move |blow| (dice.up_to(longest), blow)))
    }
}

impl Blow {
    fn host_kills(self) -> u64 {
        match self {
            Blow::Host | Blow::Race => 1,
            Blow::Storm(n) => n,
            Blow::Keeper | Blow::HostStop(_) | Blow::KeeperStop(_) | Blow::Reload => 0,
        }
    }
}

fn host_blow(dice: &mut Dice, most: u64) -> Blow {
    match dice.below(100) {
        0..12 if most > 1 => Blow::Storm(2 + dice.below(3.min(most - 1))),
        12..20 => Blow::Race,
        _ => Blow::Host,
    }
}

fn stop(dice: &mut Dice) -> Blow {
    let time = dice.up_to(LONGEST_STOP);
    match dice.below(100) {
        0..20 => Blow::HostStop(PAST_WATCHDOG),
        20..70 => Blow::HostStop(time),
        _ => Blow::KeeperStop(time),
    }
}
