//! What systemd is told that started a host: when it serves, and which process is the main one, also after the keeper's death.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod support;

use rustix::process::Signal;
use std::{os::unix::net::UnixDatagram, time::Duration};
use support::{BOUND, Cmd, Host, alive, wait_for};

/// An init system that listens.
struct Init(UnixDatagram, String);

impl Init {
    fn new(host: &Host) -> Init {
        let path = host.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(BOUND)).unwrap();
        Init(socket, path)
    }

    fn starts(&self, host: &Host) -> Cmd {
        host.cmd(["host"]).env("NOTIFY_SOCKET", &self.1)
    }

    fn hears(&self) -> String {
        let mut bytes = [0; 256];
        let n = self.0.recv(&mut bytes).expect("a word in time");
        String::from_utf8(bytes[..n].to_vec()).unwrap()
    }

    fn heard_nothing_more(&self) -> bool {
        self.0.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let nothing = self.0.recv(&mut [0; 256]).is_err();
        self.0.set_read_timeout(Some(BOUND)).unwrap();
        nothing
    }
}

#[test]
fn a_host_says_when_it_serves_and_a_later_start_joins_it() {
    let host = Host::cold();
    let init = Init::new(&host);
    let _first = init.starts(&host).spawn();
    assert_eq!(init.hears(), format!("READY=1\nMAINPID={}\n", host.keeper_pid()));
    host.sh("s", "env; exec cat");
    host.kill_host(); // the next one says nothing: the unit is up
    let keeper = host.keeper_pid();
    host.kill_keeper();
    wait_for("another keeper", || host.status().filter(|status| status["keeper_pid"] != keeper));
    assert!(init.heard_nothing_more());
    init.starts(&host).run().expect_code(0);
    assert_eq!(init.hears(), format!("READY=1\nMAINPID={}\n", host.keeper_pid()));
    assert_eq!(host.session("s").unwrap()["state"], "running");
    assert!(!host.ok(["logs", "s"]).contains("NOTIFY_SOCKET"), "no program of a session speaks for the unit");
    let keeper = host.keeper_pid();
    support::send_signal(keeper, Signal::TERM);
    wait_for("its end", || (!alive(keeper)).then_some(()));
}

#[test]
fn without_systemd_a_second_host_is_an_error() {
    let host = Host::start();
    host.run(["host"]).expect_error(1, &["runs already"]);
}
