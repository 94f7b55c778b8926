//! Gets what a URL names that whoever made the machine named: on the kernel command line, or in signed or pinned user-data.

use std::time::Duration;

use crate::document::{self, Document};
use crate::error::{ErrorKind, Failure, Result};
use crate::host::root::Root;
use crate::join::discovery;
use crate::kubernetes::endpoint::Endpoint;
use crate::net::plain::Plain;
use crate::net::retry::{self, Backoff};
use crate::net::trust::Authorities;
use crate::net::{Deadline, Network};

/// How long a URL may take; the network may come up only now.
const URL_LIMIT: Duration = Duration::from_secs(180);

/// At most [`document::LIMIT`] bytes; https by the system's CAs.
pub fn fetch(root: &Root, url: &str) -> Result<Document> {
    let (network, deadline) = (Network::new(root.clone()), Deadline::after(URL_LIMIT));
    let bytes = match url.strip_prefix("http://") {
        Some(rest) => fetch_plain(&network, rest, deadline)?,
        None => discovery::fetch(&network, url, &Authorities::system()?, deadline, &mut Backoff::new())?,
    };
    Document::new(bytes.into()).ok_or_else(|| {
        Failure::new(ErrorKind::Source, format!("it is longer than {} bytes", document::LIMIT))
    })
}

fn fetch_plain(network: &Network, rest: &str, deadline: Deadline) -> Result<Vec<u8>> {
    let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let with_port = if authority.rsplit(']').next().is_some_and(|tail| tail.contains(':')) {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    };
    let endpoint: Endpoint = with_port
        .parse()
        .map_err(|why| Failure::new(ErrorKind::Source, format!("the URL's host: {why}")))?;
    let mut backoff = Backoff::new();
    retry::until(deadline, &mut backoff, || {
        let server = Plain {
            network,
            endpoint: &endpoint,
            limit: document::LIMIT,
            deadline: deadline.within(network.request_timeout),
        };
        let answer = server.get(path)?;
        match answer.status {
            200 => Ok(answer.body),
            status => {
                let failure = Failure::new(ErrorKind::Source, format!("http://{endpoint} answers {status}"));
                Err(if status >= 500 || status == 404 { failure.transient() } else { failure }.into())
            }
        }
    })
}
