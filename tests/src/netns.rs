//! Network namespaces: runs threads of a test in one, and makes empty ones for a test.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use nix::sched::{CloneFlags, setns};

use crate::workspace;

/// The address of the lab's API server. In a test's namespace, the test decides what answers there.
pub const API_ADDRESS: &str = "10.99.0.1";

/// Runs `work` in the network namespace of the process `pid`. Its sockets and threads stay there.
pub fn inside<T: Send>(pid: &str, work: impl FnOnce() -> T + Send) -> T {
    let path = Path::new("/proc").join(pid).join("ns/net");
    let namespace = std::fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            setns(&namespace, CloneFlags::CLONE_NEWNET).expect("root may enter a network namespace");
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A network namespace with a loopback device; it ends when dropped, or with the test.
#[derive(Debug)]
pub struct NetworkNamespace {
    holder: Child,
}

impl NetworkNamespace {
    /// Only loopback: no other address, no route.
    pub fn new() -> Self {
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "ip link set lo up && echo ready && exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare starts");
        let mut line = String::new();
        let output = holder.stdout.take().expect("a pipe was asked for");
        BufReader::new(output).read_line(&mut line).expect("a pipe can be read");
        assert_eq!(line, "ready\n", "no network namespace");
        Self { holder }
    }

    /// A namespace in which the API server's address is local, so that a test's program can answer as the API
    /// server.
    pub fn of_api_server() -> Self {
        let netns = Self::new();
        netns.ip(&format!("addr add {API_ADDRESS}/32 dev lo"));
        netns
    }

    /// A namespace from which packets to the API server's network are lost.
    pub fn black_hole() -> Self {
        let netns = Self::new();
        netns.vanish("10.99.200.1/16");
        netns
    }

    /// Packets to the network of `address` are lost in a bridge without ports.
    pub fn vanish(&self, address: &str) {
        self.ip("link add name hole type bridge");
        self.ip("link set hole arp off up");
        self.ip(&format!("addr add {address} dev hole"));
    }

    /// The process that holds it.
    pub fn pid(&self) -> String {
        self.holder.id().to_string()
    }

    /// A command inside. Killing it kills the program.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        command_in(&self.pid(), program)
    }

    fn ip(&self, words: &str) {
        let net = format!("--net=/proc/{}/ns/net", self.pid());
        workspace::output("nsenter", [net.as_str(), "--", "ip"].into_iter().chain(words.split(' ')));
    }
}

impl Default for NetworkNamespace {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for NetworkNamespace {
    fn drop(&mut self) {
        // Already gone when the test is being killed.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// A command in the network namespace of the process `pid`. Killing it kills the program.
pub fn command_in(pid: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net=/proc/{pid}/ns/net"))
        .arg("--")
        .arg(program)
        .stdin(Stdio::null());
    command
}
