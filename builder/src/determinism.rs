//! The only clock and the only source of identifiers of a build.
//!
//! Nothing else in the builder may read the time, the host's name or randomness: two builds of one lock are bit-identical.

use uuid::Uuid;

use crate::digest::Digest;
use crate::error::{Class, Error, Result};

/// The time that everything in an image carries when SOURCE_DATE_EPOCH is not set: 2020-01-01T00:00:00Z, in seconds.
/// Later than the FAT epoch (1980) and any certificate's "not before" check that a fresh machine could trip over.
pub const DEFAULT_EPOCH: u64 = 1_577_836_800;

/// The time of the build in seconds since 1970 (<https://reproducible-builds.org/specs/source-date-epoch/>).
///
/// # Errors
/// When SOURCE_DATE_EPOCH is set to something that is not a number.
pub fn source_date_epoch() -> Result<u64> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Err(_) => Ok(DEFAULT_EPOCH),
        Ok(text) => text.trim().parse().map_err(|_| {
            Error::new(Class::Usage, format!("SOURCE_DATE_EPOCH is \"{text}\", not a number of seconds"))
                .help("unset it, or set it to seconds since 1970-01-01")
        }),
    }
}

/// An identifier (RFC 9562, version 8) that depends only on `seed` and `purpose`.
pub fn uuid(seed: &Digest, purpose: &str) -> Uuid {
    let mixed = Digest::of(format!("{seed} {purpose}").as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&mixed.bytes()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_differ_by_purpose_and_repeat() {
        let seed = Digest::of(b"image");
        assert_eq!(uuid(&seed, "disk"), uuid(&seed, "disk"));
        assert_ne!(uuid(&seed, "disk"), uuid(&seed, "root"));
        assert_eq!(uuid(&seed, "disk").get_version_num(), 8);
    }
}
