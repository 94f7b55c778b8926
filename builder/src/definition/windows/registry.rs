//! Values of Windows' registry, as `[[registry]]` of a layer gives them, and as services and firewall rules
//! become them.
//!
//! Limits of names: "Registry element size limits" (<https://learn.microsoft.com/windows/win32/sysinfo/>).

use serde::Serialize;

/// How `HKLM\SYSTEM` names the control set that counts; which one that is, only the hive tells
/// (`Select\Current`).
pub const CURRENT_CONTROL_SET: &str = "CurrentControlSet";

/// The characters that the name of a key may have.
const LONGEST_KEY: usize = 255;
/// The characters that the name of a value may have.
const LONGEST_NAME: usize = 16_383;
/// How deep keys may lie.
const DEEPEST: usize = 512;

/// A hive of the machine: a file in `Windows\System32\config`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Hive {
    /// `HKEY_LOCAL_MACHINE\SYSTEM`
    System,
    /// `HKEY_LOCAL_MACHINE\SOFTWARE`
    Software,
}

impl Hive {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::System, Self::Software];

    /// Its name: that of the file, and below `HKEY_LOCAL_MACHINE`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::System => "SYSTEM",
            Self::Software => "SOFTWARE",
        }
    }
}

/// The content of a value, by its type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegistryData {
    /// `REG_SZ`
    Sz(String),
    /// `REG_EXPAND_SZ`: text with `%VARIABLES%`.
    ExpandSz(String),
    /// `REG_MULTI_SZ`
    MultiSz(Vec<String>),
    /// `REG_DWORD`
    Dword(u32),
    /// `REG_QWORD`
    Qword(u64),
    /// `REG_BINARY`
    Binary(Vec<u8>),
}

/// A value that the finished image has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RegistryValue {
    /// The hive.
    pub hive: Hive,
    /// The key below the hive, with `\` between its parts; [`CURRENT_CONTROL_SET`] where it begins so.
    pub key: String,
    /// The name; empty for the key's default value.
    pub name: String,
    /// The content.
    pub data: RegistryData,
    /// The patch from which Windows reads it ("2023-04B"), if the layer says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<String>,
    /// Whether it takes the place of a lower layer's.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub replaces: bool,
}

impl RegistryValue {
    /// A value of no certain patch.
    pub fn new(hive: Hive, key: impl Into<String>, name: &str, data: RegistryData) -> Self {
        Self { hive, key: key.into(), name: name.to_owned(), data, patch: None, replaces: false }
    }

    /// Two values with the same place are one: names have no case.
    pub fn place(&self) -> (Hive, String, String) {
        (self.hive, super::names::folded(&self.key), super::names::folded(&self.name))
    }

    /// As registry editors write its place.
    pub fn title(&self) -> String {
        let name = if self.name.is_empty() { "(default)" } else { &self.name };
        format!("HKLM\\{}\\{} {name}", self.hive.name(), self.key)
    }
}

/// A key as it is written, `HKLM\SYSTEM\…`, as its hive and the key below that. The error is the message and
/// the help.
pub fn parse_key(written: &str) -> Result<(Hive, String), (String, String)> {
    let wrong = |why: &str, help: &str| Err((format!("\"{written}\" {why}"), help.to_owned()));
    let parts: Vec<&str> = written.split('\\').collect();
    let [root, hive, below @ ..] = parts.as_slice() else {
        return wrong("is not a key of the registry", EXAMPLE);
    };
    if !["HKLM", "HKEY_LOCAL_MACHINE"].contains(&root.to_uppercase().as_str()) {
        return wrong("is not a key of the machine", "only keys below HKLM belong to an image");
    }
    let Some(hive) = Hive::ALL.into_iter().find(|known| known.name().eq_ignore_ascii_case(hive)) else {
        return wrong(
            "is in a hive that Kiln does not edit",
            "write a key of HKLM\\SYSTEM or HKLM\\SOFTWARE; the others hold accounts and secrets, or are made at boot",
        );
    };
    if below.is_empty() || below.iter().any(|part| part.is_empty()) {
        return wrong("is not a key of the registry", EXAMPLE);
    }
    if below.len() > DEEPEST || below.iter().any(|part| part.encode_utf16().count() > LONGEST_KEY) {
        return wrong("is longer than a key may be", "each part has at most 255 characters");
    }
    if written.chars().any(char::is_control) {
        return wrong("has a control character", EXAMPLE);
    }
    let first = super::names::folded(below[0]);
    if hive == Hive::System && first == "SELECT" {
        return wrong("says which control set Windows starts with", "leave that to Windows");
    }
    if hive == Hive::System && first == CURRENT_CONTROL_SET.to_uppercase() {
        return Ok((hive, [&[CURRENT_CONTROL_SET], &below[1..]].concat().join("\\")));
    }
    if hive == Hive::System && first.starts_with("CONTROLSET") {
        return wrong(
            "names one control set, and the hive decides which one counts",
            "write CurrentControlSet instead",
        );
    }
    Ok((hive, below.join("\\")))
}

const EXAMPLE: &str = r"write it as 'HKLM\SYSTEM\CurrentControlSet\Services\hns\State', in single quotes";

/// Checks the name of a value. The error is the message and the help.
pub fn check_name(name: &str) -> Result<(), (String, String)> {
    if name.encode_utf16().count() > LONGEST_NAME || name.contains('\0') {
        let shown: String = name.chars().take(40).collect();
        let help = "it has at most 16383 characters, none of them NUL";
        return Err((format!("\"{shown}\" is not the name of a value"), help.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_the_two_hives_that_an_image_may_change() {
        let key = |written| parse_key(written);
        let state = r"CurrentControlSet\Services\hns\State";
        for written in [
            r"HKLM\SYSTEM\CurrentControlSet\Services\hns\State",
            r"hkey_local_machine\System\CURRENTcontrolset\Services\hns\State",
        ] {
            assert_eq!(key(written), Ok((Hive::System, state.to_owned())), "{written}");
        }
        assert_eq!(key(r"HKLM\Software\OpenSSH"), Ok((Hive::Software, "OpenSSH".to_owned())));
        for (written, message, help) in [
            (r"HKCU\Software\x", "is not a key of the machine", "below HKLM"),
            (r"HKLM\SAM\SAM\Domains", "a hive that Kiln does not edit", "accounts and secrets"),
            (r"HKLM\HARDWARE\x", "a hive that Kiln does not edit", "made at boot"),
            ("HKLM:/SYSTEM/x", "is not a key of the registry", "single quotes"),
            (r"HKLM\SYSTEM", "is not a key of the registry", "single quotes"),
            (r"HKLM\SYSTEM\\x", "is not a key of the registry", "single quotes"),
            (r"HKLM\SYSTEM\x\", "is not a key of the registry", "single quotes"),
            (r"HKLM\SYSTEM\select", "which control set", "to Windows"),
            (r"HKLM\SYSTEM\ControlSet001\Services\x", "names one control set", "CurrentControlSet"),
            ("HKLM\\SYSTEM\\a\nb", "a control character", "single quotes"),
        ] {
            let (said, helped) = key(written).unwrap_err();
            assert!(said.contains(message) && helped.contains(help), "{written}: {said}: {helped}");
        }
        assert_eq!(
            key(r"HKLM\SYSTEM\CurrentControlSetX\a"),
            Ok((Hive::System, r"CurrentControlSetX\a".to_owned()))
        );
        let long = format!(r"HKLM\SYSTEM\{}", "x".repeat(256));
        assert!(key(&long).unwrap_err().0.contains("longer than a key may be"));
    }
}
