//! A new layer to begin with: `kiln layer new`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::definition::value::Name;
use crate::error::{Error, ErrorKind, IoContext, Result};

const LAYER: &str = r#"schema = 1
summary = "What NAME adds to a node, in one line"

# A layer has steps and no scripts: file, directory, link, artifact, packages, units. `kiln schema layer` lists all keys,
# images/company of Kiln's source has an example of each, and docs/layers.md explains them.
[[file]]
path = "/etc/sysctl.d/90-NAME.conf"
source = "sysctl.conf"
"#;

const SYSCTL: &str = "\
# Settings of the kernel, one for each line (sysctl.d(5)).
vm.max_map_count = 262144
";

const LAYER_FOR_WINDOWS: &str = r#"schema = 1
summary = "What NAME adds to a node with Windows, in one line"
os = ["windows"]

# A layer has steps and no scripts: file, directory, artifact, registry, windows-service, firewall, environment, path.
# `kiln schema layer` lists all keys, docs/reference.md of Kiln's source explains them.
[[registry]]
key = 'HKLM\SOFTWARE\NAME'
name = "Installed"
type = "dword"
data = 1

# The program is yours: [[artifact]] fetches it, [[file]] takes it from this folder. Then start = "automatic".
[[windows-service]]
name = "NAME"
command = 'C:\NAME\NAME.exe'
start = "disabled"
restart-after = [5]

[[directory]]
path = 'C:\var\log\NAME'
"#;

/// How names of layers for Windows begin.
const FOR_WINDOWS: &str = "windows-";

/// For which system a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum System {
    /// Linux
    Linux,
    /// Windows
    Windows,
}

impl System {
    /// That of a layer by its name, where nobody says it.
    pub fn of_name(name: &str) -> Self {
        if name.starts_with(FOR_WINDOWS) { Self::Windows } else { Self::Linux }
    }
}

const README: &str = "\
# NAME
What the layer does, what it provides, and what can be set.
";

/// Starts the layer `name` for `system` in the folder `into`. Returns its folder.
///
/// # Errors
/// If that is no name for a layer, or something has it already.
pub fn start(name: &str, system: System, into: &Path) -> Result<PathBuf> {
    if let Err(why) = Name::try_from(name.to_owned()) {
        let (message, help) = why.split_once('\n').unwrap_or((&why, "choose another name"));
        return Err(Error::new(ErrorKind::Usage, message).help(help));
    }
    if !into.is_dir() {
        let message = format!("there is no folder {} for the layer", into.display());
        return Err(Error::new(ErrorKind::Usage, message).help("name the folder of your layers with --into"));
    }
    let folder = into.join(name);
    if folder.symlink_metadata().is_ok() {
        return Err(Error::new(ErrorKind::Usage, format!("{} is there already", folder.display()))
            .help("choose another name, or another folder with --into"));
    }
    fs::create_dir(&folder).at("creating", &folder)?;
    let files: &[(&str, &str)] = match system {
        System::Linux => &[("layer.toml", LAYER), ("sysctl.conf", SYSCTL), ("README.md", README)],
        System::Windows => &[("layer.toml", LAYER_FOR_WINDOWS), ("README.md", README)],
    };
    for (file, text) in files {
        let path = folder.join(file);
        fs::write(&path, text.replace("NAME", name)).at("writing", &path)?;
    }
    Ok(folder)
}
