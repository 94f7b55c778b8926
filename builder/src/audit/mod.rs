//! Known vulnerabilities in what a lock pins, looked up in a local copy of an OSV database.
//!
//! Packages are looked up by their source package, parts by the Go module that they are built from. What is
//! compiled into a part is not looked into.

mod database;
mod ignore;
pub mod osv;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Serialize;

use crate::base;
use crate::definition::plan::{ImagePlan, Origin};
use crate::error::{Error, ErrorKind, Result};
use crate::lock::Lock;
use crate::purl;
pub use ignore::Ignored;
use osv::Order;

/// The ecosystems that know Go modules.
const GO: [&str; 2] = ["Go", "Kubernetes"];

/// Something with a version that databases know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Component {
    /// Its ecosystem; with a release behind a colon if it has some.
    pub ecosystem: String,
    /// Its name there.
    pub name: String,
    /// Its version there.
    pub version: String,
    /// What the lock has of it.
    pub pins: Vec<String>,
    /// How its versions compare.
    pub order: Order,
}

/// A vulnerability of a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its name: that of the CVE, if it has one.
    pub id: String,
    /// The package or module.
    pub package: String,
    /// Its version.
    pub version: String,
    /// The nearest version that is good, if there is one.
    pub fixed: Option<String>,
    /// What the lock has of the package.
    pub pins: Vec<String>,
    /// The records of the database that are about it.
    pub records: BTreeSet<String>,
    /// A line on what it is about.
    pub summary: String,
    /// The reason why it does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignored: Option<String>,
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct Audit {
    /// How many records were read.
    pub records: usize,
    /// How many packages and modules were looked up.
    pub components: usize,
    /// What of the lock no database knows.
    pub unknown: Vec<String>,
    /// The vulnerabilities, those that count first.
    pub findings: Vec<Finding>,
    /// Entries of the file with reasons that no finding needs.
    pub unused: Vec<String>,
}

impl Audit {
    /// How many findings count.
    pub fn count(&self) -> usize {
        self.findings.iter().filter(|finding| finding.ignored.is_none()).count()
    }
}

impl Component {
    /// Whether `ecosystem` of a record is the one of this component; one without a release is of all.
    fn is_of(&self, ecosystem: &str) -> bool {
        if self.ecosystem == GO[0] {
            return GO.contains(&ecosystem);
        }
        let bare = self.ecosystem.split(':').next();
        ecosystem == self.ecosystem || Some(ecosystem) == bare
    }
}

/// Looks up everything in `lock`. With `only_fixed`, vulnerabilities without a good version are left out.
///
/// # Errors
/// [`ErrorKind::Usage`] if the databases have nothing about an ecosystem of the lock; [`ErrorKind::Archive`].
pub fn audit(
    plan: &ImagePlan,
    lock: &Lock,
    databases: &[PathBuf],
    ignored: &Ignored,
    only_fixed: bool,
) -> Result<Audit> {
    let (components, unknown) = components(plan, lock)?;
    let by_name = by_name(&components);
    let mut found: BTreeMap<(String, usize), Finding> = BTreeMap::new();
    let (mut records, mut known) = (0, BTreeSet::new());
    for path in databases {
        database::each(path, &mut |record| {
            records += 1;
            for ecosystem in record.ecosystems() {
                if !known.contains(ecosystem) {
                    known.insert(ecosystem.to_owned());
                }
            }
            look_up(&record, &components, &by_name, &mut found);
        })?;
    }
    check_coverage(&components, &known)?;
    let mut findings: Vec<Finding> = found.into_values().collect();
    findings.retain(|finding| !only_fixed || finding.fixed.is_some());
    for finding in &mut findings {
        finding.ignored = ignored.reason(finding).map(str::to_owned);
    }
    findings.sort_by(|a, b| {
        let key =
            |finding: &Finding| (finding.ignored.is_some(), finding.package.clone(), finding.id.clone());
        key(a).cmp(&key(b))
    });
    let unused = ignored.unused(&findings).map(str::to_owned).collect();
    Ok(Audit { records, components: components.len(), unknown, findings, unused })
}

/// The positions of the components with each name.
fn by_name(components: &[Component]) -> BTreeMap<&str, Vec<usize>> {
    let mut found: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (position, component) in components.iter().enumerate() {
        found.entry(&component.name).or_default().push(position);
    }
    found
}

fn look_up(
    record: &osv::Record,
    components: &[Component],
    by_name: &BTreeMap<&str, Vec<usize>>,
    found: &mut BTreeMap<(String, usize), Finding>,
) {
    if record.is_withdrawn() {
        return;
    }
    let names: BTreeSet<&str> = record.packages().collect();
    for position in names.iter().filter_map(|name| by_name.get(name)).flatten() {
        let component = &components[*position];
        let Some(hit) = record.hit(component) else { continue };
        for id in record.vulnerabilities() {
            let finding = found.entry((id.to_owned(), *position)).or_insert_with(|| Finding {
                id: id.to_owned(),
                package: component.name.clone(),
                version: component.version.clone(),
                fixed: None,
                pins: component.pins.clone(),
                records: BTreeSet::new(),
                summary: record.summary.clone(),
                ignored: None,
            });
            finding.records.insert(record.id.clone());
            finding.fixed = finding.fixed.take().or(hit.fixed.clone());
        }
    }
}

/// A database without a word about an ecosystem would find nothing in it, which says nothing.
fn check_coverage(components: &[Component], known: &BTreeSet<String>) -> Result<()> {
    let lacking = components
        .iter()
        .find(|component| !known.iter().any(|ecosystem| component.is_of(ecosystem)));
    let Some(component) = lacking else { return Ok(()) };
    let (ecosystem, name) = (&component.ecosystem, &component.name);
    let export = ecosystem.split(':').next().unwrap_or_default();
    Err(Error::new(
        ErrorKind::Usage,
        format!("the database has nothing about {ecosystem}, which {name} is of"),
    )
    .help(format!("add osv.dev's export, gs://osv-vulnerabilities/{export}/all.zip, with --database")))
}

/// What of the lock databases know, and the rest.
fn components(plan: &ImagePlan, lock: &Lock) -> Result<(Vec<Component>, Vec<String>)> {
    let (mut found, mut unknown) = (BTreeMap::new(), Vec::new());
    let mut add = |component: Component, pin: &str| {
        let known = found.entry((component.name.clone(), component.version.clone())).or_insert(component);
        known.pins.push(pin.to_owned());
    };
    let base = base::of(&plan.base)?.advised(&lock.base);
    match base {
        Some(advised) => {
            for package in advised.packages {
                let component = Component {
                    ecosystem: advised.ecosystem.to_owned(),
                    name: package.source,
                    version: package.version,
                    pins: Vec::new(),
                    order: Order::Package,
                };
                add(component, &package.name);
            }
        }
        None => unknown.push(lock.base.summary()),
    }
    for pin in &lock.artifacts {
        let declared = plan
            .layers
            .iter()
            .filter(|layer| layer.name == pin.layer)
            .flat_map(|layer| &layer.artifacts)
            .find(|artifact| artifact.name == pin.name && matches!(artifact.origin, Origin::Url { .. }))
            .and_then(|artifact| artifact.module.clone());
        match (declared.or_else(|| purl::go_module(&pin.url, &pin.version)), osv::semantic(&pin.version)) {
            (Some(name), Some(_)) => {
                let component = Component {
                    ecosystem: GO[0].to_owned(),
                    name,
                    version: pin.version.clone(),
                    pins: Vec::new(),
                    order: Order::Semver,
                };
                add(component, &format!("{}/{}", pin.layer, pin.name));
            }
            _ => unknown.push(format!("{}/{} {}", pin.layer, pin.name, pin.version)),
        }
    }
    unknown.extend(plan.preload.iter().map(|image| format!("the container image {}", image.reference)));
    Ok((found.into_values().collect(), unknown))
}

#[cfg(test)]
mod tests;
