//! Defaults and validation: a raw config → the config that a join uses. All errors are collected, in
//! kubeadm's order and words.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::HostDefaults;
use super::check::{self, Problems};
use super::documents::shown;
use super::kubelet_arguments;
use super::model::{ApiVersion, Discovery, JoinConfiguration, NodeRegistration, Timeouts};
use super::raw::{RawBootstrapToken, RawJoin, RawNode, RawTimeouts};
use crate::error::{ErrorKind, Failure, Result};
use crate::kubernetes::token::Token;
use crate::net::url;
use crate::paths::{self, CRI_SCHEME};

/// Stands for every preflight check.
const ALL_CHECKS: &str = "all";

const NO_HASHES: &str = "using token-based discovery without caCertHashes can be unsafe. \
    Set unsafeSkipCAVerification as true in your kubeadm config file or pass --discovery-token-unsafe-skip-ca-verification flag to continue";

/// Fills in defaults and checks the whole config. Pure: a missing discovery file is found when it is read.
/// `is_asked`: the token is requested from `tokenFrom`, and endpoint and pins may come with it.
pub fn complete(
    raw: RawJoin,
    api_version: ApiVersion,
    host: &HostDefaults,
    is_asked: bool,
    warnings: &mut Vec<String>,
) -> Result<JoinConfiguration> {
    let mut problems = Problems::default();
    let discovery =
        if is_asked { asked_discovery(&raw, &mut problems) } else { discovery(&raw, &mut problems) };
    let tls_bootstrap_token = if is_asked { None } else { tls_bootstrap_token(&raw, &mut problems) };
    let node = node(raw.node, host, &mut problems, warnings);
    let ca_cert_path = raw.ca_cert_path.unwrap_or_else(|| paths::CA_CERT.to_owned());
    check::ca_cert_path(&ca_cert_path, &mut problems);
    check::skip_phases(&raw.skip_phases, &mut problems);
    problems.result()?;
    Ok(JoinConfiguration {
        api_version,
        node,
        ca_cert_path: PathBuf::from(ca_cert_path),
        discovery: discovery
            .ok_or_else(|| Failure::new(ErrorKind::Internal, "a discovery was refused without a reason"))?,
        tls_bootstrap_token,
        role: raw.role,
        skip_phases: raw.skip_phases,
        patches: raw.patches.map(PathBuf::from),
        dry_run: raw.dry_run,
        timeouts: timeouts(&raw.timeouts, warnings),
    })
}

fn discovery(raw: &RawJoin, problems: &mut Problems) -> Option<Discovery> {
    match (&raw.bootstrap_token, &raw.file) {
        (None, None) => problems.invalid("discovery", "", "bootstrapToken or file must be set"),
        (Some(_), Some(_)) => problems.invalid("discovery", "", "bootstrapToken and file cannot both be set"),
        _ => (),
    }
    let by_token = raw.bootstrap_token.as_ref().and_then(|token| token_discovery(token, problems));
    let by_file = raw.file.as_ref().and_then(|file| file_discovery(file, problems));
    by_token.or(by_file)
}

fn token_discovery(raw: &RawBootstrapToken, problems: &mut Problems) -> Option<Discovery> {
    if raw.api_server_endpoint.is_empty() {
        problems.required("discovery.bootstrapToken", "APIServerEndpoint is not set");
    }
    let path = "discovery.bootstrapToken.caCertHashes";
    if raw.ca_cert_hashes.is_empty() && !raw.unsafe_skip_ca_verification {
        problems.invalid(path, "", NO_HASHES);
        problems.advise_token();
    }
    let token = check::token("discovery.bootstrapToken.token", raw.token.as_ref(), problems);
    let endpoint = match raw.api_server_endpoint.as_str() {
        "" => None,
        text => check::endpoint("discovery.bootstrapToken.apiServerEndpoint", text, problems),
    };
    let hashes = raw.ca_cert_hashes.iter().enumerate();
    let pins = hashes
        .filter_map(|(position, text)| check::pin(&format!("{path}[{position}]"), text, problems))
        .collect();
    Some(Discovery::Token {
        endpoints: vec![endpoint?],
        token: token?,
        pins,
        unsafe_skip_ca_verification: raw.unsafe_skip_ca_verification,
    })
}

/// A token discovery without the token.
fn asked_discovery(raw: &RawJoin, problems: &mut Problems) -> Option<Discovery> {
    let path = "discovery.bootstrapToken";
    let token = raw.bootstrap_token.as_ref();
    if token.is_some_and(|token| token.token.is_some()) || raw.tls_bootstrap_token.is_some() {
        problems
            .note(format!("{path}.token: a token and FirstbootConfiguration.tokenFrom cannot both be set"));
    }
    if raw.file.is_some() {
        problems.note(
            "discovery.file: a discovery file and FirstbootConfiguration.tokenFrom cannot both be set"
                .to_owned(),
        );
    }
    let text = token.map_or("", |token| token.api_server_endpoint.as_str());
    let endpoint = if text.is_empty() {
        None
    } else {
        check::endpoint(&format!("{path}.apiServerEndpoint"), text, problems)
    };
    let hashes = token.map(|token| token.ca_cert_hashes.as_slice()).unwrap_or_default().iter().enumerate();
    let pins = hashes
        .filter_map(|(index, text)| check::pin(&format!("{path}.caCertHashes[{index}]"), text, problems))
        .collect();
    let unsafe_skip_ca_verification = token.is_some_and(|token| token.unsafe_skip_ca_verification);
    Some(Discovery::RequestedToken {
        endpoints: endpoint.into_iter().collect(),
        pins,
        unsafe_skip_ca_verification,
    })
}

fn file_discovery(text: &str, problems: &mut Problems) -> Option<Discovery> {
    let path = "discovery.file.kubeConfigPath";
    let text = text.strip_prefix("file://").unwrap_or(text);
    match scheme(text) {
        // The rest may hold a password and is not shown.
        Some(scheme) if !scheme.eq_ignore_ascii_case("https") => {
            problems.invalid(path, &format!("{scheme}:…"), "if a URL is used, the scheme must be https");
            None
        }
        Some(scheme) if text[scheme.len()..].trim_start_matches([':', '/']).is_empty() => {
            problems.invalid(path, text, "not a valid HTTPS URL or a file on disk");
            None
        }
        Some(_) => match url::server(text) {
            Ok(_) => Some(Discovery::Url(text.to_owned())),
            Err(why) => {
                problems.invalid_secret(path, &why);
                None
            }
        },
        None if text.is_empty() => {
            problems.invalid(path, text, "not a valid HTTPS URL or a file on disk");
            None
        }
        None => Some(Discovery::File(PathBuf::from(text))),
    }
}

/// The scheme of a URL (RFC 3986, section 3.1); none for a path, also one with a drive.
fn scheme(text: &str) -> Option<&str> {
    if paths::is_absolute(text) {
        return None;
    }
    let (scheme, _) = text.split_once(':')?;
    let begins = scheme.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
    (begins && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)))
        .then_some(scheme)
}

/// `tlsBootstrapToken`, else the discovery token. With a discovery file there may be none.
fn tls_bootstrap_token(raw: &RawJoin, problems: &mut Problems) -> Option<Token> {
    let discovery = raw.bootstrap_token.as_ref();
    let token = raw
        .tls_bootstrap_token
        .as_ref()
        .or_else(|| discovery.and_then(|discovery| discovery.token.as_ref()));
    if token.is_none() && discovery.is_none() {
        return None;
    }
    check::token("discovery.tlsBootstrapToken", token, problems)
}

fn node(
    raw: RawNode,
    host: &HostDefaults,
    problems: &mut Problems,
    warnings: &mut Vec<String>,
) -> NodeRegistration {
    let name = raw.name.as_deref().unwrap_or(&host.hostname).trim().to_lowercase();
    if name.is_empty() {
        problems.required(
            "nodeRegistration",
            "the host has no name, so nodeRegistration.name or --node-name must be set",
        );
    } else {
        check::node_name("nodeRegistration.name", &name, problems);
    }
    let cri_socket = raw.cri_socket.and_then(|socket| cri_socket(&socket, problems, warnings));
    for (index, _) in
        raw.kubelet_extra_args.iter().enumerate().filter(|(_, argument)| argument.name.is_empty())
    {
        problems.invalid(
            "nodeRegistration.kubeletExtraArgs",
            &format!("index {index}"),
            "argument has no name",
        );
    }
    raw.kubelet_extra_args.iter().for_each(|argument| check::argument(argument, problems));
    check::image_pull_policy(
        "nodeRegistration.imagePullPolicy",
        raw.image_pull_policy.as_deref().unwrap_or_default(),
        problems,
    );
    let taints = raw.taints.as_deref().unwrap_or_default();
    kubelet_arguments::taints("nodeRegistration.taints", taints, problems);
    kubelet_arguments::arguments(&raw.kubelet_extra_args, problems);
    NodeRegistration {
        name,
        is_named: raw.name.is_some(),
        cri_socket,
        taints: raw.taints,
        kubelet_extra_args: raw.kubelet_extra_args,
        ignore_preflight_errors: ignored_checks(&raw.ignore_preflight_errors, problems),
    }
}

/// The socket with its scheme.
fn cri_socket(text: &str, problems: &mut Problems, warnings: &mut Vec<String>) -> Option<String> {
    let path = "nodeRegistration.criSocket";
    match scheme(text) {
        Some(CRI_SCHEME) => (),
        Some(scheme) => {
            problems.invalid(
                path,
                text,
                &format!("only URL scheme \"{CRI_SCHEME}\" is supported, got \"{scheme}\""),
            );
            return None;
        }
        None => warnings.push(format!(
            "Usage of CRI endpoints without URL scheme is deprecated. \
             Automatically prepending scheme \"{CRI_SCHEME}\" to the \"criSocket\" with value \"{}\"",
            shown(text)
        )),
    }
    let place = text.strip_prefix(CRI_SCHEME).and_then(|rest| rest.strip_prefix(':')).unwrap_or(text);
    let place = place.strip_prefix("//").unwrap_or(place);
    if !place.starts_with('/') {
        problems.invalid(path, text, "the socket must be an absolute path");
        return None;
    }
    Some(format!("{CRI_SCHEME}://{place}"))
}

/// Lower-cased, sorted, each once; `all` stands alone.
fn ignored_checks(names: &[String], problems: &mut Problems) -> Vec<String> {
    let names: BTreeSet<String> = names
        .iter()
        .map(|name| name.trim().to_lowercase())
        .filter(|name| !name.is_empty())
        .collect();
    let names: Vec<String> = names.into_iter().collect();
    if names.len() > 1 && names.iter().any(|name| name == ALL_CHECKS) {
        problems.invalid(
            "ignore-preflight-errors",
            &names.join(","),
            "don't specify individual checks if 'all' is used",
        );
    }
    names
}

fn timeouts(raw: &RawTimeouts, warnings: &mut Vec<String>) -> Timeouts {
    let default = Timeouts::default();
    let mut bound = |name: &str, given: Option<std::time::Duration>, default| {
        if given.is_some_and(|given| given.is_zero()) {
            warnings.push(format!("the timeout {name} is 0: its step will not be given any time"));
        }
        given.unwrap_or(default)
    };
    Timeouts {
        discovery: bound("discovery", raw.discovery, default.discovery),
        kubernetes_api_call: bound("kubernetesAPICall", raw.kubernetes_api_call, default.kubernetes_api_call),
        tls_bootstrap: bound("tlsBootstrap", raw.tls_bootstrap, default.tls_bootstrap),
        kubelet_health_check: bound(
            "kubeletHealthCheck",
            raw.kubelet_health_check,
            default.kubelet_health_check,
        ),
    }
}
