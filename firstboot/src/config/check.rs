//! kubeadm's rules for single fields, and the list of violations.

use crate::error::{ErrorKind, Failure, Result};
use crate::kubernetes::token::Token;
use crate::kubernetes::{flags_file, names};
use crate::net::Endpoint;
use crate::paths;
use crate::secret::Secret;
use contract::suggest;

use super::documents::shown;
use super::model::Argument;

/// Hexadecimal digits of a SHA-256.
const SHA256_DIGITS: usize = 64;

/// Every name that some kubeadm from 1.20 on has for a phase of the join.
const PHASES: &[&str] = &[
    "preflight",
    "control-plane-prepare",
    "control-plane-prepare/download-certs",
    "control-plane-prepare/certs",
    "control-plane-prepare/kubeconfig",
    "control-plane-prepare/control-plane",
    "check-etcd",
    "kubelet-start",
    "etcd-join",
    "kubelet-wait-bootstrap",
    "control-plane-join",
    "control-plane-join/etcd",
    "control-plane-join/update-status",
    "control-plane-join/mark-control-plane",
    "wait-control-plane",
];

/// The errors of a config, in the order in which they were found.
#[derive(Default)]
pub struct Problems {
    list: Vec<String>,
    help: Option<&'static str>,
}

/// Help for a token or a CA hash that is missing or wrong.
const TOKEN_HELP: &str =
    "kubeadm token create --print-join-command, on the control plane, prints a token and the CA's hash";

impl Problems {
    /// An invalid value.
    pub fn invalid(&mut self, path: &str, value: &str, reason: &str) {
        self.list.push(format!("{path}: Invalid value: \"{}\": {reason}", shown(value)));
    }

    /// An invalid secret, which kubeadm would show.
    pub fn invalid_secret(&mut self, path: &str, reason: &str) {
        self.list.push(format!("{path}: Invalid value: {reason}"));
    }

    /// A token or a CA hash is missing or wrong: the failure says where to get one.
    pub fn advise_token(&mut self) {
        self.help = Some(TOKEN_HELP);
    }

    /// A value that is missing.
    pub fn required(&mut self, path: &str, reason: &str) {
        self.list.push(format!("{path}: Required value: {reason}"));
    }

    /// A value that is not one of the `known` ones.
    pub fn unsupported(&mut self, path: &str, value: &str, known: &[&str]) {
        self.list.push(format!(
            "{path}: Unsupported value: \"{}\": supported values: \"{}\"",
            shown(value),
            known.join("\", \"")
        ));
    }

    /// Any other error, as a full sentence.
    pub fn note(&mut self, problem: String) {
        self.list.push(problem);
    }

    /// Everything as one failure, several as a list in brackets, as kubeadm writes them.
    pub fn result(self) -> Result<()> {
        let message = match self.list.as_slice() {
            [] => return Ok(()),
            [one] => one.clone(),
            several => format!("[{}]", several.join(", ")),
        };
        Err(Failure { help: self.help.map(str::to_owned), ..Failure::new(ErrorKind::Config, message) })
    }
}

/// A bootstrap token.
pub fn token(path: &str, text: Option<&Secret>, problems: &mut Problems) -> Option<Token> {
    let token = text.map_or("", Secret::reveal).parse();
    token
        .map_err(|reason: String| {
            problems.invalid_secret(path, &reason);
            problems.advise_token();
        })
        .ok()
}

/// `host:port`
pub fn endpoint(path: &str, text: &str, problems: &mut Problems) -> Option<Endpoint> {
    if text.contains('@') {
        problems.invalid_secret(path, "an address is host:port, without a user or a password");
        return None;
    }
    if text.contains("://") {
        problems.invalid(path, text, "an address is host:port, without a scheme");
        return None;
    }
    text.parse().map_err(|reason: String| problems.invalid(path, text, &reason)).ok()
}

/// `sha256:<hex>`; returns the hexadecimal part in lower case.
pub fn pin(path: &str, text: &str, problems: &mut Problems) -> Option<String> {
    let reason = match text.split_once(':') {
        None => "invalid public key hash, expected \"format:value\"",
        Some((format, _)) if !format.eq_ignore_ascii_case("sha256") => {
            "unknown hash format, expected \"sha256\""
        }
        Some((_, value)) if value.len() != SHA256_DIGITS => {
            "expected a 32 byte SHA-256 hash, which has 64 hexadecimal digits"
        }
        Some((_, value)) if !value.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            "could not decode SHA-256 from hex"
        }
        Some((_, value)) => return Some(value.to_ascii_lowercase()),
    };
    problems.invalid(path, text, reason);
    None
}

/// A node's name: a DNS-1123 subdomain.
pub fn node_name(path: &str, name: &str, problems: &mut Problems) {
    for problem in names::subdomain_problems(name) {
        problems.invalid(path, name, problem);
    }
}

/// An argument of the kubelet, whose value may be a secret and is not shown.
pub fn argument(argument: &Argument, problems: &mut Problems) {
    if flags_file::argument(&argument.name, &argument.value, false).is_none() {
        let name = shown(&argument.name);
        problems.note(format!(
            "nodeRegistration.kubeletExtraArgs: kubeadm-flags.env cannot hold the value of \"{name}\": {}",
            flags_file::HELP
        ));
    }
}

/// Where the cluster's CA is written.
pub fn ca_cert_path(path: &str, problems: &mut Problems) {
    if !paths::is_absolute(path) || !path.ends_with(".crt") {
        problems.invalid(
            "caCertPath",
            path,
            "the ca certificate path must be an absolute path that ends in .crt",
        );
    }
}

/// The phase of kubeadm in which a machine becomes a node.
const JOINING: &str = "kubelet-start";

/// Names of phases to leave out.
pub fn skip_phases(names: &[String], problems: &mut Problems) {
    if names.iter().any(|name| name == JOINING) {
        problems.invalid("skipPhases", JOINING, "without this phase the machine does not join the cluster");
    }
    for name in names.iter().filter(|name| !PHASES.contains(&name.as_str())) {
        let meant = suggest::did_you_mean(name, PHASES.iter().copied());
        problems.invalid("skipPhases", name, &format!("invalid phase name{meant}"));
    }
}

/// When images are pulled; empty stands for the default.
pub fn image_pull_policy(path: &str, policy: &str, problems: &mut Problems) {
    if !["", "Always", "IfNotPresent", "Never"].contains(&policy) {
        problems.invalid(path, policy, "invalid pull policy, expected Always, IfNotPresent or Never");
    }
}
