//! The fingerprint of a node config: a hash of everything that shapes the node, and of nothing else.
//!
//! Tokens, timeouts and ignored checks may change without a new join: launch templates rotate their tokens.
//! The machine's facts may change too: a new address, tag or instance type after a reboot is no reason to
//! leave the cluster. Of the facts only the node's name counts, because the certificate is for that name.
//!
//! The hash covers the `Debug` form of types of [`super::model`]. Renaming one of them, or a field, makes
//! every joined node join again after an update of its image.

use std::fmt::Write as _;

use ring::digest::{Context, SHA256};

use super::kubeadm::Kubeadm;
use super::model::{Discovery, FromFacts, NodeConfig};
use crate::text::hex;

impl NodeConfig {
    /// A hash of the config, without its credentials, and of `patches`, the content of its patches folder.
    pub fn fingerprint(&self, patches: &[u8]) -> String {
        let join = &self.join;
        let mut text = format!(
            "{:?}\n{:?}\n{:?}\n",
            join.node_without_checks(),
            join.ca_cert_path,
            self.agent.tls_bootstrap
        );
        let _ = match &join.discovery {
            Discovery::Token { endpoints, pins, unsafe_skip_ca_verification, .. }
            | Discovery::RequestedToken { endpoints, pins, unsafe_skip_ca_verification } => {
                write!(text, "{endpoints:?} {pins:?} {unsafe_skip_ca_verification}")
            }
            Discovery::File(path) => write!(text, "file {path:?}"),
            Discovery::Url(url) => write!(text, "url {url:?}"),
        };
        if self.agent.from_facts != FromFacts::default() {
            let _ = write!(text, "\n{:?}", self.agent.from_facts);
        }
        let mut context = Context::new(&SHA256);
        context.update(text.as_bytes());
        context.update(self.kubelet.as_ref().map(ToString::to_string).unwrap_or_default().as_bytes());
        context.update(self.kube_proxy.as_ref().map(ToString::to_string).unwrap_or_default().as_bytes());
        context.update(&self.kubeadm.as_ref().map(Kubeadm::fingerprint).unwrap_or_default());
        context.update(patches);
        hex(context.finish().as_ref())
    }
}

#[cfg(test)]
mod tests {
    use crate::config::model::Argument;
    use crate::config::{HostDefaults, parse};

    fn fingerprint(text: &str) -> String {
        parse(text.as_bytes(), &HostDefaults { hostname: "n1".to_owned() })
            .unwrap()
            .fingerprint(b"")
    }

    #[test]
    fn credentials_and_timeouts_make_no_other_config() {
        let base = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\nnodeRegistration: {name: n1}\ndiscovery: {bootstrapToken: {apiServerEndpoint: 'a:6443', token: 'abcdef.0123456789abcdef', unsafeSkipCAVerification: true}}\n";
        let same = base.replace("abcdef.0123456789abcdef", "ghijkl.0123456789ghijkl")
            + "timeouts: {discovery: 9s}\n";
        assert_eq!(fingerprint(base), fingerprint(&same));
        for (from, to) in [
            ("name: n1", "name: n2"),
            ("a:6443", "b:6443"),
            ("name: n1", "name: n1, taints: []"),
            ("name: n1", "name: n1, criSocket: 'unix:///x'"),
        ] {
            assert_ne!(fingerprint(base), fingerprint(&base.replace(from, to)), "{to}");
        }
        let kubelet = format!(
            "{base}---\napiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPods: 3\n"
        );
        assert_ne!(fingerprint(base), fingerprint(&kubelet));
    }

    #[test]
    fn facts_make_no_other_config_but_the_name_and_what_is_written_of_them_do() {
        let text = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ndiscovery: {bootstrapToken: {apiServerEndpoint: 'a:6443', token: 'abcdef.0123456789abcdef', unsafeSkipCAVerification: true}}\n";
        let mut config = parse(text.as_bytes(), &HostDefaults { hostname: "n1".to_owned() }).unwrap();
        let before = config.fingerprint(b"");
        config.from_facts = vec![Argument { name: "node-ip".to_owned(), value: "10.0.0.1".to_owned() }];
        assert_eq!(config.fingerprint(b""), before);
        config.join.node.name = "n2".to_owned();
        assert_ne!(config.fingerprint(b""), before);
        let agent = "---\napiVersion: firstboot.kiln/v1\nkind: FirstbootConfiguration\n";
        assert_eq!(fingerprint(&format!("{text}{agent}")), before);
        assert_ne!(fingerprint(&format!("{text}{agent}providerID: 'x://${{instance-id}}'\n")), before);
    }
}
