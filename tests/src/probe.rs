//! Inspects a guest without a login. systemd takes units and scripts as credentials from the machine's
//! firmware tables (SMBIOS type 11, systemd.system-credentials(7)), so an unchanged image is tested. The
//! script prints its results as `KILN-PROBE key=value` lines to the serial console and then powers the
//! machine off or reboots it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::console::Failure;
use crate::qemu::{Machine, Vm};

const SCRIPT: &str = include_str!("probe.sh");

/// PID 1 puts the machine's credentials here.
const SCRIPT_PATH: &str = "/run/credentials/@system/kiln.probe";

/// From power-on to the end of the probe, under emulation.
const PATIENCE: Duration = Duration::from_secs(420);

/// The guest's action after the probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Powers off.
    PowerOff,
    /// Reboots after the first probe, powers off after the second.
    RebootOnce,
}

/// The results of one boot of a guest, by key, see `probe.sh`.
pub type Facts = BTreeMap<String, String>;

/// Gives `machine` the probe as credentials; needs systemd 256 or newer in the guest.
pub fn install(machine: Machine, then: Then) -> Machine {
    let unit = format!(
        "[Unit]\nDescription=Probe of the tests\nAfter=multi-user.target containerd.service\nDefaultDependencies=no\n\
         [Service]\nType=exec\nExecStart=/bin/sh {SCRIPT_PATH}\n"
    );
    install_script(machine, then)
        .credential("systemd.extra-unit.kiln-probe.service", unit.as_bytes())
        .credential("systemd.unit-dropin.multi-user.target~probe", b"[Unit]\nWants=kiln-probe.service\n")
}

/// For a guest with systemd 252 to 255, which takes credentials but no units from them, and long ones only
/// through fw_cfg; the file is written into `folder`. Returns the kernel argument that starts the probe: for
/// machines whose kernel is loaded directly.
pub fn install_for_older(machine: Machine, then: Then, folder: &Path) -> (Machine, String) {
    let file = folder.join("probe.sh");
    std::fs::write(&file, script(then)).expect("the folder is writable");
    (
        machine.fw_cfg("opt/io.systemd.credentials/kiln.probe", &file),
        format!("systemd.run=\"/bin/sh {SCRIPT_PATH}\""),
    )
}

fn install_script(machine: Machine, then: Then) -> Machine {
    machine.credential("kiln.probe", script(then).as_bytes())
}

fn script(then: Then) -> String {
    SCRIPT.replace("@THEN@", if then == Then::RebootOnce { "reboot" } else { "poweroff" })
}

/// Waits for the next report on the console.
pub fn report(vm: &mut Vm) -> Result<Facts, Failure> {
    let mut facts = Facts::new();
    loop {
        let line = vm.wait_for("KILN-PROBE ", PATIENCE)?;
        let Some((key, value)) = parse(&line) else { continue };
        if key == "end" {
            return Ok(facts);
        }
        facts.insert(key.to_owned(), value.to_owned());
    }
}

fn parse(line: &str) -> Option<(&str, &str)> {
    let (_, report) = line.split_once("KILN-PROBE ")?;
    let (key, value) = report.split_once('=')?;
    Some((key, value.trim_end_matches(';')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_found_behind_other_output() {
        assert_eq!(
            parse("\u{1b}[0mKILN-PROBE failed=a.service;b.service;"),
            Some(("failed", "a.service;b.service"))
        );
        assert_eq!(parse("KILN-PROBE cmdline=root=x"), Some(("cmdline", "root=x")));
        assert_eq!(parse("KILN-PROBE cut"), None);
    }
}
