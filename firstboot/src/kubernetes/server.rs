//! `https://host:port/path` of an API server, as in a kubeconfig.

use std::fmt;
use std::str::FromStr;

use crate::net::{Endpoint, url};

/// The URL of an API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Host and port.
    pub endpoint: Endpoint,
    /// The path before `/api`: empty, or begins with `/` and does not end with it.
    pub path: String,
    /// The original URL.
    url: String,
}

impl From<Endpoint> for Server {
    fn from(endpoint: Endpoint) -> Self {
        Self { url: format!("https://{endpoint}"), endpoint, path: String::new() }
    }
}

impl FromStr for Server {
    type Err = String;

    /// Parses an `https://` URL without query and credentials. The default port is 443.
    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("https://").ok_or("the server's URL does not begin with https://")?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let endpoint = url::endpoint(authority, 443)?;
        if !path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#\\\"".contains(&byte)) {
            return Err("the server's URL holds characters that no path has".to_owned());
        }
        Ok(Self { endpoint, path: path.trim_end_matches('/').to_owned(), url: text.to_owned() })
    }
}

impl Server {
    /// Whether both are the same server, even if they are written differently.
    pub fn is_same(&self, other: &Self) -> bool {
        self.endpoint.host.eq_ignore_ascii_case(&other.endpoint.host)
            && self.endpoint.port == other.endpoint.port
            && self.path == other.path
    }

    /// The URL of `path` on this server. An IPv6 zone is left out, because it has a meaning only on this
    /// machine.
    pub(crate) fn url(&self, path: &str) -> String {
        let mut endpoint = self.endpoint.clone();
        endpoint.host.truncate(endpoint.host.find('%').unwrap_or(endpoint.host.len()));
        format!("https://{endpoint}{}{path}", self.path)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_urls_of_servers() {
        for (text, meant) in [
            ("https://10.99.0.1:6443", "https://10.99.0.1:6443"),
            ("https://api.example.com", "https://api.example.com:443"),
            ("https://[fd00::1]:6443/", "https://[fd00::1]:6443"),
            ("https://[fd00::1]", "https://[fd00::1]:443"),
            (
                "https://rancher.example.com/k8s/clusters/c-1",
                "https://rancher.example.com:443/k8s/clusters/c-1",
            ),
        ] {
            let (server, meant) = (text.parse::<Server>().unwrap(), meant.parse::<Server>().unwrap());
            assert!(server.is_same(&meant) && server.endpoint == meant.endpoint, "{text}");
            assert_eq!((server.to_string().as_str(), server.url("/api")), (text, format!("{meant}/api")));
        }
        for wrong in [
            "http://10.0.0.1:6443",
            "10.0.0.1:6443",
            "https://",
            "https://a:b@host:1",
            "https://host:1/?a",
            "https://fd00::1",
        ] {
            assert!(wrong.parse::<Server>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn zones_are_not_sent() {
        let server: Server = "https://[fe80::1%eth0]:6443".parse().unwrap();
        assert_eq!(server.url("/api"), "https://[fe80::1]:6443/api");
    }
}
