//! Debian, from its packages: apt resolves the closure when a lock is written, mmdebstrap builds the root from locked packages
//! alone, without a network and without root.

mod closure;
mod packages;
mod repository;
mod root;

use std::process::Command;

pub use closure::resolve;
pub use root::{FORMAT, build};

use crate::error::{Class, Error, Result};
use crate::lock::LockedPackage;
use crate::process::{Run, tool};

/// The archive with a suite's packages and updates.
const MAIN: &str = "debian";

/// The archive with its security updates.
const SECURITY: &str = "debian-security";

/// Where the two archives are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirrors {
    /// Address of the main archive's root: the folder with `dists` and `pool`.
    pub main: String,
    /// Address of the security archive's root.
    pub security: String,
}

/// The mirrors to use: `explicit` (the main archive; the security archive lies beside it), else those of this machine's apt
/// configuration.
///
/// # Errors
/// On a machine that is not Debian, when no mirror is named.
pub fn mirrors(explicit: Option<&str>) -> Result<Mirrors> {
    if let Some(main) = explicit {
        let main = main.trim_end_matches('/');
        return Ok(Mirrors { main: main.to_owned(), security: format!("{main}-security") });
    }
    let targets = tool("apt-get").args(["indextargets", "--format", "$(ORIGIN)\t$(LABEL)\t$(SITE)", "Created-By: Packages"]).run("apt")?;
    from_targets(&String::from_utf8_lossy(&targets.stdout)).ok_or_else(|| {
        Error::new(Class::Usage, "this machine's apt configuration names no Debian mirror")
            .help("name one with --debian-mirror URL or KILN_DEBIAN_MIRROR (the address of the folder with dists and pool), or run apt-get update")
    })
}

fn from_targets(targets: &str) -> Option<Mirrors> {
    let site = |label: &str| {
        targets.lines().find_map(|line| match line.split('\t').collect::<Vec<_>>()[..] {
            ["Debian", found, site] if found == label => Some(site.trim_end_matches('/').to_owned()),
            _ => None,
        })
    };
    let main = site("Debian")?;
    let security = site("Debian-Security").unwrap_or_else(|| format!("{main}-security"));
    Some(Mirrors { main, security })
}

/// The address of a locked package on a mirror.
pub fn url(mirrors: &Mirrors, package: &LockedPackage) -> Result<String> {
    let root = match package.archive.as_str() {
        MAIN => &mirrors.main,
        SECURITY => &mirrors.security,
        other => {
            return Err(Error::new(Class::Lock, format!("{}: unknown archive \"{other}\"", package.name)).help("run kiln lock --upgrade"));
        }
    };
    let path = &package.path;
    if path.starts_with('/') || path.split('/').any(|component| matches!(component, "" | "." | "..")) {
        return Err(
            Error::new(Class::Lock, format!("{}: \"{path}\" is not a path in an archive", package.name)).help("run kiln lock --upgrade")
        );
    }
    Ok(format!("{root}/{path}"))
}

/// Makes a tool's output depend on the build's time only.
fn at_epoch(mut command: Command, epoch: u64) -> Command {
    command.env("SOURCE_DATE_EPOCH", epoch.to_string());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_main_archive_from_others() {
        let targets =
            "Google\tx\thttps://other/\nDebian\tDebian\thttp://mirror/debian/\nDebian\tDebian-Security\thttp://mirror/security/\n";
        let expected = Mirrors { main: "http://mirror/debian".into(), security: "http://mirror/security".into() };
        assert_eq!(from_targets(targets), Some(expected));
        assert_eq!(from_targets("Ubuntu\tUbuntu\thttp://mirror/ubuntu/\n"), None);
    }
}
