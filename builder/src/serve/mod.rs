//! `kiln serve`: boots a rack over HTTP. Each machine asks for its script, loads kernel and initrd, takes its
//! node config once and reports how its join ended.
//!
//! ```text
//! listen ─► service ─┬─► identity ─► machines ─► script
//!  wire              ├─► config, token
//!  tls               ├─► image, range, body
//!                    └─► page, access_log
//! ```
//!
//! This is the only part of the builder that waits for many connections at once, and the only one with an
//! asynchronous runtime: ten thousand machines that load an initrd at the same time would be as many threads.

mod access_log;
mod body;
mod config;
mod identity;
mod image;
mod journal;
mod listen;
mod machine;
mod machines;
mod page;
mod range;
mod script;
mod service;
mod tls;
mod token;
mod wire;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use access_log::AccessLog;
use config::Configs;
use image::{Image, Served};
use machines::{Machines, Rules};
use page::About;
use service::{Install, Pages, Service};
use tls::Authority;
use token::Tokens;

use crate::determinism::present;
use crate::disk_rule;
use crate::error::{Error, ErrorKind, Result};

pub use identity::Identity;

/// What to serve, and how.
#[derive(Debug)]
pub struct Settings {
    /// The output folder of a build.
    pub folder: PathBuf,
    /// Where to listen for plain HTTP.
    pub listen: SocketAddr,
    /// Where to listen for HTTPS.
    pub https_listen: Option<SocketAddr>,
    /// The URL by which machines reach the server.
    pub url: Option<String>,
    /// A folder of node configs, or one for all.
    pub config: Option<PathBuf>,
    /// The folder for what is remembered.
    pub state: Option<PathBuf>,
    /// Machines to be forgotten.
    pub forget: Vec<String>,
    /// The command that prints a bootstrap token.
    pub token_command: Vec<String>,
    /// Machines boot from their disks after they took their config.
    pub once: bool,
    /// The rule by which an installation chooses a disk.
    pub install: Option<String>,
    /// An installation may overwrite data.
    pub install_overwrite: bool,
    /// Programs for firmware to load: iPXE.
    pub ipxe: Vec<PathBuf>,
    /// How many connections one address may have.
    pub connections_per_address: usize,
    /// The file for the access log; none: standard output.
    pub access_log: Option<PathBuf>,
    /// Whether the log has JSON lines.
    pub json: bool,
}

/// A server that is bound and has not begun.
pub struct Server {
    service: Arc<Service>,
    listener: listen::Listener,
    /// What the user should know.
    pub notices: Vec<String>,
    /// What it serves: address and meaning.
    pub urls: Vec<(String, &'static str)>,
}

impl Server {
    /// Checks everything and binds the ports.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn open(settings: Settings) -> Result<Self> {
        let mut notices = Vec::new();
        let url = settings.url.as_deref().map(checked_url).transpose()?;
        let image = Image::open(&settings.folder)?;
        let tokens = match settings.token_command.is_empty() {
            true => None,
            false => Some(Tokens::new(settings.token_command)?),
        };
        let configs = match &settings.config {
            Some(path) => {
                let (configs, more) = Configs::open(path, tokens.is_some())?;
                notices.extend(more);
                Some(configs)
            }
            None => {
                notices.push("no --config: machines boot without a node config".to_owned());
                None
            }
        };
        let install = match settings.install {
            Some(rule) => {
                disk_rule::check(&rule, ("--install", ErrorKind::Usage))?;
                let disk = image.disk(&settings.folder)?;
                Some(Install { disk, rule, is_overwrite: settings.install_overwrite })
            }
            None => None,
        };
        if settings.state.is_none() {
            notices.push("no --state: what machines took is forgotten when the server ends".to_owned());
            if settings.install_overwrite {
                notices.push(
                    "--install-overwrite without --state: after a restart, installed machines that ask are wiped"
                        .to_owned(),
                );
            }
        }
        let rules = Rules { is_once: settings.once, is_install: install.is_some() };
        let machines = Machines::open(settings.state.as_deref(), rules, &settings.forget)?;
        notices.extend(machines.notices());
        let authority = match settings.https_listen {
            Some(_) => {
                let host = url.as_deref().and_then(service::host);
                let host = host.map(|host| host.trim_matches(['[', ']']).to_owned());
                Some(Arc::new(Authority::open(settings.state.as_deref(), host)?))
            }
            None => {
                notices.push("no --https-listen: machines do not report how their join ended".to_owned());
                None
            }
        };
        let programs = settings.ipxe.iter().map(|path| program(path)).collect::<Result<Vec<_>>>()?;
        let listener = listen::Listener::bind(
            settings.listen,
            settings.https_listen,
            authority.clone(),
            settings.connections_per_address,
        )?;
        let reports = listener.https_port().zip(authority.map(|authority| authority.pem.clone()));
        let base = url.clone().unwrap_or_else(|| format!("http://{}", listener.address()));
        let urls = urls(&base, &image, &programs);
        let service = Service {
            about: About { image: image.name.clone(), started: present() },
            image,
            configs,
            tokens,
            install,
            machines: Arc::new(machines),
            url,
            port: listener.address().port(),
            reports,
            programs,
            log: AccessLog::open(settings.access_log.as_deref(), settings.json)?,
            pages: Pages::default(),
        };
        Ok(Self { service: Arc::new(service), listener, notices, urls })
    }

    /// Where it listens: for HTTP, and for HTTPS.
    pub fn addresses(&self) -> (SocketAddr, Option<SocketAddr>) {
        (self.listener.address(), self.listener.https_address())
    }

    /// Serves until the process is asked to end (SIGTERM, SIGINT).
    ///
    /// # Errors
    /// The system refuses what a server needs.
    pub fn run(self) -> Result<()> {
        let service = self.service;
        self.listener.serve(&service)?;
        service.log.close();
        Ok(())
    }
}

fn urls(base: &str, image: &Image, programs: &[(String, Arc<Served>)]) -> Vec<(String, &'static str)> {
    let mut urls = vec![
        (format!("{base}/boot.ipxe"), "the script for iPXE: DHCP's boot file"),
        (format!("{base}/"), "the status, for a browser"),
        (format!("{base}/status.json"), "the same for programs"),
    ];
    urls.extend(programs.iter().map(|(name, _)| (format!("{base}/{name}"), "iPXE, for HTTP boot")));
    if image.uki().is_some() {
        urls.push((
            format!("{base}/uki.efi"),
            "the unified kernel image, for UEFI HTTP boot; it has no node config",
        ));
    }
    urls
}

/// A program and its name in the server's root.
fn program(path: &std::path::Path) -> Result<(String, Arc<Served>)> {
    // Packages have links with other versions behind them.
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = path.file_name().and_then(|name| name.to_str()).filter(|name| identity::is_plain(name));
    let name = name.ok_or_else(|| {
        Error::new(ErrorKind::Usage, format!("{}: the name cannot stand in a URL", path.display()))
            .help("rename the file")
    })?;
    Ok((name.to_owned(), Arc::new(Served::open(&real)?)))
}

/// A URL to which paths can be added, and which can stand in a script.
fn checked_url(url: &str) -> Result<String> {
    let wrong = |why: &str| {
        Error::new(ErrorKind::Usage, format!("--url {url}: {why}")).help("write http://NAME:PORT")
    };
    let parsed = reqwest::Url::parse(url).map_err(|error| wrong(&error.to_string()))?;
    let is_plain = parsed.scheme() == "http"
        && parsed.path() == "/"
        && parsed.query().is_none()
        && parsed.fragment().is_none()
        && parsed.username().is_empty()
        && parsed.password().is_none();
    if !is_plain || parsed.host_str().is_none() {
        return Err(wrong("it is more or less than scheme, host and port"));
    }
    Ok(parsed.as_str().trim_end_matches('/').to_owned())
}

/// Tells the operator. Standard error may be closed: that ends no service.
fn warn(message: &dyn std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "warning: {message}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_scripts_cannot_hold_are_refused() {
        for (url, expected) in [
            ("http://boot.example:8080", Some("http://boot.example:8080")),
            ("http://10.0.2.2:8080/", Some("http://10.0.2.2:8080")),
            ("http://[fd00::1]:80", Some("http://[fd00::1]")),
            ("https://boot.example", None),
            ("http://me:word@boot.example", None),
            ("http://boot.example/path", None),
            ("http://boot.example?x", None),
            ("boot.example", None),
            ("http://a b", None),
        ] {
            assert_eq!(checked_url(url).ok().as_deref(), expected, "{url}");
        }
    }
}
