//! Answers and faults that a script can choose for a request.

use std::io::{self, Write};
use std::thread;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::Connection;

/// How long a silent server keeps a client waiting.
const SILENCE: Duration = Duration::from_secs(30);

/// What the server does with a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A JSON answer, dated.
    Json(u16, Value),
    /// The same with more header lines, each ended by `\r\n`.
    With(u16, String, String),
    /// An answer with these header lines and its length, and no others.
    Text(u16, String, String),
    /// These bytes, and nothing more.
    Raw(Vec<u8>),
    /// These bytes one by one.
    Drip(Vec<u8>, Duration),
    /// These bytes, then the end of the TCP stream, without TLS's farewell.
    Cut(Vec<u8>),
    /// A TCP reset.
    Reset,
    /// The answer, then the connection is closed as an idle one would be.
    ThenClose(Value),
    /// No answer while the client waits.
    Silence,
    /// The events of a watch, each after a pause, then the end of the answer.
    Watch(Vec<(Duration, Value)>),
    /// The same, but the connection breaks at the end.
    BrokenWatch(Vec<(Duration, Value)>),
}

impl Reply {
    /// Sends it. An error ends the connection.
    pub fn send(self, to: &mut Connection) -> io::Result<()> {
        match self {
            Self::Json(status, value) => to.write_all(&message(status, "", &value.to_string())),
            Self::With(status, headers, body) => to.write_all(&message(status, &headers, &body)),
            Self::Text(status, headers, body) => to.write_all(&text(status, &headers, body.as_bytes())),
            Self::Raw(bytes) => to.write_all(&bytes),
            Self::Drip(bytes, pause) => bytes.iter().try_for_each(|byte| {
                thread::sleep(pause);
                to.write_all(&[*byte])
            }),
            Self::Cut(bytes) => {
                to.write_all(&bytes)?;
                to.cut()
            }
            Self::Reset => to.reset(),
            Self::ThenClose(value) => {
                to.write_all(&message(200, "", &value.to_string()))?;
                to.close()
            }
            Self::Silence => {
                thread::sleep(SILENCE);
                to.cut()
            }
            Self::Watch(events) => {
                send_events(to, events)?;
                to.write_all(b"0\r\n\r\n")
            }
            Self::BrokenWatch(events) => {
                send_events(to, events)?;
                to.cut()
            }
        }
    }
}

/// The bytes of a dated JSON answer with these header lines, each ended by `\r\n`.
pub fn message(status: u16, headers: &str, body: &str) -> Vec<u8> {
    let date = httpdate::fmt_http_date(SystemTime::now());
    let usual = format!("Date: {date}\r\nContent-Type: application/json\r\n{headers}");
    text(status, &usual, body.as_bytes())
}

/// The bytes of an answer with these header lines, each ended by `\r\n`, and its length.
pub fn text(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn send_events(to: &mut Connection, events: Vec<(Duration, Value)>) -> io::Result<()> {
    to.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    for (pause, event) in events {
        thread::sleep(pause);
        let line = format!("{event}\n");
        // In two pieces, as a real network may cut it.
        let (first, second) = line.split_at(line.len() / 2);
        for piece in [first, second] {
            to.write_all(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes())?;
        }
    }
    Ok(())
}
