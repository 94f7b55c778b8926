//! A metadata server: answers by method and path, and a log of its requests.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request: its first line without the protocol, and its headers with names in lower case.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub line: String,
    pub headers: HashMap<String, String>,
}

/// The server.
pub(crate) struct MetadataServer {
    pub address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl MetadataServer {
    /// Answers `GET /path?query` with the text given for it, as often as it is asked, and everything else with 404.
    pub fn new(answers: &[(&str, &str)], header: (&'static str, &'static str)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let answers: HashMap<String, String> =
            answers.iter().map(|(line, text)| ((*line).to_owned(), (*text).to_owned())).collect();
        let log = requests.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                serve(stream, &answers, header, &log);
            }
        });
        Self { address, requests }
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(
    mut stream: TcpStream,
    answers: &HashMap<String, String>,
    header: (&str, &str),
    log: &Mutex<Vec<Request>>,
) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(asked) = request(&mut reader) {
        let (status, body) =
            answers.get(&asked.line).map_or(("404 Not Found", ""), |text| ("200 OK", text.as_str()));
        log.lock().unwrap().push(asked);
        let (name, value) = header;
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{name}: {value}\r\n\r\n", body.len());
        if stream.write_all(format!("{head}{body}").as_bytes()).is_err() {
            return;
        }
    }
}

fn request(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let line = lines.first()?.rsplit_once(' ')?.0.to_owned();
    let headers = lines
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    let asked = Request { line, headers: headers.collect() };
    let length = asked.headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    reader.read_exact(&mut vec![0; length]).ok()?;
    Some(asked)
}
