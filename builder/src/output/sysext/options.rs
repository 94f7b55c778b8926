//! `[output.sysext]`, as it is written.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::Sysext;
use crate::address;
use crate::part::extensions::release::Hosts;
use crate::part::extensions::{FileSystem, Options, Seal};
use crate::sign::Signer;

/// System extensions
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "Sysext")]
pub(super) struct Table {
    /// One extension with the image's name, instead of one for each layer
    #[serde(default)]
    combined: bool,
    /// Their file system
    #[serde(default)]
    file_system: FileSystem,
    /// The operating system (`ID` of its os-release) that merges them; any without it
    id: Option<ReleaseValue>,
    /// Its release, `VERSION_ID`
    version_id: Option<ReleaseValue>,
    /// Its `SYSEXT_LEVEL`, instead of a release
    sysext_level: Option<ReleaseValue>,
    /// Whether they are disk images with dm-verity
    #[serde(default)]
    verity: bool,
    /// The file of the key that signs them: an absolute path on the machine that builds
    sign_key: Option<PathBuf>,
    /// The file of its certificate
    sign_certificate: Option<PathBuf>,
    /// The address of the folder from which hosts update them: writes files for systemd-sysupdate
    url: Option<String>,
}

/// A value of os-release(5): lower-case letters, digits, `.`, `_` and `-`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
struct ReleaseValue(String);

impl TryFrom<String> for ReleaseValue {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
        if !text.is_empty() && text.bytes().all(valid) {
            return Ok(Self(text));
        }
        Err(format!("\"{text}\" is no value of os-release: use lower-case letters, digits, dots, _ and -"))
    }
}

impl TryFrom<Table> for Sysext {
    type Error = String;

    fn try_from(table: Table) -> Result<Self, String> {
        if table.id.is_none() && (table.version_id.is_some() || table.sysext_level.is_some()) {
            return Err("version-id and sysext-level say nothing without id".to_owned());
        }
        if let Some(url) = &table.url {
            check_url(url)?;
        }
        let seal = table.seal()?;
        let value = |value: Option<ReleaseValue>| value.map(|ReleaseValue(text)| text);
        let hosts = Hosts {
            id: value(table.id),
            version_id: value(table.version_id),
            sysext_level: value(table.sysext_level),
        };
        let extensions = Options { combined: table.combined, hosts, file_system: table.file_system, seal };
        Ok(Self { extensions, url: table.url })
    }
}

impl Table {
    fn seal(&self) -> Result<Seal, String> {
        match (self.verity, &self.sign_key, &self.sign_certificate) {
            (false, None, None) => Ok(Seal::None),
            (true, None, None) => Ok(Seal::Verity),
            (true, Some(key), Some(certificate)) => {
                [key, certificate].into_iter().try_for_each(|path| check_absolute(path))?;
                Ok(Seal::Signed(Signer { key: key.clone(), certificate: certificate.clone() }))
            }
            (false, ..) => Err("a signature needs verity = true".to_owned()),
            (true, ..) => Err("sign-key and sign-certificate belong together: name both".to_owned()),
        }
    }
}

fn check_absolute(path: &Path) -> Result<(), String> {
    if path.is_absolute() {
        return Ok(());
    }
    Err(format!("\"{}\" is not an absolute path of the machine that builds", path.display()))
}

/// The address is copied into files for hosts, where a line break or `%` would change other settings.
fn check_url(url: &str) -> Result<(), String> {
    if let Some(secret) = address::secret(url) {
        return Err(format!("the address in url holds {secret}, and is copied to every host"));
    }
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'%';
    if ["https://", "http://"].iter().any(|scheme| url.starts_with(scheme)) && url.bytes().all(plain) {
        return Ok(());
    }
    Err(format!("\"{}\" is not an address: write https://…", address::shown_alone(url)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_say_nothing_or_half_are_refused() {
        for (table, message) in [
            ("version-id = '13'", "without id"),
            ("id = 'Debian'", "lower-case"),
            ("sign-key = '/k'\nsign-certificate = '/c'", "needs verity"),
            ("verity = true\nsign-key = '/k'", "belong together"),
            ("verity = true\nsign-key = 'k'\nsign-certificate = '/c'", "absolute"),
            ("url = 'https://me:secret@hub/x'", "copied to every host"),
            ("url = 'https://hub/x\\ny'", "not an address"),
            ("url = 'https://hub/%v'", "not an address"),
        ] {
            let table = table.replace("'https://hub/x\\ny'", "\"https://hub/x\\ny\"");
            let error = toml::from_str::<Sysext>(&table).unwrap_err();
            assert!(error.message().contains(message), "{table}: {error}");
            assert!(!error.message().contains("secret@"), "{error}");
        }
        let sealed = "verity = true\nsign-key = '/k'\nsign-certificate = '/c'\nurl = 'https://hub/x'";
        assert!(matches!(toml::from_str::<Sysext>(sealed).unwrap().extensions.seal, Seal::Signed(_)));
    }
}
