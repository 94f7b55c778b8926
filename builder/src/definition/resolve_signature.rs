//! Resolves what a layer says of upstream's signatures, and which of them an image does without.

use super::interpolate::Variables;
use super::layer::Layer;
use super::layer_folder;
use super::layer_spec::SignatureSpec;
use super::plan::{Checksum, LayerPlan, Origin, SignatureKind, UpstreamSignature};
use super::source::suggestion;
use crate::at;
use crate::error::{Error, Result};

/// Hexadecimal digits of a fingerprint: version 4 and version 6 of OpenPGP's keys (RFC 9580 §5.5.4).
const FINGERPRINTS: [usize; 2] = [40, 64];

/// The signature of an artifact with this checksum. `variables` has the artifact's addresses too.
pub(super) fn resolve_signature(
    layer: &Layer,
    index: usize,
    spec: &SignatureSpec,
    checksum: Option<&Checksum>,
    variables: &Variables,
) -> Result<UpstreamSignature> {
    let resolver = Resolver { layer, index, spec };
    if matches!(checksum, Some(Checksum::Pinned(_))) {
        let help = "remove it, or write the address of upstream's checksum file instead of sha256";
        return Err(resolver.error("kind", "the layer pins this digest itself", help));
    }
    let file = spec.file.as_ref().map(|file| resolver.address(file, variables)).transpose()?;
    if file.is_none() && (spec.kind != SignatureKind::Openpgp || checksum.is_none()) {
        let help = "add file = \"ADDRESS\"; only checksum files are clear-signed, and by OpenPGP";
        return Err(resolver.error("kind", "there is no address of the signature", help));
    }
    let (signers, issuer) = (resolver.signers(variables)?, resolver.issuer()?);
    Ok(UpstreamSignature { kind: spec.kind, signers, issuer, keyring: resolver.keyring()?, file })
}

struct Resolver<'a> {
    layer: &'a Layer,
    index: usize,
    spec: &'a SignatureSpec,
}

impl Resolver<'_> {
    fn error(&self, key: &str, message: &str, help: &str) -> Error {
        let at = at!["artifact", self.index, "signature", key];
        self.layer.source.error_at(&at, message).help(help)
    }

    fn address(&self, file: &str, variables: &Variables) -> Result<String> {
        let at = at!["artifact", self.index, "signature", "file"];
        let address = self.layer.expand(&at, file, variables)?;
        self.layer.source.check_url(&at, &address, "write the address of the signature")?;
        Ok(address)
    }

    fn signers(&self, variables: &Variables) -> Result<Vec<String>> {
        let at = at!["artifact", self.index, "signature", "signers"];
        let written = self.spec.signers.iter().map(|text| self.layer.expand(&at, text, variables));
        let written = written.collect::<Result<Vec<_>>>()?;
        let signers: Option<Vec<String>> = written.iter().map(|text| self.signer(text)).collect();
        let help = match self.spec.kind {
            SignatureKind::Openpgp => "write fingerprints of primary keys: 40 or 64 hexadecimal digits each",
            SignatureKind::Minisign => "write public keys, each the second line of its file",
            SignatureKind::Sigstore => {
                "write identities: the address of a workflow with its @ref, or of a person"
            }
        };
        match signers {
            Some(signers) if !signers.is_empty() => Ok(signers),
            Some(_) => Err(self.error("signers", "nobody may sign", help)),
            None => Err(self.error("signers", "one of these is no key", help)),
        }
    }

    /// A signer in the form in which a check names it; `None` if it is no key.
    fn signer(&self, text: &str) -> Option<String> {
        match self.spec.kind {
            SignatureKind::Openpgp => {
                let digits = text.replace(' ', "").to_ascii_uppercase();
                let is_fingerprint = FINGERPRINTS.contains(&digits.len())
                    && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
                is_fingerprint.then_some(digits)
            }
            SignatureKind::Minisign => {
                minisign_verify::PublicKey::from_base64(text).ok().map(|_| text.to_owned())
            }
            SignatureKind::Sigstore => (!text.is_empty()).then(|| text.to_owned()),
        }
    }

    fn issuer(&self) -> Result<Option<String>> {
        match (self.spec.kind, &self.spec.issuer) {
            (SignatureKind::Sigstore, None) => Err(self.error(
                "kind",
                "an identity counts by its issuer alone",
                "add issuer = \"https://…\"",
            )),
            (SignatureKind::Sigstore, issuer) => Ok(issuer.clone()),
            (_, Some(_)) => Err(self.error("issuer", "keys have no issuer", "remove it")),
            (_, None) => Ok(None),
        }
    }

    fn keyring(&self) -> Result<Option<Vec<u8>>> {
        let read = |name: &String| {
            layer_folder::read(&self.layer.folder, name)
                .map_err(|(why, help)| self.error("keyring", &why, help))
        };
        match (self.spec.kind, &self.spec.keyring) {
            (SignatureKind::Openpgp, None) => {
                Err(self.error("kind", "there are no keys", "add keyring = \"FILE\", a file of this layer"))
            }
            (SignatureKind::Minisign, Some(_)) => {
                Err(self.error("keyring", "minisign's signers are the keys", "remove it"))
            }
            (_, name) => name.as_ref().map(read).transpose(),
        }
    }
}

/// Takes away the signatures that the image does `without`: each names an artifact, LAYER/ARTIFACT.
///
/// # Errors
/// The index of a name that stands for no signed artifact, and what to write instead.
pub(super) fn drop_signatures(
    layers: &mut [LayerPlan],
    without: &[String],
) -> std::result::Result<(), (usize, String)> {
    let mut signed = Vec::new();
    for layer in layers {
        for artifact in &mut layer.artifacts {
            let Origin::Url { signature, .. } = &mut artifact.origin else { continue };
            if signature.is_none() {
                continue;
            }
            let id = format!("{}/{}", layer.name, artifact.name);
            if without.contains(&id) {
                *signature = None;
            }
            signed.push(id);
        }
    }
    match without.iter().position(|id| !signed.contains(id)) {
        None => Ok(()),
        Some(index) => Err((index, suggestion(&without[index], signed.iter().map(String::as_str)))),
    }
}
