//! What an image of Windows is, as its own registry tells.

use std::path::Path;

use super::hives;
use crate::definition::plan::{Arch, WindowsBasePlan};
use crate::definition::windows::ENVIRONMENT;
use crate::error::{Error, ErrorKind, Result};
use crate::format::hive::{Hive, Value};
use crate::format::wim::Wim;

const CURRENT_VERSION: &str = r"Microsoft\Windows NT\CurrentVersion";
const SETUP_STATE: &str = r"Microsoft\Windows\CurrentVersion\Setup\State";

/// How the names of a server's editions begin.
const SERVER: &str = "server";

/// The states in which an image starts anew on another machine ("Windows Setup States", Microsoft). The
/// others are those of a machine that is installed, or in the middle of it.
const GENERALIZED: [&str; 2] =
    ["IMAGE_STATE_GENERALIZE_RESEAL_TO_OOBE", "IMAGE_STATE_SPECIALIZE_RESEAL_TO_OOBE"];

/// An image of Windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// What it is ("Windows Server 2022 Standard").
    pub product: String,
    /// The edition ("ServerStandardCore").
    pub edition: String,
    /// Its build.
    pub build: u32,
    /// Its patch level (UBR).
    pub revision: u32,
    /// How far its setup has come, if it says so.
    pub state: Option<String>,
    /// Whether its setup goes on at the next start.
    pub is_in_setup: bool,
    /// The processors that it is for, as Windows names them ("AMD64"), if it says so.
    pub processors: Option<String>,
}

/// Reads it from the hives of an image.
///
/// # Errors
/// [`ErrorKind::Archive`] if it is no Windows, or its hives are dirty or broken.
pub fn read(wim: &Wim<'_>, index: u32, scratch: &Path) -> Result<Release> {
    let hive = |name: &str| {
        hives::of_wim(wim, index, name, scratch, 0).map_err(|error| match error.hint() {
            Some(_) => error,
            None => error
                .help("Windows keeps its registry in \\Windows\\System32\\config: take an image that has it"),
        })
    };
    let (software, system) = (hive("SOFTWARE")?, hive("SYSTEM")?);
    Release::of(&software, &system).map_err(|error| error.context(wim.title))
}

impl Release {
    /// What the hives `SOFTWARE` and `SYSTEM` tell.
    ///
    /// # Errors
    /// [`ErrorKind::Archive`] if they are not those of Windows.
    pub fn of(software: &Hive, system: &Hive) -> Result<Release> {
        let lacks = |name: &str| {
            let message = format!("its registry does not tell {name}, as that of Windows does");
            Error::new(ErrorKind::Archive, message).help("take an image of Windows Server 2019 or later")
        };
        let version = |name: &str| software.value(CURRENT_VERSION, name);
        let text = |name: &str| {
            let value = version(name)?;
            value.as_ref().and_then(Value::text).map(str::to_owned).ok_or_else(|| lacks(name))
        };
        let build = text("CurrentBuildNumber")?.parse().map_err(|_| lacks("CurrentBuildNumber"))?;
        let revision = version("UBR")?.as_ref().and_then(Value::number).ok_or_else(|| lacks("UBR"))?;
        let state = software.value(SETUP_STATE, "ImageState")?;
        let in_setup = system.value("Setup", "SystemSetupInProgress")?;
        let environment = format!("{}\\{ENVIRONMENT}", control_set(system)?);
        let processors = system.value(&environment, "PROCESSOR_ARCHITECTURE")?;
        Ok(Release {
            product: text("ProductName")?,
            edition: text("EditionID")?,
            build,
            revision,
            state: state.as_ref().and_then(Value::text).map(str::to_owned),
            is_in_setup: in_setup.as_ref().and_then(Value::number).is_some_and(|number| number != 0),
            processors: processors.as_ref().and_then(Value::text).map(str::to_owned),
        })
    }

    /// Whether each of its machines becomes another one at its first start.
    pub fn is_generalized(&self) -> bool {
        match &self.state {
            Some(state) => GENERALIZED.contains(&state.as_str()),
            None => self.is_in_setup,
        }
    }

    /// Refuses what the definition does not want, and what would not start on another machine.
    ///
    /// # Errors
    /// [`ErrorKind::Definition`].
    pub fn check(&self, plan: &WindowsBasePlan, arch: Arch) -> Result<()> {
        let refuse = |message: String, help: &str| Err(Error::new(ErrorKind::Definition, message).help(help));
        let Self { product, build, revision, .. } = self;
        // Clients have the same builds.
        if !self.edition.to_ascii_lowercase().starts_with(SERVER) {
            return refuse(
                format!("it is {product} ({}), and no Windows Server", self.edition),
                "take an image of Windows Server: Kubernetes has no nodes of other editions",
            );
        }
        if let Some(other) = self.processors.as_ref().filter(|name| !name.eq_ignore_ascii_case(arch.name())) {
            return refuse(
                format!("it is for processors of {other}, and the definition wants {}", arch.name()),
                "name another file with base.windows",
            );
        }
        if let Some(wanted) = plan.build.filter(|wanted| wanted != build) {
            return refuse(
                format!("it is {product}, build {build}, and the definition wants build {wanted}"),
                "name another file with base.windows, or correct base.build",
            );
        }
        if let Some(least) = plan.minimum_revision.filter(|least| least > revision) {
            return refuse(
                format!(
                    "its patch level is {build}.{revision}, and the definition wants {build}.{least} or later"
                ),
                "take a newer medium, or install the cumulative update before its image is taken: no update can be added offline",
            );
        }
        if !self.is_generalized() {
            let state = self.state.as_deref().unwrap_or("no setup goes on at its next start");
            return refuse(
                format!("it is not generalized ({state}): all its machines would be the same one"),
                "run sysprep /generalize /oobe /shutdown /mode:vm before its image is taken",
            );
        }
        Ok(())
    }
}

/// The key of the control set that Windows starts with the next time: `ControlSet001`.
///
/// # Errors
/// [`ErrorKind::Archive`] if the hive `SYSTEM` has none.
pub fn control_set(hive: &Hive) -> Result<String> {
    // Current is the one of the last time.
    let next = hive.value("Select", "Default")?;
    let number = next.as_ref().and_then(Value::number).filter(|number| (1..1000).contains(number));
    let lacks = |what: &str| {
        Error::new(ErrorKind::Archive, format!("the registry {what}, as that of Windows does"))
            .help("take an image of Windows Server")
    };
    let name = format!("ControlSet{:03}", number.ok_or_else(|| lacks("does not name its control set"))?);
    match hive.subkeys(&name)? {
        Some(_) => Ok(name),
        None => Err(lacks(&format!("does not have its {name}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::plan::Location;

    fn hives(state: Option<&str>, in_setup: u32) -> (Hive, Hive) {
        let (mut software, mut system) = (Hive::new("ROOT", 0), Hive::new("ROOT", 0));
        for (name, value) in [
            ("ProductName", Value::String("Windows Server 2022 Standard".into())),
            ("EditionID", Value::String("ServerStandardCore".into())),
            ("CurrentBuildNumber", Value::String("20348".into())),
            ("UBR", Value::Dword(2700)),
        ] {
            software.set(CURRENT_VERSION, name, &value).unwrap();
        }
        if let Some(state) = state {
            software.set(SETUP_STATE, "ImageState", &Value::String(state.into())).unwrap();
        }
        system.set("Setup", "SystemSetupInProgress", &Value::Dword(in_setup)).unwrap();
        system.set("Select", "Default", &Value::Dword(1)).unwrap();
        let environment = format!("ControlSet001\\{ENVIRONMENT}");
        system
            .set(&environment, "PROCESSOR_ARCHITECTURE", &Value::String("AMD64".into()))
            .unwrap();
        (software, system)
    }

    fn plan() -> WindowsBasePlan {
        let windows = Location { written: "install.wim".into(), address: "file:///install.wim".into() };
        let (checksum, signature, edition) = (None, None, None);
        WindowsBasePlan { windows, checksum, signature, edition, build: None, minimum_revision: None }
    }

    #[test]
    fn an_image_that_does_not_fit_the_definition_is_refused_by_name() {
        let of_state = |state, in_setup| {
            let (software, system) = hives(state, in_setup);
            Release::of(&software, &system).unwrap()
        };
        let good = of_state(Some(GENERALIZED[0]), 1);
        assert_eq!((good.build, good.revision, good.edition.as_str()), (20348, 2700, "ServerStandardCore"));
        good.check(&plan(), Arch::Amd64).unwrap();
        of_state(None, 1).check(&plan(), Arch::Amd64).unwrap();
        let exact = WindowsBasePlan { build: Some(20348), minimum_revision: Some(2700), ..plan() };
        good.check(&exact, Arch::Amd64).unwrap();
        for (release, plan, says) in [
            (good.clone(), WindowsBasePlan { build: Some(26100), ..plan() }, "wants build 26100"),
            (good.clone(), WindowsBasePlan { minimum_revision: Some(2701), ..plan() }, "20348.2701 or later"),
            (of_state(Some("IMAGE_STATE_COMPLETE"), 1), plan(), "IMAGE_STATE_COMPLETE"),
            (of_state(Some("IMAGE_STATE_UNDEPLOYABLE"), 1), plan(), "not generalized"),
            (of_state(Some("IMAGE_STATE_GENERALIZE_RESEAL_TO_AUDIT"), 1), plan(), "not generalized"),
            (of_state(None, 0), plan(), "no setup goes on"),
            (Release { edition: "Professional".into(), ..good.clone() }, plan(), "no Windows Server"),
            (Release { processors: Some("ARM64".into()), ..good.clone() }, plan(), "processors of ARM64"),
        ] {
            let error = release.check(&plan, Arch::Amd64).unwrap_err();
            assert!(error.message().contains(says), "{error}");
            assert!(error.hint().is_some());
        }
    }

    #[test]
    fn a_registry_without_the_version_is_not_that_of_windows() {
        for name in ["ProductName", "EditionID", "CurrentBuildNumber", "UBR"] {
            let (mut software, system) = hives(None, 1);
            software.remove_value(CURRENT_VERSION, name).unwrap();
            let error = Release::of(&software, &system).unwrap_err();
            assert!(error.message().contains(name), "{error}");
        }
        let (mut software, system) = hives(None, 1);
        software.set(CURRENT_VERSION, "CurrentBuildNumber", &Value::String("x".into())).unwrap();
        assert!(Release::of(&software, &system).is_err());
    }

    #[test]
    fn the_control_set_is_that_which_the_hive_names_and_has() {
        let mut hive = Hive::new("ROOT", 0);
        assert!(control_set(&hive).unwrap_err().message().contains("does not name"));
        hive.set("Select", "Default", &Value::Dword(0)).unwrap();
        assert!(control_set(&hive).unwrap_err().message().contains("does not name"));
        hive.set("Select", "Default", &Value::Dword(2)).unwrap();
        hive.set("Select", "Current", &Value::Dword(1)).unwrap();
        assert!(control_set(&hive).unwrap_err().message().contains("does not have its ControlSet002"));
        hive.create_key(r"ControlSet002\Services").unwrap();
        assert_eq!(control_set(&hive).unwrap(), "ControlSet002");
    }
}
