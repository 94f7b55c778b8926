//! Hyper-V: the guest's key-value pool, which the daemon of the integration services hands to the host
//! (<https://learn.microsoft.com/en-us/virtualization/hyper-v-on-windows/reference/integration-services#hyper-v-data-exchange-service-kvp>).

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use super::{DONE, Reporter, Telling, Told, Wish, cut, never};
use crate::error::{Context, ErrorKind, Failure, Result};
use crate::facts::Facts;
use crate::host::kvp::{self, record};
use crate::host::root::Root;

pub(super) const REPORTER: Reporter =
    Reporter { kind: "hyperv", when: DONE, settings: &[], usual: never, whom, tell };

/// Bytes of a value that the host shows; a record has room for twice as many.
pub(super) const LONGEST_VALUE: usize = 1024;
const KEY: &str = "FIRSTBOOT_VERDICT";
/// The pool from the guest to the host.
const POOL: u8 = 1;

fn whom(_: &Wish, _: &Facts) -> Result<String> {
    Ok(format!("key {KEY} of the guest's pool"))
}

fn tell(_: &Wish, telling: &Telling) -> Result<Told> {
    append(telling.root, KEY, &value(telling)).map(|()| Told::Taken)
}

/// The verdict, with its message cut where all of it is too long.
fn value(telling: &Telling) -> String {
    let mut summary = telling.summary();
    let message = summary["message"].as_str().unwrap_or_default().to_owned();
    let mut most = message.len();
    loop {
        let text = summary.to_string();
        if text.len() <= LONGEST_VALUE || most == 0 {
            return cut(&text, LONGEST_VALUE).to_owned();
        }
        most = most.saturating_sub(text.len() - LONGEST_VALUE);
        summary["message"] = cut(&message, most).into();
    }
}

/// Adds a record to the pool. The daemon reads whole records, so one is written at once.
pub(super) fn append(root: &Root, key: &str, value: &str) -> Result<()> {
    let path = kvp::path(root, POOL);
    let record = record(key, value)
        .ok_or_else(|| Failure::new(ErrorKind::Internal, format!("{key} is too long for a record")))?;
    let opened = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o644)
        .custom_flags(nix::libc::O_NOFOLLOW)
        .open(&path);
    let missing = |failure: Failure| {
        failure.help("install the daemon of the Hyper-V integration services (hv_kvp_daemon) into the image")
    };
    let mut pool = opened.doing(format_args!("opening {}", path.display())).map_err(missing)?;
    pool.write_all(&record).doing(format_args!("writing {}", path.display()))
}

#[cfg(test)]
#[path = "hyperv_tests.rs"]
mod tests;
