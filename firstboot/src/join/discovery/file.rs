//! Discovery by a kubeconfig, from a file or an `https://` URL.

use std::path::Path;

use super::{CLUSTER_INFO, Cluster, Request, Verification, bearer_of};
use crate::error::{ErrorKind, Failure, Result};
use crate::host::files;
use crate::host::root::Root;
use crate::join::cluster::ConfigMap;
use crate::kubernetes::client::{Client, Credential};
use crate::kubernetes::kubeconfig::{self, Kubeconfig, LONGEST, Material, User};
use crate::kubernetes::server::Server;
use crate::net::retry::{self, Backoff};
use crate::net::trust::{Authorities, ClientCertificate};
use crate::net::{Deadline, Error, Network, Url, url};
use crate::secret::Secret;

/// Limit on the redirects of a URL.
const MOST_REDIRECTS: usize = 5;

/// Discovery by a file of the node.
pub(super) fn discover(
    network: &Network,
    path: &Path,
    request: &Request<'_>,
    backoff: &mut Backoff,
) -> Result<Cluster> {
    let named = |why: String| {
        Failure::new(ErrorKind::Config, format!("the discovery file {}: {why}", path.display()))
    };
    let bytes = files::read(&network.root.path(path), LONGEST as u64)?
        .ok_or_else(|| named("there is no such file".to_owned()))?;
    let kubeconfig = kubeconfig::parse(&bytes, path.parent().unwrap_or(Path::new("/"))).map_err(named)?;
    cluster(network, kubeconfig, Verification::File(path.to_owned()), request, backoff)
}

/// Discovery by a URL. The system's CAs verify the server.
pub(super) fn discover_url(
    network: &Network,
    url: &str,
    request: &Request<'_>,
    backoff: &mut Backoff,
) -> Result<Cluster> {
    let shown = url::shown(url);
    let fetched = fetch(network, url, &Authorities::system()?, request.deadline, backoff);
    let bytes = fetched.map_err(|failure| failure.doing(format!("the discovery kubeconfig from {shown}")))?;
    let kubeconfig = kubeconfig::parse(&bytes, Path::new("/"))
        .and_then(|kubeconfig| {
            if names_files(&kubeconfig) {
                Err("it names files of this machine".to_owned())
            } else {
                Ok(kubeconfig)
            }
        })
        .map_err(|why| {
            Failure::new(ErrorKind::Config, format!("the discovery kubeconfig from {shown}: {why}"))
        })?;
    cluster(network, kubeconfig, Verification::Url(shown), request, backoff)
}

/// Another server must not choose which files of this machine are read.
fn names_files(kubeconfig: &Kubeconfig) -> bool {
    let of_user = match &kubeconfig.user {
        Some(User::Token(token)) => [Some(token), None],
        Some(User::Certificate { certificate, key }) => [Some(certificate), Some(key)],
        _ => [None, None],
    };
    of_user
        .into_iter()
        .flatten()
        .chain(&kubeconfig.authorities)
        .any(|material| matches!(material, Material::File(_)))
}

/// GET of a URL. Follows redirects to other `https://` URLs.
pub fn fetch(
    network: &Network,
    url: &str,
    authorities: &Authorities,
    deadline: Deadline,
    backoff: &mut Backoff,
) -> Result<Vec<u8>> {
    let mut url = url.to_owned();
    for _ in 0..=MOST_REDIRECTS {
        let Url { endpoint, path, .. } =
            Url::secure(&url).map_err(|why| Failure::new(ErrorKind::Config, why))?;
        let mut client = Client::new(network, endpoint.into(), None, authorities, &Credential::Anonymous)?;
        let outcome = retry::until(deadline, backoff, || match client.get(&path, deadline) {
            Ok(answer) => Ok(Ok(answer.body)),
            Err(Error { location: Some(target), status: Some(301 | 302 | 303 | 307 | 308), .. }) => {
                Ok(Err(target))
            }
            Err(error) => Err(error),
        });
        match outcome.map_err(|failure| failure.doing("fetching it"))? {
            Ok(body) => return Ok(body),
            Err(target) if target.starts_with('/') => {
                let path = url::origin(&url).len();
                url.replace_range(path.., &target);
            }
            Err(target) => url = target,
        }
    }
    Err(Failure::new(ErrorKind::Unreachable, format!("fetching it: more than {MOST_REDIRECTS} redirects")))
}

fn cluster(
    network: &Network,
    kubeconfig: Kubeconfig,
    verified_by: Verification,
    request: &Request<'_>,
    backoff: &mut Backoff,
) -> Result<Cluster> {
    let Kubeconfig { server, server_name, authorities, user } = kubeconfig;
    let credential = match (request.tls_bootstrap_token, user) {
        (Some(token), _) => bearer_of(token),
        (None, Some(user)) => credential(&network.root, user)?,
        (None, None) => {
            return Err(Failure::new(ErrorKind::Config, "the discovery kubeconfig has no user, and there is no tlsBootstrapToken")
                .help("set discovery.tlsBootstrapToken, or add a user with a token or a client certificate to the kubeconfig"));
        }
    };
    let authorities = match authorities {
        Some(material) => pem(load(&network.root, material)?)?,
        None => published(network, &server, server_name.as_deref(), request.deadline, backoff)?,
    };
    let client = Client::new(network, server.clone(), server_name.as_deref(), &authorities, &credential)?;
    Ok(Cluster { client, server, server_name, authorities, credential, verified_by })
}

/// The kubeconfig has no CA: takes the one that the server publishes, if the system's CAs verify that server.
fn published(
    network: &Network,
    server: &Server,
    name: Option<&str>,
    deadline: Deadline,
    backoff: &mut Backoff,
) -> Result<Authorities> {
    let mut client =
        Client::new(network, server.clone(), name, &Authorities::system()?, &Credential::Anonymous)?;
    let answer = retry::until(deadline, backoff, || client.get(CLUSTER_INFO, deadline))?;
    let config_map: ConfigMap = answer.json()?;
    let published = config_map
        .get("kubeconfig")
        .and_then(|text| kubeconfig::parse(text.as_bytes(), Path::new("/")).ok());
    match published.and_then(|kubeconfig| kubeconfig.authorities) {
        Some(Material::Inline(text)) => pem(text),
        _ => Err(Failure::new(
            ErrorKind::Config,
            "neither the discovery kubeconfig nor the cluster's cluster-info has a CA",
        )),
    }
}

fn pem(text: Secret) -> Result<Authorities> {
    Authorities::from_pem(text.reveal().as_bytes())
        .map_err(|why| Failure::new(ErrorKind::Config, format!("the discovery kubeconfig: {why}")))
}

fn credential(root: &Root, user: User) -> Result<Credential> {
    match user {
        User::Token(token) => {
            Ok(Credential::Bearer(Secret::new(load(root, token)?.reveal().trim().to_owned())))
        }
        User::Certificate { certificate, key } => {
            let own = ClientCertificate::from_pem(&load(root, certificate)?, &load(root, key)?);
            own.map(Credential::Certificate)
                .map_err(|why| Failure::new(ErrorKind::Config, format!("the discovery kubeconfig: {why}")))
        }
        User::Unsupported(how) => Err(Failure::new(
            ErrorKind::Config,
            format!("the user of the discovery kubeconfig authenticates by {how}, which a join cannot"),
        )
        .help("set discovery.tlsBootstrapToken, or use a token or a client certificate")),
    }
}

fn load(root: &Root, material: Material) -> Result<Secret> {
    let path = match material {
        Material::Inline(text) => return Ok(text),
        Material::File(path) => path,
    };
    let wrong = |why| {
        Failure::new(
            ErrorKind::Config,
            format!("{}, named by the discovery kubeconfig: {why}", path.display()),
        )
    };
    let bytes =
        files::read(&root.path(&path), LONGEST as u64)?.ok_or_else(|| wrong("there is no such file"))?;
    String::from_utf8(bytes).map(Secret::new).map_err(|_| wrong("it is not text"))
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
