//! The only sockets of the agent: names, TCP, TLS, HTTP. Every request ends by a deadline; retries wait with
//! jitter.
//!
//! ```text
//! url ─► resolve ─► connection (TCP, tls: trust) ─► exchange (HTTP/1.1) ─► http ─► service (metadata)
//!                                                                         ├─► kubernetes::client
//!                                                                         └─► download (long files)
//! ```
//!
//! It never uses a proxy, because the kubelet must reach the API server directly.

pub(crate) mod connection;
mod deadline;
#[cfg(target_os = "linux")]
pub(crate) mod download;
mod endpoint;
pub(crate) mod error;
pub(crate) mod exchange;
pub mod http;
mod network;
pub mod oauth;
mod port;
pub mod resolve;
pub mod retry;
pub mod service;
mod socket;
pub(crate) mod stream;
#[cfg(test)]
pub(crate) mod test_server;
pub(crate) mod tls;
pub mod trust;
pub mod url;

pub use deadline::Deadline;
pub use endpoint::Endpoint;
pub use error::Error;
pub use exchange::read_answer;
pub use network::{Network, Traffic};
pub(crate) use port::try_port;
pub use url::Url;
