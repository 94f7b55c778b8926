//! A machine that was seen.

use std::collections::VecDeque;
use std::net::IpAddr;

use contract::product_uuid::doubt;
use serde::{Deserialize, Serialize};

use super::config::Config;
use super::identity::Identity;
use crate::determinism::present;

/// How many IDs of earlier scripts are known to be void.
pub(super) const MOST_VOID: usize = 4;

/// How many more interfaces of a machine are remembered.
const MOST_INTERFACES: usize = 8;

/// How far a machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Phase {
    /// It asked and got nothing to boot.
    Seen,
    /// It has its script.
    Script,
    /// It loads the initrd.
    Loading,
    /// It has its config.
    ConfigTaken,
    /// An image is written to its disk.
    Installing,
    /// Its disk has the image.
    Installed,
    /// The installation failed.
    InstallFailed,
    /// The agent reported success.
    Joined,
    /// The agent reported another outcome.
    Failed,
}

/// Something that an address did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Event {
    /// Seconds since 1970.
    pub time: u64,
    pub address: IpAddr,
}

/// The IDs of a script: random, and each good for one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ids {
    pub config: String,
    /// In the config, and nowhere else.
    pub report: String,
    pub boot: String,
    pub install: String,
}

impl Ids {
    pub fn all(&self) -> [&String; 4] {
        [&self.config, &self.report, &self.boot, &self.install]
    }
}

/// A machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Machine {
    pub mac: Option<String>,
    /// Of other interfaces from which it booted.
    #[serde(default)]
    pub more_macs: Vec<String>,
    pub uuid: Option<String>,
    pub serial: Option<String>,
    pub arch: Option<String>,
    /// The address from which it asked last.
    pub address: IpAddr,
    pub first_seen: u64,
    pub last_seen: u64,
    pub phase: Phase,
    /// Of what is being loaded or written.
    pub percent: Option<u8>,
    /// Why it got nothing, or what its report says.
    pub message: Option<String>,
    /// The name of its node.
    pub node: Option<String>,
    /// The class of its failure.
    pub class: Option<String>,
    /// The disk that was written.
    pub disk: Option<String>,
    pub is_installed: bool,
    /// How many scripts it got.
    pub scripts: u32,
    /// Who has its config.
    pub taken: Option<Event>,
    /// How many requests for its config were refused, and the last one.
    pub refused: u32,
    pub last_refused: Option<Event>,
    /// Only in the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<Ids>,
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub void: VecDeque<String>,
    #[serde(skip)]
    pub waiting: Option<Waiting>,
}

/// A config that was not taken yet.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub config: Config,
    /// Who has begun to take it. Nobody else may go on.
    pub by: Option<IpAddr>,
    pub is_on_its_way: bool,
    pub cut_off: u8,
}

impl Machine {
    pub fn new(identity: &Identity, address: IpAddr) -> Self {
        Self {
            mac: identity.mac.clone(),
            more_macs: Vec::new(),
            uuid: identity.uuid.clone(),
            serial: identity.serial.clone(),
            arch: identity.arch.map(|arch| arch.name().to_owned()),
            address,
            first_seen: present(),
            last_seen: present(),
            phase: Phase::Seen,
            percent: None,
            message: None,
            node: None,
            class: None,
            disk: None,
            is_installed: false,
            scripts: 0,
            taken: None,
            refused: 0,
            last_refused: None,
            ids: None,
            void: VecDeque::new(),
            waiting: None,
        }
    }

    /// It asks again and says this of itself.
    pub fn asks(&mut self, identity: &Identity, address: IpAddr) {
        (self.address, self.last_seen) = (address, present());
        let mac = identity.mac.as_ref().filter(|mac| self.mac.as_ref().is_some_and(|own| own != *mac));
        if let Some(mac) = mac
            && !self.more_macs.contains(mac)
            && self.more_macs.len() < MOST_INTERFACES
        {
            self.more_macs.push(mac.clone());
        }
        self.mac = self.mac.take().or_else(|| identity.mac.clone());
        // Its other interfaces are known by it: nobody takes it away from a machine with something to lose.
        if self.uuid.is_none() || !self.is_settled() {
            self.uuid = identity.uuid.clone().or(self.uuid.take());
        }
        self.serial = identity.serial.clone().or(self.serial.take());
        let arch = identity.arch.map(|arch| arch.name().to_owned());
        self.arch = arch.or(self.arch.take());
    }

    /// The UUID, if it tells machines apart.
    pub fn own_uuid(&self) -> Option<&str> {
        self.uuid.as_deref().filter(|uuid| doubt(uuid).is_none())
    }

    /// Whether this is a name of it. Hyphens in a MAC are colons.
    pub fn is_called(&self, name: &str) -> bool {
        let mac = name.replace('-', ":");
        self.mac.iter().chain(&self.more_macs).any(|each| each.eq_ignore_ascii_case(&mac))
            || [&self.uuid, &self.serial]
                .into_iter()
                .flatten()
                .any(|each| each.eq_ignore_ascii_case(name))
    }

    /// Whether it has its config or its image: it must not be taken for a stranger.
    pub fn is_settled(&self) -> bool {
        self.taken.is_some() || self.is_installed
    }

    /// Whether it asked and got nothing.
    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Seen && self.message.is_some() && !self.is_settled()
    }

    /// The same without what the status does not show.
    pub fn shown(&self) -> Self {
        Self { ids: None, void: VecDeque::new(), waiting: None, ..self.clone() }
    }

    /// Makes its IDs void. Returns the one that is forgotten.
    pub fn become_void(&mut self) -> Option<String> {
        self.waiting = None;
        let ids = self.ids.take()?;
        self.void.push_back(ids.config);
        if self.void.len() > MOST_VOID { self.void.pop_front() } else { None }
    }
}
