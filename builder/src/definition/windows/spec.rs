//! What a layer for Windows may say besides files, as it is written in `layers/NAME/layer.toml`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::firewall::{Direction, Protocol};
use super::service::{Account, Start};
use crate::definition::condition::When;

/// A value of the registry.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RegistryValueSpec {
    /// The key, as registry editors write it: 'HKLM\SYSTEM\CurrentControlSet\Services\hns\State'. Variables
    /// are replaced, here and in texts of `data`.
    pub key: String,
    /// The name of the value; the key's default value unless said.
    #[serde(default)]
    pub name: String,
    /// The type of the value.
    #[serde(rename = "type")]
    pub kind: RegistryType,
    /// The content: text, a number, or a list of texts for "multi-sz"; hexadecimal digits for "binary".
    #[schemars(with = "serde_json::Value")]
    pub data: toml::Value,
    /// The patch of Windows that reads it first: "2023-04B". It is said in plans, and decides nothing.
    pub patch: Option<String>,
    /// Whether it takes the place of another content that a lower layer gives the value.
    #[serde(default)]
    pub replaces: bool,
    /// Conditions.
    #[serde(default)]
    pub when: When,
}

impl RegistryValueSpec {
    /// The texts in which variables are replaced.
    pub fn texts(&self) -> Vec<&str> {
        let data = match &self.data {
            toml::Value::String(text) => vec![text.as_str()],
            toml::Value::Array(list) => list.iter().filter_map(toml::Value::as_str).collect(),
            _ => Vec::new(),
        };
        std::iter::once(self.key.as_str()).chain(data).collect()
    }
}

/// Types of values of the registry, by Microsoft's names without `REG_`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RegistryType {
    /// Text.
    Sz,
    /// Text with `%VARIABLES%`.
    ExpandSz,
    /// A list of texts.
    MultiSz,
    /// A number of 32 bits.
    Dword,
    /// A number of 64 bits.
    Qword,
    /// Bytes.
    Binary,
}

/// A service of Windows.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct WindowsServiceSpec {
    /// Its name: letters, digits, dashes, dots and underscores.
    pub name: String,
    /// Its name for people; the same unless said.
    pub display_name: Option<String>,
    /// What it does.
    pub description: Option<String>,
    /// The command line, with the program's whole path: '"C:\Program Files\x\x.exe" --flag'. Variables are
    /// replaced.
    pub command: String,
    /// "automatic" (unless said), "delayed", "demand" or "disabled".
    #[serde(default)]
    pub start: Start,
    /// Services that run before it.
    #[serde(default)]
    pub depends_on: Vec<String>,
    /// "LocalSystem" (unless said), "LocalService" or "NetworkService".
    #[serde(default)]
    pub account: Account,
    /// After how many seconds it is started again when it failed: the first time, the second, and all other
    /// times.
    #[serde(default)]
    pub restart_after: Vec<u32>,
    /// After how many seconds without a failure they are counted anew; a day unless said.
    #[serde(default = "a_day")]
    pub reset_failures_after: u32,
    /// Conditions.
    #[serde(default)]
    pub when: When,
}

const fn a_day() -> u32 {
    86_400
}

/// A driver that Windows must have when it starts.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct WindowsDriverSpec {
    /// Its .inf file, which a layer brings together with the files beside it:
    /// 'C:\Windows\Drivers\viostor\viostor.inf'. Variables are replaced.
    pub inf: String,
    /// Conditions.
    #[serde(default)]
    pub when: When,
}

/// A rule of Windows' firewall that lets connections pass.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FirewallSpec {
    /// Its name: letters, digits, dashes, dots and underscores.
    pub name: String,
    /// Its name for people; the same unless said.
    pub display_name: Option<String>,
    /// "tcp" (unless said) or "udp".
    #[serde(default)]
    pub protocol: Protocol,
    /// "in" (unless said): from other machines; "out": to them.
    #[serde(default)]
    pub direction: Direction,
    /// Ports: "10250", "30000-32767".
    pub ports: Vec<String>,
    /// The program that it is for: 'C:\k\kubelet.exe'; any unless said.
    pub program: Option<String>,
    /// Conditions.
    #[serde(default)]
    pub when: When,
}
