//! A network namespace that has the platform's own addresses, so that the simulator can listen there as the
//! metadata service.
//!
//! ```text
//! lo     the service's addresses
//! eth0   the machine's own, a link-local one of the service, and what packets vanish into
//! ```
//!
//! There is no default route, so a program can reach nothing else.

use std::fs;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use crate::error::{Error, Result};
use crate::fault::Act;
use crate::machine::DEVICE;
use crate::simulation::{Family, Machine, has_v6};

/// A hint for machines that forbid user namespaces.
const ADVICE: &str = "allow user namespaces, or run as root";

/// How long an address may take to come up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Moves this process into new user, network and mount namespaces. The process must have only one thread. It
/// is root there, and nowhere else.
pub fn enter() -> Result<()> {
    let (user, group) = (geteuid(), getegid());
    let flags = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
    unshare(flags)
        .map_err(|error| Error::system(format!("making namespaces: {}", error.desc())).help(ADVICE))?;
    let write = |file: &str, text: String| {
        fs::write(Path::new("/proc/self").join(file), text)
            .map_err(|error| Error::system(format!("mapping this user: {file}: {error}")).help(ADVICE))
    };
    write("setgroups", "deny".to_owned())?;
    write("uid_map", format!("0 {user} 1"))?;
    write("gid_map", format!("0 {group} 1"))
}

/// Moves the calling thread, which must be root's, into a new network namespace. Threads that it starts are
/// in it as well.
pub fn enter_thread() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET)
        .map_err(|error| Error::system(format!("making a network namespace: {}", error.desc())).help(ADVICE))
}

/// Sets up the network namespace of the calling thread, with the devices and addresses of the machine and of
/// its platform's services.
pub fn set_up(machine: &Machine) -> Result<()> {
    if machine.family == Family::V6 && !has_v6() {
        return Err(Error::system("this machine's kernel has no IPv6"));
    }
    let mac = machine.mac();
    let up = format!("link set lo up\nlink set {DEVICE} arp off up\n");
    // A link-local IPv6 address needs a device with a carrier: a device that needs none, or a cable to
    // nowhere.
    let dummy = format!("link add {DEVICE} address {mac} type dummy\n{up}");
    let cable = format!("link add {DEVICE} address {mac} type veth peer name cable\nlink set cable up\n{up}");
    ip(&dummy).or_else(|_| ip(&cable))?;
    let own = [("local-ipv4", 24, ""), ("local-ipv6", 64, " nodad")].into_iter().filter_map(
        |(name, bits, flags)| {
            let address: IpAddr = machine.value(name)?.parse().ok()?;
            let is_wanted = machine.family.has(address) && (has_v6() || address.is_ipv4());
            is_wanted.then(|| format!("addr add {address}/{bits} dev {DEVICE}{flags}\n"))
        },
    );
    ip(&own.collect::<String>())?;
    add_services(machine)
}

/// Adds the addresses of the platform's services to the network namespace of the calling thread. Addresses on
/// [`DEVICE`] are added only if the device exists.
pub fn add_services(machine: &Machine) -> Result<()> {
    let places = machine.places();
    let mut lines: Vec<String> =
        places.iter().filter_map(|(address, _)| line(machine.is_cut_off(), address)).collect();
    // Two services may share an address.
    lines.dedup();
    ip(&lines.concat())?;
    if machine.is_cut_off().is_none() {
        places.iter().map(|place| place.0).filter(SocketAddr::is_ipv6).try_for_each(wait_for)?;
    }
    Ok(())
}

/// The arguments of `ip` for an address of a service.
fn line(cut_off: Option<Act>, address: &SocketAddr) -> Option<String> {
    let (ip, bits, flags) =
        if address.is_ipv4() { (address.ip(), 32, "") } else { (address.ip(), 128, " nodad") };
    let is_on_link = matches!(address, SocketAddr::V6(v6) if v6.scope_id() != 0);
    match (cut_off, is_on_link) {
        (Some(Act::BlackHole), false) => Some(format!("route add {ip}/{bits} dev {DEVICE}\n")),
        // The link itself is the route to a link-local address, and no machine has that address.
        (Some(_), _) => None,
        (None, true) => Some(format!("addr add {ip}/64 dev {DEVICE} nodad\n")),
        (None, false) => Some(format!("addr add {ip}/{bits} dev lo{flags}\n")),
    }
}

/// The kernel creates routes to IPv6 addresses some time after the addresses. This waits until a packet
/// arrives.
fn wait_for(address: SocketAddr) -> Result<()> {
    let arrives = || {
        let socket = UdpSocket::bind(address)?;
        socket.set_read_timeout(Some(Duration::from_millis(10)))?;
        socket.send_to(b"?", address)?;
        socket.recv(&mut [0])
    };
    let until = Instant::now() + PATIENCE;
    loop {
        match arrives() {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > until => {
                return Err(Error::system(format!("the address {} does not come up: {error}", address.ip())));
            }
            Err(_) => thread::sleep(Duration::from_millis(2)),
        }
    }
}

fn ip(lines: &str) -> Result<()> {
    let failed = |what: &str| Error::system(format!("setting up the network: {what}"));
    let mut command = Command::new("ip");
    command
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .map_err(|error| failed(&format!("ip: {error}")).help("install it: apt-get install iproute2"))?;
    let mut input = child.stdin.take().ok_or_else(|| failed("ip has no input"))?;
    // If the program ends early, its exit code says why.
    let _ = input.write_all(lines.as_bytes());
    drop(input);
    let output = child.wait_with_output().map_err(|error| failed(&error.to_string()))?;
    if output.status.success() { Ok(()) } else { Err(failed(String::from_utf8_lossy(&output.stderr).trim())) }
}
