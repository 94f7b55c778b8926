//! A service of Windows, as values of the registry.
//!
//! Keys and values: "HKLM\SYSTEM\CurrentControlSet\Services Registry Tree"
//! (<https://learn.microsoft.com/windows-hardware/drivers/install/>); failure actions are the bytes of
//! `SERVICE_FAILURE_ACTIONS` with 32-bit pointers, as the service control manager keeps them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::registry::{CURRENT_CONTROL_SET, Hive, RegistryData, RegistryValue};

/// A program in a process of its own (`SERVICE_WIN32_OWN_PROCESS`).
const OWN_PROCESS: u32 = 0x10;
/// A failed start is logged, and the boot goes on (`SERVICE_ERROR_NORMAL`).
const ERROR_NORMAL: u32 = 1;
/// `SC_ACTION_RESTART`
const RESTART: u32 = 1;
/// Where the list of actions begins: behind the structure's five fields.
const ACTIONS_OFFSET: u32 = 20;

/// When a service starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// At boot.
    #[default]
    Automatic,
    /// At boot, two minutes after the other ones.
    Delayed,
    /// When something starts it.
    Demand,
    /// Never.
    Disabled,
}

impl Start {
    const fn code(self) -> u32 {
        match self {
            Self::Automatic | Self::Delayed => 2,
            Self::Demand => 3,
            Self::Disabled => 4,
        }
    }
}

/// The accounts that need no password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Account {
    /// The system's own.
    #[default]
    LocalSystem,
    /// `NT AUTHORITY\LocalService`
    LocalService,
    /// `NT AUTHORITY\NetworkService`
    NetworkService,
}

impl Account {
    const fn name(self) -> &'static str {
        match self {
            Self::LocalSystem => "LocalSystem",
            Self::LocalService => "NT AUTHORITY\\LocalService",
            Self::NetworkService => "NT AUTHORITY\\NetworkService",
        }
    }
}

/// A service of Windows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WindowsService {
    /// Its name.
    pub name: String,
    /// Its name for people.
    pub display_name: String,
    /// What it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The command line: `"C:\Program Files\x\x.exe" --flag`.
    pub command: String,
    /// When it starts.
    pub start: Start,
    /// Services that run before it.
    pub depends_on: Vec<String>,
    /// The account that it runs as.
    pub account: Account,
    /// After how many seconds it is started again: after the first failure, the second, and all others.
    pub restart_after: Vec<u32>,
    /// After how many seconds without a failure the count begins again.
    pub reset_failures_after: u32,
}

impl WindowsService {
    /// The key of the service below `HKLM\SYSTEM`.
    pub fn key(&self) -> String {
        format!("{CURRENT_CONTROL_SET}\\Services\\{}", self.name)
    }

    /// The values that make the service.
    pub fn values(&self) -> Vec<RegistryValue> {
        let text = |text: &str| RegistryData::Sz(text.to_owned());
        let mut values = vec![
            ("Type", RegistryData::Dword(OWN_PROCESS)),
            ("Start", RegistryData::Dword(self.start.code())),
            ("ErrorControl", RegistryData::Dword(ERROR_NORMAL)),
            ("ImagePath", RegistryData::ExpandSz(self.command.clone())),
            ("DisplayName", text(&self.display_name)),
            ("ObjectName", text(self.account.name())),
        ];
        if let Some(description) = &self.description {
            values.push(("Description", text(description)));
        }
        if self.start == Start::Delayed {
            values.push(("DelayedAutostart", RegistryData::Dword(1)));
        }
        if !self.depends_on.is_empty() {
            values.push(("DependOnService", RegistryData::MultiSz(self.depends_on.clone())));
        }
        if !self.restart_after.is_empty() {
            values.push(("FailureActions", RegistryData::Binary(self.failure_actions())));
            // A service that ends with an error code has failed too, not only one that crashes.
            values.push(("FailureActionsOnNonCrashFailures", RegistryData::Dword(1)));
        }
        let key = self.key();
        let value = |(name, data)| RegistryValue::new(Hive::System, key.clone(), name, data);
        values.into_iter().map(value).collect()
    }

    /// `dwResetPeriod`, no message, no command, `cActions`, where the actions lie, and for each its type and
    /// its delay in milliseconds.
    fn failure_actions(&self) -> Vec<u8> {
        let count = u32::try_from(self.restart_after.len()).unwrap_or(u32::MAX);
        let head = [self.reset_failures_after, 0, 0, count, ACTIONS_OFFSET];
        let actions = self.restart_after.iter().flat_map(|seconds| [RESTART, seconds.saturating_mul(1000)]);
        head.into_iter().chain(actions).flat_map(u32::to_le_bytes).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> WindowsService {
        WindowsService {
            name: "kubelet".to_owned(),
            display_name: "Kubernetes kubelet".to_owned(),
            description: None,
            command: r"C:\k\kubelet.exe --windows-service".to_owned(),
            start: Start::Automatic,
            depends_on: Vec::new(),
            account: Account::LocalSystem,
            restart_after: Vec::new(),
            reset_failures_after: 0,
        }
    }

    fn get(service: &WindowsService, name: &str) -> Option<RegistryData> {
        let mut values = service.values().into_iter();
        values.find(|value| value.name == name).map(|value| value.data)
    }

    #[test]
    fn a_service_has_the_values_that_the_control_manager_reads() {
        let service = service();
        let expected = [
            ("Type", RegistryData::Dword(0x10)),
            ("Start", RegistryData::Dword(2)),
            ("ErrorControl", RegistryData::Dword(1)),
            ("ImagePath", RegistryData::ExpandSz(service.command.clone())),
            ("DisplayName", RegistryData::Sz("Kubernetes kubelet".to_owned())),
            ("ObjectName", RegistryData::Sz("LocalSystem".to_owned())),
        ];
        let values = service.values();
        let key = r"CurrentControlSet\Services\kubelet";
        assert!(values.iter().all(|value| value.hive == Hive::System && value.key == key), "{values:?}");
        let named: Vec<(&str, RegistryData)> =
            values.iter().map(|value| (value.name.as_str(), value.data.clone())).collect();
        assert_eq!(named, expected);
    }

    #[test]
    fn a_delayed_start_is_an_automatic_one_with_a_flag() {
        let with = |start| WindowsService { start, ..service() };
        for (start, code, delayed) in [
            (Start::Automatic, 2, None),
            (Start::Delayed, 2, Some(RegistryData::Dword(1))),
            (Start::Demand, 3, None),
            (Start::Disabled, 4, None),
        ] {
            assert_eq!(get(&with(start), "Start"), Some(RegistryData::Dword(code)));
            assert_eq!(get(&with(start), "DelayedAutostart"), delayed, "{start:?}");
        }
    }

    /// As by `sc.exe failure x reset= 86400 actions= restart/5000/restart/10000/restart/60000`.
    #[test]
    fn failure_actions_are_the_bytes_that_sc_exe_leaves() {
        let service = WindowsService {
            restart_after: vec![5, 10, 60],
            reset_failures_after: 86_400,
            depends_on: vec!["containerd".to_owned()],
            ..service()
        };
        let expected = "8051010000000000000000000300000014000000\
                        010000008813000001000000102700000100000060ea0000";
        let Some(RegistryData::Binary(bytes)) = get(&service, "FailureActions") else { panic!("binary") };
        assert_eq!(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), expected);
        assert_eq!(get(&service, "FailureActionsOnNonCrashFailures"), Some(RegistryData::Dword(1)));
        let depends = RegistryData::MultiSz(vec!["containerd".to_owned()]);
        assert_eq!(get(&service, "DependOnService"), Some(depends));
    }
}
