//! System extensions (systemd-sysext(8)): the image's layers for hosts that are no images of Kiln.

use std::fs;
use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::assembly::Part;
use crate::error::{IoContext, Result};
use crate::output::sums;
use crate::output::{Output, OutputFile, Writer};
use crate::part::Parts;
use crate::part::extensions::release::Hosts;
use crate::part::extensions::{self, Extension, FileSystem, Options};

pub(super) const OUTPUT: Output = Output::new::<Sysext>(
    "sysext",
    "a folder of system extensions, one for each layer: Kubernetes, runtime and agent for any host with systemd",
    &[Part::Extensions],
);

/// The list that systemd-sysupdate asks a server for.
const SUMS: &str = "SHA256SUMS";

/// `<name>-sysext/`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Sysext {
    /// One extension with the image's name, instead of one for each layer
    #[serde(default)]
    combined: bool,
    /// `squashfs` or `erofs`
    #[serde(default)]
    file_system: FileSystemOption,
    /// The operating system (`ID` of its os-release) that merges them; any without it
    id: Option<ReleaseValue>,
    /// Its release, `VERSION_ID`
    version_id: Option<ReleaseValue>,
    /// Its `SYSEXT_LEVEL`, instead of a release
    sysext_level: Option<ReleaseValue>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum FileSystemOption {
    /// with gzip: every kernel reads it
    #[default]
    Squashfs,
    /// with lz4: Linux 5.4 and later, where it is built
    Erofs,
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
        Err(format!("\"{text}\" is no value of os-release\nuse lower-case letters, digits, dots, _ and -"))
    }
}

impl Writer for Sysext {
    fn write(&self, parts: &Parts<'_>, folder: &Path) -> Result<Vec<OutputFile>> {
        let name = format!("{}-sysext", parts.image.plan.name);
        let target = folder.join(&name);
        fs::create_dir(&target).at("creating", &target)?;
        let extensions = extensions::make(&parts.image, &parts.work, &self.options())?;
        let mut files = extensions.iter().map(|made| copy(made, &target)).collect::<Result<Vec<_>>>()?;
        let path = target.join(SUMS);
        fs::write(&path, sums::list(&sums::of(&files, &target)?)).at("writing", &path)?;
        files.push(SUMS.to_owned().into());
        files.iter_mut().for_each(|written| written.file = format!("{name}/{}", written.file));
        Ok(files)
    }
}

impl Sysext {
    fn options(&self) -> Options {
        let value = |value: &Option<ReleaseValue>| value.as_ref().map(|ReleaseValue(text)| text.clone());
        Options {
            combined: self.combined,
            hosts: Hosts {
                id: value(&self.id),
                version_id: value(&self.version_id),
                sysext_level: value(&self.sysext_level),
            },
            file_system: match self.file_system {
                FileSystemOption::Squashfs => FileSystem::Squashfs,
                FileSystemOption::Erofs => FileSystem::Erofs,
            },
        }
    }
}

fn copy(made: &Extension, target: &Path) -> Result<OutputFile> {
    let path = target.join(&made.file_name);
    fs::copy(&made.path, &path).at("writing", &path)?;
    Ok(OutputFile { file: made.file_name.clone(), digest: Some(made.sha256) })
}
