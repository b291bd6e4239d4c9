//! Attaching: the query, and the text frames of both sides. Binary frames are the terminal's bytes as they are.
//!
//! Host to client: `hello`, then binary: first one frame that draws the screen as it stands, then output as it comes. `redraw`
//! says that the next binary frame draws the whole screen anew. Client to host: binary is typed.

use super::{ApiError, Code};
use crate::model::{SessionId, Size};
use serde::{Deserialize, Serialize};

/// Bytes a client may have typed beyond the last [`AttachLine::Typed`]. 64 KiB: a pasted page goes in one go; more is a client
/// that doesn't wait for anything, and is cut off.
pub const TYPING_WINDOW: u64 = 64 * crate::model::KIB as u64;
/// The longest frame of a client. 8 KiB: what one record of input holds.
pub const TYPING_FRAME: usize = 8 * crate::model::KIB;
/// The longest name a client gives itself.
const CLIENT_MAX: usize = 64;

/// The query of `…/attach`, as in the URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttachQuery {
    /// `cols=` and `rows=`: the client's terminal.
    pub size: Option<Size>,
    /// `read_only=1`: it types nothing and changes no size.
    pub read_only: bool,
    /// `client=`: a random word of the client's own. With it, what it typed over a connection that broke is known in the next.
    pub client: Option<String>,
    /// `id=`: the session it was attached to before the connection broke; another one of that name is refused.
    pub id: Option<SessionId>,
}

/// What the host says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum AttachLine {
    /// The first frame of a connection.
    Hello(AttachHello),
    /// The session's terminal has another size; a redraw follows.
    Size(Size),
    /// The next binary frame draws the whole screen anew, for a terminal of this size.
    Redraw(Size),
    /// So much of what this client typed has been taken, in bytes since it first attached. `lost` of them were not typed:
    /// nothing ran.
    Typed {
        /// All up to here.
        upto: u64,
        /// Of the bytes since the last such line.
        #[serde(default, skip_serializing_if = "is_zero")]
        lost: u64,
    },
    /// Whether this client is the one that typed last (or came first): the session's size is its size, and its terminal is the
    /// one that answers what the program asks.
    Leads {
        /// True: from here on.
        leads: bool,
    },
    /// The run has ended, the next one will be started.
    Restarting(RunEnd),
    /// The session has ended for good. The connection is closed.
    End(RunEnd),
}

/// See [`AttachLine::Hello`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the contract")]
pub struct AttachHello {
    pub api: u32,
    /// Of the host.
    pub generation: u64,
    pub id: SessionId,
    pub run: u32,
    pub size: Size,
    pub read_only: bool,
    /// See [`AttachLine::Leads`].
    #[serde(default)]
    pub leads: bool,
    /// See [`AttachLine::Typed`]: what arrived over earlier connections.
    #[serde(default)]
    pub typed: u64,
}

/// How a run ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEnd {
    /// Which.
    pub run: u32,
    /// Its code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
}

/// What a client says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum AttachOp {
    /// Its terminal has this size. The session takes it from the client that typed last.
    Resize(Size),
    /// It wants the whole screen, instead of the output in between.
    Redraw,
    /// It wants no output until it says `redraw`.
    Hold,
    /// It goes.
    Detach,
}

impl AttachQuery {
    /// As in the URL, without the question mark.
    pub fn to_query(&self) -> String {
        let mut out = form_urlencoded::Serializer::new(String::new());
        if let Some(Size { cols, rows }) = self.size {
            out.append_pair("cols", &cols.to_string()).append_pair("rows", &rows.to_string());
        }
        if self.read_only {
            out.append_pair("read_only", "1");
        }
        if let Some(client) = &self.client {
            out.append_pair("client", client);
        }
        if let Some(id) = self.id {
            out.append_pair("id", &id.to_string());
        }
        out.finish()
    }

    /// From the URL. Unknown names are ignored.
    pub fn from_query(query: &str) -> Result<AttachQuery, ApiError> {
        let bad = |name: &str, value: &str, help: &str| {
            ApiError::new(Code::Usage, format!("bad {name}= in the query: {value:?}")).hint(format!("give {help}"))
        };
        let (mut out, mut cols, mut rows) = (AttachQuery::default(), None, None);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "cols" => cols = Some(value.into_owned()),
                "rows" => rows = Some(value.into_owned()),
                "read_only" => {
                    // once said it stays: who may only look can't take it back further on
                    out.read_only |= match &*value {
                        "1" | "true" => true,
                        "0" | "false" => false,
                        _ => return Err(bad("read_only", &value, "0 or 1")),
                    }
                }
                "client" => {
                    let word = |c: char| c.is_ascii_alphanumeric() || c == '-';
                    if value.is_empty() || value.len() > CLIENT_MAX || !value.chars().all(word) {
                        return Err(bad("client", &value, "1 to 64 letters and digits"));
                    }
                    out.client = Some(value.into_owned());
                }
                "id" => {
                    let id = SessionId::try_from(value.to_string());
                    out.id = Some(id.map_err(|_| bad("id", &value, "32 hexadecimal digits"))?);
                }
                _ => {}
            }
        }
        out.size = match (cols, rows) {
            (None, None) => None,
            (Some(cols), Some(rows)) => {
                let text = format!("{cols}x{rows}");
                Some(text.parse().map_err(|_| bad("cols, rows", &text, "both, 1 to 1000"))?)
            }
            (cols, rows) => return Err(bad("cols, rows", &cols.or(rows).unwrap_or_default(), "both, or none")),
        };
        Ok(out)
    }
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_survives_the_url() {
        let full = AttachQuery {
            size: Some(Size { cols: 80, rows: 24 }),
            read_only: true,
            client: Some("ab-12".to_owned()),
            id: Some(SessionId([7; 16])),
        };
        for query in [full, AttachQuery::default()] {
            assert_eq!(AttachQuery::from_query(&query.to_query()), Ok(query.clone()), "{}", query.to_query());
        }
        let twice = AttachQuery::from_query("read_only=1&read_only=0").unwrap();
        assert!(twice.read_only);
        for bad in ["cols=80", "cols=0&rows=1", "cols=x&rows=1", "read_only=maybe", "client=", "client=a%20b", "id=1"] {
            assert_eq!(AttachQuery::from_query(bad).unwrap_err().code, Code::Usage, "{bad}");
        }
    }

    #[test]
    fn frames_look_like_the_contract() {
        let size = Size { cols: 80, rows: 24 };
        let json = |line: &AttachLine| serde_json::to_string(line).unwrap();
        assert_eq!(json(&AttachLine::Size(size)), r#"{"event":"size","cols":80,"rows":24}"#);
        assert_eq!(json(&AttachLine::Redraw(size)), r#"{"event":"redraw","cols":80,"rows":24}"#);
        assert_eq!(json(&AttachLine::Typed { upto: 3, lost: 0 }), r#"{"event":"typed","upto":3}"#);
        let end = RunEnd { run: 1, exit_code: Some(2), signal: None };
        assert_eq!(json(&AttachLine::End(end)), r#"{"event":"end","run":1,"exit_code":2}"#);
        let said = |text: &str| serde_json::from_str::<AttachOp>(text).unwrap();
        assert_eq!(said(r#"{"op":"resize","cols":80,"rows":24}"#), AttachOp::Resize(size));
        assert_eq!(said(r#"{"op":"detach"}"#), AttachOp::Detach);
    }
}
