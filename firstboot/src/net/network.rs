//! How this machine reaches out: its resolver's files, the bounds of requests, and what has been sent so far.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::host::root::Root;

/// What every connection of a join has in common. Clones share the counters.
#[derive(Debug, Clone)]
pub struct Network {
    /// Where `/etc/hosts` and `/etc/resolv.conf` are found.
    pub root: Root,
    /// The longest that one request may take, connecting included (a watch: until its first line).
    pub request_timeout: Duration,
    /// The longest that one of several addresses may take to accept a connection.
    pub connect_timeout: Duration,
    /// The longest that a try of one name server may take.
    pub dns_timeout: Duration,
    traffic: Arc<Counters>,
}

/// What has gone over the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// HTTP requests sent, repeated ones included.
    pub requests: u64,
    /// TLS connections opened.
    pub connections: u64,
    /// Bytes sent, TLS included.
    pub sent: u64,
    /// Bytes received, TLS included.
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
    /// The network of the machine whose files begin at `root`; 10 s for a request, as kubeadm has it.
    pub fn new(root: Root) -> Self {
        Self {
            root,
            request_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(3),
            dns_timeout: Duration::from_secs(2),
            traffic: Arc::default(),
        }
    }

    /// What has gone over the wire so far.
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
