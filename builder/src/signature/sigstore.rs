//! Bundles of sigstore (<https://docs.sigstore.dev/about/bundle/>): a certificate for an identity that was
//! valid for minutes, and the proof of a public log that the signature was made in these.
//!
//! Nothing is asked on the network: the roots of the public instance are those of the crate's release, or the
//! layer brings a newer file of them, or that of a private instance.

use std::fs::File;
use std::path::Path;

use sigstore_verify::trust_root::{SIGSTORE_PRODUCTION_TRUSTED_ROOT, TrustedRoot};
use sigstore_verify::types::Bundle;
use sigstore_verify::{VerificationPolicy, Verifier};

use crate::definition::plan::UpstreamSignature;
use crate::error::{Error, ErrorKind, IoContext, Result};

/// Which of the wanted identities has signed the file at `path`.
///
/// # Errors
/// [`ErrorKind::Verification`] if none has; [`ErrorKind::Io`].
pub(super) fn check(wanted: &UpstreamSignature, bundle: &[u8], path: &Path) -> Result<String> {
    let refuse = |what: &str, why: &dyn std::fmt::Display| {
        Error::new(ErrorKind::Verification, format!("{what}: {why}"))
    };
    let text = |bytes| std::str::from_utf8(bytes).map_err(|error| refuse("this is no text", &error));
    let root = wanted.keyring.as_deref().map_or(Ok(SIGSTORE_PRODUCTION_TRUSTED_ROOT), text)?;
    let root = TrustedRoot::from_json(root).map_err(|error| refuse("the trusted root", &error))?;
    let verifier = Verifier::new(&root).map_err(|error| refuse("the trusted root", &error))?;
    let bundle = Bundle::from_json(text(bundle)?).map_err(|error| refuse("this is no bundle", &error))?;
    let issuer = wanted.issuer.as_deref().unwrap_or_default();
    let mut why = None;
    for signer in &wanted.signers {
        let policy = VerificationPolicy::new(signer, issuer);
        let file = File::open(path).at("opening", path)?;
        match verifier.verify_reader(file, &bundle, &policy) {
            Ok(_) => return Ok(signer.clone()),
            Err(error) => why.get_or_insert(error),
        };
    }
    let why = why.map_or_else(|| "nobody may sign".to_owned(), |why| why.to_string());
    Err(refuse("the signature does not count", &why))
}
