//! `http://` and `https://` URLs: server and path.

use std::net::IpAddr;
use std::str::FromStr;

use super::Endpoint;
use crate::text::one_line;

/// A URL without credentials or fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Whether it is `https://`.
    pub is_secure: bool,
    /// The server.
    pub endpoint: Endpoint,
    /// Path and query, from the first slash on.
    pub path: String,
}

impl FromStr for Url {
    type Err = String;

    /// Reads a URL. The port is optional. Credentials in it are refused, because messages would show them.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.split('#').next().unwrap_or_default();
        let (is_secure, rest, port) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest, 443),
            (None, Some(rest)) => (false, rest, 80),
            (None, None) => return Err("the URL does not begin with https://".to_owned()),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let endpoint = endpoint(authority, port)?;
        // Over TLS, letters of other scripts are sent as they stand.
        let is_sent = |byte: u8| byte.is_ascii_graphic() || (is_secure && !byte.is_ascii());
        if !path.bytes().all(is_sent) {
            return Err("the URL holds characters that no URL has".to_owned());
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { is_secure, endpoint, path })
    }
}

impl Url {
    /// Reads a URL that must be `https://`.
    pub fn secure(text: &str) -> Result<Self, String> {
        if text.starts_with("https://") {
            text.parse()
        } else {
            Err("the URL does not begin with https://".to_owned())
        }
    }

    /// The value of the header `Host`, with the port only if it is not the scheme's default. An IPv6 zone has
    /// a meaning only on this machine, so it is left out (RFC 9844).
    pub fn host(&self) -> String {
        let host = without_zone(&self.endpoint).to_string();
        let port = if self.is_secure { ":443" } else { ":80" };
        host.strip_suffix(port).unwrap_or(&host).to_owned()
    }

    /// The URL as it is sent, without an IPv6 zone.
    pub(super) fn target(&self) -> String {
        let scheme = if self.is_secure { "https" } else { "http" };
        let host = if self.is_secure { without_zone(&self.endpoint).to_string() } else { self.host() };
        format!("{scheme}://{host}{}", self.path)
    }
}

/// Host and port of a URL's authority; `port` is the default.
pub(crate) fn endpoint(authority: &str, port: u16) -> Result<Endpoint, String> {
    if authority.contains('@') || authority.contains("%40") {
        return Err("the server's URL holds credentials".to_owned());
    }
    let has_port = authority.rsplit(']').next().is_some_and(|tail| tail.contains(':'));
    if has_port { authority.parse() } else { format!("{authority}:{port}").parse() }
}

fn without_zone(endpoint: &Endpoint) -> Endpoint {
    let host = endpoint.host.split('%').next().unwrap_or_default().to_owned();
    Endpoint { host, port: endpoint.port }
}

/// The server of a URL, whose scheme may be in capital letters.
pub(crate) fn server(url: &str) -> Result<Endpoint, String> {
    let (scheme, authority) = origin(url).split_once("://").ok_or("the URL names no server")?;
    endpoint(authority, if scheme.eq_ignore_ascii_case("http") { 80 } else { 443 })
}

/// Whether an address is of this machine or its link.
pub(crate) fn is_near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_link_local() || address.is_unspecified(),
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unicast_link_local() || address.is_unspecified()
        }
    }
}

/// A URL for messages: its scheme and server. User, password, path and query may each be a secret. A password
/// with `/`, `?` or `#` in it reads as a server and a path: where it may be one, the scheme alone is shown.
pub fn shown(url: &str) -> String {
    let (scheme, host) = scheme_and_host(url);
    let is_server = endpoint(host, 443).is_ok() && !url[origin(url).len()..].contains('@');
    one_line(&format!("{scheme}{}", if is_server { host } else { "\u{2026}" }))
}

/// A URL that tells one resource of a server from another, without what only authorizes: user, password and
/// query. Not for messages.
pub fn resource(url: &str) -> String {
    let (scheme, host) = scheme_and_host(url);
    let path = url[origin(url).len()..].split(['?', '#']).next().unwrap_or_default();
    format!("{scheme}{host}{path}")
}

/// What stands before user and password, such as `https://`, and what stands behind them.
fn scheme_and_host(url: &str) -> (&str, &str) {
    let origin = origin(url);
    let (scheme, authority) = origin.split_at(origin.find("://").map_or(0, |at| at + 3));
    (scheme, authority.rsplit('@').next().unwrap_or_default())
}

/// A URL's scheme, host and port.
pub(crate) fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    &url[..url[host..].find(['/', '?', '#']).map_or(url.len(), |length| host + length)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_server_and_what_is_asked_of_it() {
        for (text, host, port, path) in [
            ("https://api.example.com", "api.example.com", 443, "/"),
            ("https://api.example.com:444/a?b=c#d", "api.example.com:444", 444, "/a?b=c"),
            ("https://[fd00::1]?a", "[fd00::1]", 443, "/?a"),
            ("http://[fe80::1%eth0]:80/a", "[fe80::1]", 80, "/a"),
            ("http://169.254.169.254:81", "169.254.169.254:81", 81, "/"),
        ] {
            let url: Url = text.parse().unwrap();
            assert_eq!(
                (url.host().as_str(), url.endpoint.port, url.path.as_str()),
                (host, port, path),
                "{text}"
            );
            assert_eq!(url.is_secure, Url::secure(text).is_ok());
        }
        for wrong in [
            "",
            "ftp://a",
            "https://",
            "https://a:b@host",
            "http://host/\u{e9}",
            "http://host:0",
            "https://host/a b",
            "https://host/?a\n",
        ] {
            assert!(wrong.parse::<Url>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn messages_show_scheme_and_server_alone() {
        for (url, expected) in [
            ("https://a:1/canary?canary#canary", "https://a:1"),
            ("https://user:canary@a:1/", "https://a:1"),
            ("https://canary@a:1?canary", "https://a:1"),
            ("https://u:p@canary@a:1", "https://a:1"),
            ("canary@a:1/canary", "a:1"),
            ("HTTPS://[fd00::1]/\u{1b}", "HTTPS://[fd00::1]"),
            ("https://user:can/ary@a:1/", "https://\u{2026}"),
            ("https://can?ary@a", "https://\u{2026}"),
            ("https://user%3Acanary%40a:1/", "https://\u{2026}"),
            ("https://user:can#ary@a", "https://\u{2026}"),
            ("https://a:canary/x", "https://\u{2026}"),
        ] {
            assert_eq!(shown(url), expected, "{url}");
        }
        assert_eq!(resource("https://canary@a:1/b@c?canary#canary"), "https://a:1/b@c");
        assert_eq!(origin("https://a:1/b?c"), "https://a:1");
        assert_eq!(origin("http://a?c"), "http://a");
    }
}
