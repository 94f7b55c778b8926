//! User data of metadata services.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::document::{Document, UserData};
use crate::error::{ErrorKind, Failure, Result};
use crate::net::service::Service;

/// The user data at `path`, if there is any.
pub(crate) fn get(service: &mut Service, path: &str) -> Result<Option<UserData>> {
    let Some(bytes) = service.find(path)? else { return Ok(None) };
    plain(bytes, service.url(path))
}

/// The user data at `path`, which the platform encodes in base64.
pub(crate) fn get_base64(service: &mut Service, path: &str) -> Result<Option<UserData>> {
    let Some(bytes) = service.find(path)? else { return Ok(None) };
    decoded(&bytes, service.url(path))
}

/// User data as it came.
pub(crate) fn plain(bytes: Zeroizing<Vec<u8>>, origin: String) -> Result<Option<UserData>> {
    let document = Document::new(bytes)
        .ok_or_else(|| Failure::new(ErrorKind::Source, format!("{origin}: the user-data is too long")))?;
    Ok(UserData::new(document, origin))
}

/// User data in base64 (RFC 4648), with or without line breaks.
pub(crate) fn decoded(bytes: &[u8], origin: String) -> Result<Option<UserData>> {
    let text: Zeroizing<Vec<u8>> =
        Zeroizing::new(bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect());
    match STANDARD.decode(&*text) {
        Ok(bytes) => plain(bytes.into(), origin),
        Err(_) => Err(Failure::new(ErrorKind::Source, format!("{origin}: the user-data is not base64"))),
    }
}
