//! Records of known vulnerabilities in the OSV format (<https://ossf.github.io/osv-schema/>, 1.7).

use std::cmp::Ordering;

use semver::Version;
use serde::{Deserialize, Deserializer};

use super::Component;
use crate::base::versions;

/// The largest record that is read, in bytes. Those of kernels list thousands of versions.
pub const LARGEST_RECORD: u64 = 32 << 20;

/// One record.
#[derive(Debug, Deserialize)]
pub struct Record {
    /// Its name in the database.
    pub id: String,
    #[serde(default, deserialize_with = "nullable")]
    aliases: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    upstream: Vec<String>,
    /// A line on what it is about.
    #[serde(default, deserialize_with = "nullable")]
    pub summary: String,
    #[serde(default)]
    withdrawn: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    affected: Vec<Affected>,
}

#[derive(Debug, Deserialize)]
struct Affected {
    #[serde(default)]
    package: Option<Package>,
    #[serde(default, deserialize_with = "nullable")]
    ranges: Vec<Range>,
    #[serde(default, deserialize_with = "nullable")]
    versions: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Package {
    ecosystem: String,
    name: String,
}

#[derive(Debug, Deserialize)]
struct Range {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, deserialize_with = "nullable")]
    events: Vec<Event>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Event {
    Introduced(String),
    Fixed(String),
    LastAffected(String),
    Limit(String),
}

/// How versions of an ecosystem compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    /// Of a base's packages.
    Package,
    /// Semantic versions (<https://semver.org>).
    Semver,
}

/// That a record is about a component.
#[derive(Debug, PartialEq, Eq)]
pub struct Hit {
    /// The nearest version that is not affected any more.
    pub fixed: Option<String>,
}

impl Record {
    /// Reads a record.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|error| error.to_string())
    }

    /// The ecosystems that it says something of.
    pub fn ecosystems(&self) -> impl Iterator<Item = &str> {
        self.affected
            .iter()
            .filter_map(|affected| affected.package.as_ref())
            .map(|package| package.ecosystem.as_str())
    }

    /// The names of the packages that it says something of.
    pub fn packages(&self) -> impl Iterator<Item = &str> {
        let packages = self.affected.iter().filter_map(|affected| affected.package.as_ref());
        packages.map(|package| package.name.as_str())
    }

    /// Whether its publisher took it back.
    pub fn is_withdrawn(&self) -> bool {
        self.withdrawn.is_some()
    }

    /// All of its names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        [&self.id].into_iter().chain(&self.aliases).chain(&self.upstream).map(String::as_str)
    }

    /// The vulnerabilities that it is about: an advisory of a distribution is often about several.
    pub fn vulnerabilities(&self) -> Vec<&str> {
        let mut found: Vec<&str> = self.names().filter(|name| name.starts_with("CVE-")).collect();
        if found.is_empty() {
            found.push(&self.id);
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Whether it is about `component` (OSV schema, "Evaluation").
    pub fn hit(&self, component: &Component) -> Option<Hit> {
        let of_it = self.affected.iter().filter(|affected| {
            affected
                .package
                .as_ref()
                .is_some_and(|package| package.name == component.name && component.is_of(&package.ecosystem))
        });
        let hits: Vec<Hit> = of_it.filter_map(|affected| affected.hit(component)).collect();
        let fixed = hits.iter().filter_map(|hit| hit.fixed.clone());
        let nearest = fixed.min_by(|a, b| component.order.compare(a, b).unwrap_or(Ordering::Equal));
        (!hits.is_empty()).then_some(Hit { fixed: nearest })
    }
}

impl Affected {
    fn hit(&self, component: &Component) -> Option<Hit> {
        let (order, version) = (component.order, component.version.as_str());
        let mut ranges = self.ranges.iter().filter(|range| range.kind != "GIT");
        if let Some(range) = ranges.find(|range| range.has(version, order)) {
            return Some(Hit { fixed: range.fixed_after(version, order) });
        }
        self.versions
            .iter()
            .any(|affected| affected == version || order.is(affected, Ordering::Equal, version))
            .then(|| Hit { fixed: self.ranges.iter().find_map(|range| range.fixed_after(version, order)) })
    }
}

impl Range {
    /// Whether the range has `version`: what the last event before it says.
    fn has(&self, version: &str, order: Order) -> bool {
        if order.compare(version, version).is_none() {
            return false;
        }
        let mut limits = self.events.iter().filter_map(Event::limit).peekable();
        let is_before_limits = limits.peek().is_none()
            || limits.any(|limit| limit == "*" || order.is(version, Ordering::Less, limit));
        let mut events: Vec<&Event> = self.events.iter().collect();
        events.sort_by(|a, b| a.compare(b, order));
        let mut is_affected = false;
        for event in events {
            match event {
                // A beginning that is no version hides nothing.
                Event::Introduced(from)
                    if from == "0" || order.compare(version, from).is_none_or(Ordering::is_ge) =>
                {
                    is_affected = true
                }
                Event::Fixed(fixed) if order.is_at_least(version, fixed) => is_affected = false,
                Event::LastAffected(last) if order.is(version, Ordering::Greater, last) => {
                    is_affected = false
                }
                _ => {}
            }
        }
        is_before_limits && is_affected
    }

    fn fixed_after(&self, version: &str, order: Order) -> Option<String> {
        let fixed = self.events.iter().filter_map(|event| match event {
            Event::Fixed(fixed) if order.is(fixed, Ordering::Greater, version) => Some(fixed),
            _ => None,
        });
        fixed.min_by(|a, b| order.compare(a, b).unwrap_or(Ordering::Equal)).cloned()
    }
}

impl Event {
    fn limit(&self) -> Option<&str> {
        match self {
            Self::Limit(limit) => Some(limit),
            _ => None,
        }
    }

    /// The version at which it happens. `0` is before every other.
    fn version(&self) -> Option<&str> {
        match self {
            Self::Introduced(version) if version == "0" => None,
            Self::Introduced(version)
            | Self::Fixed(version)
            | Self::LastAffected(version)
            | Self::Limit(version) => Some(version),
        }
    }

    fn compare(&self, other: &Self, order: Order) -> Ordering {
        match (self.version(), other.version()) {
            (Some(one), Some(other)) => order.compare(one, other).unwrap_or(Ordering::Equal),
            (one, other) => one.is_some().cmp(&other.is_some()),
        }
    }
}

impl Order {
    /// The order of two versions; `None` if one is no version.
    fn compare(self, left: &str, right: &str) -> Option<Ordering> {
        match self {
            Self::Package => Some(versions::compare(left, right)),
            Self::Semver => Some(semantic(left)?.cmp_precedence(&semantic(right)?)),
        }
    }

    fn is(self, left: &str, relation: Ordering, right: &str) -> bool {
        self.compare(left, right) == Some(relation)
    }

    fn is_at_least(self, version: &str, other: &str) -> bool {
        self.compare(version, other).is_some_and(Ordering::is_ge)
    }
}

/// A semantic version; databases leave out numbers at the end and write a `v` in front.
pub fn semantic(text: &str) -> Option<Version> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let numbers = text.split(['-', '+']).next().unwrap_or_default();
    let rest = &text[numbers.len()..];
    let missing = 2usize.checked_sub(numbers.matches('.').count())?;
    Version::parse(&format!("{numbers}{}{rest}", ".0".repeat(missing))).ok()
}

/// `null` stands for nothing.
fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
