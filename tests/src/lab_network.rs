//! A network segment for virtual machines beside a control plane: a real DHCP server (dnsmasq), and a time
//! server that says what this machine's clock says.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Child, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::control_plane::ControlPlane;
use crate::{netns, workspace};

/// The device to which a machine is plugged in.
pub const TAP: &str = "lab-tap";
/// The device of a second machine.
pub const SECOND_TAP: &str = "lab-tap2";
/// Hardware address of a machine that gets [`KNOWN_ADDRESS`].
pub const KNOWN_CARD: &str = "52:54:00:98:00:0b";
/// The one address that is known before a machine asks for it.
pub const KNOWN_ADDRESS: &str = "10.98.0.11";
const BRIDGE: &str = "lab-net";
/// The address of the servers of DHCP and time.
pub const SERVER: &str = "10.98.0.1";
/// The time server looks so often whether it is still wanted.
const TICK: Duration = Duration::from_millis(200);
/// What a firmware that boots over HTTP is told to load, and what iPXE is told to: both from [`SERVER`], port
/// 80.
pub const PROGRAM: &str = "boot.efi";
/// As [`PROGRAM`].
pub const SCRIPT: &str = "boot.ipxe";
const RANGE: &str = "10.98.0.50,10.98.0.150,1h";
/// Seconds between 1900, where NTP begins, and 1970.
const ERA: u64 = 2_208_988_800;

/// The segment; it ends when dropped.
#[derive(Debug)]
pub struct LabNetwork {
    /// A process of the namespace.
    pid: String,
    dhcp: Child,
    folder: tempfile::TempDir,
    clock: Option<JoinHandle<()>>,
    has_ended: Arc<AtomicBool>,
}

impl LabNetwork {
    /// The segment of two machines in the network namespace of `control_plane`.
    pub fn start(control_plane: &ControlPlane) -> Self {
        let ip = |words: &str| {
            let output = ip(control_plane.fact("pid"), words);
            assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
        };
        ip(&format!("link add name {BRIDGE} type bridge"));
        ip(&format!("addr add {SERVER}/24 dev {BRIDGE}"));
        ip(&format!("link set {BRIDGE} up"));
        for tap in [TAP, SECOND_TAP] {
            ip(&format!("tuntap add dev {tap} mode tap"));
            ip(&format!("link set {tap} master {BRIDGE} up"));
        }
        let folder = workspace::scratch();
        let leases = format!("--dhcp-leasefile={}", folder.path().join("leases").display());
        // Ends with this thread, however that ends.
        let dhcp = control_plane
            .command("setpriv")
            .args(["--pdeathsig", "KILL", "dnsmasq"])
            .args(["--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root"])
            .args([&format!("--interface={BRIDGE}"), "--bind-interfaces", "--no-ping", "--pid-file="])
            .args([&format!("--dhcp-range={RANGE}"), &format!("--dhcp-option=option:ntp-server,{SERVER}")])
            .args([format!("--dhcp-host={KNOWN_CARD},{KNOWN_ADDRESS}"), leases])
            // UEFI 2.10, §24.7: the answer has the class of the question. iPXE sends its own option 175.
            .args(["--dhcp-vendorclass=set:http,HTTPClient", "--dhcp-option-force=tag:http,60,HTTPClient"])
            .arg(format!("--dhcp-boot=tag:http,http://{SERVER}/{PROGRAM}"))
            .args([
                "--dhcp-match=set:ipxe,175".to_owned(),
                format!("--dhcp-boot=tag:ipxe,http://{SERVER}/{SCRIPT}"),
            ])
            .stderr(Stdio::null())
            .spawn()
            .expect("dnsmasq starts");
        let clock = netns::inside(control_plane.fact("pid"), || UdpSocket::bind((SERVER, 123)));
        let clock = clock.expect("the port of NTP is free in the lab");
        clock.set_read_timeout(Some(TICK)).expect("a socket can have a time limit");
        let has_ended = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&has_ended);
        let clock = Some(std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                tell_time(&clock);
            }
        }));
        Self { pid: control_plane.fact("pid").to_owned(), dhcp, folder, clock, has_ended }
    }

    /// The address of each lease that was given and still holds.
    pub fn addresses(&self) -> Vec<Ipv4Addr> {
        let leases = fs::read_to_string(self.folder.path().join("leases")).unwrap_or_default();
        leases.lines().filter_map(|line| line.split(' ').nth(2)?.parse().ok()).collect()
    }
}

impl Drop for LabNetwork {
    fn drop(&mut self) {
        let _ = self.dhcp.kill();
        let _ = self.dhcp.wait();
        self.has_ended.store(true, Ordering::Relaxed);
        let _ = self.clock.take().map(JoinHandle::join);
        for device in [TAP, SECOND_TAP, BRIDGE] {
            ip(&self.pid, &format!("link del {device}"));
        }
    }
}

fn ip(pid: &str, words: &str) -> Output {
    netns::command_in(pid, "ip").args(words.split(' ')).output().expect("ip starts")
}

/// Answers one question as a server of SNTP (RFC 4330, section 5), if one comes.
fn tell_time(socket: &UdpSocket) {
    let mut question = [0; 48];
    if let Ok((48.., from)) = socket.recv_from(&mut question) {
        let now = timestamp(SystemTime::now());
        let mut answer = [0; 48];
        // No leap second, version 4, mode 4 (server), stratum 2, precision 2^-20 s.
        answer[..4].copy_from_slice(&[0x24, 2, 6, 0xec]);
        answer[12..16].copy_from_slice(b"LOCL");
        answer[16..24].copy_from_slice(&now);
        answer[24..32].copy_from_slice(&question[40..48]);
        answer[32..40].copy_from_slice(&now);
        answer[40..48].copy_from_slice(&timestamp(SystemTime::now()));
        let _ = socket.send_to(&answer, from);
    }
}

/// Seconds since 1900, in 32 bits, and a fraction in 32 more.
fn timestamp(time: SystemTime) -> [u8; 8] {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
    (((since.as_secs() + ERA) << 32) | fraction).to_be_bytes()
}
