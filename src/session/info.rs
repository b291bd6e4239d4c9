//! A session as users see it: pure.

use super::stage::Stage;
use super::summary::{Phase, Summary};
use crate::log::SessionMeta;
use crate::model::{SessionId, Spec, State, Status, Wall, signal_name};
use crate::pty::shim::ID_VARIABLE;
use crate::wire::SessionInfo;
use std::time::Duration;

/// Why nobody can say how a run ended.
const LOST: &str = "how its run ended isn't known: its keeper, or the machine, went down first";

/// The state: what the log says, and what the actor waits for.
pub(super) fn state(sum: &Summary, stage: Stage, failed: bool) -> State {
    match (stage, &sum.phase) {
        (Stage::Starting, _) => State::Starting,
        (Stage::Running(_) | Stage::Draining(..), _) => State::Running,
        (Stage::Idle, Phase::Restarting { .. }) => State::Restarting,
        (Stage::Idle, Phase::Ended { last: false, .. }) if !failed => State::Restarting,
        (Stage::Idle, Phase::Ended { status: Status::Unknown, .. } | Phase::Running { .. }) if !failed => State::Lost,
        (Stage::Idle, _) if failed => State::Failed,
        (Stage::Idle, _) => State::Exited,
    }
}

pub(super) fn describe(
    meta: &SessionMeta,
    sum: &Summary,
    state: State,
    reason: Option<String>,
    queued: usize,
) -> SessionInfo {
    let ended = !state.is_live();
    let status = sum.status.filter(|_| ended || state == State::Restarting);
    SessionInfo {
        name: meta.name.clone(),
        id: meta.id,
        state,
        activity: "unknown".to_owned(),
        activity_since: None,
        agent: None,
        command: meta.spec.command.clone(),
        argv: meta.spec.argv.clone(),
        cwd: meta.spec.cwd.clone(),
        pid: match (&sum.phase, ended) {
            (Phase::Running { process }, false) => Some(process.pid),
            _ => None,
        },
        run: sum.run,
        exit_code: match status {
            Some(Status::Code(code)) => Some(code),
            _ => None,
        },
        signal: match status {
            Some(Status::Signal(signal)) => Some(signal),
            _ => None,
        },
        reason: reason.or_else(|| (state == State::Lost).then(|| LOST.to_owned())),
        created_at: rfc3339(meta.created),
        started_at: sum.started_at.map(rfc3339),
        exited_at: sum.exited_at.filter(|_| status.is_some()).map(rfc3339),
        last_output_at: sum.last_output_at.map(rfc3339),
        last_seq: sum.seq.0,
        last_turn: sum.turn.as_ref().map(|t| t.turn),
        size: sum.size,
        labels: meta.spec.labels.clone(),
        restart_command: meta.spec.care.again.as_ref().map(|again| again.command.clone()),
        stop_signal: meta.spec.care.stop_signal.map(signal_name),
        stop_timeout_ms: meta.spec.care.stop_timeout.map(millis),
        watchdog_ms: meta.spec.care.watchdog.map(millis),
        restarts: sum.restarts,
        attached: 0,
        queued: u32::try_from(queued).unwrap_or(u32::MAX),
        fleet: meta.member.as_ref().map(|member| member.fleet.clone()),
        group: meta.member.as_ref().and_then(|member| member.group.clone()),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn rfc3339(at: Wall) -> String {
    match jiff::Timestamp::from_microsecond(at.0) {
        Ok(t) => format!("{t:.3}"),
        Err(_) => String::new(),
    }
}

/// The session from inside which this one was made: its caller's environment says so.
pub(super) fn maker(spec: &Spec) -> Option<SessionId> {
    let (_, id) = spec.env.iter().find(|(name, _)| name.0 == ID_VARIABLE.as_bytes())?;
    SessionId::try_from(id.lossy()).ok()
}
