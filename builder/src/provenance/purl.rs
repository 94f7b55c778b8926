//! Package URLs (<https://github.com/package-url/purl-spec>): how scanners know what a component is.

use crate::lock::LockedPackage;

/// Of a Debian package. `release` is the distribution's version ("13"), or its code name; `upstream` names the source package when
/// it has another name, because advisories do.
pub fn debian(package: &LockedPackage, release: &str) -> String {
    let LockedPackage { name, version, architecture, source, .. } = package;
    let upstream = if source == name { String::new() } else { format!("&upstream={}", encode(source)) };
    format!(
        "pkg:deb/debian/{}@{}?arch={architecture}&distro=debian-{}{upstream}",
        encode(name),
        encode(version),
        encode(release)
    )
}

/// Of a file from `url`: by its GitHub repository when it lies there, else by name.
pub fn download(name: &str, version: &str, url: &str, sha256: &str) -> String {
    let qualifiers = format!("checksum=sha256:{sha256}&download_url={}", encode_qualifier(url));
    match github(url) {
        Some((owner, repository)) => {
            let (owner, repository) = (owner.to_ascii_lowercase(), repository.to_ascii_lowercase());
            format!("pkg:github/{}/{}@{}?{qualifiers}", encode(&owner), encode(&repository), encode(version))
        }
        None => format!("pkg:generic/{}@{}?{qualifiers}", encode(name), encode(version)),
    }
}

/// Of something without a place on the network.
pub fn generic(name: &str, version: &str) -> String {
    format!("pkg:generic/{}@{}", encode(name), encode(version))
}

fn github(url: &str) -> Option<(&str, &str)> {
    let mut parts = url.strip_prefix("https://github.com/")?.split('/');
    Some((parts.next()?, parts.next()?))
}

/// Percent-encoding; a colon stays as it is ("Character encoding" in the specification).
fn encode(text: &str) -> String {
    encode_but(text, b".-_~:")
}

/// A qualifier's value may hold slashes, and the reference implementations leave them.
fn encode_qualifier(text: &str) -> String {
    encode_but(text, b".-_~:/")
}

fn encode_but(text: &str, also_plain: &[u8]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || also_plain.contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    fn package(name: &str, version: &str, source: &str) -> LockedPackage {
        LockedPackage {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: "amd64".to_owned(),
            source: source.to_owned(),
            archive: "debian".to_owned(),
            path: String::new(),
            size: 0,
            sha256: Digest::of(b""),
            install: true,
        }
    }

    #[test]
    fn debian_versions_are_encoded() {
        let purl = debian(&package("libc6", "1:2.41-12+deb13u1~x", "glibc"), "13");
        assert_eq!(
            purl,
            "pkg:deb/debian/libc6@1:2.41-12%2Bdeb13u1~x?arch=amd64&distro=debian-13&upstream=glibc"
        );
        assert!(!debian(&package("bash", "5.2", "bash"), "13").contains("upstream"));
    }

    #[test]
    fn downloads_are_known_by_their_repository() {
        let url = "https://github.com/opencontainers/runc/releases/download/v1.3.0/runc.amd64";
        let purl = download("runc", "1.3.0", url, "ab");
        assert!(
            purl.starts_with(
                "pkg:github/opencontainers/runc@1.3.0?checksum=sha256:ab&download_url=https://github.com/"
            ),
            "{purl}"
        );
        assert!(
            download("kubelet", "1.36.2", "https://dl.k8s.io/x", "ab")
                .starts_with("pkg:generic/kubelet@1.36.2?")
        );
    }
}
