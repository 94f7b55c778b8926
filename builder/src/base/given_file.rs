//! A file that somebody else has made, and that is a base: how it is pinned.

use std::fs::Metadata;

use super::Context;
use crate::definition::plan::{Checksum, Location, SignaturePlan};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::fetch::LARGEST_CHECKSUM_FILE;
use crate::signature::{self, Keys};
use crate::store::Content;

/// A file, and who vouches for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct File<'a> {
    pub location: &'a Location,
    pub checksum: Option<&'a Checksum>,
    pub signature: Option<&'a SignaturePlan>,
}

impl File<'_> {
    /// Its digest, and its length where that is known.
    pub fn pin(&self, context: &Context<'_>) -> Result<(Digest, Option<u64>)> {
        let Location { written, address } = self.location;
        match self.checksum {
            Some(Checksum::Pinned(digest)) => Ok((*digest, context.fetcher.length(address).ok().flatten())),
            Some(Checksum::File(list_address)) => {
                let list = list(list_address, self.signature, context)?;
                context.fetcher.listed(written, address, &list, list_address)
            }
            None => self.local(),
        }
    }

    /// Digest and length of a local file that nothing else vouches for.
    fn local(&self) -> Result<(Digest, Option<u64>)> {
        let absent = || Error::new(ErrorKind::Internal, "it is not on this machine");
        let Content { sha256, size } = Content::of_file(&self.location.path().ok_or_else(absent)?)?;
        Ok((sha256, Some(size)))
    }
}

/// Refuses a file of this machine that has another length than the one that was locked: a build would take
/// the old one out of the store.
pub(super) fn check_length(location: &Location, locked: Option<u64>) -> Result<()> {
    let found = location.path().and_then(|path| path.metadata().ok()).filter(Metadata::is_file);
    let (Some(locked), Some(length)) = (locked, found.map(|metadata| metadata.len())) else { return Ok(()) };
    if length == locked {
        return Ok(());
    }
    let message = format!(
        "{} has {length} bytes, and is no longer the file of {locked} bytes that the lock has",
        location.written
    );
    Err(Error::new(ErrorKind::Lock, message)
        .help("lock it again: kiln lock --upgrade DEFINITION; or put the old file back"))
}

/// The list of digests at `address`; if it must be signed, what is signed of it and nothing else.
fn list(address: &str, signature: Option<&SignaturePlan>, context: &Context<'_>) -> Result<Vec<u8>> {
    let fetcher = context.fetcher;
    let Some(signature) = signature else {
        return Ok(fetcher.document(address, LARGEST_CHECKSUM_FILE)?.bytes);
    };
    let scratch = context.store.scratch()?;
    let keyring = signature.keyring.path().unwrap_or_default();
    let keys = signature::read_keys(&keyring)?;
    let failed = |error: Error| error.context(address);
    let keys = Keys::new(&keys, &[], scratch.path()).map_err(|error| error.context(keyring.display()))?;
    let list = fetcher.signed_document(address, LARGEST_CHECKSUM_FILE)?.bytes;
    let detached = signature.file.as_ref();
    let detached = detached.map(|file| fetcher.signed_document(&file.address, LARGEST_CHECKSUM_FILE));
    let detached = detached.transpose()?.map(|document| document.bytes);
    keys.signed_list(&list, detached.as_deref()).map(|(text, _)| text).map_err(failed)
}
