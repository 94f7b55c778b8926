//! VMware Tools' own program for commands to the host, where the hypervisor's port does not answer: the
//! machine may be set to keep it from programs (`monitor_control.restrict_backdoor`).
//!
//! `rpctool.exe "info-get guestinfo.userdata"` prints the value and a line end; without a value it says so,
//! and ends with 1 (open-vm-tools: rpctool/rpctool.c).

use std::time::Duration;

use zeroize::Zeroizing;

use super::command::{self, Output};
use crate::document::LIMIT;
use crate::error::{ErrorKind, Failure, Result};
use crate::host::root::Root;
use crate::paths;

/// Time limit of one command. The host answers at once.
const PATIENCE: Duration = Duration::from_secs(10);
/// What the host says of a key without a value.
const NO_VALUE: &str = "No value found";
const HELP: &str =
    "its command info-get guestinfo.userdata, by hand, shows what it says; repair VMware Tools";
/// Why nothing is asked besides the port, as a part of a notice.
pub(crate) const ABSENT: &str = ", and VMware Tools are not installed";

/// The program, by its path.
pub(crate) struct Tools(String);

/// The program; none where VMware Tools are not installed.
pub(crate) fn tools(root: &Root) -> Option<Tools> {
    let program = root.path(paths::RPCTOOL);
    program.is_file().then(|| Tools(program.display().to_string()))
}

impl Tools {
    /// Sends one command. The answer is as that of the port.
    pub(crate) fn ask(&self, command: &str) -> Result<Zeroizing<Vec<u8>>> {
        let failed = |why: &str| {
            Failure::new(ErrorKind::Source, format!("VMware Tools' {}: {why}", self.0)).help(HELP)
        };
        let ended = command::run_raw(&self.0, &[command], PATIENCE, LIMIT)
            .map_err(|failure| failed(&failure.message))?;
        if ended.stdout.is_cut {
            return Err(failed("the answer is too long, or has no end"));
        }
        if ended.code == Some(0) {
            return Ok(Zeroizing::new([b"1 ", without_line_end(&ended.stdout.bytes)].concat()));
        }
        let ended = Output::from(ended);
        if ended.stdout.contains(NO_VALUE) || ended.stderr.contains(NO_VALUE) {
            return Ok(Zeroizing::new(format!("0 {NO_VALUE}").into_bytes()));
        }
        // What it printed may be a secret.
        Err(failed(&match ended.code {
            Some(code) => format!("it ended with code {code}"),
            None => "it was ended".to_owned(),
        }))
    }
}

fn without_line_end(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}
