//! What was asked, so that a test can ask about it. Secrets of requests are not kept.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde::Serialize;

/// Shown in place of a header's value.
const SECRET: &str = "(not shown)";

/// A request and how it was answered.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Entry {
    /// Seconds since the simulation began.
    pub seconds: f64,
    /// The method.
    pub method: String,
    /// The target, with its query.
    pub target: String,
    /// The headers; of a token or password only that it was there.
    pub headers: Vec<(String, String)>,
    /// The body.
    #[serde(skip)]
    pub body: Vec<u8>,
    /// The address and port that it came from.
    pub from: String,
    /// The port that it came from.
    pub source_port: u16,
    /// The address that was asked.
    pub to: String,
    /// Whether it had a token of ours, as it should where the platform issues them.
    pub has_token: bool,
    /// Whether the path needs one.
    pub needs_token: bool,
    /// The status that was answered; what a fault did to the rest of the answer is not in it.
    pub status: u16,
    /// The fault that it met.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<&'static str>,
}

impl Entry {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|header| header.0.eq_ignore_ascii_case(name))
            .map(|header| header.1.as_str())
    }

    /// The target without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// Headers without their secrets: `token_headers` and those that HTTP has for passwords.
pub fn harmless(headers: &[(String, String)], token_headers: &[&str]) -> Vec<(String, String)> {
    let secret = |name: &str| {
        let is = |secret: &&str| name.eq_ignore_ascii_case(secret);
        token_headers.iter().any(is) || ["authorization", "proxy-authorization", "cookie"].iter().any(is)
    };
    headers
        .iter()
        .map(|(name, value)| (name.clone(), if secret(name) { SECRET.to_owned() } else { value.clone() }))
        .collect()
}

/// All requests of a simulation.
#[derive(Debug, Default)]
pub struct Journal {
    entries: Mutex<Vec<Entry>>,
    news: Condvar,
}

impl Journal {
    /// Adds a request.
    pub fn add(&self, entry: Entry) {
        self.lock().push(entry);
        self.news.notify_all();
    }

    /// All requests so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.lock().clone()
    }

    /// How many requests there were.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// The requests for a path, without its query.
    pub fn of(&self, path: &str) -> Vec<Entry> {
        self.lock().iter().filter(|entry| entry.path() == path).cloned().collect()
    }

    /// Requests for documents without a token, where the platform issues them: what version 1 of EC2's service was.
    pub fn without_token(&self) -> Vec<Entry> {
        self.lock()
            .iter()
            .filter(|entry| entry.needs_token && !entry.has_token)
            .cloned()
            .collect()
    }

    /// Waits for the request with that number, counted from 0; none if it does not come in time.
    pub fn wait_for(&self, number: usize, patience: Duration) -> Option<Entry> {
        let until = Instant::now() + patience;
        let mut entries = self.lock();
        while entries.len() <= number {
            let left = until.checked_duration_since(Instant::now())?;
            entries = self
                .news
                .wait_timeout(entries, left)
                .map_or_else(|poisoned| poisoned.into_inner().0, |waited| waited.0);
        }
        entries.get(number).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_kept() {
        let headers = [("Authorization", "Bearer x"), ("x-token", "y"), ("Accept", "*/*")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let kept: Vec<_> = harmless(&headers, &["X-Token"]).into_iter().map(|header| header.1).collect();
        assert_eq!(kept, [SECRET, SECRET, "*/*"]);
    }
}
