//! The node config of an installed system: it is put where that looks for it at its first boot.
//!
//! It is fetched before the disk is changed, so that no disk is written again and again for a config that is
//! not there. Some servers give it only once: it is kept in memory for the next try of this boot.

use std::path::{Path, PathBuf};

use contract::gpt::{Partition, Table};
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
    /// The node config, if there is to be one.
    pub(super) fn node_config(&self) -> Result<Option<UserData>> {
        match &self.config {
            NodeConfig::Absent => Ok(None),
            NodeConfig::File(path) => {
                let origin = path.display().to_string();
                let document = Document::read_file(path)?.ok_or_else(|| {
                    Failure::new(ErrorKind::Config, format!("there is no node config {origin}"))
                })?;
                UserData::new(document, &*origin).ok_or_else(|| blank(&origin)).map(Some)
            }
            NodeConfig::CommandLine if names_one(self.line) => self.kept_or_fetched().map(Some),
            NodeConfig::CommandLine => Ok(None),
        }
    }

    /// Whether there will be a node config, as far as that is known without fetching it: a server may give it
    /// only once.
    pub(super) fn check_node_config(&self) -> Result<()> {
        match &self.config {
            NodeConfig::CommandLine if names_one(self.line) => self.check_policy().map(drop),
            NodeConfig::CommandLine => Ok(()),
            NodeConfig::File(_) | NodeConfig::Absent => self.node_config().map(drop),
        }
    }

    fn kept_or_fetched(&self) -> Result<UserData> {
        let kept = self.root.path(paths::INSTALL_CONFIG);
        if let Some(document) = Document::read_file(&kept)?
            && let Some(config) = UserData::new(document, "an earlier try")
        {
            return Ok(config);
        }
        let policy = self.check_policy()?;
        let fetch = |url: &str, deadline| fetch(self.root, url, deadline);
        let context = LocationContext {
            root: self.root,
            command_line: self.line,
            deadline: Deadline::after(locations::LIMIT),
            fetch: &fetch,
        };
        let is_allowed = |name: &str| OF_THIS_BOOT.contains(&name) && policy.allows_config(name);
        let found = locations::find(&context, &is_allowed, &mut Vec::new())?;
        let (_, config) = found.ok_or_else(|| blank("the kernel command line"))?;
        files::write(&kept, config.document.bytes(), files::PRIVATE)?;
        Ok(config)
    }

    /// Forgets the config that was kept for another try.
    pub(super) fn forget_node_config(&self) {
        if let Err(failure) = files::remove(&self.root.path(paths::INSTALL_CONFIG)) {
            (self.say)(&format!("warning: {failure}: it holds a token"));
        }
    }

    /// The trust policy, if it lets a config through on this way.
    fn check_policy(&self) -> Result<TrustPolicy> {
        let policy = TrustPolicy::of(self.root)?;
        let is_allowed = OF_THIS_BOOT.iter().any(|name| policy.allows_config(name));
        if is_allowed && policy.allows_config(locations::FILE) {
            return Ok(policy);
        }
        let message =
            "the image's trust policy allows no node config from the kernel command line and in a file";
        Err(Failure::new(ErrorKind::Config, message)
            .help("allow url and file in [metadata], or install without firstboot.config"))
    }

    /// Puts the node config on the var partition: `/etc` is an overlay whose upper side is there.
    pub(super) fn put(&self, config: Option<&UserData>, disk: &Device, table: &Table) -> Result<()> {
        let Some(config) = config else {
            (self.say)("it gets no node config, and looks for one when it boots");
            return Ok(());
        };
        let var = var(table)?;
        let (offset, length) = (var.first * disk.sector, (var.last + 1 - var.first) * disk.sector);
        let write = |folder: &Path| files::write(&place(folder), config.document.bytes(), files::PRIVATE);
        disk.change_files(offset, length, write)
            .map_err(|failure| failure.doing("putting the node config on the var partition"))?;
        (self.say)(&format!("it gets the node config from {} as {}", config.origin, paths::CONFIG));
        Ok(())
    }
}

/// The partition on which a node config is put.
pub(super) fn var(table: &Table) -> Result<&Partition> {
    let var = table.partitions.iter().find(|partition| partition.kind == partition_type::VAR);
    var.ok_or_else(|| {
        let message = "the image has no var partition, where a node config would be put";
        Failure::new(ErrorKind::Untrusted, message)
            .help("install it without a node config, or an image that Kiln laid out")
    })
}

fn blank(origin: &str) -> Failure {
    Failure::new(ErrorKind::Config, format!("the node config from {origin} is empty"))
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
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::host::root::Root;
    use testkit::{Reply, TestServer};

    const POLICY: &str = "/usr/lib/kiln/policy.json";

    fn installer<'a>(root: &'a Root, line: &'a CommandLine) -> Installer<'a> {
        Installer { root, line, config: NodeConfig::CommandLine, say: |_| (), event: None }
    }

    fn text(config: Result<Option<UserData>>) -> String {
        String::from_utf8(config.unwrap().unwrap().document.bytes().to_vec()).unwrap()
    }

    #[test]
    fn a_config_that_is_given_once_is_there_for_another_try() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        let server = TestServer::plain(|request| match request.number {
            0 => Reply::Text(200, String::new(), "a: 1\n".to_owned()),
            _ => Reply::Text(410, String::new(), String::new()),
        });
        let digest = ring::digest::digest(&ring::digest::SHA256, b"a: 1\n");
        let digest = crate::text::hex(digest.as_ref());
        let line = format!("firstboot.config={} firstboot.config-sha256={digest}", server.url("/c"));
        let line = CommandLine::parse(&line);
        let installer = installer(&root, &line);
        assert_eq!(text(installer.node_config()), "a: 1\n");
        let kept = root.path("/run/firstboot/install-config");
        assert_eq!(std::fs::metadata(&kept).unwrap().mode() & 0o777, 0o600);
        assert_eq!(text(installer.node_config()), "a: 1\n");
        assert_eq!(server.requests().len(), 1);
        installer.forget_node_config();
        assert!(!kept.exists());
        assert!(installer.node_config().unwrap_err().message.contains("410"));
    }

    #[test]
    fn a_policy_that_would_not_read_the_config_is_said_first() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        let line = CommandLine::parse("firstboot.config-inline=YTogMQo=");
        assert_eq!(text(installer(&root, &line).node_config()), "a: 1\n");
        installer(&root, &line).forget_node_config();
        for (config, is_allowed) in
            [(r#"["inline","file"]"#, true), (r#"["inline"]"#, false), (r#"["file","ec2"]"#, false)]
        {
            let policy = format!(r#"{{"config":{config}}}"#);
            files::write(&root.path(POLICY), policy.as_bytes(), 0o644).unwrap();
            assert_eq!(installer(&root, &line).node_config().is_ok(), is_allowed, "{config}");
            installer(&root, &line).forget_node_config();
        }
        let none = CommandLine::parse("quiet");
        assert!(installer(&root, &none).node_config().unwrap().is_none());
    }

    #[test]
    fn the_config_is_where_the_installed_system_looks() {
        assert_eq!(place(Path::new("/v")), Path::new("/v/lib/kiln/etc/upper/firstboot/config.yaml"));
    }
}
