//! The packages of a given root: what dpkg's database in it says. Of other systems the SBOM has the name and
//! version alone.

use std::collections::BTreeMap;

use crate::base::Component;
use crate::base::packages::{Named, OWN_PACKAGE, purl};
use crate::base::stanza::{Stanza, stanzas};
use crate::tree::Tree;

/// The database's folder.
pub(crate) const DATABASE: &str = "var/lib/dpkg";
const STATUS: &str = "var/lib/dpkg/status";
/// Lists of the files of each package, `PACKAGE.md5sums`, with lines `MD5  path`. Settings are not in them.
pub(crate) const FILE_LISTS: &str = "var/lib/dpkg/info";

/// The largest database that is read, in bytes; a desktop has 5 MB.
const LARGEST: u64 = 64 << 20;

/// Every installed package. `release` is the version of the operating system.
pub(super) fn components(release: &str, tree: &Tree) -> Vec<Component> {
    let system = tree.os_release("ID").unwrap_or_default();
    let component = |package: &Stanza| {
        let name = package.get("package");
        let named = Named {
            name,
            version: package.get("version"),
            architecture: package.get("architecture"),
            source: source(package).unwrap_or(name),
        };
        Component {
            name: name.to_owned(),
            version: named.version.to_owned(),
            purl: purl(&system, &named, release),
            sha256: None,
            properties: vec![
                ("kiln:package", "installed".to_owned()),
                ("kiln:source", named.source.to_owned()),
            ],
        }
    };
    installed(tree).iter().map(component).collect()
}

/// Which of `needs` are not installed; none where no database tells.
pub(super) fn missing<'a>(tree: &Tree, needs: &'a [String]) -> Vec<&'a str> {
    let packages = installed(tree);
    let is_there = |name: &&str| packages.is_empty() || packages.iter().any(|it| it.get("package") == *name);
    needs.iter().map(String::as_str).filter(|name| !is_there(name)).collect()
}

/// Where the files of all packages but one are put instead: dpkg-divert(1).
#[derive(Debug)]
pub(crate) struct Diversion {
    /// The other place.
    pub(crate) to: String,
    /// The package whose own file keeps the place; ":" if the administrator wanted it.
    pub(crate) by: String,
}

/// Every diversion, by the path that it is for, without the first slash.
pub(crate) fn diversions(tree: &Tree) -> BTreeMap<String, Diversion> {
    const PATH: &str = "var/lib/dpkg/diversions";
    let body = tree.file(PATH).filter(|body| body.len() <= LARGEST);
    let bytes = body.and_then(|body| body.read().ok()).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let plain = |path: &str| path.trim_start_matches('/').to_owned();
    lines
        .chunks_exact(3)
        .map(|three| (plain(three[0]), Diversion { to: plain(three[1]), by: three[2].to_owned() }))
        .collect()
}

/// A package that an image has.
#[derive(Debug)]
pub struct InstalledPackage {
    /// Its name.
    pub name: String,
    /// Its version, with epoch and revision.
    pub version: String,
    /// The name of its source package.
    pub source: String,
}

/// Every installed package but Kiln's own; `None` where no database tells.
pub(crate) fn packages(tree: &Tree) -> Option<Vec<InstalledPackage>> {
    tree.file(STATUS)?;
    let package = |package: &Stanza| {
        let name = package.get("package");
        let source = source(package).unwrap_or(name);
        InstalledPackage {
            name: name.to_owned(),
            version: package.get("version").to_owned(),
            source: source.to_owned(),
        }
    };
    let own = |package: &&Stanza| package.get("package") != OWN_PACKAGE;
    Some(installed(tree).iter().filter(own).map(package).collect())
}

/// The source of a package, where its name is another one: "name (version)" where that has another version.
fn source(package: &Stanza) -> Option<&str> {
    package.get("source").split(' ').next().filter(|source| !source.is_empty())
}

fn installed(tree: &Tree) -> Vec<Stanza> {
    let body = tree.file(STATUS).filter(|body| body.len() <= LARGEST);
    let bytes = body.and_then(|body| body.read().ok()).unwrap_or_default();
    let is_installed = |package: &Stanza| package.get("status").ends_with(" installed");
    stanzas(&String::from_utf8_lossy(&bytes)).filter(is_installed).collect()
}
