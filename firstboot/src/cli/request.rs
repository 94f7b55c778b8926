//! The requests of the command line.

use std::path::PathBuf;

use crate::config::flags::JoinFlags;
use crate::host::root::Root;

/// A request of the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Print this text.
    Help(String),
    /// Print the agent's version.
    Version {
        /// As JSON.
        json: bool,
    },
    /// `kubeadm version`: print a version that scripts for kubeadm accept.
    KubeadmVersion(KubeadmVersion),
    /// Find the metadata of this machine and configure it.
    Run(Run),
    /// Join by hand.
    Join(Join),
    /// Only the checks of a join.
    Preflight(Join),
    /// Print the plan of a join and the origin of each value.
    Explain(Join),
    /// Print the status of the last run.
    Status(Status),
    /// Undo a join.
    Reset(Reset),
    /// Check a node config.
    ConfigValidate(ConfigValidate),
    /// Write a disk image to a disk.
    Install(Install),
}

impl Request {
    /// Whether the output is for machines.
    pub(crate) fn is_json(&self) -> bool {
        match self {
            Self::Version { json } => *json,
            request => request.common().is_some_and(|common| common.json),
        }
    }

    /// The options of every command; none for what concerns no machine.
    fn common(&self) -> Option<&Common> {
        match self {
            Self::Help(_) | Self::Version { .. } => None,
            Self::KubeadmVersion(request) => Some(&request.common),
            Self::Run(request) => Some(&request.common),
            Self::Join(request) | Self::Preflight(request) | Self::Explain(request) => Some(&request.common),
            Self::Status(request) => Some(&request.common),
            Self::Reset(request) => Some(&request.common),
            Self::ConfigValidate(request) => Some(&request.common),
            Self::Install(request) => Some(&request.common),
        }
    }

    /// The root of the machine that the request concerns.
    pub(crate) fn root(&self) -> Option<&Root> {
        self.common().map(|common| &common.root)
    }
}

/// The options of every command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Common {
    /// `--json`: output for machines, one object per line.
    pub json: bool,
    /// `--rootfs`: where the machine's file system begins.
    pub root: Root,
}

/// `firstboot run`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Run {
    /// The options of every command.
    pub common: Common,
}

/// `firstboot join`, `preflight`, `explain`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Join {
    /// The options of every command.
    pub common: Common,
    /// kubeadm join's flags.
    pub flags: JoinFlags,
}

/// `firstboot status`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// The options of every command.
    pub common: Common,
    /// `--timeline`: when each step of the boot began and ended.
    pub timeline: bool,
    /// `--svg`: draw the timeline into this file.
    pub svg: Option<PathBuf>,
}

/// `firstboot reset`, with kubeadm reset's flags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reset {
    /// The options of every command.
    pub common: Common,
    /// `--force`: do not ask.
    pub force: bool,
    /// `--dry-run`
    pub dry_run: bool,
    /// `--cert-dir`: the folder of certificates, else `/etc/kubernetes/pki`.
    pub cert_dir: Option<PathBuf>,
    /// `--cleanup-tmp-dir`: also empty kubeadm's `/etc/kubernetes/tmp`.
    pub cleanup_tmp_dir: bool,
    /// `--config`: a ResetConfiguration.
    pub config: Option<PathBuf>,
    /// `--cri-socket`
    pub cri_socket: Option<String>,
    /// `--ignore-preflight-errors`
    pub ignore_preflight_errors: Vec<String>,
    /// `--kubeconfig`
    pub kubeconfig: Option<PathBuf>,
    /// `--skip-phases`
    pub skip_phases: Vec<String>,
}

/// `firstboot config validate`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigValidate {
    /// The options of every command.
    pub common: Common,
    /// The file; none for standard input.
    pub file: Option<PathBuf>,
}

/// `firstboot install`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Install {
    /// The options of every command.
    pub common: Common,
    /// `--list`: only list the disks.
    pub list: bool,
    /// `--image`: where the image is; none for what the kernel command line says.
    pub image: Option<String>,
    /// `--sha256`: that of its block map.
    pub sha256: Option<String>,
    /// `--disk`: the rule for the disk.
    pub disk: Option<String>,
    /// `--overwrite`: the disk may hold data.
    pub overwrite: bool,
    /// `--config`: the node config of the installed system.
    pub config: Option<PathBuf>,
    /// `--report`: the URL that is told how it goes.
    pub report: Option<String>,
    /// `--dry-run`
    pub dry_run: bool,
}

/// `kubeadm version`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KubeadmVersion {
    /// The options of every command.
    pub common: Common,
    /// `-o`
    pub output: VersionOutput,
}

/// The forms of `kubeadm version`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum VersionOutput {
    /// `kubeadm version: &version.Info{...}`
    #[default]
    Go,
    /// `v1.36.2`
    Short,
    /// As JSON.
    Json,
    /// As YAML.
    Yaml,
}
