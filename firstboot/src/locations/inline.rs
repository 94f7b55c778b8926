//! A config on the kernel command line itself: `firstboot.config-inline=BASE64`, for machines that boot over
//! the network and have no other location. It may be compressed; the content shows its format.

use super::LocationContext;
use crate::document::{Document, UserData};
use crate::error::{ErrorKind, Failure, Result};

/// The kernel argument.
pub const ARGUMENT: &str = "firstboot.config-inline";

pub(super) fn find(context: &LocationContext, notices: &mut Vec<String>) -> Result<Option<UserData>> {
    let Some(text) = context.command_line.value(ARGUMENT) else { return Ok(None) };
    let document = Document::from_base64(text.as_bytes()).ok_or_else(|| {
        Failure::new(ErrorKind::Source, format!("the kernel command line: {ARGUMENT} is no base64"))
    })?;
    notices.push(format!(
        "every program of this machine can read {ARGUMENT}: a token in it should be gone soon"
    ));
    Ok(UserData::new(document, ARGUMENT))
}
