//! The node config of an installed system: it is put where that looks for it at its first boot.

use std::path::{Path, PathBuf};

use contract::gpt::Table;
use contract::partition_type;

use super::Installer;
use crate::document::{Document, UserData};
use crate::error::{ErrorKind, Failure, Result};
use crate::evidence::CommandLine;
use crate::host::disks::Device;
use crate::host::files;
use crate::locations::{self, LocationContext, inline, url};
use crate::net::Deadline;
use crate::paths;
use crate::run::fetch::fetch;
use crate::trust_policy::TrustPolicy;

/// The locations that a boot of the installed system does not have, because its kernel command line is its
/// own.
const OF_THIS_BOOT: [&str; 2] = ["url", "inline"];

/// Where the node config comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeConfig {
    /// The kernel command line, if it names one.
    CommandLine,
    /// This file.
    File(PathBuf),
    /// Nowhere.
    Absent,
}

impl Installer<'_> {
    /// Refuses what could not be used in the end. A config on a server is not fetched yet: some servers give
    /// it only once, and only when the image is on the disk is it needed.
    pub(super) fn check_node_config(&self) -> Result<()> {
        match &self.config {
            NodeConfig::File(_) => self.node_config().map(drop),
            NodeConfig::CommandLine if names_one(self.line) => self.check_policy(),
            NodeConfig::CommandLine | NodeConfig::Absent => Ok(()),
        }
    }

    fn check_policy(&self) -> Result<()> {
        let policy = TrustPolicy::of(self.root)?;
        let is_allowed = OF_THIS_BOOT.iter().any(|name| policy.allows_config(name));
        if is_allowed && policy.allows_config(locations::FILE) {
            return Ok(());
        }
        let message =
            "the image's trust policy allows no node config from the kernel command line and in a file";
        Err(Failure::new(ErrorKind::Config, message)
            .help("allow url and file in [metadata], or install without firstboot.config"))
    }

    /// Puts the node config on the var partition: `/etc` is an overlay whose upper side is there.
    pub(super) fn put_node_config(&self, disk: &Device, table: &Table) -> Result<()> {
        let Some(config) = self.node_config()? else {
            (self.say)("it gets no node config, and looks for one when it boots");
            return Ok(());
        };
        let var = table.partitions.iter().find(|partition| partition.kind == partition_type::VAR);
        let var = var.ok_or_else(|| {
            Failure::new(
                ErrorKind::Untrusted,
                "the image has no var partition, where a node config would be put",
            )
        })?;
        let (offset, length) = (var.first * disk.sector, (var.last + 1 - var.first) * disk.sector);
        let put = |folder: &Path| files::write(&place(folder), config.document.bytes(), files::PRIVATE);
        disk.change_files(offset, length, put)
            .map_err(|failure| failure.doing("putting the node config on the var partition"))?;
        (self.say)(&format!("it gets the node config from {} as {}", config.origin, paths::CONFIG));
        Ok(())
    }

    fn node_config(&self) -> Result<Option<UserData>> {
        let blank = |origin: String| {
            let message = format!("the node config from {origin} is empty");
            Failure::new(ErrorKind::Config, message)
        };
        match &self.config {
            NodeConfig::Absent => Ok(None),
            NodeConfig::File(path) => {
                let origin = path.display().to_string();
                let document = Document::read_file(path)?.ok_or_else(|| {
                    Failure::new(ErrorKind::Config, format!("there is no node config {origin}"))
                })?;
                UserData::new(document, &*origin).ok_or_else(|| blank(origin)).map(Some)
            }
            NodeConfig::CommandLine if names_one(self.line) => {
                let fetch = |url: &str, deadline| fetch(self.root, url, deadline);
                let context = LocationContext {
                    root: self.root,
                    command_line: self.line,
                    deadline: Deadline::after(locations::LIMIT),
                    fetch: &fetch,
                };
                let policy = TrustPolicy::of(self.root)?;
                let is_allowed = |name: &str| OF_THIS_BOOT.contains(&name) && policy.allows_config(name);
                let found = locations::find(&context, &is_allowed, &mut Vec::new())?;
                found.map(|(_, config)| config).ok_or_else(|| blank(url::URL.to_owned())).map(Some)
            }
            NodeConfig::CommandLine => Ok(None),
        }
    }
}

fn names_one(line: &CommandLine) -> bool {
    [url::URL, inline::ARGUMENT].iter().any(|name| line.value(name).is_some())
}

/// The file below the mounted `/var`.
fn place(var: &Path) -> PathBuf {
    let below_etc = Path::new(paths::CONFIG).strip_prefix(paths::ETC).unwrap_or(Path::new(paths::CONFIG));
    var.join(contract::ETC_UPPER).join(below_etc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_is_where_the_installed_system_looks() {
        assert_eq!(place(Path::new("/v")), Path::new("/v/lib/kiln/etc/upper/firstboot/config.yaml"));
    }
}
