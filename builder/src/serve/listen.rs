//! Connections: how many, how long, and how they end.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use super::service::{Peer, Service};
use super::tls::Authority;
use super::wire::Wire;
use crate::error::{Error, ErrorKind, Result};

/// How many connections are open at once; more wait.
const MOST: usize = 12_000;

/// Files that the process needs besides connections.
const OTHER_FILES: u64 = 200;

/// How long a client may take for the head of a request, also of the next one of its connection.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);

/// How long a client may take to begin TLS.
const TLS_PATIENCE: Duration = Duration::from_secs(10);

/// How long a connection may last: a disk image over a slow line.
const LONGEST: Duration = Duration::from_secs(4 * 60 * 60);

/// How long open connections may take to end when the server is asked to.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The longest head of a request, and what is kept of an answer before it goes to the socket.
const BUFFER: usize = 8 << 10;

/// What the kernel keeps of an answer, half of what it takes for itself: enough for a rack, and not more for
/// ten thousand connections than all sockets may have together (tcp(7), tcp_mem).
const SOCKET_BUFFER: u32 = 64 << 10;

/// Threads that read files.
const READERS: usize = 16;

/// The bound ports.
pub(super) struct Listener {
    runtime: Runtime,
    http: TcpListener,
    https: Option<(TcpListener, Arc<Authority>)>,
    addresses: (SocketAddr, Option<SocketAddr>),
    most: usize,
    most_of_one: usize,
}

impl Listener {
    /// Binds the ports. One address may have `most_of_one` connections.
    pub fn bind(
        http: SocketAddr,
        https: Option<SocketAddr>,
        authority: Option<Arc<Authority>>,
        most_of_one: usize,
    ) -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .enable_all()
            .max_blocking_threads(READERS)
            .build()
            .map_err(|error| Error::new(ErrorKind::Io, format!("starting threads: {error}")))?;
        let _inside = runtime.enter();
        let http = bind("--listen", http)?;
        let https = match https.zip(authority) {
            Some((address, authority)) => {
                let listener = bind("--https-listen", address)?;
                // A name that cannot be in a certificate shows here.
                authority.server(local(&listener)?.ip())?;
                Some((listener, authority))
            }
            None => None,
        };
        let https_address = https.as_ref().map(|(listener, _)| local(listener)).transpose()?;
        let addresses = (local(&http)?, https_address);
        let most = allow_files();
        drop(_inside);
        Ok(Self { runtime, http, https, addresses, most, most_of_one })
    }

    pub fn address(&self) -> SocketAddr {
        self.addresses.0
    }

    pub fn https_address(&self) -> Option<SocketAddr> {
        self.addresses.1
    }

    pub fn https_port(&self) -> Option<u16> {
        self.addresses.1.map(|address| address.port())
    }

    /// Serves until a signal asks for the end.
    pub fn serve(self, service: &Arc<Service>) -> Result<()> {
        let Self { runtime, http, https, most, most_of_one, .. } = self;
        let (end, ending) = watch::channel(());
        let slots = Arc::new(Semaphore::new(most));
        let shared =
            Arc::new(Shared { service: service.clone(), addresses: Mutex::default(), most_of_one, ending });
        runtime.block_on(async {
            let refused = |error| Error::new(ErrorKind::Io, format!("waiting for signals: {error}"));
            let mut terminate = signal(SignalKind::terminate()).map_err(refused)?;
            let mut interrupt = signal(SignalKind::interrupt()).map_err(refused)?;
            let plain = tokio::spawn(accept(http, None, shared.clone(), slots.clone()));
            let secure = https.map(|(listener, authority)| {
                tokio::spawn(accept(listener, Some(authority), shared.clone(), slots.clone()))
            });
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            plain.abort();
            secure.iter().for_each(tokio::task::JoinHandle::abort);
            let _ = end.send(());
            let all = u32::try_from(most).unwrap_or(u32::MAX);
            let _ = tokio::time::timeout(LAST_WORDS, slots.acquire_many(all)).await;
            Ok(())
        })?;
        runtime.shutdown_timeout(Duration::from_secs(1));
        Ok(())
    }
}

/// What connections share.
struct Shared {
    service: Arc<Service>,
    /// How many connections each address has.
    addresses: Mutex<HashMap<IpAddr, usize>>,
    most_of_one: usize,
    ending: watch::Receiver<()>,
}

/// The place of a connection; free again when dropped.
struct Place {
    shared: Arc<Shared>,
    address: IpAddr,
    _slot: OwnedSemaphorePermit,
}

impl Place {
    /// A place for a connection of `address`; none if it has enough.
    fn take(shared: &Arc<Shared>, address: IpAddr, slot: OwnedSemaphorePermit) -> Option<Self> {
        let mut addresses = shared.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let count = addresses.entry(address).or_default();
        if *count >= shared.most_of_one {
            return None;
        }
        *count += 1;
        Some(Self { shared: shared.clone(), address, _slot: slot })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut addresses = self.shared.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = addresses.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&self.address);
            }
        }
    }
}

async fn accept(
    listener: TcpListener,
    authority: Option<Arc<Authority>>,
    shared: Arc<Shared>,
    slots: Arc<Semaphore>,
) {
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            // A client that has gone already, or no file is free for the moment.
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let address = address.ip().to_canonical();
        let Some(place) = Place::take(&shared, address, slot) else { continue };
        let authority = authority.clone();
        tokio::spawn(async move {
            let _ = tokio::time::timeout(LONGEST, connection(stream, authority, &place)).await;
        });
    }
}

async fn connection(stream: TcpStream, authority: Option<Arc<Authority>>, place: &Place) {
    let Ok(local) = stream.local_addr() else { return };
    let local = SocketAddr::new(local.ip().to_canonical(), local.port());
    let _ = stream.set_nodelay(true);
    let peer =
        Peer { address: place.address, local, is_secure: authority.is_some(), delivery: Mutex::default() };
    match authority {
        None => http(stream, peer, &place.shared).await,
        Some(authority) => {
            let server = match authority.server(local.ip()) {
                Ok(server) => server,
                Err(error) => return super::warn(&error),
            };
            let handshake = TlsAcceptor::from(server).accept(stream);
            if let Ok(Ok(stream)) = tokio::time::timeout(TLS_PATIENCE, handshake).await {
                http(stream, peer, &place.shared).await;
            }
        }
    }
}

async fn http<S: AsyncRead + AsyncWrite + Unpin>(stream: S, peer: Peer, shared: &Shared) {
    let (peer, is_whole) = (Arc::new(peer), Arc::new(AtomicBool::new(false)));
    let carried = Carried { peer: peer.clone(), is_whole: is_whole.clone(), service: shared.service.clone() };
    let answer = service_fn(|request| shared.service.clone().answer(request, peer.clone()));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(BUFFER)
        .half_close(false)
        .serve_connection(TokioIo::new(Wire::new(stream, is_whole)), answer);
    tokio::pin!(connection);
    let mut ending = shared.ending.clone();
    tokio::select! {
        _ = &mut connection => {}
        // It changes once.
        _ = ending.changed() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
    drop(carried);
}

/// Tells the machines what became of a config, however its connection ends.
struct Carried {
    peer: Arc<Peer>,
    is_whole: Arc<AtomicBool>,
    service: Arc<Service>,
}

impl Drop for Carried {
    fn drop(&mut self) {
        let delivery = self.peer.delivery.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(delivery) = delivery {
            let is_whole = delivery.is_read && self.is_whole.load(Ordering::Acquire);
            self.service
                .machines
                .delivered(&delivery.machine, &delivery.id, self.peer.address, is_whole);
        }
    }
}

fn bind(option: &str, address: SocketAddr) -> Result<TcpListener> {
    let wrong = |error: std::io::Error| {
        let new = Error::new(ErrorKind::Io, format!("listening at {address}: {error}"));
        match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                new.help(format!("another program has that port: end it, or choose another {option}"))
            }
            std::io::ErrorKind::PermissionDenied => new
                .help(format!("ports below 1024 need root or CAP_NET_BIND_SERVICE: choose another {option}")),
            _ => new.help(format!("choose an address of this machine with {option}")),
        }
    };
    let socket = match address {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4(),
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6(),
    };
    let socket = socket.map_err(wrong)?;
    // Connections of an earlier server may still be ending.
    socket.set_reuseaddr(true).map_err(wrong)?;
    // Connections have what their listener has.
    socket.set_send_buffer_size(SOCKET_BUFFER).map_err(wrong)?;
    socket.bind(address).map_err(wrong)?;
    socket.listen(4096).map_err(wrong)
}

fn local(listener: &TcpListener) -> Result<SocketAddr> {
    listener
        .local_addr()
        .map_err(|error| Error::new(ErrorKind::Io, format!("asking for the port: {error}")))
}

/// Allows the process as many open files as it may have, and says how many connections that is.
fn allow_files() -> usize {
    let wanted = MOST as u64 + OTHER_FILES;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 256 };
    let allowed = soft.max(wanted.min(hard));
    let raised = setrlimit(Resource::RLIMIT_NOFILE, allowed, hard).is_ok();
    let limit = if raised { allowed } else { soft };
    usize::try_from(limit.saturating_sub(OTHER_FILES)).unwrap_or(MOST).clamp(16, MOST)
}
