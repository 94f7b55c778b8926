//! Tells a server how an installation goes. A thread does it, so that a server that is slow or gone delays
//! nothing; no report is a reason to fail.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::evidence::CommandLine;
use crate::host::root::Root;
use crate::locations::variables;
use crate::net::http::{self, Method, Request};
use crate::net::trust::Trust;
use crate::net::{Deadline, Network};
use crate::output::clean;

/// The shortest time between two reports of progress.
const EVERY: Duration = Duration::from_secs(3);
/// Time limit of one report.
const LIMIT: Duration = Duration::from_secs(5);
/// How often the last one is tried.
const TRIES: usize = 3;
/// Limit on the answer, which is not used.
const LONGEST_ANSWER: usize = 64 * 1024;

/// Where the reports go.
pub struct Reports {
    /// The machine's names.
    machine: Value,
    sender: Option<(Sender<Sent>, JoinHandle<()>)>,
    last: Option<Instant>,
}

/// One report, and whether it is the last.
type Sent = (String, bool);

impl Reports {
    /// Reports to `url`; to nobody without one.
    pub fn to(url: Option<&str>, root: &Root, line: &CommandLine) -> Self {
        let name = |name: &str| variables::of_machine(root, line, name).ok();
        let machine = json!({ "uuid": name("uuid"), "serial": name("serial"), "mac": name("mac") });
        let sender = url.map(|url| {
            let (sender, receiver) = channel();
            let (network, url) = (Network::new(root.clone()), url.to_owned());
            (sender, thread::spawn(move || post_all(&network, &url, &receiver)))
        });
        Self { machine, sender, last: None }
    }

    /// How far the installation is. Most are left out.
    pub fn progress(&mut self, percent: u64, disk: &str, message: &str) {
        if self.last.is_none_or(|last| last.elapsed() >= EVERY) {
            self.last = Some(Instant::now());
            self.send("installing", percent, disk, message, false);
        }
    }

    /// The end. Waits until it is sent, or cannot be.
    pub fn end(mut self, phase: &str, percent: u64, disk: &str, message: &str) {
        self.send(phase, percent, disk, message, true);
        if let Some((sender, thread)) = self.sender.take() {
            drop(sender);
            let _ = thread.join();
        }
    }

    fn send(&self, phase: &str, percent: u64, disk: &str, message: &str, is_last: bool) {
        let report = json!({
            "machine": self.machine,
            "phase": phase,
            "percent": percent,
            "disk": disk,
            "message": clean(message),
        });
        if let Some((sender, _)) = &self.sender {
            let _ = sender.send((report.to_string(), is_last));
        }
    }
}

/// Sends what has come last; what came before it is old.
fn post_all(network: &Network, url: &str, reports: &Receiver<Sent>) {
    while let Ok(mut report) = reports.recv() {
        while let Ok(newer) = reports.try_recv() {
            report = newer;
        }
        let (text, is_last) = report;
        for _ in 0..if is_last { TRIES } else { 1 } {
            if post(network, url, &text).is_ok() {
                break;
            }
        }
    }
}

fn post(network: &Network, url: &str, text: &str) -> Result<(), crate::net::Error> {
    let trust = if url.starts_with("http://") { Trust::Nobody } else { Trust::System };
    let request = Request {
        headers: &[("content-type", "application/json")],
        body: text.as_bytes(),
        limit: LONGEST_ANSWER,
        ..Request::new(Method::POST, url, &trust)
    };
    http::send_ok(network, &request, Deadline::after(LIMIT)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::{Reply, TestServer};

    #[test]
    fn the_last_report_arrives_and_few_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        let server = TestServer::plain(|_| Reply::Text(204, String::new(), String::new()));
        let line = CommandLine::parse("BOOTIF=01-52-54-00-AA-00-03");
        let mut reports = Reports::to(Some(&server.url("/r")), &root, &line);
        for percent in 0..50 {
            reports.progress(percent, "/dev/vda", "writing");
        }
        reports.end("installed", 100, "/dev/vda", "n1 is on /dev/vda");
        let requests = server.requests();
        assert!(requests.len() <= 2, "{}", requests.len());
        let last: Value = serde_json::from_slice(&requests.last().unwrap().body).unwrap();
        assert_eq!(
            last,
            json!({"machine": {"uuid": null, "serial": null, "mac": "52:54:00:aa:00:03"}, "phase": "installed",
                "percent": 100, "disk": "/dev/vda", "message": "n1 is on /dev/vda"})
        );
    }

    #[test]
    fn a_server_that_is_gone_delays_little() {
        let folder = tempfile::tempdir().unwrap();
        let begin = Instant::now();
        let (root, line) = (Root::at(folder.path()), CommandLine::default());
        let mut reports = Reports::to(Some("http://127.0.0.1:1/r"), &root, &line);
        reports.progress(1, "/dev/vda", "writing");
        reports.end("failed", 1, "/dev/vda", "the disk fails");
        Reports::to(None, &root, &line).end("failed", 1, "/dev/vda", "the disk fails");
        assert!(begin.elapsed() < Duration::from_secs(10));
    }
}
