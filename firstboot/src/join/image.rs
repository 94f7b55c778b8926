//! The kubelet's configuration in the image. If the image has one, no ConfigMap is read.

use std::path::Path;

use serde_json::Value;

use crate::error::{ErrorKind, Failure, Result};
use crate::host::files;
use crate::host::root::Root;
use crate::join::cluster::parse_kubelet_configuration;
use contract;

/// Limit on a kubelet's configuration, in bytes.
const LONGEST: u64 = 1 << 20;

/// The KubeletConfiguration of the image, if it has one.
pub fn kubelet_configuration(root: &Root) -> Result<Option<Value>> {
    let path = Path::new("/").join(contract::KUBELET_CONFIG);
    let Some(bytes) = files::read(&root.path(&path), LONGEST)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes);
    let value = parse_kubelet_configuration(&text).map_err(|why| {
        Failure::new(ErrorKind::Config, format!("{} of the image cannot be used: {why}", path.display()))
            .help("it is a KubeletConfiguration (kubelet.config.k8s.io/v1beta1)")
    })?;
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_if_it_is_there_and_refused_if_it_is_something_else() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        assert_eq!(kubelet_configuration(&root).unwrap(), None);
        let path = root.path(Path::new("/").join(contract::KUBELET_CONFIG));
        files::write(&path, b"kind: KubeletConfiguration\nmaxPods: 7\n", files::PUBLIC).unwrap();
        assert_eq!(kubelet_configuration(&root).unwrap().unwrap()["maxPods"], 7);
        files::write(&path, b"kind: Secret\n", files::PUBLIC).unwrap();
        assert_eq!(kubelet_configuration(&root).unwrap_err().kind, ErrorKind::Config);
    }
}
