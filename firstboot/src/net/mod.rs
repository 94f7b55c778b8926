//! The agent's side of the Kubernetes API: one connection, reused; every request bounded; back-off with jitter.
//!
//! ```text
//! resolve ─► connection (TCP, TLS: trust) ─► exchange (HTTP/1.1) ─► client ─► answer | error (by class) ─► retry
//! ```
//!
//! No proxy is ever used: the kubelet's way to the API server is the one that must work.

mod answer;
mod client;
mod connection;
mod deadline;
mod error;
mod exchange;
mod head;
pub mod https;
mod network;
pub(crate) mod percent;
mod pinned;
pub(crate) mod plain;
mod plain_connection;
pub mod resolve;
pub mod retry;
pub mod service;
#[cfg(test)]
pub(crate) mod test_server;
pub mod trust;

pub use answer::Answer;
pub use client::{Client, Credential, UnverifiedClient};
pub use deadline::Deadline;
pub use error::Error;
pub(crate) use error::shown;
pub use exchange::read_answer;
pub use network::{Network, Traffic};
