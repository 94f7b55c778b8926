//! Mirrors of the archives. Addresses come from the user or the machine; no mirror is a constant here.

use std::fs;
use std::path::Path;

use super::{Distribution, Security};
use crate::address;
use crate::base::{LockedPackage, options};
use crate::definition::plan::Arch;
use crate::error::{Error, ErrorKind, Result};
use crate::fetch::Absence;
use crate::process::{Run, tool};

/// The roots of the two archives, without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirrors {
    /// The archive with the suite and its updates.
    pub main: String,
    /// The archive with the security updates; a frozen snapshot may go without.
    pub security: Option<String>,
}

/// Finds the mirrors: `explicit` (the option of the command line), else the distribution's environment
/// variable, else the mirrors of this machine's apt.
///
/// `explicit` is `MAIN` or `MAIN,SECURITY`, each a URL or an absolute path. Without `SECURITY` the security
/// archive is beside a main archive of the usual name (`…/debian`), or the main archive has the security
/// updates too; `MAIN,` says that there are none.
///
/// # Errors
/// [`ErrorKind::Usage`] when no mirror is named, or its name is not an address.
pub fn mirrors(distribution: &Distribution, arch: Arch, explicit: Option<&str>) -> Result<Mirrors> {
    let (title, name) = (distribution.title, distribution.mirror.variable);
    let variable = options::variable(name);
    match explicit.or(variable.as_deref()) {
        Some(text) => parse(distribution, text),
        None => from_apt(distribution, arch, &apt_targets().unwrap_or_default()).ok_or_else(|| {
            let ports = ports(distribution, arch).map(|ports| format!(" with {} ({ports})", arch.name()));
            let archive = format!("{title} archive{}", ports.unwrap_or_default());
            let message =
                format!("no {title} mirror is known: this machine's apt has no {archive} among its sources");
            Error::new(ErrorKind::Usage, message).help(format!(
                "name one: {} URL (or MAIN-URL,SECURITY-URL), or set {name}; the URL is the one that has dists/ and pool/ below it",
                distribution.mirror.flag()
            ))
        }),
    }
}

/// The address of a locked package.
///
/// # Errors
/// [`ErrorKind::Usage`] when it comes from the security archive and no address of that is known.
pub fn url(distribution: &Distribution, mirrors: &Mirrors, package: &LockedPackage) -> Result<String> {
    let (main, security) = (distribution.archives.main, distribution.archives.security.archive());
    let root = match package.archive.as_str() {
        archive if archive == main => &mirrors.main,
        archive if Some(archive) == security => mirrors.security.as_ref().ok_or_else(|| {
            Error::new(
                ErrorKind::Usage,
                format!(
                    "{} {} comes from the security archive, and no mirror of it is known",
                    package.name, package.version
                ),
            )
            .help(format!("name both: {} MAIN-URL,SECURITY-URL", distribution.mirror.flag()))
        })?,
        other => {
            return Err(Error::new(
                ErrorKind::Lock,
                format!("the lock says that {} comes from the archive \"{other}\"", package.name),
            )
            .help(format!(
                "this base has {}; write the lock again with kiln lock",
                [main].into_iter().chain(security).collect::<Vec<_>>().join(" and ")
            )));
        }
    };
    Ok(format!("{root}/{}", package.path))
}

/// The address of a locked package on the mirror of the security updates, which may have it before the main
/// archive's mirror does.
pub fn ahead(distribution: &Distribution, mirrors: &Mirrors, package: &LockedPackage) -> Option<String> {
    let within = matches!(distribution.archives.security, Security::Within);
    let security = mirrors.security.as_ref().filter(|security| within && **security != mirrors.main)?;
    Some(format!("{security}/{}", package.path))
}

/// The error when a package is neither at the addresses `urls` of the mirror, because archives keep only the
/// newest version, nor at the addresses `kept` of the snapshot service.
pub fn gone(
    distribution: &Distribution,
    package: &LockedPackage,
    urls: &[String],
    kept: &[String],
) -> Absence {
    let LockedPackage { name, version, .. } = package;
    let (mirror, service) = (distribution.mirror.flag(), distribution.snapshots.option);
    let shown =
        |urls: &[String]| urls.first().map_or_else(|| "none is known".into(), |url| address::shown(url));
    let on_mirror = shown(urls);
    if kept.is_empty() {
        return Absence {
            message: format!(
                "{name} {version} is no longer on the mirror ({on_mirror}), and the lock names no snapshot of the archive"
            ),
            help: format!(
                "lock newer packages with kiln lock --upgrade, which also names their snapshot; or name a snapshot of the archive that still has it with {mirror}"
            ),
        };
    }
    Absence {
        message: format!(
            "{name} {version} is neither on the mirror ({on_mirror}) nor at the snapshot service ({})",
            shown(kept)
        ),
        help: format!(
            "name another mirror with {mirror} or another snapshot service with --{service}, or lock newer packages with kiln lock --upgrade"
        ),
    }
}

fn parse(distribution: &Distribution, text: &str) -> Result<Mirrors> {
    let (main, security) = match text.split_once(',') {
        Some((main, security)) => (main.trim(), Some(security.trim())),
        None => (text.trim(), None),
    };
    let main = address(main).map_err(|text| not_an_address(distribution, text))?;
    let security = match security {
        None => security_beside(distribution, &main),
        Some("") => None,
        Some(text) => Some(address(text).map_err(|text| not_an_address(distribution, text))?),
    };
    Ok(Mirrors { main, security })
}

/// Mirrors have the security archive beside the main one or within.
fn security_beside(distribution: &Distribution, main: &str) -> Option<String> {
    let Security::Own { name, .. } = distribution.archives.security else { return Some(main.to_owned()) };
    let parent = main.strip_suffix(distribution.archives.main)?.strip_suffix('/')?;
    Some(format!("{parent}/{name}"))
}

/// The name of the archive with this architecture, where the main one lacks it.
fn ports(distribution: &Distribution, arch: Arch) -> Option<&'static str> {
    distribution.archives.ports.filter(|_| arch != Arch::Amd64)
}

/// The address of a snapshot service.
///
/// # Errors
/// [`ErrorKind::Usage`] when it is none.
pub(super) fn service_address(text: &str, title: &str, option: &str) -> Result<String> {
    address(text.trim()).map_err(|text| {
        let message =
            format!("\"{}\" is not the address of a snapshot service of {title}", address::shown(text));
        Error::new(ErrorKind::Usage, message)
            .help(format!("write an http, https or file URL or an absolute path: --{option} URL"))
    })
}

fn not_an_address(distribution: &Distribution, text: &str) -> Error {
    let message =
        format!("\"{}\" is not the address of a {} mirror", address::shown_alone(text), distribution.title);
    Error::new(ErrorKind::Usage, message)
        .help("write an http, https or file URL or an absolute path; dists/ and pool/ are below it")
}

/// The address without slashes at the end; the text itself when it is none.
fn address(text: &str) -> Result<String, &str> {
    let text = text.trim_end_matches('/');
    if text.starts_with('/') {
        return Ok(format!("file://{text}"));
    }
    let known = ["http://", "https://", "file:///"]
        .iter()
        .any(|scheme| text.len() > scheme.len() && text.starts_with(scheme));
    if known && !text.contains(char::is_whitespace) {
        return Ok(text.to_owned());
    }
    Err(text)
}

/// One line per package list that this machine's apt reads: repository, suite, architecture, origin; the last
/// is empty before `apt-get update`.
fn apt_targets() -> Result<String> {
    let output = tool("apt-get")
        .args([
            "indextargets",
            "--format",
            "$(REPO_URI)\t$(RELEASE)\t$(ARCHITECTURE)\t$(ORIGIN)",
            "Created-By: Packages",
        ])
        .run("apt")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn from_apt(distribution: &Distribution, arch: Arch, targets: &str) -> Option<Mirrors> {
    let mut main = None;
    let mut security = None;
    for line in targets.lines() {
        let mut fields = line.split('\t');
        let (Some(uri), Some(suite), Some(has), Some(origin)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        if distribution.archives.ports.is_some() && has != arch.name() {
            continue;
        }
        let Some(uri) = plain(uri) else { continue };
        let is_security =
            suite.contains("-security") || suite.contains("/updates") || uri.ends_with("-security");
        let usual = || {
            let name = uri.rsplit_once('/').map_or("", |(_, name)| name);
            let archives = &distribution.archives;
            [Some(archives.main), archives.ports, archives.security.archive()].contains(&Some(name))
        };
        if !(origin == distribution.title || origin.is_empty() && usual()) {
            continue;
        }
        if is_security {
            security.get_or_insert(uri)
        } else {
            main.get_or_insert(uri)
        };
    }
    let main = main?;
    let security = security.or_else(|| security_beside(distribution, &main));
    Some(Mirrors { main, security })
}

/// An address that other programs than apt understand. Cloud images write `mirror+file:LIST`, whose first
/// line is an address.
fn plain(uri: &str) -> Option<String> {
    match uri.strip_prefix("mirror+file:") {
        Some(list) => {
            let text = fs::read_to_string(Path::new(list.trim_end_matches('/'))).ok()?;
            text.lines().find_map(|line| address(line.split_whitespace().next()?).ok())
        }
        None => address(uri).ok(),
    }
}

#[cfg(test)]
#[path = "mirrors_tests.rs"]
mod tests;
