//! A config on the kernel command line itself: `firstboot.config-inline=BASE64`, for machines that boot over the network and have no other
//! place. Compressed or not: what is inside is told by its content.

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::{Document, Surroundings, UserData};
use crate::error::{ErrorKind, Failure, Result};

/// The kernel argument.
pub const ARGUMENT: &str = "firstboot.config-inline";

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

pub(super) fn look(surroundings: &Surroundings, remarks: &mut Vec<String>) -> Result<Option<UserData>> {
    let Some(text) = surroundings.command_line.value(ARGUMENT) else { return Ok(None) };
    let document = decode(text.as_bytes()).ok_or_else(|| {
        Failure::new(ErrorKind::Source, format!("the kernel command line: {ARGUMENT} is no base64"))
    })?;
    remarks.push(format!(
        "every program of this machine can read {ARGUMENT}: a token in it should be gone soon"
    ));
    Ok(UserData::new(document, ARGUMENT))
}

/// Base64 in either alphabet, with padding or without, with blanks and line breaks in it; none when it is something else.
pub fn decode(text: &[u8]) -> Option<Document> {
    let text: Zeroizing<Vec<u8>> = Zeroizing::new(
        text.iter().copied().filter(|byte| !byte.is_ascii_whitespace() && *byte != 0).collect(),
    );
    let is_url_safe = text.iter().any(|byte| b"-_".contains(byte));
    let engine = if is_url_safe { URL_SAFE } else { STANDARD };
    Document::new(Zeroizing::new(engine.decode(&*text).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_in_every_usual_form() {
        for (text, expected) in [
            ("Pz8+", Some("??>")),
            ("Pz8-", Some("??>")),
            ("YQ==", Some("a")),
            ("YQ", Some("a")),
            (" YW\nI=\0", Some("ab")),
            ("", Some("")),
            ("a: b", None),
            ("Y", None),
            ("Pz8+-", None),
        ] {
            assert_eq!(
                decode(text.as_bytes()).map(|found| found.bytes().to_vec()),
                expected.map(|text| text.as_bytes().to_vec()),
                "{text}"
            );
        }
    }
}
