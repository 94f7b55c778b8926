//! `kiln serve` as racks and their strangers use it: the real program, and a client that speaks HTTP by hand.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};

const MAC: &str = "52:54:00:00:00:01";
const ASK: &str =
    "/machine.ipxe?mac=52-54-00-00-00-01&uuid=4c4c4544-0042-3510-8052-b4c04f4e4d31&serial=S1&arch=x86_64";
const JOIN: &str = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\nname: ${serial}\n";
const TOKENS: &str = "echo token >>\"$1\"; printf 'abcdef.%016d\\n' \"$(wc -l <\"$1\")\"";

/// An output folder, node configs, and a place for the server's files.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.put("out/lab-pxe/vmlinuz", "kernel");
        place.put("out/lab-pxe/initrd", "0123456789".repeat(100_000));
        place.put(
            "out/lab-pxe/boot.ipxe",
            "#!ipxe\nkernel vmlinuz initrd=initrd console=ttyS0\ninitrd initrd\nboot\n",
        );
        place.put("out/lab.efi", "uki");
        place.put("out/SHA256SUMS", "x");
        place.put("configs/default.yaml", JOIN);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn command(&self, options: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
        command.current_dir(self.0.path()).args(["serve", "out", "--json"]);
        command.args(["--access-log", "access.jsonl"]).args(options);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// A server with its files here, as `options` want it.
    fn serve(&self, options: &[&str]) -> Server {
        let command = self.command(&[&["--listen", "127.0.0.1:0"], options].concat());
        Server::start(command)
    }

    /// What a server says that does not start.
    fn refused(&self, options: &[&str]) -> (i32, String) {
        let Output { status, stderr, .. } = self.command(options).output().unwrap();
        (status.code().unwrap(), String::from_utf8(stderr).unwrap())
    }

    /// The lines of the access log once there are as many.
    fn log(&self, count: usize) -> Vec<Value> {
        let read = || {
            let text = fs::read_to_string(self.path("access.jsonl")).unwrap_or_default();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
        };
        eventually(|| Some(read()).filter(|lines| lines.len() >= count))
    }
}

struct Server {
    child: Child,
    http: SocketAddr,
    https: Option<SocketAddr>,
    notices: String,
}

impl Server {
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("it said {line:?}"));
        let address = |name: &str| said[name].as_str().map(|text| text.parse().unwrap());
        Self {
            child,
            http: address("listen").unwrap(),
            https: address("https-listen"),
            notices: said["notices"].to_string(),
        }
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "")
    }

    /// A request with more lines for its head.
    fn ask(&self, method: &str, path: &str, head: &str) -> Answer {
        let stream = TcpStream::connect(self.http).unwrap();
        exchange(stream, &format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}\r\n"))
    }

    fn post(&self, path: &str, body: &str) -> Answer {
        exchange(TcpStream::connect(self.http).unwrap(), &post(path, body))
    }

    fn post_securely(&self, path: &str, body: &str, authority: &str) -> Answer {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let address = self.https.unwrap();
        let name = ServerName::from(address.ip());
        let connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        exchange(
            rustls::StreamOwned::new(connection, TcpStream::connect(address).unwrap()),
            &post(path, body),
        )
    }

    fn status(&self) -> Value {
        // A page is given again for a second.
        std::thread::sleep(Duration::from_millis(1100));
        serde_json::from_str(&self.get("/status.json").text()).unwrap()
    }

    /// The only machine.
    fn machine(&self) -> Value {
        self.status()["machines"][0].clone()
    }

    /// The machine asks for its script and gets one that boots.
    fn script(&self) -> Script {
        let answer = self.get(ASK);
        assert_eq!(answer.status, 200);
        Script(answer.text())
    }

    /// Ends it as systemd does, and waits.
    fn end(mut self) -> i32 {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).unwrap();
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A script that boots.
struct Script(String);

impl Script {
    fn argument(&self, name: &str) -> &str {
        let mut words = self.0.split_whitespace();
        words
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
            .unwrap_or_else(|| panic!("{}", self.0))
    }

    /// The path of its config.
    fn config(&self) -> &str {
        let url = self.argument("firstboot.config");
        &url[url.find("/config/").unwrap()..]
    }
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(each, _)| each.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
}

fn exchange(mut stream: impl Read + Write, request: &str) -> Answer {
    // A server that has heard enough may have closed already.
    let _ = stream.write_all(request.as_bytes());
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |end| end + 4);
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, head, body: bytes[end..].to_vec() }
}

fn eventually<T>(mut found: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "it did not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn sha256(bytes: &[u8]) -> String {
    kiln::digest::Digest::of(bytes).hex()
}

#[test]
fn a_machine_boots_with_its_config_once_and_a_second_client_is_refused() {
    let place = Place::new();
    let server = place.serve(&["--config", "configs"]);
    let first = server.get("/boot.ipxe").text();
    assert!(first.contains("machine.ipxe?mac=${netX/mac:hexhyp}&uuid=${uuid}&serial=${serial:uristring}"));
    assert_eq!(server.get("/autoexec.ipxe").text(), first);

    let script = server.script();
    let line = script.0.lines().find(|line| line.starts_with("kernel ")).unwrap();
    assert!(line.starts_with("kernel --name vmlinuz files/lab-pxe/vmlinuz?boot="), "{line}");
    assert!(
        line.contains(
            " initrd=initrd console=ttyS0 BOOTIF=01-52-54-00-00-00-01 firstboot.config=http://127."
        )
    );
    let boot = script
        .0
        .split_whitespace()
        .find(|word| word.starts_with("files/lab-pxe/initrd?"))
        .unwrap();
    assert_eq!(server.get(&format!("/{boot}")).body.len(), 1_000_000);
    assert_eq!((&server.machine()["phase"], &server.machine()["percent"]), (&json!("loading"), &json!(100)));

    assert_eq!(server.ask("HEAD", script.config(), "").status, 405);
    let config = server.get(script.config());
    assert_eq!((config.status, config.header("cache-control")), (200, Some("no-store")));
    assert_eq!(config.text(), JOIN.replace("${serial}", "S1"));
    assert_eq!(sha256(&config.body), script.argument("firstboot.config-sha256"));
    let machine = eventually(|| Some(server.machine()).filter(|machine| machine["phase"] == "config-taken"));
    assert_eq!(machine["taken"]["address"], "127.0.0.1");

    let second = server.get(script.config());
    assert_eq!((second.status, second.text().contains("given once")), (410, true));
    let status = server.status();
    assert_eq!(status["machines"][0]["refused"], 1);
    assert_eq!(status["refusals"][0]["machine"], MAC);
    let page = server.get("/").text();
    assert!(page.contains("1 refused, last 127.0.0.1"), "{page}");
    assert_eq!(server.get(&format!("/config/{}", "0".repeat(32))).status, 404);
    assert_eq!(server.get("/config/../etc/passwd").status, 404);
}

#[test]
fn a_new_script_has_a_new_token_and_makes_the_old_config_void() {
    let place = Place::new();
    place.put("join.yaml", format!("{JOIN}token: ${{token}}\n"));
    let count = place.path("count");
    let count = count.to_str().unwrap();
    let server = place.serve(&["--config", "join.yaml", "--token-command", "sh", "-c", TOKENS, "sh", count]);
    let scripts = [server.script(), server.script()];
    assert_eq!(server.get(scripts[0].config()).status, 410);
    let taken = server.get(scripts[1].config());
    assert!(taken.text().ends_with("token: abcdef.0000000000000002\n"), "{}", taken.text());
    // Without --once it may begin again.
    assert!(server.get(server.script().config()).text().ends_with("token: abcdef.0000000000000003\n"));
    let state = server.status().to_string() + &server.get("/").text();
    let log = fs::read_to_string(place.path("access.jsonl")).unwrap();
    for id in scripts.iter().map(|script| script.config().trim_start_matches("/config/")) {
        assert!(!state.contains(id) && !log.contains(id), "{id} is in the status or the log");
    }
    assert!(!state.contains("abcdef.") && !log.contains("abcdef."));
}

#[test]
fn without_a_token_the_machine_waits_and_the_operator_is_told_why() {
    let place = Place::new();
    place.put("join.yaml", "token: ${token}\n");
    for (command, why) in [
        ("echo admin-password", "did not print a bootstrap token alone"),
        ("echo no such cluster >&2; exit 3", "no such cluster"),
        ("printf 'abcdef.0123456789abcdef\\nmore'", "did not print a bootstrap token alone"),
    ] {
        let mut server = place.serve(&["--config", "join.yaml", "--token-command", "sh", "-c", command]);
        let script = server.get(ASK).text();
        assert!(script.contains("there is no token; asking again") && !script.contains("kernel"), "{script}");
        assert_eq!(server.machine()["message"], "there is no token");
        let mut said = server.child.stderr.take().unwrap();
        server.end();
        let mut text = String::new();
        said.read_to_string(&mut text).unwrap();
        assert!(text.contains(why) && !text.contains("admin-password"), "{text}");
    }
}

#[test]
fn a_config_that_was_cut_off_is_not_taken() {
    let place = Place::new();
    // More than sockets hold: the server is still writing when the client goes.
    place.put("join.yaml", format!("#{}\n", "x".repeat((1 << 20) - 2)));
    let server = place.serve(&["--config", "join.yaml", "--once"]);
    let script = server.script();
    let socket = small_socket(server.http);
    (&socket)
        .write_all(format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", script.config()).as_bytes())
        .unwrap();
    let mut start = [0; 1000];
    (&socket).read_exact(&mut start).unwrap();
    assert!(start.starts_with(b"HTTP/1.1 200 "));
    // The server is not through: the client itself may come back, and gets an answer that says when.
    let again = server.get(script.config());
    assert_eq!((again.status, again.header("retry-after")), (503, Some("1")));
    drop(socket);
    let whole = eventually(|| Some(server.get(script.config())).filter(|answer| answer.status == 200));
    assert_eq!(sha256(&whole.body), script.argument("firstboot.config-sha256"));
    eventually(|| Some(server.get(script.config())).filter(|answer| answer.status == 410));
    assert!(place.log(1).iter().any(|line| line["path"] == "/config/***" && line["status"] == 200));
}

#[test]
fn a_client_that_breaks_off_before_the_end_of_a_short_config_did_not_take_it() {
    let place = Place::new();
    let server = place.serve(&["--config", "configs", "--once"]);
    let script = server.script();
    let mut stream = TcpStream::connect(server.http).unwrap();
    write!(stream, "GET {} HTTP/1.1\r\nHost: x\r\n\r\n", script.config()).unwrap();
    stream.read_exact(&mut [0; 20]).unwrap();
    // What it has not read becomes a reset.
    drop(stream);
    let whole = eventually(|| Some(server.get(script.config())).filter(|answer| answer.status != 503));
    assert_eq!(
        (whole.status, sha256(&whole.body).as_str()),
        (200, script.argument("firstboot.config-sha256"))
    );
    eventually(|| Some(server.get(script.config())).filter(|answer| answer.status == 410));
    assert!(server.get(ASK).text().contains("its config was taken"));
}

/// A connection that takes little until it is read.
fn small_socket(address: SocketAddr) -> TcpStream {
    use nix::sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrIn, connect, setsockopt, socket, sockopt,
    };
    use std::os::fd::AsRawFd;
    let SocketAddr::V4(address) = address else { panic!("{address}") };
    let new = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None).unwrap();
    setsockopt(&new, sockopt::RcvBuf, &4096).unwrap();
    connect(new.as_raw_fd(), &SockaddrIn::from(address)).unwrap();
    new.into()
}

#[test]
fn once_is_remembered_across_a_kill_until_the_machine_is_forgotten() {
    let place = Place::new();
    let options = ["--config", "configs", "--once", "--state", "state"];
    let server = place.serve(&options);
    let script = server.script();
    assert_eq!(server.get(script.config()).status, 200);
    eventually(|| Some(server.get(script.config())).filter(|answer| answer.status == 410));
    assert!(server.get(ASK).text().contains("sanboot --no-describe --drive 0x80"));
    drop(server);
    assert_eq!(place.path("state/machines.jsonl").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(place.path("state").metadata().unwrap().permissions().mode() & 0o777, 0o700);

    let server = place.serve(&options);
    assert!(server.get(ASK).text().contains("booting from disk"));
    assert_eq!(server.get(script.config()).status, 410);
    let (code, said) = place.refused(&[&options[..], &["--listen", "127.0.0.1:0"]].concat());
    assert!(code == 2 && said.contains("another kiln serve uses it"), "{said}");
    assert_eq!(server.end(), 0);

    let server = place.serve(&[&options[..], &["--forget", MAC]].concat());
    assert!(server.get(ASK).text().contains("kernel --name vmlinuz"));
}

#[test]
fn strangers_words_reach_no_script_and_no_path() {
    let place = Place::new();
    place.put("secret.yaml", "secret: 1\n");
    place.put("configs/S1.yaml", "own: S1\n");
    let server = place.serve(&["--config", "configs"]);
    for query in [
        "serial=..%2fsecret",
        "serial=a%0d%0areboot",
        "serial=$%7bnet0/mac%7d",
        "serial=a%20%26%26%20reboot",
        "serial=a%20%7c%7c%20reboot",
        "serial=%1b%5b2J",
        "serial=%3cscript%3ealert(1)%3c/script%3e",
    ] {
        let script = server.get(&format!("/machine.ipxe?mac=52:54:00:00:00:02&{query}")).text();
        assert!(script.contains("its node config needs its serial"), "{query}: {script}");
        let lines = script
            .lines()
            .filter(|line| line.contains("reboot") || line.contains("${") || line.contains('\u{1b}'));
        assert_eq!(lines.count(), 0, "{query}: {script}");
    }
    for query in ["mac=../../etc/passwd", "mac=$%7bx%7d", "uuid=%0a", "serial=%zz", &"x".repeat(3000), ""] {
        let answer = server.get(&format!("/machine.ipxe?{query}"));
        assert!([400, 503].contains(&answer.status), "{query}: {}", answer.head);
    }
    let page = server.get("/");
    assert!(!page.text().contains("<script") && page.text().contains("&lt;script&gt;"));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    assert_eq!(server.get(server.script().config()).text(), "own: S1\n");
    assert_eq!(server.get("/machine.ipxe?mac=52:54:00:00:00:02&arch=arm64").status, 200);
}

#[test]
fn a_machine_without_a_config_or_of_another_architecture_goes_on() {
    let place = Place::new();
    fs::remove_file(place.path("configs/default.yaml")).unwrap();
    let manifest = json!({
        "name": "lab", "arch": "arm64", "identity": kiln::digest::Digest::of(b""), "variables": {}, "layers": [],
        "artifacts": [], "packages": [], "tools": {}, "outputs": [],
    });
    place.put("out/manifest.json", manifest.to_string());
    place.put("configs/52-54-00-00-00-09.yaml", "own: 1\n");
    let server = place.serve(&["--config", "configs"]);
    let ask = |query: &str| server.get(&format!("/machine.ipxe?{query}")).text();
    let script = ask("mac=52:54:00:00:00:01&arch=arm64");
    assert!(script.contains("there is no node config for it") && script.ends_with("exit\n"), "{script}");
    assert!(ask("mac=52:54:00:00:00:09&arch=i386").contains("the image is for arm64, the machine is amd64"));
    assert!(ask("mac=52:54:00:00:00:09&arch=arm64").contains("kernel --name vmlinuz"));
    let messages = server.status()["machines"].to_string();
    assert!(messages.contains("there is no node config for it"), "{messages}");
}

#[test]
fn files_are_served_in_parts_and_nothing_else_is() {
    let place = Place::new();
    symlink("/etc/hostname", place.path("out/link.raw")).unwrap();
    let server = place.serve(&[]);
    let path = "/files/lab-pxe/initrd";
    let whole = server.get(path);
    let etag = whole.header("etag").unwrap().to_owned();
    assert_eq!((whole.status, whole.header("content-length")), (200, Some("1000000")));
    let head = server.ask("HEAD", path, "");
    assert_eq!((head.header("content-length"), head.body.len()), (Some("1000000"), 0));
    let part = server.ask("GET", path, "Range: bytes=5-9\r\n");
    assert_eq!((part.status, part.text().as_str()), (206, "56789"));
    assert_eq!(part.header("content-range"), Some("bytes 5-9/1000000"));
    let end = server.ask("GET", path, &format!("Range: bytes=-3\r\nIf-Range: {etag}\r\n"));
    assert_eq!((end.status, end.text().as_str()), (206, "789"));
    assert_eq!(server.ask("GET", path, "Range: bytes=-3\r\nIf-Range: \"old\"\r\n").body.len(), 1_000_000);
    assert_eq!(server.ask("GET", path, "Range: bytes=1000000-\r\n").status, 416);
    assert_eq!(server.ask("GET", path, &format!("If-None-Match: {etag}\r\n")).status, 304);
    assert_eq!(server.get("/uki.efi").text(), "uki");
    assert_eq!(server.get("/healthz").text(), "ok\n");
    for path in [
        "/files/SHA256SUMS",
        "/files/link.raw",
        "/files/lab-pxe/../lab.efi",
        "/files/lab-pxe/%2e%2e/lab.efi",
        "/files/../configs/default.yaml",
        "/files//etc/passwd",
        "/files/lab-pxe/",
        "/files/",
        "/lab.efi",
        "/report/x",
    ] {
        assert!([404, 405].contains(&server.get(path).status), "{path}");
    }
    for method in ["DELETE", "PUT", "POST", "TRACE"] {
        assert_eq!(server.ask(method, "/", "").status, 405, "{method}");
    }
    // A build that replaces the files does not change what this server serves.
    fs::remove_file(place.path("out/lab-pxe/initrd")).unwrap();
    assert_eq!(server.get(path).body.len(), 1_000_000);
}

#[test]
fn a_report_reaches_the_status_over_https_alone() {
    let place = Place::new();
    let options = ["--config", "configs", "--https-listen", "127.0.0.1:0", "--state", "state"];
    let server = place.serve(&options);
    let config = server.get(server.script().config()).text();
    let authority = config.split_once("caCert: |\n").unwrap().1.replace("    ", "");
    let url = config.lines().find_map(|line| line.strip_prefix("  url: https://")).unwrap();
    let (host, path) = url.split_at(url.find('/').unwrap());
    assert_eq!(host, server.https.unwrap().to_string());
    let verdict = json!({"outcome": "joined", "node": "n1", "message": null}).to_string();
    assert_eq!(server.post(path, &verdict).status, 404);
    assert_eq!(server.post_securely(path, "[]", &authority).status, 400);
    assert_eq!(
        server.post_securely(&format!("/report/{}", "0".repeat(32)), &verdict, &authority).status,
        404
    );
    assert_eq!(server.post_securely(path, &verdict, &authority).status, 204);
    let machine = server.machine();
    assert_eq!((&machine["phase"], &machine["node"]), (&json!("joined"), &json!("n1")));
    assert!(server.get("/").text().contains("<td>n1"));
    let key = place.path("state/ca.key");
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(server.end(), 0);
    // The same authority and the same ID after a restart: the join may take longer than that.
    let server = place.serve(&options);
    let failed = json!({"outcome": "failed", "class": "timeout", "message": "no API server"}).to_string();
    assert_eq!(server.post_securely(path, &failed, &authority).status, 204);
    assert_eq!(server.machine()["class"], "timeout");
}

#[test]
fn an_installation_is_followed_and_then_the_disk_boots() {
    let place = Place::new();
    let options = ["--install", "size>=100G,smallest", "--install-overwrite", "--config", "configs"];
    let (code, said) = place.refused(&options);
    assert!(code == 2 && said.contains("block-map"), "{said}");
    place.put("out/lab.raw.zst", "disk");
    place.put("out/lab.raw.bmap", "map");
    let server = place.serve(&options);
    let script = server.script();
    assert_eq!(script.argument("firstboot.install"), format!("http://{}/files/lab.raw.zst", server.http));
    assert_eq!(script.argument("firstboot.install-sha256"), sha256(b"map"));
    assert_eq!(script.argument("firstboot.install-disk"), "size>=100G,smallest");
    assert!(script.0.contains(" firstboot.install-overwrite "));
    assert!(server.notices.contains("installed machines that ask are wiped"), "{}", server.notices);
    assert_eq!(server.get(script.config()).status, 200);
    assert_eq!(server.get("/files/lab.raw.bmap").text(), "map");
    let url = script.argument("firstboot.install-report");
    let path = url.trim_start_matches(&format!("http://{}", server.http));
    assert_eq!(server.post(path, r#"{"phase": "installing", "percent": 12}"#).status, 204);
    assert_eq!(
        (&server.machine()["phase"], &server.machine()["percent"]),
        (&json!("installing"), &json!(12))
    );
    assert_eq!(server.post(path, r#"{"phase": "installed", "disk": "vda"}"#).status, 204);
    assert!(server.get(ASK).text().contains("it is installed: booting from disk"));
}

#[test]
fn slow_and_boundless_clients_are_ended() {
    let place = Place::new();
    let server = place.serve(&["--config", "configs"]);
    let mut slow = TcpStream::connect(server.http).unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX: ").unwrap();
    let began = Instant::now();

    let huge = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let answer = exchange(TcpStream::connect(server.http).unwrap(), &huge);
    assert!([0, 400, 431].contains(&answer.status), "{}", answer.head);
    let script = server.script();
    let url =
        format!("/install-report/{}", script.0.split("boot=").nth(1).unwrap().split(' ').next().unwrap());
    let body = exchange(TcpStream::connect(server.http).unwrap(), &post(&url, &"x".repeat(300_000)));
    assert!([0, 413].contains(&body.status), "{}", body.head);
    for body in ["", "{", "[]", "7", "\"x\""] {
        assert_eq!(server.post(&url, body).status, 400, "{body}");
    }
    assert_eq!(server.post(&url, "{}").status, 404);

    let crowd: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(server.http).unwrap()).collect();
    let closed = |mut stream: &TcpStream| {
        stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        matches!(stream.read(&mut [0]), Ok(0))
            || stream
                .read(&mut [0])
                .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
    };
    let count = eventually(|| {
        Some(crowd.iter().filter(|stream| closed(stream)).count()).filter(|count| *count > 100)
    });
    assert!(count < 200, "all connections of one address were refused");
    drop(crowd);

    slow.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let _ = slow.read_to_end(&mut Vec::new());
    assert!((8..20).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    eventually(|| Some(server.get("/healthz")).filter(|answer| answer.status == 200));
}

#[test]
fn each_request_is_a_line_of_the_log() {
    let place = Place::new();
    let server = place.serve(&["--config", "configs"]);
    let script = server.script();
    server.get(script.config());
    server.get("/nothing%1b");
    let lines = place.log(3);
    assert_eq!((&lines[0]["machine"], &lines[0]["path"]), (&json!(MAC), &json!("/machine.ipxe")));
    assert_eq!((&lines[1]["path"], &lines[1]["whole"]), (&json!("/config/***"), &json!(true)));
    assert_eq!((&lines[2]["status"], &lines[2]["address"]), (&json!(404), &json!("127.0.0.1")));
    assert!(lines[0]["time"].as_str().unwrap().ends_with('Z') && lines[0]["bytes"].as_u64() > Some(100));
}

#[test]
fn a_second_interface_of_an_installed_machine_boots_the_disk() {
    let place = Place::new();
    place.put("out/lab.raw.zst", "disk");
    place.put("out/lab.raw.bmap", "map");
    let options = ["--install", "smallest", "--install-overwrite", "--state", "state"];
    let server = place.serve(&options);
    let script = server.script();
    let url = script.argument("firstboot.install-report");
    let path = url.trim_start_matches(&format!("http://{}", server.http));
    assert_eq!(server.post(path, r#"{"phase": "installed"}"#).status, 204);
    let second = ASK.replace("00-01", "00-02");
    assert!(server.get(&second).text().contains("it is installed: booting from disk"));
    assert!(server.get("/").text().contains("52:54:00:00:00:02"));
    assert_eq!(server.end(), 0);
    let server = place.serve(&options);
    assert!(server.get(&second.replace("00-02", "00-03")).text().contains("it is installed"));
    let stranger = second.replace("4c4c4544", "5c4c4544");
    assert!(server.get(&stranger.replace("00-02", "00-04")).text().contains("firstboot.install="));
}

#[test]
fn a_log_that_nobody_reads_does_not_keep_the_server_from_ending() {
    let place = Place::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
    command
        .current_dir(place.path(""))
        .args(["serve", "out", "--json", "--listen", "127.0.0.1:0"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let server = Server::start(command);
    let path = format!("/{}", "x".repeat(190));
    // More than the pipe holds.
    for _ in 0..500 {
        assert_eq!(server.get(&path).status, 404);
    }
    let began = Instant::now();
    assert_eq!(server.end(), 0);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn a_log_that_cannot_be_written_is_told_once() {
    let place = Place::new();
    symlink("/dev/full", place.path("access.jsonl")).unwrap();
    let mut server = place.serve(&[]);
    for _ in 0..3 {
        assert_eq!(server.get("/healthz").status, 200);
        std::thread::sleep(Duration::from_millis(100));
    }
    let mut said = server.child.stderr.take().unwrap();
    assert_eq!(server.end(), 0);
    let mut text = String::new();
    said.read_to_string(&mut text).unwrap();
    assert_eq!(text.matches("warning: the access log").count(), 1, "{text}");
}

#[test]
fn a_state_that_was_cut_off_or_is_not_its_own_is_said_at_the_start() {
    let place = Place::new();
    let options = ["--config", "configs", "--https-listen", "127.0.0.1:0", "--state", "state"];
    let server = place.serve(&options);
    server.script();
    assert_eq!(server.end(), 0);
    let journal = place.path("state/machines.jsonl");
    let text = fs::read_to_string(&journal).unwrap();
    place.put("state/machines.jsonl", format!("{text}{{\"key\": \"52"));
    let server = place.serve(&options);
    assert!(server.notices.contains("has no end and is left out"), "{}", server.notices);
    assert_eq!(server.machine()["mac"], MAC);
    assert_eq!(server.end(), 0);
    let start = [&options[..], &["--listen", "127.0.0.1:0"]].concat();
    place.put("state/machines.jsonl", format!("{{\"key{text}"));
    let (code, said) = place.refused(&start);
    assert!(code == 9 && said.contains("line 1") && said.contains("--state"), "{said}");
    place.put("state/machines.jsonl", text);
    place.put("state/ca.pem", "garbage");
    let (code, said) = place.refused(&start);
    assert!(code == 9 && said.contains("ca.pem") && said.contains("a new authority is made"), "{said}");
}

#[test]
fn what_cannot_be_served_is_refused_by_name() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    place.put("token.yaml", "token: ${token}\n");
    fs::create_dir(place.path("empty")).unwrap();
    fs::write(place.path("state"), "").unwrap();
    let rows: &[(&[&str], i32, &str)] = &[
        (&["--listen", &taken], 9, "another program has that port"),
        (&["--listen", "192.0.2.1:1"], 9, "choose an address of this machine"),
        (&["--config", "none"], 9, "none"),
        (&["--config", "token.yaml"], 3, "--token-command"),
        (&["--once"], 2, "--config"),
        (&["--url", "http://x/y"], 2, "http://NAME:PORT"),
        (&["--url", "https://x"], 2, "http://NAME:PORT"),
        (&["--url", "http://a b"], 2, "http://NAME:PORT"),
        (&["--install", "model=a b"], 2, "plain letters"),
        (&["--install", "smalest"], 2, "did you mean \"smallest\"?"),
        (&["--install", "smallest"], 2, "block-map"),
        (&["--config", "token.yaml", "--token-command", "kubeadmm", "token"], 2, "no such program"),
        (&["--state", "state"], 9, "state"),
        (&["--ipxe", "none"], 9, "none"),
    ];
    for (options, code, text) in rows {
        let options = [&["--listen", "127.0.0.1:0"], *options].concat();
        // The last --listen would not count: clap takes one.
        let options = if options[2] == "--listen" { &options[2..] } else { &options[..] };
        let (found, said) = place.refused(options);
        assert!(found == *code && said.contains(text), "{options:?}: {found} {said}");
    }
    let (code, said) = Server::refused(&place.path("empty"));
    assert!(code == 2 && said.contains("build the image with the output pxe"), "{said}");
}

impl Server {
    fn refused(folder: &Path) -> (i32, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_kiln")).arg("serve").arg(folder).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }
}

#[test]
fn the_start_says_what_is_missing() {
    let place = Place::new();
    place.put("configs/x.yml", "a: 1\n");
    let server = place.serve(&["--config", "configs"]);
    for text in ["no --state", "no --https-listen", "x.yml: no machine gets this file"] {
        assert!(server.notices.contains(text), "{text}: {}", server.notices);
    }
}
