//! `host:port` of a server.

use std::fmt;
use std::str::FromStr;

/// A host (name, IPv4 or IPv6 address, without brackets) and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `api.example.com`, `10.0.0.1`, `fd00::1`
    pub host: String,
    /// `6443`
    pub port: u16,
}

impl FromStr for Endpoint {
    type Err = String;

    /// Reads `host:port` or `[v6]:port`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => rest.split_once("]:").ok_or("an IPv6 address is written [address]:port")?,
            None => text.rsplit_once(':').ok_or("missing port in address")?,
        };
        let bracketed = text.starts_with('[');
        if host.is_empty() || (host.contains(':') != bracketed) {
            return Err(if host.is_empty() {
                "the host is empty"
            } else {
                "an IPv6 address is written [address]:port"
            }
            .to_owned());
        }
        if !host.bytes().all(|byte| byte.is_ascii_graphic() && !b"/@?#\\\"".contains(&byte)) {
            return Err("the host holds characters that no host name has".to_owned());
        }
        let port = port
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or("the port is not a number from 1 to 65535")?;
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(formatter, "[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_and_addresses() {
        for text in ["api.example.com:6443", "10.0.0.1:443", "[fd00::1]:6443", "[fe80::1%eth0]:6443"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_what_is_none() {
        for text in [
            "",
            "api",
            ":6443",
            "api:",
            "api:0",
            "api:70000",
            "fd00::1:6443",
            "[api]:6443",
            "https://api:6443",
            "[fd00::1]6443",
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }
}
