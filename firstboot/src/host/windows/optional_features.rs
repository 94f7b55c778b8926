//! Optional features of Windows, by DISM
//! (<https://learn.microsoft.com/windows-hardware/manufacture/desktop/enable-or-disable-windows-features-using-dism>),
//! and the restart that they may need.

use std::time::Duration;

use super::command::{self, Output};
use super::registry::Key;
use crate::error::{Context, Result};
use crate::host::root::Root;
use crate::paths;

/// A feature takes minutes on a slow disk.
const LIMIT: Duration = Duration::from_secs(30 * 60);
/// A key that Windows drops when it ends.
const THIS_BOOT: &str = r"SOFTWARE\KilnThisBoot";

/// Has DISM enable a feature. Its exit code says what it did, which no language changes; its texts are asked
/// for in English, for the operator. `tell` hears now and then that it goes on: its own percents come all at
/// once where its output is no console.
pub(crate) fn enable(root: &Root, feature: &str, tell: &dyn Fn(&str)) -> Result<Output> {
    let (program, name) = (root.path(paths::DISM), format!("/FeatureName:{feature}"));
    let words = ["/English", "/Online", "/Enable-Feature", name.as_str(), "/All", "/NoRestart"];
    let still = |elapsed: Duration| {
        let (minutes, seconds) = (elapsed.as_secs() / 60, elapsed.as_secs() % 60);
        let most = LIMIT.as_secs() / 60;
        tell(&format!(
            "still enabling {feature}: DISM has run for {minutes} min {seconds} s, and may for {most} min"
        ));
    };
    command::run_with_news(&program.to_string_lossy(), &words, LIMIT, &still)
}

/// Notes that this boot is to end with a restart.
pub(crate) fn note_restart() -> Result<()> {
    Key::make_until_restart(THIS_BOOT).map(drop).doing("noting the restart")
}

/// Whether this boot has that note.
pub(crate) fn is_restart_noted() -> bool {
    Key::open(THIS_BOOT).is_some()
}
