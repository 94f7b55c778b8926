//! Reset: undoes a join as `kubeadm reset` does for a worker, and removes the agent's files. It can run at
//! any time, and again.
//!
//! Every step is tried, even after another one failed, but a folder with mounts below it is not emptied.
//! Folders stay and their content is removed; from a folder of certificates that somebody names, only the
//! files that kubeadm puts there. Like kubeadm, reset leaves the Node object, the CNI
//! configuration and packet filter rules. Unlike kubeadm, it removes pods before it unmounts their volumes,
//! because a mount in use cannot be unmounted.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use contract::runtime;

use crate::config::reset::may_hold_certificates;
use crate::error::{Context, ErrorKind, Failure, Result};
use crate::host::files;
use crate::host::mounts::{self, UnmountFlags, mounts_below};
use crate::host::root::Root;
use crate::join::names;
use crate::join::phases::host;
use crate::join::plan::CONFIG;
use crate::paths;

/// The parts of the machine that are not files.
pub trait ResetHost {
    /// Stops the kubelet. It is no error if it does not run.
    fn stop_kubelet(&mut self) -> Result<()>;

    /// Stops and removes all pods of the runtime. Returns their number.
    fn remove_pods(&mut self) -> Result<usize>;

    /// The mounts, in the format of `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
    fn mounts(&mut self) -> Result<String> {
        mounts::table()
    }

    /// Unmounts this mount point only.
    fn unmount(&mut self, path: &Path, flags: UnmountFlags) -> Result<()> {
        mounts::unmount(path, flags)
    }
}

/// The options of a reset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The folder of certificates. The default one is emptied.
    pub certificates: PathBuf,
    /// Whether to empty kubeadm's scratch folder too.
    pub scratch: bool,
    /// How volumes are unmounted.
    pub unmount: UnmountFlags,
}

impl Default for Choice {
    fn default() -> Self {
        Self { certificates: CERTIFICATES.into(), scratch: false, unmount: UnmountFlags::empty() }
    }
}

impl Choice {
    /// The folders to empty. The data of etcd comes before the manifest by which it is known to be a control
    /// plane's.
    fn folders(&self, root: &Root) -> impl Iterator<Item = &Path> {
        let etcd = root.path(paths::ETCD_MANIFEST).exists().then_some(paths::ETCD);
        let certificates = self.named_folder().is_none().then_some(CERTIFICATES);
        let scratch = self.scratch.then_some(SCRATCH);
        let folders = FOLDERS.iter().copied();
        etcd.into_iter()
            .chain([MANIFESTS])
            .chain(certificates)
            .chain(folders)
            .chain(scratch)
            .map(Path::new)
    }

    /// The folder of certificates, if it is not kubeadm's.
    fn named_folder(&self) -> Option<&Path> {
        (self.certificates != Path::new(CERTIFICATES)).then_some(&self.certificates)
    }
}

/// A step and its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// `stop the kubelet`
    pub name: String,
    /// Its outcome.
    pub outcome: Outcome,
}

/// The outcome of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Something was done.
    Done,
    /// There was nothing to do.
    Nothing,
    /// It failed. The other steps still run.
    Failed(Failure),
}

/// The folder of the pods' volumes.
const KUBELET: &str = paths::KUBELET;
/// The folder of static pods.
const MANIFESTS: &str = paths::MANIFESTS;
/// The default folder of certificates.
const CERTIFICATES: &str = paths::CERTIFICATES;
/// kubeadm's folder for copies of replaced files.
const SCRATCH: &str = paths::SCRATCH;
/// What kubeadm puts into a folder of certificates: names of a certificate and its key.
const PAIRS: &[&str] = &[
    "ca",
    "apiserver",
    "apiserver-kubelet-client",
    "apiserver-etcd-client",
    "front-proxy-ca",
    "front-proxy-client",
    "etcd/ca",
    "etcd/server",
    "etcd/peer",
    "etcd/healthcheck-client",
];
/// The keys that sign tokens of service accounts.
const SERVICE_ACCOUNT_KEYS: &[&str] = &["sa.key", "sa.pub"];
/// More folders to empty.
const FOLDERS: &[&str] =
    &[KUBELET, runtime::IN_KUBELET_STATE, paths::KUBERNETES_RUN, paths::CNI_STATE, paths::STATE_FOLDER];
/// Folders of the image below those; they stay, empty.
const KEPT: &[&str] = &[paths::KUBELET_VOLUME_PLUGINS];
/// Kubeconfigs: of the worker, and of a control plane that ran here before.
const KUBECONFIGS: &[&str] = &[
    paths::ADMIN_CONF,
    paths::SUPER_ADMIN_CONF,
    paths::KUBELET_CONF,
    paths::BOOTSTRAP_CONF,
    paths::CONTROLLER_MANAGER_CONF,
    paths::SCHEDULER_CONF,
];

/// What a join wrote for kube-proxy: the address of its pods' subnet is of no use in another cluster.
#[cfg(windows)]
const OF_KUBE_PROXY: &[&str] = &[paths::KUBE_PROXY_CONFIG, paths::SOURCE_VIP, paths::SOURCE_VIP_REQUEST];
#[cfg(not(windows))]
const OF_KUBE_PROXY: &[&str] = &[];

/// The agent's kernel settings for later boots.
const SETTINGS: &[&str] = &[host::PARAMETERS, host::MODULES];

/// Fails if a reset with this choice would reach something that is not a node's. Nothing is changed then.
pub fn check(root: &Root, machine: &mut dyn ResetHost, choice: &Choice) -> Result<()> {
    if ![paths::ETC, paths::VAR].iter().any(|folder| root.path(folder).is_dir()) {
        return Err(Failure::new(ErrorKind::Usage, "the root to reset has neither /etc nor /var in it")
            .help("name the folder in which the machine's /etc is"));
    }
    let Some(folder) = choice.named_folder() else { return Ok(()) };
    let Some(real) = root.without_links(folder) else { return Ok(()) };
    let refused = |why: &str| {
        let message = format!("the folder of certificates {}: {why}", folder.display());
        Err(Failure::new(ErrorKind::Usage, message).help("remove the certificates in it by hand"))
    };
    if !may_hold_certificates(&real) {
        return refused(&format!("it leads to {}, a folder of the system or home", real.display()));
    }
    if !root.path(&real).is_dir() {
        return refused("it is no folder");
    }
    if mounts::is_mount_point(&machine.mounts()?, &without_links(&root.path(&real))) {
        return refused("a file system is mounted there");
    }
    Ok(())
}

/// Resets the node; calls `report` after every step.
pub fn reset(
    root: &Root,
    machine: &mut dyn ResetHost,
    choice: &Choice,
    report: &mut dyn FnMut(&Step),
) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut step = |name: String, result: Result<bool>| {
        let outcome = match result {
            Ok(true) => Outcome::Done,
            Ok(false) => Outcome::Nothing,
            Err(failure) => Outcome::Failed(failure),
        };
        let step = Step { name, outcome };
        report(&step);
        steps.push(step);
    };
    step("stop the kubelet".to_owned(), machine.stop_kubelet().map(|()| true));
    // Without this file the kubelet's unit does not start again, even after a power cut during the reset.
    step(format!("remove {CONFIG}"), remove_file(&root.entry(CONFIG)));
    step("remove the pods".to_owned(), machine.remove_pods().map(|count| count > 0));
    step(format!("unmount what is below {KUBELET}"), unmount_below(root, machine, choice.unmount));
    for path in KUBECONFIGS.iter().chain(OF_KUBE_PROXY) {
        step(format!("remove {path}"), remove_file(&root.entry(path)));
    }
    for folder in choice.folders(root) {
        step(
            format!("empty {}", folder.display()),
            machine.mounts().and_then(|mounts| empty(root, folder, &mounts)),
        );
    }
    if let Some(folder) = choice.named_folder() {
        step(remove_from(folder), remove_certificates(root, folder));
    }
    for path in SETTINGS {
        step(format!("remove {path}"), remove_file(&root.entry(path)));
    }
    step(format!("take the node's name out of {}", names::HOSTS), names::remove(root));
    steps
}

/// Descriptions of the steps of a reset.
pub fn plan(root: &Root, choice: &Choice) -> Vec<String> {
    let first = [
        "stop the kubelet".to_owned(),
        format!("remove {CONFIG}"),
        "remove the pods".to_owned(),
        format!("unmount what is below {KUBELET}"),
    ];
    let kubeconfigs = KUBECONFIGS.iter().chain(OF_KUBE_PROXY).map(|path| format!("remove {path}"));
    let folders = choice.folders(root).map(|folder| format!("empty {}", folder.display()));
    let certificates = choice.named_folder().map(remove_from);
    let settings = SETTINGS.iter().map(|path| format!("remove {path}"));
    first
        .into_iter()
        .chain(kubeconfigs)
        .chain(folders)
        .chain(certificates)
        .chain(settings)
        .chain([format!("take the node's name out of {}", names::HOSTS)])
        .collect()
}

fn remove_from(certificates: &Path) -> String {
    format!("remove kubeadm's certificates and keys from {}", certificates.display())
}

/// Removes the files that kubeadm puts into a folder of certificates, and nothing else. A link among them is
/// not followed.
fn remove_certificates(root: &Root, folder: &Path) -> Result<bool> {
    let Some(real) = root.without_links(folder).filter(|real| may_hold_certificates(real)) else {
        return Ok(false);
    };
    let pairs = PAIRS.iter().flat_map(|name| [format!("{name}.crt"), format!("{name}.key")]);
    let files = pairs.chain(SERVICE_ACCOUNT_KEYS.iter().map(|&name| name.to_owned()));
    let mut changed = false;
    for path in files.map(|file| real.join(file)) {
        let is_inside =
            path.parent().is_some_and(|above| root.without_links(above).as_deref() == Some(above));
        let entry = root.entry(&path);
        let is_file = fs::symlink_metadata(&entry).is_ok_and(|about| !about.is_dir());
        changed |= is_inside && is_file && remove_file(&entry)?;
    }
    Ok(changed)
}

/// The path as the table of mounts has it.
fn without_links(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn remove_file(path: &Path) -> Result<bool> {
    let there = fs::symlink_metadata(path).is_ok();
    files::remove(path).map(|()| there)
}

fn unmount_below(root: &Root, machine: &mut dyn ResetHost, flags: UnmountFlags) -> Result<bool> {
    let mounts = mounts_below(&machine.mounts()?, &without_links(&root.path(KUBELET)));
    let mut failures = mounts.iter().filter_map(|path| machine.unmount(path, flags).err());
    match failures.next() {
        Some(first) => {
            let others = failures.count();
            let more = if others > 0 { format!(" (and {others} more)") } else { String::new() };
            Err(Failure { message: format!("{}{more}", first.message), ..first }
                .help("stop what uses the volume, then reset again"))
        }
        None => Ok(!mounts.is_empty()),
    }
}

/// Empties a folder. Links are removed, not followed. Refuses a folder that is a link or has mounts below it.
fn empty(root: &Root, folder: &Path, mounts: &str) -> Result<bool> {
    let path = root.entry(folder);
    let doing = || format!("emptying {}", folder.display());
    match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => {
            return Err(Failure::new(ErrorKind::Host, format!("{}: it is no folder", doing()))
                .help("empty what it leads to by hand"));
        }
        Err(error) => return Err(error).doing(doing()),
    }
    if let Some(mount) = mounts_below(mounts, &without_links(&path)).first() {
        return Err(Failure::new(
            ErrorKind::Host,
            format!("{}: {} is still mounted", doing(), mount.display()),
        )
        .help("unmount it, then reset again"));
    }
    let mut changed = false;
    for entry in fs::read_dir(&path).doing(doing())? {
        let entry = entry.doing(doing())?;
        let kept = KEPT.iter().find(|kept| root.entry(kept) == entry.path());
        changed |= match kept {
            Some(kept) => empty(root, Path::new(kept), mounts)?,
            None => files::remove_all(&entry).doing(doing()).map(|()| true)?,
        };
    }
    Ok(changed)
}

#[cfg(test)]
#[path = "reset_tests.rs"]
mod tests;
