//! `firstboot config validate`

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde_json::json;

use super::request::ConfigValidate;
use crate::config::{self, HostDefaults, SIZE_LIMIT, model::NodeConfig};
use crate::error::{Context, ErrorKind, Failure, Result};

/// Checks the file; the text to print, or what is wrong.
pub fn validate(request: &ConfigValidate, host: &HostDefaults) -> Result<String> {
    let bytes = read_file(request.file.as_deref().unwrap_or(Path::new("-")))?;
    let config = config::parse(&bytes, host)?;
    let warnings = warnings(&config);
    if request.common.json {
        return Ok(format!(
            "{}\n",
            json!({ "event": "config-valid", "node": config.node_name(), "warnings": warnings })
        ));
    }
    let lines = warnings.iter().map(|warning| format!("warning: {warning}\n"));
    Ok(lines.chain([String::from("ok\n")]).collect())
}

fn warnings(config: &NodeConfig) -> Vec<String> {
    let refused = config::refuse_control_plane(&config.join).err().map(|failure| failure.message);
    config.warnings.iter().cloned().chain(refused).collect()
}

/// The bytes of a node config; `-` is standard input. No more is read than shows that it is too large, which is the parser's to say.
pub fn read_file(path: &Path) -> Result<Vec<u8>> {
    if path == Path::new("-") {
        return read_bounded(io::stdin().lock(), "standard input");
    }
    let name = path.display().to_string();
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Failure::new(ErrorKind::Config, format!("there is no file {name}")))
        }
        file => read_bounded(file.doing(format!("reading {name}"))?, &name),
    }
}

fn read_bounded(input: impl Read, name: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input
        .take(SIZE_LIMIT as u64 + 1)
        .read_to_end(&mut bytes)
        .doing(format!("reading {name}"))?;
    Ok(bytes)
}
