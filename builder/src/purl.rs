//! Package URLs (<https://github.com/package-url/purl-spec>): how scanners know what a component is.

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

/// The Go module that a release on GitHub is most likely built from
/// (<https://go.dev/ref/mod#major-version-suffixes>).
pub fn go_module(url: &str, version: &str) -> Option<String> {
    let (owner, repository) = github(url)?;
    let major = version.trim_start_matches('v').split('.').next()?.parse::<u64>().ok()?;
    let suffix = if major > 1 { format!("/v{major}") } else { String::new() };
    Some(format!("github.com/{owner}/{repository}{suffix}"))
}

/// Percent-encoding; a colon stays as it is ("Character encoding" in the specification).
pub fn encode(text: &str) -> String {
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
