//! The settings of a simulation, and the machine that is built from them.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::AtomicU32;
use std::time::Instant;

use nix::net::if_::if_nametoindex;

use crate::error::{Error, Result};
use crate::fault::{Act, Fault, Needs};
use crate::journal::Journal;
use crate::keeper::Keeper;
use crate::platform::{self, Address, Platform};
use crate::routes;
use crate::server::{Place, Running, Shared};
use crate::template::{USER_DATA, Values};
use crate::token::Tokens;

/// The settings of a simulation. They are checked when the machine is built.
#[derive(Debug, Clone, Default)]
pub struct Simulation {
    platform: String,
    user_data: Vec<u8>,
    sets: Vec<(String, String)>,
    faults: Vec<Fault>,
    family: Family,
}

/// Which addresses the machine has: IPv4, IPv6 or both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Family {
    /// IPv4 and IPv6.
    #[default]
    Both,
    /// Only IPv4.
    V4,
    /// Only IPv6.
    V6,
}

impl Family {
    /// Whether an address belongs to this family.
    pub fn has(self, ip: IpAddr) -> bool {
        match self {
            Self::Both => true,
            Self::V4 => ip.is_ipv4(),
            Self::V6 => ip.is_ipv6(),
        }
    }
}

impl Simulation {
    /// A simulation of the platform with that name.
    pub fn of(platform: &str) -> Self {
        Self { platform: platform.to_owned(), ..Self::default() }
    }

    /// Sets the user data.
    #[must_use]
    pub fn user_data(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.user_data = bytes.into();
        self
    }

    /// Sets a variable of the platform. An empty value removes it.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.sets.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a fault. If several faults fit a request, the first one is applied.
    #[must_use]
    pub fn fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// Limits the addresses to one family.
    #[must_use]
    pub fn family(mut self, family: Family) -> Self {
        self.family = family;
        self
    }

    /// Checks everything.
    pub fn build(self) -> Result<Machine> {
        let platform = platform::named(&self.platform)?;
        let mut texts = platform.variables.clone();
        for (name, value) in self.sets {
            if !texts.contains_key(&name) {
                let known: Vec<&str> = platform.variables.keys().map(String::as_str).collect();
                return Err(Error::usage(format!("{} has no variable {name:?}", platform.title))
                    .help(format!("it has {}", known.join(", "))));
            }
            texts.insert(name, value.replace("${", "$${"));
        }
        let mut values = Values { texts, user_data: self.user_data };
        let has_keeper = platform.services.iter().any(|service| service.keeper);
        let keeper = if has_keeper { Keeper::of(&values)? } else { None };
        if let Some(keeper) = &keeper {
            values.user_data = keeper.user_data();
        }
        check_length(&platform, &values.user_data)?;
        let services = routes::prepare(&platform, &values)?;
        Ok(Machine { platform, values, services, keeper, faults: self.faults, family: self.family })
    }

    /// Serves at one address, such as `127.0.0.1:0`, instead of the platform's own.
    pub fn serve(self, address: SocketAddr) -> Result<Running> {
        self.build()?.serve(address)
    }

    /// Serves at the platform's own addresses. The network namespace of the calling thread must have them:
    /// see [`crate::namespace`].
    pub fn serve_here(self) -> Result<Running> {
        self.build()?.serve_here()
    }
}

fn check_length(platform: &Platform, user_data: &[u8]) -> Result<()> {
    match platform.user_data_limit {
        Some(limit) if user_data.len() > limit => Err(Error::usage(format!(
            "{} takes {limit} bytes of user-data, these are {}",
            platform.title,
            user_data.len()
        ))
        .help("compress it, or let it name a document elsewhere")),
        _ => Ok(()),
    }
}

/// A machine of a platform.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Its platform.
    pub platform: Platform,
    /// Its values.
    pub values: Values,
    /// Which addresses it has.
    pub family: Family,
    services: Vec<routes::Prepared>,
    keeper: Option<Keeper>,
    faults: Vec<Fault>,
}

impl Machine {
    /// The value of a variable; `None` if the platform does not have it or it is absent.
    pub fn value(&self, name: &str) -> Option<String> {
        let is_known = name == USER_DATA || self.values.texts.contains_key(name);
        let bytes = if is_known { self.values.get(name).ok()? } else { return None };
        (!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The addresses of services that the machine can reach.
    pub fn addresses(&self) -> impl Iterator<Item = (usize, &Address, u16)> {
        let services = self.platform.services.iter().enumerate();
        let all = services.flat_map(|(number, service)| {
            service.addresses.iter().map(move |address| (number, address, service.port))
        });
        all.filter(|(_, address, _)| self.family.has(address.ip))
    }

    /// Whether a fault blocks all packets to the services. Then no server is needed.
    pub fn is_cut_off(&self) -> Option<Act> {
        self.faults
            .iter()
            .map(|fault| fault.script.act)
            .find(|act| matches!(act, Act::NoRoute | Act::BlackHole))
    }

    /// Serves at one address.
    pub fn serve(self, address: SocketAddr) -> Result<Running> {
        self.check_faults(false)?;
        self.start(&[(address, None)])
    }

    /// Serves at the platform's own addresses.
    pub fn serve_here(self) -> Result<Running> {
        self.check_faults(true)?;
        let places = if self.is_cut_off().is_some() { Vec::new() } else { self.places() };
        self.start(&places)
    }

    /// The addresses at which services can listen in the network namespace of the calling thread, each with
    /// its service's number. An address on a missing device is left out.
    pub fn places(&self) -> Vec<Place> {
        let has_v6 = has_v6();
        let addresses = self.addresses().filter(|(_, address, _)| has_v6 || address.ip.is_ipv4());
        addresses
            .filter_map(|(service, address, port)| Some((socket_address(address, port)?, Some(service))))
            .collect()
    }

    fn check_faults(&self, in_namespace: bool) -> Result<()> {
        let Some(fault) = self.faults.iter().find(|fault| !fault.applies(&self.platform, in_namespace))
        else {
            return Ok(());
        };
        let why = match fault.script.needs {
            Needs::Tokens => "it issues no tokens",
            Needs::Json => "its documents are not JSON",
            Needs::Namespace if !in_namespace => {
                "it takes the platform's own addresses: give a command after --"
            }
            _ => "it has no service in the network",
        };
        Err(Error::usage(format!(
            "the fault {} does not apply to {}: {why}",
            fault.script.name, self.platform.title
        )))
    }

    fn start(self, places: &[Place]) -> Result<Running> {
        let shared = Shared {
            services: self.services,
            form: self.platform.speaks,
            faults: self.faults.into_iter().map(|fault| (fault, AtomicU32::new(0))).collect(),
            tokens: Tokens::default(),
            keeper: self.keeper,
            journal: Journal::default(),
            began: Instant::now(),
            is_over: false.into(),
            open: Mutex::default(),
        };
        Running::start(shared, places)
    }
}

fn socket_address(address: &Address, port: u16) -> Option<SocketAddr> {
    let mut socket = SocketAddr::new(address.ip, port);
    if let (SocketAddr::V6(v6), Some(device)) = (&mut socket, &address.device) {
        v6.set_scope_id(if_nametoindex(device.as_str()).ok()?);
    }
    Some(socket)
}

/// Whether this machine's kernel has IPv6.
pub(crate) fn has_v6() -> bool {
    Path::new("/proc/net/if_inet6").exists()
}
