//! `kubeadm version`, as scripts that look for a kubeadm expect it: the version of the image's kubelet, which
//! is the one it joins for.

use serde_json::json;

use crate::cli::request::{KubeadmVersion, VersionOutput};
use crate::error::{ErrorKind, Failure, Result};
use crate::kubernetes::version::Version;
use crate::machine;

/// Returns the output of `firstboot --version`.
pub fn own(json: bool) -> String {
    let version = env!("CARGO_PKG_VERSION");
    if json { format!("{}\n", json!({ "version": version })) } else { format!("firstboot {version}\n") }
}

/// Returns the output of `kubeadm version`.
pub fn kubeadm(request: &KubeadmVersion) -> Result<String> {
    let version = machine::kubelet_version(&request.common.root)?;
    let output = if request.common.json { VersionOutput::Json } else { request.output };
    let info = info(version);
    let failed = |error: String| Failure::new(ErrorKind::Internal, error);
    match output {
        VersionOutput::Short => Ok(format!("{version}\n")),
        VersionOutput::Json => serde_json::to_string_pretty(&info)
            .map(|text| text + "\n")
            .map_err(|error| failed(error.to_string())),
        VersionOutput::Yaml => serde_yaml_ng::to_string(&info).map_err(|error| failed(error.to_string())),
        VersionOutput::Go => Ok(format!(
            "kubeadm version: &version.Info{{Major:\"{}\", Minor:\"{}\", GitVersion:\"{version}\", Platform:\"{}\"}} (firstboot {})\n",
            version.major,
            version.minor,
            platform(),
            env!("CARGO_PKG_VERSION")
        )),
    }
}

fn info(version: Version) -> serde_json::Value {
    let (major, minor) = (version.major.to_string(), version.minor.to_string());
    let client =
        json!({ "major": major, "minor": minor, "gitVersion": version.to_string(), "platform": platform() });
    json!({ "clientVersion": client, "firstboot": env!("CARGO_PKG_VERSION") })
}

fn platform() -> String {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("{}/{arch}", std::env::consts::OS)
}
