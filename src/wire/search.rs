//! Searching all logs: the query, and the hits that come back, one JSON line each.

use super::{ApiError, Code};
use crate::model::{Cursor, Name, SessionId};
use serde::{Deserialize, Serialize};

/// The query of `GET /v1/search`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchQuery {
    /// `re=`: a regex, on rows as a person reads them.
    pub pattern: String,
    /// `session=`: these alone; may stand several times.
    pub sessions: Vec<String>,
    /// `since=`: a duration or RFC 3339.
    pub since: Option<String>,
    /// `in=input`: what was typed; `in=output` is what programs wrote.
    pub input: bool,
    /// `context=`: rows before and after each hit.
    pub context: usize,
}

/// A row that matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the contract")]
pub struct SearchHit {
    pub session: Name,
    pub id: SessionId,
    pub run: u32,
    pub turn: Option<u64>,
    /// When the row was final, or typed. RFC 3339.
    pub ts: String,
    /// Where it begins: for `since=`.
    pub seq: Cursor,
    pub row: String,
    pub before: Vec<String>,
    pub after: Vec<String>,
}

impl SearchQuery {
    /// As it stands in a URL after the `?`.
    pub fn to_query(&self) -> String {
        let mut out = form_urlencoded::Serializer::new(String::new());
        out.append_pair("re", &self.pattern);
        self.sessions.iter().for_each(|name| {
            out.append_pair("session", name);
        });
        self.since.iter().for_each(|since| {
            out.append_pair("since", since);
        });
        if self.input {
            out.append_pair("in", "input");
        }
        if self.context > 0 {
            out.append_pair("context", &self.context.to_string());
        }
        out.finish()
    }

    /// The inverse of [`SearchQuery::to_query`]. Names it doesn't know are passed over.
    pub fn from_query(query: &str) -> Result<SearchQuery, ApiError> {
        let mut out = SearchQuery::default();
        let mut pattern = None;
        let bad = |name: &str, value: &str, wanted: &str| {
            ApiError::new(Code::Usage, format!("bad {name}= in the query: {value:?}")).hint(format!("give {wanted}"))
        };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "re" => pattern = Some(value.into_owned()),
                "session" => out.sessions.push(value.into_owned()),
                "since" => out.since = Some(value.into_owned()),
                "in" => {
                    out.input = match &*value {
                        "input" => true,
                        "output" => false,
                        other => return Err(bad("in", other, "input or output")),
                    }
                }
                "context" => out.context = value.parse().map_err(|_| bad("context", &value, "a number"))?,
                _ => {}
            }
        }
        out.pattern =
            pattern.ok_or_else(|| ApiError::new(Code::Usage, "re= is missing in the query: what to look for"))?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_survives_the_url() {
        let full = SearchQuery {
            pattern: "a&b=c d+%|ä".into(),
            sessions: vec!["a".into(), "b".into()],
            since: Some("7d".into()),
            input: true,
            context: 3,
        };
        for query in [full, SearchQuery { pattern: "x".into(), ..SearchQuery::default() }] {
            assert_eq!(SearchQuery::from_query(&query.to_query()), Ok(query.clone()), "{}", query.to_query());
        }
        for bad in ["", "since=1d", "re=x&in=both", "re=x&context=-1"] {
            assert_eq!(SearchQuery::from_query(bad).unwrap_err().code, Code::Usage, "{bad}");
        }
    }
}
