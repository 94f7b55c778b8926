//! Records requests, so that a test can check them. Secrets in requests are not kept.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde::Serialize;

/// Replaces a header's value.
const SECRET: &str = "(not shown)";

/// A request and its answer.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Entry {
    /// Seconds since the simulation began.
    pub seconds: f64,
    /// The method.
    pub method: String,
    /// The target, with its query.
    pub target: String,
    /// The headers. Values of tokens and passwords are replaced.
    pub headers: Vec<(String, String)>,
    /// The body.
    #[serde(skip)]
    pub body: Vec<u8>,
    /// The client's address and port.
    pub from: String,
    /// The client's port.
    pub source_port: u16,
    /// The address of the service.
    pub to: String,
    /// Whether it had a valid token, if the platform issues tokens.
    pub has_token: bool,
    /// Whether the path needs a token.
    pub needs_token: bool,
    /// The status of the answer. It does not show what a fault did to the rest of the answer.
    pub status: u16,
    /// The fault that was applied.
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

/// The headers without secrets: `token_headers` and HTTP's headers for passwords.
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

    /// The number of requests.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// The requests for a path, without its query.
    pub fn of(&self, path: &str) -> Vec<Entry> {
        self.lock().iter().filter(|entry| entry.path() == path).cloned().collect()
    }

    /// Requests for documents without a token on a platform that issues tokens, like version 1 of EC2's
    /// service.
    pub fn without_token(&self) -> Vec<Entry> {
        self.lock()
            .iter()
            .filter(|entry| entry.needs_token && !entry.has_token)
            .cloned()
            .collect()
    }

    /// Waits for the request with that number, counted from 0; `None` if it does not arrive in time.
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
