//! Optional features of Windows that the image asks the agent for: enabled before the join, with one restart
//! if Windows needs it, after which the run goes on.
//!
//! ```text
//! wanted ─► DISM for each ─┬─► all done ──────────────────────────────► the join
//!                          └─► needs a restart ─┬─► none was asked for ─► asks for it, ends as `restart`
//!                                               └─► Windows restarted ──► failed: it would not help again
//! ```
//!
//! A file remembers what was asked of Windows, so that a machine never restarts twice for the same features.

use serde::{Deserialize, Serialize};

use crate::error::{ErrorKind, Failure, Result};
use crate::host::files;
#[cfg(windows)]
use crate::host::optional_features;
use crate::host::program::Output;
use crate::host::root::Root;
#[cfg(windows)]
use crate::host::services::Services;
use crate::paths;

/// Limit on the record, in bytes.
const LONGEST: u64 = 64 << 10;
/// The longest name of a feature.
const LONGEST_NAME: usize = 128;
/// What to do about Windows' servicing.
const SEE_LOG: &str = "C:\\Windows\\Logs\\DISM\\dism.log says why; mend it and restart the machine, or enable \
                       the features in the base (layer windows-features-base)";

/// ERROR_SUCCESS_REBOOT_REQUIRED
const RESTART_NEEDED: i32 = 3010;
/// Codes of component servicing (CbsApi.h), and what to do.
const ADVICE: &[(u32, &str)] = &[
    (0x800f_080c, "this edition of Windows has no such feature: dism.exe /Online /Get-Features lists them"),
    (0x800f_081f, "its files are not in the component store: enable it in the base, with its source"),
];

/// The next step of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// The join.
    Join,
    /// Its end: the machine restarts.
    Restart,
}

/// How Windows takes a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Enabled {
    /// It is enabled.
    Now,
    /// It is enabled once the machine has restarted.
    AfterRestart,
}

/// What this needs of Windows.
trait Host {
    /// Enables a feature, or finds it enabled. `tell` hears that it goes on.
    fn enable(&mut self, feature: &str, tell: &dyn Fn(&str)) -> Result<Enabled>;
    /// Notes that this boot is to end with a restart.
    fn note_restart(&mut self) -> Result<()>;
    /// Whether this boot has that note.
    fn is_restart_noted(&self) -> bool;
    /// Asks for the restart, which begins some seconds later.
    fn restart(&mut self) -> Result<()>;
}

/// What an earlier run asked of Windows.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Record {
    features: Vec<String>,
    /// Whether Windows had them all; else it was to restart for them.
    are_enabled: bool,
}

/// This machine.
#[cfg(windows)]
struct Machine<'a>(&'a Root);

#[cfg(windows)]
impl Host for Machine<'_> {
    fn enable(&mut self, feature: &str, tell: &dyn Fn(&str)) -> Result<Enabled> {
        answer(feature, &optional_features::enable(self.0, feature, tell)?)
    }

    fn note_restart(&mut self) -> Result<()> {
        optional_features::note_restart()
    }

    fn is_restart_noted(&self) -> bool {
        optional_features::is_restart_noted()
    }

    fn restart(&mut self) -> Result<()> {
        Services::of(self.0).stop_machine("reboot")
    }
}

/// Enables the features that the image of this machine names. `tell` says what happens.
#[cfg(windows)]
pub(super) fn enable_here(root: &Root, tell: &dyn Fn(&str)) -> Result<Next> {
    enable(root, &mut Machine(root), tell)
}

fn enable(root: &Root, host: &mut dyn Host, tell: &dyn Fn(&str)) -> Result<Next> {
    let features = wanted(root)?;
    let earlier = read(root)?.filter(|record| record.features == features);
    if features.is_empty() || earlier.as_ref().is_some_and(|record| record.are_enabled) {
        return Ok(Next::Join);
    }
    let mut waiting = Vec::new();
    for feature in &features {
        tell(&format!("enabling Windows' feature {feature}: this may take minutes"));
        if host.enable(feature, tell)? == Enabled::AfterRestart {
            waiting.push(feature.as_str());
        }
    }
    if waiting.is_empty() {
        tell(&format!("Windows has the features {}", features.join(", ")));
        write(root, &Record { features, are_enabled: true })?;
        return Ok(Next::Join);
    }
    let waiting = waiting.join(", ");
    if earlier.is_some() && !host.is_restart_noted() {
        let message = format!("Windows restarted for the features {waiting}, and still lacks them");
        return Err(Failure::new(ErrorKind::Host, message).help(SEE_LOG));
    }
    tell(&format!("Windows restarts for the features {waiting}; the join goes on afterwards"));
    // In this order: a record without the note would mean that the restart is over.
    host.note_restart()?;
    write(root, &Record { features, are_enabled: false })?;
    host.restart()?;
    Ok(Next::Restart)
}

/// What DISM's end says of a feature. Exit codes mean the same in every language.
fn answer(feature: &str, output: &Output) -> Result<Enabled> {
    match output.code {
        Some(0) => Ok(Enabled::Now),
        Some(RESTART_NEEDED) => Ok(Enabled::AfterRestart),
        code => {
            let code = code.unwrap_or_default().cast_unsigned();
            let advice = ADVICE.iter().find(|row| row.0 == code).map_or(SEE_LOG, |row| row.1);
            let what = format!("enabling Windows' feature {feature}: DISM ended with {code:#x}");
            Err(Failure::new(ErrorKind::Host, format!("{what}: {}", output.reason())).help(advice))
        }
    }
}

/// The features that the image asks for, by name: its files in one folder, which any layer can add to.
fn wanted(root: &Root) -> Result<Vec<String>> {
    let folder = format!("/{}", contract::WINDOWS_FEATURES);
    let mut names: Vec<String> = root
        .list(&folder)
        .iter()
        .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    match names.iter().find(|name| !is_name(name)) {
        Some(name) => {
            Err(Failure::new(ErrorKind::Config, format!("{folder}: {name} is no name of a feature"))
                .help("name the file as DISM does: Containers"))
        }
        None => Ok(names),
    }
}

fn is_name(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    text.len() <= LONGEST_NAME && text.bytes().all(is_letter)
}

/// A damaged record counts as none: at worst the machine restarts once more.
fn read(root: &Root) -> Result<Option<Record>> {
    let bytes = files::read(&root.path(paths::FEATURES), LONGEST)?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

fn write(root: &Root, record: &Record) -> Result<()> {
    let bytes = serde_json::to_vec(record)
        .map_err(|error| Failure::new(ErrorKind::Internal, format!("recording features: {error}")))?;
    files::write(&root.entry(paths::FEATURES), &bytes, files::PRIVATE)
}

#[cfg(test)]
#[path = "features_tests.rs"]
mod tests;
