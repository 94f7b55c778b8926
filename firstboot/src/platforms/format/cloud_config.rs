//! cloud-init's settings on a disk, which whoever installed the machine wrote.

use serde_json::Value;
use zeroize::Zeroizing;

use crate::host::files;
use crate::host::root::Root;
use crate::paths::CLOUD_CONFIGS;
use crate::secret::wipe;
use crate::text::yaml;

/// Longest file with settings.
const LONGEST: u64 = 64 * 1024;

/// What `look` finds in the last file that has it, and the file.
pub(crate) fn last<T>(root: &Root, look: impl Fn(&Value) -> Option<T>) -> Option<(T, String)> {
    root.list(CLOUD_CONFIGS).into_iter().rev().find_map(|path| {
        let path = path.to_str().filter(|path| path.ends_with(".cfg"))?;
        let bytes = Zeroizing::new(files::read(&root.path(path), LONGEST).ok().flatten()?);
        let mut config = yaml::cloud_init(&bytes).ok()?;
        let found = look(&config);
        wipe(&mut config);
        Some((found?, path.to_owned()))
    })
}
