//! Resolves names without the C library, because a static program must not load its resolver, and its 10 s
//! for a dead name server are too long.
//!
//! The order: IP literal, `localhost`, `/etc/hosts`, then the name servers of `/etc/resolv.conf` with its
//! search list. Each server gets the questions for A and AAAA at once over UDP (RFC 1035, RFC 3596), and over
//! TCP if the answer is truncated.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpStream, UdpSocket};
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, Question, RCODE, TYPE};

use super::{Deadline, Network};
use crate::error::{ErrorKind, Failure, Result};
use crate::host::files;
use crate::{host, os, paths};

/// Time limit for resolving one name.
const LONGEST: Duration = Duration::from_secs(10);
/// Time to wait for the second kind of address after the first has arrived.
const SECOND_ANSWER: Duration = Duration::from_millis(300);
/// Limit on `/etc/hosts`, in bytes.
const LONGEST_FILE: u64 = 1024 * 1024;
/// Limit on the name servers, as in the C library.
const MOST_SERVERS: usize = 3;
/// Number of rounds through the name servers.
const ROUNDS: usize = 2;
/// Limit on the addresses of one name.
const MOST_ADDRESSES: usize = 16;

/// The addresses of `host`, alternating between IPv4 and IPv6.
pub fn addresses(network: &Network, host: &str, port: u16, deadline: Deadline) -> Result<Vec<SocketAddr>> {
    if let Some(address) = literal(host, port) {
        return address.map(|address| vec![address]);
    }
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    let found = if name == "localhost" || name.ends_with(".localhost") {
        vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
    } else {
        match hosts(&text(network, paths::HOSTS)?, &name) {
            found if !found.is_empty() => found,
            _ => ask(
                &Settings::parse(&host::network::resolver(&network.root)?),
                host,
                network.dns_timeout,
                deadline.within(LONGEST),
            )?,
        }
    };
    Ok(alternate(found)
        .into_iter()
        .take(MOST_ADDRESSES)
        .map(|address| SocketAddr::new(address, port))
        .collect())
}

/// The addresses of `name` in the machine's `/etc/hosts`. Uses no network.
pub fn in_hosts_file(network: &Network, name: &str) -> Result<Vec<IpAddr>> {
    Ok(hosts(&text(network, paths::HOSTS)?, &name.to_ascii_lowercase()))
}

fn text(network: &Network, path: &str) -> Result<String> {
    let bytes = files::read(&network.root.path(path), LONGEST_FILE)?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// An IP literal. An IPv6 address may have a zone (`fe80::1%eth0`).
fn literal(host: &str, port: u16) -> Option<Result<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(Ok(SocketAddr::new(address, port)));
    }
    let (address, zone) = host.split_once('%')?;
    let address = address.parse::<Ipv6Addr>().ok()?;
    let index = zone.parse().ok().or_else(|| os::interface_number(zone));
    let unknown = || {
        Failure::new(ErrorKind::Unreachable, format!("{host}: there is no network interface of that name"))
            .transient()
    };
    Some(index.map(|index| SocketAddrV6::new(address, port, 0, index).into()).ok_or_else(unknown))
}

/// The addresses of a (lower-case) name in a hosts file.
fn hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let line = |line: &str| {
        let mut words = line.split('#').next()?.split_ascii_whitespace();
        let address = words.next()?.parse().ok()?;
        words.any(|word| word.eq_ignore_ascii_case(name)).then_some(address)
    };
    text.lines().filter_map(line).collect()
}

/// The settings in `/etc/resolv.conf` (resolv.conf(5)).
#[derive(Debug, PartialEq, Eq)]
struct Settings {
    servers: Vec<SocketAddr>,
    search: Vec<String>,
    ndots: usize,
}

impl Settings {
    fn parse(text: &str) -> Self {
        let mut settings = Self { servers: Vec::new(), search: Vec::new(), ndots: 1 };
        for line in text.lines() {
            let mut words = line.split(['#', ';']).next().unwrap_or_default().split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => settings
                    .servers
                    .extend(words.next().and_then(|word| literal(word, 53)).and_then(Result::ok)),
                Some("search" | "domain") => {
                    settings.search =
                        words.map(|word| word.trim_end_matches('.').to_owned()).take(6).collect()
                }
                Some("options") => {
                    let ndots = words.find_map(|word| word.strip_prefix("ndots:")?.parse::<usize>().ok());
                    settings.ndots = ndots.unwrap_or(settings.ndots).min(15);
                }
                _ => {}
            }
        }
        settings.search.retain(|domain| !domain.is_empty());
        settings.servers.truncate(MOST_SERVERS);
        if settings.servers.is_empty() {
            settings.servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 53));
        }
        settings
    }

    /// The full names to try for `host`, in order.
    fn names(&self, host: &str) -> Vec<String> {
        if let Some(absolute) = host.strip_suffix('.') {
            return vec![absolute.to_owned()];
        }
        let mut names: Vec<String> = self.search.iter().map(|domain| format!("{host}.{domain}")).collect();
        let position = if host.matches('.').count() >= self.ndots { 0 } else { names.len() };
        names.insert(position, host.to_owned());
        names
    }
}

/// A name server's answer about one name.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Addresses(Vec<IpAddr>),
    /// The name does not exist or has no address.
    Nothing,
}

fn ask(settings: &Settings, host: &str, timeout: Duration, deadline: Deadline) -> Result<Vec<IpAddr>> {
    let mut trouble = None;
    for name in settings.names(host) {
        match ask_in_turn(settings, &name, timeout, deadline) {
            Ok(Said::Addresses(addresses)) => return Ok(addresses),
            Ok(Said::Nothing) => {}
            Err(why) => trouble = Some(why),
        }
    }
    let servers = settings
        .servers
        .iter()
        .map(|server| server.ip().to_string())
        .collect::<Vec<_>>()
        .join(", ");
    let why = match trouble {
        Some(why) => format!("{why} after {:.1} s", deadline.elapsed().as_secs_f64()),
        None => "there is no such name".to_owned(),
    };
    Err(Failure::new(ErrorKind::Unreachable, format!("resolving {host} (name servers {servers}): {why}"))
        .help("check the name and DNS, or use an IP address as endpoint")
        .transient())
}

fn ask_in_turn(
    settings: &Settings,
    name: &str,
    timeout: Duration,
    deadline: Deadline,
) -> std::result::Result<Said, String> {
    let mut trouble = "no name server answers".to_owned();
    for server in settings.servers.iter().cycle().take(settings.servers.len() * ROUNDS) {
        if deadline.has_passed() {
            break;
        }
        match ask_one(*server, name, deadline.within(timeout)) {
            Ok(said) => return Ok(said),
            Err(why) => trouble = format!("{}: {why}", server.ip()),
        }
    }
    Err(trouble)
}

/// Asks one server for both kinds of address at once.
fn ask_one(server: SocketAddr, name: &str, deadline: Deadline) -> std::result::Result<Said, String> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))
        .and_then(|socket| socket.connect(server).map(|()| socket))
        .map_err(unanswered)?;
    let mut open = [Query::new(name, TYPE::A)?, Query::new(name, TYPE::AAAA)?].to_vec();
    for query in &open {
        socket.send(&query.bytes).map_err(unanswered)?;
    }
    let (mut found, mut trouble, mut patience) = (Vec::new(), None, deadline);
    let mut buffer = [0; 4096];
    while !open.is_empty() {
        let received = patience
            .timeout()
            .and_then(|timeout| socket.set_read_timeout(Some(timeout)))
            .and_then(|()| socket.recv(&mut buffer));
        let length = match received {
            Ok(length) => length,
            Err(_) if !found.is_empty() => break,
            Err(error) => return Err(unanswered(error)),
        };
        let Some(position) = open.iter().position(|query| query.is_answered_by(&buffer[..length])) else {
            continue;
        };
        let query = open.swap_remove(position);
        match whole_answer(&buffer[..length], server, &query, deadline) {
            Ok(answer) => found.extend(answer),
            Err(why) => trouble = Some(why),
        }
        if !found.is_empty() {
            patience = deadline.within(SECOND_ANSWER);
        }
    }
    // Many name servers fail for AAAA alone: what the other question gave counts.
    if let Some(why) = trouble.filter(|_| found.is_empty()) {
        return Err(why);
    }
    Ok(if found.is_empty() { Said::Nothing } else { Said::Addresses(found) })
}

/// Why there is no answer.
fn unanswered(error: std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => "no answer".to_owned(),
        _ => crate::error::plain(&error),
    }
}

/// The addresses in an answer, which is asked for again over TCP if it is truncated.
fn whole_answer(
    bytes: &[u8],
    server: SocketAddr,
    query: &Query,
    deadline: Deadline,
) -> std::result::Result<Vec<IpAddr>, String> {
    match parse(bytes)? {
        Some(answer) => Ok(answer),
        None => over_tcp(server, query, deadline)
            .map_err(unanswered)?
            .ok_or_else(|| "the answer is cut".to_owned()),
    }
}

/// A pending question.
#[derive(Clone)]
struct Query {
    id: u16,
    name: String,
    kind: TYPE,
    bytes: Vec<u8>,
}

impl Query {
    fn new(name: &str, kind: TYPE) -> std::result::Result<Self, String> {
        let mut id = [0; 2];
        SystemRandom::new().fill(&mut id).map_err(|_| "no randomness")?;
        let id = u16::from_be_bytes(id);
        let mut packet = Packet::new_query(id);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        let question = Name::new(name).map_err(|_| "it is no DNS name")?;
        packet.questions.push(Question::new(question, QTYPE::TYPE(kind), CLASS::IN.into(), false));
        let bytes = packet.build_bytes_vec().map_err(|_| "it is no DNS name")?;
        Ok(Self { id, name: name.to_owned(), kind, bytes })
    }

    fn is_answered_by(&self, bytes: &[u8]) -> bool {
        let Ok(packet) = Packet::parse(bytes) else { return false };
        let asked = |question: &Question<'_>| {
            question.qtype == QTYPE::TYPE(self.kind)
                && question.qname.to_string().eq_ignore_ascii_case(&self.name)
        };
        packet.id() == self.id
            && packet.has_flags(PacketFlag::RESPONSE)
            && packet.questions.first().is_some_and(asked)
    }
}

/// The addresses in an answer; none if it is truncated (ask over TCP); an error if the server could not
/// answer.
pub fn parse(bytes: &[u8]) -> std::result::Result<Option<Vec<IpAddr>>, String> {
    let packet = Packet::parse(bytes).map_err(|_| "the answer is not DNS")?;
    if packet.has_flags(PacketFlag::TRUNCATION) {
        return Ok(None);
    }
    match packet.rcode() {
        RCODE::NoError | RCODE::NameError => {}
        code => return Err(format!("the name server says {code:?}")),
    }
    let address = |record: &simple_dns::ResourceRecord<'_>| match &record.rdata {
        RData::A(address) => Some(IpAddr::from(Ipv4Addr::from(address.address))),
        RData::AAAA(address) => Some(IpAddr::from(Ipv6Addr::from(address.address))),
        _ => None,
    };
    Ok(Some(packet.answers.iter().filter_map(address).collect()))
}

/// The same question over TCP, where each message is preceded by its length.
fn over_tcp(server: SocketAddr, query: &Query, deadline: Deadline) -> std::io::Result<Option<Vec<IpAddr>>> {
    let mut stream = TcpStream::connect_timeout(&server, deadline.timeout()?)?;
    let mut message = (query.bytes.len() as u16).to_be_bytes().to_vec();
    message.extend_from_slice(&query.bytes);
    stream.set_write_timeout(Some(deadline.timeout()?))?;
    stream.write_all(&message)?;
    let mut length = [0; 2];
    read_exact(&mut stream, &mut length, deadline)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    read_exact(&mut stream, &mut answer, deadline)?;
    if !query.is_answered_by(&answer) {
        return Ok(None);
    }
    parse(&answer).map_err(std::io::Error::other)
}

fn read_exact(stream: &mut TcpStream, mut buffer: &mut [u8], deadline: Deadline) -> std::io::Result<()> {
    while !buffer.is_empty() {
        stream.set_read_timeout(Some(deadline.timeout()?))?;
        match stream.read(buffer)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            length => buffer = &mut buffer[length..],
        }
    }
    Ok(())
}

/// Mixes IPv4 and IPv6 addresses in turn, so that a network without one of them still reaches the other.
fn alternate(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let (v4, v6): (Vec<_>, Vec<_>) = addresses.into_iter().partition(IpAddr::is_ipv4);
    let mut mixed = Vec::new();
    let (mut v4, mut v6) = (v4.into_iter(), v6.into_iter());
    loop {
        let before = mixed.len();
        mixed.extend(v4.next());
        mixed.extend(v6.next());
        if mixed.len() == before {
            mixed.dedup();
            return mixed;
        }
    }
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
