//! The network of this machine: the resolver's files, the limits of requests, and counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::host::root::Root;

/// Settings and counters of all connections of a join. Clones share the counters.
#[derive(Debug, Clone)]
pub struct Network {
    /// The root of `/etc/hosts` and `/etc/resolv.conf`.
    pub root: Root,
    /// Time limit of one request, including connecting. For a watch: until its first line.
    pub request_timeout: Duration,
    /// Time limit for one of several addresses to accept a connection.
    pub connect_timeout: Duration,
    /// Time limit of one query to one name server.
    pub dns_timeout: Duration,
    traffic: Arc<Counters>,
}

/// Counters of the traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// HTTP requests sent, including repeated ones.
    pub requests: u64,
    /// TLS connections opened.
    pub connections: u64,
    /// Bytes sent, including TLS.
    pub sent: u64,
    /// Bytes received, including TLS.
    pub received: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub requests: AtomicU64,
    pub connections: AtomicU64,
    pub sent: AtomicU64,
    pub received: AtomicU64,
}

impl Network {
    /// The network of the machine with its files below `root`. A request may take 10 s, as with kubeadm.
    pub fn new(root: Root) -> Self {
        Self {
            root,
            request_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(3),
            dns_timeout: Duration::from_secs(2),
            traffic: Arc::default(),
        }
    }

    /// The traffic so far.
    pub fn traffic(&self) -> Traffic {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { requests, connections, sent, received } = &*self.traffic;
        Traffic {
            requests: load(requests),
            connections: load(connections),
            sent: load(sent),
            received: load(received),
        }
    }

    pub(super) fn counters(&self) -> &Arc<Counters> {
        &self.traffic
    }
}

impl Counters {
    pub fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }
}
