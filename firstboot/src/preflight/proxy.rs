//! HTTPProxy: whether the environment sends requests to the API server through a proxy, by the rules of Go
//! programs (golang.org/x/net/http/httpproxy).

use std::net::IpAddr;

use super::{Context, Problem};
use crate::host::network::parse_address;
use crate::net::Endpoint;

/// The check HTTPProxy.
pub fn endpoint_through_proxy(context: &Context) -> Vec<Problem> {
    let variable = |name: &str| {
        (context.variable)(name)
            .or_else(|| (context.variable)(&name.to_lowercase()))
            .filter(|value| !value.is_empty())
    };
    if variable("HTTPS_PROXY").is_none() {
        return Vec::new();
    }
    let exceptions = variable("NO_PROXY").unwrap_or_default();
    let through = context.endpoints().iter().filter(|endpoint| !is_excepted(&exceptions, endpoint));
    let problem = |endpoint: &Endpoint| {
        // The proxy's URL is not shown, because it may hold a password.
        Problem::new(format!("connections to https://{endpoint} go through the proxy of HTTPS_PROXY"))
            .help(format!("if that is not meant, add {} to NO_PROXY", endpoint.host))
    };
    through.map(problem).collect()
}

fn is_excepted(exceptions: &str, endpoint: &Endpoint) -> bool {
    let host = endpoint.host.to_ascii_lowercase();
    let ip = parse_address(&host);
    if host == "localhost" || ip.is_some_and(|ip| ip.is_loopback()) {
        return true;
    }
    exceptions
        .split(',')
        .map(|entry| entry.trim().to_ascii_lowercase())
        .any(|entry| matches(&entry, &host, ip, endpoint.port))
}

fn matches(entry: &str, host: &str, ip: Option<IpAddr>, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if let (Some((base, bits)), Some(ip)) = (entry.split_once('/'), ip) {
        return parse_address(base)
            .zip(bits.parse().ok())
            .is_some_and(|(base, bits)| is_within(ip, base, bits));
    }
    let (entry, wanted) = without_port(entry);
    if entry.is_empty() || wanted.is_some_and(|wanted| wanted != port) {
        return false;
    }
    if let Some(exact) = parse_address(entry) {
        return ip == Some(exact);
    }
    match entry.strip_prefix("*.").or_else(|| entry.strip_prefix('.')) {
        Some(domain) => host.strip_suffix(domain).is_some_and(|front| front.ends_with('.')),
        None => host == entry || host.strip_suffix(entry).is_some_and(|front| front.ends_with('.')),
    }
}

/// `host:port`, `[v6]:port`, or only a host.
fn without_port(entry: &str) -> (&str, Option<u16>) {
    if let Some((host, rest)) = entry.strip_prefix('[').and_then(|entry| entry.split_once(']')) {
        return (host, rest.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match entry.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => (host, port.parse().ok()),
        _ => (entry, None),
    }
}

fn is_within(ip: IpAddr, base: IpAddr, bits: u32) -> bool {
    let (ip, base, width) = match (ip, base) {
        (IpAddr::V4(ip), IpAddr::V4(base)) => (u128::from(ip.to_bits()), u128::from(base.to_bits()), 32),
        (IpAddr::V6(ip), IpAddr::V6(base)) => (ip.to_bits(), base.to_bits(), 128),
        _ => return false,
    };
    bits <= width && (bits == 0 || (ip ^ base) >> (width - bits) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_are_gos() {
        for (exceptions, endpoint, expected) in [
            ("", "api.example.com:6443", false),
            ("", "127.0.0.1:6443", true),
            ("", "localhost:6443", true),
            ("*", "api.example.com:6443", true),
            ("example.com", "api.example.com:6443", true),
            ("example.com", "notexample.com:6443", false),
            (".example.com", "example.com:6443", false),
            ("*.example.com", "api.example.com:6443", true),
            ("other, api.example.com:6443", "api.example.com:6443", true),
            ("api.example.com:443", "api.example.com:6443", false),
            ("10.0.0.0/8", "10.1.2.3:6443", true),
            ("10.0.0.0/8", "11.1.2.3:6443", false),
            ("0.0.0.0/0", "11.1.2.3:6443", true),
            ("10.0.0.0/99", "10.1.2.3:6443", false),
            ("fd00::/8", "[fd12::1]:6443", true),
            ("fd00::/8", "10.0.0.1:6443", false),
            ("10.1.2.3", "10.1.2.3:6443", true),
            ("[fd12::1]:6443", "[fd12::1]:6443", true),
        ] {
            assert_eq!(
                is_excepted(exceptions, &endpoint.parse().unwrap()),
                expected,
                "{exceptions} {endpoint}"
            );
        }
    }
}
