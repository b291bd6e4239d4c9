//! What happens to sessions: the query, and the lines that come back.

use super::{ApiError, Code};
use crate::model::{Name, Seq, SessionId};
use serde::{Deserialize, Serialize};

/// The query of `/v1/events`, over HTTP as over a WebSocket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventsQuery {
    /// `since=`: the `id` of the last line that came.
    pub since: Option<String>,
    /// `type=`: these alone, separated by commas; may stand several times.
    pub types: Vec<String>,
    /// `follow=1`: go on. Over HTTP it is on unless it is `0`.
    pub follow: bool,
}

/// A line: `session` is how a session stands, every other word is a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Opaque: hand it back as `since=` to go on after this line.
    pub id: String,
    /// When. RFC 3339.
    pub ts: String,
    /// One of [`Change::TYPES`].
    pub event: String,
    /// Whose.
    pub session: Name,
    /// The session behind the name.
    pub session_id: SessionId,
    /// The record in its log; of `session`, the newest.
    pub seq: Seq,
    /// The rest.
    #[serde(flatten)]
    pub detail: serde_json::Map<String, serde_json::Value>,
}

impl Change {
    /// All words.
    pub const TYPES: [&str; 11] = [
        "session",
        "created",
        "starting",
        "started",
        "resized",
        "turn",
        "hung",
        "exited",
        "restarting",
        "failed",
        "removed",
    ];
}

impl EventsQuery {
    /// As it stands in a URL after the `?`.
    pub fn to_query(&self) -> String {
        let mut out = form_urlencoded::Serializer::new(String::new());
        self.since.iter().for_each(|since| {
            out.append_pair("since", since);
        });
        if !self.types.is_empty() {
            out.append_pair("type", &self.types.join(","));
        }
        out.append_pair("follow", if self.follow { "1" } else { "0" });
        out.finish()
    }

    /// The inverse of [`EventsQuery::to_query`]. Names it doesn't know are passed over.
    pub fn from_query(query: &str) -> Result<EventsQuery, ApiError> {
        let mut out = EventsQuery { follow: true, ..EventsQuery::default() };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "since" => out.since = Some(value.into_owned()),
                "type" => {
                    for word in value.split(',').filter(|word| !word.is_empty()) {
                        out.types.push(EventsQuery::check_type(word)?);
                    }
                }
                "follow" => out.follow = !matches!(&*value, "0" | "false"),
                _ => {}
            }
        }
        Ok(out)
    }

    /// One of the words.
    pub fn check_type(word: &str) -> Result<String, ApiError> {
        match Change::TYPES.contains(&word) {
            true => Ok(word.to_owned()),
            false => Err(ApiError::new(Code::Usage, format!("bad type {word:?}: write {}", Change::TYPES.join(", ")))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_survives_the_url() {
        let full =
            EventsQuery { since: Some("3-41".into()), types: vec!["exited".into(), "turn".into()], follow: true };
        for query in [full, EventsQuery::default()] {
            assert_eq!(EventsQuery::from_query(&query.to_query()), Ok(query.clone()), "{}", query.to_query());
        }
        assert_eq!(EventsQuery::from_query("").map(|q| q.follow), Ok(true));
        assert!(EventsQuery::from_query("type=exited,exitd").unwrap_err().message.contains("\"exitd\""));
    }
}
