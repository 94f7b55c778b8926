//! A file of the machine, written with the image, with the machine, or by a program that ran before the
//! agent.

use super::LocationContext;
use crate::document::{Document, UserData};
use crate::error::Result;
use crate::os;
use crate::paths;

/// Paths of the file. /run is empty after a reboot.
pub const PATHS: &[&str] = &[paths::CONFIG, paths::RUNTIME_CONFIG];

pub(super) fn find(context: &LocationContext, notices: &mut Vec<String>) -> Result<Option<UserData>> {
    for path in PATHS {
        let file = context.root.path(path);
        let Some(document) = Document::read_file(&file)? else { continue };
        if document.is_blank() {
            notices.push(format!("{path} is empty and is ignored"));
            continue;
        }
        if std::fs::metadata(&file).is_ok_and(|about| os::is_readable_by_others(&about)) {
            notices.push(format!("{path} can be read by others than root: it may hold a token (chmod 600)"));
        }
        return Ok(UserData::new(document, *path));
    }
    Ok(None)
}
