//! What reports are told to, in tests: services of a platform by script, and verdicts to tell.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::*;
use crate::status::Reason;

/// A service without TLS that answers each request with the next answer, one connection a request; after the last one nobody is there.
pub struct Place {
    pub address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

/// What a service does with a request.
#[derive(Debug, Clone)]
pub enum Does {
    /// It answers so: status, header lines each ended by `\r\n`, body.
    Say(u16, &'static str, String),
    /// It keeps silent.
    Nothing,
}

pub fn ok(body: &str) -> Does {
    Does::Say(200, "", body.to_owned())
}

pub fn refuse(status: u16) -> Does {
    Does::Say(status, "", String::new())
}

pub fn place(script: Vec<Does>) -> Place {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = asked.clone();
    thread::spawn(move || {
        for does in script {
            let (mut stream, _) = listener.accept().unwrap();
            log.lock().unwrap().push(receive(&mut stream));
            match does {
                Does::Say(status, headers, body) => {
                    let length = body.len();
                    let head = format!(
                        "HTTP/1.1 {status} X\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n"
                    );
                    let _ = stream.write_all((head + &body).as_bytes());
                }
                Does::Nothing => thread::sleep(Duration::from_secs(5)),
            }
        }
    });
    Place { address, asked }
}

fn receive(stream: &mut TcpStream) -> String {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return text,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

impl Place {
    /// The requests so far in a form to compare: first line, headers in order of their names without those that every request has, body.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|request| shape(request)).collect()
    }
}

/// A request in a form to compare.
pub fn shape(request: &str) -> String {
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let first = lines.next().unwrap();
    let mut headers: Vec<String> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| format!("{}: {value}", name.to_lowercase()))
        .collect();
    headers.retain(|line| !["host: ", "user-agent: "].iter().any(|usual| line.starts_with(usual)));
    headers.sort();
    [first.to_owned()]
        .into_iter()
        .chain(headers)
        .chain((!body.is_empty()).then(|| body.to_owned()))
        .collect::<Vec<_>>()
        .join("\n")
}

/// How a run ended.
pub fn status(outcome: Outcome) -> Status {
    let root = Root::at("/nonexistent");
    let mut progress = Progress::unpublished(&root);
    let status = progress.status();
    (status.outcome, status.node, status.seconds, status.requests) = (outcome, Some("n1".to_owned()), 1.5, 6);
    if outcome == Outcome::Failed {
        let message = "the CA <x> & \"pins\" differ".to_owned();
        status.failure = Some(Reason { class: "untrusted".to_owned(), exit: 12, message, help: None });
    }
    status.clone()
}

/// Facts by name.
pub fn facts(known: &[(&'static str, &str)]) -> Facts {
    let mut facts = Facts::default();
    known.iter().for_each(|(name, value)| facts.fact(name).say((*value).to_owned(), "test"));
    facts
}

/// Facts with tags.
pub fn tagged(mut facts: Facts, tags: &[(&str, &str)]) -> Facts {
    facts
        .tags
        .say(tags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(), "test");
    facts
}

/// A wish with settings.
pub fn wish(kind: &str, settings: &[(&'static str, &str)]) -> Wish {
    let mut wish = Wish::of(named(kind).unwrap());
    settings.iter().for_each(|(name, value)| wish.set(name, (*value).to_owned()));
    wish
}

/// Tells `wish` to the service at `address`, and to servers that `trust` covers.
pub fn tell_to(
    address: &str,
    trust: Trust,
    wish: &Wish,
    facts: &Facts,
    status: &Status,
    limit: Duration,
) -> std::result::Result<String, String> {
    let root = Root::at("/nonexistent");
    let telling = telling(&root, facts, status, Some(address.to_owned()), trust, limit);
    tell(named(wish.kind).unwrap(), wish, &telling)
}

/// What is told.
pub fn telling<'a>(
    root: &'a Root,
    facts: &'a Facts,
    status: &'a Status,
    service: Option<String>,
    trust: Trust,
    limit: Duration,
) -> Telling<'a> {
    Telling {
        root,
        facts,
        status,
        network: Network::new(root.clone()),
        deadline: Deadline::after(limit),
        service,
        trust,
    }
}

/// Enough for a few tries.
pub const SECONDS: Duration = Duration::from_secs(5);
