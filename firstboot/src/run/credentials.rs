//! Where the credentials of a node config came from, in whatever form they are in it.

use std::path::Path;

use contract::trust_policy::TOKEN_URL;

use crate::config::kubeadm::Kubeadm;
use crate::config::model::{Discovery, NodeConfig};
use crate::config::role::Role;
use crate::host::files;
use crate::host::root::Root;
use crate::kubernetes::kubeconfig::{self, LONGEST, Material, User};
use crate::userdata::ExtraFile;

/// The location that stands for a credential behind a URL that is no token server.
const URL: &str = "url";

/// Each credential of a config from `origin`, and where it came from. Files of the image are the image's own;
/// those that the user data carries are the user data's.
pub(super) fn of<'a>(
    root: &Root,
    origin: &'a str,
    config: &NodeConfig,
    carried: &[ExtraFile],
) -> Vec<(&'static str, &'a str)> {
    let is_carried = |path: &Path| carried.iter().any(|file| root.is_same(&file.path, path));
    let mut found = Vec::new();
    let is_first = config.join.role == Role::FirstControlPlane;
    if is_first && config.kubeadm.as_ref().is_some_and(Kubeadm::has_secrets) {
        found.push(("a token or key for kubeadm init", origin));
    }
    match &config.join.discovery {
        Discovery::Token { .. } => found.push(("the token", origin)),
        Discovery::RequestedToken { .. } => found.push(("the token", TOKEN_URL)),
        Discovery::Url(_) => found.push(("the credential of the discovery URL", URL)),
        Discovery::File(path) => {
            if is_carried(path) || named_files(root, path).iter().any(|path| is_carried(path)) {
                found.push(("the credential of the discovery file", origin));
            }
        }
    }
    if config.join.tls_bootstrap_token.is_some() && !matches!(config.join.discovery, Discovery::Token { .. })
    {
        found.push(("tlsBootstrapToken", origin));
    }
    if let Some((certificate, key)) = config.agent.token_from.as_ref().and_then(|from| from.client.as_ref())
        && (is_carried(certificate) || is_carried(key))
    {
        found.push(("the client certificate of tokenFrom", origin));
    }
    if config.agent.report.iter().flatten().any(|target| target.get("bearerToken").is_some()) {
        found.push(("the bearerToken of a report", origin));
    }
    found
}

/// The files that the image's kubeconfig at `path` names for its user.
fn named_files(root: &Root, path: &Path) -> Vec<std::path::PathBuf> {
    let bytes = files::read(&root.path(path), LONGEST as u64).ok().flatten();
    let folder = path.parent().unwrap_or(Path::new("/"));
    let user = bytes.and_then(|bytes| kubeconfig::parse(&bytes, folder).ok()?.user);
    let materials = match user {
        Some(User::Token(token)) => vec![token],
        Some(User::Certificate { certificate, key }) => vec![certificate, key],
        Some(User::Unsupported(_)) | None => Vec::new(),
    };
    let file = |material| match material {
        Material::File(path) => Some(path),
        Material::Inline(_) => None,
    };
    materials.into_iter().filter_map(file).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{HostDefaults, parse};
    use crate::document::Document;
    use crate::userdata::Owner;

    fn carried(path: &str) -> ExtraFile {
        let owner = Owner { user: "root".to_owned(), group: "root".to_owned() };
        ExtraFile::new(path, 0o600, owner, false, Document::new(b"x".to_vec().into()).unwrap()).unwrap()
    }

    fn origins(join: &str, agent: &str, carried: &[ExtraFile]) -> Vec<&'static str> {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        let kubeconfig = r#"{"kind": "Config", "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
            "clusters": [{"name": "k", "cluster": {"server": "https://a:6443"}}], "users": [{"name": "u", "user": {"tokenFile": "/etc/token"}}]}"#;
        files::write(&root.path("/etc/discovery.conf"), kubeconfig.as_bytes(), files::PRIVATE).unwrap();
        std::os::unix::fs::symlink("/etc", root.entry("/linked")).unwrap();
        let text = format!(
            "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ndiscovery: {{{join}}}\n---\napiVersion: firstboot.kiln/v1\nkind: FirstbootConfiguration\n{agent}\n"
        );
        let config = parse(text.as_bytes(), &HostDefaults { hostname: "n1".to_owned() }).unwrap();
        of(&root, "ec2", &config, carried).into_iter().map(|(_, origin)| origin).collect()
    }

    #[test]
    fn a_credential_comes_from_where_it_was_written_whatever_its_form() {
        let token = "token: abcdef.0123456789abcdef";
        let by_token = format!(
            "bootstrapToken: {{apiServerEndpoint: 'a:6443', {token}, unsafeSkipCAVerification: true}}"
        );
        let requested = "bootstrapToken: {apiServerEndpoint: 'a:6443', unsafeSkipCAVerification: true}";
        let from = "tokenFrom: {url: 'https://t/'}";
        let with_key = "tokenFrom: {url: 'https://t/', identity: certificate, clientCertificate: /etc/c.pem, clientKey: /etc/k.pem}";
        let file = "file: {kubeConfigPath: /etc/discovery.conf}";
        let detour = "file: {kubeConfigPath: /var/../etc/discovery.conf}";
        let url = "file: {kubeConfigPath: 'https://a/conf'}";
        let both = "file: {kubeConfigPath: /etc/discovery.conf}, tlsBootstrapToken: abcdef.0123456789abcdef";
        let report = "report: [{kind: webhook, url: 'https://a/', bearerToken: x}]";
        for (join, agent, file, expected) in [
            (by_token.as_str(), "", None, vec!["ec2"]),
            (requested, from, None, vec![TOKEN_URL]),
            (requested, with_key, Some("/etc/k.pem"), vec![TOKEN_URL, "ec2"]),
            (file, "", None, vec![]),
            (file, "", Some("/etc/discovery.conf"), vec!["ec2"]),
            (file, "", Some("/etc/token"), vec!["ec2"]),
            (detour, "", Some("/etc/discovery.conf"), vec!["ec2"]),
            (file, "", Some("/linked/token"), vec!["ec2"]),
            (both, "", None, vec!["ec2"]),
            (url, "", None, vec![URL]),
            (file, report, None, vec!["ec2"]),
        ] {
            let files: Vec<_> = file.into_iter().map(carried).collect();
            assert_eq!(origins(join, agent, &files), expected, "{join} {agent} {file:?}");
        }
    }
}
