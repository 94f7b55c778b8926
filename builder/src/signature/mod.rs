//! Signatures of upstream. A layer names who must have signed an artifact, or the list of its digests.
//!
//! | kind | signers | what checks it |
//! |---|---|---|
//! | OpenPGP | fingerprints of primary keys | gpgv |
//! | minisign | public keys | the crate minisign-verify |
//! | sigstore | identities, each with its issuer | the crate sigstore-verify, without a network |

mod minisign;
mod openpgp;
mod sigstore;

use std::fs;
use std::path::Path;

use crate::definition::plan::{SignatureKind, UpstreamSignature};
use crate::error::{IoContext, Result};
pub use openpgp::{Keys, LARGEST_KEYS, read_keys};

/// What is signed.
#[derive(Debug, Clone, Copy)]
pub enum Subject<'a> {
    /// A list of digests.
    List(&'a [u8]),
    /// A file of any length.
    File(&'a Path),
}

/// What a valid signature proves.
#[derive(Debug, PartialEq, Eq)]
pub struct Signed {
    /// The signed bytes of a list; empty for a file.
    pub text: Vec<u8>,
    /// Which of the wanted signers made it.
    pub signer: String,
}

/// Checks that one of the `wanted` signers has signed `subject`, by the `detached` signature, or within a
/// clear-signed list. Intermediate files go to the private folder `scratch`.
///
/// # Errors
/// [`crate::error::ErrorKind::Verification`] otherwise; [`crate::error::ErrorKind::Tool`] and
/// [`crate::error::ErrorKind::Io`].
pub fn check(
    wanted: &UpstreamSignature,
    subject: Subject<'_>,
    detached: Option<&[u8]>,
    scratch: &Path,
) -> Result<Signed> {
    let signers: Vec<&str> = wanted.signers.iter().map(String::as_str).collect();
    let keys = || Keys::new(wanted.keyring.as_deref().unwrap_or_default(), &signers, scratch);
    let (file, text) = match subject {
        Subject::List(list) if wanted.kind == SignatureKind::Openpgp => {
            let (text, signer) = keys()?.signed_list(list, detached)?;
            return Ok(Signed { text, signer });
        }
        Subject::List(list) => {
            let file = scratch.join("list");
            fs::write(&file, list).at("writing", &file)?;
            (file, list.to_vec())
        }
        Subject::File(path) => (path.to_owned(), Vec::new()),
    };
    let detached = detached.unwrap_or_default();
    let signer = match wanted.kind {
        SignatureKind::Openpgp => keys()?.check_detached(detached, &file),
        SignatureKind::Minisign => minisign::check(&signers, detached, &file),
        SignatureKind::Sigstore => sigstore::check(wanted, detached, &file),
    };
    Ok(Signed { text, signer: signer? })
}
