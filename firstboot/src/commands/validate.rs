//! `firstboot config validate`

use std::path::Path;

use serde_json::json;

use crate::cli::request::ConfigValidate;
use crate::config::{self, HostDefaults};
use crate::error::{Failure, Result};
use crate::userdata::{Kind, kind};

/// Checks the file. Returns the text to print, or the first error. Whether the image of a control
/// plane has kubeadm is not.
pub fn validate(request: &ConfigValidate, host: &HostDefaults) -> Result<String> {
    let bytes = config::file::read(request.file.as_deref().unwrap_or(Path::new("-")))?;
    let config = config::parse(&bytes, host).map_err(|failure| of_user_data(failure, &bytes))?;
    let warnings = &config.warnings;
    if request.common.json {
        return Ok(format!(
            "{}\n",
            json!({ "event": "config-valid", "node": config.node_name(), "warnings": warnings })
        ));
    }
    let lines = warnings.iter().map(|warning| format!("warning: {warning}\n"));
    Ok(lines.chain([String::from("ok\n")]).collect())
}

/// Says so where the file is user data around a node config: a run reads it, this command does not.
fn of_user_data(failure: Failure, bytes: &[u8]) -> Failure {
    match kind(bytes) {
        Kind::NodeConfig | Kind::Unknown => failure,
        kind => failure.help(format!(
            "this is user data ({}), and not a node config itself: kiln simulate --platform NAME --user-data FILE \
             --explain shows what firstboot finds in it",
            kind.word()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::request::Common;
    use crate::error::ErrorKind;

    fn file(version: &str) -> Vec<u8> {
        format!("apiVersion: kubeadm.k8s.io/{version}\nkind: JoinConfiguration\ndiscovery: {{file: {{kubeConfigPath: /x}}}}\nnodeRegistration: {{name: a, ignorePreflightErrors: [Swap]}}\n").into_bytes()
    }

    #[test]
    fn validates_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("join.yaml");
        let run = |json: bool| {
            let common = Common { json, ..Common::default() };
            validate(
                &ConfigValidate { common, file: Some(path.clone()) },
                &HostDefaults { hostname: "node1".to_owned() },
            )
        };
        assert!(run(false).unwrap_err().message.starts_with("there is no file "));
        std::fs::write(&path, file("v1beta4")).unwrap();
        assert_eq!(run(false).unwrap(), "ok\n");
        std::fs::write(&path, [file("v1beta4").as_slice(), b"controlPlane: {}\nx: 1\n"].concat()).unwrap();
        assert!(run(false).unwrap().starts_with("warning: ") && run(false).unwrap().ends_with("\nok\n"));
        std::fs::write(&path, [file("v1beta4").as_slice(), b"y: 1\nx: 1\n"].concat()).unwrap();
        let warned = run(false).unwrap();
        assert!(
            warned.lines().filter(|line| line.starts_with("warning: ")).count() == 2
                && warned.ends_with("\nok\n"),
            "{warned}"
        );
        let value: serde_json::Value = serde_json::from_str(&run(true).unwrap()).unwrap();
        assert_eq!(
            (value["event"].as_str(), value["node"].as_str(), value["warnings"].as_array().unwrap().len()),
            (Some("config-valid"), Some("a"), 2)
        );
        std::fs::write(&path, "#cloud-config\nwrite_files: []\n").unwrap();
        let refused = run(false).unwrap_err();
        let help = refused.help.as_deref().unwrap_or_default();
        assert!(help.contains("this is user data (a cloud-config)") && help.contains("--explain"), "{help}");
        std::fs::write(&path, "a: [1\n").unwrap();
        assert_eq!(run(false).unwrap_err().help, None);
        std::fs::write(&path, vec![b'#'; config::SIZE_LIMIT * 2]).unwrap();
        assert_eq!(run(false).unwrap_err().kind, ErrorKind::Config);
    }
}
