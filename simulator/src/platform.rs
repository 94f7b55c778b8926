//! The contents of a file in `platforms/`: addresses, the machine's evidence, and routes.
//!
//! | key | meaning |
//! |---|---|
//! | `title`, `speaks` | for people; the form of its documents: `json`, `text`, `yaml` |
//! | `user-data-limit` | the most bytes of user-data that the platform takes |
//! | `kernel-arguments` | what a machine of this platform has on its kernel command line |
//! | `[variables]` | values for `${…}`; one that is empty is absent: what consists of it alone is not there |
//! | `[smbios]` | files of `/sys/class/dmi/id` |
//! | `[files]` | other files of the machine |
//! | `[drive]` | `label`, and `files` of a configuration drive |
//! | `[[services]]` | `addresses`, `port`, `headers` of every answer, `demands`, `token`, `routes`; or `keeper` |
//! | `[[services.routes]]` | `path`, `method`, `query` and `header` that select it, `demands`, and the answer |
//!
//! A path may contain alternatives, `/{latest,1.0}/user-data`, and may end with `*`. A route with a `tree`
//! answers for everything below its path.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use contract::suggest::did_you_mean;
use serde::Deserialize;

use crate::error::{Error, Result};

/// All files with their names.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/platforms.rs"));

/// A platform.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Platform {
    /// The name of its file.
    #[serde(skip)]
    pub name: String,
    /// The name for users.
    pub title: String,
    /// The form of its documents.
    pub speaks: Form,
    /// The size limit of user data.
    pub user_data_limit: Option<usize>,
    /// Additions to the kernel command line.
    #[serde(default)]
    pub kernel_arguments: String,
    /// Values that the user may set.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    /// Files of `/sys/class/dmi/id`.
    #[serde(default)]
    pub smbios: BTreeMap<String, String>,
    /// Other files of the machine, by path.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// A config drive.
    pub drive: Option<Drive>,
    /// The services in the network.
    #[serde(default)]
    pub services: Vec<Service>,
}

/// The form of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// JSON documents.
    Json,
    /// Plain text: one value for each request.
    Text,
    /// YAML documents.
    Yaml,
}

/// A config drive.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Drive {
    /// The label of its file system.
    pub label: String,
    /// The files, by path.
    pub files: BTreeMap<String, String>,
}

/// A service at one or more addresses.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Service {
    /// The addresses. A link-local IPv6 address names its device: `fe80::a9fe:a9fe%eth0`.
    pub addresses: Vec<Address>,
    /// The port.
    #[serde(default = "http_port")]
    pub port: u16,
    /// Headers of every answer.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// What every request must contain.
    #[serde(default)]
    pub demands: Vec<Demand>,
    /// Tokens that a client must fetch first.
    pub token: Option<TokenDesk>,
    /// Whether it is the keeper of the user data, with its own answers ([`crate::keeper`]).
    #[serde(default)]
    pub keeper: bool,
    /// The answers. The first route that fits is used.
    #[serde(default)]
    pub routes: Vec<Route>,
}

fn http_port() -> u16 {
    80
}

/// An address of a service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// The device of a link-local address.
    pub device: Option<String>,
}

impl Address {
    /// Whether the address must name a device.
    pub fn is_link_local_v6(&self) -> bool {
        matches!(self.ip, IpAddr::V6(ip) if is_link_local(ip))
    }
}

fn is_link_local(ip: Ipv6Addr) -> bool {
    ip.segments()[0] & 0xffc0 == 0xfe80
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (ip, device) = text
            .split_once('%')
            .map_or((text.as_str(), None), |(ip, device)| (ip, Some(device.to_owned())));
        let ip: IpAddr = ip.parse().map_err(|_| format!("{text} is no address"))?;
        let address = Self { ip, device };
        if address.is_link_local_v6() != address.device.is_some() {
            return Err(format!("{text}: a link-local address of IPv6, and no other, names a device"));
        }
        Ok(address)
    }
}

/// A condition on requests, and the answer if it is not met.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Demand {
    /// A required header.
    pub header: Option<String>,
    /// A forbidden header.
    pub no_header: Option<String>,
    /// A required query parameter.
    pub query: Option<String>,
    /// The allowed values of the header or parameter; any if empty.
    #[serde(default)]
    pub is: Vec<String>,
    /// The limit of the source port: this port and higher ones are refused.
    pub source_port_below: Option<u16>,
    /// The status of the answer if the condition is not met.
    pub status: u16,
    /// The body of the answer if the condition is not met.
    #[serde(default)]
    pub body: String,
}

/// How a service issues and checks tokens.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TokenDesk {
    /// The path where a PUT gets a token.
    pub path: String,
    /// The header with the token's lifetime in seconds.
    pub seconds_header: String,
    /// The longest lifetime in seconds.
    pub most_seconds: u64,
    /// The header in which a client sends the token.
    pub header: String,
    /// The status without a valid token.
    pub status: u16,
}

/// One answer of a service.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Route {
    /// The path, with alternatives and an optional `*` at its end.
    pub path: String,
    /// The method; the default is GET.
    #[serde(default = "get")]
    pub method: String,
    /// Query parameters that select this route.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// Headers that select this route, each with a text that it must contain.
    #[serde(default)]
    pub header: BTreeMap<String, String>,
    /// Further conditions on requests, besides those of the service.
    #[serde(default)]
    pub demands: Vec<Demand>,
    /// Whether the route works without a token.
    #[serde(default)]
    pub open: bool,
    /// The status.
    #[serde(default = "ok")]
    pub status: u16,
    /// The content type of the body.
    pub content_type: Option<String>,
    /// Headers of this answer.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body as plain text.
    pub text: Option<String>,
    /// The body as a JSON document: values are escaped, absent values left out.
    pub json: Option<String>,
    /// How parts of the JSON document are served at paths below.
    pub tree: Option<Style>,
}

fn get() -> String {
    "GET".to_owned()
}

fn ok() -> u16 {
    200
}

/// How a document is served in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Style {
    /// A folder is a list of names, a value is text (EC2).
    Listing,
    /// The same, and JSON with `?recursive=true` (GCE).
    Gce,
    /// A folder is JSON, a value is text (Azure, Oracle).
    Json,
}

/// The names of all platforms.
pub fn names() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|file| file.0)
}

/// The platform with that name.
pub fn named(name: &str) -> Result<Platform> {
    let Some((name, text)) = FILES.iter().find(|file| file.0 == name) else {
        let meant = did_you_mean(name, names());
        return Err(Error::usage(format!("there is no platform {name:?}{meant}"))
            .help("kiln simulate --list shows all"));
    };
    parse(name, text)
}

fn parse(name: &str, text: &str) -> Result<Platform> {
    let mut platform: Platform =
        toml::from_str(text).map_err(|error| Error::system(format!("platforms/{name}.toml: {error}")))?;
    platform.name = name.to_owned();
    Ok(platform)
}

impl Platform {
    /// The ends of paths that serve only the user data.
    pub fn user_data_paths(&self) -> Vec<String> {
        let routes = self.services.iter().flat_map(|service| &service.routes);
        let documents = routes.filter(|route| {
            route.text.as_deref().is_some_and(|text| text.starts_with("${user-data"))
                && !route.path.ends_with('*')
        });
        documents
            .flat_map(|route| {
                route
                    .path
                    .trim_end_matches('}')
                    .rsplit('/')
                    .next()
                    .unwrap_or_default()
                    .split(',')
                    .map(|end| format!("*/{end}"))
            })
            .collect()
    }

    /// Whether the platform issues tokens.
    pub fn has_tokens(&self) -> bool {
        self.services.iter().any(|service| service.token.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_a_platform() {
        let mut count = 0;
        for name in names() {
            let platform = named(name).unwrap();
            assert!(!platform.title.is_empty());
            count += 1;
        }
        assert!(count >= 20, "{count}");
    }

    #[test]
    fn addresses_are_checked() {
        for (text, is_good) in [
            ("169.254.169.254", true),
            ("fd00:ec2::254", true),
            ("fe80::1%eth0", true),
            ("fe80::1", false),
            ("fd00::1%eth0", false),
            ("a", false),
        ] {
            assert_eq!(Address::try_from(text.to_owned()).is_ok(), is_good, "{text}");
        }
    }

    #[test]
    fn a_wrong_key_is_named() {
        let error = parse("x", "title = \"X\"\nspeaks = \"json\"\nadresses = []").unwrap_err();
        assert!(error.message.contains("platforms/x.toml") && error.message.contains("adresses"), "{error}");
        assert_eq!(named("ec3").unwrap_err().help.as_deref(), Some("kiln simulate --list shows all"));
    }
}
