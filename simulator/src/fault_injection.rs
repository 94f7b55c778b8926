//! Applies a fault to an answer on its way to the client.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};

use crate::fault::{Act, TRAP};
use crate::http::Answer;
use crate::platform::Form;

/// The depth of JSON that is nested too deep.
const LEVELS: usize = 100_000;

/// The number of headers in a flood.
const FLOOD: usize = 10_000;

/// Is added to every value: clears a terminal, sets its title, imitates another line and another header.
const CONTROLS: &str = "\u{1b}[2J\u{1b}]0;title\u{7}\u{8}\r\nX-Injected: 1\nroot::0:0\u{202e}";

/// Writes the answer, changed by the fault. Returns false if the connection must end.
pub fn write(stream: &mut TcpStream, answer: &Answer, act: Act, form: Form) -> io::Result<bool> {
    let body = &answer.body;
    match act {
        Act::Status(status, retry_after) => {
            let refused = Answer::of(status, "the simulator was asked to say this\n");
            retry_after
                .map_or(refused.clone(), |seconds| refused.header("Retry-After", &seconds.to_string()))
                .write(stream)?;
        }
        Act::Redirect => Answer::of(302, "").header("Location", TRAP).write(stream)?,
        Act::Html => {
            Answer::of(200, "<!DOCTYPE html><html><body><h1>Sign in to the network</h1></body></html>\n")
                .header("Content-Type", "text/html; charset=utf-8")
                .write(stream)?
        }
        Act::Empty => Answer { body: Vec::new(), ..answer.clone() }.write(stream)?,
        Act::Controls => Answer { body: controls(body, form), ..answer.clone() }.write(stream)?,
        Act::Garbled => Answer { body: garbled(body), ..answer.clone() }.write(stream)?,
        Act::Nested => Answer { body: [vec![b'['; LEVELS], vec![b']'; LEVELS]].concat(), ..answer.clone() }
            .write(stream)?,
        Act::ManyHeaders => flooded(answer).write(stream)?,
        Act::Chunked => stream.write_all(&chunked(answer))?,
        _ => return end(stream, answer, act).map(|()| false),
    }
    Ok(true)
}

/// The faults after which the connection ends. After a normal answer it may stay open.
fn end(stream: &mut TcpStream, answer: &Answer, act: Act) -> io::Result<()> {
    let length = answer.body.len() as u64;
    match act {
        Act::Stall => wait_for_end(stream),
        Act::Pieces(size, pause) => {
            let bytes = [answer.head(Some(length)), answer.body.clone()].concat();
            stream.set_nodelay(true)?;
            bytes.chunks(usize::from(size)).try_for_each(|piece| {
                thread::sleep(Duration::from_millis(u64::from(pause)));
                stream.write_all(piece)
            })
        }
        Act::Truncate => {
            stream.write_all(&answer.head(Some(length + 100)))?;
            stream.write_all(&answer.body)
        }
        Act::Reset => reset(stream),
        Act::Endless => {
            stream.write_all(&answer.clone().header("Connection", "close").head(None))?;
            let piece = [b"kind: JoinConfiguration\n".repeat(2048)].concat();
            loop {
                stream.write_all(&piece)?;
            }
        }
        Act::AbsurdLength => {
            let head = answer.head(None);
            stream.write_all(&head[..head.len() - 2])?;
            stream.write_all(b"Content-Length: 99999999999999999999999\r\n\r\n")?;
            stream.write_all(&answer.body)
        }
        Act::OtherProtocol => stream.write_all(b"SSH-2.0-OpenSSH_9.6\r\n"),
        Act::Old => {
            let head = answer.clone().header("Connection", "close").head(None);
            let head = [b"HTTP/1.0".as_slice(), &head[b"HTTP/1.1".len()..]].concat();
            stream.write_all(&[head, answer.body.clone()].concat())
        }
        _ => answer.write(stream),
    }
}

/// Waits until the client disconnects.
fn wait_for_end(stream: &mut TcpStream) -> io::Result<()> {
    let mut bytes = [0; 1024];
    while stream.read(&mut bytes)? > 0 {}
    Ok(())
}

/// With a linger time of zero, closing the socket sends a reset.
fn reset(stream: &mut TcpStream) -> io::Result<()> {
    setsockopt(&stream.as_fd(), sockopt::Linger, &libc_linger()).map_err(io::Error::from)
}

fn libc_linger() -> nix::libc::linger {
    nix::libc::linger { l_onoff: 1, l_linger: 0 }
}

/// Adds bytes to every value of a document that must not reach a terminal or a file.
fn controls(body: &[u8], form: Form) -> Vec<u8> {
    match serde_json::from_slice(body) {
        Ok(mut value) if form == Form::Json => {
            taint(&mut value);
            value.to_string().into_bytes()
        }
        _ => [body, CONTROLS.as_bytes()].concat(),
    }
}

fn taint(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) => text.push_str(CONTROLS),
        serde_json::Value::Array(items) => items.iter_mut().for_each(taint),
        serde_json::Value::Object(entries) => entries.values_mut().for_each(taint),
        _ => {}
    }
}

/// Not UTF-8 after every third quote, and at the end.
fn garbled(body: &[u8]) -> Vec<u8> {
    let mut quotes = 0;
    let mut bytes: Vec<u8> = Vec::new();
    for byte in body {
        bytes.push(*byte);
        if *byte == b'"' {
            quotes += 1;
            if quotes % 4 == 3 {
                bytes.extend(b"\xc3\x28\xff");
            }
        }
    }
    if quotes == 0 {
        bytes.extend(b"\xc3\x28\xff");
    }
    bytes
}

fn flooded(answer: &Answer) -> Answer {
    let mut headers: Vec<_> =
        (0..FLOOD).map(|number| (format!("X-Flood-{number}"), "x".repeat(64))).collect();
    headers.extend(answer.headers.clone());
    Answer { headers, ..answer.clone() }
}

fn chunked(answer: &Answer) -> Vec<u8> {
    let mut bytes = answer.clone().header("Transfer-Encoding", "chunked").head(None);
    for chunk in answer.body.chunks(100) {
        bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n\r\n");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_documents_are_hostile() {
        let bytes = controls(br#"{"a": {"b": ["c"]}, "d": 1}"#, Form::Json);
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert!(value["a"]["b"][0].as_str().unwrap().contains('\u{1b}') && value["d"] == 1);
        assert!(controls(b"i-1", Form::Text).starts_with(b"i-1\x1b"));
        for body in [&br#"{"a": "b"}"#[..], b"i-1", b""] {
            assert!(std::str::from_utf8(&garbled(body)).is_err());
        }
    }

    #[test]
    fn chunks_are_chunks() {
        let bytes = chunked(&Answer::of(200, vec![b'x'; 150]));
        let text = String::from_utf8(bytes).unwrap();
        assert!(
            text.contains("\r\n\r\n64\r\nxxx")
                && text.contains("\r\n32\r\nxxx")
                && text.ends_with("x\r\n0\r\n\r\n")
                && !text.contains("Length")
        );
    }
}
