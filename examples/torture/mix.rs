//! One run from the first session to the report.

use crate::{
    Result,
    agains::Again,
    args::Args,
    both,
    chats::Chat,
    checks::{Adoption, beats, bytes_in, check_status, idle_reads, leftovers},
    dice::Dice,
    floods::Flood,
    host::{HANG, Host, LOOK, give_up, pause, wait_for},
    killer::{Fallen, Killer},
    oracle::{Broken, Oracle},
    report::{Measured, is_host_kill},
    shorts::Shorts,
    stream::{Stream, prove},
    typist::Typist,
};
use std::{
    fs::{self, File},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

const FLOODS: u64 = 3;
const CHATS: u64 = 3;
const TYPISTS: u64 = 1;
const SHORTS: u64 = 2;
const AGAINS: u64 = 2;
/// The sessions by which adoption is measured: made before the idle ones, in their midst, and after them.
const BEATS: [&str; 3] = ["beat-first", "beat-middle", "beat-last"];
/// Without counts and minutes.
const MINUTES: f64 = 2.0;
/// Where a host was away for longer, the next one lives as long at least: else a slow machine would end the patience of clients,
/// who must get something done between two blows.
const SLOW: Duration = Duration::from_secs(1);
/// How long the parts may take to end once a promise is broken, before their processes are killed.
const END: Duration = Duration::from_secs(20);

struct Mix {
    floods: Vec<Flood>,
    beats: Vec<Flood>,
    chats: Vec<Chat>,
    typist: Typist,
    agains: Vec<Again>,
    idle: Vec<String>,
}

/// True when all promises were kept.
pub(crate) fn run(words: &[String]) -> Result<bool> {
    let args = Args::parse(words)?;
    prove()?;
    let host = Host::new(args.binary.clone(), &args.folder)?;
    println!("seed {}", args.seed);
    let oracle = Oracle::new(File::create(args.folder.join("diary"))?);
    let begun = Instant::now();
    let outcome =
        host.ok(&["start", "-d"]).and_then(|_| Mix::begin(&host, &args)).map(|mix| mix.torture(&host, &oracle, &args));
    let (fallen, reads) = match outcome {
        Ok(fallen) => fallen,
        Err(why) => {
            host.end_all();
            return Err(why);
        }
    };
    let log_bytes = bytes_in(&host.home);
    both::rounds(&host, &oracle, &args);
    end(&host, &oracle);
    let hits = fallen.iter().filter(|fallen| is_host_kill(&fallen.blow));
    let adoptions = hits.filter_map(|fallen| reads.after(fallen.at_us)).collect();
    let sessions = FLOODS + CHATS + TYPISTS + SHORTS + AGAINS + BEATS.len() as u64 + args.sessions;
    let measured = Measured { args: &args, fallen: &fallen, adoptions, length: begun.elapsed(), sessions, log_bytes };
    print!("{}", measured.text(&oracle));
    let cases = oracle.cases();
    for case in &cases {
        println!("BROKEN {:?} after {:.1} s: {}", case.broken, case.after.as_secs_f64(), case.words);
    }
    if let (Some(file), true) = (&args.markdown, cases.is_empty()) {
        fs::write(file, measured.markdown(&oracle))?;
    }
    Ok(cases.is_empty())
}

/// `stop`, and nothing is left.
fn end(host: &Host, oracle: &Oracle) {
    if oracle.cases().is_empty() {
        match host.ok(&["stop", "-y"]) {
            Ok(_) => leftovers(host, oracle),
            Err(why) => oracle.broke(Broken::Left, why.to_string()),
        }
    } else {
        let _ = host.ok(&["stop", "-y"]); // what is left gets SIGKILL
    }
    host.end_all();
}

impl Mix {
    fn begin(host: &Host, args: &Args) -> Result<Mix> {
        if args.log_mb > 0 {
            println!("{} MB into the log", args.log_mb);
            let fill = host.program("fill", "filler", args.seed, &[args.log_mb.to_string()]);
            host.new_session("filler", &[], &fill)?;
            host.ok(&["wait", "filler", "--exit"])?;
        }
        let typist = Typist::begin(host, "attached")?;
        let mut mix = Mix { floods: vec![], beats: vec![], chats: vec![], typist, agains: vec![], idle: vec![] };
        for n in 0..=args.sessions {
            let beat = match n {
                0 => Some(0),
                n if n == args.sessions / 2 => Some(1),
                _ => None,
            };
            beat.map_or(Ok(()), |which| mix.beat(host, BEATS[which]))?;
            if n < args.sessions {
                let name = format!("idle-{n}");
                host.new_session(&name, &[], &host.program("idle", &name, args.seed.wrapping_add(n), &[]))?;
                mix.idle.push(name);
            }
        }
        for name in BEATS {
            if !mix.beats.iter().any(|beat| beat.name == name) {
                mix.beat(host, name)?;
            }
        }
        for n in 0..FLOODS {
            let (name, seed) = (format!("flood-{n}"), args.seed.wrapping_add(n));
            host.new_session(&name, &[], &host.program("flood", &name, seed, &[]))?;
            mix.floods.push(Flood::new(name, Stream::Blocks(seed)));
        }
        for n in 0..CHATS {
            mix.chats.push(Chat::begin(host, &format!("chat-{n}"), n == 0, args.seed)?);
        }
        for n in 0..AGAINS {
            mix.agains.push(Again::begin(host, &format!("again-{n}"), args.seed.wrapping_add(n))?);
        }
        Ok(mix)
    }

    fn beat(&mut self, host: &Host, name: &str) -> Result<()> {
        host.new_session(name, &[], &host.program("beat", name, 0, &[]))?;
        self.beats.push(Flood::new(name.to_owned(), Stream::Rows));
        Ok(())
    }

    /// Blows and mix until the plan or the time is over; then all checks. What fell, and when terminals were read.
    fn torture(self, host: &Host, oracle: &Oracle, args: &Args) -> (Vec<Fallen>, Adoption) {
        let done = AtomicBool::new(false);
        let Mix { floods, beats: beating, chats, typist, agains, idle } = self;
        let fallen = thread::scope(|scope| {
            scope.spawn(|| janitor(host, oracle, &done));
            let dice = |part: &str| Dice::new(args.seed, part);
            let parts = thread::scope(|parts| {
                for flood in &floods {
                    parts.spawn(|| flood.follow(host, oracle));
                    parts.spawn(|| flood.listen(host, oracle, dice(&format!("{} listen", flood.name))));
                    parts.spawn(|| flood.spots(host, oracle, dice(&format!("{} spots", flood.name))));
                    parts.spawn(|| flood.watch(oracle));
                }
                for beat in &beating {
                    parts.spawn(|| beat.listen(host, oracle, dice(&format!("{} listen", beat.name))));
                }
                for (n, chat) in chats.into_iter().enumerate() {
                    let dice = dice(&format!("chat {n}"));
                    parts.spawn(move || chat.talk(host, oracle, dice));
                }
                let typing = dice("typist");
                parts.spawn(move || typist.work(host, oracle, typing));
                for n in 0..SHORTS {
                    let shorts = Shorts::new(host, oracle, dice(&format!("shorts {n}")), &format!("short-{n}"));
                    parts.spawn(move || shorts.work());
                }
                let fallen = strike(host, oracle, args);
                oracle.end();
                if let Err(why) = fs::write(host.work.join("stop"), "") {
                    oracle.broke(Broken::Hang, format!("the programs can't be stopped: {why}"));
                }
                fallen
            });
            done.store(true, Ordering::Relaxed);
            parts
        });
        if !oracle.cases().is_empty() {
            return (fallen, Adoption::default());
        }
        agains.iter().for_each(|again| again.check(host, oracle));
        let mut spots = Dice::new(args.seed, "last spots");
        for flood in floods.iter().chain(&beating) {
            ended(host, oracle, flood);
            flood.whole(host, oracle);
            (0..5).for_each(|_| flood.spot(host, oracle, &mut spots));
        }
        still_idle(host, oracle, &idle);
        let beats = beating.iter().map(|beat| beats(host, oracle, &beat.name)).collect();
        (fallen, Adoption { beats, idle: idle.iter().map(|name| idle_reads(host, oracle, name)).collect() })
    }
}

fn strike(host: &Host, oracle: &Oracle, args: &Args) -> Vec<Fallen> {
    let minutes = args.minutes.or_else(|| (!args.is_counted()).then_some(MINUTES));
    let until = minutes.map(|minutes| Instant::now() + Duration::from_secs_f64(minutes * 60.0));
    let mut killer = Killer { host, oracle, dice: Dice::new(args.seed, "killer") };
    let mut fallen = Vec::new();
    for (time, blow) in args.plan() {
        let away = fallen.last().map_or(Duration::ZERO, |last: &Fallen| last.answered);
        pause(if away > SLOW { time.max(away) } else { time });
        if oracle.is_over() || until.is_some_and(|until| Instant::now() > until) {
            break;
        }
        match killer.strike(blow) {
            Some(blow) => fallen.push(blow),
            None => break,
        }
        if fallen.len() % 100 == 0 {
            println!("{} blows", fallen.len());
        }
    }
    fallen
}

/// When a promise is broken the parts may wait for what never comes: their processes are killed.
fn janitor(host: &Host, oracle: &Oracle, done: &AtomicBool) {
    let is_done = || done.load(Ordering::Relaxed);
    while !is_done() && !oracle.is_over() {
        pause(LOOK * 10);
    }
    let begun = Instant::now();
    while !is_done() {
        let patience = if oracle.cases().is_empty() { HANG * 2 } else { END };
        if begun.elapsed() > patience {
            if oracle.cases().is_empty() {
                oracle.broke(Broken::Hang, format!("not everything ended: {:?}", host.processes()));
            }
            give_up();
            host.end_all();
        }
        pause(LOOK * 10);
    }
}

/// A flood has ended by itself, as it does.
fn ended(host: &Host, oracle: &Oracle, flood: &Flood) {
    let path = format!("/v1/sessions/{}", flood.name);
    let look =
        || host.call("GET", &path, None, None).map(|answer| answer.json()).filter(|json| json["state"] != "running");
    match wait_for(look) {
        Some(json) if json["state"] == "exited" && json["run"] == 1 => {
            check_status(oracle, &flood.name, &json, i64::from(flood.status()));
        }
        other => oracle.broke(Broken::Lost, format!("{} should have exited: {other:?}", flood.name)),
    }
}

/// Who did nothing lives on, in its first run.
fn still_idle(host: &Host, oracle: &Oracle, idle: &[String]) {
    for name in idle {
        let json = host
            .call("GET", &format!("/v1/sessions/{name}"), None, None)
            .map(|answer| answer.json())
            .unwrap_or_default();
        if json["state"] != "running" || json["run"] != 1 {
            oracle.broke(Broken::Lost, format!("{name} should be running: {json}"));
        }
    }
}
