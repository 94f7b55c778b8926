//! Where the packages come from. Addresses are the user's, never Kiln's: no mirror is a constant here.

use std::fs;
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::fetch::Absence;
use crate::lock::LockedPackage;
use crate::process::{Run, tool};

/// The environment variable that names the mirror when the command line does not.
pub const MIRROR_VARIABLE: &str = "KILN_DEBIAN_MIRROR";

/// Name of the main archive in the lock.
pub(super) const MAIN: &str = "debian";
/// Name of the security archive in the lock.
pub(super) const SECURITY: &str = "debian-security";

/// The roots of the two archives, without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirrors {
    /// The archive with the suite and its updates.
    pub main: String,
    /// The archive with the security updates; a frozen snapshot may go without.
    pub security: Option<String>,
}

/// Finds the mirrors: `explicit` (the option `--debian-mirror`), else [`MIRROR_VARIABLE`], else what this machine's apt uses.
///
/// `explicit` is `MAIN` or `MAIN,SECURITY`, each a URL or an absolute path. Without `SECURITY` it stands beside an archive that is called
/// `debian`, as mirrors have it; `MAIN,` says that there is none.
///
/// # Errors
/// [`ErrorKind::Usage`] when nothing names a mirror, or what does is not an address.
pub fn mirrors(explicit: Option<&str>) -> Result<Mirrors> {
    let variable = std::env::var(MIRROR_VARIABLE).ok().filter(|value| !value.is_empty());
    match explicit.or(variable.as_deref()) {
        Some(text) => parse(text),
        None => from_apt(&apt_targets().unwrap_or_default()).ok_or_else(|| {
            Error::new(ErrorKind::Usage, "no Debian mirror is known: this machine's apt has no Debian archive among its sources").help(format!(
                "name one: --debian-mirror URL (or MAIN-URL,SECURITY-URL), or set {MIRROR_VARIABLE}; the URL is the one that has dists/ and pool/ below it"
            ))
        }),
    }
}

/// The address of a locked package.
///
/// # Errors
/// [`ErrorKind::Usage`] when it comes from the security archive and no address of that is known.
pub fn url(mirrors: &Mirrors, package: &LockedPackage) -> Result<String> {
    let root = match package.archive.as_str() {
        MAIN => &mirrors.main,
        SECURITY => mirrors.security.as_ref().ok_or_else(|| {
            Error::new(
                ErrorKind::Usage,
                format!(
                    "{} {} comes from the security archive, and no mirror of it is known",
                    package.name, package.version
                ),
            )
            .help("name both: --debian-mirror MAIN-URL,SECURITY-URL")
        })?,
        other => {
            return Err(Error::new(
                ErrorKind::Lock,
                format!("the lock says that {} comes from the archive \"{other}\"", package.name),
            )
            .help(format!("the archives are {MAIN} and {SECURITY}; write the lock again with kiln lock")));
        }
    };
    Ok(format!("{root}/{}", package.path))
}

/// What it means that nothing is at the address `at` of a package: archives keep only the newest version.
pub fn gone(package: &LockedPackage, at: &str) -> Absence {
    Absence {
        message: format!("{} {} is no longer on the mirror ({at})", package.name, package.version),
        help: "lock newer packages with kiln lock --upgrade, or name a snapshot of the archive that still has it with --debian-mirror"
            .into(),
    }
}

fn parse(text: &str) -> Result<Mirrors> {
    let (main, security) = match text.split_once(',') {
        Some((main, security)) => (main.trim(), Some(security.trim())),
        None => (text.trim(), None),
    };
    let main = address(main)?;
    let security = match security {
        None => main.strip_suffix("/debian").map(|parent| format!("{parent}/debian-security")),
        Some("") => None,
        Some(text) => Some(address(text)?),
    };
    Ok(Mirrors { main, security })
}

fn address(text: &str) -> Result<String> {
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
    Err(Error::new(ErrorKind::Usage, format!("\"{text}\" is not the address of a Debian mirror"))
        .help("write an http, https or file URL or an absolute path; dists/ and pool/ are below it"))
}

/// One line per package list that this machine's apt reads: repository, suite, origin; the last is empty before `apt-get update`.
fn apt_targets() -> Result<String> {
    let output = tool("apt-get")
        .args(["indextargets", "--format", "$(REPO_URI)\t$(RELEASE)\t$(ORIGIN)", "Created-By: Packages"])
        .run("apt")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn from_apt(targets: &str) -> Option<Mirrors> {
    let mut main = None;
    let mut security = None;
    for line in targets.lines() {
        let mut fields = line.split('\t');
        let (Some(uri), Some(suite), Some(origin)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let Some(uri) = plain(uri) else { continue };
        let is_security =
            suite.contains("-security") || suite.contains("/updates") || uri.ends_with("-security");
        if !(origin == "Debian"
            || origin.is_empty() && (uri.ends_with("/debian") || uri.ends_with("/debian-security")))
        {
            continue;
        }
        if is_security {
            security.get_or_insert(uri)
        } else {
            main.get_or_insert(uri)
        };
    }
    let main = main?;
    let security =
        security.or_else(|| main.strip_suffix("/debian").map(|parent| format!("{parent}/debian-security")));
    Some(Mirrors { main, security })
}

/// An address that others than apt understand, too. Debian's cloud images write `mirror+file:LIST`, whose first line is an address.
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
mod tests {
    use super::*;
    use crate::digest::Digest;

    fn mirrors_of(main: &str, security: Option<&str>) -> Mirrors {
        Mirrors { main: main.into(), security: security.map(Into::into) }
    }

    fn package(archive: &str) -> LockedPackage {
        LockedPackage {
            name: "bash".into(),
            version: "5.2-1".into(),
            architecture: "amd64".into(),
            source: "bash".into(),
            archive: archive.into(),
            path: "pool/main/b/bash/bash_5.2-1_amd64.deb".into(),
            size: 1,
            sha256: Digest::of(b"bash"),
            install: true,
        }
    }

    #[test]
    fn reads_one_or_two_addresses() {
        let both = mirrors_of("http://mirror.example/debian", Some("http://mirror.example/debian-security"));
        assert_eq!(parse("http://mirror.example/debian/").unwrap(), both);
        assert_eq!(
            parse("http://mirror.example/debian, http://other.example/sec/")
                .unwrap()
                .security
                .unwrap(),
            "http://other.example/sec"
        );
        assert_eq!(parse("/srv/snapshot,").unwrap(), mirrors_of("file:///srv/snapshot", None));
        assert_eq!(parse("https://mirror.example/snapshot").unwrap().security, None);
        for wrong in
            ["", "mirror.example/debian", "http://", "ftp://mirror.example/debian", "http://a b/debian"]
        {
            assert_eq!(parse(wrong).unwrap_err().kind(), ErrorKind::Usage, "{wrong}");
        }
    }

    #[test]
    fn tells_the_archives_of_apt_apart() {
        let debian = "http://a.example/debian/\tbookworm\tDebian\nhttp://vendor.example/repo/\tstable\tVendor\n\
                      http://b.example/security/\tbookworm-security\tDebian\n";
        assert_eq!(
            from_apt(debian).unwrap(),
            mirrors_of("http://a.example/debian", Some("http://b.example/security"))
        );
        let never_updated =
            "http://a.example/debian/\ttrixie\t\nhttp://a.example/debian-security/\ttrixie-security\t\n";
        assert_eq!(
            from_apt(never_updated).unwrap(),
            mirrors_of("http://a.example/debian", Some("http://a.example/debian-security"))
        );
        assert_eq!(from_apt("http://a.example/ubuntu/\tnoble\tUbuntu\n"), None);
        assert_eq!(from_apt(""), None);
    }

    #[test]
    fn reads_the_mirror_lists_of_cloud_images() {
        let folder = tempfile::TempDir::new().unwrap();
        let list = folder.path().join("debian.list");
        fs::write(&list, "https://a.example/debian\tpriority:1\nhttps://b.example/debian\n").unwrap();
        assert_eq!(plain(&format!("mirror+file:{}/", list.display())).unwrap(), "https://a.example/debian");
    }

    #[test]
    fn a_package_has_the_address_of_its_archive() {
        let mirrors = mirrors_of("http://a.example/debian", None);
        assert_eq!(
            url(&mirrors, &package(MAIN)).unwrap(),
            "http://a.example/debian/pool/main/b/bash/bash_5.2-1_amd64.deb"
        );
        assert!(url(&mirrors, &package(SECURITY)).unwrap_err().hint().unwrap().contains("SECURITY-URL"));
        assert_eq!(url(&mirrors, &package("other")).unwrap_err().kind(), ErrorKind::Lock);
        assert!(
            gone(&package(MAIN), "http://a")
                .message
                .contains("bash 5.2-1 is no longer on the mirror (http://a)")
        );
    }
}
