//! The server: listens, answers, applies faults and records requests.

use std::io::{self, Read};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt, shutdown, socket,
    sockopt,
};

use crate::error::{Error, Result};
use crate::fault::{Act, Fault, TRAP};
use crate::fault_injection;
use crate::http::{self, Answer, Request};
use crate::journal::{Entry, Journal, harmless};
use crate::keeper::Keeper;
use crate::platform::Form;
use crate::routes::Prepared;
use crate::token::Tokens;

/// The backlog of connections.
const WAITING: i32 = 128;

/// How long a client may take to close its side of a finished connection.
const LINGERS: Duration = Duration::from_secs(2);

/// The most bytes that a client may still send then.
const MOST_UNREAD: u64 = 1 << 20;

/// The state that all connections share.
#[derive(Debug)]
pub struct Shared {
    /// The services.
    pub services: Vec<Prepared>,
    /// The form of the platform's documents.
    pub form: Form,
    /// The faults, each with the number of requests that have met it.
    pub faults: Vec<(Fault, AtomicU32)>,
    /// The tokens.
    pub tokens: Tokens,
    /// The keeper of the user data.
    pub keeper: Option<Keeper>,
    /// The recorded requests.
    pub journal: Journal,
    /// The start of the simulation.
    pub began: Instant,
    /// Whether the simulation has ended.
    pub is_over: AtomicBool,
    /// The open connections, which end with the simulation.
    pub open: Mutex<Vec<TcpStream>>,
}

/// A running simulation; it ends when dropped.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    sockets: Vec<Arc<OwnedFd>>,
}

/// An address to listen at, and the number of its service; without a number, all services.
pub type Place = (SocketAddr, Option<usize>);

impl Running {
    /// Listens at all addresses, in the network namespace of the calling thread.
    pub fn start(shared: Shared, places: &[Place]) -> Result<Self> {
        let shared = Arc::new(shared);
        let mut running = Self { shared: Arc::clone(&shared), addresses: Vec::new(), sockets: Vec::new() };
        for (address, service) in places {
            let refused = |error: io::Error| {
                Error::system(format!("listening at {address}: {error}"))
                    .help("name a free address with --listen, such as 127.0.0.1:0")
            };
            let (socket, bound) = reserve(*address).map_err(refused)?;
            running.addresses.push(bound);
            running.sockets.push(Arc::clone(&socket));
            if shared.has(Act::Refuse) {
                continue;
            }
            let (delay, shared, service) = (shared.delay(), Arc::clone(&shared), *service);
            if delay.is_zero() {
                listen(&socket, backlog()).map_err(|error| refused(error.into()))?;
            }
            thread::spawn(move || {
                thread::sleep(delay);
                accept(&socket, &shared, service)
            });
        }
        Ok(running)
    }

    /// The addresses at which it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// `http://ADDRESS:PORT` of the first address.
    pub fn url(&self) -> String {
        self.addresses.first().map(|address| format!("http://{address}")).unwrap_or_default()
    }

    /// The recorded requests.
    pub fn journal(&self) -> &Journal {
        &self.shared.journal
    }

    /// The names of the pieces of user data that its keeper still has.
    pub fn kept(&self) -> Vec<String> {
        self.shared.keeper.as_ref().map(Keeper::left).unwrap_or_default()
    }

    /// The number of issued tokens.
    pub fn tokens(&self) -> u64 {
        self.shared.tokens.count()
    }

    /// Whether a client followed a redirect to the document that no client may use.
    pub fn was_trapped(&self) -> bool {
        !self.journal().of(TRAP).is_empty()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        for socket in &self.sockets {
            // A socket that does not listen yet has nothing to shut down.
            let _ = shutdown(socket.as_raw_fd(), nix::sys::socket::Shutdown::Both);
        }
        for stream in self.shared.lock_open().drain(..) {
            // The client may have disconnected already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// A socket that has its address but does not listen: connections are refused.
fn reserve(address: SocketAddr) -> io::Result<(Arc<OwnedFd>, SocketAddr)> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    if address.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    }
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    let bound = TcpListener::from(socket.try_clone()?).local_addr()?;
    Ok((Arc::new(socket), bound))
}

fn backlog() -> Backlog {
    Backlog::new(WAITING).unwrap_or(Backlog::MAXCONN)
}

/// A second call of listen changes nothing.
fn accept(socket: &OwnedFd, shared: &Arc<Shared>, service: Option<usize>) {
    if shared.is_over.load(Ordering::Acquire) || listen(socket, backlog()).is_err() {
        return;
    }
    let Ok(listener) = socket.try_clone().map(TcpListener::from) else { return };
    while let Ok((stream, from)) = listener.accept() {
        if shared.is_over.load(Ordering::Acquire) {
            return;
        }
        let shared = Arc::clone(shared);
        // It is not an error if a client disconnects.
        thread::spawn(move || drop(shared.serve(stream, from, service)));
    }
}

/// Ends a connection so that its last answer arrives: closing it with unread bytes would reset it (RFC 9112,
/// 9.6).
fn part(stream: &mut TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(LINGERS))?;
    io::copy(&mut stream.take(MOST_UNREAD), &mut io::sink()).map(drop)
}

impl Shared {
    fn has(&self, act: Act) -> bool {
        self.faults.iter().any(|fault| fault.0.script.act == act)
    }

    fn delay(&self) -> Duration {
        let late = self.faults.iter().find(|fault| fault.0.script.act == Act::Late);
        Duration::from_secs(late.and_then(|fault| fault.0.number).unwrap_or(0).into())
    }

    fn lock_open(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.open.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn serve(&self, mut stream: TcpStream, from: SocketAddr, service: Option<usize>) -> io::Result<()> {
        self.lock_open().push(stream.try_clone()?);
        let ended = self.converse(&mut stream, from, service);
        // The clone would keep the connection open.
        let peer = stream.peer_addr().ok();
        self.lock_open()
            .retain(|open| open.peer_addr().ok().is_some_and(|other| Some(other) != peer));
        ended
    }

    fn converse(&self, stream: &mut TcpStream, from: SocketAddr, service: Option<usize>) -> io::Result<()> {
        let to = stream.local_addr()?.ip();
        let mut kept = Vec::new();
        while let Some(mut request) = http::read(stream, &mut kept)? {
            request.source_port = from.port();
            let fault = self.fault(&request);
            let service = self.service(service, &request);
            let answer = self.answer(service, &request);
            let from = from.to_string();
            let status = fault.and_then(|script| script.act.status()).unwrap_or(answer.status);
            self.journal.add(Entry {
                from,
                status,
                fault: fault.map(|script| script.name),
                ..self.entry(&request, to, service)
            });
            let goes_on = match fault.map_or(Act::Nothing, |script| script.act) {
                Act::Nothing | Act::Withdraw => answer.write(stream).map(|()| true)?,
                act => fault_injection::write(stream, &answer, act, self.form)?,
            };
            if !goes_on {
                break;
            }
            if !request.keeps_alive {
                return part(stream);
            }
        }
        Ok(())
    }

    /// The fault for this request. Its effect on tokens is already applied.
    fn fault(&self, request: &Request) -> Option<&'static crate::fault::Script> {
        let met = self.faults.iter().find(|(fault, met)| self.meets(fault, met, request))?;
        met.1.fetch_add(1, Ordering::Relaxed);
        if met.0.script.act == Act::Withdraw {
            self.tokens.withdraw();
        }
        Some(met.0.script)
    }

    fn meets(&self, fault: &Fault, met: &AtomicU32, request: &Request) -> bool {
        let is_one_of_requests = !matches!(
            fault.script.act,
            Act::Nothing | Act::Late | Act::Refuse | Act::NoRoute | Act::BlackHole
        );
        let has_good_token = || {
            let desks = self.services.iter().filter_map(|service| service.service().token.as_ref());
            desks
                .filter_map(|desk| request.header(&desk.header))
                .any(|token| self.tokens.is_good(token))
        };
        is_one_of_requests
            && request.path() != TRAP
            && fault.number.is_none_or(|number| met.load(Ordering::Relaxed) < number)
            && fault.concerns(request.path())
            && (fault.script.act != Act::Withdraw || has_good_token())
    }

    fn service(&self, service: Option<usize>, request: &Request) -> Option<&Prepared> {
        match service {
            Some(number) => self.services.get(number),
            None => self
                .services
                .iter()
                .find(|service| service.knows(request.path()))
                .or(self.services.first()),
        }
    }

    fn answer(&self, service: Option<&Prepared>, request: &Request) -> Answer {
        match service {
            _ if request.path() == TRAP => Answer::of(200, "trapped: true\n"),
            Some(service) if service.service().keeper => match &self.keeper {
                Some(keeper) => keeper.answer(request),
                None => Answer::of(404, "nothing is kept here\n"),
            },
            Some(service) => service.answer(request, &self.tokens),
            None => Answer::of(404, "this platform has no service\n"),
        }
    }

    fn entry(&self, request: &Request, to: IpAddr, service: Option<&Prepared>) -> Entry {
        let desk = service.and_then(|service| service.service().token.as_ref());
        let secrets: Vec<&str> =
            desk.iter().map(|desk| desk.header.as_str()).chain(["x-amz-security-token"]).collect();
        Entry {
            seconds: self.began.elapsed().as_secs_f64(),
            method: request.method.clone(),
            target: request.target.clone(),
            headers: harmless(&request.headers, &secrets),
            body: request.body.clone(),
            source_port: request.source_port,
            to: to.to_string(),
            has_token: desk.is_some_and(|desk| request.header(&desk.header).is_some()),
            needs_token: desk.is_some_and(|desk| desk.path != request.path()),
            ..Entry::default()
        }
    }
}
