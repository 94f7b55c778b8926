//! The test kit's server in the agent's types.

use serde_json::json;
pub(crate) use testkit::{Ca, Identity, Pair, Reply, TestServer, message};

use super::Network;
use super::trust::Authorities;
use crate::host::root::Root;
use crate::kubernetes::server::Server;

/// A server, used as an API server.
pub(crate) trait ApiServer {
    fn server(&self) -> Server;
}

impl ApiServer for TestServer {
    fn server(&self) -> Server {
        format!("https://{}", self.address).parse().unwrap()
    }
}

/// A certificate authority, used as a trusted one.
pub(crate) trait Trusted {
    fn authorities(&self) -> Authorities;
}

impl Trusted for Ca {
    fn authorities(&self) -> Authorities {
        Authorities::from_pem(self.pem().as_bytes()).unwrap()
    }
}

/// A network without a machine's files.
pub(crate) fn network() -> Network {
    Network::new(Root::at("/nonexistent"))
}

/// An API server's answer without success.
pub(crate) fn status(code: u16, message: &str) -> Reply {
    Reply::Json(
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code}),
    )
}
