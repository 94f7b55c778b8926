//! Fetches a URL that the operator configured: on the kernel command line, or in signed or pinned user data.

use crate::document::{self, Document};
use crate::error::{ErrorKind, Failure, Result};
use crate::host::root::Root;
use crate::join::discovery;
use crate::net::http::{self, Method, Request};
use crate::net::retry::{self, Backoff};
use crate::net::trust::{Authorities, Trust};
use crate::net::{Deadline, Network, Url};

/// At most [`document::LIMIT`] bytes; https by the system's CAs.
pub fn fetch(root: &Root, url: &str, deadline: Deadline) -> Result<Document> {
    let network = Network::new(root.clone());
    let bytes = match url.starts_with("http://") {
        true => fetch_plain(&network, url, deadline)?,
        false => discovery::fetch(&network, url, &Authorities::system()?, deadline, &mut Backoff::new())?,
    };
    Document::new(bytes.into()).ok_or_else(|| {
        Failure::new(ErrorKind::Source, format!("it is longer than {} bytes", document::LIMIT))
    })
}

fn fetch_plain(network: &Network, url: &str, deadline: Deadline) -> Result<Vec<u8>> {
    let server = url
        .parse::<Url>()
        .map_err(|why| Failure::new(ErrorKind::Source, format!("the URL's host: {why}")))?
        .endpoint;
    let request = Request { limit: document::LIMIT, ..Request::new(Method::GET, url, &Trust::Nobody) };
    retry::until(deadline, &mut Backoff::new(), || {
        let reply = http::send(network, &request, deadline)?;
        match reply.status {
            200 => Ok(reply.body),
            status => {
                let failure = Failure::new(ErrorKind::Source, format!("http://{server} answers {status}"));
                Err(if status >= 500 || status == 404 { failure.transient() } else { failure }.into())
            }
        }
    })
}
