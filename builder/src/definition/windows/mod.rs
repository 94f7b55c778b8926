//! What a layer changes on Windows besides files: values of the registry, services, firewall rules, the
//! machine's environment. Data only; the bake writes it into the hives of an image.

pub mod firewall;
pub mod names;
pub mod registry;
pub mod service;
pub mod spec;

use std::collections::BTreeMap;

use serde::Serialize;

use self::firewall::FirewallRule;
use self::registry::{CURRENT_CONTROL_SET, Hive, RegistryData, RegistryValue};
use self::service::WindowsService;

/// The name of Windows among the operating systems of layers and bases.
pub const WINDOWS: &str = "windows";

/// The key of the machine's environment below the control set; its value `Path` is the search path.
pub const ENVIRONMENT: &str = r"Control\Session Manager\Environment";

/// The characters that a variable of the environment may have ("Environment Variables", Microsoft).
pub const LONGEST_VARIABLE: usize = 32_766;

/// What a layer changes on Windows, besides files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct WindowsPlan {
    /// Values of the registry that the layer names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub registry: Vec<RegistryValue>,
    /// Services.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<WindowsService>,
    /// Rules of the firewall.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub firewall: Vec<FirewallRule>,
    /// Variables of the machine's environment.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Folders that programs are looked for in, after those that the base has: `C:\k`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<String>,
    /// `.inf` files of drivers, by their paths in the image: `C:\Windows\Drivers\viostor\viostor.inf`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drivers: Vec<String>,
    /// Optional features that Windows must have, by their names for DISM. They cannot be added to an image
    /// offline.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// Those of them that Windows has after its first start, because the layer has it enable them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub enables: Vec<String>,
}

impl WindowsPlan {
    /// All values of the registry that the layer gives: those that it names, and those of its services, rules
    /// and variables. The search path is not among them: its entries go behind those of the base, in the
    /// value of [`path_value`].
    pub fn values(&self) -> Vec<RegistryValue> {
        let mut values = self.registry.clone();
        values.extend(self.services.iter().flat_map(WindowsService::values));
        values.extend(self.firewall.iter().map(FirewallRule::value));
        values.extend(self.environment.iter().map(|(name, value)| environment_value(name, value)));
        values
    }
}

/// The key and the name of the machine's search path, a `REG_EXPAND_SZ` of `HKLM\SYSTEM` with `;` between its
/// entries.
pub fn path_value() -> (String, &'static str) {
    (format!("{CURRENT_CONTROL_SET}\\{ENVIRONMENT}"), "Path")
}

fn environment_value(name: &str, value: &str) -> RegistryValue {
    let expands = value.matches('%').count() > 1;
    let data = if expands { RegistryData::ExpandSz } else { RegistryData::Sz };
    let key = format!("{CURRENT_CONTROL_SET}\\{ENVIRONMENT}");
    RegistryValue::new(Hive::System, key, name, data(value.to_owned()))
}
