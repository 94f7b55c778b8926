//! Tests of the guard in real network namespaces: a pod behind a bridge, the node, and a metadata service on
//! its uplink. They need root and iproute2.
#![allow(clippy::disallowed_methods, reason = "tests make machines and servers")]

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use firstboot::guard;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, recv, sendto, setsockopt,
    socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

const V4: &str = "169.254.169.254";
const V6: &str = "fd00:ec2::254";
/// Bytes of a segment that is sent by hand.
const SEGMENT: usize = 32;
/// The number of an IPv6 extension header (RFC 8200).
const DESTINATION_OPTIONS: u8 = 60;

/// A node, its pod, and the services on its uplink; removed when dropped.
struct Net {
    prefix: String,
}

impl Net {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let net = Self { prefix: format!("kg{}-{number}", std::process::id()) };
        for name in ["node", "pod", "cloud"] {
            ip(&format!("netns add {}", net.name(name)));
            net.ip(name, "link set lo up");
        }
        net.cable("node", "uplink", "cloud", "eth0");
        net.cable("node", "veth", "pod", "eth0");
        net.ip("node", "link add cni0 type bridge");
        net.ip("node", "link set cni0 up");
        net.ip("node", "link set veth master cni0");
        for (place, address, device) in [
            ("node", "10.0.0.2/24", "uplink"),
            ("node", "fd00:1::2/64", "uplink"),
            ("node", "10.244.0.1/24", "cni0"),
            ("node", "fd00:2::1/64", "cni0"),
            ("pod", "10.244.0.5/24", "eth0"),
            ("pod", "fd00:2::5/64", "eth0"),
            ("cloud", "10.0.0.1/24", "eth0"),
            ("cloud", "fd00:1::1/64", "eth0"),
            ("cloud", "169.254.169.254/32", "lo"),
            ("cloud", "fd00:ec2::254/128", "lo"),
        ] {
            let nodad = if address.contains(':') { " nodad" } else { "" };
            net.ip(place, &format!("addr add {address} dev {device}{nodad}"));
        }
        for (place, route) in [("node", "10.0.0.1"), ("pod", "10.244.0.1"), ("cloud", "10.0.0.2")] {
            net.ip(place, &format!("route add default via {route}"));
        }
        for (place, route) in [("node", "fd00:1::1"), ("pod", "fd00:2::1"), ("cloud", "fd00:1::2")] {
            net.ip(place, &format!("-6 route add default via {route}"));
        }
        net.inside("node", || {
            std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
            std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
        });
        net
    }

    fn name(&self, place: &str) -> String {
        format!("{}{place}", self.prefix)
    }

    fn ip(&self, place: &str, words: &str) -> String {
        ip(&format!("-n {} {words}", self.name(place)))
    }

    fn cable(&self, one: &str, device: &str, other: &str, peer: &str) {
        self.ip(one, &format!("link add {device} type veth peer name {peer} netns {}", self.name(other)));
        self.ip(one, &format!("link set {device} up"));
        self.ip(other, &format!("link set {peer} up"));
    }

    fn inside<T: Send>(&self, place: &str, work: impl FnOnce() -> T + Send) -> T {
        let namespace = std::fs::File::open(format!("/run/netns/{}", self.name(place))).unwrap();
        thread::scope(|scope| {
            let work = scope.spawn(|| {
                setns(&namespace, CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            work.join().unwrap()
        })
    }

    /// Answers every connection to `port` with a word, until the test ends.
    fn serve(&self, port: u16) {
        let listener = self.inside("cloud", || TcpListener::bind(format!("[::]:{port}")).unwrap());
        thread::spawn(move || {
            listener.incoming().flatten().for_each(|mut stream| drop(stream.write_all(b"metadata")))
        });
    }

    /// Why `place` does not get the word; none if it does.
    fn trouble(&self, place: &str, address: &str, port: u16) -> Option<std::io::ErrorKind> {
        let address = SocketAddr::new(address.parse::<IpAddr>().unwrap(), port);
        let got = self.inside(place, || {
            let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(3))?;
            stream.set_read_timeout(Some(Duration::from_secs(3)))?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            assert_eq!(text, "metadata");
            Ok::<(), std::io::Error>(())
        });
        got.err().map(|error| error.kind())
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for name in ["node", "pod", "cloud"] {
            let _ = Command::new("ip").args(["netns", "del", &self.name(name)]).output();
        }
    }
}

fn ip(words: &str) -> String {
    let output = Command::new("ip").args(words.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn pods_are_kept_from_metadata_services_and_the_machine_is_not() {
    let net = Net::new();
    [80, 53, 32526].into_iter().for_each(|port| net.serve(port));
    let reaches = |place: &str| [V4, V6].map(|address| net.trouble(place, address, 80));
    assert_eq!(
        (reaches("pod"), reaches("node")),
        ([None, None], [None, None]),
        "before the guard everybody reaches it"
    );

    let rules = |family: &str| net.ip("node", &format!("{family} rule show"));
    let before = (rules("-4"), rules("-6"));
    let addresses = guard::addresses(&[V4, V6, "fe80::a9fe:a9fe"]);
    net.inside("node", || guard::apply(&addresses, guard::OPEN)).unwrap();
    let once = (rules("-4"), rules("-6"));
    net.inside("node", || guard::apply(&addresses, guard::OPEN)).unwrap();
    assert_eq!((rules("-4"), rules("-6")), once, "twice is once");

    assert_eq!(reaches("node"), [None, None], "the machine still reaches it");
    for (address, port) in [(V4, 80), (V6, 80), (V4, 32526), (V6, 32526)] {
        let trouble = net.trouble("pod", address, port);
        assert!(
            trouble.is_some_and(|kind| kind != std::io::ErrorKind::TimedOut),
            "{address} {port}: {trouble:?} is told at once"
        );
    }
    assert_eq!(
        [V4, V6].map(|address| net.trouble("pod", address, 53)),
        [None, None],
        "DNS over TCP stays open"
    );
    assert_eq!(
        [net.trouble("pod", "10.0.0.1", 80), net.trouble("pod", "fd00:1::1", 80)],
        [None, None],
        "other addresses do, too"
    );
    let socket = net.inside("cloud", || UdpSocket::bind("169.254.169.254:53").unwrap());
    socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    net.inside("pod", || UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"?", (V4, 53)).unwrap());
    assert_eq!(socket.recv(&mut [0; 4]).unwrap(), 1, "and DNS over UDP");

    assert!(net.inside("node", guard::remove).unwrap());
    assert_eq!((rules("-4"), rules("-6")), before);
    assert_eq!(reaches("pod"), [None, None]);
    assert!(!net.inside("node", guard::remove).unwrap(), "nothing is left to remove");
}

#[test]
fn pods_reach_the_api_server_beside_a_seed_and_not_the_seed() {
    let net = Net::new();
    [80, 6443].into_iter().for_each(|port| net.serve(port));
    let server = guard::addresses(&["10.0.0.1"]);
    net.inside("node", || guard::apply(&server, guard::OPEN_AT_SERVERS)).unwrap();
    assert_eq!(net.trouble("pod", "10.0.0.1", 6443), None);
    assert!(net.trouble("pod", "10.0.0.1", 80).is_some());
    assert_eq!(net.trouble("node", "10.0.0.1", 80), None);
    assert!(net.inside("node", guard::remove).unwrap());
    assert_eq!(net.trouble("pod", "10.0.0.1", 80), None);
}

/// Whether a segment to port 80 that the pod sends by hand arrives, in one packet or in two fragments, behind
/// so many IPv6 extension headers.
fn segment_arrives(net: &Net, address: &str, fragments: &[std::ops::Range<usize>], headers: usize) -> bool {
    let to: IpAddr = address.parse().unwrap();
    let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let raw = |protocol| socket(family, SockType::Raw, SockFlag::empty(), protocol).unwrap();
    let receiver = net.inside("cloud", || raw(SockProtocol::Tcp));
    setsockopt(&receiver, sockopt::ReceiveTimeout, &TimeVal::milliseconds(700)).unwrap();
    // Source port 4321, port 80, a SYN with 12 bytes of data and a number to recognize it.
    static NUMBER: AtomicU32 = AtomicU32::new(0x5eed_0000);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let mut segment = [0; SEGMENT];
    segment[..4].copy_from_slice(&[0x10, 0xe1, 0, 80]);
    segment[12..15].copy_from_slice(&[0x50, 2, 1]);
    segment[4..8].copy_from_slice(&number);
    net.inside("pod", || {
        let sender = raw(SockProtocol::Raw);
        for part in fragments {
            let is_last = part.end == segment.len();
            let payload = behind_headers(headers, &segment[part.clone()]);
            let mut packet = packet(to, &payload, part.start, is_last, fragments.len() > 1);
            if headers > 0 {
                packet[6] = DESTINATION_OPTIONS;
            }
            let target = SockaddrStorage::from(SocketAddr::new(to, 0));
            sendto(sender.as_raw_fd(), &packet, &target, MsgFlags::empty()).unwrap();
        }
    });
    let mut buffer = [0; 256];
    while let Ok(length) = recv(receiver.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
        if buffer[..length].windows(4).any(|bytes| bytes == number) {
            return true;
        }
    }
    false
}

/// `payload` behind so many headers, each with an option that pads it.
fn behind_headers(count: usize, payload: &[u8]) -> Vec<u8> {
    let headers = (0..count).rev().flat_map(|behind| {
        let next = if behind == 0 { 6 } else { DESTINATION_OPTIONS };
        [next, 0, 1, 4, 0, 0, 0, 0]
    });
    headers.chain(payload.iter().copied()).collect()
}

/// A TCP packet, or a fragment of one, from the pod.
fn packet(to: IpAddr, payload: &[u8], offset: usize, is_last: bool, is_fragment: bool) -> Vec<u8> {
    let length = |bytes: usize| u16::try_from(bytes).unwrap().to_be_bytes();
    let mut packet = Vec::new();
    match to {
        IpAddr::V4(to) => {
            let place = u16::try_from(offset / 8).unwrap() | if is_last { 0 } else { 0x2000 };
            packet.extend([0x45, 0]);
            packet.extend(length(20 + payload.len()));
            packet.extend([0x12, 0x34]);
            packet.extend(place.to_be_bytes());
            packet.extend([64, 6, 0, 0, 10, 244, 0, 5]);
            packet.extend(to.octets());
        }
        IpAddr::V6(to) => {
            let header = if is_fragment { 8 } else { 0 };
            packet.extend([0x60, 0, 0, 0]);
            packet.extend(length(header + payload.len()));
            packet.extend([if is_fragment { 44 } else { 6 }, 64]);
            packet.extend("fd00:2::5".parse::<std::net::Ipv6Addr>().unwrap().octets());
            packet.extend(to.octets());
            if is_fragment {
                packet.extend([6, 0]);
                packet.extend((u16::try_from(offset).unwrap() | u16::from(!is_last)).to_be_bytes());
                packet.extend([0, 0, 0x12, 0x34]);
            }
        }
    }
    packet.extend(payload);
    packet
}

#[test]
fn fragments_from_a_pod_do_not_pass_the_guard() {
    let net = Net::new();
    // A kernel wants the whole header in the first fragment (RFC 7112).
    let (whole, fragmented) = (0..SEGMENT, [0..24, 24..SEGMENT]);
    let arrives = || {
        [V4, V6].map(|address| {
            (
                segment_arrives(&net, address, std::slice::from_ref(&whole), 0),
                segment_arrives(&net, address, &fragmented, 0),
            )
        })
    };
    // The first packets may be lost while neighbors are found.
    arrives();
    assert_eq!(arrives(), [(true, true); 2], "before the guard both arrive");
    net.inside("node", || guard::apply(&guard::addresses(&[V4, V6]), guard::OPEN)).unwrap();
    assert_eq!(arrives(), [(false, false); 2]);
}

#[test]
fn a_packet_behind_many_extension_headers_does_not_pass_the_guard() {
    let net = Net::new();
    let segment = 0..SEGMENT;
    // The kernel's dissector gives up after 15 headers.
    let arrives = || [1, 30].map(|count| segment_arrives(&net, V6, std::slice::from_ref(&segment), count));
    arrives();
    assert_eq!(arrives(), [true; 2], "before the guard both arrive");
    net.inside("node", || guard::apply(&guard::addresses(&[V6]), guard::OPEN)).unwrap();
    assert_eq!(arrives(), [false; 2]);
}
