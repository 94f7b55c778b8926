//! `tokenFrom` of the FirstbootConfiguration: where a token is asked for, instead of one that lies in a
//! launch template.

use std::path::PathBuf;
use std::time::Duration;

use super::check::{self, Problems};
use super::fields::Fields;
use super::model::{Proof, TokenFrom};
use super::strict::{choice, refuse};
use crate::error::Result;
use crate::net::Url;
use crate::net::trust::Authorities;
use crate::paths;
use crate::secret::Secret;

/// How long it may take when nothing is said.
const TIMEOUT: Duration = Duration::from_secs(60);

const PROOFS: &[(&str, Proof)] =
    &[("none", Proof::None), ("platform", Proof::Platform), ("certificate", Proof::Certificate)];

pub(super) fn read(fields: &mut Fields<'_>, problems: &mut Problems) -> Result<Option<TokenFrom>> {
    let Some(mut fields) = fields.fields("tokenFrom")? else { return Ok(None) };
    let hashes = fields.texts("caCertHashes")?;
    let hashes = hashes.iter().enumerate();
    let hashes = hashes
        .filter_map(|(index, text)| {
            check::pin(&fields.path(&format!("caCertHashes[{index}]")), text, problems)
        })
        .collect();
    let asked = TokenFrom {
        url: Secret::new(fields.text("url")?.unwrap_or_default()),
        ca_cert: fields.text("caCert")?,
        ca_cert_hashes: hashes,
        identity: choice(&mut fields, "identity", PROOFS, problems)?.unwrap_or(Proof::None),
        client: client(&mut fields, problems)?,
        timeout: fields.duration("timeout")?.unwrap_or(TIMEOUT),
    };
    judge(&asked, &fields, problems);
    let mut unknown = Vec::new();
    fields.finish(&mut unknown);
    unknown.iter().for_each(|field| refuse(field, problems));
    Ok(Some(asked))
}

fn client(fields: &mut Fields<'_>, problems: &mut Problems) -> Result<Option<(PathBuf, PathBuf)>> {
    match (fields.text("clientCertificate")?, fields.text("clientKey")?) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => {
            if !(paths::is_absolute(&certificate) && paths::is_absolute(&key)) {
                problems.note(format!(
                    "{}: must be the absolute path of a file",
                    fields.path("clientCertificate")
                ));
            }
            Ok(Some((certificate.into(), key.into())))
        }
        _ => {
            problems.required(&fields.path("clientKey"), "a client certificate and its key go together");
            Ok(None)
        }
    }
}

/// A URL may hold a secret and is not shown.
fn judge(asked: &TokenFrom, fields: &Fields<'_>, problems: &mut Problems) {
    if asked.url.reveal().is_empty() {
        problems.required(&fields.path("url"), "an https URL");
    } else if let Err(why) = Url::secure(asked.url.reveal()) {
        problems.invalid_secret(&fields.path("url"), &why);
    }
    if let Some(Err(why)) = asked.ca_cert.as_ref().map(|pem| Authorities::from_pem(pem.as_bytes())) {
        problems.invalid_secret(&fields.path("caCert"), &why);
    }
    if asked.ca_cert.is_some() && !asked.ca_cert_hashes.is_empty() {
        problems.note(format!("{}: caCert and caCertHashes cannot both be set", fields.path("caCert")));
    }
    if asked.identity == Proof::Certificate && asked.client.is_none() {
        problems.required(&fields.path("clientCertificate"), "identity: certificate needs it");
    }
    if asked.timeout.is_zero() {
        problems.invalid(&fields.path("timeout"), "0", "must be greater than 0");
    }
}
