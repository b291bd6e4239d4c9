//! Looking for a pattern in all logs, over crashes of the host.
//!
//! Hits come session by session in one order, and of each session in that of its log. When the host goes away amid them, it
//! is asked again, and what has come already is passed over: a log doesn't change. Nothing is buffered here but a line.

use super::lines::{Got, Lines};
use super::{Client, ClientError, Stream, request, tries::Tries};
use crate::wire::{SearchHit, SearchQuery};
use hyper::Method;
use std::cmp::Ordering;
use tokio::time::Instant;

const PATH: &str = "/v1/search";

/// See the module.
pub struct Search {
    client: Client,
    query: SearchQuery,
    lines: Option<Lines>,
    asked: Instant,
    /// The last hit, and how many have come of its place: a text that was typed may have several.
    last: Option<(SearchHit, usize)>,
    /// How many of these have come again.
    passed: usize,
    tries: Tries,
}

impl Client {
    /// Searches. The host is started first where there is none and may be.
    pub async fn search(&self, mut query: SearchQuery) -> Result<Search, ClientError> {
        let mut known = std::collections::HashSet::new();
        query.sessions.retain(|name| known.insert(name.clone())); // a place in the order is one place
        let stream = self.host.open().await?;
        let (client, asked, tries) = (self.clone(), Instant::now(), Tries::default());
        let mut search = Search { client, query, lines: None, asked, last: None, passed: 0, tries };
        search.ask(stream).await?;
        Ok(search)
    }
}

impl Search {
    /// The next hit; nothing at the end. May be dropped and called again at any time.
    pub async fn next(&mut self) -> Result<Option<SearchHit>, ClientError> {
        loop {
            let Some(lines) = &mut self.lines else {
                let stream = self.client.again(&mut self.tries).await?;
                self.ask(stream).await?;
                continue;
            };
            let line = match self.client.while_it_lives(lines.next()).await?? {
                Got::Line(line) => line,
                Got::End => return Ok(None),
                Got::Cut => {
                    self.lines = None;
                    self.client.went_away(&mut self.tries, self.asked);
                    continue;
                }
            };
            let hit: SearchHit = request::read(&Method::GET, PATH, &line)?;
            if self.is_new(&hit) {
                self.tries.worked();
                return Ok(Some(hit));
            }
        }
    }

    async fn ask(&mut self, stream: Stream) -> Result<(), ClientError> {
        (self.asked, self.passed) = (Instant::now(), 0);
        let path = format!("{PATH}?{}", self.query.to_query());
        let opening = Lines::open(&self.client.host, stream, &path);
        self.lines = self.client.while_it_lives(opening).await??;
        if self.lines.is_none() {
            self.client.went_away(&mut self.tries, self.asked);
        }
        Ok(())
    }

    /// Notes a hit; false for one that has come already.
    fn is_new(&mut self, hit: &SearchHit) -> bool {
        let came = match &self.last {
            Some((last, _)) if self.order(hit, last) == Ordering::Less => return false,
            Some((last, came)) if self.order(hit, last) == Ordering::Equal => {
                if self.passed < *came {
                    self.passed += 1;
                    return false;
                }
                *came
            }
            _ => 0,
        };
        (self.last, self.passed) = (Some((hit.clone(), came + 1)), came + 1);
        true
    }

    /// By name, or as they were named; another session of that name is a later one.
    fn order(&self, a: &SearchHit, b: &SearchHit) -> Ordering {
        let place = |hit: &SearchHit| self.query.sessions.iter().position(|name| *name == hit.session.as_str());
        let sessions = place(a).cmp(&place(b)).then_with(|| a.session.cmp(&b.session));
        let logs = if a.id == b.id { a.seq.cmp(&b.seq) } else { Ordering::Greater };
        sessions.then(logs)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Act, Place};
    use super::*;
    use serde_json::json;

    fn hit(session: &str, id: u8, seq: &str, row: &str) -> String {
        let id = format!("{id:02x}").repeat(16);
        json!({"session": session, "id": id, "run": 1, "turn": null, "ts": "T", "seq": seq, "row": row, "before": [],
               "after": []})
        .to_string()
    }

    /// An answer that says so much, and breaks off where `whole` isn't true.
    fn answer(hits: &[&String], whole: bool) -> Act {
        let lines: String = hits.iter().map(|hit| format!("{hit}\n")).collect();
        let end = if whole { "0\r\n\r\n" } else { "" };
        let head = "HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n";
        if lines.is_empty() {
            return Act::Bytes(format!("{head}{end}").into_bytes());
        }
        Act::Bytes(format!("{head}{:x}\r\n{lines}\r\n{end}", lines.len()).into_bytes())
    }

    async fn rows(search: &mut Search) -> Vec<String> {
        let mut rows = Vec::new();
        while let Some(hit) = search.next().await.unwrap() {
            rows.push(hit.row);
        }
        rows
    }

    #[tokio::test]
    async fn each_hit_comes_once_however_often_it_is_cut_off() {
        let all = [
            hit("a", 1, "@3", "1"),
            hit("a", 1, "@5", "2"),
            hit("a", 1, "@5", "3"),
            hit("a", 1, "@5", "4"),
            hit("a", 1, "@5.7", "5"),
            hit("b", 2, "@2", "6"),
            hit("c", 3, "@1", "7"),
        ];
        let all: Vec<&String> = all.iter().collect();
        for (cut, again) in (0..all.len()).flat_map(|cut| (0..all.len()).map(move |again| (cut, again))) {
            for names in [&[][..], &["a", "b", "a", "c"]] {
                let place = Place::new();
                let _lock = place.hold_lock();
                let half = |n: usize| answer(&all[..n], false);
                let heard = place.serve(vec![half(cut), Act::Cut, half(again), answer(&all, true)]);
                let sessions = names.iter().map(|name| (*name).to_owned()).collect();
                let query = SearchQuery { pattern: "x".into(), sessions, ..SearchQuery::default() };
                let mut search = place.client().search(query).await.unwrap();
                assert_eq!(rows(&mut search).await, ["1", "2", "3", "4", "5", "6", "7"], "{cut} {again}");
                assert_eq!(heard.lock().unwrap().len(), 4);
            }
        }
    }

    #[tokio::test]
    async fn the_order_is_that_of_the_names_given_and_another_session_of_a_name_is_another() {
        let (z, a, other) = (hit("z", 1, "@9", "1"), hit("a", 2, "@8", "2"), hit("a", 3, "@1", "3"));
        let place = Place::new();
        let _lock = place.hold_lock();
        place.serve(vec![answer(&[&z, &a], false), answer(&[&z, &other], true)]);
        let query = SearchQuery { sessions: vec!["z".into(), "a".into()], ..SearchQuery::default() };
        assert_eq!(rows(&mut place.client().search(query).await.unwrap()).await, ["1", "2", "3"]);
    }

    #[tokio::test]
    async fn a_host_that_is_gone_is_said() {
        let place = Place::new();
        place.serve(vec![answer(&[&hit("a", 1, "@3", "1")], false)]);
        let mut search = place.client().search(SearchQuery::default()).await.unwrap();
        assert_eq!(search.next().await.unwrap().unwrap().row, "1");
        let error = crate::wire::ApiError::from(search.next().await.unwrap_err());
        assert_eq!(error.exit, 69, "{error}");
    }
}
