//! The kubelet's client certificate and `kubelet.conf`: kept if valid, else requested. If the kubelet
//! requests the certificate itself, `bootstrap-kubelet.conf` instead.

use std::time::SystemTime;

use super::{Need, Phase};
use crate::config::model::{NodeConfig, TlsBootstrap};
use crate::error::{ErrorKind, Failure, Result};
use crate::host::files::{self, PRIVATE};
use crate::host::root::Root;
use crate::join::Join;
use crate::join::certificate_request::CertificateRequest;
use crate::join::identity::{CURRENT, ClientCertificate, KEY, PrivateKey, store};
use crate::{os, paths};

/// The kubelet's kubeconfig.
pub const KUBELET_CONF: &str = paths::KUBELET_CONF;
/// The kubeconfig with which a kubelet requests its certificate.
pub const BOOTSTRAP_CONF: &str = paths::BOOTSTRAP_CONF;
/// Limit on a CA bundle, in bytes.
const LONGEST_CA: u64 = 1 << 20;
/// kubeconfigs of kubeadm before this minor version have an empty `preferences`.
const WITHOUT_PREFERENCES: u16 = 34;

pub(crate) const PHASE: Phase =
    Phase { name: "identity", kubeadm: "kubelet-start", need: Need::Writing, run };

fn run(join: &mut Join) -> Result<()> {
    if is_good(join) {
        // A run that was killed right after the certificate leaves this file.
        return files::remove(&join.root.entry(KEY));
    }
    files::make_folder(&join.root.path(paths::KUBELET), 0o700)?;
    match join.config.agent.tls_bootstrap {
        TlsBootstrap::Agent => ask(join),
        TlsBootstrap::Kubelet => let_the_kubelet_ask(join),
    }
}

/// Whether a kubelet can start with the files on the disk: its certificate is valid for this node and for the
/// cluster. The cluster is the one that discovery found, or the one whose CA is on the disk.
pub fn is_good(join: &Join) -> bool {
    let known = join.results.cluster.as_ref().map(|cluster| cluster.authorities.pem().to_vec());
    is_good_for(join.root, join.config, known)
}

/// The same, for a cluster whose CA is `known`, or is on the disk.
pub fn is_good_for(root: &Root, config: &NodeConfig, known: Option<Vec<u8>>) -> bool {
    root.path(KUBELET_CONF).exists() && has_certificate(root, config, known)
}

fn has_certificate(root: &Root, config: &NodeConfig, known: Option<Vec<u8>>) -> bool {
    let ca = known.or_else(|| files::read(&root.path(&config.join.ca_cert_path), LONGEST_CA).ok().flatten());
    let (Some(ca), Ok(Some(certificate))) = (ca, ClientCertificate::read(root)) else { return false };
    certificate
        .usable(&config.node_name(), SystemTime::now(), &String::from_utf8_lossy(&ca))
        .is_ok()
}

/// If a run was interrupted between certificate and kubeconfig, the certificate exists already.
fn ask(join: &mut Join) -> Result<()> {
    let ca = discovered(join)?.authorities.pem().to_vec();
    if has_certificate(join.root, join.config, Some(ca)) {
        files::remove(&join.root.entry(KEY))?;
    } else {
        ask_for_certificate(join)?;
    }
    let preferences = preferences(join)?;
    // To client-go a path without the drive is relative there, to the folder of the kubeconfig.
    let pem = format!("{}{CURRENT}", os::system_drive().unwrap_or_default());
    let kubeconfig = discovered(join)?.kubelet_kubeconfig(&pem, preferences);
    files::write(&join.root.entry(KUBELET_CONF), kubeconfig.as_bytes(), PRIVATE)
}

fn ask_for_certificate(join: &mut Join) -> Result<()> {
    let name = join.config.node_name();
    let key = PrivateKey::kept(join.root)?;
    let request = CertificateRequest::new(&name, &key.certificate_request(&name)?)?;
    let deadline = join.deadline.within(join.config.join.timeouts.tls_bootstrap);
    let mut backoff = join.backoff();
    let chain = request.submit(&mut discovered(join)?.client, deadline, &mut backoff)?;
    let path = store(join.root, &chain, &key)?;
    join.print(&format!("the cluster issued the client certificate {}", path.display()));
    Ok(())
}

fn let_the_kubelet_ask(join: &mut Join) -> Result<()> {
    let cluster_name = join
        .results
        .configuration
        .as_ref()
        .map_or("kubernetes", |configuration| &configuration.cluster_name)
        .to_owned();
    let preferences = preferences(join)?;
    let kubeconfig = discovered(join)?.bootstrap_kubeconfig(&cluster_name, preferences)?;
    files::write(&join.root.entry(BOOTSTRAP_CONF), kubeconfig.reveal().as_bytes(), PRIVATE)
}

fn preferences(join: &mut Join) -> Result<bool> {
    Ok(!join.kubelet_version()?.at_least(WITHOUT_PREFERENCES))
}

fn discovered<'a>(join: &'a mut Join<'_>) -> Result<&'a mut crate::join::discovery::Cluster> {
    join.results
        .cluster
        .as_mut()
        .ok_or_else(|| Failure::new(ErrorKind::Internal, "no cluster was discovered"))
}
