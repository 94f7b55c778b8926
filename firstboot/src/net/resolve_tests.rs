use std::net::TcpListener;
use std::thread;
use std::time::Instant;

use simple_dns::ResourceRecord;
use simple_dns::rdata::{A, AAAA};

use super::*;
use crate::host::root::Root;

/// The reaction of a test's name server to one question.
enum Reply {
    V4(u8),
    NoSuchName,
    Code(RCODE),
    /// An address for A, and this code for AAAA.
    V4AndCode(u8, RCODE),
    Cut(u8),
    Silence,
}

/// A name server that answers questions for A with `reply` of the name. For AAAA it has no address unless the
/// name begins with `six`.
fn name_server(reply: impl Fn(&str) -> Reply + Send + 'static) -> SocketAddr {
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
            break (udp, tcp);
        }
    };
    let address = udp.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = udp.recv_from(&mut buffer) {
            let reply = reply(&asked(&buffer[..length]).0);
            let Some(bytes) = answer(&buffer[..length], &reply, true) else { continue };
            udp.send_to(&bytes, from).unwrap();
            if let Reply::Cut(last) = reply {
                let (mut stream, _) = tcp.accept().unwrap();
                let mut question = vec![0; length + 2];
                stream.read_exact(&mut question).unwrap();
                let bytes = answer(&question[2..], &Reply::V4(last), false).unwrap();
                stream.write_all(&(bytes.len() as u16).to_be_bytes()).unwrap();
                stream.write_all(&bytes).unwrap();
            }
        }
    });
    address
}

fn asked(bytes: &[u8]) -> (String, bool) {
    let packet = Packet::parse(bytes).unwrap();
    (packet.questions[0].qname.to_string(), packet.questions[0].qtype == QTYPE::TYPE(TYPE::AAAA))
}

fn answer(question: &[u8], reply: &Reply, udp: bool) -> Option<Vec<u8>> {
    let (name, six) = asked(question);
    let mut packet = Packet::parse(question).unwrap().into_reply();
    packet.set_flags(PacketFlag::RESPONSE);
    let name = Name::new(&name).unwrap().into_owned();
    match reply {
        Reply::V4(last) | Reply::V4AndCode(last, _) if !six => {
            let record = RData::A(A { address: Ipv4Addr::new(10, 0, 0, *last).into() });
            packet.answers.push(ResourceRecord::new(name, CLASS::IN, 5, record));
        }
        Reply::V4(last) if name.to_string().starts_with("six") => {
            let record = RData::AAAA(AAAA {
                address: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, u16::from(*last)).into(),
            });
            packet.answers.push(ResourceRecord::new(name, CLASS::IN, 5, record));
        }
        Reply::V4(_) => {}
        Reply::V4AndCode(_, code) => *packet.rcode_mut() = *code,
        Reply::NoSuchName => *packet.rcode_mut() = RCODE::NameError,
        Reply::Code(code) => *packet.rcode_mut() = *code,
        Reply::Cut(_) if udp && !six => packet.set_flags(PacketFlag::TRUNCATION),
        Reply::Cut(_) => {}
        Reply::Silence => return None,
    }
    Some(packet.build_bytes_vec().unwrap())
}

fn settings(servers: &[SocketAddr], search: &[&str]) -> Settings {
    Settings {
        servers: servers.to_vec(),
        search: search.iter().map(|domain| (*domain).to_owned()).collect(),
        ndots: 1,
    }
}

fn resolve(settings: &Settings, host: &str) -> Result<Vec<IpAddr>> {
    ask(settings, host, Duration::from_secs(1), Deadline::after(Duration::from_secs(8)))
}

fn v4(last: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, last).into()
}

#[test]
fn literals_localhost_and_the_hosts_file_need_no_name_server() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("etc")).unwrap();
    std::fs::write(
        folder.path().join("etc/hosts"),
        "10.0.0.7 api.example.com api # x\nfd00::7\tAPI\n#10.0.0.8 api\nbad api\n",
    )
    .unwrap();
    let network = Network::new(Root::at(folder.path()));
    let of = |host| addresses(&network, host, 6443, Deadline::after(Duration::from_secs(1))).unwrap();
    for (host, expected) in [
        ("10.0.0.1", vec!["10.0.0.1:6443"]),
        ("fd00::1", vec!["[fd00::1]:6443"]),
        ("localhost", vec!["127.0.0.1:6443", "[::1]:6443"]),
        ("API.example.com.", vec!["10.0.0.7:6443"]),
        ("api", vec!["10.0.0.7:6443", "[fd00::7]:6443"]),
    ] {
        let expected: Vec<SocketAddr> = expected.iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(of(host), expected, "{host}");
    }
    let SocketAddr::V6(zoned) = of("fe80::1%lo")[0] else { panic!("not IPv6") };
    assert_eq!(zoned.scope_id(), nix::net::if_::if_nametoindex("lo").unwrap());
    let failure =
        addresses(&network, "fe80::1%nowhere", 1, Deadline::after(Duration::from_secs(1))).unwrap_err();
    assert!(failure.message.contains("no network interface"), "{failure}");
}

#[test]
fn settings_are_read_as_the_c_library_reads_them() {
    let text = "# x\nnameserver 10.0.0.53\nnameserver fd00::53\nnameserver nonsense\nnameserver 10.0.0.54\nnameserver 10.0.0.55\n\
                search a.example.com b.example.com.\noptions timeout:1 ndots:2\n";
    let settings = Settings::parse(text);
    let servers: Vec<SocketAddr> = ["10.0.0.53:53", "[fd00::53]:53", "10.0.0.54:53"]
        .iter()
        .map(|text| text.parse().unwrap())
        .collect();
    assert_eq!((settings.servers.clone(), settings.ndots), (servers, 2));
    assert_eq!(settings.names("api.x"), ["api.x.a.example.com", "api.x.b.example.com", "api.x"]);
    assert_eq!(settings.names("api.x.y"), ["api.x.y", "api.x.y.a.example.com", "api.x.y.b.example.com"]);
    assert_eq!(settings.names("api."), ["api"]);
    assert_eq!(Settings::parse("").servers, ["127.0.0.1:53".parse().unwrap()]);
}

#[test]
fn both_kinds_of_address_are_asked_for() {
    let server = name_server(|_| Reply::V4(1));
    assert_eq!(resolve(&settings(&[server], &[]), "api.example.com").unwrap(), [v4(1)]);
    let mut found = resolve(&settings(&[server], &[]), "six.example.com").unwrap();
    found.sort();
    assert_eq!(found, [v4(1), "fd00::1".parse().unwrap()]);
}

#[test]
fn the_search_list_is_gone_through() {
    let server =
        name_server(|name| if name == "api.b.example.com" { Reply::V4(2) } else { Reply::NoSuchName });
    assert_eq!(resolve(&settings(&[server], &["a.example.com", "b.example.com"]), "api").unwrap(), [v4(2)]);
    let failure = resolve(&settings(&[server], &[]), "other.example.com").unwrap_err();
    assert_eq!(
        failure.message,
        "resolving other.example.com (name servers 127.0.0.1): there is no such name"
    );
    assert!(failure.transient && failure.kind == ErrorKind::Unreachable);
}

#[test]
fn an_address_counts_although_the_other_question_fails() {
    for code in [RCODE::ServerFailure, RCODE::NotImplemented, RCODE::Refused, RCODE::FormatError] {
        let server = name_server(move |_| Reply::V4AndCode(5, code));
        assert_eq!(resolve(&settings(&[server], &[]), "api.example.com").unwrap(), [v4(5)], "{code:?}");
    }
}

#[test]
fn cut_answers_are_asked_for_again_over_tcp() {
    let server = name_server(|_| Reply::Cut(3));
    assert_eq!(resolve(&settings(&[server], &[]), "api.example.com").unwrap(), [v4(3)]);
}

#[test]
fn a_dead_name_server_costs_one_short_try() {
    let silent = name_server(|_| Reply::Silence);
    let failing = name_server(|_| Reply::Code(RCODE::ServerFailure));
    let good = name_server(|_| Reply::V4(4));
    let started = Instant::now();
    assert_eq!(resolve(&settings(&[failing, silent, good], &[]), "api.example.com").unwrap(), [v4(4)]);
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    let started = Instant::now();
    let failure = resolve(&settings(&[silent], &[]), "api.example.com").unwrap_err();
    assert!(failure.message.contains("127.0.0.1: no answer after 2."), "{failure}");
    assert!(started.elapsed() < Duration::from_secs(4));
}

#[test]
fn nonsense_is_no_answer() {
    for bytes in [&b""[..], b"\0", &[0xff; 64], &[0; 12]] {
        assert!(parse(bytes).is_err() || parse(bytes) == Ok(Some(Vec::new())), "{bytes:?}");
    }
}
