//! Sources: where facts of the machine and its node config come from. A platform is one file here and one line in [`SOURCES`].
//!
//! One machine has one platform ([`crate::evidence::detect`]), and only its source is read. Beside it there are [`PLACES`] by which whoever
//! owns the machine names a config himself; they come before the platform's user-data:
//!
//! | order | place | what names it | network |
//! |---|---|---|---|
//! | 1 | URL | `firstboot.config=URL` on the kernel command line, with `firstboot.config-sha256=` where it is not https | only here |
//! | 2 | inline | `firstboot.config-inline=BASE64` on the kernel command line | no |
//! | 3 | credential | `firstboot.config`, a credential of systemd | no |
//! | 4 | file | `/etc/firstboot/config.yaml`, then `/run/firstboot/config.yaml` | no |
//!
//! Whoever boots the machine has the first word, and what he says comes before what the image holds.
//!
//! An error ends the search: what was meant for this machine must not be replaced by something else.

pub mod credential;
pub mod document;
pub mod documents;
pub mod drive;
pub mod inline;
pub mod nocloud;
pub mod ovf;
pub mod variables;

mod akamai;
mod alibaba;
pub(crate) mod azure;
mod cloudstack;
mod digitalocean;
pub(crate) mod ec2;
mod equinix;
mod exoscale;
mod file;
pub(crate) mod gce;
mod hetzner;
mod http;
mod hyperv;
mod json;
mod keys;
mod kubevirt;
mod metal;
mod nutanix;
mod openstack;
mod oracle;
mod proxmox;
mod qemu;
mod scaleway;
mod upcloud;
mod url;
mod vmware;
mod vultr;

#[cfg(test)]
mod http_cases;
#[cfg(test)]
mod redirect;
#[cfg(test)]
pub(crate) mod test_service;

use std::time::Duration;

pub use document::Document;

use crate::error::Result;
use crate::evidence::{CommandLine, Evidence, Sign};
use crate::facts::Facts;
use crate::host::root::Root;
use crate::net::Deadline;
use crate::net::service::{Protocol, Service};

/// All sources. Where two are recognised by equally strong signs, the first one counts.
pub const SOURCES: &[&Source] = &[
    &ec2::SOURCE,
    &gce::SOURCE,
    &azure::SOURCE,
    &digitalocean::SOURCE,
    &hetzner::SOURCE,
    &vultr::SOURCE,
    &scaleway::SOURCE,
    &oracle::SOURCE,
    &exoscale::SOURCE,
    &akamai::SOURCE,
    &upcloud::SOURCE,
    &alibaba::SOURCE,
    &equinix::SOURCE,
    &vmware::SOURCE,
    &hyperv::SOURCE,
    &kubevirt::SOURCE,
    &nutanix::SOURCE,
    // Software that many clouds run comes after the clouds.
    &cloudstack::SOURCE,
    &openstack::SOURCE,
    &nocloud::SOURCE,
    &qemu::SOURCE,
    &proxmox::SOURCE,
    &metal::SOURCE,
];

/// Places by which a config is named from outside the platform, in their order.
pub const PLACES: &[(&str, Look)] =
    &[("url", url::look), ("inline", inline::look), ("credential", credential::look), (FILE, file::look)];

/// The name of the place that is a file of this machine.
pub const FILE: &str = "file";

/// How long a source may take altogether, when it says nothing else.
pub const USUAL_DEADLINE: Duration = Duration::from_secs(120);

/// Makes secrets unreadable where they came from; says what it did.
pub type Scrub = fn(&Root) -> Result<Option<String>>;

/// A platform: how it is recognised, and how its metadata is read.
#[derive(Debug)]
pub struct Source {
    /// `ec2`
    pub name: &'static str,
    /// Any of these proves it. Without any, only a pin does.
    pub signs: &'static [Sign],
    /// Any of these proves that it only looks like it.
    pub look_alikes: &'static [Sign],
    /// Reads facts and user-data.
    pub read: fn(&mut Reader) -> Result<Reading>,
    /// How long that may take: the services of some platforms come late.
    pub deadline: Duration,
    /// What a node's provider-id is made of, where the platform's cloud controller manager wants one: `aws:///${zone}/${instance-id}`.
    pub provider_id: Option<&'static str>,
    /// What the node is called when its config does not say: `${hostname}`; none to take the host's own name.
    pub node_name: Option<&'static str>,
    /// Addresses that serve secrets to whoever asks; pods are kept from them.
    pub guarded: &'static [&'static str],
    /// Makes the secrets of the user-data unreadable at its origin, once they are used.
    pub scrub: Option<Scrub>,
}

impl Source {
    /// Nothing but a name: what a source of its own does not say.
    pub const fn named(name: &'static str, read: fn(&mut Reader) -> Result<Reading>) -> Self {
        Self {
            name,
            signs: &[],
            look_alikes: &[],
            read,
            deadline: USUAL_DEADLINE,
            provider_id: None,
            node_name: None,
            guarded: &[],
            scrub: None,
        }
    }
}

/// What a source works with.
pub struct Reader<'a> {
    /// The machine's evidence, and its files.
    pub evidence: &'a Evidence,
    /// Until when everything must be read.
    pub deadline: Deadline,
    /// What a person should know of the search; never a secret.
    pub remarks: Vec<String>,
    /// Gets a URL that whoever made the machine named: at most [`document::LIMIT`] bytes, https by the system's CAs.
    pub fetch: &'a dyn Fn(&str) -> Result<Document>,
}

impl Reader<'_> {
    /// The machine's files.
    pub fn root(&self) -> &Root {
        self.evidence.root()
    }

    /// A client of the metadata service at the first of `addresses` that answers.
    pub fn service(&self, addresses: &[&str], protocol: Protocol) -> Service {
        #[cfg(test)]
        if let Some(address) = redirect::address() {
            return Service::new(&[&address], protocol, self.deadline);
        }
        Service::new(addresses, protocol, self.deadline)
    }

    /// Takes note of something that a person should know.
    pub fn remark(&mut self, remark: impl Into<String>) {
        self.remarks.push(remark.into());
    }
}

/// What a source has.
#[derive(Debug, Default)]
pub struct Reading {
    /// What it knows of the machine.
    pub facts: Facts,
    /// The user-data, if there is any.
    pub user_data: Option<UserData>,
}

/// User-data, and where exactly it was.
#[derive(Debug)]
pub struct UserData {
    /// The bytes: secret, as tokens are in it.
    pub document: Document,
    /// A path, a device, a URL without what may be secret in it.
    pub origin: String,
    /// A detached signature that lies beside it, in minisign's text form.
    pub signature: Option<String>,
}

impl UserData {
    /// User-data without a signature beside it; none when it is blank.
    pub fn new(document: Document, origin: impl Into<String>) -> Option<Self> {
        (!document.is_blank()).then(|| Self { document, origin: origin.into(), signature: None })
    }
}

/// What a place may look at.
pub struct Surroundings<'a> {
    /// The machine's files.
    pub root: &'a Root,
    /// The kernel command line.
    pub command_line: &'a CommandLine,
    /// Gets a URL: at most [`document::LIMIT`] bytes, https by the system's CAs. Called for a URL of the command line only.
    pub fetch: &'a dyn Fn(&str) -> Result<Document>,
}

/// A place: looks, adds remarks, says where exactly it found what.
pub type Look = fn(&Surroundings, &mut Vec<String>) -> Result<Option<UserData>>;

/// What is named from outside the platform: the place's name, and what is there. Places that are not believed are not looked at.
pub fn named(
    surroundings: &Surroundings,
    is_believed: &dyn Fn(&str) -> bool,
    remarks: &mut Vec<String>,
) -> Result<Option<(&'static str, UserData)>> {
    for (place, look) in PLACES.iter().filter(|(place, _)| is_believed(place)) {
        if let Some(found) = look(surroundings, remarks)? {
            return Ok(Some((place, found)));
        }
    }
    Ok(None)
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "http_tests.rs"]
mod http_tests;
