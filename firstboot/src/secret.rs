//! Text that must never be shown: bootstrap tokens, private keys, user data.

use std::fmt;

use serde_json::Value;
use zeroize::{Zeroize, Zeroizing};

/// A secret text. It cannot be printed or serialised, and its memory is overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes ownership of the text.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself, for the code that sends or stores it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// Overwrites all texts of a document that may contain secrets.
pub fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(fields) => fields.values_mut().for_each(wipe),
        _ => {}
    }
}

/// Disables core dumps of this process, for any limits and core pattern of the machine, because a core would
/// contain secrets (prctl(2), `PR_SET_DUMPABLE`). Programs that this process starts are not affected.
pub fn keep_out_of_cores() {
    // On Linux this cannot fail.
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_dumpable(false);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn no_core_is_left() {
        keep_out_of_cores();
        assert_eq!(nix::sys::prctl::get_dumpable(), Ok(false));
    }

    #[test]
    fn is_not_shown() {
        assert_eq!(format!("{:?}", Secret::new("9vr73a.a8uxyaju799qwdjv".to_owned())), "Secret(…)");
    }
}
