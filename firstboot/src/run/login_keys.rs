//! SSH keys of the platform for an installer that logs in, in images that have the folder for them.

use crate::error::Result;
use crate::host::files;
use crate::host::root::Root;
use crate::instance_data::InstanceData;
use crate::paths;

/// Writes the keys. Without any the server of such an image does not start.
pub(super) fn publish(root: &Root, data: &InstanceData) -> Result<()> {
    if !root.entry(paths::LOGIN_FOLDER).is_dir() {
        return Ok(());
    }
    let keys = data.ssh_keys().map_err(|failure| failure.doing("the platform's SSH keys"))?;
    if keys.is_empty() {
        return Ok(());
    }
    files::write(&root.entry(paths::LOGIN_KEYS), (keys.join("\n") + "\n").as_bytes(), 0o600)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    #[test]
    fn plain_keys_of_the_platform_are_written_where_the_image_wants_them() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        let file = folder.path().join("etc/installer-target/authorized_keys");
        let data = |keys| InstanceData::new("openstack", json!({ "public_keys": keys }));
        let keys = data(
            json!({ "a": "ssh-ed25519 AAAA a", "b": "command=\"x\" ssh-rsa BBBB", "c": "sk-ssh-ed25519 C" }),
        );
        publish(&root, &keys).unwrap();
        assert!(!file.exists(), "the image has no such folder");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        for none in [InstanceData::default(), data(json!({})), data(json!("\n"))] {
            publish(&root, &none).unwrap();
            assert!(!file.exists(), "no keys, no file");
        }
        publish(&root, &keys).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "ssh-ed25519 AAAA a\nsk-ssh-ed25519 C\n");
        publish(&root, &data(json!(["ssh-rsa DDDD\u{1b}[2J", "ecdsa-sha2-nistp256 E"]))).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "ecdsa-sha2-nistp256 E\n");
    }
}
