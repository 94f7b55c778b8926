//! `kiln serve` with a rack of simulated machines that all boot at the same time, each from an address of its
//! own (127.0.0.0/8): script, initrd, config, report. All connections are open at once when each initrd is
//! loaded in part. Prints the memory of the server and the times of requests.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

const INITRD: usize = 1 << 20;

/// How much of it a machine has when it waits for the others.
const FRONT: usize = 64 << 10;

/// What a server may take for each machine at most: of its connections, its record and the allocator.
const BYTES_EACH: usize = 64 << 10;

/// What it takes without machines, at most.
const BYTES_ALONE: usize = 64 << 20;

#[test]
fn two_hundred_machines_boot_at_once() {
    rack(200);
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn a_thousand_machines_boot_at_once() {
    rack(1000);
}

#[test]
#[ignore = "slow: a minute, with 10,500 open files; by hand"]
fn ten_thousand_machines_boot_at_once() {
    rack(10_000);
}

struct Server {
    child: Child,
    http: SocketAddr,
    https: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(folder: &Path) -> Self {
        let own = || env!("CARGO_BIN_EXE_kiln").into();
        let program =
            std::env::var_os("KILN_PROGRAMS").map_or_else(own, |folder| Path::new(&folder).join("kiln"));
        let mut child = Command::new(program)
            .current_dir(folder)
            .args(["serve", "out", "--json", "--listen", "127.0.0.1:0", "--https-listen", "127.0.0.1:0"])
            .args(["--config", "join.yaml", "--once", "--state", "state", "--access-log", "access.jsonl"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        let address = |name: &str| said[name].as_str().unwrap().parse().unwrap();
        Self { child, http: address("listen"), https: address("https-listen") }
    }

    /// The most memory that it had, in bytes (proc(5), VmHWM).
    fn memory(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
    }
}

/// The times of one kind of request.
#[derive(Default)]
struct Times(Mutex<Vec<Duration>>);

impl Times {
    fn add(&self, began: Instant) {
        self.0.lock().unwrap().push(began.elapsed());
    }

    fn say(&self, what: &str) {
        let mut times = self.0.lock().unwrap();
        times.sort();
        let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
        println!("{what:>8}: p50 {:?}, p99 {:?}, last {:?}", at(50), at(99), at(100));
    }
}

#[derive(Default)]
struct All {
    script: Times,
    initrd: Times,
    config: Times,
    report: Times,
    /// How many requests were made once more.
    again: AtomicUsize,
}

fn rack(count: usize) {
    allow_files(count as u64 + 500);
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    put("out/lab-pxe/vmlinuz", b"kernel");
    put("out/lab-pxe/initrd", &vec![7; INITRD]);
    put("out/lab-pxe/boot.ipxe", b"#!ipxe\nkernel vmlinuz initrd=initrd quiet\ninitrd initrd\nboot\n");
    put("join.yaml", b"apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\nname: ${mac}\n");
    let server = Arc::new(Server::start(folder.path()));
    let (alone, began) = (server.memory(), Instant::now());
    let (all, together) = (Arc::new(All::default()), Arc::new(Barrier::new(count)));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut machines = JoinSet::new();
        for number in 0..count {
            machines.spawn(machine(number, server.clone(), all.clone(), together.clone()));
        }
        while let Some(machine) = machines.join_next().await {
            machine.unwrap();
        }
    });
    let memory = server.memory();
    println!(
        "{count} machines in {:?}, memory {} MiB, {} MiB before",
        began.elapsed(),
        memory >> 20,
        alone >> 20
    );
    println!("{} requests were made once more", all.again.load(Ordering::Relaxed));
    for (what, times) in
        [("script", &all.script), ("initrd", &all.initrd), ("config", &all.config), ("report", &all.report)]
    {
        times.say(what);
    }
    assert!(memory < BYTES_ALONE + count * BYTES_EACH, "{} MiB", memory >> 20);
    let status = runtime.block_on(async {
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let stream = connect(0, server.http).await;
        let answer = exchange(stream, "GET /status.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        serde_json::from_slice::<Value>(&answer).unwrap()
    });
    assert_eq!(status["phases"]["joined"], count);
    assert_eq!(status["refusals"].as_array().unwrap().len(), 0);
}

/// A boot, from the first script to the report.
async fn machine(number: usize, server: Arc<Server>, all: Arc<All>, together: Arc<Barrier>) {
    let get = async |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        loop {
            match exchange(connect(number, server.http).await, &request).await {
                Ok(answer) => return answer,
                Err(_) => all.wait_to_ask_again().await,
            }
        }
    };
    let began = Instant::now();
    let mac = format!("52-54-00-{:02x}-{:02x}-00", number >> 8, number & 255);
    let script = String::from_utf8(get(&format!("/machine.ipxe?mac={mac}&arch=x86_64")).await).unwrap();
    all.script.add(began);
    let word =
        |start: &str| script.split_whitespace().find_map(|word| word.strip_prefix(start)).unwrap().to_owned();

    together.wait().await;
    let began = Instant::now();
    let path = word("files/lab-pxe/initrd").replace('?', "/files/lab-pxe/initrd?");
    let mut stream = loop {
        match front_of(connect(number, server.http).await, &path).await {
            Ok(stream) => break stream,
            Err(_) => all.wait_to_ask_again().await,
        }
    };
    let until_then = began.elapsed();
    // Shorter than the server waits for a client that takes nothing.
    together.wait().await;
    let began = Instant::now();
    let rest = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.unwrap();
    all.initrd.add(began.checked_sub(until_then).unwrap());
    assert!(rest as usize > INITRD - FRONT);

    let began = Instant::now();
    let url = word("firstboot.config=http://");
    let config = String::from_utf8(get(&url[url.find('/').unwrap()..]).await).unwrap();
    all.config.add(began);
    assert!(config.contains(&format!("name: {}\n", mac.replace('-', ":"))), "{config}");

    let began = Instant::now();
    let (_, url) = config.split_once("url: https://").unwrap();
    let path = &url[url.find('/').unwrap()..url.find('\n').unwrap()];
    let body = r#"{"outcome":"joined","node":"n","message":null}"#;
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    loop {
        match report(connect(number, server.https).await, &config, &request).await {
            Ok(()) => break,
            Err(_) => all.wait_to_ask_again().await,
        }
    }
    all.report.add(began);
}

impl All {
    /// More ask in one moment than the kernel lets wait for a server: iPXE and the agent ask again.
    async fn wait_to_ask_again(&self) {
        self.again.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Loads the front of the initrd.
async fn front_of(mut stream: TcpStream, path: &str) -> io::Result<TcpStream> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    stream.read_exact(&mut vec![0; FRONT]).await?;
    Ok(stream)
}

async fn report(stream: TcpStream, config: &str, request: &str) -> io::Result<()> {
    exchange(secure(stream, config).await?, request).await.map(drop)
}

/// A connection from the machine's own address.
async fn connect(number: usize, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    let own = Ipv4Addr::new(127, 1, (number >> 8) as u8, (number & 255) as u8);
    // What is on its way to all of them together is in the memory of this one machine.
    socket.set_recv_buffer_size(32 << 10).unwrap();
    socket.bind(SocketAddr::from((own, 0))).unwrap();
    socket.connect(to).await.unwrap()
}

async fn secure(stream: TcpStream, config: &str) -> io::Result<impl AsyncRead + AsyncWrite + Unpin> {
    let authority = config.split_once("caCert: |\n").unwrap().1.replace("    ", "");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let client =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
    let name = ServerName::from(std::net::IpAddr::from([127, 0, 0, 1]));
    tokio_rustls::TlsConnector::from(Arc::new(client)).connect(name, stream).await
}

/// The body of the answer, which must be a success.
async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> io::Result<Vec<u8>> {
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    let end = bytes
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .ok_or(io::ErrorKind::UnexpectedEof)?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    assert!(head.starts_with("HTTP/1.1 20"), "{request}: {head}");
    Ok(bytes.split_off(end + 4))
}

fn allow_files(wanted: u64) {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(wanted.min(hard)), hard).unwrap();
}
