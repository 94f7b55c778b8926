//! Which optional features an image of Windows has.
//!
//! Servicing keeps their states in a form that Microsoft does not document. What a feature brings is known,
//! and what container runtimes themselves ask for: dockerd does not start without the services `hns` and
//! `vmcompute`, "ensure the Containers feature is installed" (moby/moby `daemon/daemon_windows.go`).

use crate::error::Result;
use crate::format::hive::Hive;

/// A feature, by its name for DISM, and the services that it brings. Another one is a row here.
const SERVICES: [(&str, &[&str]); 2] =
    [("Containers", &["hns", "vmcompute"]), ("Microsoft-Hyper-V", &["vmms"])];

/// The services that the image lacks of those that the feature brings; none for a feature that is not known
/// by services.
///
/// # Errors
/// [`crate::error::ErrorKind::Archive`] if the hive is broken there.
pub fn missing_services(feature: &str, system: &Hive, control_set: &str) -> Result<Vec<&'static str>> {
    let known = SERVICES.iter().find(|(name, _)| name.eq_ignore_ascii_case(feature));
    let mut missing = Vec::new();
    for service in known.map_or(&[][..], |(_, services)| services) {
        // The key alone is no sign: layers keep settings of the service below it.
        if system.value(&format!("{control_set}\\Services\\{service}"), "ImagePath")?.is_none() {
            missing.push(*service);
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::hive::Value;

    #[test]
    fn a_feature_is_there_if_the_services_that_it_brings_have_a_program() {
        let mut system = Hive::new("ROOT", 0);
        let set = "ControlSet001";
        let settings = format!("{set}\\Services\\hns\\State");
        system.set(&settings, "HNSControlFlag", &Value::Dword(80)).unwrap();
        let missing = |system: &Hive, feature| missing_services(feature, system, set).unwrap();
        assert_eq!(missing(&system, "containers"), ["hns", "vmcompute"]);
        assert_eq!(missing(&system, "Microsoft-Hyper-V"), ["vmms"]);
        assert!(missing(&system, "Web-Server").is_empty());
        for service in ["hns", "VmCompute"] {
            let program = Value::ExpandString(r"%systemroot%\system32\x.exe".to_owned());
            system.set(&format!("{set}\\Services\\{service}"), "ImagePath", &program).unwrap();
        }
        assert!(missing(&system, "Containers").is_empty());
    }
}
