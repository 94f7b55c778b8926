//! A failed boot: shows a message that stays readable, then powers off or reboots.

use std::fmt::{self, Display};
use std::time::Duration;

use nix::sys::reboot::{RebootMode, reboot};

use super::arguments::OnFailure;
use super::console;

/// How long the message stays on the console before the machine stops.
const READING_TIME: Duration = Duration::from_secs(5);

/// Why the machine cannot boot. It may have several lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure(String);

/// The result of a boot step.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure with its first line: what failed, and on what, in lower case.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    /// Adds a line below.
    #[must_use]
    pub fn line(self, line: impl Display) -> Self {
        Self(format!("{}\n{line}", self.0))
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Adds what was being done when a system call failed.
pub trait Context<T> {
    /// `doing` is a gerund with its object ("mounting /dev/vda2").
    fn doing(self, doing: impl Display) -> Result<T>;
}

impl<T, E: Display> Context<T> for std::result::Result<T, E> {
    fn doing(self, doing: impl Display) -> Result<T> {
        self.map_err(|error| Failure(format!("{doing}: {error}")))
    }
}

/// Shows the failure and stops the machine. The pause makes a loop of failing reboots slow and visible.
pub fn stop(failure: &Failure, action: OnFailure) -> ! {
    console::fail("this machine cannot boot");
    failure.0.lines().for_each(console::fail);
    let (mode, says) = match action {
        OnFailure::PowerOff => {
            (RebootMode::RB_POWER_OFF, "powering off (kiln.on-failure=reboot restarts instead)")
        }
        OnFailure::Reboot => (RebootMode::RB_AUTOBOOT, "restarting (kiln.on-failure=poweroff stops instead)"),
    };
    console::fail(says);
    std::thread::sleep(READING_TIME);
    nix::unistd::sync();
    let Err(error) = reboot(mode);
    console::fail(&format!("the machine does not stop: {error}"));
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_was_being_done() {
        let failed: Result<()> = Err(std::io::Error::from_raw_os_error(2))
            .doing("opening /dev/vda")
            .map_err(|e| e.line("help"));
        assert_eq!(
            failed.unwrap_err().to_string(),
            "opening /dev/vda: No such file or directory (os error 2)\nhelp"
        );
    }
}
