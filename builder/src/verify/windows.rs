//! Checks of an image of Windows: what image-builder's goss reads of files and of the registry in a running
//! machine (images/capi/packer/goss/goss-command.yaml), read out of the finished image.

use std::path::Path;

use serde::Deserialize;

use super::{Check, Findings, Subject};
use crate::base::windows::{Files, Release, control_set, may_be_windows, missing_services};
use crate::definition::windows::firewall::RULES as FIREWALL_RULES;
use crate::error::Result;
use crate::format::hive::{Hive, Value};

/// All checks. Another one is a function and a row here.
pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "windows-state",
        help: "run sysprep /generalize /oobe /shutdown /mode:vm before its image is taken",
        run: state,
    },
    Check { name: "windows-patch", help: "take a newer medium: no update can be added offline", run: patch },
    Check {
        name: "windows-update",
        help: "add the layer windows-node: updates come with a new image",
        run: updates,
    },
    Check {
        name: "windows-service",
        help: "add the layer that brings it, or correct its command",
        run: services,
    },
    Check { name: "windows-runtime", help: "add the layer windows-containerd", run: runtime },
    Check { name: "windows-kubelet", help: "add the layer windows-kubelet", run: kubelet },
    Check { name: "windows-network", help: "add the layer windows-node", run: network },
    Check {
        name: "windows-feature",
        help: "enable it before the base is generalized, or add the layer windows-features-agent or windows-features-unattend",
        run: features,
    },
];

const RUNTIME_CONFIG: &str = r"Program Files\containerd\config.toml";
const AUTO_UPDATE: &str = r"Policies\Microsoft\Windows\WindowsUpdate\AU";

/// The build of Windows Server 2019, of which goss asks more.
const SERVER_2019: u32 = 17763;
/// The patch level from which its network works with Kubernetes.
const LEAST_2019: u32 = 1817;

/// The feature without which no container starts.
const CONTAINERS: &str = "Containers";

/// The start of a service: by the boot loader.
const BOOT: u32 = 0;
/// The start of a service: by itself.
const AUTOMATIC: u32 = 2;

/// An image of Windows.
#[derive(Debug)]
pub struct Windows {
    pub(crate) release: Release,
    pub(crate) system: Hive,
    pub(crate) software: Hive,
    /// The key of the control set that it starts with.
    pub(crate) control_set: String,
    pub(crate) files: Files,
    /// The configuration of the container runtime.
    runtime: Option<String>,
    /// Features that it enables at its first start.
    enables: Vec<String>,
}

/// The part of an image's description that is read.
#[derive(Default, Deserialize)]
struct Description {
    #[serde(default)]
    enables_windows_features: Vec<String>,
}

/// Reads the image at `path`, if it is one of Windows.
///
/// # Errors
/// [`crate::error::ErrorKind::Archive`] if it is broken.
pub(super) fn read(path: &Path, title: &str, edition: Option<&str>, spool: &Path) -> Result<Option<Windows>> {
    if !may_be_windows(path)? {
        return Ok(None);
    }
    let Some(files) = Files::open(path, title, edition, spool)? else { return Ok(None) };
    let (software, system) = (files.hive("SOFTWARE")?, files.hive("SYSTEM")?);
    let release = Release::of(&software, &system).map_err(|error| error.context(title))?;
    let control_set = control_set(&system).map_err(|error| error.context(title))?;
    let runtime = files.read(RUNTIME_CONFIG)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let enables = files.read(&format!("{}\\image.json", contract::IMAGE_FOLDER.replace('/', "\\")))?;
    let enables = enables.and_then(|json| serde_json::from_slice::<Description>(&json).ok());
    let enables = enables.unwrap_or_default().enables_windows_features;
    Ok(Some(Windows { release, system, software, control_set, files, runtime, enables }))
}

impl Windows {
    /// How many files and folders it has.
    pub fn count(&self) -> usize {
        self.files.count()
    }

    /// Whether it has a kubelet.
    pub fn is_node(&self) -> bool {
        self.service("kubelet", "ImagePath").is_some()
    }

    /// One without files.
    #[cfg(test)]
    pub(crate) fn of_hives(system: Hive, software: Hive) -> Self {
        let release = Release::of(&software, &system).unwrap();
        let (control_set, files) = (control_set(&system).unwrap(), Files::named(&[]));
        Self { release, system, software, control_set, files, runtime: None, enables: Vec::new() }
    }

    fn service(&self, name: &str, value: &str) -> Option<Value> {
        self.current(&format!("Services\\{name}"), value)
    }

    /// A value of the control set. What cannot be read is not there.
    fn current(&self, key: &str, name: &str) -> Option<Value> {
        self.system.value(&format!("{}\\{key}", self.control_set), name).ok().flatten()
    }
}

/// The image of a subject for which [`CHECKS`] are asked.
fn windows(subject: &Subject) -> Option<&Windows> {
    subject.windows.as_ref()
}

/// The same, if it is a node's.
fn node(subject: &Subject) -> Option<&Windows> {
    windows(subject).filter(|windows| windows.is_node())
}

fn state(subject: &Subject, findings: &mut Findings<'_>) {
    let Some(windows) = windows(subject) else { return };
    if !windows.release.is_generalized() {
        let state = windows.release.state.as_deref().unwrap_or("no setup goes on at its next start");
        findings.add(
            r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Setup\State",
            format!("it is not generalized: {state}"),
        );
    }
}

fn patch(subject: &Subject, findings: &mut Findings<'_>) {
    let Some(Windows { release, .. }) = windows(subject) else { return };
    if release.build == SERVER_2019 && release.revision < LEAST_2019 {
        let why = format!("{}.{} is older than {SERVER_2019}.{LEAST_2019}", release.build, release.revision);
        findings.add("UBR", why);
    }
}

fn updates(subject: &Subject, findings: &mut Findings<'_>) {
    let Some(windows) = windows(subject) else { return };
    for (name, wanted) in [("NoAutoUpdate", 1), ("AUOptions", 2)] {
        let found = windows.software.value(AUTO_UPDATE, name).ok().flatten();
        expect(&format!("HKLM\\SOFTWARE\\{AUTO_UPDATE} {name}"), found.as_ref(), wanted, findings);
    }
}

/// A number that must be there.
fn expect(title: &str, found: Option<&Value>, wanted: u32, findings: &mut Findings<'_>) {
    match found {
        Some(Value::Dword(number)) if *number == wanted => {}
        Some(other) => findings.add(title, format!("it is {other}, and not the number {wanted}")),
        None => findings.add(title, format!("it is missing, and not the number {wanted}")),
    }
}

fn services(subject: &Subject, findings: &mut Findings<'_>) {
    let Some(windows) = windows(subject) else { return };
    let key = format!("{}\\Services", windows.control_set);
    let all = windows.system.subkeys_with(&key, ["ImagePath", "Start"]).unwrap_or_else(|error| {
        findings.add("the services", format!("they cannot be read: {}", error.message()));
        Vec::new()
    });
    for (name, [command, start]) in all {
        let program = command.as_ref().and_then(Value::text).and_then(program);
        let driver = match start {
            Some(Value::Dword(BOOT)) => command.as_ref().and_then(Value::text).map(driver),
            _ => None,
        };
        let program = program.map(str::to_owned).or(driver);
        if let Some(program) = program.filter(|program| !windows.files.has(program)) {
            findings.add(format!("the service {name}"), format!("its program C:\\{program} is missing"));
        }
    }
    if windows.is_node() && windows.service("containerd", "ImagePath").is_none() {
        findings.add("the service containerd", "it is missing");
    }
    if windows
        .service("containerd", "Start")
        .is_some_and(|start| start != Value::Dword(AUTOMATIC))
    {
        findings.add("the service containerd", "it does not start by itself");
    }
}

/// The file of a boot driver, whose path begins in Windows' folder.
fn driver(path: &str) -> String {
    let lower = path.to_ascii_lowercase();
    let root = [r"\systemroot\", r"%systemroot%\"].into_iter().find(|root| lower.starts_with(root));
    format!("Windows\\{}", &path[root.map_or(0, str::len)..])
}

/// The program of a command line, if it is below the system drive by its whole path.
fn program(command: &str) -> Option<&str> {
    let path = match command.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?,
        None => command.split(' ').next()?,
    };
    let (drive, below) = path.split_at_checked(3)?;
    drive.eq_ignore_ascii_case(r"C:\").then_some(below)
}

fn runtime(subject: &Subject, findings: &mut Findings<'_>) {
    let Some(windows) = node(subject) else { return };
    let title = format!("C:\\{RUNTIME_CONFIG}");
    let Some(config) = &windows.runtime else { return findings.add(title, "it is missing") };
    let names_sandbox = |line: &str| {
        let key = line.split_once('=').map_or("", |(key, _)| key.trim());
        key == "sandbox" || key == "sandbox_image"
    };
    if !config.lines().any(names_sandbox) {
        findings.add(title, "it does not name the image of a pod's sandbox");
    }
}

fn kubelet(subject: &Subject, findings: &mut Findings<'_>) {
    let Some(windows) = node(subject) else { return };
    let rules = windows.system.values(&format!("{}\\{FIREWALL_RULES}", windows.control_set));
    let opens = |value: &Value| {
        let text = value.text().unwrap_or_default();
        ["|Action=Allow|", "|Active=TRUE|", "|Dir=In|", "|LPort=10250|"]
            .iter()
            .all(|part| text.contains(part))
    };
    if !rules.unwrap_or_default().iter().any(|(_, value)| opens(value)) {
        findings.add("the firewall", "no rule lets the API server ask the kubelet (TCP 10250)");
    }
    if !windows.files.has_below(r"opt\cni\bin") {
        findings.add(r"C:\opt\cni\bin", "there are no CNI plugins");
    }
}

/// Containers need the services of Windows' feature, at the latest after the first start.
fn features(subject: &Subject, findings: &mut Findings<'_>) {
    let Some(windows) = node(subject) else { return };
    if windows.enables.iter().any(|feature| feature == CONTAINERS) {
        return;
    }
    for service in missing_services(CONTAINERS, &windows.system, &windows.control_set).unwrap_or_default() {
        findings.add(format!("the feature {CONTAINERS}"), format!("its service {service} is missing"));
    }
}

/// What 2019 needs of its network for Kubernetes.
fn network(subject: &Subject, findings: &mut Findings<'_>) {
    let Some(windows) = windows(subject).filter(|windows| windows.release.build == SERVER_2019) else {
        return;
    };
    for (key, name, wanted) in
        [(r"Services\hns\State", "HNSControlFlag", 0x50), (r"Services\wcifs", "WcifsSOPCountDisabled", 0)]
    {
        let found = windows.current(key, name);
        let title = format!("HKLM\\SYSTEM\\{}\\{key} {name}", windows.control_set);
        expect(&title, found.as_ref(), wanted, findings);
    }
}

#[cfg(test)]
#[path = "windows_tests.rs"]
mod tests;
