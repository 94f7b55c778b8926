//! An API server for tests: real sockets, real TLS, answers and faults by script.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::Network;
use super::trust::Authorities;
use crate::host::root::Root;
use crate::kubernetes::server::Server;

/// A certificate authority of one test.
pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

/// A certificate with its key.
pub(crate) struct Pair {
    pub certificate: CertificateDer<'static>,
    pub key: KeyPair,
}

impl Ca {
    pub fn new() -> Self {
        Self::valid(-3650..3650)
    }

    /// A CA that is valid for these days from today on (negative: before it).
    pub fn valid(days: std::ops::Range<i64>) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        limit(&mut params, days);
        params.distinguished_name.push(DnType::CommonName, "kubernetes");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.serial_number = Some(vec![0].into());
        let certificate = params.self_signed(&key).unwrap();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    pub fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }

    pub fn authorities(&self) -> Authorities {
        Authorities::from_pem(self.pem().as_bytes()).unwrap()
    }

    /// A certificate for `names`, valid for these days from today on (negative: before it).
    pub fn sign(&self, names: &[&str], days: std::ops::Range<i64>) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        limit(&mut params, days);
        params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Pair { certificate: certificate.der().clone(), key }
    }

    /// A client certificate for the key of a node, as PEM.
    pub fn certify(&self, key: &KeyPair) -> String {
        CertificateParams::new(Vec::new()).unwrap().signed_by(key, &self.issuer).unwrap().pem()
    }
}

/// Valid for these days from today on (negative: before it).
fn limit(params: &mut CertificateParams, days: std::ops::Range<i64>) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let day = |offset: i64| {
        rcgen::date_time_ymd(1970, 1, 1)
            + Duration::from_secs(now.checked_add_signed(offset * 86_400).unwrap())
    };
    (params.not_before, params.not_after) = (day(days.start), day(days.end));
}

/// What the server was asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub connection: usize,
    pub method: String,
    pub path: String,
    pub head: String,
    pub body: Vec<u8>,
}

/// What the server does with a request.
pub(crate) enum Reply {
    /// A JSON answer.
    Json(u16, Value),
    /// The same with more header lines, each ended by `\r\n`.
    With(u16, String, String),
    /// These bytes, and nothing more.
    Raw(Vec<u8>),
    /// These bytes one by one.
    Drip(Vec<u8>, Duration),
    /// These bytes, then the end of the TCP stream, without TLS's.
    Cut(Vec<u8>),
    /// A TCP reset.
    Reset,
    /// The answer, then the connection is closed as an idle one would be.
    ThenClose(Value),
    /// Nothing, while the client waits.
    Silence,
    /// The events of a watch, each after a pause, then the end of the stream.
    Watch(Vec<(Duration, Value)>),
    /// The same, but the connection breaks at the end.
    BrokenWatch(Vec<(Duration, Value)>),
}

/// How the server shows itself.
pub(crate) struct Identity<'a> {
    pub names: &'a [&'a str],
    pub days: std::ops::Range<i64>,
    pub wants_client_certificate: bool,
}

impl Default for Identity<'_> {
    fn default() -> Self {
        Self { names: &["127.0.0.1", "localhost", "::1"], days: -1..30, wants_client_certificate: false }
    }
}

/// A running server; it ends with the test process.
pub(crate) struct TestServer {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl TestServer {
    pub fn start(
        ca: &Ca,
        identity: &Identity<'_>,
        handle: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start_at("127.0.0.1:0", ca, identity, handle)
    }

    pub fn start_at(
        at: &str,
        ca: &Ca,
        identity: &Identity<'_>,
        handle: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(at).unwrap();
        let address = listener.local_addr().unwrap();
        let config = Arc::new(config(ca, identity));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (handle, seen) = (Arc::new(handle), asked.clone());
        thread::spawn(move || {
            for (number, socket) in listener.incoming().enumerate() {
                let (config, handle, seen, socket) =
                    (config.clone(), handle.clone(), seen.clone(), socket.unwrap());
                thread::spawn(move || serve(number, socket, config, &*handle, &seen));
            }
        });
        Self { address, asked }
    }

    pub fn server(&self) -> Server {
        format!("https://{}", self.address).parse().unwrap()
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub fn paths(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| format!("{} {}", asked.method, asked.path)).collect()
    }
}

/// A network without files of a machine.
pub(crate) fn network() -> Network {
    Network::new(Root::at("/nonexistent"))
}

/// An answer of the API server that is no success.
pub(crate) fn status(code: u16, message: &str) -> Reply {
    Reply::Json(
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code}),
    )
}

fn config(ca: &Ca, identity: &Identity<'_>) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = if identity.wants_client_certificate {
        let mut roots = RootCertStore::empty();
        roots.add(ca.certificate.der().clone()).unwrap();
        builder.with_client_cert_verifier(
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap(),
        )
    } else {
        builder.with_no_client_auth()
    };
    let own = ca.sign(identity.names, identity.days.clone());
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.key.serialize_der()));
    let mut config = builder.with_single_cert(vec![own.certificate], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

type Stream = StreamOwned<ServerConnection, TcpStream>;

fn serve(
    connection: usize,
    socket: TcpStream,
    config: Arc<ServerConfig>,
    handle: &dyn Fn(&Asked) -> Reply,
    seen: &Mutex<Vec<Asked>>,
) {
    let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), socket);
    while let Some(asked) = receive(connection, &mut stream) {
        seen.lock().unwrap().push(asked.clone());
        if reply(&mut stream, handle(&asked)).is_err() {
            return;
        }
    }
}

fn receive(connection: usize, stream: &mut Stream) -> Option<Asked> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    let mut words = head.split(' ').map(str::to_owned);
    Some(Asked {
        connection,
        method: words.next().unwrap(),
        path: words.next().unwrap(),
        head: head.clone(),
        body,
    })
}

/// An error ends the connection.
fn reply(stream: &mut Stream, reply: Reply) -> std::io::Result<()> {
    let end = || Err(std::io::ErrorKind::Other.into());
    match reply {
        Reply::Json(status, value) => stream.write_all(&message(status, "", &value.to_string())),
        Reply::With(status, headers, body) => stream.write_all(&message(status, &headers, &body)),
        Reply::Raw(bytes) => stream.write_all(&bytes),
        Reply::Drip(bytes, pause) => bytes.iter().try_for_each(|byte| {
            thread::sleep(pause);
            stream.write_all(&[*byte])
        }),
        Reply::Cut(bytes) => {
            stream.write_all(&bytes)?;
            stream.sock.shutdown(std::net::Shutdown::Both)?;
            end()
        }
        Reply::Reset => {
            let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
            nix::sys::socket::setsockopt(&stream.sock, nix::sys::socket::sockopt::Linger, &linger).unwrap();
            end()
        }
        Reply::ThenClose(value) => {
            stream.write_all(&message(200, "", &value.to_string()))?;
            stream.conn.send_close_notify();
            stream.flush()?;
            end()
        }
        Reply::Silence => {
            thread::sleep(Duration::from_secs(30));
            end()
        }
        Reply::Watch(events) => {
            events_of(stream, events)?;
            stream.write_all(b"0\r\n\r\n")
        }
        Reply::BrokenWatch(events) => {
            events_of(stream, events)?;
            stream.sock.shutdown(std::net::Shutdown::Both)?;
            end()
        }
    }
}

/// A whole answer.
pub(crate) fn message(status: u16, headers: &str, body: &str) -> Vec<u8> {
    let date = httpdate::fmt_http_date(std::time::SystemTime::now());
    format!(
        "HTTP/1.1 {status} X\r\nDate: {date}\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn events_of(stream: &mut Stream, events: Vec<(Duration, Value)>) -> std::io::Result<()> {
    stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
    )?;
    for (pause, event) in events {
        thread::sleep(pause);
        let line = format!("{event}\n");
        // In two pieces, as a real network may cut it.
        let (first, second) = line.split_at(line.len() / 2);
        for piece in [first, second] {
            stream.write_all(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes())?;
        }
    }
    Ok(())
}
