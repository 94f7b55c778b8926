//! The API server's audit log: requests with their users and times. Each request counts once, however many of
//! its stages are logged.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::control_plane::ControlPlane;

/// A request.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its time, in seconds of the day.
    pub at: f64,
    /// The program's name in the User-Agent header.
    pub agent: String,
    /// The user: `system:anonymous`, `system:bootstrap:ID`, `system:node:NAME`.
    pub user: String,
    /// `get`, `create`, `watch`.
    pub verb: String,
    /// Path and query.
    pub uri: String,
    /// The status of the answer; 0 if none was logged.
    pub code: u64,
}

impl Call {
    /// Whether it made a certificate request.
    pub fn is_certificate_request(&self) -> bool {
        self.verb == "create"
            && self.uri.starts_with("/apis/certificates.k8s.io/v1/certificatesigningrequests")
            && self.code == 201
    }
}

/// Every request so far of the program `agent`, in the order of its first stage.
pub fn calls_of(control_plane: &ControlPlane, agent: &str) -> Vec<Call> {
    let text = fs::read_to_string(control_plane.fact("audit")).expect("the API server keeps an audit log");
    parse(&text).into_iter().filter(|call| call.agent == agent).collect()
}

fn parse(text: &str) -> Vec<Call> {
    let mut seen = BTreeSet::new();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines
        .filter(|line| seen.insert(line["auditID"].as_str().unwrap_or_default().to_owned()))
        .map(|line| call(&line))
        .collect()
}

fn call(line: &Value) -> Call {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Call {
        at: seconds(line["requestReceivedTimestamp"].as_str().unwrap_or_default()),
        agent: text(&line["userAgent"]).split(['/', ' ']).next().unwrap_or_default().to_owned(),
        user: text(&line["user"]["username"]),
        verb: text(&line["verb"]),
        uri: text(&line["requestURI"]),
        code: line["responseStatus"]["code"].as_u64().unwrap_or_default(),
    }
}

/// `2026-11-24T11:50:07.123456Z` without its day.
fn seconds(time: &str) -> f64 {
    let clock = time.split('T').nth(1).unwrap_or_default().trim_end_matches('Z');
    clock
        .split(':')
        .fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().unwrap_or_default())
}

/// The largest number of calls within one second.
pub fn peak(calls: &[Call]) -> usize {
    let mut times: Vec<f64> = calls.iter().map(|call| call.at).collect();
    times.sort_by(f64::total_cmp);
    let (mut first, mut most) = (0, 0);
    for last in 0..times.len() {
        while times[last] - times[first] >= 1.0 {
            first += 1;
        }
        most = most.max(last - first + 1);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_of_two_stages_counts_once() {
        let line = |id: &str, stage: &str, at: &str| {
            format!(
                r#"{{"auditID":"{id}","stage":"{stage}","requestReceivedTimestamp":"2026-11-24T{at}Z","userAgent":"firstboot/0.1.0 x","verb":"watch","requestURI":"/x","responseStatus":{{"code":200}}}}"#
            )
        };
        let log = [
            line("a", "ResponseStarted", "00:01:00.5"),
            line("a", "ResponseComplete", "00:01:00.5"),
            line("b", "ResponseComplete", "00:01:01.25"),
        ];
        let calls = parse(&log.join("\n"));
        assert_eq!(calls.len(), 2);
        assert_eq!((calls[0].at, calls[0].agent.as_str(), calls[0].code), (60.5, "firstboot", 200));
        assert_eq!(peak(&calls), 2);
    }
}
