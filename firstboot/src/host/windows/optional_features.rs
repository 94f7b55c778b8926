//! Optional features of Windows, by DISM
//! (<https://learn.microsoft.com/windows-hardware/manufacture/desktop/enable-or-disable-windows-features-using-dism>).
//!
//! DISM is asked by its exit code, which no language changes; its texts are asked for in English, for the
//! operator.

use std::time::Duration;

use super::command;
use super::registry::Key;
use super::services::Services;
use crate::error::{Context, Result};
use crate::host::root::Root;
use crate::paths;
use crate::run::features::{Enabled, Host, refusal};

/// A feature takes minutes on a slow disk.
const LIMIT: Duration = Duration::from_secs(30 * 60);
/// ERROR_SUCCESS_REBOOT_REQUIRED
const RESTART_NEEDED: i32 = 3010;
/// A key that Windows drops when it ends.
const THIS_BOOT: &str = r"SOFTWARE\KilnThisBoot";

/// This machine.
pub(crate) struct Dism<'a>(pub(crate) &'a Root);

impl Host for Dism<'_> {
    fn enable(&mut self, feature: &str) -> Result<Enabled> {
        let (program, name) = (self.0.path(paths::DISM), format!("/FeatureName:{feature}"));
        let words = ["/English", "/Online", "/Enable-Feature", name.as_str(), "/All", "/NoRestart"];
        let output = command::run(&program.to_string_lossy(), &words, LIMIT)?;
        match output.code {
            Some(0) => Ok(Enabled::Now),
            Some(RESTART_NEEDED) => Ok(Enabled::AfterRestart),
            code => Err(refusal(feature, code.unwrap_or_default().cast_unsigned(), &output.reason())),
        }
    }

    fn note_restart(&mut self) -> Result<()> {
        Key::make_until_restart(THIS_BOOT).map(drop).doing("noting the restart")
    }

    fn is_restart_noted(&self) -> bool {
        Key::open(THIS_BOOT).is_some()
    }

    fn restart(&mut self) -> Result<()> {
        Services::of(self.0).stop_machine("reboot")
    }
}
