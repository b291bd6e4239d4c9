//! Turns and their replies: `ask`, `reply`, `turns`.

use super::ApiError;
use super::follow::{flag, read};
use crate::model::{Name, RawString, Seq, SessionId};
use serde::{Deserialize, Serialize};

/// `POST …/turns`: a text, submitted with Enter; with `wait` the answer is the [`Reply`], else a [`super::Receipt`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnRequest {
    /// The text.
    pub text: RawString,
    /// Who sends: a session's name, when it comes from inside one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// How long the program may take to read it, without it 60 s; with `wait` how long all of it may take, without it 30 min.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Answer with the reply, when it is whole.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wait: bool,
    /// When it is whole.
    #[serde(flatten)]
    pub when: When,
}

/// When a reply is whole; empty: when the program's prompt stands again, or it is quiet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct When {
    /// Regexes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub until: Vec<String>,
    /// Whole rows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub until_line: Vec<String>,
    /// Texts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub until_literal: Vec<String>,
    /// A duration without output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_idle: Option<String>,
}

/// The query of `GET …/turns/{n}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplyQuery {
    /// `wait=1`: until it is whole; else what there is.
    pub wait: bool,
    /// `timeout_ms=`: of the wait.
    pub timeout_ms: Option<u64>,
    /// `until=`, `until_line=`, `until_literal=`, `wait_idle=`.
    pub when: When,
}

/// What a program printed in answer to a turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The session.
    pub session: Name,
    /// Its id.
    pub id: SessionId,
    /// The turn.
    pub turn: u64,
    /// The answer alone: no echo, no prompt, no row of the marker.
    pub reply: String,
    /// It is whole.
    pub complete: bool,
    /// Why it ends.
    pub reason: ReplyReason,
    /// What matched, for `pattern`.
    #[serde(rename = "match")]
    pub matched: Option<String>,
    /// Where it comes from.
    pub source: ReplySource,
    /// The turn's first record.
    pub seq_from: Seq,
    /// The last record that was read for it.
    pub seq_to: Seq,
    /// Between these two, in the session's own time.
    pub duration_ms: u64,
    /// What is missing in between.
    pub gaps: Vec<Gap>,
}

/// Why a reply ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplyReason {
    /// A pattern matched.
    Pattern,
    /// It is whole: the program's prompt stands again.
    #[serde(alias = "prompt")] // an older host's word
    Complete,
    /// It is quiet.
    Idle,
    /// The run has ended.
    Exit,
    /// The time was over, or nobody waited.
    Timeout,
}

/// Where a reply comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplySource {
    /// Rows of the screen.
    Rows,
}

/// `{from_seq, to_seq, reason}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Gap(pub serde_json::Map<String, serde_json::Value>);

/// A turn as `turns` prints it. Times are RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the contract")]
pub struct TurnInfo {
    pub turn: u64,
    /// Of the session.
    pub id: SessionId,
    /// Who sent it.
    pub from: String,
    /// `open` or `complete`: the newest of a run that lives; else `ended`.
    pub state: TurnState,
    /// What was sent; of a long text its beginning.
    pub prompt: String,
    pub seq_from: Seq,
    pub seq_to: Seq,
    pub started_at: String,
    pub ended_at: Option<String>,
    /// Why it ended.
    pub reason: Option<TurnReason>,
}

/// See [`TurnInfo::state`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TurnState {
    /// What comes belongs to it, its reply isn't whole; or that is too long to see at a glance.
    Open,
    /// What comes belongs to it, its reply is whole, as for one who asks for it.
    Complete,
    /// It is over.
    Ended,
}

/// See [`TurnInfo::reason`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TurnReason {
    /// The next one began.
    Turn,
    /// The run ended.
    Exit,
}

impl ReplyQuery {
    /// As it stands in a URL after the `?`.
    pub fn to_query(&self) -> String {
        let mut out = form_urlencoded::Serializer::new(String::new());
        if self.wait {
            out.append_pair("wait", "1");
        }
        if let Some(timeout) = self.timeout_ms {
            out.append_pair("timeout_ms", &timeout.to_string());
        }
        if let Some(idle) = &self.when.wait_idle {
            out.append_pair("wait_idle", idle);
        }
        let When { until, until_line, until_literal, .. } = &self.when;
        for (name, values) in [("until", until), ("until_line", until_line), ("until_literal", until_literal)] {
            out.extend_pairs(values.iter().map(|value| (name, value)));
        }
        out.finish()
    }

    /// The inverse. Names it doesn't know are passed over.
    pub fn from_query(query: &str) -> Result<ReplyQuery, ApiError> {
        let mut out = ReplyQuery::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let text = value.into_owned();
            match &*name {
                "wait" => out.wait = read("wait", "0 or 1", flag(&text).ok_or(&text))?,
                "timeout_ms" => out.timeout_ms = Some(read("timeout_ms", "a number", text.parse())?),
                "wait_idle" => out.when.wait_idle = Some(text),
                "until" => out.when.until.push(text),
                "until_line" => out.when.until_line.push(text),
                "until_literal" => out.when.until_literal.push(text),
                _ => {}
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_survives_the_url() {
        let when = When {
            until: vec!["a&b=c d+%".into(), "ä|^$".into()],
            until_line: vec!["DONE".into()],
            until_literal: vec!["[DONE]".into()],
            wait_idle: Some("2s".into()),
        };
        for query in [ReplyQuery { wait: true, timeout_ms: Some(7), when }, ReplyQuery::default()] {
            assert_eq!(ReplyQuery::from_query(&query.to_query()), Ok(query));
        }
        assert!(ReplyQuery::from_query("wait=maybe").is_err());
    }

    #[test]
    fn a_whole_reply_has_one_word_and_an_older_hosts_word_is_read() {
        assert_eq!(serde_json::to_string(&ReplyReason::Complete).unwrap(), r#""complete""#);
        assert_eq!(serde_json::from_str::<ReplyReason>(r#""prompt""#).unwrap(), ReplyReason::Complete);
    }

    #[test]
    fn a_request_of_a_send_is_as_it_was() {
        let request: TurnRequest = serde_json::from_str(r#"{"text": "hi"}"#).unwrap();
        assert!(!request.wait && request.when == When::default());
        assert_eq!(serde_json::to_string(&request).unwrap(), r#"{"text":"hi"}"#);
        let request: TurnRequest = serde_json::from_str(r#"{"text": "hi", "wait": true, "until": ["x"]}"#).unwrap();
        assert_eq!(request.when.until, ["x"]);
    }
}
