//! User data that a platform keeps elsewhere than in its metadata service, and names there.

use crate::document::Document;
use crate::error::Result;
use crate::facts::Facts;
use crate::net::service::{Protocol, Service};
use crate::net::trust::Trust;
use crate::net::{Deadline, Network};

/// Gets user data that lies elsewhere; none if the platform does not know how.
pub type Follow = fn(&Reach, Named) -> Result<Option<Delivered>>;

/// What names the user data.
#[derive(Clone, Copy)]
pub enum Named<'a> {
    /// A script that cloud-init would run.
    Boothook(&'a [u8]),
    /// The URL of an Ignition config. It may be secret.
    Ignition(&'a str),
}

/// The way to a platform's services.
pub struct Reach<'a> {
    /// The facts about the machine.
    pub facts: &'a Facts,
    /// The machine's way to the network.
    pub network: Network,
    /// Time limit of all requests together.
    pub deadline: Deadline,
    /// Trust in servers of the platform's API; made only if it is needed.
    pub trust: &'a dyn Fn() -> Result<Trust>,
    /// Address of the metadata service, where it is not the usual one: tests run a service of their own.
    pub service: Option<&'a str>,
}

impl Reach<'_> {
    /// A client of the metadata service.
    pub(crate) fn service(&self, addresses: &[&str], protocol: Protocol) -> Service {
        match self.service {
            Some(address) => Service::new(&[address], protocol, self.deadline),
            None => Service::new(addresses, protocol, self.deadline),
        }
    }
}

/// User data, and what is left of it where it came from.
pub struct Delivered {
    /// The user data.
    pub document: Document,
    /// Deletes it there, once it is used; none if it stays.
    pub remains: Option<Remains>,
}

/// Deletes secrets of a platform.
pub type Delete = Box<dyn Fn(&Reach) -> Result<()>>;

/// Secrets that a used config leaves behind.
pub struct Remains {
    /// `2 secrets of AWS Secrets Manager`
    pub what: String,
    /// Deletes them.
    pub delete: Delete,
}
