//! What a platform is to the agent: one row of data.

use std::time::Duration;

use crate::document::{Document, UserData};
use crate::error::Result;
use crate::evidence::{Evidence, Field, Sign};
use crate::facts::Facts;
use crate::host::root::Root;
use crate::instance_data::InstanceData;
use crate::net::service::{Protocol, Service};
use crate::net::{Deadline, Endpoint};
use crate::platforms::delivery::Follow;
use crate::reporter::Reporter;

/// Time limit for reading the metadata of a platform that sets no other.
pub(crate) const DEFAULT_DEADLINE: Duration = Duration::from_secs(120);

/// Makes secrets unreadable where they came from; returns a description of what it overwrote.
pub type Scrub = fn(&Root) -> Result<Option<String>>;

/// A platform: where a machine runs. How it is recognized, and how its metadata is read.
#[derive(Debug)]
pub struct Platform {
    /// `ec2`
    pub name: &'static str,
    /// Any of these proves the platform. Without signs, only a pin selects it.
    pub signs: &'static [Sign],
    /// Any of these proves that the machine only looks like it.
    pub look_alikes: &'static [Sign],
    /// Reads facts and user data.
    pub read: fn(&mut ReadContext) -> Result<PlatformData>,
    /// Time limit for `read`: some metadata services start late.
    pub deadline: Duration,
    /// Template of a node's provider-id, where the platform's cloud controller manager wants one:
    /// `aws:///${zone}/${instance-id}`.
    pub provider_id: Option<&'static str>,
    /// Template of the node's name when the config has none: `${hostname}`; none to use the host's name.
    pub node_name: Option<&'static str>,
    /// What the metadata guard keeps pods from.
    pub guarded: Guarded,
    /// Reporters of the platform.
    pub reporters: &'static [&'static Reporter],
    /// The signed document by which a machine proves its identity, where the platform has one.
    pub attestation: Option<Attestation>,
    /// Makes the secrets of the user data unreadable at their origin, once they are used.
    pub scrub: Option<Scrub>,
    /// Gets user data that the platform keeps elsewhere and names in its metadata service.
    pub follow: Option<Follow>,
}

/// What gives a platform's secrets to any client on the machine.
#[derive(Debug, Clone, Copy)]
pub enum Guarded {
    /// Nothing: the data is on a disk, in the firmware or in a channel of the hypervisor.
    Nothing,
    /// Services at addresses that are the same on each machine.
    Addresses(&'static [&'static str]),
    /// Servers that only this machine can name; none where its data is not on the network.
    Servers(fn(&Evidence) -> Result<Vec<Endpoint>>),
}

impl Platform {
    /// A platform with defaults in every field but its name and reader.
    pub(crate) const fn named(
        name: &'static str,
        read: fn(&mut ReadContext) -> Result<PlatformData>,
    ) -> Self {
        Self {
            name,
            signs: &[],
            look_alikes: &[],
            read,
            deadline: DEFAULT_DEADLINE,
            provider_id: None,
            node_name: None,
            guarded: Guarded::Nothing,
            reporters: &[],
            attestation: None,
            scrub: None,
            follow: None,
        }
    }
}

/// A document in which the platform says, under its signature, which of its machines this is.
#[derive(Debug)]
pub struct Attestation {
    /// The kind of document, for the receiver.
    pub kind: &'static str,
    /// Addresses of the service that signs.
    pub addresses: &'static [&'static str],
    /// The service's protocol.
    pub protocol: Protocol,
    /// The document's path, for an audience and a nonce.
    pub path: fn(&str, &str) -> String,
    /// The document in an answer.
    pub document: fn(&str) -> Option<String>,
}

/// Everything that a platform reads its metadata with.
pub struct ReadContext<'a> {
    /// The machine's evidence, and its files.
    pub evidence: &'a Evidence,
    /// Time limit for all reads together.
    pub deadline: Deadline,
    /// Notices for the operator; never a secret.
    pub notices: Vec<String>,
    /// Fetches a URL configured by the operator, within a time limit: at most [`crate::document::LIMIT`]
    /// bytes, https by the system's CAs.
    pub fetch: &'a dyn Fn(&str, Deadline) -> Result<Document>,
    /// Address of the metadata service, where it is not the platform's usual one: tests run a service of
    /// their own.
    pub service: Option<&'a str>,
}

impl ReadContext<'_> {
    /// The machine's files.
    pub(crate) fn root(&self) -> &Root {
        self.evidence.root()
    }

    /// A client of the metadata service at the first of `addresses` that answers.
    pub(crate) fn service(&self, addresses: &[&str], protocol: Protocol) -> Service {
        match self.service {
            Some(address) => Service::new(&[address], protocol, self.deadline),
            None => Service::new(addresses, protocol, self.deadline),
        }
    }

    /// Compares the machine's id with the one in its firmware, on platforms that put it there. A difference
    /// is a notice and a losing candidate; the service's word counts. Returns whether they agree.
    pub(crate) fn compare_id(&mut self, field: Field, firmware: Option<String>, facts: &mut Facts) -> bool {
        let (Some(firmware), Some(id)) = (firmware, facts.instance_id.value().cloned()) else { return true };
        if firmware.eq_ignore_ascii_case(&id) {
            return true;
        }
        self.notice(format!(
            "warning: the metadata service calls this machine {id}, smbios {} {firmware}",
            field.name()
        ));
        facts.instance_id.add(firmware, format!("smbios {}", field.name()));
        false
    }

    /// Adds a notice for the operator.
    pub(crate) fn notice(&mut self, notice: impl Into<String>) {
        self.notices.push(notice.into());
    }
}

/// Metadata that a platform has for a machine.
#[derive(Debug, Default)]
pub struct PlatformData {
    /// Facts about the machine.
    pub facts: Facts,
    /// The platform's documents, for templates in the user data.
    pub instance_data: InstanceData,
    /// None where the platform has no user data for this machine.
    pub user_data: Option<UserData>,
}
