//! A server of documents, whatever the method of a request, its query and its body.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;

use crate::{Options, TestServer, text};

/// Documents by path, without the query.
pub type Documents = BTreeMap<String, Vec<u8>>;

/// Serves `documents` at `address`, in the network namespace of the calling thread; each answer ends its
/// connection.
pub fn serve(address: &str, tls: Option<Arc<ServerConfig>>, documents: Documents) -> TestServer {
    let idle = Some(Duration::from_secs(10));
    let options = Options { address: address.to_owned(), tls, one_request: true, idle, ..Options::default() };
    TestServer::run(options, move |request, connection| {
        let path = request.path.split('?').next().unwrap_or_default();
        let (status, body) = documents.get(path).map_or((404, &[][..]), |body| (200, body));
        connection.write_all(&text(status, "Connection: close\r\n", body))
    })
}
