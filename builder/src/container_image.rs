//! An image in a registry of container images, as skopeo writes it: `docker://HOST/NAME:TAG`, or the same
//! with `oci://` (<https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md>).

use oci_spec::distribution::Reference;

use crate::digest::Digest;

/// What such an address begins with.
const SCHEMES: [&str; 2] = ["docker://", "oci://"];

/// The name of an image in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageAddress {
    reference: Reference,
    /// The only bytes that it may stand for: an index or a manifest.
    pub digest: Option<Digest>,
}

impl ImageAddress {
    /// Reads an address; `None` if it is one of something else.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Option<Result<Self, String>> {
        let name = SCHEMES.iter().find_map(|scheme| text.strip_prefix(scheme))?;
        Some(Self::of(name))
    }

    fn of(name: &str) -> Result<Self, String> {
        let reference = Reference::try_from(name).map_err(|error| error.to_string())?;
        let digest = reference.digest().map(|text| text.parse().map_err(|_| "its digest is no SHA-256"));
        Ok(Self { digest: digest.transpose()?, reference })
    }

    /// The whole name of an image with a tag, by which every runtime knows it. In `name` `docker.io/` and
    /// `library/` may be left out, and a digest does not count. `None` if it is no such name.
    pub fn whole(name: &str) -> Option<String> {
        let without_digest = name.split('@').next()?;
        let has_tag = without_digest.rsplit('/').next()?.contains(':');
        let reference = Self::of(name).ok().filter(|_| has_tag)?.reference;
        Some(format!("{}/{}:{}", reference.registry(), reference.repository(), reference.tag()?))
    }

    /// Where the registry tells what the name stands for.
    pub fn url(&self) -> String {
        let reference = &self.reference;
        self.url_of("manifests", reference.digest().or(reference.tag()).unwrap_or("latest"))
    }

    /// Where the registry has the index or manifest with this digest.
    pub fn manifest_url(&self, digest: &Digest) -> String {
        self.url_of("manifests", &digest.to_string())
    }

    /// Where the registry has the layer or configuration with this digest.
    pub fn blob_url(&self, digest: &Digest) -> String {
        self.url_of("blobs", &digest.to_string())
    }

    fn url_of(&self, kind: &str, what: &str) -> String {
        let reference = &self.reference;
        format!("https://{}/v2/{}/{kind}/{what}", reference.resolve_registry(), reference.repository())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_other_tools_read_them() {
        let digest = Digest::of(b"x");
        let pinned = format!("docker://quay.io/a/b@{digest}");
        for (name, url) in [
            ("docker://debian", "https://index.docker.io/v2/library/debian/manifests/latest"),
            ("docker://a/b:1", "https://index.docker.io/v2/a/b/manifests/1"),
            ("oci://hub.example:5000/a:1", "https://hub.example:5000/v2/a/manifests/1"),
            (&pinned, &format!("https://quay.io/v2/a/b/manifests/{digest}")),
        ] {
            assert_eq!(ImageAddress::parse(name).unwrap().unwrap().url(), url);
        }
        let image = ImageAddress::parse(&pinned).unwrap().unwrap();
        assert_eq!(image.digest, Some(digest));
        assert_eq!(image.blob_url(&digest), format!("https://quay.io/v2/a/b/blobs/{digest}"));
    }

    #[test]
    fn short_names_are_those_of_docker_hub() {
        let pinned = format!("registry.k8s.io/pause:3.10@{}", Digest::of(b"x"));
        for (name, whole) in [
            ("busybox:1", Some("docker.io/library/busybox:1")),
            ("grafana/loki:3", Some("docker.io/grafana/loki:3")),
            ("docker.io/library/busybox:1", Some("docker.io/library/busybox:1")),
            ("registry.k8s.io/pause:3.10", Some("registry.k8s.io/pause:3.10")),
            (&pinned, Some("registry.k8s.io/pause:3.10")),
            ("localhost/x:1", Some("localhost/x:1")),
            ("host:5000/x:1", Some("host:5000/x:1")),
            ("host:5000/x", None),
            ("busybox", None),
            ("a/B:1", None),
            ("", None),
        ] {
            assert_eq!(ImageAddress::whole(name).as_deref(), whole, "{name}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused_and_other_addresses_are_left_alone() {
        assert!(ImageAddress::parse("https://hub.example/x.tar").is_none());
        let sha512 = format!("docker://a@sha512:{}", "0".repeat(128));
        for wrong in [
            "docker://",
            "oci://hub.example/UPPER",
            "docker://me:secret@hub.example/x",
            "oci://a/../b",
            &sha512,
        ] {
            assert!(ImageAddress::parse(wrong).unwrap().is_err(), "{wrong}");
        }
    }
}
