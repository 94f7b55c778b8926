//! The names by which a node config means a cluster.

use std::path::Path;

use super::ResolvedConfig;
use crate::binding::ClusterNames;
use crate::config::model::Discovery;
use crate::host::files;
use crate::host::root::Root;
use crate::kubernetes::kubeconfig::{self, LONGEST, Material};
use crate::net::trust::Authorities;
use crate::net::url::resource;

/// The cluster that the config names. A discovery file is looked at where it will be, or among the extra
/// files that are not written yet.
pub(super) fn of(root: &Root, resolved: &ResolvedConfig) -> ClusterNames {
    let mut names = ClusterNames::default();
    match &resolved.config.join.discovery {
        Discovery::Token { endpoints, pins, .. } | Discovery::RequestedToken { endpoints, pins, .. } => {
            names.pins.clone_from(pins);
            names.servers.extend(endpoints.iter().map(ToString::to_string));
        }
        Discovery::File(path) => names = of_file(root, resolved, path),
        Discovery::Url(url) => names.servers.push(resource(url)),
    }
    if let Some(from) = resolved.config.agent.token_from.as_ref().filter(|_| names.servers.is_empty()) {
        names.servers.push(resource(from.url.reveal()));
    }
    names
}

fn of_file(root: &Root, resolved: &ResolvedConfig, path: &Path) -> ClusterNames {
    let carried = resolved.files.iter().find(|file| Path::new(&file.path) == path);
    let bytes = match carried {
        Some(file) => Some(file.content.bytes().to_vec()),
        None => files::read(&root.path(path), LONGEST as u64).ok().flatten(),
    };
    let folder = path.parent().unwrap_or(Path::new("/"));
    let Some(Ok(kubeconfig)) = bytes.map(|bytes| kubeconfig::parse(&bytes, folder)) else {
        return ClusterNames::default();
    };
    let pem = match kubeconfig.authorities {
        Some(Material::Inline(text)) => Some(text.reveal().as_bytes().to_vec()),
        Some(Material::File(path)) => files::read(&root.path(path), LONGEST as u64).ok().flatten(),
        None => None,
    };
    let authorities = pem.and_then(|pem| Authorities::from_pem(&pem).ok());
    ClusterNames {
        pins: authorities.map(|authorities| authorities.pins()).unwrap_or_default(),
        servers: vec![kubeconfig.server.to_string()],
    }
}
