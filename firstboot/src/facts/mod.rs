//! Facts about the machine: one typed record. Each field has its origin, its time, and the values of other
//! origins.
//!
//! The first value counts. A later value that differs is kept as a losing candidate, for `firstboot explain`.

mod publish;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::SystemTime;

use crate::text::{is_hidden, visible};

pub use publish::{PATH, publish};

/// The text fields that every machine may have, by their names in kebab-case.
pub const NAMES: &[&str] =
    &["platform", "instance-id", "hostname", "region", "zone", "instance-type", "provider-id", "lifecycle"];

/// A value with its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate<T> {
    /// The value.
    pub value: T,
    /// The origin: a URL without its query, a path, `smbios product_serial`.
    pub source: String,
    /// When it was read.
    pub time: SystemTime,
}

/// A field of the record: the value that counts, and the losing candidates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact<T>(Vec<Candidate<T>>);

impl<T> Default for Fact<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: PartialEq> Fact<T> {
    /// Adds a value. The first one counts; adding the same value again changes nothing.
    pub fn add(&mut self, value: T, source: impl Into<String>) {
        if self.0.iter().all(|said| said.value != value) {
            let source = visible(&source.into(), &[]).into_owned();
            self.0.push(Candidate { value, source, time: SystemTime::now() });
        }
    }

    /// Adds a value, if there is one.
    pub fn add_some(&mut self, value: Option<T>, source: impl Into<String>) {
        if let Some(value) = value {
            self.add(value, source);
        }
    }
}

impl<T> Fact<T> {
    /// The value that counts.
    pub fn value(&self) -> Option<&T> {
        self.0.first().map(|said| &said.value)
    }

    /// The value that counts, with its origin.
    pub fn chosen(&self) -> Option<&Candidate<T>> {
        self.0.first()
    }

    /// The losing candidates.
    pub fn others(&self) -> &[Candidate<T>] {
        self.0.get(1..).unwrap_or_default()
    }

    /// Adds the values of `other` after those of this field.
    fn merge(&mut self, other: Self)
    where
        T: PartialEq,
    {
        for said in other.0 {
            if self.0.iter().all(|mine| mine.value != said.value) {
                self.0.push(said);
            }
        }
    }
}

/// From where an address can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Machines of the same private network.
    Private,
    /// The internet.
    Public,
}

impl Scope {
    /// The scope of an address by its range (RFC 1918, RFC 6598, RFC 4193).
    pub(crate) fn of(ip: IpAddr) -> Self {
        let is_private = match ip {
            IpAddr::V4(ip) => {
                ip.is_private()
                    || ip.is_link_local()
                    || (ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64)
            }
            IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
        };
        if is_private { Self::Private } else { Self::Public }
    }
}

/// An address of the machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// From where it can be reached.
    pub scope: Scope,
    /// The address.
    pub ip: IpAddr,
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scope = if self.scope == Scope::Private { "private" } else { "public" };
        write!(formatter, "{} ({scope})", self.ip)
    }
}

/// The facts about a machine. None of them is secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The platform's name.
    pub platform: Fact<String>,
    /// The platform's ID of this machine. It changes when the machine is rebuilt.
    pub instance_id: Fact<String>,
    /// The platform's name of the host.
    pub hostname: Fact<String>,
    /// All addresses in the platform's order.
    pub addresses: Fact<Vec<Address>>,
    /// Region.
    pub region: Fact<String>,
    /// Zone within the region.
    pub zone: Fact<String>,
    /// The instance type, in the platform's words.
    pub instance_type: Fact<String>,
    /// The provider-id, if the platform reports it. Otherwise it comes from the platform's template.
    pub provider_id: Fact<String>,
    /// Whether the platform may remove the machine at any time.
    pub spot: Fact<bool>,
    /// The target lifecycle state, such as `Warmed:Stopped` or `InService`.
    pub lifecycle: Fact<String>,
    /// The user's tags, metadata and labels for the machine on its platform.
    pub tags: Fact<BTreeMap<String, String>>,
    /// Facts that only this platform has, by names in kebab-case: `project`, `resource-id`, `partition`.
    pub extra: BTreeMap<&'static str, Fact<String>>,
}

impl Facts {
    /// A text field by its name in kebab-case. An unknown name is a key of [`Facts::extra`].
    pub fn fact(&mut self, name: &'static str) -> &mut Fact<String> {
        match name {
            "platform" => &mut self.platform,
            "instance-id" => &mut self.instance_id,
            "hostname" => &mut self.hostname,
            "region" => &mut self.region,
            "zone" => &mut self.zone,
            "instance-type" => &mut self.instance_type,
            "provider-id" => &mut self.provider_id,
            "lifecycle" => &mut self.lifecycle,
            other => self.extra.entry(other).or_default(),
        }
    }

    /// The value of a text field by its name in kebab-case, as in templates and published metadata.
    pub fn text(&self, name: &str) -> Option<&str> {
        let fact = match name {
            "platform" => &self.platform,
            "instance-id" => &self.instance_id,
            "hostname" => &self.hostname,
            "region" => &self.region,
            "zone" => &self.zone,
            "instance-type" => &self.instance_type,
            "provider-id" => &self.provider_id,
            "lifecycle" => &self.lifecycle,
            other => self.extra.get(other)?,
        };
        fact.value().map(String::as_str)
    }

    /// Adds addresses, each once.
    pub(crate) fn add_addresses(&mut self, addresses: Vec<Address>, source: &str) {
        let mut each_once: Vec<Address> = Vec::new();
        for address in addresses {
            if each_once.iter().all(|other| other.ip != address.ip) {
                each_once.push(address);
            }
        }
        self.addresses.add_some((!each_once.is_empty()).then_some(each_once), source);
    }

    /// Adds the facts of `other` after those that exist, without texts that have hidden characters: those
    /// could forge lines of the output.
    pub fn merge(&mut self, other: Self) {
        let texts = [
            (&mut self.platform, other.platform),
            (&mut self.instance_id, other.instance_id),
            (&mut self.hostname, other.hostname),
            (&mut self.region, other.region),
            (&mut self.zone, other.zone),
            (&mut self.instance_type, other.instance_type),
            (&mut self.provider_id, other.provider_id),
            (&mut self.lifecycle, other.lifecycle),
        ];
        texts
            .into_iter()
            .for_each(|(mine, others)| mine.merge(printable(others, |text| is_printable(text))));
        self.addresses.merge(other.addresses);
        self.spot.merge(other.spot);
        let is_tag = |(key, value): (&String, &String)| is_printable(key) && is_printable(value);
        self.tags.merge(printable(other.tags, |tags| tags.iter().all(is_tag)));
        for (name, fact) in other.extra {
            self.extra.entry(name).or_default().merge(printable(fact, |text| is_printable(text)));
        }
    }
}

fn printable<T>(mut fact: Fact<T>, is_printable: impl Fn(&T) -> bool) -> Fact<T> {
    fact.0.retain(|said| is_printable(&said.value));
    fact
}

fn is_printable(text: &str) -> bool {
    !text.contains(is_hidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_counts_and_the_others_are_kept() {
        let mut zone = Fact::default();
        zone.add("a".to_owned(), "smbios");
        zone.add("b".to_owned(), "http://169.254.169.254/zone");
        zone.add("a".to_owned(), "again");
        assert_eq!((zone.value().map(String::as_str), zone.others().len()), (Some("a"), 1));
        assert_eq!(zone.others()[0].source, "http://169.254.169.254/zone");
    }

    #[test]
    fn texts_that_could_forge_lines_are_no_facts() {
        let (mut facts, mut hostile) = (Facts::default(), Facts::default());
        hostile.region.add("r\nfirstboot-verdict: {}".to_owned(), "x");
        hostile.fact("name").add("\u{1b}]0;x".to_owned(), "x");
        hostile.tags.add(BTreeMap::from([("a".to_owned(), "\r".to_owned())]), "x");
        hostile.zone.add("z".to_owned(), "x");
        facts.merge(hostile);
        assert_eq!((facts.text("region"), facts.text("name"), facts.text("zone")), (None, None, Some("z")));
        assert!(facts.tags.value().is_none());
    }

    #[test]
    fn facts_are_found_by_name_and_absorbed() {
        let (mut facts, mut late) = (Facts::default(), Facts::default());
        facts.region.add("r1".to_owned(), "x");
        late.region.add("r2".to_owned(), "y");
        late.fact("project").add("p".to_owned(), "y");
        facts.merge(late);
        assert_eq!(
            (facts.text("region"), facts.text("project"), facts.text("zone"), facts.text("nonsense")),
            (Some("r1"), Some("p"), None, None)
        );
        assert_eq!(facts.region.others().len(), 1);
    }
}
