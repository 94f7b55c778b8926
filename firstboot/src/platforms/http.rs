//! What sources over HTTP have in common: user-data, and what the firmware says against their metadata.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::ReadContext;
use crate::document::{Document, UserData};
use crate::error::{ErrorKind, Failure, Result};
use crate::evidence::Field;
use crate::facts::Facts;
use crate::net::service::Service;

/// The user-data at `path`, if there is any.
pub(super) fn user_data(service: &mut Service, path: &str) -> Result<Option<UserData>> {
    let Some(bytes) = service.find(path)? else { return Ok(None) };
    plain(bytes, service.url(path))
}

/// The user-data at `path`, which the platform gives in base64.
pub(super) fn user_data_in_base64(service: &mut Service, path: &str) -> Result<Option<UserData>> {
    let Some(bytes) = service.find(path)? else { return Ok(None) };
    decoded(&bytes, service.url(path))
}

/// User-data as it came.
pub(super) fn plain(bytes: Zeroizing<Vec<u8>>, origin: String) -> Result<Option<UserData>> {
    let document = Document::new(bytes)
        .ok_or_else(|| Failure::new(ErrorKind::Source, format!("{origin}: the user-data is too long")))?;
    Ok(UserData::new(document, origin))
}

/// User-data in base64 (RFC 4648), with or without line breaks.
pub(super) fn decoded(bytes: &[u8], origin: String) -> Result<Option<UserData>> {
    let text: Zeroizing<Vec<u8>> =
        Zeroizing::new(bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect());
    match STANDARD.decode(&*text) {
        Ok(bytes) => plain(bytes.into(), origin),
        Err(_) => Err(Failure::new(ErrorKind::Source, format!("{origin}: the user-data is not base64"))),
    }
}

/// What the firmware says the machine's id is, where that platform puts it there; it does not count against the service. False when they
/// differ.
pub(super) fn compare_id(
    context: &mut ReadContext,
    field: Field,
    firmware: Option<String>,
    facts: &mut Facts,
) -> bool {
    let (Some(firmware), Some(id)) = (firmware, facts.instance_id.value().cloned()) else { return true };
    if firmware.eq_ignore_ascii_case(&id) {
        return true;
    }
    context.notice(format!(
        "warning: the metadata service calls this machine {id}, smbios {} {firmware}",
        field.name()
    ));
    facts.instance_id.say(firmware, format!("smbios {}", field.name()));
    false
}
