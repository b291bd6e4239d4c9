//! What came of it, for people and for the table in docs/reliability.md.

use crate::{
    agains::CUT_OFF,
    args::{Args, Blow},
    both::LOST_OUTPUT,
    checks::Adopted,
    killer::Fallen,
    oracle::{BROKEN, Oracle},
    program::BEAT,
};
use std::{fmt::Write, time::Duration};

/// What was measured.
pub(crate) struct Measured<'a> {
    pub(crate) args: &'a Args,
    pub(crate) fallen: &'a [Fallen],
    /// From a blow at the host until terminals were read again, one each blow.
    pub(crate) adoptions: Vec<Adopted>,
    pub(crate) length: Duration,
    pub(crate) sessions: u64,
    pub(crate) log_bytes: u64,
}

/// What is counted, in the order of the report.
const COUNTS: [&str; 19] = [
    "host kills",
    "host kills while taking over",
    "keeper kills",
    "host stops",
    "keeper stops",
    "stopped and replaced",
    "hosts started twice",
    "reloads",
    "bytes checked",
    "WebSocket connections that broke",
    "readings from a cursor",
    "sends acknowledged",
    "asks",
    "lines typed while attached",
    "attached connections that broke",
    "requests repeated under their key",
    "sessions that ended",
    "trees killed",
    "waits",
];

/// A row: what, and the figure.
type Row = (String, String);

impl Measured<'_> {
    pub(crate) fn rows(&self, oracle: &Oracle) -> Vec<Row> {
        let mut rows = vec![
            ("length".to_owned(), format!("{:.1} min", self.length.as_secs_f64() / 60.0)),
            ("sessions at once".to_owned(), self.sessions.to_string()),
            ("log on disk at the end".to_owned(), format!("{} MB", self.log_bytes >> 20)),
        ];
        rows.extend(COUNTS.iter().map(|what| ((*what).to_owned(), figure(what, oracle.counted(what)))));
        rows.push((
            format!("adoption after a host kill: the terminals are read again (of three, to {} ms)", BEAT.as_millis()),
            spread(self.adoptions.iter().map(|adopted| adopted.beats).collect()),
        ));
        if self.args.sessions > 0 {
            let all = self.adoptions.iter().map(|adopted| adopted.all).collect();
            rows.push(("… the slowest of all that had something to be read".into(), spread(all)));
        }
        let answered = |wanted: fn(&Blow) -> bool| {
            spread(self.fallen.iter().filter(|fallen| wanted(&fallen.blow)).map(|fallen| fallen.answered).collect())
        };
        rows.push(("a request is answered after a host kill".into(), answered(is_host_kill)));
        rows.push(("… after a keeper kill".into(), answered(|blow| *blow == Blow::Keeper)));
        rows.push(("… after a stop".into(), answered(|b| matches!(b, Blow::HostStop(_) | Blow::KeeperStop(_)))));
        if oracle.counted("reloads") > 0 {
            rows.push(("… after a reload".into(), answered(|blow| *blow == Blow::Reload)));
        }
        rows.push((CUT_OFF.into(), oracle.counted(CUT_OFF).to_string()));
        if self.args.both_kills.is_some() {
            let lost = oracle.counted(LOST_OUTPUT);
            rows.push(("host and keeper killed at once".into(), oracle.counted("both killed").to_string()));
            rows.push((LOST_OUTPUT.into(), format!("{lost} bytes")));
        }
        rows.push(("exit statuses that are unknown".into(), oracle.counted("unknown statuses").to_string()));
        let cases = oracle.cases();
        rows.extend(BROKEN.iter().map(|(broken, what)| {
            ((*what).to_owned(), cases.iter().filter(|case| case.broken == *broken).count().to_string())
        }));
        rows
    }

    pub(crate) fn text(&self, oracle: &Oracle) -> String {
        let rows = self.rows(oracle);
        let width = rows.iter().map(|(what, _)| what.chars().count()).max().unwrap_or(0);
        rows.iter().fold(String::new(), |mut out, (what, figure)| {
            let _ = writeln!(out, "{what:width$}  {figure}"); // writing to a String never fails
            out
        })
    }

    pub(crate) fn markdown(&self, oracle: &Oracle) -> String {
        let head = format!("| seed {} | |\n|---|---|\n", self.args.seed);
        self.rows(oracle).iter().fold(head, |mut out, (what, figure)| {
            let _ = writeln!(out, "| {what} | {figure} |"); // as above
            out
        })
    }
}

pub(crate) fn is_host_kill(blow: &Blow) -> bool {
    matches!(blow, Blow::Host | Blow::Storm(_) | Blow::Race)
}

fn figure(what: &str, n: u64) -> String {
    if what.starts_with("bytes") { format!("{} MB", n >> 20) } else { n.to_string() }
}

/// Median, 99th percentile, worst.
fn spread(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let Some(worst) = times.last() else { return "-".to_owned() };
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)].as_millis();
    format!("median {} ms, p99 {} ms, worst {} ms", at(50), at(99), worst.as_millis())
}
